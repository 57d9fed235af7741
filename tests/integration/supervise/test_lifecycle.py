# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From start to death and back: restart, back-off, giving up, finish, stop signal and time-outs, who is killed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import procs
import pytest
from supervised import SLEEP, Scan
from waiting import wait_until

FINISH = '#!/bin/sh\necho "$@" >>finished\n'
#: Longer than any test: a service that waits so long has not been restarted at once.
LONG = 100000.0


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def test_a_service_that_dies_is_started_again(scan: Scan) -> None:
    scan.add("a")
    scan.start()
    first = scan.until("a", "ready")["pid"]
    procs.kill(first)
    report = scan.until_other("a", first)
    assert report["deaths"] == 1
    assert report["exit"]["kind"] == "signal"
    assert report["exit"]["code"] == signal.SIGKILL


def test_exit_codes_are_kept(scan: Scan) -> None:
    scan.add("a", "#!/bin/sh\nexit 43\n", restart="never")
    scan.start()
    report = scan.until("a", "down")
    assert (report["exit"]["kind"], report["exit"]["code"]) == ("exit", 43)


@pytest.mark.parametrize(
    ("restart", "code", "again"),
    [
        ("always", 0, True),
        ("always", 1, True),
        ("on_failure", 0, False),
        ("on_failure", 1, True),
        ("never", 0, False),
        ("never", 1, False),
    ],
)
def test_restart_policy(scan: Scan, restart: str, code: int, again: bool) -> None:
    # The first run ends, the second one stays: so whether there was a second one is seen without waiting for a time.
    run = f"#!/bin/sh\ntest -e ran && exec sleep 100000\n: >ran\nexit {code}\n"
    scan.add("a", run, restart=restart)
    scan.start()
    report = scan.until("a", "ready" if again else "down", deaths=1)
    assert bool(report["pid"]) is again


def test_a_killed_service_counts_as_failed(scan: Scan) -> None:
    scan.add("a", restart="on_failure")
    scan.start()
    pid = scan.until("a", "ready")["pid"]
    procs.kill(pid, signal.SIGTERM)
    scan.until("a", "up", "ready", deaths=1)


def test_back_off_waits_and_start_cuts_it_short(scan: Scan) -> None:
    scan.add("a", "#!/bin/sh\nexit 1\n", backoff={"initial": LONG, "maximum": LONG})
    scan.start()
    report = scan.until("a", "backoff", deaths=1)
    assert report["want"] == "up"
    assert "1" in report["reason"]
    scan.control("a", "start")
    scan.until("a", "backoff", deaths=2)


def test_stop_ends_the_back_off(scan: Scan) -> None:
    scan.add("a", "#!/bin/sh\nexit 1\n", backoff={"initial": LONG, "maximum": LONG})
    scan.start()
    scan.until("a", "backoff")
    scan.control("a", "stop")
    scan.until("a", "down", want="down")


def test_back_off_is_capped(scan: Scan) -> None:
    # Doubled without a cap, the eighth pause would be longer than the test may take.
    scan.add("a", "#!/bin/sh\nexit 1\n", backoff={"initial": 0.01, "maximum": 0.02})
    scan.start()
    wait_until(lambda: scan.service("a")["deaths"] >= 15)


def test_a_service_that_had_been_up_is_restarted_at_once(scan: Scan) -> None:
    scan.add("a", backoff={"initial": LONG, "maximum": LONG})
    scan.start()
    scan.until("a", "ready")
    wait_until(lambda: scan.service("a")["uptime"] > 1.1)
    procs.kill(scan.service("a")["pid"])
    scan.until("a", "ready", deaths=1)


def test_failure_limit(scan: Scan) -> None:
    scan.add("a", "#!/bin/sh\nexit 3\n", failure_limit={"deaths": 3, "within": LONG})
    scan.start()
    report = scan.until("a", "failed")
    assert report["deaths"] == 3
    assert "3" in report["reason"]
    assert report["exit"]["code"] == 3
    scan.control("a", "start")
    scan.until("a", "failed", deaths=6)


def test_exit_100_of_run_gives_up(scan: Scan) -> None:
    scan.add("a", "#!/bin/sh\nexit 100\n")
    scan.start()
    report = scan.until("a", "failed")
    assert report["deaths"] == 1
    assert "100" in report["reason"]


def test_exit_125_of_finish_gives_up(scan: Scan) -> None:
    scan.add("a", "#!/bin/sh\nexit 1\n", files={"finish": "#!/bin/sh\nexit 125\n"})
    scan.start()
    report = scan.until("a", "failed")
    assert report["deaths"] == 1
    assert "finish" in report["reason"]


def test_a_failed_service_is_tried_again_when_told_to(scan: Scan) -> None:
    directory = scan.add("a", "#!/bin/sh\ntest -e good && exec sleep 100000\nexit 100\n")
    scan.start()
    scan.until("a", "failed")
    (directory / "good").touch()
    scan.control("a", "start")
    scan.until("a", "ready")


