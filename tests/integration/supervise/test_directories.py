# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The scan directory while the supervisor runs: directories that come, go, change, or are no good."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
from pathlib import Path

import procs
import pytest
from supervised import SLEEP, Scan, client
from waiting import wait_until


def test_a_directory_that_appears_is_started(scan: Scan) -> None:
    scan.add("a")
    scan.start()
    first = scan.until("a", "ready")["pid"]
    scan.add("b")
    scan.until("b", "ready")
    assert scan.service("a")["pid"] == first


def test_a_directory_that_appears_when_too_many_signals_wait_is_started(scan: Scan) -> None:
    """The kernel says less then, and by a signal that ends whoever does not expect it."""
    scan.add("a")
    supervisor = scan.start()
    first = scan.until("a", "ready")["pid"]
    resource.prlimit(supervisor, resource.RLIMIT_SIGPENDING, (0, 0))
    scan.add("b")
    scan.until("b", "ready")
    assert procs.alive(supervisor) and scan.service("a")["pid"] == first


def test_a_directory_that_goes_is_stopped_and_forgotten(scan: Scan) -> None:
    scan.add("a")
    scan.add("b")
    scan.start()
    pid = scan.until("a", "ready")["pid"]
    scan.until("b", "ready")
    scan.remove("a")
    scan.until_gone("a")
    assert not procs.alive(pid)
    scan.until("b", "ready", deaths=0)


def test_a_link_to_a_directory_is_a_service_too(scan: Scan) -> None:
    scan.add("a").rename(scan.base / "elsewhere")
    (scan.path / ".x").symlink_to(scan.base / "elsewhere")
    scan.start()
    (scan.path / ".x").rename(scan.path / "a")
    pid = scan.until("a", "ready")["pid"]
    assert client("svok", str(scan.path / "a")).returncode == 0
    (scan.path / "a").unlink()
    scan.until_gone("a")
    assert not procs.alive(pid)


def test_names_with_a_leading_dot_and_plain_files_are_no_services(scan: Scan) -> None:
    scan.add("a").rename(scan.path / ".hidden")
    (scan.path / "README").write_text("not a service\n")
    scan.add("b")
    scan.start()
    scan.until("b", "ready")
    assert list(scan.services()) == ["b"]


def test_rescan_answers_with_what_it_found(scan: Scan) -> None:
    scan.start()
    scan.call("Rescan")
    directory = scan.base / "a"
    scan.add("a").rename(directory)
    wait_until(lambda: "a" not in scan.services())
    directory.rename(scan.path / "a")
    answer = scan.call("Rescan")
    # Unless the kernel's own notice was quicker.
    assert answer["added"] in (["a"], [])
    assert "a" in scan.services()


def test_a_down_file_means_normally_down(scan: Scan) -> None:
    directory = scan.add("a", files={"down": ""})
    scan.start()
    report = scan.until("a", "down")
    assert not report["enabled"]
    assert procs.living_in(directory) == []
    scan.control("a", "start")
    scan.until("a", "ready")
    scan.call("Stop")
    assert scan.process is not None
    scan.process.wait(30)
    scan.start()
    scan.until("a", "down")


def test_a_service_that_was_stopped_by_hand_is_up_after_an_orderly_restart(scan: Scan) -> None:
    scan.add("a")
    scan.start()
    scan.until("a", "ready")
    scan.control("a", "stop")
    scan.until("a", "down")
    scan.stop_supervisor()
    scan.start()
    scan.until("a", "ready")


def test_a_half_made_directory_comes_up_when_it_is_complete(scan: Scan) -> None:
    scan.start()
    directory = scan.path / "a"
    directory.mkdir()
    report = scan.until("a", "backoff", "failed", "down", "starting", pid=0)
    (directory / "run").write_text("#!/bin/sh\nexec sleep 100000\n")
    (directory / "run").chmod(0o755)
    if report["state"] in ("failed", "down"):
        scan.control("a", "start")
    scan.until("a", "ready")


