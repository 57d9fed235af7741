# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Serves the helper's socket: who asks, whether he may, and what came of it. PRIVATE to the collection.

Everything that a peer can make grow has a bound of its own: connections, the length of a request, the time in which one
is to be complete, calls at work, answers that nobody reads.
"""

from __future__ import annotations

import hashlib
import json

from .._supervise._embedded.loop import READ, WRITE
from .._varlink import server
from . import audit, interface, journal, worker
from .interface import INTERFACE
from .operations import BadParameter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .._supervise._embedded.children import Children
    from .._supervise._embedded.loop import Loop, Timer
    from .operations import Operation

#: Longest request in bytes, and the seconds in which one is to be complete once it has begun.
REQUEST, PATIENCE = 131072, 10.0
#: Connections: of all, of one user, and of one who may call nothing.
CONNECTIONS, OF_ONE, OF_STRANGERS = 1024, 512, 16
#: Calls at work: of all, and of one user. Further ones wait for their turn, as many as there are connections.
AT_WORK, AT_WORK_OF_ONE = 32, 16
#: Workers that hang in the kernel. With so many nothing more is begun until one is gone.
ABANDONED = 8
#: Bytes of each output that the journal keeps.
KEPT_OUTPUT = 8192
#: Seconds of rest when no descriptor is free for another connection.
REST = 1.0

_INFORMATION = dict(server.VENDOR, product="helper")


class _Client:
    """A connection. call: what it waits for; timer: the end of our patience with half a request."""

    __slots__ = ("call", "gids", "oneway", "peer", "timer")

    def __init__(self, peer: server.Peer) -> None:
        self.peer = peer
        self.gids = peer.groups()
        self.call: _Call | None = None
        self.oneway = False
        self.timer: Timer | None = None


class _Call:
    """A call that waits for its turn or is at work. clients: who is to hear of its end; peer: who made it."""

    __slots__ = ("clients", "digest", "id", "operation", "peer", "values", "worker")

    def __init__(self, client: _Client, operation: Operation, values: dict[str, Any], id_: str, digest: str) -> None:
        self.clients = [client]
        self.peer = client.peer
        self.operation = operation
        self.values = values
        self.id = id_
        self.digest = digest
        self.worker: worker.Worker | None = None

    @property
    def journalled(self) -> bool:
        """Say whether its outcome is kept. A pure operation is just done again."""
        return bool(self.id) and self.operation.idempotency != "pure"

    @property
    def entry(self) -> str:
        """Give its name in the journal. One whose outcome is not kept is there while it is at work, and so found later."""
        return self.id if self.journalled else f"{journal.NAMELESS}{self.worker.pid if self.worker else 0}"


class Api:
    """Serves *operations* at *path* until `stop` was called and all is done."""

    def __init__(
        self,
        loop: Loop,
        family: Children,
        operations: dict[str, Operation],
        log: journal.Journal,
        path: str,
        version: str,
    ) -> None:
        """Listen. Raises OSError."""
        self._loop = loop
        self._family = family
        self._operations = operations
        self._journal = log
        self._version = version
        self._listener = server.Listener(path, 0o666, longest=REQUEST)
        self._clients: dict[int, _Client] = {}
        self._connections: dict[int, int] = {}
        self._waiting: list[_Call] = []
        self._working: list[_Call] = []
        self._hanging: list[worker.Worker] = []
        self._named: dict[tuple[int, str], _Call] = {}
        self._stopping = False
        self._listening = False
        self._resume()

    def stop(self) -> None:
        """Begin nothing more, and end the loop when what is at work is done."""
        self._stopping = True
        self._pause()
        for call in tuple(self._waiting):
            self._waiting.remove(call)
            self._conclude(call, "stopping", interface.STOPPING, {})
        self._end_if_done()

    def _end_if_done(self) -> None:
        if self._stopping and not self._working:
            for client in tuple(self._clients.values()):
                client.peer.writable()
            self._loop.running = False

    # -- connections -----------------------------------------------------------------------------------------------

    def _accept(self, _events: int) -> None:
        peer = self._listener.accept()
        if peer is None:
            self._pause()
            self._loop.later(REST, self._resume)
            return
        client = _Client(peer)
        known = any(one.allows(peer.uid, client.gids) for one in self._operations.values())
        count = self._connections.get(peer.uid, 0)
        if count >= (OF_ONE if known else OF_STRANGERS):
            peer.close()
            return
        self._connections[peer.uid] = count + 1
        self._clients[peer.fileno()] = client
        self._loop.watch(peer.fileno(), lambda events: self._ready(client, events))
        if len(self._clients) >= CONNECTIONS:
            self._pause()

    def _pause(self) -> None:
        """Accept nobody for now."""
        if self._listening:
            self._listening = False
            self._loop.forget(self._listener.fileno())

    def _resume(self) -> None:
        if not self._listening and not self._stopping and len(self._clients) < CONNECTIONS:
            self._listening = True
            self._loop.watch(self._listener.fileno(), self._accept)

    def _ready(self, client: _Client, events: int) -> None:
        peer = client.peer
        if events & WRITE:
            peer.writable()
        if events & ~WRITE:
            peer.readable()
            if not peer.unfinished:
                if client.timer is not None:
                    client.timer.cancel()
                    client.timer = None
            elif client.timer is None:
                client.timer = self._loop.later(PATIENCE, lambda: self._close(client))
        self._serve(client)

    def _serve(self, client: _Client) -> None:
        """Answer what was asked, one after the other; nothing further before the last answer was read."""
        peer = client.peer
        if peer.fileno() not in self._clients:
            return
        while peer.requests and client.call is None and not peer.dead and not peer.wants_write:
            self._request(client, peer.requests.pop(0))
        if peer.dead:
            self._close(client)
        else:
            self._loop.change(peer.fileno(), READ | WRITE if peer.wants_write else READ)

    def _close(self, client: _Client) -> None:
        peer = client.peer
        if peer.fileno() not in self._clients:
            return
        del self._clients[peer.fileno()]
        self._connections[peer.uid] -= 1
        if not self._connections[peer.uid]:
            del self._connections[peer.uid]
        self._loop.forget(peer.fileno())
        if client.timer is not None:
            client.timer.cancel()
        call, client.call = client.call, None
        peer.close()
        if call is not None:
            call.clients.remove(client)
            if not call.clients:
                self._deserted(call)
        self._resume()

    def _deserted(self, call: _Call) -> None:
        """Nobody waits for a call any more."""
        if call.operation.on_disconnect != "cancel":
            return
        if call.worker is not None:
            call.worker.kill(worker.CANCELLED)
        elif call in self._waiting:
            self._waiting.remove(call)
            self._conclude(call, "cancelled", interface.STOPPING, {})

    # -- requests --------------------------------------------------------------------------------------------------

    def _request(self, client: _Client, request: dict[str, Any]) -> None:
        peer = client.peer
        client.oneway = bool(request.get("oneway"))
        standard = server.service_reply(
            request, dict(_INFORMATION, version=self._version), {INTERFACE: interface.DESCRIPTION}
        )
        if standard is not None:
            if "error" in standard:
                peer.error(standard["error"], **standard["parameters"])
            else:
                peer.reply(standard["parameters"])
            return
        method, parameters = request.get("method"), request.get("parameters", {})
        own, _dot, name = method.rpartition(".") if isinstance(method, str) else ("", "", "")
        if own != INTERFACE:
            peer.error(server.INTERFACE_NOT_FOUND, interface=own[:256])
        elif not isinstance(parameters, dict):
            peer.error(server.INVALID_PARAMETER, parameter="parameters")
        elif name == "Operations":
            allowed = [one.describe() for one in self._operations.values() if one.allows(peer.uid, client.gids)]
            peer.reply({"operations": allowed})
        elif name not in ("Call", "Outcome"):
            peer.error(server.METHOD_NOT_FOUND, method=name[:256])
        else:
            try:
                if name == "Call":
                    self._call(client, parameters)
                else:
                    peer.reply(self._outcome(peer, parameters))
            except server.Refused as refused:
                self._answer(client, refused.error, dict(refused.parameters))

    def _answer(self, client: _Client, error: str, parameters: dict[str, Any]) -> None:
        if client.oneway:
            return
        if error:
            client.peer.error(error, **parameters)
        else:
            client.peer.reply(parameters)

    def _outcome(self, peer: server.Peer, parameters: dict[str, Any]) -> dict[str, Any]:
        id_ = _id(parameters.get("id"))
        named = self._named.get((peer.uid, id_))
        if named is not None:
            state = journal.RUNNING if named.worker is not None else journal.NEVER_BEGAN
            return {"state": state, "operation": named.operation.name, "result": None, "error": None}
        entry = self._journal.read(peer.uid, id_)
        if entry is None:
            return {"state": journal.NEVER_BEGAN, "operation": None, "result": None, "error": None}
        kept = entry.get("result") or {}
        error = kept.get("error") or None
        result = kept.get("parameters") if kept and not error else None
        return {"state": entry["state"], "operation": entry["operation"], "result": result, "error": error}

    def _call(self, client: _Client, request: dict[str, Any]) -> None:
        peer = client.peer
        name, given, id_ = request.get("operation"), request.get("parameters"), request.get("id")
        operation = self._operations.get(name) if isinstance(name, str) else None
        if operation is None or not operation.allows(peer.uid, client.gids):
            # The same answer for both: who may not call it need not know that it is there.
            shown = str(name)[:64] if isinstance(name, str) else ""
            audit.record("call", peer, operation=shown, outcome="not allowed")
            raise server.Refused(interface.NOT_ALLOWED, operation=shown)
        if given is None:
            given = {}
        try:
            if not isinstance(given, dict):
                raise BadParameter("is to be an object", "parameters")
            values = operation.complete(given)
        except BadParameter as error:
            audit.record("call", peer, operation=name, outcome="bad parameter", message=f"{error.parameter}: {error}")
            raise server.Refused(interface.BAD_PARAMETER, parameter=error.parameter, message=str(error)) from None
        digest = hashlib.sha256(json.dumps([name, values], sort_keys=True).encode()).hexdigest()
        call = _Call(client, operation, values, "" if id_ is None else _id(id_), digest)
        if call.id and self._repeated(client, call):
            return
        if self._stopping:
            raise server.Refused(interface.STOPPING)
        self._hanging = [one for one in self._hanging if one.outcome == worker.ABANDONED]
        if len(self._hanging) >= ABANDONED:
            audit.record("call", peer, operation=name, outcome="busy")
            raise server.Refused(interface.BUSY, message=f"{len(self._hanging)} workers hang in the kernel")
        client.call = call
        if call.id:
            self._named[peer.uid, call.id] = call
        self._waiting.append(call)
        self._begin_some()

    def _repeated(self, client: _Client, call: _Call) -> bool:
        """Give a call whose id was used before the answer of the first one, or have it wait for that."""
        peer = client.peer
        first = self._named.get((peer.uid, call.id))
        if first is not None:
            self._expect(first.digest, call)
            first.clients.append(client)
            client.call = first
            return True
        entry = self._journal.read(peer.uid, call.id)
        if entry is None:
            return False
        self._expect(entry["digest"], call)
        if entry["state"] == journal.DONE:
            self._answer(client, entry["result"]["error"], entry["result"]["parameters"])
            return True
        # It began, and nobody knows how it ended.
        if call.operation.idempotency == "once":
            audit.record("call", peer, operation=call.operation.name, id=call.id, outcome="outcome unknown")
            raise server.Refused(interface.OUTCOME_UNKNOWN, operation=call.operation.name, id=call.id)
        return False

    @staticmethod
    def _expect(digest: str, call: _Call) -> None:
        """Refuse an id that was used for something else."""
        if digest != call.digest:
            raise server.Refused(interface.BAD_ID, id=call.id, message="was used for another call")

    # -- calls -----------------------------------------------------------------------------------------------------

    def _begin_some(self) -> None:
        """Begin what waits, in its order, as far as there is room; a user with too much at once holds up nobody else."""
        if len(self._working) >= AT_WORK:
            return
        counts: dict[int, int] = {}
        for call in self._working:
            counts[call.peer.uid] = counts.get(call.peer.uid, 0) + 1
        for call in tuple(self._waiting):
            if len(self._working) >= AT_WORK:
                return
            uid = call.peer.uid
            if counts.get(uid, 0) < AT_WORK_OF_ONE:
                counts[uid] = counts.get(uid, 0) + 1
                self._waiting.remove(call)
                self._begin(call)

    def _begin(self, call: _Call) -> None:
        work = call.operation.work(call.values)
        try:
            call.worker = worker.Worker(self._loop, self._family, work, lambda one: self._ended(call, one))
        except OSError as error:
            self._conclude(call, "busy", interface.BUSY, {"message": f"no worker: {error.strerror}"})
            return
        self._working.append(call)
        try:
            self._journal.begin(call.peer.uid, call.entry, call.operation.name, call.digest, call.worker.pid)
        except OSError as error:
            call.worker.message = f"the journal: {error.strerror}"
            call.worker.kill(worker.CANCELLED)
            return
        call.worker.begin()

    def _ended(self, call: _Call, one: worker.Worker) -> None:
        self._working.remove(call)
        name = call.operation.name
        if one.outcome == worker.EXITED:
            self._conclude(call, "exited", "", _result(one, worker.OUTPUT))
        elif one.outcome == worker.CANNOT_START and one.message.startswith(worker.REFUSED):
            parameter, _colon, text = one.message[len(worker.REFUSED) :].partition(": ")
            self._conclude(call, "bad parameter", interface.BAD_PARAMETER, {"parameter": parameter, "message": text})
        elif one.outcome in (worker.CANNOT_START, worker.CANCELLED):
            outcome = "cancelled" if one.outcome == worker.CANCELLED else "cannot start"
            details = {"operation": name, "message": one.message or outcome}
            self._conclude(call, outcome, interface.CANNOT_START, details)
        else:
            abandoned = one.outcome == worker.ABANDONED
            if abandoned:
                self._hanging.append(one)
            answer = {"operation": name, "seconds": one.timeout, "abandoned": abandoned}
            self._conclude(call, one.outcome, interface.TIMEOUT, answer)
        self._begin_some()
        self._end_if_done()

    def _conclude(self, call: _Call, outcome: str, error: str, parameters: dict[str, Any]) -> None:
        """Write down how a call ended, keep that, and tell whoever waits for it."""
        details: dict[str, Any] = {"operation": call.operation.name, "parameters": call.operation.masked(call.values)}
        if call.id:
            details["id"] = call.id
        details["outcome"] = outcome
        if call.worker is not None:
            details.update(worker=call.worker.pid, duration=round(call.worker.duration, 6))
            if outcome == "exited":
                details["exit"] = call.worker.exit
            if call.worker.message:
                details["message"] = call.worker.message
            if call.journalled:
                kept = parameters if error else _result(call.worker, KEPT_OUTPUT)
                try:
                    self._journal.end(call.peer.uid, call.id, {"error": error, "parameters": kept})
                except OSError as failure:
                    details["journal"] = failure.strerror
            else:
                self._journal.forget(call.peer.uid, call.entry)
        audit.record("call", call.peer, **details)
        if call.id:
            self._named.pop((call.peer.uid, call.id), None)
        for client in call.clients:
            client.call = None
            self._answer(client, error, parameters)
            # Not from here: what a client asked next may end at once, and that in the middle of this.
            self._loop.soon(lambda client=client: self._serve(client))  # type: ignore[misc]


def _result(one: worker.Worker, limit: int) -> dict[str, Any]:
    """Give what Call answers, with the first *limit* characters of each output."""
    out, err = one.output(0), one.output(1)
    return {
        "exit": one.exit,
        "stdout": out[:limit],
        "stderr": err[:limit],
        "truncated": one.truncated or max(len(out), len(err)) > limit,
        "duration": round(one.duration, 6),
    }


def _id(value: object) -> str:
    if not isinstance(value, str) or not journal.is_id(value):
        raise server.Refused(interface.BAD_ID, id=str(value)[:64], message="1 to 64 letters, digits, '_' and '-'")
    return value
