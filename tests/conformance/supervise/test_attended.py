# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Periodic services and health: what the embedded supervisor does, and a parent of ours below the others."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import procs
import pytest
from conforming import Supervised, features, sh
from converging import SLEEP
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._plan.information import information

LONG = "1h"


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def every(interval: str, script: str, **others: Any) -> dict[str, Any]:
    return {"command": sh(script), "type": "periodic", "interval": interval, **others}


def well(path: Path, **others: Any) -> dict[str, Any]:
    return {"check": ["/usr/bin/test", "-e", str(path)], "interval": "50ms", "failures": 2, **others}


def parent_of(host: Supervised, name: str) -> int:
    """The parent of ours of a service that runs; skips where there is none."""
    service = host.service(name)
    if not service.attended:
        pytest.skip("it has no parent of ours")
    assert service.pid is not None
    return service.pid


@features("periodic")
def test_a_periodic_service_waits_for_its_time_and_runs_when_told_to(host: Supervised) -> None:
    marks = host.base / "marks"
    definition = {"beat": every(LONG, f"echo run >>{marks}")}
    before = time.time()
    host.good(definition)
    service = host.until("beat", "scheduled")
    assert service.ready and service.want == "up" and service.pid is None and lines(marks) == ["run"]
    assert service.next is not None and before + 3500 < service.next < time.time() + 3601
    assert not host.good(definition)["changed"]
    (record,) = information(["beat"], str(host.scan), host.client())["services"]
    assert (record["state"], record["next"]) == ("scheduled", pytest.approx(service.next, abs=1.0))
    assert host.tell("beat", "restart").outcome == "reached"
    wait_until(lambda: lines(marks) == ["run", "run"])
    host.until("beat", "scheduled")
    assert host.tell("beat", "stop", "down").outcome == "reached"
    assert lines(marks) == ["run", "run"]
    assert host.tell("beat", "start").outcome == "reached"
    wait_until(lambda: lines(marks) == ["run", "run", "run"])


@features("periodic")
def test_a_run_that_goes_wrong_fails_the_task_and_is_no_end(host: Supervised) -> None:
    marks, good = host.base / "marks", host.base / "good"
    definition = {"beat": every("1s", f"echo run >>{marks}; [ -e {good} ] || exit 3", readiness={"grace": "10s"})}
    result = host.task(definition)
    assert result["failed"] and "beat" in result["msg"]
    wait_until(lambda: len(lines(marks)) >= 3)
    service = host.until("beat", "scheduled")
    assert not service.ready and service.exit is not None and service.exit["code"] == 3
    good.touch()
    wait_until(lambda: host.service("beat").ready)
    host.good(definition)


@features("periodic")
def test_runs_never_overlap(host: Supervised) -> None:
    marks = host.base / "marks"
    host.good({"beat": every("1s", f"echo begin >>{marks}; sleep 1.5; echo end >>{marks}")})
    wait_until(lambda: len(lines(marks)) >= 6)
    assert lines(marks)[:6] == ["begin", "end"] * 3


@features("periodic")
def test_a_stop_ends_a_run(host: Supervised) -> None:
    marks = host.base / "marks"
    host.good({"beat": every(LONG, f"trap 'echo told >>{marks}; exit 0' TERM; echo run >>{marks}; sleep 1000 & wait")})
    wait_until(lambda: lines(marks) == ["run"])
    assert host.tell("beat", "stop", "down").outcome == "reached"
    wait_until(lambda: lines(marks) == ["run", "told"])


@features("periodic")
def test_a_new_definition_counts_from_the_next_run_on(host: Supervised) -> None:
    marks = host.base / "marks"
    host.good({"beat": every("2s", f"echo one >>{marks}")})
    host.until("beat", "scheduled")
    changed = {"beat": every("2s", f"echo two >>{marks}")}
    result = host.good(changed)
    assert result["changed"] and not host.good(changed)["changed"]
    wait_until(lambda: "two" in lines(marks))
    seen = lines(marks)
    assert seen == ["one"] * seen.count("one") + ["two"] * seen.count("two")


@features("periodic", "finish")
def test_finish_comes_after_each_run(host: Supervised) -> None:
    marks = host.base / "marks"
    finish = sh(f'echo "finish $HOLDFAST_EXIT_CODE" >>{marks}')
    host.task({"beat": every("1s", f"echo run >>{marks}; exit 4", finish=finish)})
    wait_until(lambda: len(lines(marks)) >= 4)
    assert lines(marks)[:4] == ["run", "finish 4"] * 2


@features("periodic")
def test_a_killed_parent_costs_no_run_and_makes_none(host: Supervised) -> None:
    marks = host.base / "marks"
    host.good({"beat": every(LONG, f"echo run >>{marks}; [ ! -e {marks}.long ] || exec sleep 100000 # {marks}")})
    service = host.until("beat", "scheduled")
    parents = host.pids(f"{host.scan}/beat")
    if not parents:
        pytest.skip("it has no parent of ours")
    # While it waits: it waits on.
    for pid in parents:
        procs.kill(pid)
        procs.until_dead(pid)
    wait_until(lambda: host.pids(f"{host.scan}/beat"))
    again = host.until("beat", "scheduled")
    assert lines(marks) == ["run"] and again.next == pytest.approx(service.next, abs=2.0)
    # While it runs: that run is over, and nothing of it is left when the next one comes.
    (host.base / "marks.long").touch()
    host.control(("beat", "restart"))
    # It has begun: before it has become its program, its arguments are those of the parent.
    wait_until(lambda: lines(marks) == ["run", "run"])
    host.until("beat", "up", "ready")
    parent = parent_of(host, "beat")
    (run,) = procs.children(parent)
    procs.kill(parent)
    procs.until_dead(run)
    after = host.until("beat", "scheduled")
    assert not after.ready and lines(marks) == ["run", "run"]


