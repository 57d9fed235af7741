# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller side of the module services: validate and render everything here, send one payload."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible.template import trust_as_template

from ansible_collections.holdfast.supervision.plugins.module_utils._definition import merge, validate
from ansible_collections.holdfast.supervision.plugins.module_utils._definition.problem import SECRET, Problem, shown
from ansible_collections.holdfast.supervision.plugins.module_utils._supervise.presence import AUTO
from ansible_collections.holdfast.supervision.plugins.plugin_utils import payload
from ansible_collections.holdfast.supervision.plugins.plugin_utils.plain import plain
from ansible_collections.holdfast.supervision.plugins.plugin_utils.resolve import from_vault, message, resolve

#: The module that has the code of a backend: this one, except for those named below.
MODULE = "holdfast.supervision.services"
ELSEWHERE = {
    "s6": f"{MODULE}_suite",
    "runit": f"{MODULE}_suite",
    "daemontools": f"{MODULE}_suite",
    "daemontools_encore": f"{MODULE}_suite",
    "systemd": f"{MODULE}_systemd",
    "supervisord": f"{MODULE}_supervisord",
}
DEFAULTS = "services_defaults"
SHIPPED = "supervisor_lease_drivers"
INTERNAL = ("payload", "secrets")
#: What the helper is told, and what the role helper defines it by.
OPERATIONS, HELPER = "helper_operations", "services_definitions__helper"


