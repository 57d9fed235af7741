# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Installs distribution packages over a host's shell, without a module, so that a host may have no Python yet."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.holdfast.supervision.plugins.plugin_utils import packages

#: Lines of a failed installation that are shown.
_SHOWN = 15


class ActionModule(ActionBase):
    """One command to look, and another one only if something is missing."""

    _supports_check_mode = True
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Look, install what is missing, look again. *tmp* is not used any more."""
        result = super().run(tmp, task_vars)
        _validated, arguments = self.validate_argument_spec(
            argument_spec={
                "names": {"type": "list", "elements": "str", "required": True},
                "creates": {"type": "path", "default": ""},
                "repository": {"type": "str", "default": ""},
            }
        )
        host = str((task_vars or {}).get("inventory_hostname", ""))
        try:
            return {**result, **self._converge(arguments["names"], arguments["creates"], arguments["repository"])}
        except packages.PackageError as error:
            raise AnsibleActionFail(f"{host}: {error}") from None

    def _converge(self, names: list[str], creates: str, repository: str) -> dict[str, t.Any]:
        """Give what to add to the result. Raises PackageError; what was installed before it stays."""
        packages.check(names, repository)
        found, problem = self._look(names, creates)
        missing = [] if found.exists else [name for name in names if name not in found.installed]
        changes: dict[str, t.Any] = {"changed": bool(missing), "installed": missing, "manager": found.manager}
        if not missing:
            return changes
        wanted = " ".join(missing)
        if not found.manager:
            known = ", ".join(packages.MANAGERS)
            raise packages.PackageError(
                f"{wanted} can't be installed, as this host has none of {known}; install it by hand. {problem}".rstrip()
            )
        if found.uid != 0:
            raise packages.PackageError(
                f"{wanted} can be installed by root alone, and this is user {found.uid}: set become, or install it by hand"
            )
        script = packages.install(found.manager, missing, repository)
        changes["diff"] = {"before": "", "after": "".join(f"{name}\n" for name in missing)}
        if self._play_context.check_mode:
            return changes
        answer = self._low_level_execute_command(script)
        after, _problem = self._look(missing, "")
        left = [name for name in missing if name not in after.installed]
        if left:
            said = f"{answer.get('stdout', '')}\n{answer.get('stderr', '')}".strip().splitlines()
            raise packages.PackageError(
                f"{found.manager} (exit code {answer['rc']}) did not install {' '.join(left)}"
                + (f" from {repository}" if repository else "")
                + ". It said last:\n"
                + "\n".join(said[-_SHOWN:])
            )
        return changes

    def _look(self, names: list[str], creates: str) -> tuple[packages.Found, str]:
        """Ask the host; the second part is what its shell complained about."""
        answer = self._low_level_execute_command(packages.look(names, creates))
        return packages.read(answer["stdout"]), str(answer.get("stderr", "")).strip()