@pytest.mark.parametrize(
    ("content", "mode", "word"),
    [
        ("#!/bin/sh\nexec sleep 100000\n", 0o644, "exec"),
        ("#!/no/such/interpreter\n", 0o755, "interpreter"),
        ("just text\n", 0o755, "#!"),
        (None, 0, "run"),
    ],
)
def test_a_run_that_cannot_be_executed_has_a_reason(scan: Scan, content: str | None, mode: int, word: str) -> None:
    directory = scan.path / ".a.new"
    directory.mkdir()
    if content is not None:
        (directory / "run").write_text(content)
        (directory / "run").chmod(mode)
    directory.rename(scan.path / "a")
    scan.add("b")
    scan.start()
    scan.until("b", "ready")
    report = scan.until("a", "backoff", "failed")
    assert word in report["reason"]
    assert report["pid"] == 0
    answer = scan.call("Wait", wishes=[{"name": "a", "state": "ready"}], timeout=60.0)
    assert answer["results"][0]["outcome"] == "failed"


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '"x"', '{"format": 99}', '{"format": 1, "stop_timeout": "soon"}', '{"format": 1, "stop_signal": "NONE"}',
     '{"format": 1, "needs": "db"}', '{"format": 1, "process": 7}', "[" * 100000, '{"format": 1, "backoff": {"initial": -1}}',
     '{"format": 1, "restart": "sometimes"}', "\xff\xfe"],
)  # fmt: skip
def test_a_broken_definition_refuses_this_service_alone(scan: Scan, content: str) -> None:
    directory = scan.add("a")
    (directory / "holdfast.json").write_text(content, encoding="latin-1")
    scan.add("b")
    scan.start()
    scan.until("b", "ready")
    report = scan.until("a", "backoff", "failed", "down")
    assert report["reason"], report
    assert procs.living_in(directory) == []


def test_a_broken_definition_that_is_mended_is_started(scan: Scan) -> None:
    directory = scan.add("a")
    (directory / "holdfast.json").write_text("{")
    scan.start()
    scan.until("a", "backoff", "failed", "down")
    mended = directory / ".holdfast.json.new"
    mended.write_text(json.dumps(scan.definition("a")))
    mended.rename(directory / "holdfast.json")
    scan.control("a", "start")
    scan.until("a", "ready")


def exchange(one: Path, other: Path) -> None:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.renameat2(-100, os.fsencode(one), -100, os.fsencode(other), 2)
    assert result == 0, os.strerror(ctypes.get_errno())


def test_an_exchanged_directory_keeps_its_process_until_a_restart(scan: Scan) -> None:
    target = scan.base / "supervise"
    for number, name in enumerate(("a", "b"), 1):
        directory = scan.base / name
        scan.add(name, definition=f"{number}" * 64).rename(directory)
        (directory / "supervise").symlink_to(target)
    (scan.base / "a").rename(scan.path / "a")
    scan.start()
    report = scan.until("a", "ready")
    assert report["definition"] == report["loaded"] == "1" * 64 + ".1"
    (scan.base / "b").rename(scan.path / ".a.new")
    exchange(scan.path / ".a.new", scan.path / "a")
    scan.call("Rescan")
    after = scan.until("a", "ready", loaded="2" * 64 + ".1")
    assert after["pid"] == report["pid"]
    assert after["definition"] == "1" * 64 + ".1"
    scan.control("a", "restart")
    scan.until("a", "ready", definition="2" * 64 + ".1")
    assert client("svok", str(scan.path / "a")).returncode == 0


def test_a_directory_that_is_exchanged_by_two_renames_is_not_stopped(scan: Scan) -> None:
    target = scan.base / "supervise"
    directory = scan.base / "a"
    scan.add("a").rename(directory)
    (directory / "supervise").symlink_to(target)
    shutil.copytree(directory, scan.path / ".a.new", symlinks=True)
    directory.rename(scan.path / "a")
    scan.start()
    pid = scan.until("a", "ready")["pid"]
    (scan.path / "a").rename(scan.path / ".a.old")
    (scan.path / ".a.new").rename(scan.path / "a")
    scan.call("Rescan")
    scan.add("b")
    scan.until("b", "ready")
    assert scan.service("a")["pid"] == pid


def test_remove_then_the_directory_goes(scan: Scan) -> None:
    directory = scan.add("a")
    scan.start()
    scan.until("a", "ready")
    scan.control("a", "remove")
    result = scan.call("Wait", wishes=[{"name": "a", "state": "down"}], timeout=30.0)["results"][0]
    assert result["outcome"] == "reached"
    assert procs.living_in(directory) == []
    scan.remove("a")
    scan.until_gone("a")
    # The name is free for another service.
    scan.add("a")
    scan.until("a", "ready")


def test_wait_for_gone(scan: Scan) -> None:
    scan.add("a")
    scan.start()
    scan.until("a", "ready")
    scan.remove("a")
    result = scan.call("Wait", wishes=[{"name": "a", "state": "gone"}], timeout=30.0)["results"][0]
    assert result["outcome"] == "reached"


MULTILOG = "#!/bin/sh\nexec multilog t ./main\n"


