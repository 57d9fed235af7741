# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host that OpenRC runs: services by `rc-service`, after a power cut, moved to a suite and back, removed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hosted
import pytest
import untouched
from waiting import wait_until

SLEEP = ["/bin/sleep", "100000"]
SERVICES = {
    "web": {"command": SLEEP},
    "db": {"command": SLEEP},
    "off": {"command": SLEEP, "state": "stopped"},
    "bad": {"command": ["/bin/false"], "state": "stopped"},
}


@pytest.fixture
def machine() -> Iterator[hosted.Machine]:
    reason = hosted.Machine.missing()
    if reason:
        pytest.skip(reason)
    one = hosted.Machine("openrc")
    yield one
    one.down()


def play(machine: hosted.Machine, folder: Path, playbook: str, backend: str, *options: str) -> str:
    """Run a playbook of the collection on the host, which must succeed; what it said."""
    variables = {"services_definitions": SERVICES, "supervisor_backend": backend}
    if backend == "s6":
        # The hosts have it, and no way to a package manager's servers.
        variables["supervisor_prefix"] = "/usr/bin"
    return hosted.play(folder, machine.tool("inventory"), variables, playbook, *options)


def changes(told: str) -> list[str]:
    """What a run has changed, or would, by the headings of its diff."""
    return sorted(line for line in told.splitlines() if line.startswith("+++ after"))


def states(machine: hosted.Machine) -> dict[str, str]:
    """What rc-status says of all that is ours."""
    lines = machine.do("rc-status", "--nocolor", "-s").splitlines()
    words = [line.replace("[", " ").replace("]", " ").split() for line in lines]
    return {one[0].removeprefix("holdfast."): one[1] for one in words if one and one[0].startswith("holdfast.")}


def code(machine: hosted.Machine, *command: str) -> int:
    return int(machine.do("sh", "-c", '"$@" >/dev/null 2>&1; echo $?', "sh", *command))


def services(machine: hosted.Machine) -> dict[str, Any]:
    found = json.loads(machine.do("holdfast", "status", "--json"))["services"]
    return {one["name"]: one for one in found}


def test_openrc_starts_and_stops_services_and_tells_the_truth(machine: hosted.Machine, tmp_path: Path) -> None:
    untouched.remember(machine.do)
    foretold = changes(play(machine, tmp_path, "site", "openrc", "--check", "--diff"))
    assert foretold and changes(play(machine, tmp_path, "site", "openrc", "--diff")) == foretold
    assert states(machine) == {"web": "started", "db": "started", "off": "stopped", "bad": "stopped"}
    assert "changed=0 " in play(machine, tmp_path, "site", "openrc")

    # Whoever gives the command, both know.
    assert code(machine, "rc-service", "holdfast.web", "stop") == 0
    assert (states(machine)["web"], services(machine)["web"]["state"]) == ("stopped", "down")
    assert code(machine, "rc-service", "holdfast.web", "start") == 0
    assert (states(machine)["web"], services(machine)["web"]["state"]) == ("started", "ready")
    assert code(machine, "rc-service", "holdfast.bad", "start") == 1
    assert code(machine, "rc-service", "holdfast.bad", "stop") == 0 or states(machine)["bad"] == "stopped"
    pid = services(machine)["db"]["pid"]
    machine.do("kill", "-9", str(pid))
    wait_until(lambda: services(machine)["db"]["ready"] and services(machine)["db"]["pid"] != pid, 30)
    assert code(machine, "rc-service", "holdfast.db", "status") == 0
    assert states(machine)["db"] == "started"

    machine.power_cycle()
    wait_until(lambda: states(machine).get("db") == "started" and states(machine)["web"] == "started", 60)
    assert states(machine)["off"] == "stopped"
    assert {name for name, one in services(machine).items() if one["ready"]} == {"web", "db"}

    # To a suite, which OpenRC starts at boot too.
    play(machine, tmp_path, "site", "s6")
    assert states(machine) == {}
    machine.power_cycle()
    up = "s6-svstat -o up /etc/holdfast/services/.s6/$1 2>/dev/null || true"
    wait_until(lambda: machine.do("sh", "-c", up, "sh", "web").strip() == "true", 60)
    assert machine.do("sh", "-c", up, "sh", "off").strip() == "false"

    play(machine, tmp_path, "remove", "s6")
    untouched.compare(machine.do)


def test_openrc_starts_supervisord_at_boot_and_again(machine: hosted.Machine, tmp_path: Path) -> None:
    untouched.remember(machine.do)
    play(machine, tmp_path, "site", "supervisord")
    assert code(machine, "rc-service", "holdfast-supervisord", "status") == 0
    assert "changed=0 " in play(machine, tmp_path, "site", "supervisord")

    def runs() -> bool:
        status = "supervisorctl -c /etc/holdfast/services/.supervisord/supervisord.conf status || true"
        lines = machine.do("sh", "-c", status).splitlines()
        return {one.split()[0] for one in lines if "RUNNING" in one} == {"web", "db"}

    pid = machine.do("supervisorctl", "-c", "/etc/holdfast/services/.supervisord/supervisord.conf", "pid").strip()
    machine.do("kill", "-9", pid)
    wait_until(lambda: not machine.do("sh", "-c", f"ls -d /proc/{pid} 2>/dev/null || true") and runs(), 60)
    machine.power_cycle()
    wait_until(runs, 60)
    play(machine, tmp_path, "remove", "supervisord")
    untouched.compare(machine.do)
