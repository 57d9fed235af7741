# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From what people call a resource to what it is called in a store. PRIVATE to the collection."""

from __future__ import annotations

from .interface import REMOTE, DriverRefused, LeaseError, StoreUnavailable
from .modes import HERE, disk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from .interface import Driver

#: Seconds in which the storage has to say which disk it is.
_PATIENCE = 10.0
_KEY, _REFUSED, _FAILED = b"=", b"-", b"!"


def known_as(name: str) -> str:
    """Give the name by which *name*, which may be disk:PATH, is known to everybody. Changes nothing.

    Raises DriverRefused if that is no disk, LeaseError if there is none or its storage does not answer; may be repeated.
    """
    path = disk(name)
    if not path:
        return name
    # Only who has a disk needs them.
    from .aside import aside

    try:
        answer = aside(lambda: _ask(path), _PATIENCE)
    except StoreUnavailable as error:
        raise StoreUnavailable(f"{name}: {error}") from None
    text = answer[1:].decode("utf-8", "surrogateescape")
    if answer[:1] == _KEY:
        return text
    raise DriverRefused(text) if answer[:1] == _REFUSED else LeaseError(text)


def _ask(path: str) -> bytes:
    from . import disks

    kind, text = _KEY, ""
    try:
        text = disks.key(path)
    except DriverRefused as error:
        kind, text = _REFUSED, str(error)
    except LeaseError as error:
        kind, text = _FAILED, str(error)
    return kind + text.encode("utf-8", "surrogateescape")


def register(driver: Driver, name: str, mode: str, known: str) -> None:
    """Register what people call *name* as what it is *known* as. Raises DriverRefused; it is not registered then."""
    if known.startswith(HERE) and REMOTE in driver.capabilities:
        raise DriverRefused(
            f"{name}: the device tells no number by which other hosts know it; name the resource yourself, the same on all "
            "hosts that see it"
        )
    try:
        driver.register(known, mode)
    except DriverRefused as error:
        raise DriverRefused(str(error) if known == name else f"{name}: {error}") from None


def disks_of(named: Mapping[str, str]) -> dict[str, str]:
    """Give the paths of those that are disks. named: what is known under which name, and what people call it."""
    return {known: disk(name) for known, name in named.items() if known != name}
