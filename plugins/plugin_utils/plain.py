# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plain Python out of the values that Ansible hands to an action plugin. PRIVATE to the collection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_PLAIN = frozenset((str, int, float, bool, type(None)))


def plain(value: Any) -> Any:
    """Return a copy without tags and laziness: dict, list, str, int, float, bool, None.

    Ansible marks strings and containers with where they come from. The marks cost time at every touch, and json does
    not take them. Values of other types, such as dates, are returned as they are.
    """
    if type(value) in _PLAIN:
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    return value
