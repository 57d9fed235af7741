# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The file API, used by the clients that distributions ship: svc, svstat and svok of daemontools, sv of runit."""

from __future__ import annotations

import os
import re
import shutil
import signal
import struct
import subprocess
import time
from pathlib import Path

import procs
import pytest
from supervised import Scan, client
from waiting import wait_until

pytestmark = pytest.mark.skipif(
    not all(shutil.which(name) for name in ("svc", "svstat", "svok", "sv", "supervise", "runsv")),
    reason="needs daemontools and runit",
)


def svstat(directory: Path) -> str:
    answer = client("svstat", str(directory))
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.partition(": ")[2].strip()


def until_svstat(directory: Path, pattern: str) -> str:
    texts: list[str] = []

    def matches() -> bool:
        texts.append(svstat(directory))
        return re.match(pattern, texts[-1]) is not None

    wait_until(matches)
    return texts[-1]


def read_status(directory: Path) -> bytes:
    return (directory / "supervise" / "status").read_bytes()


def test_svok_and_svstat_see_a_running_service(scan: Scan) -> None:
    directory = scan.add("a", plain=True)
    assert client("svok", str(directory)).returncode == 100
    scan.start()
    pid = scan.until("a", "ready")["pid"]
    assert client("svok", str(directory)).returncode == 0
    assert re.match(rf"up \(pid {pid}\) \d+ seconds$", svstat(directory))


def test_sv_sees_a_running_service(scan: Scan) -> None:
    directory = scan.add("a", plain=True)
    scan.start()
    pid = scan.until("a", "ready")["pid"]
    answer = client("sv", "status", str(directory))
    assert answer.returncode == 0
    assert re.match(rf"run: {re.escape(str(directory))}: \(pid {pid}\) \d+s$", answer.stdout.strip())


def test_ok_stops_to_answer_when_the_supervisor_is_dead(scan: Scan) -> None:
    directory = scan.add("a", plain=True)
    scan.start()
    scan.until("a", "ready")
    scan.kill_supervisor()
    assert client("svok", str(directory)).returncode == 100


@pytest.mark.parametrize(("down", "up"), [(("svc", "-d"), ("svc", "-u")), (("sv", "down"), ("sv", "up"))])
def test_down_and_up(scan: Scan, down: tuple[str, str], up: tuple[str, str]) -> None:
    directory = scan.add("a", plain=True)
    scan.start()
    first = scan.until("a", "ready")["pid"]
    client(*down, str(directory))
    until_svstat(directory, r"down \d+ seconds, normally up")
    assert not procs.alive(first)
    client(*up, str(directory))
    text = until_svstat(directory, r"up \(pid \d+\)")
    assert f"(pid {first})" not in text


def test_sv_restart_waits_for_the_new_process(scan: Scan) -> None:
    directory = scan.add("a", plain=True)
    scan.start()
    report = scan.until("a", "ready")
    first = report["pid"]
    # sv compares whole seconds: within the second of the start it takes the old process for the new one.
    wait_until(lambda: time.time() - report["since"] > 1.5)
    answer = client("sv", "-w", "20", "restart", str(directory))
    assert answer.returncode == 0, answer.stdout
    assert scan.service("a")["pid"] not in (0, first)


def test_sv_check_runs_the_check_program(scan: Scan) -> None:
    directory = scan.add("a", files={"check": "#!/bin/sh\ntest -e good\n"}, plain=True)
    scan.start()
    scan.until("a", "up")
    assert client("sv", "-w", "1", "check", str(directory)).returncode != 0
    (directory / "good").touch()
    assert client("sv", "-w", "20", "check", str(directory)).returncode == 0


def test_once_runs_but_does_not_run_again(scan: Scan) -> None:
    directory = scan.add("a", files={"down": ""}, plain=True)
    scan.start()
    scan.until("a", "down")
    client("svc", "-o", str(directory))
    pid = scan.until("a", "ready")["pid"]
    assert read_status(directory)[17] == 0
    procs.kill(pid)
    assert scan.until("a", "down")["deaths"] == 1


def test_once_on_a_running_service_only_takes_the_restart_away(scan: Scan) -> None:
    directory = scan.add("a", plain=True)
    scan.start()
    pid = scan.until("a", "ready")["pid"]
    client("svc", "-o", str(directory))
    scan.until("a", "ready", want="once", pid=pid)
    procs.kill(pid)
    scan.until("a", "down", deaths=1)