@pytest.mark.parametrize(
    ("run", "arguments"), [("exit 3", "3 0"), ("kill -TERM $$", "-1 15"), ("kill -KILL $$", "-1 9")]
)
def test_arguments_of_finish(scan: Scan, run: str, arguments: str) -> None:
    directory = scan.add("a", f"#!/bin/sh\n{run}\n", files={"finish": FINISH}, restart="never")
    scan.start()
    scan.until("a", "down")
    assert lines(directory / "finished") == [arguments]


def test_finish_runs_after_a_stop_too(scan: Scan) -> None:
    directory = scan.add("a", files={"finish": FINISH})
    scan.start()
    scan.until("a", "ready")
    scan.control("a", "stop")
    scan.until("a", "down")
    assert lines(directory / "finished") == ["-1 15"]


def test_finish_that_hangs_is_killed(scan: Scan) -> None:
    directory = scan.add("a", files={"finish": SLEEP}, finish_timeout=0.05)
    scan.start()
    scan.until("a", "ready")
    scan.control("a", "stop")
    scan.until("a", "down")
    assert procs.living_in(directory) == []


def test_a_start_while_finish_runs_waits_for_its_end(scan: Scan) -> None:
    finish = "#!/bin/sh\necho begin >>order\nwhile ! test -e go; do sleep 0.01; done\necho end >>order\n"
    run = "#!/bin/sh\necho run >>order\nexec sleep 100000\n"
    directory = scan.add("a", run, files={"finish": finish}, finish_timeout=0.0)
    scan.start()
    scan.until("a", "ready")
    scan.control("a", "stop")
    scan.until("a", "finishing")
    scan.control("a", "start")
    (directory / "go").touch()
    scan.until("a", "ready")
    assert lines(directory / "order") == ["run", "begin", "end", "run"]


def test_stop_signal(scan: Scan) -> None:
    run = "#!/bin/sh\ntrap '' TERM\ntrap 'echo quit >heard; exit 0' QUIT\n: >trapped\nwhile :; do sleep 0.01; done\n"
    directory = scan.add("a", run, stop_signal="QUIT")
    scan.start()
    wait_until((directory / "trapped").exists)
    scan.control("a", "stop")
    report = scan.until("a", "down")
    assert lines(directory / "heard") == ["quit"]
    assert report["exit"]["kind"] == "exit"


def test_down_signal_of_a_plain_directory(scan: Scan) -> None:
    scan.add("a", files={"down-signal": "INT\n"}, plain=True)
    scan.start()
    scan.until("a", "ready")
    scan.control("a", "stop")
    assert scan.until("a", "down")["exit"]["code"] == signal.SIGINT


DEAF = "#!/bin/sh\ntrap '' TERM\n: >trapped\nwhile :; do sleep 0.01; done\n"


def test_a_service_that_does_not_stop_is_killed(scan: Scan) -> None:
    directory = scan.add("a", DEAF, stop_timeout=0.05)
    scan.start()
    wait_until((directory / "trapped").exists)
    scan.control("a", "stop")
    report = scan.until("a", "down")
    assert (report["exit"]["kind"], report["exit"]["code"]) == ("signal", signal.SIGKILL)
    wait_until(lambda: procs.living_in(directory) == [])


def test_timeout_kill_of_a_plain_directory(scan: Scan) -> None:
    directory = scan.add("a", DEAF, files={"timeout-kill": "50\n"}, plain=True)
    scan.start()
    wait_until((directory / "trapped").exists)
    scan.control("a", "stop")
    assert scan.until("a", "down")["exit"]["code"] == signal.SIGKILL


def test_restart_starts_a_new_process(scan: Scan) -> None:
    scan.add("a")
    scan.add("b")
    scan.start()
    first = scan.until("a", "ready")["pid"]
    other = scan.until("b", "ready")["pid"]
    scan.control("a", "restart")
    wait_until(lambda: scan.service("a")["pid"] not in (0, first))
    assert not procs.alive(first)
    assert scan.until("a", "ready")["want"] == "up"
    assert scan.service("b")["pid"] == other


def test_reload_sends_its_signal(scan: Scan) -> None:
    run = "#!/bin/sh\ntrap 'echo usr1 >>heard' USR1\n: >trapped\nwhile :; do sleep 0.01; done\n"
    directory = scan.add("a", run, reload_signal="USR1")
    scan.start()
    wait_until((directory / "trapped").exists)
    pid = scan.service("a")["pid"]
    scan.control("a", "reload")
    wait_until(lambda: lines(directory / "heard") == ["usr1"])
    assert scan.service("a")["pid"] == pid


FAMILY = "#!/bin/sh\nsleep 100000 &\necho $! >child\nexec sleep 100000\n"


def child_of(directory: Path) -> int:
    return int(wait_until(lambda: lines(directory / "child"))[0])


