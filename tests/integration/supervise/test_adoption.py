# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The supervisor is killed, or replaces itself: no service is stopped, lost or started twice."""

from __future__ import annotations

import os
import random
import signal
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import procs
import pytest
from supervised import SLEEP, Scan, client
from waiting import wait_until


def test_a_new_supervisor_adopts_all(scan: Scan) -> None:
    names = ["up", "stopped", "once", "kept"]
    for name in names:
        scan.add(name)
    scan.start()
    for name in names:
        scan.until(name, "ready")
    scan.control("stopped", "stop")
    scan.until("stopped", "down")
    scan.control("once", "once")
    before = scan.services()
    scan.kill_supervisor()
    assert procs.alive(before["up"]["pid"])
    scan.start()
    after = scan.services()
    for name in names:
        assert after[name]["pid"] == before[name]["pid"], name
        assert after[name]["want"] == before[name]["want"], name
        assert after[name]["state"] == before[name]["state"], name
        assert after[name]["since"] == pytest.approx(before[name]["since"])
    assert after["up"]["adopted"]
    assert client("svok", str(scan.path / "up")).returncode == 0


@pytest.mark.parametrize("way", ["death", "stop", "restart"])
def test_an_adopted_service_is_supervised_as_any(scan: Scan, way: str) -> None:
    directory = scan.add("a", files={"finish": '#!/bin/sh\necho "$@" >>finished\n'})
    scan.start()
    pid = scan.until("a", "ready")["pid"]
    scan.kill_supervisor()
    scan.start()
    if way == "death":
        procs.kill(pid)
        wanted = "-1 9"
    else:
        scan.control("a", way)
        wanted = "-1 15"
    if way == "stop":
        report = scan.until("a", "down")
    else:
        report = scan.until_other("a", pid)
        assert not scan.until("a", "ready")["adopted"]
    assert not procs.alive(pid)
    # Only an end that nobody asked for is a death.
    assert report["deaths"] == (1 if way == "death" else 0)
    # How the child of somebody else ended is known from Linux 6.15 on, if that somebody collects it.
    assert (directory / "finished").read_text().strip() in (wanted, "-1 0")
    assert report["exit"]["kind"] in ("signal", "unknown")


def test_a_service_that_died_meanwhile_is_started_again(scan: Scan) -> None:
    scan.add("a")
    scan.add("b", restart="on_failure")
    scan.start()
    pids = {name: scan.until(name, "ready")["pid"] for name in ("a", "b")}
    scan.kill_supervisor()
    for pid in pids.values():
        procs.kill(pid)
        procs.until_dead(pid)
    scan.start()
    for name, pid in pids.items():
        report = scan.until(name, "ready")
        assert report["pid"] != pid
        assert report["exit"]["kind"] == "unknown"


def test_an_unknown_end_is_never_a_permanent_failure(scan: Scan) -> None:
    scan.add(
        "a", "#!/bin/sh\ntest -e ran && exec sleep 100000\n: >ran\nwhile ! test -e go; do sleep 0.01; done\nexit 100\n"
    )
    scan.start()
    pid = scan.until("a", "ready")["pid"]
    scan.kill_supervisor()
    (scan.path / "a" / "go").touch()
    wait_until(lambda: not procs.alive(pid))
    scan.start()
    scan.until("a", "ready")


def test_what_was_added_or_removed_meanwhile(scan: Scan) -> None:
    scan.add("a")
    scan.add("b")
    scan.start()
    first = scan.until("a", "ready")["pid"]
    scan.until("b", "ready")
    scan.kill_supervisor()
    scan.add("c")
    scan.start()
    assert scan.until("a", "ready")["pid"] == first
    scan.until("c", "ready")


def test_a_permanent_failure_is_kept(scan: Scan) -> None:
    directory = scan.add("a", "#!/bin/sh\necho run >>ran\nexit 100\n")
    scan.start()
    scan.until("a", "failed")
    scan.kill_supervisor()
    scan.start()
    scan.until("a", "failed")
    assert (directory / "ran").read_text() == "run\n"


def test_a_pause_is_kept(scan: Scan) -> None:
    scan.add("a")
    scan.start()
    pid = scan.until("a", "ready")["pid"]
    scan.control("a", "pause")
    wait_until(lambda: procs.state(pid) == "T")
    scan.kill_supervisor()
    scan.start()
    report = scan.until("a", paused=True)
    assert report["pid"] == pid
    scan.control("a", "continue")
    wait_until(lambda: procs.state(pid) == "S")


def test_a_stop_under_way_is_finished(scan: Scan) -> None:
    run = "#!/bin/sh\ntrap ': >heard' TERM\n: >trapped\nwhile ! test -e go; do sleep 0.01; done\n"
    directory = scan.add("a", run, stop_timeout=100000.0)
    scan.start()
    wait_until((directory / "trapped").exists)
    scan.control("a", "stop")
    wait_until((directory / "heard").exists)
    scan.kill_supervisor()
    scan.start()
    assert scan.service("a")["state"] == "stopping"
    (directory / "go").touch()
    scan.until("a", "down", want="down")


