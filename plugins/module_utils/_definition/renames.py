# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services that had another name before. PRIVATE to the collection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .problem import Problem


def problems(definitions: Mapping[str, Mapping[str, Any]], origins: Mapping[str, str]) -> list[Problem]:
    """Return what is wrong with the former names of a host's services. origins has the variable of each definition."""
    found: list[Problem] = []
    taken: dict[str, str] = {}
    for name, definition in definitions.items():
        former = definition.get("was")
        if former is None or definition.get("state") == "absent":
            continue
        path = f"{origins[name]}.{name}.was"
        if former == name:
            found.append(Problem(path, former, "must be another name than the present one"))
        elif former in definitions:
            advice = f"remove the definition of {former}: its service becomes {name}"
            found.append(Problem(path, former, f"is still defined, in {origins[former]}", advice))
        elif former in taken:
            found.append(Problem(path, former, f"is what {taken[former]} was, too", "one service can become one only"))
        else:
            taken[former] = name
    return found
