# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A client's hold on a running guard: what modules, the command line and playbooks steer leases with.

PRIVATE to the collection.

A handle owns nothing: the guard holds the leases, and goes on when the handle, the process that had it, or the
supervisor is gone. Whoever attaches later finds the same guard again: by the lock that it holds on its own folder, by
the pid that the kernel names for that lock, and by the start time that it has written down. A pid alone proves nothing.

What holds for all verbs. They may be repeated; each waits a bounded time. None of them kills anything: `shutdown` asks
the guard to end its service in order, `free` closes the connection. After `Unclear` nobody knows whether the guard has
done it: ask `inquire`, or repeat the verb.

A guard is never upgraded while its service runs, so a handle meets guards that are older than itself: verbs that such a
guard does not know raise `TooOld`, and facts that it does not tell are missing from `inquire`. A newer guard answers
everything that an older handle asks.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import struct

from .._supervise._embedded import identity
from .._varlink.client import Connection, ConnectionLost, NoAnswer, VarlinkError
from . import reports
from .execution import EXEC_MODE
from .handover import Handover, Overtaken
from .interface import EXCLUSIVE_MODE, Busy, LeaseError, NotHeld

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

INTERFACE = "io.holdfast.Guard"
#: Seconds that an answer may take. What the guard asks its store comes on top of its own work.
TIMEOUT = 15.0
#: Seconds that a process has for its end after its connection was closed.
_DYING = 1.0
#: struct flock: type, whence, start, length, pid.
_FLOCK = "hhqqi4x"


class GuardGone(LeaseError):
    """No guard lives there, or it has ended. What it held is free, or runs out."""


class TreeLeft(LeaseError):
    """The guard is dead and a process of its service lives. Nobody else gets the lease while that is so."""


class NoGuard(LeaseError):
    """The service was executed in the place of its guard: nobody is there who could do anything. Nothing was done."""


class TooOld(LeaseError):
    """The guard was started with an older runtime that does not know the verb. Nothing was done."""


class NotActive(LeaseError):
    """The guard is in a phase in which the verb means nothing. Nothing was done."""


class Unclear(LeaseError):
    """The connection was lost or the answer did not come in time: it may have been done or not."""


