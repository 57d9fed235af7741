# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Services that need others: order of start and of stop, circles, and what is missing."""

from __future__ import annotations

import itertools
from pathlib import Path

import procs
import pytest
from supervised import Scan
from waiting import wait_until


def orderly(order: Path, name: str) -> str:
    """A run script that notes its start and, when it is stopped, its end."""
    return (
        f"#!/bin/sh\ntrap 'kill $! 2>/dev/null; echo {name} >>{order}.stop; exit 0' TERM\n"
        f"echo {name} >>{order}.start\nsleep 100000 &\necho >&3\nwait\n"
    )


def read(path: str) -> list[str]:
    return Path(path).read_text().split()


def test_order_of_start_and_stop(scan: Scan) -> None:
    order = scan.base / "order"
    needs = {"app": ["db", "cache"], "cache": ["disk"], "db": ["disk"], "disk": []}
    for name, needed in needs.items():
        scan.add(name, orderly(order, name), needs=needed, readiness={"notification_fd": 3})
    scan.start()
    for name in needs:
        scan.until(name, "ready")
    assert scan.stop_supervisor() == 0
    started, stopped = read(f"{order}.start"), read(f"{order}.stop")
    assert sorted(started) == sorted(stopped) == sorted(needs)
    for name, needed in needs.items():
        for other in needed:
            assert started.index(other) < started.index(name)
            assert stopped.index(other) > stopped.index(name)


def test_a_service_waits_until_its_need_is_ready(scan: Scan) -> None:
    directory = scan.add(
        "db", "#!/bin/sh\nwhile ! test -e go; do sleep 0.01; done\necho >&3\nexec sleep 100000\n",
        readiness={"notification_fd": 3},
    )  # fmt: skip
    scan.add("app", needs=["db"])
    scan.start()
    scan.until("db", "up")
    report = scan.until("app", "waiting")
    assert "db" in report["reason"]
    assert procs.living_in(scan.path / "app") == []
    (directory / "go").touch()
    scan.until("app", "ready")


def test_a_need_that_is_not_there_is_named_and_met_when_it_comes(scan: Scan) -> None:
    scan.add("app", needs=["db"])
    scan.start()
    assert "db" in scan.until("app", "waiting")["reason"]
    scan.add("db")
    scan.until("app", "ready")


def test_a_waiting_service_can_be_stopped(scan: Scan) -> None:
    scan.add("app", needs=["db"])
    scan.start()
    scan.until("app", "waiting")
    scan.control("app", "stop")
    scan.until("app", "down")
    scan.add("db")
    scan.until("db", "ready")
    assert scan.service("app")["state"] == "down"


@pytest.mark.parametrize("names", [["a"], ["a", "b"], ["a", "b", "c"]])
def test_circles_do_no_harm(scan: Scan, names: list[str]) -> None:
    for name, needed in zip(names, itertools.islice(itertools.cycle(names), 1, None)):
        scan.add(name, needs=[needed])
    scan.add("other")
    scan.start()
    scan.until("other", "ready")
    for name in names:
        report = scan.until(name, "waiting", "failed")
        assert any(other in report["reason"] for other in names)
    assert scan.stop_supervisor() == 0


def test_the_death_of_a_need_does_not_stop_who_needs_it(scan: Scan) -> None:
    scan.add("db")
    scan.add("app", needs=["db"])
    scan.start()
    pid = scan.until("app", "ready")["pid"]
    procs.kill(scan.service("db")["pid"])
    scan.until("db", "ready", deaths=1)
    assert scan.service("app")["pid"] == pid


def test_waiting_for_a_service_whose_need_has_failed_is_bounded(scan: Scan) -> None:
    scan.add("db", "#!/bin/sh\nexit 100\n")
    scan.add("app", needs=["db"])
    scan.start()
    scan.until("db", "failed")
    answer = scan.call("Wait", wishes=[{"name": "app", "state": "ready"}], timeout=60.0)
    assert answer["results"][0]["outcome"] == "failed"
    assert "db" in answer["results"][0]["service"]["reason"]


def test_a_periodic_service_meets_a_need_once_it_has_run_well(scan: Scan) -> None:
    # It takes longer than the time after which another service counts as ready.
    directory = scan.add("job", "#!/bin/sh\nsleep 0.1\ntest -e good\n", type="periodic", interval=0.2)
    scan.add("app", needs=["job"])
    scan.start()
    scan.until("app", "waiting")
    wait_until(lambda: scan.service("job")["deaths"] >= 1)
    assert scan.service("app")["state"] == "waiting"
    (directory / "good").touch()
    scan.until("app", "ready")


def test_the_reason_to_wait_follows_what_is_waited_for(scan: Scan) -> None:
    scan.add("db", run="#!/bin/sh\nexit 100\n", files={"down": ""})
    scan.add("app", needs=["db"])
    scan.start()
    wait_until(lambda: scan.service("app")["reason"] == "needs db (down)")
    scan.call("Control", commands=[{"name": "db", "action": "start"}])
    wait_until(lambda: scan.service("app")["reason"] == "needs db (failed)")
