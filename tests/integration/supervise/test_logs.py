# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Logs of services: none of their lines is lost, whoever is killed."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import procs
import pytest
from supervised import Scan
from waiting import wait_until

#: Writes numbered lines for as long as `hold` is there, at least N, then says so and stays.
COUNTER = """#!/usr/bin/python3 -ISu
import os, sys, time
number = 0
while number < {least} or os.path.exists("hold"):
    os.write(1, b"line %d\\n" % number)
    number += 1
    if number % 50 == 0:
        time.sleep(0.001)
with open("written", "w") as file:
    file.write(str(number))
time.sleep(100000)
"""


def log(scan: Scan, name: str, **settings: Any) -> dict[str, Any]:
    return {
        "to": "directory",
        "directory": str(scan.base / "log" / name),
        "size": 1000000,
        "count": 10,
        "age": None,
        "keep": None,
        "format": "iso",
        **settings,
    }


def logged(directory: Path) -> list[str]:
    """All lines of all files of a log, oldest first, without their stamps."""
    if not directory.exists():
        return []
    files = sorted(path for path in directory.iterdir() if re.fullmatch(r"@[0-9a-f]{24}\.[su]", path.name))
    current = directory / "current"
    lines = []
    for path in [*files, current]:
        # One may be rotated or pruned at this moment.
        with contextlib.suppress(FileNotFoundError):
            lines += [line.partition(" ")[2] for line in path.read_text().splitlines()]
    return lines


def log_writer(scan: Scan) -> int:
    return int(wait_until(lambda: scan.call("Status")["supervisor"]["log_writer_pid"]))


def complete(scan: Scan, directory: Path, name: str) -> bool:
    """Whether every line that the service has written is in its log once, in order."""
    written = directory / "written"
    # The service makes the file first, and then writes into it.
    said = written.read_text() if written.exists() else ""
    lines = logged(scan.base / "log" / name)
    if not said or len(lines) < int(said):
        return False
    number = int(said)
    assert lines == [f"line {at}" for at in range(number)]
    return True


def until_complete(scan: Scan, directory: Path, name: str) -> None:
    wait_until(lambda: complete(scan, directory, name), 60)


def until_more(scan: Scan, name: str, lines: int) -> None:
    """Wait until a log has more than so many lines."""
    wait_until(lambda: len(logged(scan.base / "log" / name)) > lines)


def until_logged(scan: Scan, name: str, *lines: str) -> None:
    """Wait until a log has exactly these lines."""
    wait_until(lambda: logged(scan.base / "log" / name) == list(lines))


def until_other_writer(scan: Scan, pid: int) -> None:
    """Wait until there is another log writer than *pid*."""
    wait_until(lambda: log_writer(scan) != pid)


@pytest.fixture(autouse=True)
def log_folder(scan: Scan) -> None:
    (scan.base / "log").mkdir()


def test_output_is_logged_with_a_stamp(scan: Scan) -> None:
    scan.add("a", "#!/bin/sh\necho out\necho err >&2\nexec sleep 100000\n", log=log(scan, "a"))
    scan.start()
    current = scan.base / "log" / "a" / "current"
    wait_until(lambda: current.exists() and len(current.read_text().splitlines()) == 2)
    first, second = current.read_text().splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d[T_]\d\d:\d\d:\d\d\.\d+\S* out", first)
    assert second.endswith(" err")


def test_an_orderly_end_writes_the_last_words(scan: Scan) -> None:
    run = "#!/bin/sh\ntrap 'printf unterminated; kill $! 2>/dev/null; exit 0' TERM\nsleep 100000 &\necho >&3\nwait\n"
    scan.add("a", run, log=log(scan, "a"), readiness={"notification_fd": 3})
    scan.start()
    scan.until("a", "ready")
    scan.stop_supervisor()
    assert logged(scan.base / "log" / "a") == ["unterminated"]
    assert (scan.base / "log" / "a" / "current").stat().st_mode & 0o777 == 0o744
    assert scan.processes() == []


