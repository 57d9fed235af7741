# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Shared resources: made for the first who holds one, and taken away after the last. PRIVATE to the collection.

A resource is a pair of operations that make and destroy it; with its parameters it is one thing. Holders share it or have it
for themselves; who asks waits in line, so that neither kind is starved. A holder is a connection, and after a restart of
the helper the process that had made it, until it connects again under the same token. What is held is written down before
anybody is told.
"""

from __future__ import annotations

import os
import time

from .._jobs import store
from .._supervise._embedded import identity
from .._varlink.server import Refused
from . import audit, interface
from .calls import fingerprint
from .connections import Client
from .parameters import BadParameter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .._supervise._embedded.loop import Loop, Timer
    from .calls import Calls
    from .operations import Operation

SHARED, EXCLUSIVE = "shared", "exclusive"
CREATING, PRESENT, DESTROYING, FAILED, ABSENT = "creating", "present", "destroying", "failed", "absent"
#: References and requests of one user, and things of all.
OF_ONE, THINGS = 64, 256
#: How often a destroy that fails is tried, and the seconds before the second time; they double.
TRIES, AGAIN = 3, 1.0


class Declared:
    """A resource as the inventory declares it. Who may call *create* may hold it."""

    __slots__ = ("create", "destroy", "linger", "name")

    def __init__(self, name: str, definition: dict[str, Any], operations: dict[str, Operation]) -> None:
        self.name = name
        self.create = operations[definition["create"]]
        self.create.makes.append(name)
        self.destroy = operations[definition["destroy"]]
        self.linger = float(definition.get("linger", 0))


class _Holder:
    """Who holds a thing, or waits for it (client is not None, then). watch: the pidfd of one that has no connection."""

    __slots__ = ("client", "mode", "pid", "started", "token", "uid", "watch")

    def __init__(self, uid: int, token: str, mode: str, pid: int, started: int, client: Client | None) -> None:
        self.uid = uid
        self.token = token
        self.mode = mode
        self.pid = pid
        self.started = started
        self.client = client
        self.watch = -1


class _Thing:
    """One thing: a resource with its parameters."""

    __slots__ = ("declared", "holders", "key", "message", "queue", "state", "timer", "tries", "until", "values")

    def __init__(self, declared: Declared, values: dict[str, Any], key: str) -> None:
        self.declared = declared
        self.values = values
        self.key = key
        self.state = ABSENT
        self.message = ""
        self.holders: list[_Holder] = []
        self.queue: list[_Holder] = []
        self.timer: Timer | None = None
        self.tries = 0
        #: Until when it lingers, by the clock that no restart of ours stops; 0 while it is held.
        self.until = 0.0


class _Self:
    """Who makes and destroys, for the records: the helper itself."""

    def __init__(self) -> None:
        self.uid, self.gid, self.pid, self.service = os.geteuid(), os.getegid(), os.getpid(), ""


class _Insider(Client):
    """Stands for a caller of an operation; *done* is called with the answer."""

    __slots__ = ("_told", "name_")

    def __init__(self, told: Callable[[str, dict[str, Any]], None]) -> None:
        self.peer = _Self()  # type: ignore[assignment]
        self.passed = 0
        self._told = told

    @property
    def name(self) -> str:
        return "helper"

    def wait(self, gone: Callable[[bool], None], patience: float | None = None) -> None:
        """Nobody leaves."""

    def answer(self, error: str, parameters: dict[str, Any], passed: int = -1) -> None:
        self._told(error, parameters)

    def done(self, error: str, parameters: dict[str, Any], passed: int = -1) -> None:
        self._told(error, parameters)


class Resources:
    """All things of the *declared* resources, with a file for each in *folder*. Raises OSError."""

    def __init__(self, loop: Loop, calls: Calls, declared: dict[str, Declared], folder: str) -> None:
        self._loop = loop
        self._calls = calls
        self._declared = declared
        self._folder = folder
        self._things: dict[str, _Thing] = {}
        self._stopping = False
        os.makedirs(folder, 0o700, exist_ok=True)
        for name in sorted(os.listdir(folder)):
            content = store.read(f"{folder}/{name}")
            if name.endswith(".json") and content is not None and content["resource"] in declared:
                self._find(name[:-5], content)
            else:
                os.unlink(f"{folder}/{name}")
                if content is not None:
                    # Nobody knows any more how it would be destroyed.
                    details = {"resource": content["resource"], "parameters": content["values"], "outcome": "forgotten"}
                    audit.record("resource", None, **details, message="it is not declared any more")

    def stop(self) -> None:
        """Send away who waits. What is held stays held for the next helper."""
        self._stopping = True
        for thing in self._things.values():
            queue, thing.queue = thing.queue, []
            for holder in queue:
                if holder.client is not None:
                    holder.client.done(interface.STOPPING, {})

    def acquire(self, client: Client, request: dict[str, Any], token: str, patience: float | None) -> None:
        """Have a client hold a thing, and answer when it does. The same token again is the same reference. Raises Refused."""
        uid, mode = client.peer.uid, request.get("mode")
        declared = self._permitted(client, request.get("resource"))
        mode = SHARED if mode is None else mode
        if mode not in (SHARED, EXCLUSIVE):
            raise Refused(interface.BAD_PARAMETER, parameter="mode", message=f"{SHARED} or {EXCLUSIVE}")
        values = request.get("parameters")
        if values is not None and not isinstance(values, dict):
            raise Refused(interface.BAD_PARAMETER, parameter="parameters", message="is to be an object")
        values = declared.create.complete(values or {})
        thing = self._thing(declared, values)
        found = self._held(uid, token)
        if found is not None:
            other, holder = found
            if other is not thing or holder.mode != mode or holder in other.queue:
                raise Refused(interface.BAD_ID, id=token, message="was used for another resource")
            self._attach(holder, client)
            client.answer("", {"token": token, "state": thing.state})
            return
        if self._stopping:
            raise Refused(interface.STOPPING)
        mine = sum(one.uid == uid for each in self._things.values() for one in (*each.holders, *each.queue))
        if mine >= OF_ONE or (thing.key not in self._things and len(self._things) >= THINGS):
            raise Refused(interface.BUSY, message="too many resources are held or waited for")
        self._things[thing.key] = thing
        pid = client.peer.pid
        holder = _Holder(uid, token, mode, pid, identity.start_time(pid), client)
        thing.queue.append(holder)

        def gone(_late: bool) -> None:
            thing.queue.remove(holder)
            self._advance(thing)

        client.wait(gone, patience)
        self._advance(thing)

    def release(self, uid: int, token: str) -> bool:
        """End a reference; False if there is none. A user can end his own."""
        found = self._held(uid, token)
        if found is None or found[1] in found[0].queue:
            return False
        self._drop(*found)
        return True

    def of(self, client: Client) -> list[dict[str, Any]]:
        """Give the things that a client may hold."""
        return [
            {
                "resource": thing.declared.name,
                "parameters": thing.values,
                "state": thing.state,
                "shared": sum(holder.mode == SHARED for holder in thing.holders),
                "exclusive": any(holder.mode == EXCLUSIVE for holder in thing.holders),
                "waiting": len(thing.queue),
                "message": thing.message or None,
            }
            for thing in self._things.values()
            if thing.declared.create.allows(client)
        ]

    # -- holders ---------------------------------------------------------------------------------------------------

    def _permitted(self, client: Client, name: object) -> Declared:
        declared = self._declared.get(name) if isinstance(name, str) else None
        if declared is None or not declared.create.allows(client):
            raise Refused(interface.NOT_ALLOWED, operation=str(name)[:64])
        return declared

    def _thing(self, declared: Declared, values: dict[str, Any]) -> _Thing:
        key = fingerprint([declared.name, values])
        return self._things.get(key) or _Thing(declared, values, key)

    def _held(self, uid: int, token: str) -> tuple[_Thing, _Holder] | None:
        for thing in self._things.values():
            for holder in (*thing.holders, *thing.queue):
                if (holder.uid, holder.token) == (uid, token):
                    return thing, holder
        return None

    def _attach(self, holder: _Holder, client: Client) -> None:
        """Have a reference end with a connection, and not with the one, or the process, that it ended with before."""
        self._unwatch(holder)
        holder.client = client
        holder.pid, holder.started = client.peer.pid, identity.start_time(client.peer.pid)

        def closed() -> None:
            found = self._held(holder.uid, holder.token)
            if found is not None and found[1] is holder and holder.client is client:
                self._drop(found[0], holder)

        client.closing.append(closed)

    def _unwatch(self, holder: _Holder) -> None:
        if holder.watch >= 0:
            self._loop.forget(holder.watch)
            os.close(holder.watch)
            holder.watch = -1

    def _drop(self, thing: _Thing, holder: _Holder) -> None:
        self._unwatch(holder)
        thing.holders.remove(holder)
        if not thing.holders:
            thing.until = _now() + thing.declared.linger
        self._note(thing, holder, "released")
        self._write(thing)
        self._advance(thing)

    def _note(self, thing: _Thing, holder: _Holder | None, outcome: str, message: str = "") -> None:
        details: dict[str, object] = {"resource": thing.declared.name, "parameters": thing.values, "outcome": outcome}
        if holder is not None:
            details.update(holder=holder.uid, pid=holder.pid, mode=holder.mode)
        if message:
            details["message"] = message
        audit.record("resource", **details)  # type: ignore[arg-type]

    # -- things ----------------------------------------------------------------------------------------------------

    def _advance(self, thing: _Thing) -> None:
        """Do what comes next: make it, give it to whose turn it is, or take it away."""
        if thing.state in (CREATING, DESTROYING):
            return
        if thing.timer is not None:
            thing.timer.cancel()
            thing.timer = None
        if thing.queue and thing.state != PRESENT:
            self._run(thing, CREATING)
            return
        while thing.queue and self._is_free(thing, thing.queue[0].mode):
            self._grant(thing, thing.queue.pop(0))
        if thing.holders or thing.queue:
            return
        if thing.state == PRESENT:
            thing.tries = 0
            thing.until = thing.until or _now() + thing.declared.linger
            thing.timer = self._loop.later(max(thing.until - _now(), 0.0), lambda: self._run(thing, DESTROYING))
        elif thing.state == ABSENT:
            self._things.pop(thing.key, None)
            try:
                os.unlink(self._path(thing))
            except FileNotFoundError:
                pass

    @staticmethod
    def _is_free(thing: _Thing, mode: str) -> bool:
        return not thing.holders if mode == EXCLUSIVE else all(holder.mode == SHARED for holder in thing.holders)

    def _grant(self, thing: _Thing, holder: _Holder) -> None:
        client = holder.client
        thing.holders.append(holder)
        thing.until = 0.0
        try:
            self._write(thing)
        except OSError as error:
            thing.holders.remove(holder)
            if client is not None:
                client.done(interface.BUSY, {"message": f"can't be written down: {error.strerror}"})
            return
        self._note(thing, holder, "granted")
        if client is not None:
            self._attach(holder, client)
            client.done("", {"token": holder.token, "state": thing.state})

    def _run(self, thing: _Thing, state: str) -> None:
        """Make or destroy a thing."""
        thing.timer = None
        thing.state = state
        operation = thing.declared.create if state == CREATING else thing.declared.destroy
        values = {key: value for key, value in thing.values.items() if key in operation.parameters}
        try:
            values = operation.complete(values)
            self._write(thing)
            self._calls.make(
                _Insider(lambda error, answer: self._ran(thing, state, error, answer)), operation, values, ""
            )
        except Refused as refused:
            self._ran(thing, state, refused.error, dict(refused.parameters))
        except BadParameter as error:
            self._ran(thing, state, interface.BAD_PARAMETER, {"message": f"{error.parameter}: {error}"})
        except OSError as error:
            self._ran(thing, state, interface.BUSY, {"message": f"can't be written down: {error.strerror}"})

    def _ran(self, thing: _Thing, state: str, error: str, answer: dict[str, Any]) -> None:
        if self._stopping:
            return  # The next helper does it again: what a state means in between is written down.
        message = ""
        if error:
            message = f"{error.rpartition('.')[2]}: {answer.get('message') or answer.get('seconds') or ''}".rstrip(": ")
        elif answer["exit"]:
            message = f"exit code {answer['exit']}: {answer['stderr'].strip()[-200:]}".rstrip(": ")
        thing.message = message
        if state == CREATING:
            self._created(thing, message)
        else:
            self._destroyed(thing, message)

    def _created(self, thing: _Thing, message: str) -> None:
        thing.state = ABSENT if message else PRESENT
        self._note(thing, None, "not created" if message else "created", message)
        if message:
            # Everybody who waited waited for this.
            queue, thing.queue = thing.queue, []
            for holder in queue:
                if holder.client is not None:
                    told = {"resource": thing.declared.name, "message": message}
                    holder.client.done(interface.RESOURCE_FAILED, told)
        self._advance(thing)

    def _destroyed(self, thing: _Thing, message: str) -> None:
        self._note(thing, None, "not destroyed" if message else "destroyed", message)
        thing.state = FAILED if message else ABSENT
        thing.tries += 1
        if message and not thing.queue:
            self._write(thing)
            if thing.tries < TRIES:
                pause = AGAIN * 2 ** (thing.tries - 1)
                thing.timer = self._loop.later(pause, lambda: self._run(thing, DESTROYING))
            return
        self._advance(thing)

    # -- over a restart --------------------------------------------------------------------------------------------

    def _path(self, thing: _Thing) -> str:
        return f"{self._folder}/{thing.key}.json"

    def _write(self, thing: _Thing) -> None:
        holders = [[one.uid, one.token, one.mode, one.pid, one.started] for one in thing.holders]
        content = {
            "resource": thing.declared.name,
            "values": thing.values,
            "state": thing.state,
            "holders": holders,
            "until": thing.until,
        }
        # It lies on a tmpfs: what it tells of goes with the boot as well.
        store.write(self._path(thing), content, lasting=False)

    def _find(self, key: str, content: dict[str, Any]) -> None:
        """Take up a thing that an earlier helper left, with those of its holders that live."""
        thing = self._things[key] = _Thing(self._declared[content["resource"]], content["values"], key)
        thing.state = PRESENT if content["state"] == PRESENT else FAILED
        # No longer than was said, whatever the file says.
        thing.until = min(float(content.get("until", 0.0)), _now() + thing.declared.linger)
        for uid, token, mode, pid, started in content["holders"]:
            holder = _Holder(uid, token, mode, pid, started, None)
            try:
                holder.watch = os.pidfd_open(pid)
            except OSError:
                continue
            if identity.alive(pid, started):
                thing.holders.append(holder)
                self._loop.watch(holder.watch, lambda _events, holder=holder: self._drop(thing, holder))  # type: ignore[misc]
            else:
                os.close(holder.watch)
        if thing.state == FAILED:
            # It was being made or destroyed. Nobody holds it: what there may be of it goes.
            self._loop.soon(lambda: self._take_away(thing))
        else:
            self._loop.soon(lambda: self._advance(thing))

    def _take_away(self, thing: _Thing) -> None:
        if thing.state == FAILED and not thing.queue:
            self._run(thing, DESTROYING)


def _now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)
