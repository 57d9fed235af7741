# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A leased service is guarded under every backend, with the guard as root and the service as itself."""

from __future__ import annotations

import json
import os
from typing import Any

import procs
import pytest
from conforming import Supervised, features
from converging import SLEEP
from waiting import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="pid namespaces need root")


def report(host: Supervised, name: str) -> dict[str, Any]:
    """What the guard of a service last wrote about itself."""
    try:
        return dict(json.loads((host.base / "run" / "guards" / name / "state.json").read_text()))
    except (OSError, ValueError):
        return {}


def leased(host: Supervised, **more: Any) -> dict[str, Any]:
    lease = {"resources": ["billing"], "directory": str(host.base / "leases")}
    return {"command": SLEEP, "user": "nobody", "lease": lease, **more}


@features("lease", "process")
def test_one_of_two_runs_and_the_other_follows(host: Supervised) -> None:
    host.good({"first": leased(host)})
    wait_until(lambda: report(host, "first").get("phase") == "active" and report(host, "first")["tree"])
    host.good({"first": leased(host), "second": leased(host)})
    wait_until(lambda: report(host, "second").get("phase") == "standby")

    guard = host.service("first").pid or 0
    assert guard == host.number(report(host, "first")["pid"])
    assert procs.status(guard)["Uid"].split() == ["0"] * 4
    place = str(host.base / "run" / "guards" / "first" / "token")

    def served() -> list[int]:
        found = [pid for pid in procs.pids() if procs.environment(pid).get("HOLDFAST_TOKEN_FILE") == place]
        return [pid for pid in found if procs.arguments(pid) == SLEEP]

    (process,) = wait_until(served)
    assert procs.status(process)["Uid"].split() == ["65534"] * 4
    assert not host.good({"first": leased(host), "second": leased(host)})["changed"]

    assert host.tell("first", "stop", "down").outcome == "reached"
    wait_until(lambda: report(host, "second").get("phase") == "active")


@features("lease", "needs.active")
def test_what_needs_the_active_copy_runs_where_that_is(host: Supervised) -> None:
    definitions = {
        "first": leased(host),
        "second": leased(host),
        "front": {"command": SLEEP, "needs": {"second": "active"}},
        "behind": {"command": SLEEP, "needs": ["front"]},
        "beside": {"command": SLEEP, "needs": ["second"]},
    }
    host.good({"first": definitions["first"]})
    wait_until(lambda: report(host, "first").get("phase") == "active")

    # A host whose copy stands by is as it should be.
    host.good(definitions)
    host.until("beside", "ready")
    waiting = host.until("front", "waiting")
    assert waiting.pid is None
    assert "second to be active" in waiting.reason
    host.until("behind", "waiting")
    assert not host.good(definitions)["changed"]

    assert host.tell("first", "stop", "down").outcome == "reached"
    front = host.until("front", "ready").pid
    host.until("behind", "ready")
    assert report(host, "second")["phase"] == "active"

    # As with any need: what runs goes on, and its next start waits again.
    host.good({**definitions, "first": leased(host, state="stopped")})
    assert host.tell("second", "stop", "down").outcome == "reached"
    assert host.service("front").pid == front
    host.control(("front", "restart"))
    host.until("front", "waiting")
    assert host.tell("second", "start").outcome == "reached"
    host.until("front", "ready")


@features("lease", "process")
def test_a_service_that_takes_the_place_of_its_guard_is_the_supervisors_process(host: Supervised) -> None:
    def alone() -> dict[str, Any]:
        definition = leased(host)
        return {**definition, "lease": {**definition["lease"], "mode": "exec", "safety": "standard"}}

    host.good({"first": alone()})
    wait_until(lambda: report(host, "first").get("phase") == "active")
    host.good({"first": alone(), "second": alone()})
    wait_until(lambda: report(host, "second").get("phase") == "standby")
    process = host.service("first").pid or 0
    assert process == host.number(report(host, "first")["pid"])
    wait_until(lambda: procs.arguments(process) == SLEEP)
    assert procs.status(process)["Uid"].split() == ["65534"] * 4
    assert not host.good({"first": alone(), "second": alone()})["changed"]

    # One that waits is stopped as it is started: by the supervisor alone.
    assert host.tell("second", "stop", "down").outcome == "reached"
    assert host.tell("second", "start", "ready").outcome == "reached"
    wait_until(lambda: report(host, "second").get("phase") == "standby")
    assert host.tell("first", "stop", "down").outcome == "reached"
    wait_until(lambda: report(host, "second").get("phase") == "active")
