# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order in which services may start. PRIVATE to the collection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .problem import Problem, nearest
from .schema import ACTIVE


def order(
    definitions: Mapping[str, Mapping[str, Any]], origins: Mapping[str, str] | None = None
) -> tuple[list[str], list[Problem]]:
    """Return the services in an order in which each comes after those that it needs, and what is wrong with needs.

    Services with state absent have no place in the order. origins maps a service to the variable of its definition.
    With problems the order is not to be used.
    """
    problems: list[Problem] = []
    present = {name: definition for name, definition in definitions.items() if definition.get("state") != "absent"}
    needs: dict[str, list[str]] = {}
    for name, definition in present.items():
        needs[name] = []
        for index, (needed, wanted) in enumerate((definition.get("needs") or {}).items()):
            problem = _problem(name, definition, needed, definitions) or _inactive(needed, wanted, definitions)
            if problem is None:
                needs[name].append(needed)
            else:
                path = f"{_where(name, origins)}.needs[{index}]"
                problems.append(Problem(path, needed, *problem))
    result, cycles = _sorted(needs)
    for cycle in cycles:
        path = f"{_where(cycle[0], origins)}.needs"
        problems.append(Problem(path, " -> ".join(cycle), "services must not need each other in a circle"))
    return result, problems


def _where(name: str, origins: Mapping[str, str] | None) -> str:
    return f"{(origins or {}).get(name, 'services_definitions')}.{name}"


def _problem(
    name: str, definition: Mapping[str, Any], needed: str, definitions: Mapping[str, Mapping[str, Any]]
) -> tuple[str, str] | None:
    if needed == name:
        return "a service cannot need itself", ""
    other = definitions.get(needed)
    if other is None:
        return "no such service is defined for this host", nearest(needed, definitions)
    state = other.get("state")
    if state == "absent":
        return "this service is absent", f"remove the need, or define {needed}"
    if state == "stopped" and definition.get("state") != "stopped":
        return "this service is stopped, so it never becomes ready", f"stop {name} too, or start {needed}"
    if other.get("type") == "periodic":
        return "this service is periodic, so it is never ready for long", ""
    return None


def _inactive(needed: str, wanted: str, definitions: Mapping[str, Mapping[str, Any]]) -> tuple[str, str] | None:
    """Say why a service that has to be active never is."""
    if wanted != ACTIVE or definitions[needed].get("lease") is not None:
        return None
    return (
        "this service has no lease, so it is never active",
        f"give it one (lease: {{}}), or need it ready: [{needed}]",
    )


def _sorted(needs: Mapping[str, list[str]]) -> tuple[list[str], list[list[str]]]:
    """Depth first without recursion, because a chain of needs may be long. Each circle is reported once."""
    result: list[str] = []
    cycles: list[list[str]] = []
    done: set[str] = set()
    for first in needs:
        if first in done:
            continue
        trail = [first]
        ahead = [iter(needs[first])]
        on_trail = {first}
        while trail:
            needed = next(ahead[-1], None)
            if needed is None:
                ahead.pop()
                name = trail.pop()
                on_trail.discard(name)
                done.add(name)
                result.append(name)
            elif needed in on_trail:
                cycles.append([*trail[trail.index(needed) :], needed])
            elif needed not in done:
                trail.append(needed)
                on_trail.add(needed)
                ahead.append(iter(needs[needed]))
    return result, cycles