class ActionModule(ActionBase):
    """Turn the definitions of a host into a payload, and hand it to the module of the same name."""

    _supports_check_mode = True
    _supports_async = True
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what the module returns, or one failure that lists everything wrong with the definitions."""
        task_vars = task_vars or {}
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        made, problems = self._made(arguments, task_vars)
        if problems:
            result.update(failure(problems, str(task_vars.get("inventory_hostname", ""))))
            return result

        wrap_async = bool(self._task.async_val) and not self._connection.has_native_async
        backend = str(arguments.get("backend", AUTO))
        if backend == AUTO and wrap_async:
            # What runs in the background can't be followed by another one.
            nothing = self._converge(backend, {**arguments, "prune": False}, payload.EMPTY, task_vars, False)
            backend = nothing.get("elsewhere", backend)
        answer = self._converge(backend, arguments, made, task_vars, wrap_async)
        if "elsewhere" in answer:
            answer = self._converge(answer["elsewhere"], arguments, made, task_vars, wrap_async)
        result.update(answer)
        return result

    def _made(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> tuple[payload.Payload, list[Problem]]:
        """Return the payload and all that is wrong. What the module does not take is taken out of *arguments*."""
        problems: list[Problem] = [
            Problem(name, "", "is set by the action plugin", "leave it out")
            for name in INTERNAL
            if arguments.pop(name, None) is not None
        ]
        merged = self._definitions(arguments.pop("services", None), task_vars)
        problems += merged.problems
        defaults, found = self._defaults(arguments.pop("defaults", None), task_vars)
        problems += found
        leases, found = self._leases(task_vars)
        problems += found
        try:
            context = {
                "lease": leases,
                "command_check": boolean(arguments.get("command_check", True)),
                "log_directory": _absolute(arguments.get("log_directory")),
                "lease_drivers": self._shipped(task_vars),
            }
        except TypeError:
            context = {}
            problems.append(Problem("command_check", shown(plain(arguments["command_check"])), "must be true or false"))

        made = payload.make(
            merged.definitions,
            merged.origins,
            defaults,
            context,
            lambda service: self._from_template(service, task_vars),
        )
        # What could not be resolved is missing from its definition: that is no second problem.
        known = {problem.path for problem in problems}
        problems += [problem for problem in made.problems if problem.path not in known]
        return made, problems

    def _converge(
        self,
        backend: str,
        arguments: Mapping[str, Any],
        made: payload.Payload,
        task_vars: dict[str, Any],
        wrap_async: bool,
    ) -> dict[str, Any]:
        """Have the module run that has the code of *backend*, and return its result.

        Of the backend AUTO that is one which knows where it is not the right one; `elsewhere` then names the backend.
        """
        sent = {
            **arguments,
            "payload": payload.encode({**made.content, "having": _having(backend, made.content)}),
            "secrets": made.secrets,
        }
        if backend != AUTO:
            sent["backend"] = backend
        answer: dict[str, Any] = self._execute_module(
            module_name=ELSEWHERE.get(backend, MODULE), module_args=sent, task_vars=task_vars, wrap_async=wrap_async
        )
        return answer

    def _definitions(self, services: Any, task_vars: dict[str, Any]) -> merge.Merged:
        """Return the definitions of the task, or else those of the inventory."""
        if services is not None:
            found: list[Problem] = []
            from_vault(services, "services", found)
            services = plain(services)
            if isinstance(services, Mapping):
                return merge.Merged(dict(services), found, dict.fromkeys(services, "services"))
            return merge.Merged(
                {},
                [
                    Problem(
                        "services", shown(services), "must be a dictionary: name of the service, then its definition"
                    )
                ],
                {},
            )
        for text in merge.overlooked(task_vars):
            # No error: it may be what one of ours is made of. But services that are not found are removed by prune.
            self._display.warning(f"{task_vars.get('inventory_hostname', '')}: {text}")
        if task_vars.get(OPERATIONS) and HELPER not in task_vars and self._prunes():
            self._display.warning(
                f"{task_vars.get('inventory_hostname', '')}: {OPERATIONS} has some, but the role helper did not run before this "
                "task: a helper that is there is no service any more, and is removed; run that role first"
            )
        variables = {}
        problems: list[Problem] = []
        for name in merge.variable_names(task_vars):
            variables[name] = resolve(self._templar, task_vars[name], name, problems)
        merged = merge.merge(variables)
        return merged._replace(problems=problems + merged.problems)

    def _prunes(self) -> bool:
        """Say whether what is not defined is removed; what is no truth value is the module's to refuse."""
        return self._task.args.get("prune") in (True, "true", "yes")

    def _defaults(self, defaults: Any, task_vars: dict[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
        problems: list[Problem] = []
        where = "defaults"
        if defaults is None:
            where = DEFAULTS
            defaults = resolve(self._templar, task_vars.get(DEFAULTS), DEFAULTS, problems)
        else:
            from_vault(defaults, where, problems)
        if defaults is None:
            return {}, problems
        usable, found = validate.read_defaults(plain(defaults), where)
        return usable, problems + found

    def _leases(self, task_vars: dict[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
        """Return what the inventory says for all leases."""
        problems: list[Problem] = []
        given = {
            name: plain(resolve(self._templar, task_vars[name], name, problems))
            for name in validate.LEASE_VARIABLES
            if task_vars.get(name) is not None
        }
        usable, found = validate.read_lease_defaults(given)
        return usable, problems + found

    def _shipped(self, task_vars: dict[str, Any]) -> list[str] | None:
        """Return the lease drivers that the role supervisor ships; None if this play does not say."""
        problems: list[Problem] = []
        names = plain(resolve(self._templar, task_vars.get(SHIPPED), SHIPPED, problems))
        return [str(name) for name in names] if isinstance(names, list) and not problems else None

    def _from_template(self, service: dict[str, Any], task_vars: dict[str, Any]) -> str:
        """Render the user's own template of a run script as ansible.builtin.template would."""
        try:
            source = self._find_needle("templates", service["template"])
            template = trust_as_template(self._loader.get_text_file_contents(source))
            folders = [*task_vars.get("ansible_search_path", []), self._loader.get_basedir(), os.path.dirname(source)]
            templar = self._templar.copy_with_new_env(
                searchpath=[path for folder in folders for path in (os.path.join(folder, "templates"), folder)],
                available_variables={**task_vars, "service": _without_secrets(service), "name": service["name"]},
            )
            rendered = templar.template(
                template, escape_backslashes=False, overrides={"trim_blocks": True, "lstrip_blocks": True}
            )
        except AnsibleError as error:
            raise ValueError(message(error)) from error
        text = str(plain(rendered))
        if not text.startswith("#!/") or text.partition("\n")[0].endswith("\r"):
            raise ValueError("its first line must name an interpreter, such as #!/bin/sh")
        return text


def _having(backend: str, content: Mapping[str, Any]) -> dict[str, list[str]]:
    if backend not in ELSEWHERE:
        # The others have every feature. Not to load any backend here saves a tenth of a second of each run.
        return {}
    from ansible_collections.holdfast.supervision.plugins.plugin_utils import features

    return features.having(backend, content)


def _without_secrets(service: dict[str, Any]) -> dict[str, Any]:
    """A run script is no place for secrets: it gets them in its environment."""
    return {**service, "secret_environment": dict.fromkeys(service["secret_environment"], SECRET)}


def _absolute(path: Any) -> str | None:
    """Return the log directory if it is known here; the host resolves what depends on its user."""
    text = str(path) if path is not None else ""
    return text.rstrip("/") if text.startswith("/") else None


def failure(problems: list[Problem], host: str) -> dict[str, Any]:
    lines = [problem.text(host) for problem in problems]
    count = "1 problem" if len(lines) == 1 else f"{len(lines)} problems"
    return {
        "failed": True,
        "changed": False,
        "msg": f"{count} in the definitions of services, nothing was changed:\n" + "\n".join(lines),
        "problems": lines,
    }
