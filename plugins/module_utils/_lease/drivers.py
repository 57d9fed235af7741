# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The drivers that there are, by name, and the check of versions in both directions. PRIVATE to the collection."""

from __future__ import annotations

import os
import sys

from .interface import CAPABILITIES, CORE_API, CORE_FEATURES, DriverNotFound, DriverNotLoaded, DriverRefused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

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


_FIRST = frozenset("abcdefghijklmnopqrstuvwxyz")
_FURTHER = _FIRST.union("0123456789_")


def _foreign_name(text: str) -> bool:
    words = text.split(".")
    return len(words) == 3 and all(
        0 < len(one) <= 64 and one[0] in _FIRST and _FURTHER.issuperset(one) for one in words
    )


#: Says what a driver of another collection is called: collection and module.
FOREIGN_NAME = _foreign_name
#: The package of the runtime that has them, and the class that each of them has.
FOREIGN, FOREIGN_CLASS = "_foreign", "LeaseDriver"


def load(name: str, drivers: Mapping[str, Callable[[], type[Driver]]] | None = None) -> type[Driver]:
    """Give the driver *name* of *drivers* (all that there are), ready for use with this core.

    Raises DriverNotFound, DriverNotLoaded. No service that needs it may be started then.
    """
    driver = look_at(name, drivers)
    try:
        driver.load(CORE_API, CORE_FEATURES)
    except DriverNotLoaded:
        raise
    except Exception as error:
        raise DriverNotLoaded(f"driver {name}: {type(error).__name__}: {error}") from error
    return driver


def make(name: str, tenant: str, parameters: Mapping[str, Any]) -> Driver:
    """Give an instance of the driver *name*, or of what it has for these parameters.

    Raises DriverNotFound, DriverNotLoaded, DriverRefused.
    """
    found = load(name)
    chosen = found.chosen(parameters)
    if chosen is not found:
        chosen.load(CORE_API, CORE_FEATURES)
    made = chosen(tenant, parameters)
    why = too_short(chosen, made.ttl)
    if why:
        raise DriverRefused(why)
    return made


def too_many(driver: type[Driver], resources: int) -> str:
    """Say why one service cannot have so many *resources* with *driver*, "" if it can."""
    most = driver.most_resources
    if most is None or resources <= most:
        return ""
    return f"driver {driver.name} can keep {most} for one service at most, not {resources}"


def too_short(driver: type[Driver], ttl: float | None) -> str:
    """Say why a grant of *driver* cannot be good for *ttl* seconds only, "" if it can, or is good for ever."""
    if ttl is None or ttl >= driver.shortest_ttl:
        return ""
    return f"driver {driver.name} needs {driver.shortest_ttl:g} s at least, not {ttl:g}"


def look_at(name: str, drivers: Mapping[str, Callable[[], type[Driver]]] | None = None) -> type[Driver]:
    """Give the driver *name* if it is made for this core, without asking whether it can work on this host.

    Raises DriverNotFound, DriverNotLoaded.
    """
    drivers = DRIVERS if drivers is None else drivers
    if name not in drivers and not FOREIGN_NAME(name):
        known = ", ".join(sorted(drivers))
        raise DriverNotFound(f"there is no lease driver {name}; there are: {known}, and namespace.collection.driver")
    try:
        driver = drivers[name]() if name in drivers else _foreign(name)
    except DriverNotFound:
        raise
    except Exception as error:
        raise DriverNotLoaded(f"driver {name}: {type(error).__name__}: {error}") from error
    core = ".".join(map(str, CORE_API))
    theirs = ".".join(map(str, driver.api))
    if driver.api[0] != CORE_API[0] or driver.api[1] > CORE_API[1]:
        raise DriverNotLoaded(f"driver {name} is made for version {theirs} of the interface, this is {core}")
    unknown = sorted(driver.capabilities - CAPABILITIES)
    if unknown:
        raise DriverNotLoaded(f"driver {name} declares what version {core} does not know: {', '.join(unknown)}")
    return driver


def _foreign(name: str) -> type[Driver]:
    """Import the driver of another collection: from the runtime that we are, or on the controller from the collection."""
    # Here, as most guards need neither; and so that what a driver imports is there wherever one may be loaded.
    import importlib

    from .. import lease_driver

    root = __package__.rpartition(".")[0]
    places = [f"{root}.{FOREIGN}.{name}"]
    if root.startswith("ansible_collections."):
        collection, _dot, module = name.rpartition(".")
        places.append(f"ansible_collections.{collection}.plugins.module_utils.{module}")
    for place in places:
        try:
            module_ = importlib.import_module(place)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{place}.".startswith(f"{error.name}."):
                raise
            continue
        found = getattr(module_, FOREIGN_CLASS, None)
        if not isinstance(found, type) or not issubclass(found, lease_driver.Driver):
            raise DriverNotLoaded(f"it has no class {FOREIGN_CLASS} that is made from Driver")
        if found.name != name:
            raise DriverNotLoaded(f"it calls itself {found.name}")
        missing = sorted(found.__abstractmethods__)
        if missing:
            raise DriverNotLoaded(f"it lacks {', '.join(missing)}")
        return found
    raise DriverNotFound(
        f"there is no lease driver {name} here: install its collection on the controller, name it in "
        "supervisor_lease_drivers, and run the role supervisor, which ships it"
    )


def use_runtime(directory: str) -> None:
    """Have drivers of other collections loaded from the runtime that is in use below *directory*.

    For what is not that runtime itself, as modules are. Where there is none, or somebody else could have put one there,
    nothing happens, and such drivers are not found.
    """
    package = f"{__package__.rpartition('.')[0]}.{FOREIGN}"
    path = os.path.join(os.path.realpath(os.path.join(directory, "current")), "holdfast", FOREIGN)
    if package in sys.modules or not os.path.isdir(path):
        return
    from .._helper.trust import untrusted

    if untrusted(path):
        return
    module = type(sys)(package)
    module.__path__ = [path]
    sys.modules[package] = module
