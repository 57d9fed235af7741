# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`holdfast lease …`: who holds what and why not, and the changes that people make. PRIVATE to the collection."""

from __future__ import annotations

import json
import os
import sys
import time

from .._lease import information, modes, moving, mutex, naming, places
from .._lease.execution import EXEC_MODE, LOSSES
from .._lease.handle import GuardGone, Handle
from .._lease.interface import LeaseError
from .exits import FAILED, NO_SERVICE, OK, USAGE, CommandError
from .places import own, scan_directory
from .terminal import complain, duration, harmless, table, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from typing import Any

HEAD = ["NAME", "PHASE", "GUARD", "FOR", "HOLDS", "UNTIL", "OPEN HOLES"]
_LOOKS = {
    "active": "good",
    "standby": "dull",
    "pausing": "bad",
    "paused": "bad",
    "stopping": "busy",
    "killing": "busy",
    "releasing": "busy",
}


def lease(options: Namespace) -> int:
    """Do one of the verbs and give the exit code. Raises CommandError."""
    try:
        return _VERBS[options.what](options)
    except GuardGone as error:
        raise CommandError(NO_SERVICE, str(error)) from None
    except LeaseError as error:
        raise CommandError(FAILED, str(error)) from None


def _bases(options: Namespace) -> list[str]:
    """Give where guards are: of the scan directory, if there is one, and of those who hold something for an owner."""
    found = [places.holders()]
    try:
        found.insert(0, own(scan_directory(options.scan), "guards"))
    except CommandError:
        if options.scan:
            raise
        found.insert(0, places.guards())
    return found


def _list(options: Namespace) -> int:
    guards = information.everything(_bases(options))
    if options.json:
        write(json.dumps({"guards": guards}, indent=2, sort_keys=True))
        return OK
    if not guards:
        write("no guards")
        return OK
    for line in table(HEAD, [_row(guard) for guard in guards], [_LOOKS.get(guard["phase"], "") for guard in guards]):
        write(line)
    return OK


def _row(guard: dict[str, Any]) -> list[str]:
    until = guard["valid_until"]
    name = f"{guard['name']} ({guard['owner']})" if guard["kind"] == "holder" else guard["name"]
    return [
        harmless(name),
        guard["phase"] if guard["answers"] or _executed(guard) else f"{guard['phase']}?",
        f"{guard['pid']} (exec)" if _executed(guard) else str(guard["pid"]),
        duration(time.time() - guard["since"]),
        harmless(", ".join(_grant(one, guard["disks"]) for one in guard["resources"])) or "-",
        f"{duration(until - time.time())}" if until else "-",
        ", ".join(hole["name"] for hole in guard["holes"]),
    ]


def _executed(guard: dict[str, Any]) -> bool:
    """Say whether the process is the service itself, or is going to be."""
    return bool(guard["mode"] == EXEC_MODE)


def _grant(one: dict[str, Any], disks: dict[str, str]) -> str:
    return f"{modes.joined(_called(one['name'], disks), one['mode'])} ({one['token']})"


def _called(name: str, disks: dict[str, str]) -> str:
    """Give what people call a resource: of a disk the path."""
    return modes.DISK + disks[name] if name in disks else name


def _status(options: Namespace) -> int:
    """Tell all about one guard, and of every resource that it wants who has it: why it is active, or why not."""
    every = information.everything(_bases(options))
    chosen = [guard for guard in every if guard["name"] == options.name]
    if not chosen:
        raise CommandError(NO_SERVICE, f"{options.name}: no guard runs; holdfast why {options.name} may tell why not")
    for guard in chosen:
        with information.Store(guard["driver"], guard["parameters"]) as store:
            guard["leases"] = [information.resource(one, store, every) for one in guard["wants"]]
    if options.json:
        write(json.dumps({"guards": chosen}, indent=2, sort_keys=True))
        return OK
    for guard in chosen:
        for line in _told(guard):
            write(harmless(line))
    return OK


def _told(guard: dict[str, Any]) -> list[str]:
    now = time.time()
    name = f"{guard['name']}, held for {guard['owner']}" if guard["kind"] == "holder" else guard["name"]
    what = "without a guard, process" if _executed(guard) else "guard"
    lines = [f"{name}: {guard['phase']} for {duration(now - guard['since'])}, {what} {guard['pid']}"]
    if guard["tree"] and guard["kind"] == "service" and not _executed(guard):
        lines[0] += f", service below process {guard['tree']}"
    if _executed(guard):
        lines += [f"  lost by mode exec: {text}" for text in LOSSES.values()]
    elif not guard["answers"]:
        lines.append(f"  the guard does not answer; this is what it has written down. {guard['problem']}")
    if guard["valid_until"]:
        lines.append(f"  ends in {duration(guard['valid_until'] - now)} unless it is renewed or extended")
    if guard["renewals"] and guard["renewals"]["count"]:
        lines.append(f"  {_renewed(guard['renewals'])}")
    handover = guard["handover"]
    if handover:
        other = f", {handover['other']}" if handover["other"] else ""
        lines.append(f"  hand-over {handover['id']}: is its {handover['role']}{other}")
    for one in guard["leases"]:
        holders = [mutex.sentence(holder) for holder in one["holders"]] or [one["problem"] or "nobody has it"]
        disk = guard["disks"].get(one["name"])
        lines.append(f"  {one['name']}{f' ({disk})' if disk else ''}: {'; '.join(holders)}")
        if one["handover"]:
            mark = one["handover"]
            lines.append(
                f"    kept for hand-over {mark['id']} from {mark['source']} to {mark['target']} ({mark['stage']})"
            )
        if one["waiters"]:
            lines.append(f"    in line here: {', '.join(one['waiters'])}")
    lines += [f"  open hole {hole['name']}: {hole['text']}" for hole in guard["holes"]]
    return lines