@features("health")
def test_a_heart_that_stops_beating_restarts_the_service(host: Supervised) -> None:
    quiet = host.base / "quiet"
    script = f"while [ ! -e {quiet} ]; do echo >&4; sleep 0.05; done; exec sleep 100000"
    host.good({"one": {"command": sh(script), "health": {"heartbeat_fd": 4, "interval": "500ms", "failures": 2}}})
    before = host.service("one").pid
    quiet.touch()
    wait_until(lambda: host.service("one").pid not in (None, before))
    quiet.unlink()
    host.until("one", "ready")


@features("health")
def test_a_health_check_that_hangs_counts_as_failed(host: Supervised) -> None:
    hangs = host.base / "hangs"
    check = sh(f"[ ! -e {hangs} ] || sleep 100000 # {hangs}")
    health = {"check": check, "interval": "50ms", "timeout": "200ms", "failures": 1}
    host.good({"one": {"command": SLEEP, "health": health}})
    before = host.service("one").pid
    hangs.touch()
    wait_until(lambda: host.service("one").pid not in (None, before))
    hangs.unlink()
    host.until("one", "ready")
    wait_until(lambda: not host.pids(f"sleep 100000 # {hangs}"))


@features("health", "stop_signal", "reload")
def test_signals_reach_a_service_whose_health_is_looked_after(host: Supervised) -> None:
    marks, sign = host.base / "marks", host.base / "well"
    sign.touch()
    script = (
        f"trap 'echo hup >>{marks}' HUP; trap 'echo int >>{marks}; exit 0' INT; trap 'echo term >>{marks}' TERM;"
        f"echo up >>{marks}; while :; do sleep 0.05; done"
    )
    definition = {"command": sh(script), "health": well(sign), "stop_signal": "INT", "on_change": "reload"}
    host.good({"one": definition})
    wait_until(lambda: lines(marks) == ["up"])
    changed = {"one": {**definition, "environment": {"A": "1"}}}
    assert "one: reload" in host.good(changed)["actions"]
    wait_until(lambda: lines(marks) == ["up", "hup"])
    assert not host.good(changed)["changed"]
    assert host.tell("one", "stop", "down").outcome == "reached"
    wait_until(lambda: lines(marks) == ["up", "hup", "int"])


@pytest.mark.skipif(os.geteuid() != 0, reason="another user needs root")
@features("health", "process")
def test_health_runs_as_the_service_does(host: Supervised) -> None:
    folder = host.base / "mine"
    folder.mkdir()
    folder.chmod(0o777)
    check = sh('id -u >mine; echo "$A $S" >>mine; mv mine told')
    host.good(
        {
            "one": {
                "command": sh("id -u >service; exec sleep 100000"),
                "user": "nobody",
                "directory": str(folder),
                "environment": {"A": "1"},
                "secret_environment": {"S": "two"},
                "health": {"check": check, "interval": "50ms"},
            }
        }
    )
    # The first check may come before the service has written its own.
    wait_until(lambda: lines(folder / "told") and lines(folder / "service"))
    uid = lines(folder / "service")[0]
    assert int(uid) != 0 and lines(folder / "told") == [uid, "1 two"]


@features("health")
def test_a_killed_parent_takes_the_service_along(host: Supervised) -> None:
    sign, marks = host.base / "well", host.base / "marks"
    sign.touch()
    host.good({"one": {"command": sh(f"echo $$ >>{marks}; exec sleep 100000"), "health": well(sign)}})
    parent = parent_of(host, "one")
    wait_until(lambda: len(lines(marks)) == 1)
    (service,) = [pid for pid in procs.children(parent) if "sleep" in procs.arguments(pid)[0]]
    procs.kill(parent)
    procs.until_dead(service)
    wait_until(lambda: len(lines(marks)) == 2)
    host.until("one", "ready")


@features("health")
def test_health_that_comes_later_is_looked_after(host: Supervised) -> None:
    sign = host.base / "well"
    sign.touch()
    host.good({"one": {"command": SLEEP}})
    definition = {"one": {"command": SLEEP, "health": well(sign)}}
    assert host.good(definition)["changed"]
    assert not host.good(definition)["changed"]
    before = host.until("one", "ready").pid
    sign.unlink()
    wait_until(lambda: host.service("one").pid not in (None, before))
    sign.touch()
    host.until("one", "ready")
    assert host.good({"one": {"command": SLEEP}})["changed"]
    assert not host.good({"one": {"command": SLEEP}})["changed"]


@features("kill.tree")
def test_descendants_that_hide_are_found_too(host: Supervised) -> None:
    child = host.base / "child"
    script = f"env -i setsid sh -c 'setsid sh -c \"echo \\$\\$ >{child}; exec sleep 100000\" &'; exec sleep 100000"
    host.good({"one": {"command": sh(script), "kill": "tree"}})
    wait_until(lambda: child.exists() and child.read_text())
    pid = host.number(int(child.read_text()))
    if not host.service("one").attended and host.backend != "systemd":
        pytest.skip("who leaves the tree and forgets its mark is beyond its reach without a control group")
    assert host.tell("one", "stop", "down").outcome == "reached"
    procs.until_dead(pid)