class Handle:
    """Attached to the guard *name*, one connection. Not for several threads at once."""

    def __init__(self, name: str, record: dict[str, Any], connection: Connection) -> None:
        """Use `attach`."""
        self.name = name
        #: Pid and start time of the guard.
        self.guard = (int(record["pid"]), int(record["started"]))
        self._connection = connection
        self._registered: dict[str, str] = {}

    @classmethod
    def attach(cls, name: str, base: str, timeout: float = TIMEOUT) -> Handle:
        """Find the guard *name* whose folder is below *base*, and connect. Holds nothing, changes nothing.

        Raises GuardGone if none lives, TreeLeft if it is dead and its service is not, NoGuard if a service lives that has none,
        Unclear if it lives and does not answer (stopped, or overloaded), LeaseError if its folder cannot be read.
        """
        folder = os.path.join(base, name)
        record = _record(folder, name)
        if record.get("mode") == EXEC_MODE and identity.alive(record["pid"], record["started"]):
            raise NoGuard(
                f"{name}: runs without a guard (lease.mode exec, process {record['pid']}): nobody can be told anything about its "
                "leases; stop it, and it gives them back"
            )
        holder = _lock_holder(f"{folder}/lock")
        if holder != record.get("pid") or not identity.alive(record["pid"], record["started"]):
            _look_for_tree(name, record)
            raise GuardGone(f"{name}: its guard (process {record.get('pid')}) is gone")
        try:
            connection = Connection(f"{folder}/socket", timeout)
        except ConnectionLost as error:
            if _ended(record["pid"], record["started"]):
                raise GuardGone(f"{name}: its guard (process {record['pid']}) is gone") from None
            raise Unclear(f"{name}: its guard (process {record['pid']}) lives and cannot be asked: {error}") from None
        if connection.peer()[0] != record["pid"]:
            connection.close()
            raise GuardGone(f"{name}: its guard (process {record['pid']}) is gone; another process has its socket")
        return cls(name, record, connection)

    def __enter__(self) -> Handle:
        return self

    def __exit__(self, *_details: object) -> None:
        self.free()

    def inquire(self) -> dict[str, Any]:
        """Tell phase, resources with tokens, holes and the rest of the interface's Status. Raises Unclear, GuardGone."""
        return self._call("Status")

    def get_child(self) -> tuple[int, int] | None:
        """Give pid and start time of the first process of the service's tree, None if none runs.

        Raises Unclear, GuardGone. A caller who needs the child and cannot get it does not kill anything either: he
        calls `shutdown`, which ends the service in order, and then `free`.
        """
        pid = int(self.inquire().get("tree") or 0)
        return (pid, identity.start_time(pid)) if pid else None

    def register(self, resource: str, mode: str = EXCLUSIVE_MODE) -> None:
        """Note a resource for the next `acquire`. Asks nobody and holds nothing; another mode replaces the one before."""
        self._registered[resource] = mode

    def acquire(self, resource: str | None = None) -> dict[str, int]:
        """Get what is registered, or only *resource*, for the running service, now or not at all; give the tokens.

        What the service holds already is given again with its token. Raises Busy, NotActive, TooOld, LeaseError
        (refused, with the reason): what this call has got is given back, nothing else has changed; the service is not
        touched. Unclear: ask `inquire`.
        """
        chosen = self._registered if resource is None else {resource: self._registered.get(resource, EXCLUSIVE_MODE)}
        before = {one["name"] for one in self.inquire().get("resources", ())}
        tokens: dict[str, int] = {}
        try:
            for name, mode in sorted(chosen.items()):
                tokens[name] = int(self._call("Acquire", resource=name, mode=mode)["token"])
        except LeaseError:
            for name in sorted(set(tokens) - before):
                self.release(name)
            raise
        for name in tokens:
            self._registered.pop(name, None)
        return tokens

    def release(self, resource: str) -> None:
        """Give one resource back while the service, which has ceased to use it, goes on.

        Raises NotHeld (nothing has changed), LeaseError: it counts as held. The service is not touched.
        """
        self._call("Release", resource=resource)

    def shutdown(self, timeout: float) -> None:
        """Have the guard end its service in order and give everything back; wait until it is gone.

        A guard in line leaves it. One that is ending already is waited for. Raises Unclear after *timeout* seconds:
        the stop goes on, and may be waited for again.
        """
        try:
            descriptor = os.pidfd_open(self.guard[0])
        except OSError as error:
            if error.errno == errno.ESRCH:
                return
            raise Unclear(f"{self.name}: cannot wait for its guard: {error.strerror}") from None
        try:
            if not identity.alive(*self.guard):
                return
            try:
                self._call("Shutdown")
            except GuardGone:
                return
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            if not poll.poll(timeout * 1000):
                raise Unclear(f"{self.name}: has not ended within {timeout:g} s; its guard goes on ending it")
        finally:
            os.close(descriptor)

    # -- hand-over: see handover.py for the whole of it

    def prepare_out(self, handover: str, target: str, seconds: float) -> Handover:
        """Mark what the service holds as being handed over to *target*, for *seconds*. The service runs on.

        Raises NotActive, LeaseError: no mark is left, unless another hand-over (named in the text) had one before.
        """
        return Handover.read(self._call("PrepareOut", handover=handover, target=target, seconds=seconds)["state"])

    def prepare_in(self, handover: str) -> str:
        """Have a standing-by guard expect the hand-over; give the name by which the source marks it.

        Raises NotActive, LeaseError (it could not take over, as its store does not answer there, or something is open): nothing has changed.
        """
        return str(self._call("PrepareIn", handover=handover)["target"])

    def complete_out(self, handover: str, timeout: float) -> Handover:
        """Have the service ended and everything given back; give what the destination needs.

        Nobody but the destination gets the resources until the mark runs out. Raises NotActive, Busy, LeaseError: the
        service runs on, or is being ended; Unclear (also after *timeout* seconds): repeat it, at the guard that has
        come after this one if it is gone.
        """
        return Handover.read(self._call("CompleteOut", timeout, handover=handover)["state"])

    def complete_in(self, state: Handover | str) -> dict[str, int]:
        """Have a standing-by guard take over and start its service; give the new tokens.

        state: what complete-out has given; or the hand-over's number alone, then the marks in the store are gone by,
        for whoever has lost the source's answer, or the source.
        Raises Busy (the source still has it; may be repeated), Overtaken (somebody had it in between; nothing runs
        here by this call), NotActive, LeaseError: nothing is held. The service is not started then.
        """
        if isinstance(state, str):
            answer = self._call("CompleteIn", handover=state)
        else:
            answer = self._call("CompleteIn", handover=state.id, state=state.write())
        return {one["name"]: int(one["token"]) for one in answer["resources"]}

    def cancel(self, handover: str) -> str:
        """Take the hand-over back; give what became of it: `dropped`, `returning` or `unknown`, see handover.py.

        Raises NotActive, LeaseError: nothing has changed. Unknown: it never was, its time was over, or it is complete.
        """
        return str(self._call("Cancel", handover=handover)["outcome"])

    def call(self, method: str, timeout: float | None = None, **parameters: object) -> dict[str, Any]:
        """Call another method of the guard's interface. Raises what the verbs raise."""
        return self._call(method, timeout, **parameters)

    def free(self) -> None:
        """Let go of the guard. Never kills anything, whatever the handle was used for; may be repeated."""
        self._connection.close()

    def _call(self, method: str, timeout: float | None = None, /, **parameters: object) -> dict[str, Any]:
        try:
            return self._connection.call(f"{INTERFACE}.{method}", parameters, timeout)
        except VarlinkError as error:
            raise self._translated(error, method) from None
        except ConnectionLost as error:
            if not isinstance(error, NoAnswer) and _ended(*self.guard):
                raise GuardGone(f"{self.name}: its guard (process {self.guard[0]}) is gone") from None
            raise Unclear(f"{self.name}: {method}: {error}") from None

    def _translated(self, error: VarlinkError, method: str) -> LeaseError:
        told = error.parameters
        short = error.name.rpartition(".")[2]
        if short == "Busy":
            return Busy(str(told.get("resource")), [str(one) for one in told.get("holders") or ()])
        if short == "NotHeld":
            return NotHeld(str(told.get("resource")), self.name)
        if short == "NotActive":
            return NotActive(f"{self.name}: {method} is not possible while its guard is {told.get('phase')}")
        if short == "Overtaken":
            return Overtaken(str(told.get("message")))
        if short == "MethodNotFound":
            return TooOld(
                f"{self.name}: its guard (process {self.guard[0]}) runs an older runtime and does not know {method}; "
                "it gets the present one when the service is restarted"
            )
        return LeaseError(f"{self.name}: {told.get('message') or error}")


