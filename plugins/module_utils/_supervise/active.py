# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Services that need the active copy of a leased one, the same for all backends. PRIVATE to the collection.

Whether a copy is active its guard alone knows: it writes it down in the run directory of the supervisor.
"""

from __future__ import annotations

from .._lease import reports
from .._lease.reports import ACTIVE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from typing import Any, Optional

    Look = Callable[[str], tuple[bool, Optional[Collection[str]], Collection[str]]]

#: Parts the names of services that have to be active from those of all that are needed; no service is called so.
FLAG = "--active"


def folder(scan: str, name: str) -> str:
    """Give the folder of the guard of a service."""
    return f"{scan}/.holdfast/guards/{name}"


def phase(scan: str, name: str) -> str:
    """Give the phase of the guard of a service, `active` only if the service behind it is ready; "" if none lives. Never raises."""
    report = reports.of_living(folder(scan, name))
    found = str(report.get("phase") or "")
    return found if found != ACTIVE or reports.serves(report) else "active, not ready"


def is_active(scan: str, name: str) -> bool:
    """Tell whether the guard of a service holds its leases, and the service behind it is ready. Never raises."""
    return phase(scan, name) == ACTIVE


def words(meta: Mapping[str, Any]) -> list[str]:
    """Give the needs of a definition (the content of holdfast.json) as arguments: all names, then those that have to be active."""
    awaited = list(meta.get("needs_active") or ())
    return [*(meta.get("needs") or ()), *([FLAG, *awaited] if awaited else [])]


def parted(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Give what `words` was made of: all names, and those that have to be active."""
    at = arguments.index(FLAG) if FLAG in arguments else len(arguments)
    return arguments[:at], arguments[at + 1 :]


def wished(arguments: list[str]) -> str:
    """Give needs, as `words` has them, for people."""
    names, awaited = parted(arguments)
    return ", ".join(f"{name} to be active" if name in awaited else name for name in names)


def stands_by(scan: str, name: str, look: Look, above: frozenset[str] = frozenset()) -> bool:
    """Tell whether all that a service waits for are leases that others hold: then it waits as long as they do.

    look tells of a service whether it is ready; what it needs, None unless it waits for that; and which of those have to be
    active. above: those that wait for this one. Never raises.
    """
    _ready, needs, awaited = look(name)
    if needs is None or name in above:
        return False
    lacking = False
    for need in needs:
        met, standing = look(need)[0], False
        if met and need in awaited:
            report = reports.of_living(folder(scan, need))
            met, standing = reports.serves(report), reports.stands_by(report)
        elif not met:
            standing = stands_by(scan, need, look, above | {name})
        if not met and not standing:
            return False
        lacking = lacking or not met
    return lacking
