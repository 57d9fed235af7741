# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The life of a call: it waits for its turn, is at work, ends, and its end is kept and told. PRIVATE to the collection."""

from __future__ import annotations

import os
import time

from .._lean import json
from .._varlink.server import Refused
from . import audit, interface, journal, worker
from .agreed import REFUSED
from .reader import Reader
from .sharing import Sharing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from .._supervise._embedded.loop import Loop
    from .connections import Client
    from .limits import Limit
    from .operations import Operation
    from .pool import Pool
    from .secured import Tenure

#: Calls at work: of all, and of one user. Further ones wait for their turn, as many as there are connections.
AT_WORK, AT_WORK_OF_ONE = 32, 16
#: Workers that hang in the kernel. With so many nothing more is begun until one is gone.
ABANDONED = 8
#: Seconds in which a quick function has answered, and in which it is not worth while to sleep.
MOMENT = 70e-6
#: Seconds within which a caller who makes one call after the other makes the next one.
PAUSE = 150e-6
#: Seconds after a call in which processors don't sleep yet.
REST = 1e-3
#: Bytes of each output that the journal keeps.
KEPT_OUTPUT = 8192


def _find_sha256() -> Callable[[bytes], Any]:
    """Give Python's own code for it: hashlib loads OpenSSL, which takes half as much memory again as the whole helper."""
    # The one is of Python 3.12, the other of those before it.
    for name in ("_sha2", "_sha256", "hashlib"):
        try:
            found: Callable[[bytes], Any] = __import__(name).sha256
        except ImportError:
            continue
        break
    return found


_sha256 = _find_sha256()
#: What is told apart is written as it ever was: digests outlive the helper.
_told_apart = json.writer(sort_keys=True)


class Call:
    """A call that waits for its turn or is at work. clients: who is to hear of its end; peer: who made it.

    first: the call whose run it shares; sharers: those that share its own. reader: who is told its output as it comes. passed:
    length of the message in the connection of *peer*, if descriptors came with it.
    """

    __slots__ = (
        "_digest",
        "begun",
        "clients",
        "dropped",
        "first",
        "id",
        "operation",
        "passed",
        "peer",
        "reader",
        "sharers",
        "values",
        "worker",
    )

    def __init__(self, client: Client, operation: Operation, values: dict[str, Any], id_: str) -> None:
        self.clients: list[Client] = []
        self.peer = client.peer
        self.passed = client.passed
        self.operation = operation
        self.values = values
        self.first = self
        self.sharers: list[Call] = []
        self.reader: Client | None = None
        self.id = id_
        self._digest = ""
        #: Whether nobody wants it any more, who is about to have a worker.
        self.dropped = False
        #: The first part of its line in the audit log, if that was made ready.
        self.begun = ""
        self.worker: worker.Run | None = None

    @property
    def digest(self) -> str:
        """Give what tells this call from another one under the same id."""
        if not self._digest:
            self._digest = digest(self.operation, self.values)
        return self._digest

    @property
    def journalled(self) -> bool:
        """Say whether its outcome is kept. A pure operation is just done again, and so is what can't be kept."""
        return bool(self.id) and self.operation.idempotency != "pure" and self.operation.returns is None


