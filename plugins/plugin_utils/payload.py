# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the definitions of a host to the payload for it: everything that needs no Ansible object. PRIVATE to the collection."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ansible_collections.holdfast.supervision.plugins.module_utils._definition import (
    merge,
    needs,
    normalise,
    renames,
    validate,
)
from ansible_collections.holdfast.supervision.plugins.module_utils._definition.problem import Problem
from ansible_collections.holdfast.supervision.plugins.module_utils._directory import files
from ansible_collections.holdfast.supervision.plugins.module_utils._directory.guarding import executes, guarding
from ansible_collections.holdfast.supervision.plugins.module_utils._lease import execution

from . import lease_checks, render
from .lease_checks import Said

FORMAT = 1

TemplateRenderer = Callable[[dict[str, Any]], str]


class Payload(NamedTuple):
    """content is what the host converges to; secrets are the values that content only names."""

    content: dict[str, Any]
    secrets: dict[str, str]
    problems: list[Problem]


#: Asks for nothing.
EMPTY = Payload({"format": FORMAT, "services": {}, "absent": [], "order": []}, {}, [])


def make(
    definitions: Mapping[str, Any],
    origins: Mapping[str, str],
    defaults: Mapping[str, Any],
    context: Mapping[str, Any],
    from_template: TemplateRenderer,
) -> Payload:
    """Make the payload of one host, or find all that is wrong with its definitions.

    origins maps a service to the variable that its definition came from. context is that of normalise; lease_drivers in it
    are those of other collections that the role supervisor ships, if that is known. from_template
    renders the run script of a service that has a template of the user; it raises ValueError with what went wrong.
    With problems the content is incomplete and not to be used.
    """
    problems: list[Problem] = []
    given: dict[str, dict[str, Any]] = {}
    for name, definition in definitions.items():
        where = f"{origins[name]}.{name}"
        given[name], found = validate.read(name, merge.under(defaults, definition), where)
        problems += [_with_origin(problem, where, definition, defaults) for problem in found]
    order, found = needs.order(given, origins)
    problems += found + renames.problems(given, origins)
    services: dict[str, Any] = {}
    secrets: dict[str, str] = {}
    if problems:
        return Payload({}, {}, problems)
    absent = sorted(name for name, values in given.items() if values.get("state") == "absent")
    for name in order:
        service = normalise.complete(name, given[name], context)
        lease = service["lease"]
        why = execution.undeclared(lease["driver"], lease["parameters"]) if executes(service) else ""
        if why:
            # Only here, as driver and parameters may be those of all leases.
            where, cure = f"{origins[name]}.{name}.lease.mode", "write mode: guard, or another driver"
            problems.append(Problem(where, "exec", why, cure))
            continue
        said = Said(f"{origins[name]}.{name}", definitions[name], defaults)
        refused = list(lease_checks.refused(lease, said)) if lease else []
        if refused:
            problems += refused
            continue
        scripts = render.scripts(service)
        if service["template"]:
            try:
                template = from_template(service)
            except ValueError as error:
                problems.append(Problem(f"{origins[name]}.{name}.template", service["template"], str(error)))
                continue
            run = scripts.pop("run", template)
            if guarding(service):
                # The guard comes first, and starts it below itself.
                scripts["run"] = template
        else:
            run = scripts.pop("run")
        services[name] = files.build(service, run, scripts)
        if service["lease"] and "." in service["lease"]["driver"]:
            services[name]["verify"]["lease_driver"] = {
                "name": service["lease"]["driver"],
                "variable": said.at("driver"),
                "shipped": context.get("lease_drivers"),
            }
        if service["was"]:
            # Not in holdfast.json: it means something once, and may be removed from the inventory afterwards.
            services[name]["was"] = service["was"]
        for secret, value in service["secret_environment"].items():
            secrets[f"{name}/{secret}"] = value
    content = {"format": FORMAT, "services": services, "absent": absent, "order": order}
    return Payload(content, secrets, problems)


def _with_origin(problem: Problem, where: str, definition: Any, defaults: Mapping[str, Any]) -> Problem:
    """Say of what a definition does not say itself whence it comes, and how it gets rid of it."""
    key = problem.path[len(where) + 1 :].partition(".")[0].partition("[")[0]
    if key not in defaults or not isinstance(definition, Mapping) or key in definition:
        return problem
    cure = f"it comes from services_defaults, {key}: null in the definition takes it away"
    return problem._replace(advice=f"{problem.advice}; {cure}" if problem.advice else cure)


def encode(content: Mapping[str, Any]) -> str:
    """Return the content as one short text for the wire."""
    text = json.dumps(content, separators=(",", ":"))
    return base64.b64encode(zlib.compress(text.encode(), 1)).decode("ascii")
