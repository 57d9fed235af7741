# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What services write is kept, by the logger of the suite or by ours."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import procs
import pytest
from conforming import Supervised, features, sh
from waiting import wait_until

STAMPS = {
    "iso": rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\.\d+[Z+:0-9]* +",
    "tai64n": rb"@[0-9a-f]{24} ",
    "none": b"",
}


def content(host: Supervised, name: str = "one") -> bytes:
    try:
        return (host.logs / name / "current").read_bytes()
    except OSError:
        return b""


@features("log.directory")
def test_what_a_service_says_on_both_channels_is_in_its_log(host: Supervised) -> None:
    host.good({"one": {"command": sh("echo out; echo err >&2; exec sleep 100000")}})
    wait_until(lambda: b"out\n" in content(host) and b"err\n" in content(host))


@features("log.directory", "log.iso")
def test_dates_as_stamps(host: Supervised) -> None:
    _stamped(host, "iso")


@features("log.directory", "log.tai64n")
def test_labels_as_stamps(host: Supervised) -> None:
    _stamped(host, "tai64n")


@features("log.directory", "log.none")
def test_no_stamps(host: Supervised) -> None:
    _stamped(host, "none")


def _stamped(host: Supervised, name: str) -> None:
    host.good({"one": {"command": sh("echo line; exec sleep 100000"), "log": {"format": name}}})
    wait_until(lambda: content(host))
    assert re.fullmatch(STAMPS[name] + rb"line\n", content(host)), content(host)


@features("log.directory", "log.size")
def test_files_are_rotated_by_size_and_so_many_are_kept(host: Supervised) -> None:
    # For as long as it takes: what comes at once may be one buffer to a logger, and go into one file.
    script = "i=0; while :; do echo line $i of some length, to fill the file; i=$((i + 1)); [ $((i % 100)) -ne 0 ] || sleep 0.02; done"
    host.good({"one": {"command": sh(script), "log": {"size": 8192, "count": 3}}})

    def old() -> dict[str, int]:
        found = {}
        for path in host.logs.glob(f"one/{host.old_logs}"):
            with contextlib.suppress(OSError):
                found[path.name] = path.stat().st_size
        return found

    wait_until(lambda: len(old()) == 3)
    assert all(size <= 8192 + host.log_buffer for size in old().values())
    first = wait_until(lambda: content(host).partition(b"\n")[0])
    # Several times over: no more of them are kept, however much comes.
    for _time in range(5):
        wait_until(lambda: content(host).partition(b"\n")[0] not in (b"", first))  # noqa: B023 - called at once
        first = content(host).partition(b"\n")[0]
        assert len(old()) <= 3


def everything(host: Supervised) -> bytes:
    """All files of the log; those that are rotated at this moment may be missing."""
    found = b""
    for path in [*sorted(host.logs.glob(f"one/{host.old_logs}")), host.logs / "one" / "current"]:
        with contextlib.suppress(OSError):
            found += path.read_bytes()
    return found


@features("log.directory", "log.size")
def test_other_settings_of_the_log_do_not_touch_the_service_and_lose_no_line(host: Supervised) -> None:
    go = host.base / "go"
    script = f"echo before; while [ ! -e {go} ]; do sleep 0.02; done; echo after; exec sleep 100000"
    host.good({"one": {"command": sh(script)}})
    wait_until(lambda: b"before\n" in content(host))
    pid = host.service("one").pid
    host.good({"one": {"command": sh(script), "log": {"size": 50000, "count": 4}}})
    go.touch()
    wait_until(lambda: b"after\n" in everything(host))
    assert b"before\n" in everything(host)
    assert host.service("one").pid == pid


def loggers(host: Supervised) -> list[int]:
    """The processes that write the log of the service, where they are others than the root process."""
    return [
        pid
        for pid in procs.pids()
        if procs.working_directory(pid) == str(host.logs / "one")
        or ("logwriter" in procs.arguments(pid) and any(str(host.base) in word for word in procs.arguments(pid)))
    ]


@features("log.directory", "log.size")
def test_a_line_that_comes_together_with_other_settings_of_the_log_is_not_lost(host: Supervised) -> None:
    go, said = host.base / "go", host.base / "said"
    script = f"echo before; while [ ! -e {go} ]; do sleep 0.02; done; echo after; : >{said}; exec sleep 100000"
    host.good({"one": {"command": sh(script)}})
    wait_until(lambda: b"before\n" in content(host))
    # As on a busy machine: they hear of both at once.
    slow = loggers(host)
    for pid in slow:
        procs.kill(pid, signal.SIGSTOP)
    host.good({"one": {"command": sh(script), "log": {"size": 50000, "count": 4}}})
    go.touch()
    wait_until(said.exists)
    for pid in slow:
        procs.kill(pid, signal.SIGCONT)
    wait_until(lambda: b"after\n" in everything(host))
    assert b"before\n" in everything(host)


