# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The body of the module lease. PRIVATE to the collection."""

from __future__ import annotations

import os

from . import moving, mutex, naming, places
from .drivers import use_runtime
from .handle import Handle
from .interface import Busy, LeaseError
from .modes import compatible, disk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MUTEX = ("held", "released", "broken")


def lease(options: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Do the task. With `failed` the result says in `msg` what is wrong; what has changed then is in the text."""
    try:
        if options["state"] in _MUTEX:
            result = _mutex(options, check_mode)
        elif options["state"] == "handed_over":
            result = _handed_over(options, check_mode)
        else:
            result = _service(options, check_mode)
    except mutex.HeldByOther as error:
        return {"failed": True, "msg": str(error), "holders": error.holders}
    except LeaseError as error:
        return {"failed": True, "msg": str(error)}
    except OSError as error:
        return {"failed": True, "msg": f"{error.filename or options['name']}: {error.strerror or error}"}
    before, after = result.pop("before"), result.pop("after")
    # One shape for all states: what a diff shows is who holds it before and after.
    result["diff"] = {"before": before, "after": after}
    return {"name": options["name"], "state": options["state"], **result}


def _mutex(options: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    if options["state"] != "broken":
        mutex.check(options["name"], options["owner"], options["ttl"], options["wait"])
    parameters = dict(options["parameters"] or {})
    if options["driver"] == "file":
        parameters.setdefault("directory", places.leases())
    runtime = runtime_of(options["runtime_directory"])
    use_runtime(runtime)
    program = [options["python"], "-I", "-S", os.path.join(runtime, "current")]
    one = mutex.Mutex(options["name"], options["owner"] or "", options["driver"], parameters, program)
    if options["state"] == "held":
        return _held(one, options, check_mode)
    if options["state"] == "released":
        found = one.find()
        before = _shown(found)
        changed = found is not None if check_mode else one.release()
        return {"changed": changed, "before": before, "after": {} if changed else before}
    others = one.others()
    before = {"owner": others[0]["owner"], "token": others[0]["token"]} if others else {}
    if check_mode:
        return {"changed": one.would_break(), "before": before, "after": {}}
    changed, token = one.break_(options["reason"])
    return {"changed": changed, "token": token or None, "before": before, "after": {}}


def _held(one: mutex.Mutex, options: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    found = one.find()
    before = _shown(found)
    if check_mode:
        others = [] if found else [holder for holder in one.others() if not compatible(holder["mode"], options["mode"])]
        if others and not options["wait"]:
            raise mutex.HeldByOther(f"{one.resource}: {others[0]['owner']} has it; it would not be got", others)
        after = before or {"owner": one.owner, "mode": options["mode"]}
        return {"changed": found is None, "before": before, "after": after}
    changed, told = one.hold(options["ttl"], options["wait"], options["mode"], options["safety"])
    after = _shown(told)
    return {
        "changed": changed,
        "token": told["resources"][0]["token"],
        "owner": told["owner"],
        "valid_until": told["until"],
        "warnings": [f"{hole['name']}: {hole['text']}" for hole in told.get("holes") or ()] if changed else [],
        "before": before,
        "after": after,
    }


def _shown(status: dict[str, Any] | None) -> dict[str, Any]:
    """Give what of a holder belongs into a diff: nothing that changes by itself."""
    if not status or not status.get("resources"):
        return {}
    resource = status["resources"][0]
    return {"owner": status["owner"], "mode": resource["mode"], "token": resource["token"]}


def _service(options: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    mode, present = options["mode"], options["state"] == "present"
    with Handle.attach(options["service"], guards_of(options["scan_directory"])) as handle:
        status = handle.inquire()
        resource = _known(options["name"], status)
        held = {one["name"]: one for one in status["resources"]}
        before = {name: one["mode"] for name, one in held.items()}
        if status["phase"] != "active":
            raise LeaseError(f"{options['service']}: is {status['phase']}; only what runs can be given more or less")
        if (resource in held) == present:
            if present and held[resource]["mode"] != mode:
                raise LeaseError(f"{resource}: {options['service']} holds it as {before[resource]}; take it away first")
            token = held[resource]["token"] if present else None
            return {"changed": False, "token": token, "before": before, "after": before}
        if not present and len(held) == 1:
            raise LeaseError(f"{resource}: is the last one that {options['service']} holds; stop the service instead")
        after = {**before, resource: mode}
        if not present:
            after.pop(resource)
        token = None
        if not check_mode:
            if present:
                # The guard finds out itself which disk a path is.
                handle.register(options["name"], mode)
                token = handle.acquire(options["name"])[options["name"]]
            else:
                handle.release(resource)
        elif present:
            others = [one for one in _owners(status, resource) if not compatible(one["mode"], mode)]
            if others:
                raise Busy(resource, [one["owner"] for one in others])
        return {"changed": True, "token": token, "before": before, "after": after}


def _known(name: str, status: dict[str, Any]) -> str:
    """Give the name in the store. A disk that the service has is found by its path also when it is there no more."""
    found = [known for known, path in (status.get("disks") or {}).items() if path == disk(name)]
    return found[0] if found else naming.known_as(name)


def _owners(status: dict[str, Any], resource: str) -> list[dict[str, Any]]:
    """Ask the store of a guard, as far as it says how to reach it."""
    driver, parameters = status.get("driver"), status.get("parameters")
    if not driver or not isinstance(parameters, dict):
        return []
    return mutex.Mutex(resource, "lease_info", driver, parameters, []).others()


def _handed_over(options: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    base = guards_of(options["scan_directory"])
    source, target = moving.Place(options["service"], base), moving.Place(options["to"], base)
    if moving.arrived(source, target):
        after = {"holder": options["to"]}
        return {"changed": False, "before": after, "after": after}
    before, after = {"holder": options["service"]}, {"holder": options["to"]}
    if check_mode:
        for place, phase in ((source, "active"), (target, "standby")):
            found = place.status().get("phase")
            if found != phase:
                raise LeaseError(f"{place.name}: is {found or 'not running'} and would have to be {phase}")
        return {"changed": True, "before": before, "after": after}
    number = options["id"] or f"{options['service']}-{options['to']}"
    tokens = moving.hand_over(source, target, number, options["ttl"], options["wait"] or mutex.PATIENCE)
    return {"changed": True, "tokens": tokens, "before": before, "after": after}


def guards_of(scan: str | None) -> str:
    """Give where the guards of a scan directory's services have their folders."""
    personal = os.path.expanduser("~/.holdfast/services")
    default = "/etc/holdfast/services" if os.geteuid() == 0 else personal
    return os.path.join(os.path.abspath(scan or default), ".holdfast", "guards")


def runtime_of(given: str | None) -> str:
    """Give the directory of the runtime: the one that is named, or where it is by default."""
    default = "/usr/local/lib/holdfast" if os.geteuid() == 0 else os.path.expanduser("~/.holdfast/lib")
    return os.path.abspath(given or default)