class Calls:
    """All calls. drained: called whenever nothing is at work."""

    def __init__(
        self,
        loop: Loop,
        pool: Pool,
        log: journal.Journal,
        drained: Callable[[], None],
        rate: Limit | None = None,
        guards: Sequence[str] = (),
    ) -> None:
        """rate: how often each caller may call operations, all counted together. guards: the directories of guards."""
        self._loop = loop
        #: With one processor, to be awake would keep the worker from it.
        self._several = len(os.sched_getaffinity(0)) > 1
        self._pool = pool
        self._guards = guards
        self._journal = log
        self._drained = drained
        self._rate = rate
        self._waiting: list[Call] = []
        self._working: list[Call] = []
        self._hanging: list[worker.Run] = []
        self._named: dict[tuple[int, str], Call] = {}
        self._sharing = Sharing()
        self._stopping = False
        #: When the last call had ended, and whether another one came at once.
        self._concluded = 0.0
        self._quick = False

    @property
    def idle(self) -> bool:
        """Say whether nothing is at work."""
        return not self._working

    def stop(self) -> None:
        """Begin nothing more."""
        self._stopping = True
        for call in tuple(self._waiting):
            self._waiting.remove(call)
            self._conclude(call, "stopping", interface.STOPPING, {})
        self._pool.stop()

    def make(
        self,
        client: Client,
        operation: Operation,
        values: dict[str, Any],
        id_: str,
        patience: float | None = None,
        reads: bool = False,
    ) -> None:
        """Make a call with checked *values* for a client that may, and have it wait. Raises Refused.

        patience: seconds after which the client is told that they are over; reads: it wants the output as it comes.
        """
        call = Call(client, operation, values, id_)
        if call.id and self._repeated(client, call, patience):
            return
        if self._stopping:
            raise Refused(interface.STOPPING)
        self.count(client, operation)
        if self._hanging:
            self._hanging = [one for one in self._hanging if one.outcome == worker.ABANDONED]
        if len(self._hanging) >= ABANDONED:
            audit.record("call", client.peer, operation=operation.name, outcome="busy")
            raise Refused(interface.BUSY, message=f"{len(self._hanging)} workers hang in the kernel")
        self._join(client, call, patience)
        if reads:
            call.reader = client
        if call.id:
            self._named[call.peer.uid, call.id] = call
        if not (operation.coalesce and self._sharing.join(call)):
            self._waiting.append(call)
            self._begin_some()

    def count(self, client: Client, operation: Operation) -> None:
        """Count a call that is to begin. Raises Refused when there were too many."""
        now = time.monotonic()
        self._quick = self._several and now - self._concluded < PAUSE
        for limit, name in ((operation.rate, operation.name), (self._rate, None)):
            wait = limit.take(client.name, now) if limit is not None else 0.0
            if limit is not None and wait:
                audit.record("call", client.peer, operation=operation.name, outcome="too often")
                told = {"calls": limit.calls, "seconds": limit.seconds, "retry_after": -(-wait * 1000 // 1) / 1000}
                raise Refused(interface.TOO_OFTEN, operation=name, **told)

    def known(self, uid: int, id_: str) -> bool:
        """Say whether a user has made a call of this name."""
        return (uid, id_) in self._named or self._journal.read(uid, id_) is not None

    def outcome(self, uid: int, id_: str) -> dict[str, Any]:
        """Give what became of the call *id_* of a user, as the method Outcome does."""
        named = self._named.get((uid, id_))
        if named is not None:
            state = journal.RUNNING if named.first.worker is not None else journal.NEVER_BEGAN
            return {"state": state, "operation": named.operation.name, "result": None, "error": None}
        entry = self._journal.read(uid, id_)
        if entry is None:
            return {"state": journal.NEVER_BEGAN, "operation": None, "result": None, "error": None}
        kept = entry.get("result") or {}
        error = kept.get("error") or None
        result = kept.get("parameters") if kept and not error else None
        return {"state": entry["state"], "operation": entry["operation"], "result": result, "error": error}

    def _join(self, client: Client, call: Call, patience: float | None) -> None:
        """Have a client wait for the end of a call, which somebody wants from now on, whoever had left it."""
        call.first.dropped = False
        call.clients.append(client)
        client.wait(lambda late: self._left(client, call, late), patience)

    def _left(self, client: Client, call: Call, late: bool) -> None:
        """End a call for which nobody waits any more: of one that left if that is declared, of one that is late always."""
        call.clients.remove(client)
        if call.reader is client:
            call.reader = None
            if call.worker is not None:
                call.worker.read_on()
        call = call.first
        if call.clients or any(one.clients for one in call.sharers):
            return
        # What descriptors came with goes with the connection until a worker has it.
        lost = call.passed and call.worker is None
        if not late and not lost and call.operation.on_disconnect != "cancel":
            return
        if call.worker is not None:
            call.worker.kill(worker.CANCELLED)
        elif call in self._waiting:
            self._waiting.remove(call)
            self._conclude(call, "cancelled", interface.STOPPING, {})
        else:
            call.dropped = True

    def _repeated(self, client: Client, call: Call, patience: float | None) -> bool:
        """Give a call whose id was used before the answer of the first one, or have it wait for that."""
        peer = client.peer
        first = self._named.get((peer.uid, call.id))
        if first is not None:
            _expect(first.digest, call)
            self._join(client, first, patience)
            return True
        entry = self._journal.read(peer.uid, call.id)
        if entry is None:
            return False
        _expect(entry["digest"], call)
        if entry["state"] == journal.DONE:
            client.answer(entry["result"]["error"], entry["result"]["parameters"])
            return True
        # It began, and nobody knows how it ended.
        if call.operation.idempotency == "once":
            audit.record("call", peer, operation=call.operation.name, id=call.id, outcome="outcome unknown")
            raise Refused(interface.OUTCOME_UNKNOWN, operation=call.operation.name, id=call.id)
        return False

    def _begin_some(self) -> None:
        """Begin what waits, in its order, as far as there is room; a user with too much at once holds up nobody else."""
        if not self._waiting or len(self._working) >= AT_WORK:
            return
        counts: dict[int, int] = {}
        for call in self._working:
            counts[call.peer.uid] = counts.get(call.peer.uid, 0) + 1
        for call in tuple(self._waiting):
            if len(self._working) >= AT_WORK:
                return
            uid = call.peer.uid
            room = counts.get(uid, 0) < AT_WORK_OF_ONE and self._pool.has_room(call.operation)
            if room and self._sharing.may_begin(call):
                counts[uid] = counts.get(uid, 0) + 1
                self._waiting.remove(call)
                self._begin(call)

    def _begin(self, call: Call) -> None:
        operation = call.operation
        tenure: Tenure | None = None
        if call.passed and call.peer.fileno() < 0:
            details = {"operation": operation.name, "message": "its caller has gone, and the descriptors with it"}
            self._conclude(call, "cancelled", interface.CANNOT_START, details)
            return
        if operation.secured_by:
            # Only here: most helpers have nothing to do with leases.
            from . import secured

            try:
                tenure = secured.hold(operation.secured_by, self._guards)
            except secured.NotHeld as error:
                self._conclude(call, "not held", interface.NOT_HELD, _not_held(call, str(error)))
                return
        self._working.append(call)
        self._sharing.begins(call)

        def ended(one: worker.Run) -> None:
            self._ended(call, one)

        run = self._pool.take(operation, call.values, ended) if tenure is None else None
        if run is not None:
            self._with_worker(call, run)
        else:
            self._pool.fork(operation, call.values, ended, lambda one, why: self._forked(call, one, why), tenure)

    def _forked(self, call: Call, run: worker.Run | None, why: str) -> None:
        if run is None:
            self._without_worker(call, why)
        else:
            self._with_worker(call, run)

    def _without_worker(self, call: Call, why: str) -> None:
        """End a call for which there is no process."""
        self._working.remove(call)
        self._sharing.ended(call)
        if call.operation.secured_by:
            ended = _not_held(call, f"no worker below its holder: {why}")
            self._conclude(call, "not held", interface.NOT_HELD, ended)
        else:
            self._conclude(call, "busy", interface.BUSY, {"message": f"no worker: {why}"})
        # Not now: who began this call may be about to begin others.
        self._loop.soon(self._go_on)

    def _go_on(self) -> None:
        self._begin_some()
        if not self._working:
            self._drained()

    def _with_worker(self, call: Call, run: worker.Run) -> None:
        """Note a call that has a process, and let that begin."""
        call.worker = run
        if call.dropped or (call.passed and call.peer.fileno() < 0):
            run.message = "its caller has gone"
            run.kill(worker.CANCELLED)
            return
        if call.reader is not None:
            run.sink = Reader(call.reader, run)
        if call.passed:
            run.connection = call.peer.fileno(), call.passed
        if not call.journalled and not call.sharers:
            self._set_to_work(call, run)
            return
        try:
            for one in (call, *call.sharers):
                if one.journalled:
                    self._journal.begin(one.peer.uid, one.id, one.operation.name, one.digest, run.pid, run.started)
        except OSError as error:
            run.message = f"the journal: {error.strerror}"
            run.kill(worker.CANCELLED)
            return
        self._set_to_work(call, run)

    def _set_to_work(self, call: Call, run: worker.Run) -> None:
        """Let a worker begin. The answer of one that is there already may come sooner than we could be woken for it."""
        run.begin()
        for client in call.clients:
            client.last = call.operation
        if call.operation.pooled and self._several and len(self._working) == 1:
            self._loop.stay_awake(MOMENT)
        # Not before it begins, which would keep the worker waiting, nor when it has ended, the caller.
        call.begun = _begin_line(call)

    def announce(self, client: Client) -> None:
        """Have a process ready for what a client is about to ask, if it asks the same as before."""
        last = client.last
        if last is None or self._working or not self._several:
            return
        # Processes of their own are forked meanwhile where their calls follow each other: the processors have enough to do.
        if last.pooled or time.monotonic() - self._concluded > REST:
            self._pool.announce(last)

    def _ended(self, call: Call, one: worker.Run) -> None:
        self._loop.stay_awake(0)
        self._working.remove(call)
        self._sharing.ended(call)
        name = call.operation.name
        if call.operation.secured_by and one.killed:
            lost = _not_held(call, "the worker was killed, as everything below the holder was", True)
            self._conclude(call, "lost", interface.NOT_HELD, lost)
        elif one.outcome == worker.EXITED:
            self._conclude(call, "exited", "", _result(one, worker.OUTPUT))
        elif one.outcome == worker.CANNOT_START and one.message.startswith(REFUSED):
            parameter, _colon, text = one.message[len(REFUSED) :].partition(": ")
            self._conclude(call, "bad parameter", interface.BAD_PARAMETER, {"parameter": parameter, "message": text})
        elif one.outcome in (worker.CANNOT_START, worker.CANCELLED):
            outcome = "cancelled" if one.outcome == worker.CANCELLED else "cannot start"
            details = {"operation": name, "message": one.message or outcome}
            self._conclude(call, outcome, interface.CANNOT_START, details)
        elif one.outcome == worker.RAISED:
            self._conclude(
                call, "failed", interface.FAILED, {"operation": name, "type": one.kind, "message": one.message}
            )
        elif one.outcome == worker.DIED:
            self._conclude(call, "worker died", interface.WORKER_DIED, {"operation": name, "message": one.message})
        else:
            abandoned = one.outcome == worker.ABANDONED
            if abandoned:
                self._hanging = [each for each in self._hanging if each.outcome == worker.ABANDONED]
                self._hanging.append(one)
            answer = {"operation": name, "seconds": one.timeout, "abandoned": abandoned}
            self._conclude(call, one.outcome, interface.TIMEOUT, answer)
        self._begin_some()
        if not self._working:
            if self._quick and call.operation.pooled:
                self._loop.stay_awake(PAUSE)
            self._concluded = time.monotonic()
            self._drained()

    def _conclude(self, call: Call, outcome: str, error: str, parameters: dict[str, Any]) -> None:
        """Write down how a call and those that share its run ended, keep that, and tell whoever waits for it."""
        if call.worker is None:
            self._sharing.left(call)
        for one in (call, *call.sharers):
            one.worker = call.worker
            self._conclude_one(one, outcome, error, parameters)
        if call.worker is not None:
            call.worker.close()

    def _conclude_one(self, call: Call, outcome: str, error: str, parameters: dict[str, Any]) -> None:
        begun = call.begun
        if not begun or (call.worker is not None and call.worker.passed):
            begun = _begin_line(call)
        details: dict[str, Any] = {"outcome": outcome}
        if call.first is not call:
            details["shared"] = True
        if call.worker is not None:
            details.update(worker=call.worker.pid, duration=round(call.worker.duration, 6))
            if outcome == "exited":
                details["exit"] = call.worker.exit
            elif outcome == worker.ABANDONED:
                details["hanging"] = len(self._hanging)
            if call.worker.kind:
                details["type"] = call.worker.kind
            # What a function that is given secrets says of its failure may hold one.
            if call.worker.message and not (call.worker.kind and call.operation.has_secrets):
                details["message"] = call.worker.message
            if call.journalled:
                kept = parameters if error else _result(call.worker, KEPT_OUTPUT)
                try:
                    self._journal.end(call.peer.uid, call.id, {"error": error, "parameters": kept})
                except OSError as failure:
                    details["journal"] = failure.strerror
        audit.end(begun, **details)
        if call.id:
            self._named.pop((call.peer.uid, call.id), None)
        for client in call.clients:
            if client is not call.reader:
                client.done(error, parameters, call.worker.descriptor if call.worker is not None and not error else -1)
            elif error:
                call.reader.done(error, parameters)
            else:
                # It has read the outputs.
                result = {**parameters, "stdout": "", "stderr": ""}
                call.reader.done("", {"stdout": None, "stderr": None, "result": result})


def _begin_line(call: Call) -> str:
    """Give what the audit log says of a call before how it ended."""
    operation = call.operation
    shown = operation.masked(call.values)
    if call.worker is not None and call.worker.passed:
        passed = call.worker.passed.items()
        shown.update({key: text for key, text in passed if key in shown and not operation.is_secret(key)})
    details: dict[str, Any] = {"operation": operation.name, "parameters": shown}
    if call.id:
        details["id"] = call.id
    return audit.begin("call", call.peer, **details)


def digest(operation: Operation, values: dict[str, Any]) -> str:
    """Give what tells a call from every other one."""
    return fingerprint([operation.name, values])


def fingerprint(value: object) -> str:
    """Give the SHA-256 of something that JSON can say."""
    return str(_sha256(_told_apart(value).encode()).hexdigest())


def _result(one: worker.Run, limit: int) -> dict[str, Any]:
    """Give what Call answers, with the first *limit* characters of each output."""
    out, err = one.output(0), one.output(1)
    return {
        "exit": one.exit,
        "stdout": out[:limit],
        "stderr": err[:limit],
        "truncated": one.truncated or max(len(out), len(err)) > limit,
        "duration": round(one.duration, 6),
        "result": one.result,
    }


def _not_held(call: Call, message: str, lost: bool = False) -> dict[str, Any]:
    operation = call.operation
    return {"operation": operation.name, "resource": operation.secured_by, "message": message, "lost": lost}


def _expect(digest: str, call: Call) -> None:
    """Refuse an id that was used for something else."""
    if digest != call.digest:
        raise Refused(interface.BAD_ID, id=call.id, message="was used for another call")
