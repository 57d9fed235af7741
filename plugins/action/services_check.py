# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller side, and all there is, of the module services_check: what is wrong with the definitions of a host."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.holdfast.supervision.plugins.action import services
from ansible_collections.holdfast.supervision.plugins.plugin_utils import early


class ActionModule(services.ActionModule):
    """Look at what the inventory says, without the host."""

    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return one failure that lists everything wrong with the definitions, or that nothing is."""
        task_vars = task_vars or {}
        result: dict[str, Any] = ActionBase.run(self, tmp, task_vars)
        _validated, arguments = self.validate_argument_spec(
            argument_spec={"known_only": {"type": "bool", "default": False}}
        )
        if arguments["known_only"]:
            merged = self._definitions(None, task_vars)
            defaults, of_defaults = self._defaults(None, task_vars)
            problems = early.problems(merged, defaults, of_defaults) + early.certain(self._leases(task_vars)[1])
        else:
            problems = self._made({}, task_vars)[1]
        if problems:
            result.update(services.failure(problems, str(task_vars.get("inventory_hostname", ""))))
        else:
            result["changed"] = False
        return result
