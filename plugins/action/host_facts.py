# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Learns the few facts that this collection needs from a host's shell, without a module."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.holdfast.supervision.plugins.plugin_utils import host


class ActionModule(ActionBase):
    """One command over the connection, which every host with a shell can answer, whatever its Python is."""

    _supports_check_mode = True
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Ask, and fail with one sentence if the host can't run the supervisor. *tmp* is not used any more."""
        result = super().run(tmp, task_vars)
        _validated, arguments = self.validate_argument_spec(
            argument_spec={
                "python": {"type": "str", "default": "/usr/bin/python3"},
                "users": {"type": "list", "elements": "str", "default": []},
                "python_required": {"type": "bool", "default": True},
            }
        )
        answer = self._low_level_execute_command(host.script(arguments["python"], arguments["users"]))
        found = host.read(answer["stdout"])
        problem = host.problem(found, arguments["python"], arguments["python_required"])
        if problem is not None:
            # A shell that could not be asked at all has said why.
            detail = answer.get("stderr", "").strip() if not found.system else ""
            name = (task_vars or {}).get("inventory_hostname", "")
            raise AnsibleActionFail(f"{name}: {problem}" + (f" It said: {detail}" if detail else ""))
        result["changed"] = False
        result["python"] = found.python
        result["users"] = [user for user in arguments["users"] if user in found.users]
        result["ansible_facts"] = {"ansible_user_uid": found.uid, "ansible_user_dir": found.home}
        return result