def test_a_stop_under_way_still_ends_in_a_kill(scan: Scan) -> None:
    directory = scan.add(
        "a", "#!/bin/sh\ntrap ': >heard' TERM\n: >trapped\nwhile :; do sleep 0.01; done\n", stop_timeout=0.5
    )
    scan.start()
    wait_until((directory / "trapped").exists)
    scan.control("a", "stop")
    wait_until((directory / "heard").exists)
    scan.kill_supervisor()
    scan.start()
    scan.until("a", "down")


def test_finish_under_way_is_not_run_twice(scan: Scan) -> None:
    finish = "#!/bin/sh\necho finish >>order\nwhile ! test -e go; do sleep 0.01; done\n"
    directory = scan.add("a", files={"finish": finish}, finish_timeout=0.0)
    scan.start()
    scan.until("a", "ready")
    scan.control("a", "stop")
    pid = scan.until("a", "finishing")["pid"]
    wait_until((directory / "order").exists)
    scan.kill_supervisor()
    scan.start()
    assert scan.until("a", "finishing")["pid"] == pid
    (directory / "go").touch()
    scan.until("a", "down")
    assert (directory / "order").read_text() == "finish\n"


def test_readiness_that_comes_without_a_supervisor_is_not_lost(scan: Scan) -> None:
    run = "#!/bin/sh\nwhile ! test -e go; do sleep 0.01; done\necho >&3\n: >said\nexec sleep 100000\n"
    directory = scan.add("a", run, readiness={"notification_fd": 3})
    scan.start()
    pid = scan.until("a", "up")["pid"]
    scan.kill_supervisor()
    (directory / "go").touch()
    wait_until((directory / "said").exists)
    scan.start()
    assert scan.until("a", "ready")["pid"] == pid


def test_a_pid_of_somebody_else_is_not_adopted(scan: Scan) -> None:
    directory = scan.add("a")
    scan.start()
    pid = scan.until("a", "ready")["pid"]
    scan.kill_supervisor()
    procs.kill(pid)
    wait_until(lambda: not procs.alive(pid))
    # The record now names a process of the same pid that started at another time: as after a wrap of the pids.
    import subprocess

    from ansible_collections.holdfast.supervision.plugins.module_utils._supervise._embedded import record

    path = str((directory / "supervise" / "record").resolve())
    left = record.read(path)
    assert left is not None
    with subprocess.Popen(["sleep", "100000"]) as stranger:
        try:
            left.pid = stranger.pid
            record.write(path, left)
            scan.start()
            assert scan.until("a", "ready")["pid"] not in (pid, stranger.pid)
            scan.control("a", "stop")
            scan.until("a", "down")
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_quit_leaves_the_services_running(scan: Scan) -> None:
    scan.add("a")
    pid = scan.start()
    service = scan.until("a", "ready")["pid"]
    os.kill(pid, signal.SIGQUIT)
    assert scan.process is not None
    assert scan.process.wait(30) == 0
    assert procs.alive(service)
    scan.start()
    assert scan.until("a", "ready")["pid"] == service


def test_a_second_supervisor_is_refused(scan: Scan) -> None:
    scan.add("a")
    scan.start()
    service = scan.until("a", "ready")["pid"]
    first, scan.process = scan.process, None
    answer = scan.run("supervise", str(scan.path))
    scan.process = first
    assert answer.returncode == 100
    assert "another supervisor" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert scan.service("a")["pid"] == service


def test_reexec_keeps_pid_services_and_exit_codes(scan: Scan) -> None:
    directory = scan.add("a", "#!/bin/sh\nwhile ! test -e go; do sleep 0.01; done\nexit 43\n", restart="never")
    scan.add("b")
    pid = scan.start()
    before = {name: scan.until(name, "ready")["pid"] for name in ("a", "b")}
    assert scan.call("Reexec")["pid"] == pid
    scan.wait_answer()
    wait_until(lambda: scan.call("Status")["supervisor"]["pid"] == pid)
    assert {name: scan.until(name, "ready")["pid"] for name in before} == before
    (directory / "go").touch()
    report = scan.until("a", "down")
    assert (report["exit"]["kind"], report["exit"]["code"]) == ("exit", 43)
    procs.kill(before["b"])
    scan.until("b", "ready", deaths=1)


def test_reexec_again_and_again_under_deaths(scan: Scan) -> None:
    for number in range(10):
        scan.add(f"s{number}", "#!/bin/sh\nexec sleep 0.02\n")
    pid = scan.start()
    for _round in range(5):
        scan.call("Reexec")
        wait_until(lambda: answers(scan))
        assert scan.call("Status")["supervisor"]["pid"] == pid
    for number in range(10):
        scan.until_deaths(f"s{number}", scan.service(f"s{number}")["deaths"] + 1)
        # The supervisor itself goes there for a moment, to start another one.
        assert len(set(procs.living_in(scan.path / f"s{number}")) - {pid}) <= 1
    # Every child was collected.
    for child in procs.children(pid):
        wait_until(partial(procs.gone_or_alive, child))