@pytest.mark.skipif(shutil.which("multilog") is None, reason="needs daemontools")
def test_a_plain_directory_with_a_logger_of_its_own(scan: Scan) -> None:
    directory = scan.add("a", "#!/bin/sh\necho hello\nexec sleep 100000\n", files={"log/run": MULTILOG}, plain=True)
    scan.start()
    scan.until("a", "ready")
    current = directory / "log" / "main" / "current"
    wait_until(lambda: current.exists() and current.read_text().endswith(" hello\n"))
    assert client("svok", str(directory / "log")).returncode == 0
    logger = scan.until("a/log", "ready")["pid"]
    # The logger is restarted as any service, and what is said meanwhile is not lost.
    client("svc", "-d", str(directory / "log"))
    scan.until("a/log", "down")
    procs.kill(scan.service("a")["pid"])
    scan.until("a", "ready", deaths=1)
    client("svc", "-u", str(directory / "log"))
    wait_until(lambda: current.read_text().count(" hello\n") == 2)
    assert scan.service("a/log")["pid"] != logger


@pytest.mark.skipif(shutil.which("multilog") is None, reason="needs daemontools")
def test_the_logger_hears_the_last_words(scan: Scan) -> None:
    run = "#!/bin/sh\ntrap 'echo last words; kill $! 2>/dev/null; exit 0' TERM\nsleep 100000 &\necho >&3\nwait\n"
    directory = scan.add("a", run, files={"log/run": MULTILOG, "notification-fd": "3\n"}, plain=True)
    scan.start()
    scan.until("a", "ready")
    scan.until("a/log", "ready")
    assert scan.stop_supervisor() == 0
    assert (directory / "log" / "main" / "current").read_text().endswith(" last words\n")
    assert procs.living_in(directory / "log") == []


def test_many_services_at_once(scan: Scan) -> None:
    names = [f"s{number:03}" for number in range(100)]
    for name in names:
        scan.add(name)
    scan.start()
    wait_until(lambda: all(report["state"] == "ready" for report in scan.services().values()), 60)
    assert len({report["pid"] for report in scan.services().values()}) == 100
    assert scan.stop_supervisor() == 0
    assert scan.processes() == []


@pytest.mark.parametrize("number", [signal.SIGHUP])
def test_hup_looks_at_the_directory(scan: Scan, number: int) -> None:
    scan.add("a")
    pid = scan.start()
    scan.until("a", "ready")
    os.kill(pid, number)
    scan.add("b", SLEEP)
    scan.until("b", "ready")
    scan.until("a", "ready", deaths=0)


def test_directories_that_come_and_go_at_once(scan: Scan) -> None:
    scan.add("other")
    scan.start()
    pid = scan.until("other", "ready")["pid"]
    for number in range(200):
        scan.add("a").rename(scan.base / f"gone{number}")
    scan.add("last")
    scan.until("last", "ready")
    report = scan.service("other")
    assert (report["pid"], report["deaths"]) == (pid, 0)
    scan.until_gone("a")


@pytest.mark.parametrize("way", ["rescan", "death"])
def test_a_plain_directory_that_is_replaced(scan: Scan, way: str) -> None:
    # Its supervise/ went with it: nothing that the old one left is where the clients of the new one look.
    scan.add("new", "#!/bin/sh\nexec sleep 200000\n", plain=True).rename(scan.path / ".new")
    scan.add("a", plain=True)
    scan.start()
    pid = scan.until("a", "ready")["pid"]
    (scan.path / "a").rename(scan.path / ".old")
    (scan.path / ".new").rename(scan.path / "a")
    if way == "rescan":
        scan.call("Rescan")
        assert scan.service("a")["pid"] == pid
        assert client("svok", str(scan.path / "a")).returncode == 0
        client("svc", "-t", str(scan.path / "a"))
    else:
        procs.kill(pid)
    report = scan.until_other("a", pid)
    wait_until(lambda: procs.arguments(report["pid"])[-1:] == ["200000"])
    assert client("svok", str(scan.path / "a")).returncode == 0
    assert f"(pid {report['pid']})" in client("svstat", str(scan.path / "a")).stdout


@pytest.mark.skipif(shutil.which("multilog") is None, reason="needs daemontools")
def test_supervise_directories_that_were_deleted_are_made_again(scan: Scan) -> None:
    directory = scan.add("a", files={"log/run": MULTILOG}, plain=True)
    scan.start()
    pids = [scan.until(name, "ready")["pid"] for name in ("a", "a/log")]
    shutil.rmtree(directory / "supervise")
    shutil.rmtree(directory / "log" / "supervise")
    scan.call("Rescan")
    for place in (directory, directory / "log"):
        assert client("svok", str(place)).returncode == 0
    assert [scan.service(name)["pid"] for name in ("a", "a/log")] == pids
