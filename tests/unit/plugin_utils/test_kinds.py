# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host is sent of oneshot and getty."""

from __future__ import annotations

from typing import Any

from ansible_collections.holdfast.supervision.plugins.module_utils._supervise.interface import needed
from ansible_collections.holdfast.supervision.plugins.plugin_utils import payload

ONESHOT: dict[str, Any] = {"type": "oneshot", "command": ["/sbin/ip", "link", "add", "br0", "type", "bridge"]}
GETTY: dict[str, Any] = {"type": "getty", "tty": "tty1"}


def entry(definition: dict[str, Any]) -> dict[str, Any]:
    made = payload.make({"net": definition}, {"net": "services_definitions"}, {}, {}, lambda service: "")
    assert not made.problems
    return dict(made.content["services"]["net"])


def test_staying_down_is_no_restart_policy_that_a_backend_must_have() -> None:
    asked = needed(entry({**ONESHOT, "log": False})["holdfast"])
    assert "oneshot" in asked and "restart" not in asked
    assert "restart" in needed(entry({**ONESHOT, "restart": "on_failure"})["holdfast"])
    assert "getty" in needed(entry(GETTY)["holdfast"])


def test_the_wait_is_longer_than_the_command_may_take() -> None:
    made = entry({**ONESHOT, "readiness": {"timeout": 60}})
    assert made["timeout"] == made["holdfast"]["readiness"]["timeout"] == 70
    assert " -k 5 60 " in made["files"]["run"]["content"]


def test_other_programs_have_their_terminal_opened() -> None:
    made = entry({**GETTY, "command": ["/bin/login", "-f", "guest"]})
    assert "exec <>/dev/tty1 >&0 2>&1\nexec /bin/login -f guest\n" in made["files"]["run"]["content"]
    assert made["verify"]["tty"] == "/dev/tty1"
    assert entry({**GETTY, "command_check": False, "tty": "ttyUSB0"})["verify"]["tty"] is None
