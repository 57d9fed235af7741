# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with definitions whatever becomes known of the host later in a play. PRIVATE to the collection."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.holdfast.supervision.plugins.module_utils._definition import merge, needs, validate
from ansible_collections.holdfast.supervision.plugins.module_utils._definition.problem import Problem

from .resolve import Unresolved


def problems(merged: merge.Merged, defaults: Mapping[str, Any], of_defaults: list[Problem]) -> list[Problem]:
    """Find what is wrong for certain.

    A definition in which something cannot be resolved yet is passed over, and so is whatever depends on services that may be
    defined later. of_defaults: what was found wrong with the defaults; if they can't be resolved yet, no definition can.
    """
    unknown = _Unknown(merged.problems)
    # Of one service, maybe in two variables: that it is defined twice.
    services = _Paths(_behind_the_variable(path) for path in unknown.paths)
    found = [
        problem
        for problem in certain(merged.problems)
        if not (_behind_the_variable(problem.path) and services.within(_behind_the_variable(problem.path)))
    ]
    found += certain(of_defaults)
    if _Unknown(of_defaults).paths:
        return found
    given = {}
    for name, definition in merged.definitions.items():
        where = f"{merged.origins[name]}.{name}"
        if not unknown.within(where):
            given[name], wrong = validate.read(name, merge.under(defaults, definition), where)
            found += wrong
    if not found:
        # A need that is not there may come; a circle stays one.
        found = [problem for problem in needs.order(given, merged.origins)[1] if problem.path.endswith(".needs")]
    return found


def certain(found: list[Problem]) -> list[Problem]:
    """Give those that are not about a variable that can't be resolved yet, nor about what is missing for that."""
    unknown = _Unknown(found)
    return [problem for problem in found if not unknown.within(problem.path)]


class _Paths:
    """Paths of variables, of which there may be many thousands."""

    def __init__(self, paths: Iterable[str]) -> None:
        self.paths = sorted(paths)

    def within(self, where: str) -> bool:
        """Tell whether one of them is *where*, or a part of it."""
        return any(self._begins(f"{where}{sign}") for sign in ".[") or self._begins(where, whole=True)

    def _begins(self, start: str, *, whole: bool = False) -> bool:
        at = bisect_left(self.paths, start)
        first = self.paths[at] if at < len(self.paths) else ""
        return first == start if whole else first.startswith(start)


class _Unknown(_Paths):
    """Those that could not be resolved."""

    def __init__(self, found: list[Problem]) -> None:
        super().__init__(problem.path for problem in found if isinstance(problem, Unresolved))


def _behind_the_variable(path: str) -> str:
    return path.partition(".")[2]