def test_many_logs_by_one_process(scan: Scan) -> None:
    names = [f"s{number:02}" for number in range(30)]
    for name in names:
        scan.add(name, f"#!/bin/sh\necho this is {name}\nexec sleep 100000\n", log=log(scan, name))
    scan.start()
    for name in names:
        until_logged(scan, name, f"this is {name}")
    assert scan.process is not None
    writer = log_writer(scan)
    assert procs.parent(writer) == scan.process.pid


def test_the_log_writer_is_started_again(scan: Scan) -> None:
    directory = scan.add("a", COUNTER.format(least=2000), log=log(scan, "a"))
    (directory / "hold").touch()
    scan.start()
    scan.until("a", "up", "ready")
    for _round in range(5):
        before = len(logged(scan.base / "log" / "a"))
        until_more(scan, "a", before)
        writer = log_writer(scan)
        procs.kill(writer)
        until_other_writer(scan, writer)
    (directory / "hold").unlink()
    until_complete(scan, directory, "a")
    assert scan.service("a")["deaths"] == 0


def test_the_supervisor_is_killed_while_a_service_logs(scan: Scan) -> None:
    directory = scan.add("a", COUNTER.format(least=2000), log=log(scan, "a"))
    (directory / "hold").touch()
    scan.start()
    scan.until("a", "up", "ready")
    writer = log_writer(scan)
    for _round in range(3):
        before = len(logged(scan.base / "log" / "a"))
        scan.kill_supervisor()
        # The log writer goes on without it.
        until_more(scan, "a", before)
        scan.start()
        assert log_writer(scan) == writer
    (directory / "hold").unlink()
    until_complete(scan, directory, "a")
    assert scan.service("a")["deaths"] == 0


def test_both_are_killed_while_services_log(scan: Scan) -> None:
    directories = {name: scan.add(name, COUNTER.format(least=2000), log=log(scan, name)) for name in ("a", "b", "c")}
    for directory in directories.values():
        (directory / "hold").touch()
    generator = random.Random(os.getpid())
    scan.start()
    for name in directories:
        scan.until(name, "up", "ready")
    for _round in range(4):
        seen = len(logged(scan.base / "log" / "a"))
        until_more(scan, "a", seen + generator.randrange(200))
        writer = log_writer(scan)
        for victim in generator.sample(["supervisor", "writer"], 2):
            if victim == "supervisor":
                scan.kill_supervisor()
            else:
                procs.kill(writer)
        scan.start()
        until_other_writer(scan, writer)
    for directory in directories.values():
        (directory / "hold").unlink()
    for name, directory in directories.items():
        until_complete(scan, directory, name)
        assert scan.service(name)["deaths"] == 0


@pytest.mark.parametrize("options", [(), ("--log-user", "nobody")], ids=["same user", "own user"])
def test_a_log_writer_of_which_no_record_tells_is_found(scan: Scan, options: tuple[str, ...]) -> None:
    """The supervisor may be killed after it has started one and before it has noted that."""
    if options:
        if os.geteuid() != 0:
            pytest.skip("needs root")
        shutil.chown(scan.base / "log", "nobody")
    directory = scan.add("a", COUNTER.format(least=2000), log=log(scan, "a"))
    scan.start(*options)
    writer = log_writer(scan)
    wait_until(lambda: procs.status(writer)["SigCgt"] != "0" * 16)
    scan.kill_supervisor()
    (scan.path / ".holdfast" / "logwriter.record").unlink()
    scan.start(*options)
    until_other_writer(scan, writer)
    wait_until(lambda: not procs.alive(writer))
    until_complete(scan, directory, "a")
    assert scan.stop_supervisor() == 0
    assert scan.processes() == []


def test_a_log_with_nobody_to_read_it_keeps_the_lines(scan: Scan) -> None:
    run = "#!/bin/sh\nwhile ! test -e go; do sleep 0.01; done\necho said alone\n: >said\nexec sleep 100000\n"
    directory = scan.add("a", run, log=log(scan, "a"))
    scan.start()
    pid = scan.until("a", "ready")["pid"]
    writer = log_writer(scan)
    scan.kill_supervisor()
    procs.kill(writer)
    wait_until(lambda: not procs.alive(writer))
    (directory / "go").touch()
    wait_until((directory / "said").exists)
    assert procs.alive(pid)
    scan.start()
    until_logged(scan, "a", "said alone")
    assert scan.until("a", "ready")["pid"] == pid


