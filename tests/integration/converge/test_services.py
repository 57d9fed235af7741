# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The task `services` against a real supervisor."""

from __future__ import annotations

from converging import SLEEP, Host


def test_new_services_run_and_the_second_run_changes_nothing(host: Host) -> None:
    definitions = {"db": {"command": SLEEP}, "web": {"command": SLEEP, "needs": ["db"]}}
    result = host.task(definitions)
    assert not result.get("failed"), result["msg"]
    assert result["changed"]
    assert result["actions"] == ["db: create", "db: start", "web: create", "web: start"]
    status = host.status()
    for name in definitions:
        record = result["services"][name]
        assert record["state"] == status[name]["state"] == "ready"
        assert record["pid"] == status[name]["pid"] > 0
        assert record["changed"] and not record["restart_needed"] and record["exit"] is None
    before = host.tree()
    again = host.task(definitions)
    assert not again["changed"] and again["actions"] == [] and again["diff"] == []
    assert again["services"]["web"]["pid"] == status["web"]["pid"]
    assert host.tree() == before