def answers(scan: Scan) -> bool:
    from ansible_collections.holdfast.supervision.plugins.module_utils._varlink.client import ConnectionLost

    try:
        return bool(scan.call("Status"))
    except ConnectionLost:
        return False


#: Notes its pid, then becomes the service: so every start is seen, however short its life.
NOTED = "#!/bin/sh\necho $$ >>started\nexec sleep 100000\n"


@pytest.mark.parametrize("state", ["plain", "forked"])
def test_killed_at_random_while_many_start_there_are_never_two(scan: Scan, state: str) -> None:
    names = [f"s{number:03}" for number in range(100)]
    process = {**scan.definition("a")["process"], **({"umask": 0o022} if state == "forked" else {})}
    for name in names:
        scan.add(name, NOTED, process=process)
    generator = random.Random(f"{state} {os.getpid()}")

    def started() -> int:
        return sum((scan.path / name / "started").exists() for name in names)

    def until_started(least: int) -> None:
        wait_until(lambda: started() >= least, 60)

    for _round in range(8):
        begun = started()
        scan.start(wait=False)
        # Killed at a moment of the start that differs every time: when so many more services have run.
        aim = min(begun + generator.randrange(1, 20), len(names))
        until_started(aim)
        if aim == len(names):
            break
        scan.kill_supervisor()
        assert two_copies(scan, names) == {}
    else:
        scan.start(wait=False)
    scan.wait_answer()
    wait_until(lambda: all(report["state"] == "ready" for report in scan.services().values()), 60)
    reports = scan.services()
    assert len(reports) == 100
    for name in names:
        assert procs.living_in(scan.path / name) == [reports[name]["pid"]]


def two_copies(scan: Scan, names: list[str]) -> dict[str, list[int]]:
    """Services that more than one living process belongs to."""
    running: dict[str, list[int]] = {}
    base = os.path.realpath(scan.path) + "/"
    for pid in procs.pids():
        directory = procs.working_directory(pid)
        if directory.startswith(base):
            running.setdefault(directory[len(base) :], []).append(pid)
    # Alive at the same time, not one after the other.
    living = {name: [pid for pid in pids if procs.alive(pid)] for name, pids in running.items()}
    return {name: pids for name, pids in living.items() if len(pids) > 1}


def test_killed_again_and_again_under_load_nothing_is_lost(scan: Scan) -> None:
    for number in range(20):
        scan.add(f"s{number:02}", SLEEP)
    scan.start()
    for name in scan.services():
        scan.until(name, "ready")
    pids = {name: report["pid"] for name, report in scan.services().items()}
    for _round in range(5):
        scan.kill_supervisor()
        scan.start()
    assert {name: report["pid"] for name, report in scan.services().items()} == pids


def test_a_client_that_waits_is_told_when_the_supervisor_dies(scan: Scan) -> None:
    from ansible_collections.holdfast.supervision.plugins.module_utils._varlink.client import ConnectionLost

    scan.add("a", readiness={"grace": 100000.0, "timeout": 200000.0})
    scan.start()
    scan.until("a", "up")
    with ThreadPoolExecutor() as pool:
        waiter = pool.submit(scan.call, "Wait", wishes=[{"name": "a", "state": "ready"}], timeout=60.0)
        scan.kill_supervisor()
        with pytest.raises(ConnectionLost):
            waiter.result()


def test_records_of_another_boot_mean_nothing(scan: Scan) -> None:
    directory = scan.add("a")
    scan.start()
    pid = scan.until("a", "ready")["pid"]
    scan.kill_supervisor()
    procs.kill(pid)
    from ansible_collections.holdfast.supervision.plugins.module_utils._supervise._embedded import identity, record

    path = str((directory / "supervise" / "record").resolve())
    left = record.read(path)
    assert left is not None
    left.boot = bytes(16)
    left.pid, left.started, left.want = os.getpid(), identity.start_time(os.getpid()), "d"
    record.write(path, left)
    scan.start()
    # A new boot: what the `down` file says counts, which is not there.
    assert scan.until("a", "ready")["pid"] != os.getpid()


@pytest.mark.parametrize("damage", [b"", b"x" * 5, b"HFREC999" + bytes(300), os.urandom(4096)])
def test_a_damaged_record_does_no_harm(scan: Scan, damage: bytes) -> None:
    directory = scan.add("a", files={"down": ""})
    scan.start()
    scan.until("a", "down")
    scan.kill_supervisor()
    Path(directory / "supervise" / "record").resolve().write_bytes(damage)
    scan.start()
    scan.until("a", "down")
    scan.control("a", "start")
    scan.until("a", "ready")
