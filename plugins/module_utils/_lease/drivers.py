# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The drivers that there are, by name, and the check of versions in both directions. PRIVATE to the collection."""

from __future__ import annotations

from .interface import CAPABILITIES, CORE_API, CORE_FEATURES, DriverNotFound, DriverNotLoaded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .interface import Driver


def _file() -> type[Driver]:
    from .file import File

    return File


def _etcd() -> type[Driver]:
    from .etcd import Etcd

    return Etcd


def _sanlock() -> type[Driver]:
    from .sanlock import Sanlock

    return Sanlock


def _none() -> type[Driver]:
    from .none import Nothing

    return Nothing


#: By name, what gives the driver: a guard imports only the one that it needs.
DRIVERS: dict[str, Callable[[], type[Driver]]] = {
    "file": _file,
    "etcd": _etcd,
    "sanlock": _sanlock,
    "none": _none,
}


def load(name: str, drivers: Mapping[str, Callable[[], type[Driver]]] | None = None) -> type[Driver]:
    """Give the driver *name* of *drivers* (all that there are), ready for use with this core.

    Raises DriverNotFound, DriverNotLoaded. No service that needs it may be started then.
    """
    drivers = DRIVERS if drivers is None else drivers
    if name not in drivers:
        raise DriverNotFound(f"there is no lease driver {name}; there are: {', '.join(sorted(drivers))}")
    try:
        driver = drivers[name]()
    except Exception as error:
        raise DriverNotLoaded(f"driver {name}: {type(error).__name__}: {error}") from error
    core = ".".join(map(str, CORE_API))
    theirs = ".".join(map(str, driver.api))
    if driver.api[0] != CORE_API[0] or driver.api[1] > CORE_API[1]:
        raise DriverNotLoaded(f"driver {name} is made for version {theirs} of the interface, this is {core}")
    unknown = sorted(driver.capabilities - CAPABILITIES)
    if unknown:
        raise DriverNotLoaded(f"driver {name} declares what version {core} does not know: {', '.join(unknown)}")
    try:
        driver.load(CORE_API, CORE_FEATURES)
    except DriverNotLoaded:
        raise
    except Exception as error:
        raise DriverNotLoaded(f"driver {name}: {type(error).__name__}: {error}") from error
    return driver
