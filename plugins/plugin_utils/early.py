# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with definitions whatever becomes known of the host later in a play. PRIVATE to the collection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.holdfast.supervision.plugins.module_utils._definition import merge, needs, validate
from ansible_collections.holdfast.supervision.plugins.module_utils._definition.problem import Problem

from .resolve import Unresolved, lies_within


def problems(merged: merge.Merged, defaults: Mapping[str, Any], of_defaults: list[Problem]) -> list[Problem]:
    """Find what is wrong for certain.

    A definition in which something cannot be resolved yet is passed over, and so is whatever depends on services that may be
    defined later. of_defaults: what was found wrong with the defaults; if they can't be resolved yet, no definition can.
    """
    unknown = _unknown(merged.problems)
    found = [
        problem
        for problem in certain(merged.problems)
        if not any(_of_one_service(problem.path, path) for path in unknown)
    ]
    found += certain(of_defaults)
    if _unknown(of_defaults):
        return found
    given = {}
    for name, definition in merged.definitions.items():
        where = f"{merged.origins[name]}.{name}"
        if not any(lies_within(path, where) for path in unknown):
            given[name], wrong = validate.read(name, merge.under(defaults, definition), where)
            found += wrong
    if not found:
        # A need that is not there may come; a circle stays one.
        found = [problem for problem in needs.order(given, merged.origins)[1] if problem.path.endswith(".needs")]
    return found


def certain(found: list[Problem]) -> list[Problem]:
    """Give those that are not about a variable that can't be resolved yet, nor about what is missing for that."""
    unknown = _unknown(found)
    return [problem for problem in found if not any(lies_within(path, problem.path) for path in unknown)]


def _unknown(found: list[Problem]) -> list[str]:
    return [problem.path for problem in found if isinstance(problem, Unresolved)]


def _of_one_service(first: str, second: str) -> bool:
    """Tell whether two paths are about one service, maybe in two variables."""
    name = first.partition(".")[2]
    return bool(name) and lies_within(second.partition(".")[2], name)
