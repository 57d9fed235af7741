# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can be told of the leases of this host, and of resources in a store: for people, changes nothing. PRIVATE to the collection."""

from __future__ import annotations

import os
import time

from . import execution, mutex, naming, places
from .drivers import load, make
from .handle import Handle, NoGuard, living
from .interface import HANDOVER, LeaseError, StoreUnavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, TypeVar

    from .interface import Driver

    Answer = TypeVar("Answer")


def guard(base: str, folder: str, record: Mapping[str, Any]) -> dict[str, Any]:
    """Tell of one living guard or holder: what it says if it answers, else what it has written down (`answers`).

    Of a service without a guard (`mode` exec) there is only that, which is so as long as its process lives.
    """
    try:
        with Handle.attach(folder, base, 5.0) as handle:
            status = {**record, **handle.inquire(), "answers": True}
    except NoGuard:
        status = {**record, "answers": False}
    except LeaseError as error:
        status = {**record, "answers": False, "problem": str(error)}
    left = status.get("valid_for")
    until = [moment for moment in (status.get("until"), None if left is None else time.time() + left) if moment]
    return {
        "name": status["name"],
        "kind": "holder" if status.get("owner") else "service",
        "owner": status.get("owner") or "",
        "mode": status.get("mode") or execution.GUARD_MODE,
        "phase": status["phase"],
        "since": status["since"],
        "pid": status["pid"],
        "tree": status["tree"],
        "driver": status["driver"],
        "parameters": status.get("parameters") or {},
        "containment": status["containment"],
        "resources": status["resources"],
        "wants": status.get("wants") or [one["name"] for one in status["resources"]],
        "disks": status.get("disks") or {},
        "valid_until": min(until) if until else None,
        "ttl": status.get("ttl"),
        "renewals": status.get("renewals"),
        "handover": status.get("handover"),
        "holes": status["holes"],
        "answers": status["answers"],
        "problem": status.get("problem", ""),
    }


def everything(bases: list[str]) -> list[dict[str, Any]]:
    """Tell of all living guards and holders below *bases*."""
    found = []
    for base in bases:
        for record in living(base):
            found.append(guard(base, record["folder"], record))
    return sorted(found, key=lambda one: (one["kind"], one["name"], one["owner"]))


class Store:
    """A store that is asked several things: for `with`. One that has not answered in time is not asked again.

    So that whoever looks waits once for a store that hangs, and not for each question.
    """

    def __init__(self, driver: str, parameters: Mapping[str, Any]) -> None:
        self.driver = driver
        self._parameters = parameters
        self._made: Driver | None = None
        self._silent: StoreUnavailable | None = None

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_details: object) -> None:
        if self._made is not None:
            self._made.free()

    def made(self) -> Driver:
        """Give the driver. Raises LeaseError, also if its store has not answered before."""
        if self._silent is not None:
            raise self._silent
        if self._made is None:
            self._made = make(self.driver, "lease_info", self._parameters)
        return self._made

    def ask(self, question: Callable[[Driver], Answer]) -> Answer:
        """Give the answer. Raises LeaseError."""
        try:
            return question(self.made())
        except StoreUnavailable as error:
            self._silent = error
            raise


def resource(name: str, store: Store, guards: list[dict[str, Any]]) -> dict[str, Any]:
    """Tell who holds *name* by the word of its store, what hand-over keeps it, and who waits for it on this host."""
    result: dict[str, Any] = {"name": name, "holders": [], "handover": None, "waiters": [], "problem": ""}
    try:
        result["name"] = known = naming.known_as(name)
        result["holders"] = [mutex.told(holder) for holder in store.ask(lambda made: made.owners(known))]
        mark = store.ask(lambda made: made.handed_over(known) if HANDOVER in made.capabilities else None)
        result["handover"] = mark.write() if mark else None
    except LeaseError as error:
        result["problem"] = str(error)
    for one in guards:
        if one["phase"] == "standby" and result["name"] in one["wants"]:
            result["waiters"].append(one["owner"] or one["name"])
    return result


def probe(store: Store) -> dict[str, Any]:
    """Tell what driver and store are worth on this host, and by what the store tells this host from others.

    `problem` says why they cannot be used; what else is known is told all the same.
    """
    result: dict[str, Any] = {
        "driver": store.driver,
        "capabilities": [],
        "limits": None,
        "holes": [],
        "facts": {},
        "exec": None,
        "problem": "",
    }
    result.update(host=os.uname().nodename, machine_id=_machine_id())
    try:
        result["capabilities"] = sorted(load(store.driver).capabilities)
        made = store.made()
        result["capabilities"] = sorted(made.capabilities)
        result["limits"] = {"most_resources": made.most_resources, "shortest_ttl": made.shortest_ttl}
        result["holes"] = [{"name": hole.name, "text": hole.text} for hole in store.ask(lambda one: one.probe())]
        result["facts"] = made.facts()
        result["exec"] = execution.told(made)
    except LeaseError as error:
        result["problem"] = str(error)
    return result


def _machine_id() -> str:
    try:
        with open("/etc/machine-id", encoding="ascii") as file:
            return file.read().strip()
    except (OSError, ValueError):
        return ""


def lease_info(options: Mapping[str, Any], guards_base: str) -> dict[str, Any]:
    """Do the task of the module lease_info."""
    guards = everything([guards_base, places.holders()])
    parameters = dict(options["parameters"] or {})
    if options["driver"] == "file":
        parameters.setdefault("directory", places.leases())
    chosen = options["services"]
    result: dict[str, Any] = {
        "changed": False,
        "guards": [one for one in guards if chosen is None or one["name"] in chosen],
    }
    with Store(options["driver"], parameters) as store:
        result["leases"] = [resource(name, store, guards) for name in options["names"] or ()]
        if options["probe"]:
            result["probe"] = probe(store)
    return result