@features("log.directory")
def test_the_last_words_of_a_service_are_in_the_message(host: Supervised) -> None:
    result = host.task({"one": {"command": sh("echo the reason is this; exit 3"), "readiness": {"grace": "10s"}}})
    assert result["failed"] and "the reason is this" in result["msg"]


TICKS = "while :; do echo tick; sleep 0.1; done"


@features("log.directory", "log.age")
def test_files_are_rotated_by_age(host: Supervised) -> None:
    host.good({"one": {"command": sh(TICKS), "log": {"age": "1s"}}})
    wait_until(lambda: len(list(host.logs.glob(f"one/{host.old_logs}"))) >= 2)


@features("log.directory", "log.age", "log.keep")
def test_old_files_are_deleted_by_age(host: Supervised) -> None:
    host.good({"one": {"command": sh(TICKS), "log": {"age": "1s", "keep": "1s"}}})
    first = wait_until(lambda: sorted(host.logs.glob(f"one/{host.old_logs}")))[0]
    wait_until(lambda: not first.exists())


@contextlib.contextmanager
def syslog(top: str) -> Iterator[socket.socket]:
    """A syslog daemon's socket, on a host that has none and whose files are below *top*; one test at a time."""
    path = f"{top}/dev/log"
    if os.geteuid() != 0:
        pytest.skip("the socket of a syslog daemon is in /dev")
    with Path(tempfile.gettempdir(), "hf-dev-log.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        daemon = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        with daemon:
            try:
                daemon.connect(path)
            except FileNotFoundError:
                pass
            except ConnectionRefusedError:
                # Left by a run that was killed.
                os.unlink(path)
            else:
                pytest.skip("this machine has a syslog daemon of its own")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listens:
            listens.bind(path)
            try:
                os.chmod(path, 0o666)
                listens.settimeout(0.2)
                yield listens
            finally:
                os.unlink(path)


@features("log.syslog")
def test_what_a_service_says_goes_to_syslog_under_its_name(host: Supervised) -> None:
    said = f"said by {host.base.name}".encode()
    definitions = {"one": {"command": sh(f"echo {said.decode()}; exec sleep 100000"), "log": "syslog"}}
    if host.heard("one") is not None:
        host.good(definitions)
        wait_until(lambda: said.decode() in (host.heard("one") or ""))
        return
    with syslog(host.top()) as daemon:
        host.good(definitions)
        found = b""

        def heard() -> bool:
            nonlocal found
            with contextlib.suppress(TimeoutError):
                found = daemon.recv(8192)
            return said in found

        wait_until(heard)
        # Whose it is stands before it: as the tag, or behind that of Supervisor, which is the one to say it there.
        assert re.match(rb"<\d+>.*\bone(\[\d+\])?:? " + said, found), found


@contextlib.contextmanager
def journal() -> Iterator[Callable[[str], str]]:
    """A journal daemon, where this machine has none, and what it has of a name; one test at a time."""
    program, link = Path("/lib/systemd/systemd-journald"), Path("/run/systemd/journal")
    if os.geteuid() != 0 or not program.exists() or not shutil.which("journalctl"):
        pytest.skip("no journal daemon can be run on this machine")
    with Path(tempfile.gettempdir(), "hf-journal.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if link.is_symlink():
            # Left by a run that was killed.
            link.unlink()
        elif link.exists():
            pytest.skip("this machine has a journal of its own")
        # In a namespace of its own it leaves kernel and audit alone.
        name = f"hf{os.getpid()}"
        folder = Path(f"{link}.{name}")
        folder.mkdir(parents=True)
        daemon = subprocess.Popen(
            [program, name], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        shown = ["journalctl", "--quiet", f"--namespace={name}", "--identifier"]
        try:
            wait_until((folder / "socket").exists)
            link.symlink_to(folder.name)
            yield lambda one: subprocess.run([*shown, one], capture_output=True, text=True, check=True).stdout
        finally:
            link.unlink(missing_ok=True)
            daemon.terminate()
            daemon.wait(30)
            shutil.rmtree(folder)
            for path in Path("/run/log/journal").glob(f"*.{name}"):
                shutil.rmtree(path)


@features("log.journald")
def test_what_a_service_says_is_in_the_journal(host: Supervised) -> None:
    said = f"said by {host.base.name}"
    definitions = {"one": {"command": sh(f"echo {said}; exec sleep 100000"), "log": "journald"}}
    if host.journal("one") is not None:
        host.good(definitions)
        wait_until(lambda: said in (host.journal("one") or ""))
        return
    if host.top():
        pytest.skip("no journal is kept on this host")
    with journal() as kept:
        host.good(definitions)
        wait_until(lambda: said in kept("one"))