def living(base: str) -> list[dict[str, Any]]:
    """Give what the living guards below *base* have written about themselves, and as `folder` where that was."""
    found = []
    for name in sorted(os.listdir(base)) if os.path.isdir(base) else ():
        record = reports.of_living(os.path.join(base, name))
        if record:
            found.append({**record, "folder": name})
    return found


def _ended(pid: int, started: int) -> bool:
    """Say whether a process that has closed a connection ends: the kernel closes first, and it dies a moment later."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return not identity.alive(pid, started)
    try:
        if identity.alive(pid, started):
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            poll.poll(_DYING * 1000)
        return not identity.alive(pid, started)
    finally:
        os.close(descriptor)


def _record(folder: str, name: str) -> dict[str, Any]:
    """Read a guard's account of itself. Raises GuardGone if there is none, LeaseError."""
    try:
        return reports.read(folder)
    except FileNotFoundError:
        cure = "only a running service with lease, hooks or type: forking has one"
        raise GuardGone(f"{name}: no guard runs ({folder}): {cure}") from None
    except (OSError, ValueError) as error:
        raise LeaseError(f"{folder}/{reports.REPORT}: {getattr(error, 'strerror', None) or error}") from None


def _lock_holder(path: str) -> int:
    """Give the pid that the kernel names for the guard's lock, 0 for none. Raises LeaseError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise LeaseError(f"{path}: {error.strerror}") from None
    try:
        # A read lock is asked for, which a descriptor for reading may have; the guard's excludes it too.
        question = struct.pack(_FLOCK, fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
        answer = struct.unpack(_FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, question))
    except OSError as error:
        raise LeaseError(f"{path}: {error.strerror}") from None
    finally:
        os.close(descriptor)
    return 0 if answer[0] == fcntl.F_UNLCK else int(answer[4])


def _look_for_tree(name: str, record: dict[str, Any]) -> None:
    """Raise TreeLeft if the service of a dead guard lives: the kernel should have ended it."""
    tree, started = record.get("tree"), record.get("tree_started")
    if tree and started and identity.alive(tree, started):
        raise TreeLeft(
            f"{name}: its guard (process {record['pid']}) is dead and its service (process {tree}) is not. Nobody else "
            f"gets what it holds. The next guard of {name} ends it; kill -KILL {tree} does too"
        )
