# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Asynchronous calls: they go on when their caller leaves, and when the helper does. PRIVATE to the collection.

What runs belongs to the job's keeper and not to the helper (see _jobs): here jobs are accepted, begun in their turn, found
again after a restart, told of and cancelled.
"""

from __future__ import annotations

import marshal
import os
import time

from .._jobs import keeper, store
from .._jobs.progress import VARIABLE
from .._jobs.tree import MARK
from .._varlink.server import Refused
from . import audit, interface, journal
from .agreed import PASSED
from .answers import call_answer, describe
from .operations import BadParameter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .._jobs.store import Job, Store
    from .._supervise._embedded.children import Children
    from .._supervise._embedded.loop import Loop, Timer
    from .connections import Client
    from .operations import Operation

#: Jobs at work: of all, and of one user; and how many of one user may wait for their turn.
AT_WORK, AT_WORK_OF_ONE, WAITING_OF_ONE = 16, 8, 32
#: Seconds between two looks at what somebody watches, and at a keeper that is about to begin or has just died.
LOOK, SOON = 0.25, 0.05


class _Entry:
    """A job that has not ended. values: what it is to begin with; cancelled: it is to end as soon as it has begun."""

    __slots__ = ("begins", "cancelled", "job", "operation", "pid", "seen", "values", "waiters")

    def __init__(self, job: Job, operation: Operation | None, values: dict[str, Any] | None) -> None:
        self.job = job
        self.operation = operation
        self.values = values
        self.pid = 0
        self.cancelled = False
        #: Who is to hear of its end: the client, and what makes of its state an answer.
        self.waiters: list[tuple[Client, Callable[[Job], tuple[str, dict[str, Any]]]]] = []
        #: Who is to hear that it begins, and who of each change.
        self.begins: list[Client] = []
        self.seen: dict[Client, dict[str, Any]] = {}


class Jobs:
    """The jobs of *kept*, of which some may be at work already."""

    def __init__(self, loop: Loop, family: Children, operations: dict[str, Operation], kept: Store) -> None:
        self._loop = loop
        self._family = family
        self._operations = operations
        self._store = kept
        self._entries: dict[tuple[int, str], _Entry] = {}
        self._queue: list[_Entry] = []
        self._stopping = False
        self._looking: Timer | None = None
        for job in kept.all():
            self._find(job)
        self._begin_some()

    def stop(self) -> None:
        """Begin nothing more, and send away who waits; what is at work goes on, what waits does so for the next helper."""
        self._stopping = True
        for entry in self._entries.values():
            clients = [client for client, _answer in entry.waiters]
            clients += [client for client in (*entry.begins, *entry.seen) if client not in clients]
            entry.waiters.clear()
            entry.begins.clear()
            entry.seen.clear()
            for client in clients:
                client.done(interface.STOPPING, {})

    def known(self, uid: int, id_: str) -> bool:
        """Say whether a user has a job of this name."""
        return self._store.get(uid, id_) is not None

    def outcome(self, uid: int, id_: str) -> dict[str, Any] | None:
        """Give what became of a job as the method Outcome does, None if there is none."""
        job = self._store.get(uid, id_)
        if job is None:
            return None
        state = job.state()["state"]
        known = {store.QUEUED: journal.NEVER_BEGAN, store.RUNNING: journal.RUNNING, store.LOST: journal.UNKNOWN}
        error, answer = call_answer(job) if state not in known else ("", {})
        return {
            "state": known.get(state, journal.DONE),
            "operation": job.record["name"],
            "result": answer if answer and not error else None,
            "error": error or None,
        }

    def of(self, uid: int) -> list[dict[str, Any]]:
        """Give the jobs of a user, of everybody to root; without their outputs."""
        return [describe(job, outputs=False) for job in self._store.all(uid or None)]

    def start(self, client: Client, operation: Operation, values: dict[str, Any], id_: str, digest: str) -> None:
        """Have a job, and answer when it has begun or waits for its turn. Raises Refused."""
        job, entry = self._have(client, operation, values, id_, digest)
        if entry is None or (not entry.pid and entry in self._queue) or entry.pid:
            client.answer("", {"job": describe(job)})
            return
        entry.begins.append(client)
        client.wait(lambda _late: entry.begins.remove(client))

    def call(
        self,
        client: Client,
        operation: Operation,
        values: dict[str, Any],
        id_: str,
        digest: str,
        patience: float | None = None,
    ) -> None:
        """Have a job, and answer when it has ended as if it had been a call. Raises Refused."""
        job, entry = self._have(client, operation, values, id_, digest)
        if entry is None:
            client.answer(*call_answer(job))
        else:
            self._await(client, entry, call_answer, patience)

    def show(self, client: Client, uid: int, id_: str, wait: bool, more: bool) -> None:
        """Tell of a job: at once, when it has ended, or at each change until then. Raises Refused."""
        job, entry = self._one(uid, id_)
        if entry is None or not (wait or more):
            client.answer("", {"job": describe(job)})
            return
        if more:
            entry.seen[client] = described = describe(job)
            client.tell({"job": described})
            if self._looking is None:
                self._looking = self._loop.later(LOOK, self._look)
        self._await(client, entry, _told)

    def cancel(self, client: Client, uid: int, id_: str) -> None:
        """End a job, and answer when that has been done. Raises Refused."""
        job, entry = self._one(uid, id_)
        if entry is None:
            client.answer("", {"job": describe(job)})
            return
        audit.record("cancel", client.peer, job=id_, owner=uid)
        self._await(client, entry, _told)
        if entry in self._queue:
            self._queue.remove(entry)
            self._give_up(entry, store.CANCELLED, store.CANCELLED, "")
        elif entry.pid:
            keeper.cancel(job)
        else:
            entry.cancelled = True

    # -- who asks --------------------------------------------------------------------------------------------------

    def _one(self, uid: int, id_: str) -> tuple[Job, _Entry | None]:
        job = self._store.get(uid, id_)
        if job is None:
            raise Refused(interface.NO_SUCH_JOB, id=id_)
        return job, self._entries.get(job.key)

    def _have(
        self, client: Client, operation: Operation, values: dict[str, Any], id_: str, digest: str
    ) -> tuple[Job, _Entry | None]:
        """Give the job *id_* of a client, which is made unless it is there."""
        peer = client.peer
        job = self._store.get(peer.uid, id_)
        if job is not None:
            if job.record["digest"] != digest:
                raise Refused(interface.BAD_ID, id=id_, message="was used for another call")
            return job, self._entries.get(job.key)
        if self._stopping:
            raise Refused(interface.STOPPING)
        if sum(entry.job.key[0] == peer.uid for entry in self._queue) >= WAITING_OF_ONE:
            raise Refused(interface.BUSY, message=f"{WAITING_OF_ONE} jobs of this user wait for their turn")
        shown = operation.masked(values)
        try:
            job = self._store.create(
                peer.uid, id_, operation.name, digest, gid=peer.gid, pid=peer.pid, parameters=shown
            )
        except OSError as error:
            raise Refused(interface.BUSY, message=f"no job can be kept: {error.strerror}") from None
        audit.record("job", peer, operation=operation.name, parameters=shown, id=id_, outcome="accepted")
        entry = self._entries[job.key] = _Entry(job, operation, values)
        self._queue.append(entry)
        self._begin_some()
        if entry in self._queue:
            try:
                job.write("parameters", {"values": values})
                job.sync()
            except OSError as error:
                self._queue.remove(entry)
                del self._entries[job.key]
                self._store.remove(job)
                raise Refused(interface.BUSY, message=f"no job can be kept: {error.strerror}") from None
        return job, self._entries.get(job.key)

    def _await(
        self,
        client: Client,
        entry: _Entry,
        answer: Callable[[Job], tuple[str, dict[str, Any]]],
        patience: float | None = None,
    ) -> None:
        """Have a client wait for the end of a job."""
        waiter = (client, answer)

        def gone(_late: bool) -> None:
            entry.waiters.remove(waiter)
            entry.seen.pop(client, None)

        entry.waiters.append(waiter)
        client.wait(gone, patience)

    def _look(self) -> None:
        """Tell who watches what has changed; nobody is told more than he reads."""
        self._looking = None
        watched = [entry for entry in self._entries.values() if entry.seen]
        for entry in watched:
            now = describe(entry.job)
            for client, before in entry.seen.items():
                if now != before and not client.peer.wants_write:
                    entry.seen[client] = now
                    client.tell({"job": now})
        if watched:
            self._looking = self._loop.later(LOOK, self._look)

    # -- their life ------------------------------------------------------------------------------------------------

    def _begin_some(self) -> None:
        """Begin what waits, in its order, as far as there is room."""
        if self._stopping:
            return
        counts: dict[int, int] = {}
        working = [entry for entry in self._entries.values() if entry not in self._queue]
        for entry in working:
            counts[entry.job.key[0]] = counts.get(entry.job.key[0], 0) + 1
        room = AT_WORK - len(working)
        for entry in tuple(self._queue):
            uid = entry.job.key[0]
            if room > 0 and counts.get(uid, 0) < AT_WORK_OF_ONE:
                counts[uid] = counts.get(uid, 0) + 1
                room -= 1
                self._queue.remove(entry)
                self._begin(entry)

    def _begin(self, entry: _Entry) -> None:
        job, operation = entry.job, entry.operation
        try:
            lock = job.lock()
            if lock is None or operation is None:
                raise OSError(0, "somebody else has it")
            pid, report = keeper.start(job, lock, self._task(job, operation, entry.values or {}))
        except OSError as error:
            self._give_up(entry, store.FAILED, keeper.CANNOT_START, f"no keeper: {error.strerror}")
            return
        self._family.watch(pid, lambda _exit: None)
        self._loop.watch(report, lambda _events: self._reported(entry, report))

    def _task(self, job: Job, operation: Operation, values: dict[str, Any]) -> keeper.Task:
        operations = self._operations
        # Only here: a helper without jobs has no use for what is loaded with it.
        from . import child

        environment = {MARK: str(job.record["token"]), VARIABLE: str(PASSED)}

        def run(out: int, err: int, control: int, progress: int) -> None:
            parent = os.getppid()
            child.settle(out, err, control, progress)
            child.fresh(operations, parent, environment)

        work = marshal.dumps((operation.name, values))
        return keeper.Task(run, work, operation.timeout, operation.long_lived)

    def _reported(self, entry: _Entry, report: int) -> None:
        """Hear from a new keeper."""
        said = os.read(report, 4096).decode("utf-8", "replace")
        self._loop.forget(report)
        os.close(report)
        if entry.job.read("begun") is None:
            self._give_up(entry, store.FAILED, keeper.CANNOT_START, said or "its keeper was killed before it had begun")
            return
        self._adopt(entry)

    def _adopt(self, entry: _Entry) -> None:
        """Watch a keeper that has begun."""
        job = entry.job
        pid, started = job.keeper()
        begins, entry.begins = entry.begins, []
        entry.values = None
        if pid and self._family.adopt(pid, started, lambda _exit: self._ended(entry)):
            entry.pid = pid
            if entry.cancelled:
                keeper.cancel(job)
        else:
            self._ended(entry)
        for client in begins:
            client.done("", {"job": describe(job)})

    def _ended(self, entry: _Entry) -> None:
        """Note the end of a job whose keeper is gone."""
        job = entry.job
        if job.read("result") is None:
            try:
                job.settle()
            except OSError as error:
                audit.record("job", id=job.record["id"], owner=job.key[0], outcome="lost", message=str(error))
        if job.read("result") is None:
            # Its lock is still held by a process that it was just about to let begin, or the disk is full.
            entry.pid = -1
            self._loop.later(SOON, lambda: self._ended(entry))
            return
        self._over(entry)

    def _over(self, entry: _Entry) -> None:
        """Tell everybody of the end of a job."""
        job = entry.job
        del self._entries[job.key]
        self._report(job)
        waiters, entry.waiters = entry.waiters, []
        entry.seen.clear()
        for client, answer in waiters:
            client.done(*answer(job))
        for client in entry.begins:
            client.done("", {"job": describe(job)})
        self._begin_some()

    def _report(self, job: Job) -> None:
        """Write down, once, how a job ended."""
        if not job.report():
            return
        record, result = job.record, job.read("result") or {}
        details = {key: result[key] for key in ("exit", "why", "kind", "message", "duration") if result.get(key)}
        if "kind" in details and self._secret(record["name"]):
            # What a function that is given secrets says of its failure may hold one.
            details.pop("message", None)
        audit.record(
            "job",
            owner=record["uid"],
            operation=record["name"],
            id=record["id"],
            outcome=result.get("state"),
            **details,
        )

    def _secret(self, name: str) -> bool:
        operation = self._operations.get(name)
        return operation is None or operation.has_secrets

    def _give_up(self, entry: _Entry, state: str, why: str, message: str) -> None:
        """End a job that has not begun, and won't."""
        now = time.time()
        try:
            entry.job.write("result", {"state": state, "why": why, "message": message, "began": None, "ended": now})
            os.unlink(f"{entry.job.folder}/parameters.json")
        except OSError:
            pass
        self._over(entry)

    # -- after a restart -------------------------------------------------------------------------------------------

    def _find(self, job: Job) -> None:
        """Take up a job that an earlier helper left."""
        if job.read("result") is not None:
            self._report(job)
            return
        entry = self._entries[job.key] = _Entry(job, self._operations.get(job.record["name"]), None)
        self._take_up(entry)

    def _take_up(self, entry: _Entry) -> None:
        job, operation = entry.job, entry.operation
        lock = job.lock() if job.read("begun") is None else None
        if lock is not None:
            os.close(lock)
        if job.read("begun") is not None:
            audit.record("job", owner=job.key[0], operation=job.record["name"], id=job.record["id"], outcome="adopted")
            self._adopt(entry)
            return
        if lock is None:
            # A keeper that is about to begin, or to go.
            self._loop.later(SOON, lambda: self._take_up(entry))
            return
        kept = job.read("parameters")
        if kept is None:
            # Nobody was told of it: it was not accepted. Who asks meanwhile asks again.
            del self._entries[job.key]
            self._store.remove(job)
            for client in [*entry.begins, *(client for client, _answer in entry.waiters)]:
                client.done(interface.STOPPING, {})
            return
        try:
            if operation is None or operation.asynchronous == "never":
                raise BadParameter("it is not offered any more", "operation")
            entry.values = operation.complete(kept["values"])
        except BadParameter as error:
            self._give_up(entry, store.FAILED, keeper.CANNOT_START, f"{error.parameter}: {error}")
            return
        self._queue.append(entry)


def _told(job: Job) -> tuple[str, dict[str, Any]]:
    return "", {"job": describe(job)}
