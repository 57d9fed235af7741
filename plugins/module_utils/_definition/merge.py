# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Definitions from several groups of the inventory become one set. PRIVATE to the collection."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from .problem import Problem, shown

VARIABLE = "services_definitions"
PREFIX = VARIABLE + "__"
_LOOKS_LIKE = re.compile(r"services?_definitions?(|_.*)").fullmatch


class Merged(NamedTuple):
    """definitions by service, what was wrong, and for each service the variable that its definition came from."""

    definitions: dict[str, Any]
    problems: list[Problem]
    origins: dict[str, str]


def variable_names(variables: Iterable[str]) -> list[str]:
    """Return the names of the variables that hold definitions, in the order in which they are read."""
    return sorted(name for name in variables if name == VARIABLE or name.startswith(PREFIX))


def overlooked(variables: Iterable[str]) -> list[str]:
    """Tell of variables that somebody may take for ones that hold definitions, each with the name that would be read."""
    found = []
    for name in sorted(variables):
        match = _LOOKS_LIKE(name)
        if match and not (name == VARIABLE or name.startswith(PREFIX)):
            meant = PREFIX + match[1].strip("_") if match[1].strip("_") else VARIABLE
            found.append(f"{name} is not read as definitions of services; did you mean {meant}?")
    return found


def merge(variables: Mapping[str, Any]) -> Merged:
    """Merge services_definitions and every services_definitions__NAME.

    The same definition twice is fine. Two different ones of one service are a problem that names both variables; the
    first is kept, so that its own problems are found too.
    """
    definitions: dict[str, Any] = {}
    problems: list[Problem] = []
    origins: dict[str, str] = {}
    for variable in variable_names(variables):
        value = variables[variable]
        if value is None:
            continue
        if not isinstance(value, Mapping):
            problems.append(
                Problem(variable, shown(value), "must be a dictionary: name of the service, then its definition")
            )
            continue
        for name, definition in value.items():
            if name not in definitions:
                definitions[name] = definition
                origins[name] = variable
            elif definitions[name] != definition:
                problems.append(_conflict(name, origins[name], definitions[name], variable, definition))
    return Merged(definitions, problems, origins)


def under(defaults: Mapping[str, Any], definition: Any) -> Any:
    """Lay defaults under a definition. Where both have a dictionary its keys are merged, one level deep."""
    if not defaults or not isinstance(definition, Mapping):
        return definition
    result = {**defaults, **definition}
    for key, default in defaults.items():
        own = definition.get(key)
        if isinstance(default, Mapping) and isinstance(own, Mapping):
            result[key] = {**default, **own}
    return result


def _conflict(name: str, first: str, one: Any, second: str, other: Any) -> Problem:
    differing = ""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        keys = sorted(str(key) for key in {*one, *other} if one.get(key) != other.get(key))
        differing = " in " + ", ".join(keys)
    return Problem(
        f"{second}.{name}",
        "",
        f"differs from {first}.{name}{differing}",
        "define the service in one place, or give the host only one of them",
    )