def test_reexec_and_logs(scan: Scan) -> None:
    directory = scan.add("a", COUNTER.format(least=2000), log=log(scan, "a"))
    (directory / "hold").touch()
    scan.start()
    scan.until("a", "up", "ready")
    for _round in range(3):
        before = len(logged(scan.base / "log" / "a"))
        scan.call("Reexec")
        scan.wait_answer()
        until_more(scan, "a", before)
    (directory / "hold").unlink()
    until_complete(scan, directory, "a")


def test_a_removed_service_leaves_its_log_complete(scan: Scan) -> None:
    run = "#!/bin/sh\ntrap 'echo bye; kill $! 2>/dev/null; exit 0' TERM\nsleep 100000 &\necho >&3\nwait\n"
    scan.add("a", run, log=log(scan, "a"), readiness={"notification_fd": 3})
    scan.add("b", log=log(scan, "b"))
    scan.start()
    scan.until("a", "ready")
    scan.remove("a")
    scan.until_gone("a")
    until_logged(scan, "a", "bye")
    wait_until(lambda: not (scan.path / ".holdfast" / "logs" / "a.json").exists())


def test_a_log_directory_that_cannot_be_made_stops_nobody(scan: Scan) -> None:
    (scan.base / "log" / "file").write_text("in the way\n")
    scan.add("a", "#!/bin/sh\necho heard by nobody\nexec sleep 100000\n", log=log(scan, "file/a"))
    scan.add("b", "#!/bin/sh\necho fine\nexec sleep 100000\n", log=log(scan, "b"))
    scan.start()
    until_logged(scan, "b", "fine")
    scan.until("a", "ready", deaths=0)


def test_log_none_goes_nowhere(scan: Scan) -> None:
    scan.add("a", log={"to": "none"})
    scan.start()
    pid = scan.until("a", "ready")["pid"]
    assert procs.descriptors(pid)[1] == "/dev/null"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_the_log_writer_runs_under_its_own_user(scan: Scan) -> None:
    import pwd

    account = pwd.getpwnam("nobody")
    (scan.base / "log" / "a").mkdir()
    os.chown(scan.base / "log" / "a", account.pw_uid, account.pw_gid)
    scan.add(
        "a",
        "#!/bin/sh\necho hello >/dev/stdout\nexec sleep 100000\n",
        log=log(scan, "a"),
        process={**scan.definition("a")["process"], "user": "daemon"},
    )
    scan.start("--log-user", "nobody")
    until_logged(scan, "a", "hello")
    writer = log_writer(scan)
    assert procs.status(writer)["Uid"].split() == [str(account.pw_uid)] * 4
    assert (scan.base / "log" / "a" / "current").stat().st_uid == account.pw_uid
    assert scan.stop_supervisor() == 0


def test_what_a_process_leaves_of_a_line_is_not_joined_with_the_next_ones(scan: Scan) -> None:
    run = "#!/bin/sh\nif test -e again; then echo second; exec sleep 100000; fi\n>again\nprintf first\nexit 1\n"
    scan.add("a", run, log=log(scan, "a"), restart="never")
    scan.start()
    scan.until("a", "down")
    current = scan.base / "log" / "a" / "current"
    wait_until(lambda: current.exists() and current.read_bytes().endswith(b" first\n"))
    scan.call("Control", commands=[{"name": "a", "action": "start"}])
    until_logged(scan, "a", "first", "second")


def test_a_log_is_written_to_its_end_though_its_writer_was_dead_when_it_was_removed(scan: Scan) -> None:
    directory = scan.add("a", "#!/bin/sh\ntrap 'echo last; exit 0' TERM\necho >&3\nsleep 100000 & wait\n",
                         log=log(scan, "a"), readiness={"notification_fd": 3})  # fmt: skip
    scan.start()
    scan.until("a", "ready")
    wait_until(lambda: log_writer(scan) != 0)
    # Stopped, not killed: it has taken nothing when the service goes.
    writer = log_writer(scan)
    os.kill(writer, signal.SIGSTOP)
    directory.rename(scan.path / ".a.gone")
    wait_until(lambda: not scan.call("Status")["services"])
    os.kill(writer, signal.SIGKILL)
    until_logged(scan, "a", "last")
