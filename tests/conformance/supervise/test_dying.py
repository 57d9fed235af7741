# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What happens when services end by themselves."""

from __future__ import annotations

from pathlib import Path

import procs
from conforming import Supervised, features, sh
from converging import SLEEP
from waiting import wait_until

#: A service that ends within this time was not ready, however busy the machine is.
PATIENT = {"grace": "10s"}


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def test_a_killed_service_is_started_again(host: Supervised) -> None:
    host.good({"one": {"command": SLEEP}})
    before = host.service("one").pid
    assert before
    procs.kill(before)
    wait_until(lambda: host.service("one").pid not in (None, before))
    host.until("one", "ready")
    assert not procs.alive(before)
    # Who has died by itself is no change of the inventory's making.
    assert not host.good({"one": {"command": SLEEP}})["changed"]


def test_a_flapping_service_is_started_again_and_again_and_never_called_ready(host: Supervised) -> None:
    marks = host.base / "marks"
    definition = {"bad": {"command": sh(f"echo >>{marks}; exit 1"), "readiness": PATIENT}}
    result = host.task(definition)
    assert result["failed"] and result["changed"]
    count = len(lines(marks))
    assert count >= 3
    wait_until(lambda: len(lines(marks)) > count)
    assert host.service("bad").want == "up"
    again = host.task(definition)
    assert again["failed"] and not again["changed"]


@features("failure_limit")
def test_after_so_many_deaths_it_has_failed_and_a_start_tries_again(host: Supervised) -> None:
    marks = host.base / "marks"
    definition = {
        "command": sh(f"echo >>{marks}; exit 4"),
        "failure_limit": {"deaths": 3, "within": "1m"},
        "readiness": PATIENT,
    }
    assert host.task({"bad": definition}).get("failed")
    service = host.until("bad", "failed")
    assert "died 3 times within 60 s" in service.reason and service.pid is None
    assert "exit code 4" in service.reason or not host.tells_last_end
    assert len(lines(marks)) == 3
    assert host.tell("bad", "start").outcome == "failed"
    host.until("bad", "failed")
    assert len(lines(marks)) == 6


@features("restart")
def test_it_is_not_started_again_when_it_need_not_be(host: Supervised) -> None:
    marks = host.base / "marks"
    definitions = {
        "well": {"command": sh(f"echo well >>{marks}; exit 0"), "restart": "on_failure", "readiness": PATIENT},
        "badly": {"command": sh(f"echo badly >>{marks}; exit 5"), "restart": "never", "readiness": PATIENT},
        "tries": {
            "command": sh(f"echo tries >>{marks}; [ $(grep -c tries {marks}) -ge 2 ] && exit 0; exit 1"),
            "restart": "on_failure",
            "readiness": PATIENT,
        },
    }
    result = host.task(definitions)
    assert result["failed"] and "badly: " in result["msg"] and "well: " not in result["msg"]
    for name in definitions:
        host.until(name, "down", "failed")
    assert sorted(lines(marks)) == ["badly", "tries", "tries", "well"]
    # A restart is one, whatever the policy for ends that nobody asked for.
    host.tell("well", "restart")
    wait_until(lambda: lines(marks).count("well") == 2)
    host.until("well", "down")


@features("restart")
def test_a_restart_starts_what_would_not_be_started_again(host: Supervised) -> None:
    host.good({"one": {"command": SLEEP, "restart": "never"}})
    before = host.service("one").pid
    verdict = host.tell("one", "restart")
    assert verdict.outcome == "reached" and verdict.service and verdict.service.pid not in (None, before)


def crashes(marks: Path) -> list[str]:
    return sh(f"read -r up rest </proc/uptime; echo $up >>{marks}; exit 1")


@features("backoff")
def test_there_is_a_pause_of_its_choice_between_two_lives(host: Supervised) -> None:
    marks = host.base / "marks"
    pause = {"initial": "1s", "maximum": "1s"}
    host.task({"bad": {"command": crashes(marks), "backoff": pause, "readiness": PATIENT}}, timeout=0.1)
    wait_until(lambda: len(lines(marks)) >= 3)
    at = [float(line) for line in lines(marks)]
    assert all(after - before > 0.9 for before, after in zip(at, at[1:]))


@features("backoff")
def test_the_pause_grows_and_a_start_ends_it(host: Supervised) -> None:
    marks = host.base / "marks"
    definition = {"command": crashes(marks), "backoff": host.backoff, "readiness": PATIENT}
    result = host.task({"bad": definition}, timeout=0.1)
    if not host.grows():
        # Refused as a whole, rather than with a pause that does not grow.
        assert result["failed"] and not result["changed"] and host.snapshot().services == {}
        assert [text for text in result["problems"] if text.startswith("bad: backoff (") and host.backend in text]
        return
    wait_until(lambda: len(lines(marks)) >= 4)
    at = [float(line) for line in lines(marks)]
    # The third pause is four times the first. A busy machine makes pauses longer, and never shorter.
    initial = {"100ms": 0.1, "1s": 1.0}[host.backoff["initial"]]
    assert at[3] - at[2] > 2 * initial
    count = len(lines(marks))
    host.control(("bad", "start"))
    wait_until(lambda: len(lines(marks)) > count)


@features("finish")
def test_finish_hears_how_the_service_ended(host: Supervised) -> None:
    marks = host.base / "marks"
    finish = sh(f'echo "$HOLDFAST_EXIT_CODE $HOLDFAST_EXIT_SIGNAL" >>{marks}')
    once = host.base / "once"
    host.good(
        {"one": {"command": sh(f"[ -e {once} ] && exec sleep 100000; touch {once}; exit 7"), "finish": finish}},
    )
    wait_until(lambda: lines(marks) == ["7 0"])
    service = host.until("one", "ready")
    assert service.pid
    procs.kill(service.pid)
    wait_until(lambda: lines(marks) == ["7 0", "-1 9"])
    assert host.until("one", "ready").exit == {"kind": "signal", "code": 9, "at": host.service("one").exit["at"]}  # type: ignore[index]