def _renewed(renewals: dict[str, Any]) -> str:
    """Tell how renewals went. A guard of an older version does not tell how long most of them took."""
    told = ["{count} renewals, {failed} failed, {slow} slow".format(**renewals)]
    for share in (50, 99):
        enough = [one["le"] for one in renewals.get("took", ()) if one["count"] * 100 >= share * renewals["count"]]
        told += [f"{share}% within {min(enough):g} s"] if enough else []
    return f"{', '.join(told)}, the longest {renewals['worst']:.3f} s"


def _metrics(options: Namespace) -> int:
    """Tell programs that watch hosts how it is with all guards."""
    from .lease_metrics import text

    write(text(information.everything(_bases(options))))
    return OK


def _acquire(options: Namespace) -> int:
    resource, mode = modes.split(options.resource)
    if options.service:
        with Handle.attach(options.service, _bases(options)[0]) as handle:
            handle.register(resource, mode)
            token = handle.acquire(resource)[resource]
        write(f"{options.service} holds {resource}, token {token}")
        return OK
    mutex.check(resource, options.owner, options.ttl, options.wait)
    changed, told = _mutex(options, resource).hold(options.ttl, options.wait, mode)
    held = told["resources"][0]
    verb = "holds" if changed else "still holds"
    write(f"{options.owner} {verb} {resource}, token {held['token']}, until {mutex.moment(told['until'])}")
    for hole in told.get("holes") or () if changed else ():
        complain(f"holdfast: open hole {hole['name']}: {hole['text']}")
    return OK


def _release(options: Namespace) -> int:
    if options.service:
        with Handle.attach(options.service, _bases(options)[0]) as handle:
            handle.release(options.resource)
        write(f"{options.service} has given {options.resource} back")
        return OK
    had = _mutex(options, options.resource).release()
    write(f"{options.owner} has given {options.resource} back" if had else f"{options.owner} has not had it here")
    return OK


def _break(options: Namespace) -> int:
    options.owner = ""
    had, token = _mutex(options, options.resource).break_(options.reason)
    if not had:
        write(f"{options.resource}: nobody has it here")
    else:
        drawn = f"; tokens below {token} are stale" if token else ""
        write(f"{options.resource}: taken away{drawn}")
    return OK


def _handover(options: Namespace) -> int:
    base = _bases(options)[0]
    source, target = moving.Place(options.source, base), moving.Place(options.target, base)
    number = options.id or f"{options.source}-{options.target}"
    if options.cancel:
        outcome = source.cancel(number)
        texts = {
            "dropped": f"hand-over {number} is off; {options.source} has never stopped",
            "returning": f"hand-over {number} is off; only {options.source} gets back what it has held",
        }
        write(texts.get(outcome, f"there is no hand-over {number} any more") + f". {moving.where(source, target)}")
        return OK
    if moving.arrived(source, target):
        write(f"nothing to hand over. {moving.where(source, target)}")
        return OK
    tokens = moving.hand_over(source, target, number, options.seconds, options.timeout)
    told = ", ".join(f"{name} ({token})" for name, token in sorted(tokens.items()))
    write(f"{options.target} has taken over {told}")
    return OK


def _prepare(options: Namespace) -> int:
    """Make a lockspace where there is none, and join it. Says in JSON what was done, or would be with --check."""
    from .._lease._sanlock.prepare import join, prepare

    parameters = _parameters(options)
    done = {"made": prepare(parameters, options.io_timeout, options.resources, options.check), "joined": False}
    if options.join is not None:
        # What is not made yet cannot be joined yet.
        done["joined"] = (options.check and done["made"]) or join(parameters, options.join, options.check)
    write(json.dumps(done))
    return OK


def _key(options: Namespace) -> int:
    """Tell by what name a disk is known to everybody."""
    write(naming.known_as(modes.DISK + os.path.abspath(options.path)))
    return OK


def _parameters(options: Namespace) -> dict[str, Any]:
    parameters: dict[str, Any] = {}
    for word in options.parameter:
        name, equals, value = word.partition("=")
        if not equals:
            raise CommandError(USAGE, f"--parameter {word}: NAME=VALUE is wanted")
        parameters[name] = value
    return parameters


def _mutex(options: Namespace, resource: str) -> mutex.Mutex:
    parameters = _parameters(options)
    if options.driver == "file":
        parameters.setdefault("directory", places.leases())
    program = [sys.executable, "-I", "-S", os.path.realpath(sys.path[0])]
    return mutex.Mutex(resource, options.owner, options.driver, parameters, program)


_VERBS = {
    "list": _list,
    "status": _status,
    "metrics": _metrics,
    "acquire": _acquire,
    "release": _release,
    "break": _break,
    "handover": _handover,
    "prepare": _prepare,
    "key": _key,
}
