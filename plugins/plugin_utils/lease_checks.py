# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the driver of a lease cannot do, found before anybody connects to a host. PRIVATE to the collection.

Only when a definition is complete: driver, time and parameters may be those of all leases. A driver that is not there to
be asked, as its collection is not on the controller, is judged by its guard alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.holdfast.supervision.plugins.module_utils._definition.problem import Problem
from ansible_collections.holdfast.supervision.plugins.module_utils._lease import drivers, modes
from ansible_collections.holdfast.supervision.plugins.module_utils._lease.interface import (
    HANDOVER,
    UNBROKEN,
    Driver,
    DriverRefused,
    LeaseError,
)

from .render import has_ttl


class Said:
    """Where of one service is said what: in its definition, in the defaults of all services, or for all leases.

    path: the variable of the definition, with the service's name.
    """

    def __init__(self, path: str, definition: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
        self.path = path
        self._leases = [
            (f"{where}.lease", section["lease"])
            for where, section in ((path, definition), ("services_defaults", defaults))
            if isinstance(section.get("lease"), Mapping)
        ]

    def at(self, key: str) -> str:
        """Return the variable that says *key* of the lease."""
        for where, lease in self._leases:
            if lease.get(key) is not None:
                return f"{where}.{key}"
        return f"leases_{key}" if key in ("driver", "ttl") else f"{self.path}.lease.{key}"

    def parameter(self, name: str) -> str:
        """Return the variable that says the driver's parameter *name*."""
        for where, lease in self._leases:
            given = lease.get("parameters")
            if isinstance(given, Mapping) and name in given:
                return f"{where}.parameters.{name}"
        return f"leases_parameters.{name}"


def refused(lease: Mapping[str, Any], said: Said) -> Iterator[Problem]:
    """Find what the driver of the complete *lease* cannot do, each with its cure."""
    try:
        found = drivers.look_at(lease["driver"])
    except LeaseError:
        return
    try:
        driver = found.chosen(lease["parameters"])
    except DriverRefused as error:
        yield Problem(f"{said.path}.lease.parameters", "", str(error))
        return
    which = f"driver {lease['driver']}"
    if lease["parameters"].get("scope"):
        which += f" with scope {lease['parameters']['scope']}"
    pauses = lease["on_lost"] == "pause"
    for key, asked, capability in (("keep", lease["keep"], HANDOVER), ("on_lost", pauses, UNBROKEN)):
        if asked and capability not in driver.capabilities:
            yield Problem(f"{said.path}.lease.{key}", str(lease[key]), f"is not possible with {which}", "leave it out")
    unknown = {name: said.parameter(name) for name in lease["parameters"]}
    if lease["ttl"] is not None and has_ttl(lease):
        unknown.setdefault("ttl", said.at("ttl"))
    for name in sorted(set(unknown) - driver.parameters):
        # Without its value: what nobody knows may be a secret.
        known = f"is no parameter of {which}, which knows: {', '.join(sorted(driver.parameters)) or 'none'}"
        yield Problem(unknown[name], "", f"service {_name(said)}: {known}", _cure(name))
    for index, (_resource, mode) in enumerate(map(modes.split, lease["resources"])):
        if mode != modes.EXCLUSIVE_MODE and mode not in driver.capabilities:
            cure = f"say {modes.SHARED_MODE}, or choose another driver"
            yield Problem(f"{said.at('resources')}[{index}]", mode, f"is not known to {which}", cure)
    yield from _beyond(lease, driver, said)


def _name(said: Said) -> str:
    return said.path.rpartition(".")[2]


def _cure(name: str) -> str:
    """Say which of our own drivers know the parameter *name*."""
    able = []
    for one in drivers.DRIVERS:
        driver = drivers.look_at(one)
        if name in driver.parameters and one != "none":
            able.append(one)
        elif one == "file" and name in driver.chosen({"scope": "hosts"}).parameters:
            able.append("file with scope hosts")
    return "leave it out" + (f", or choose a driver that knows it: {', '.join(able)}" if able else "")


def _beyond(lease: Mapping[str, Any], driver: type[Driver], said: Said) -> Iterator[Problem]:
    """Find what is beyond the limits that the driver declares."""
    why = drivers.too_many(driver, len(lease["resources"]))
    if why:
        yield Problem(said.at("resources"), "", why, "give several things that are always held together one name")
    where, ttl = said.at("ttl"), lease["ttl"] if has_ttl(lease) else None
    if ttl is None and "ttl" in driver.parameters:
        where, ttl = said.parameter("ttl"), _seconds(lease["parameters"].get("ttl"))
    why = drivers.too_short(driver, ttl)
    if why:
        yield Problem(where, f"{ttl:g}", f"service {_name(said)}: {why}", f"choose {driver.shortest_ttl:g} s or more")


def _seconds(value: object) -> float | None:
    """Read the time in a parameter, None if it is none: what that is worth the driver says."""
    try:
        return float(str(value).removesuffix("s"))
    except ValueError:
        return None