@pytest.mark.parametrize("kill", ["group", "tree"])
@pytest.mark.parametrize("way", ["stop", "death"])
def test_no_child_is_left_behind(scan: Scan, kill: str, way: str) -> None:
    directory = scan.add("a", FAMILY, kill=kill, restart="never")
    scan.start()
    pid = scan.until("a", "ready")["pid"]
    child = child_of(directory)
    if way == "stop":
        scan.control("a", "stop")
    else:
        procs.kill(pid)
    scan.until("a", "down")
    wait_until(lambda: not procs.alive(child))


def test_kill_tree_reaches_what_left_the_session(scan: Scan) -> None:
    run = "#!/bin/sh\nsetsid sh -c 'echo $$ >child; exec sleep 100000' &\nexec sleep 100000\n"
    directory = scan.add("a", run, kill="tree")
    scan.start()
    scan.until("a", "ready")
    child = child_of(directory)
    scan.control("a", "stop")
    scan.until("a", "down")
    wait_until(lambda: not procs.alive(child))


def test_kill_process_leaves_children_alone(scan: Scan) -> None:
    directory = scan.add("a", FAMILY, kill="process")
    scan.start()
    pid = scan.until("a", "ready")["pid"]
    child = child_of(directory)
    scan.control("a", "stop")
    scan.until("a", "down")
    assert not procs.alive(pid)
    assert procs.alive(child)


def test_the_journal_tells_why(scan: Scan) -> None:
    scan.add("a", "#!/bin/sh\nexit 7\n", restart="never")
    scan.start()
    scan.until("a", "down")
    ends = [event for event in scan.events("a") if event["event"] == "exit"]
    assert len(ends) == 1
    assert ends[0]["exit"] == {"kind": "exit", "code": 7}
    assert scan.events("a", 1) == scan.events("a")[-1:]


def test_encore_start_stop_and_notify(scan: Scan) -> None:
    files = {
        "start": "#!/bin/sh\necho start >>order\n",
        "stop": "#!/bin/sh\necho stop >>order\n",
        "notify": '#!/bin/sh\necho "$1 $2 $4" >>notified\n',
    }
    directory = scan.add("a", "#!/bin/sh\necho run >>order\nexec sleep 100000\n", files=files)
    scan.start()
    scan.until("a", "ready")
    procs.kill(scan.service("a")["pid"])
    wait_until(lambda: lines(directory / "order") == ["start", "run", "run"])
    scan.until("a", "ready")
    scan.control("a", "stop")
    scan.until("a", "down")
    assert lines(directory / "order") == ["start", "run", "run", "stop"]
    told = ["run start 0", "run killed 9", "run start 0", "run killed 15"]
    wait_until(lambda: sorted(lines(directory / "notified")) == sorted(told))


def test_start_that_fails_is_a_permanent_failure(scan: Scan) -> None:
    directory = scan.add("a", files={"start": "#!/bin/sh\nexit 1\n"})
    scan.start()
    assert "start" in scan.until("a", "failed")["reason"]
    assert procs.living_in(directory) == []


def test_periodic_services_run_again_and_again(scan: Scan) -> None:
    directory = scan.add("a", "#!/bin/sh\necho run >>ran\n", type="periodic", interval=0.05)
    scan.start()
    wait_until(lambda: len(lines(directory / "ran")) >= 3)
    scan.until("a", "scheduled", want="up")


def test_a_periodic_service_waits_for_its_time_and_runs_when_told_to(scan: Scan) -> None:
    directory = scan.add("a", "#!/bin/sh\necho run >>ran\nexit 1\n", type="periodic", interval=LONG)
    scan.start()
    report = scan.until("a", "scheduled")
    assert report["exit"]["code"] == 1
    assert len(lines(directory / "ran")) == 1
    scan.control("a", "start")
    wait_until(lambda: len(lines(directory / "ran")) == 2)
    scan.until("a", "scheduled")
    scan.control("a", "stop")
    scan.until("a", "down")


def test_a_periodic_service_may_run_once_a_month_and_the_others_go_on(scan: Scan) -> None:
    scan.add("monthly", "#!/bin/sh\n", type="periodic", interval=30 * 86400.0)
    scan.start()
    pid = scan.call("Status")["supervisor"]["pid"]
    scan.until("monthly", "scheduled")
    scan.add("other")
    scan.call("Rescan")
    scan.until("other", "ready")
    assert scan.call("Status")["supervisor"]["pid"] == pid


def test_an_orderly_end_of_the_supervisor_stops_all_and_exits_0(scan: Scan) -> None:
    directories = [scan.add(f"s{number}") for number in range(5)]
    scan.start()
    for directory in directories:
        scan.until(directory.name, "ready")
    assert scan.stop_supervisor() == 0
    assert [pid for directory in directories for pid in procs.living_in(directory)] == []


def test_the_stop_call_does_the_same(scan: Scan) -> None:
    directory = scan.add("a")
    scan.start()
    scan.until("a", "ready")
    scan.call("Stop")
    assert scan.process is not None
    assert scan.process.wait(30) == 0
    assert procs.living_in(directory) == []
    assert not os.path.exists(scan.socket)