def test_exit_lets_go_of_the_directory_after_the_death(scan: Scan) -> None:
    directory = scan.add("a", plain=True)
    scan.add("b", plain=True)
    scan.start()
    pid = scan.until("a", "ready")["pid"]
    other = scan.until("b", "ready")["pid"]
    client("svc", "-dx", str(directory))
    wait_until(lambda: client("svok", str(directory)).returncode == 100)
    assert not procs.alive(pid)
    assert scan.service("b")["pid"] == other


def test_pause_and_continue(scan: Scan) -> None:
    directory = scan.add("a", plain=True)
    scan.start()
    pid = scan.until("a", "ready")["pid"]
    client("svc", "-p", str(directory))
    wait_until(lambda: procs.state(pid) == "T")
    until_svstat(directory, r"up \(pid \d+\) \d+ seconds, paused")
    assert read_status(directory)[16] == 1
    assert scan.service("a")["paused"]
    client("svc", "-c", str(directory))
    wait_until(lambda: procs.state(pid) == "S")
    scan.until("a", paused=False)
    assert read_status(directory)[16] == 0


def test_a_paused_service_can_be_stopped(scan: Scan) -> None:
    directory = scan.add("a", plain=True)
    scan.start()
    pid = scan.until("a", "ready")["pid"]
    client("svc", "-p", str(directory))
    wait_until(lambda: procs.state(pid) == "T")
    client("svc", "-d", str(directory))
    scan.until("a", "down")
    assert not procs.alive(pid)


TRAPS = """#!/bin/sh
for name in HUP INT QUIT USR1 USR2 ALRM TERM WINCH; do
  trap "echo $name >>heard" $name
done
echo >>trapped
while :; do sleep 0.01; done
"""


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (("svc", "-h"), "HUP"),
        (("svc", "-a"), "ALRM"),
        (("svc", "-i"), "INT"),
        (("svc", "-t"), "TERM"),
        (("sv", "quit"), "QUIT"),
        (("sv", "1"), "USR1"),
        (("sv", "2"), "USR2"),
    ],
)
def test_signals(scan: Scan, command: tuple[str, str], name: str) -> None:
    directory = scan.add("a", TRAPS, plain=True)
    scan.start()
    wait_until((directory / "trapped").exists)
    pid = scan.until("a", "up", "ready")["pid"]
    client(*command, str(directory))
    wait_until(lambda: (directory / "heard").exists() and (directory / "heard").read_text() == f"{name}\n")
    assert scan.service("a")["pid"] == pid


def test_kill_byte_kills_and_the_service_is_restarted(scan: Scan) -> None:
    directory = scan.add("a", plain=True)
    scan.start()
    pid = scan.until("a", "ready")["pid"]
    client("svc", "-k", str(directory))
    report = scan.until_deaths("a", 1)
    assert report["exit"]["kind"] == "signal"
    assert report["exit"]["code"] == signal.SIGKILL
    assert not procs.alive(pid)


def write_control(directory: Path, data: bytes) -> None:
    descriptor = os.open(directory / "supervise" / "control", os.O_WRONLY | os.O_NONBLOCK)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)


def test_unknown_bytes_and_the_prefixes_of_encore_are_ignored(scan: Scan) -> None:
    directory = scan.add("a", plain=True)
    scan.start()
    pid = scan.until("a", "ready")["pid"]
    write_control(directory, b"lL+=zZ\x00\xff\n!")
    assert scan.service("a")["pid"] == pid
    write_control(directory, b"ld")
    scan.until("a", "down")
    write_control(directory, b"l+u")
    scan.until("a", "ready")


def test_down_then_up_at_once_is_never_lost(scan: Scan) -> None:
    directory = scan.add("a", plain=True)
    scan.start()
    for _round in range(10):
        pid = scan.until("a", "up", "ready", want="up")["pid"]
        write_control(directory, b"du")
        assert scan.until_other("a", pid)["want"] == "up"


def test_status_bytes_in_the_layout_of_runit(scan: Scan) -> None:
    directory = scan.add("a", plain=True)
    began = int(time.time())
    scan.start()
    pid = scan.until("a", "ready")["pid"]
    data = read_status(directory)
    seconds, nanoseconds, stored, paused, want, term, state = struct.unpack(">QI", data[:12]) + struct.unpack(
        "<IBBBB", data[12:]
    )
    assert 2**62 + 10 + began - 5 <= seconds <= 2**62 + 10 + int(time.time()) + 5
    assert nanoseconds < 10**9
    assert (stored, paused, want, term, state) == (pid, 0, ord("u"), 0, 1)
    client("svc", "-d", str(directory))
    scan.until("a", "down")
    data = read_status(directory)
    assert struct.unpack("<I", data[12:16]) == (0,)
    assert data[16:20] == b"\0d\0\0"


