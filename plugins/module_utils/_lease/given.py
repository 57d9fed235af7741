# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading what a driver was told. PRIVATE to the collection."""

from __future__ import annotations

from .interface import DriverRefused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def number(
    driver: str,
    given: Mapping[str, Any],
    name: str,
    default: float,
    least: float,
    most: float,
    whole: bool = False,
) -> float:
    """Give the parameter *name*, a number from *least* to *most*. Raises DriverRefused."""
    value = given.get(name, default)
    try:
        found = float(value)
    except (TypeError, ValueError):
        found = least - 1
    if not least <= found <= most or (whole and found != int(found)):
        raise DriverRefused(f"driver {driver}: {name}: {value!r} is not between {least:g} and {most:g}")
    return found
