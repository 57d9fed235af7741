# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The embedded supervisor on a host with an init of System V: deployed, killed, after a power cut, removed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import hosted
import pytest
import untouched
from waiting import wait_until

SERVICES = {
    "web": {"command": ["/bin/sleep", "100000"], "needs": ["db"]},
    "db": {"command": ["/bin/sleep", "100000"]},
    # Not among those that are ready, neither now nor after a power cut.
    "off": {"command": ["/bin/sleep", "100000"], "state": "stopped"},
}


@pytest.fixture
def machine() -> Iterator[hosted.Machine]:
    reason = hosted.Machine.missing()
    if reason:
        pytest.skip(reason)
    one = hosted.Machine("sysvinit")
    yield one
    one.down()


def play(machine: hosted.Machine, folder: Path, playbook: str, backend: str = "embedded") -> str:
    """Run a playbook of the collection on the host, which must succeed; its recap."""
    variables = {"services_definitions": SERVICES, "supervisor_backend": backend}
    return hosted.play(folder, machine.tool("inventory"), variables, playbook).rpartition("PLAY RECAP")[2]


def pids(machine: hosted.Machine) -> dict[str, int]:
    """The processes of the services that are ready, and that of the supervisor under an empty name."""
    text = machine.do("sh", "-c", "holdfast status --json || true")
    if not text.strip():
        return {}
    status = json.loads(text)
    if status["supervisor"] is None:
        # Not there, so what is told is what was written down of former times.
        return {}
    found = {one["name"]: one["pid"] for one in status["services"] if one["ready"]}
    return {**found, "": status["supervisor"]["pid"]}


def test_sysvinit_brings_the_supervisor_back_and_services_do_not_notice(
    machine: hosted.Machine, tmp_path: Path
) -> None:
    untouched.remember(machine.do)
    play(machine, tmp_path, "site")
    first = pids(machine)
    assert set(first) == {"web", "db", ""}
    assert "changed=0 " in play(machine, tmp_path, "site")
    machine.do("kill", "-9", str(first[""]))
    wait_until(lambda: set(pids(machine)) == {"web", "db", ""} and pids(machine)[""] != first[""], 30)
    assert {**pids(machine), "": 0} == {**first, "": 0}
    machine.power_cycle()
    wait_until(lambda: set(pids(machine)) == {"web", "db", ""}, 60)
    play(machine, tmp_path, "remove")
    untouched.compare(machine.do)


def supervisord(machine: hosted.Machine) -> dict[str, int]:
    """The processes of the services that run under supervisord, and its own under an empty name."""
    client = "supervisorctl -c /etc/holdfast/services/.supervisord/supervisord.conf"
    lines = machine.do("sh", "-c", f"{client} status; echo pid $({client} pid)").splitlines()
    words = [line.split() for line in lines]
    found = {one[0]: int(one[3].rstrip(",")) for one in words if one[1:2] == ["RUNNING"]}
    own = words[-1][1:]
    return {**found, "": int(own[0])} if len(own) == 1 and own[0].isdigit() else {}


def test_sysvinit_starts_supervisord_at_boot_and_again(machine: hosted.Machine, tmp_path: Path) -> None:
    untouched.remember(machine.do)
    play(machine, tmp_path, "site", "supervisord")
    first = supervisord(machine)
    assert set(first) == {"web", "db", ""}
    assert "changed=0 " in play(machine, tmp_path, "site", "supervisord")
    machine.do("kill", "-9", str(first[""]))
    wait_until(lambda: set(supervisord(machine)) == {"web", "db", ""} and supervisord(machine)[""] != first[""], 60)
    machine.do("/etc/init.d/holdfast-supervisord", "stop")
    assert supervisord(machine) == {} and "sleep 100000" not in machine.do("ps", "-eo", "args")
    machine.power_cycle()
    wait_until(lambda: set(supervisord(machine)) == {"web", "db", ""}, 60)
    play(machine, tmp_path, "remove", "supervisord")
    untouched.compare(machine.do)