def test_the_layout_of_encore_by_option(scan: Scan) -> None:
    directory = scan.add("a", plain=True)
    scan.start("--layout", "encore")
    scan.until("a", "ready")
    assert read_status(directory)[18:] == b"\x03\0"
    client("svc", "-d", str(directory))
    scan.until("a", "down")
    assert read_status(directory)[18:] == b"\0\0"
    assert re.match("down", svstat(directory))


def test_runit_state_says_that_finish_runs(scan: Scan) -> None:
    directory = scan.add("a", files={"finish": "#!/bin/sh\nexec sleep 100000\n"}, finish_timeout=0.0)
    scan.start()
    pid = scan.until("a", "ready")["pid"]
    procs.kill(pid, signal.SIGTERM)
    finish = scan.until("a", "finishing")["pid"]
    assert finish != pid
    data = read_status(directory)
    assert data[19] == 2
    assert struct.unpack("<I", data[12:16]) == (finish,)
    assert client("sv", "status", str(directory)).stdout.startswith("finish:")


def test_status_is_never_seen_half_written(scan: Scan) -> None:
    directory = scan.add("a", "#!/bin/sh\nexit 1\n")
    scan.start()
    # Read while it changes all the time.
    sizes: set[int] = set()

    def busy() -> bool:
        sizes.update(len(read_status(directory)) for _unused in range(50))
        return bool(scan.service("a")["deaths"] >= 10)

    wait_until(busy)
    assert sizes == {20}


@pytest.mark.parametrize("other", ["supervise", "runsv"])
def test_the_lock_keeps_other_supervisors_out(scan: Scan, other: str) -> None:
    directory = scan.add("a", plain=True)
    scan.start()
    pid = scan.until("a", "ready")["pid"]
    refused = subprocess.run([other, str(directory)], capture_output=True, text=True, timeout=20, check=False)
    assert refused.returncode == 111
    assert "lock" in refused.stderr
    assert procs.living_in(directory) == [pid]


@pytest.mark.parametrize("other", ["supervise", "runsv"])
def test_a_directory_that_another_supervisor_has_is_left_alone(scan: Scan, other: str) -> None:
    directory = scan.add("a", plain=True)
    scan.add("b", plain=True)
    theirs = subprocess.Popen([other, str(directory)])
    try:
        wait_until(lambda: client("svok", str(directory)).returncode == 0)
        running = until_svstat(directory, r"up \(pid \d+\)")
        scan.start()
        scan.until("b", "ready")
        assert "another supervisor" in scan.complaints()
        assert svstat(directory).split(")")[0] == running.split(")")[0]
    finally:
        client("svc", "-dx", str(directory))
        theirs.wait(20)


def test_the_lock_keeps_posix_lockers_out_too(scan: Scan) -> None:
    directory = scan.add("a", plain=True)
    scan.start()
    scan.until("a", "ready")
    program = "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'r+b'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    locker = client("/usr/bin/python3", "-c", program, str(directory / "supervise" / "lock"))
    assert "BlockingIOError" in locker.stderr


def test_modes_of_the_files(scan: Scan) -> None:
    directory = scan.add("a", plain=True)
    scan.start()
    scan.until("a", "ready")
    supervise = directory / "supervise"
    modes = {name: (supervise / name).stat().st_mode & 0o7777 for name in ("control", "ok", "status", "lock")}
    assert modes == {"control": 0o600, "ok": 0o600, "status": 0o644, "lock": 0o600}
    assert supervise.stat().st_mode & 0o7777 == 0o700


def test_supervise_may_be_a_link_to_a_place_that_is_not_there_yet(scan: Scan) -> None:
    target = scan.base / "run" / "supervise" / "a"
    directory = scan.path / ".a.new"
    directory.mkdir()
    (directory / "run").write_text("#!/bin/sh\nexec sleep 100000\n")
    (directory / "run").chmod(0o755)
    (directory / "supervise").symlink_to(target)
    directory.rename(scan.path / "a")
    scan.start()
    scan.until("a", "ready")
    assert (target / "status").exists()
    assert client("svok", str(scan.path / "a")).returncode == 0
