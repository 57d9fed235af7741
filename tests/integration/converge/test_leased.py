# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a changed definition does to a service that holds a lease: what can be reloaded keeps it."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from converging import Host
from waiting import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="pid namespaces need root")

#: Writes down that it can hear, and which signal it was sent, and stays.
HEARS = 'for one in HUP USR1; do trap "echo $one >> $0" $one; done; echo up >> $0; while :; do sleep 0.02; done'


def guard(host: Host, name: str = "one") -> dict[str, Any]:
    """What its guard, or the service in the place of one, has last written about itself."""
    try:
        return dict(json.loads((host.scan / ".holdfast" / "guards" / name / "state.json").read_text()))
    except (OSError, ValueError):
        return {}


def until(host: Host, phase: str, name: str = "one") -> dict[str, Any]:
    def reached() -> bool:
        found = guard(host, name)
        there = found.get("phase") == phase and found["pid"] == host.status()[name]["pid"]
        return there and (phase != "active" or bool(found["tree"]))

    wait_until(reached)
    return guard(host, name)


def leased(host: Host, **more: Any) -> dict[str, Any]:
    """The definition of a service that says what it is sent."""
    lease = {"directory": str(host.base / "leases"), **more.pop("lease", {})}
    command = ["/bin/sh", "-c", HEARS, str(host.base / "heard")]
    return {"command": command, "on_change": "reload", "kill": "process", "lease": lease, **more}


def heard(host: Host) -> str:
    path = host.base / "heard"
    return path.read_text() if path.exists() else ""


def done(result: dict[str, Any], name: str = "one") -> list[str]:
    assert not result.get("failed"), result["msg"]
    return list(result["services"][name]["actions"])


@pytest.mark.parametrize("lease", [{}, {"mode": "exec", "safety": "standard"}])
def test_a_reload_reaches_the_service_which_keeps_its_lease(host: Host, lease: dict[str, str]) -> None:
    done(host.task({"one": leased(host, lease=lease, reload_signal="USR1")}))
    before = until(host, "active")
    wait_until(lambda: heard(host) == "up\n")
    changed = {"one": leased(host, lease=lease, reload_signal="USR1", environment={"A": "1"})}
    foretold = host.task(changed, check=True)
    assert done(host.task(changed)) == done(foretold) == ["update", "reload"]
    wait_until(lambda: heard(host) == "up\nUSR1\n")
    after = until(host, "active")
    assert [after[key] for key in ("pid", "tree", "resources")] == [before[key] for key in ("pid", "tree", "resources")]
    again = host.task(changed)
    assert (again["changed"], again["services"]["one"]["restart_needed"]) == (False, False)


@pytest.mark.parametrize(
    "more",
    [{"lease": {"resources": ["r", "s"]}}, {"lease": {"keep": "10s"}}, {"stop_timeout": "9s"}, {"stop_signal": "INT"}],
)
def test_what_its_guard_was_started_with_changes_by_another_guard(host: Host, more: dict[str, Any]) -> None:
    given = {"lease": {"resources": ["r"]}, "environment": {"A": "1"}}
    done(host.task({"one": leased(host, **given)}))
    before = until(host, "active")
    changed = {"one": leased(host, **{**given, **more})}
    assert done(host.task(changed)) == ["update", "restart"]
    assert until(host, "active")["pid"] != before["pid"]
    assert set(heard(host).split()) <= {"up"}
    assert not host.task(changed)["changed"]


@pytest.mark.parametrize(
    ("more", "actions"),
    [
        ({"hooks": {"timeout": "9s"}}, ["update", "restart"]),
        ({"stop_timeout": "9s"}, ["update", "restart"]),
        ({"environment": {"A": "1"}}, ["update", "reload"]),
    ],
)
def test_hooks_without_a_lease_change_by_another_guard_too(
    host: Host, more: dict[str, Any], actions: list[str]
) -> None:
    (host.base / "hooks").mkdir(mode=0o700)
    given = {**leased(host, hooks={"directory": str(host.base / "hooks")}), "lease": None}
    done(host.task({"one": given}))
    before = until(host, "active")
    wait_until(lambda: heard(host) == "up\n")
    changed = {**given, **more}
    changed["hooks"] = {**given["hooks"], **more.get("hooks", {})}
    foretold = host.task({"one": changed}, check=True)
    assert done(host.task({"one": changed})) == done(foretold) == actions
    assert (until(host, "active")["pid"] == before["pid"]) == (actions[-1] == "reload")
    assert not host.task({"one": changed})["changed"]


def test_who_stands_by_is_started_anew_as_there_is_no_service_to_tell(host: Host) -> None:
    both = {name: leased(host, lease={"resources": ["r"]}) for name in ("one", "two")}
    done(host.task({"one": both["one"]}))
    until(host, "active")
    done(host.task(both))
    before = until(host, "standby", "two")
    changed = {**both, "two": {**both["two"], "environment": {"A": "1"}}}
    assert done(host.task(changed), "two") == ["update", "restart"]
    assert until(host, "standby", "two")["pid"] != before["pid"]
    assert set(heard(host).split()) <= {"up"}


def test_to_reload_from_now_on_is_no_reason_to_do_anything(host: Host) -> None:
    done(host.task({"one": leased(host, on_change="restart")}))
    before = until(host, "active")
    assert done(host.task({"one": leased(host)})) == ["update"]
    assert until(host, "active")["pid"] == before["pid"]
    # That guard does not say what it was started with.
    assert done(host.task({"one": leased(host, environment={"A": "1"})})) == ["update", "restart"]


OWN = """\
#!/bin/sh
[ -n "$HOLDFAST_APPLIED" ] || exit 111
echo "$HOLDFAST_TOKEN $(id -u) ${HOLDFAST_GUARDED-none} %s" >> %s
exec sleep 100000
"""


@pytest.mark.parametrize("lease", [{}, {"mode": "exec", "safety": "standard"}])
def test_a_run_script_of_the_users_own_is_started_behind_the_lease(host: Host, lease: dict[str, str]) -> None:
    told, own = host.base / "told", host.base / "run.j2"
    told.touch(mode=0o666)
    told.chmod(0o666)
    own.write_text(OWN % ("first", told))
    definition = {"template": str(own), "user": "nobody", "lease": {"directory": str(host.base / "leases"), **lease}}
    done(host.task({"one": definition}))
    before = until(host, "active")
    wait_until(lambda: told.read_text() == "1 65534 none first\n")
    assert not host.task({"one": definition})["changed"]
    own.write_text(OWN % ("second", told))
    assert done(host.task({"one": definition})) == ["update", "restart"]
    wait_until(lambda: told.read_text() == "1 65534 none first\n2 65534 none second\n")
    assert until(host, "active")["pid"] != before["pid"]
