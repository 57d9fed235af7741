# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What guards write about themselves, for those who look at them without asking. PRIVATE to the collection."""

from __future__ import annotations

from .._supervise._embedded import identity

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: In the folder of a guard.
REPORT = "state.json"
#: Two of the phases of core.py, which not everybody who reads this needs.
ACTIVE, STANDBY = "active", "standby"


def read(folder: str) -> dict[str, Any]:
    """Give what a guard, dead or alive, has last written about itself. Raises OSError, ValueError for what is damaged."""
    with open(f"{folder}/{REPORT}", encoding="utf-8") as file:
        # A guard that has never read one keeps half a megabyte less; modules have it anyway.
        import json

        record = json.load(file)
    if not isinstance(record, dict) or not all(isinstance(record.get(key), int) for key in ("pid", "started")):
        raise ValueError("is damaged")
    return record


def of_living(folder: str) -> dict[str, Any]:
    """Give what the guard that lives has last written about itself; nothing if none lives. Never raises."""
    try:
        record = read(folder)
    except (OSError, ValueError):
        return {}
    return record if identity.alive(record["pid"], record["started"]) else {}


def serves(report: dict[str, Any]) -> bool:
    """Tell whether the guard holds its leases and the service behind it is ready."""
    return report.get("phase") == ACTIVE and bool(report.get("ready"))


def stands_by(report: dict[str, Any]) -> bool:
    """Tell whether the guard stands in line behind others. One that has not asked its store yet, or got no answer, does not."""
    return report.get("phase") == STANDBY and bool(report.get("in_line", True))
