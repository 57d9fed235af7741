# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Packs the runtime and sends it to the hosts that lack it."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.holdfast.supervision.plugins.plugin_utils.foreign import Unshippable
from ansible_collections.holdfast.supervision.plugins.plugin_utils.pack import Runtime

MODULE = "holdfast.supervision.runtime"


class ActionModule(ActionBase):
    """Ask the host first, with a version only; ship the archive in a second run of the module if it asks for it."""

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Run the module once, or twice on a host that lacks the version. *tmp* is not used any more."""
        result = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        for name in ("version", "payload"):
            if arguments.get(name) is not None:
                raise AnsibleActionFail(f"{name} is set by this action itself: leave it out")
        try:
            runtime = Runtime(lease_drivers=self._lease_drivers(arguments))
        except Unshippable as error:
            raise AnsibleActionFail(f"lease_drivers: {error}") from error
        except OSError as error:
            raise AnsibleActionFail(f"this collection is incomplete: {error}") from error
        arguments["version"] = runtime.version
        answer = self._run_module(arguments, task_vars)
        if answer.get("needs_payload") and not answer.get("failed"):
            arguments["payload"] = runtime.archive()
            answer = self._run_module(arguments, task_vars)
        result.update(answer)
        return result

    def _lease_drivers(self, arguments: dict[str, t.Any]) -> list[str]:
        names = arguments.get("lease_drivers") or []
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise AnsibleActionFail(
                f"lease_drivers: {names!r} is not a list of names such as namespace.collection.driver"
            )
        return names if arguments.get("state", "present") == "present" else []

    def _run_module(self, arguments: dict[str, t.Any], task_vars: dict[str, t.Any] | None) -> dict[str, t.Any]:
        return self._execute_module(module_name=MODULE, module_args=arguments, task_vars=task_vars)
