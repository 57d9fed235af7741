# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The guard's Varlink interface. PRIVATE to the collection."""

from __future__ import annotations

import os
import time

from ..._supervise._embedded.loop import READ, WRITE
from ..._varlink import server
from .. import core, drivers, naming
from ..handover import Handover, Overtaken
from ..interface import EXCLUSIVE_MODE, HOT, Busy, DriverRefused, LeaseError, Lost, NotHeld
from ..modes import disk
from .handovers import WrongPhase

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..._varlink.sockets import Socket
    from .guard import Guard
    from .worker import Work

INTERFACE = "io.holdfast.Guard"
DESCRIPTION = """\
# The guard of one service. Only root and the guard's own user may call.
interface io.holdfast.Guard

type Resource (name: string, mode: (exclusive, shared, readonly), token: int)
type Hole (name: string, text: string)

# phase: standby (in line), active, pausing, paused, stopping, killing, releasing. since: unix time of the last change of phase.
# tree: the first process of the service's tree, 0 if there is none. disks: of resources that are disks, their paths here.
# Where grants run out: ttl, the seconds that one is good for; valid_for, the seconds that are left;
# valid_until, the same on the host's clock CLOCK_BOOTTIME; renewals, with the seconds that the last, the worst and all of them
# took, failed ones too, and how many of them took no longer than so many seconds (le).
method Status() -> (
  name: string, phase: string, since: float, pid: int, tree: int, driver: string, containment: string,
  identity: string, resources: []Resource, holes: []Hole, facts: [string]string,
  handover: ?(id: string, role: string, other: string), wants: []string, disks: [string]string, parameters: object,
  owner: ?string, until: ?float, note: ?object, store: ?[]string,
  ttl: ?float, valid_for: ?float, valid_until: ?float,
  renewals: ?(count: int, failed: int, slow: int, last: float, worst: float, sum: float, took: [](le: float, count: int))
)

# Gets one more resource for the running service, now or not at all: a name, or disk:PATH.
method Acquire(resource: string, mode: ?(exclusive, shared, readonly)) -> (token: int)

# Gives one resource back while the service goes on, which must have ceased to use it. The last one is not given back.
method Release(resource: string) -> ()

# Ends the service in order, gives everything back and ends; answered at once. One that is ending goes on ending.
method Shutdown() -> ()

# Of holders only, which hold a lease for an owner and have no service: a later end, and the end with a reason.
method Extend(ttl: float) -> (owner: string, until: ?float, note: object, resources: []Resource)
method Break(reason: string) -> ()

# Handing over to another guard, see leases.md. Every step may be repeated with the same number of the hand-over.
type Moving (id: string, source: string, target: string, stage: string, resources: [](name: string, token: int))

# The source marks what it holds for the guard whose identity is the target. The service runs on.
method PrepareOut(handover: string, target: string, seconds: float) -> (state: Moving)

# The destination, which stands by, looks whether it could take over now, and gives its identity. Refused: it could not.
method PrepareIn(handover: string) -> (target: string)

# The source ends its service and leaves what it held to the destination. Answered when that is done; then the guard ends.
method CompleteOut(handover: string) -> (state: Moving)

# The destination takes over, if nobody has had it since, and starts its service. Without a state the store is asked for it.
method CompleteIn(handover: string, state: ?Moving) -> (resources: []Resource)

# outcome: dropped (the source never stopped), returning (only the source gets it now), unknown (there is no such hand-over).
method Cancel(handover: string) -> (outcome: string)

error Busy (resource: string, holders: []string)
error NotHeld (resource: string)
error NotActive (phase: string)
error Overtaken (message: string)
error Refused (message: string)
"""
CONNECTIONS = 32
_STEPS = frozenset({"PrepareOut", "PrepareIn", "CompleteOut", "CompleteIn", "Cancel"})

_INFORMATION = {
    "vendor": "holdfast",
    "product": "guard",
    "version": "1",
    "url": "https://github.com/holdfast/supervision",
}


class Api:
    """Answers the peers of one guard: at once, or when the store has answered. One call of a peer after the other."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._peers: dict[int, server.Peer] = {}
        self._waiting: set[server.Peer] = set()

    def greet(self, connection: Socket) -> None:
        """Serve who has connected, if he may ask."""
        peer = server.Peer(connection)
        if peer.uid not in (0, os.geteuid()) or len(self._peers) >= CONNECTIONS:
            peer.close()
            return
        self._peers[peer.fileno()] = peer
        self._guard.loop.watch(peer.fileno(), lambda events, peer=peer: self._ready(peer, events))  # type: ignore[misc]

    def _ready(self, peer: server.Peer, events: int) -> None:
        if events & WRITE:
            peer.writable()
        if events & ~WRITE:
            peer.readable()
        self._serve(peer)

    def _serve(self, peer: server.Peer) -> None:
        while peer.requests and peer not in self._waiting:
            self._answer(peer, peer.requests.pop(0))
        if peer.dead:
            self._guard.loop.forget(peer.fileno())
            del self._peers[peer.fileno()]
            peer.close()
        else:
            self._guard.loop.change(peer.fileno(), READ | WRITE if peer.wants_write else READ)

    def _answer(self, peer: server.Peer, request: dict[str, Any]) -> None:
        standard = server.service_reply(request, _INFORMATION, {INTERFACE: DESCRIPTION})
        if standard is not None:
            peer.answer(*standard)
            return
        method = str(request.get("method"))
        parameters = request.get("parameters") or {}
        try:
            if method == f"{INTERFACE}.Status":
                peer.reply(self._status())
            elif method == f"{INTERFACE}.Acquire":
                self._acquire(peer, parameters)
            elif method == f"{INTERFACE}.Release":
                self._release(peer, parameters)
            elif method == f"{INTERFACE}.Shutdown":
                # First the answer: a guard in line may have ended right after the next line.
                peer.reply({})
                self._guard.shut_down()
            elif not self._further(peer, method.rpartition(".")[2], parameters):
                peer.error(server.METHOD_NOT_FOUND, method=method)
        except (_Inactive, WrongPhase):
            peer.error(f"{INTERFACE}.NotActive", phase=self._guard.state.phase)
        except LeaseError as error:
            self._refuse(peer, error)

    def _refuse(self, peer: server.Peer, error: LeaseError) -> None:
        if isinstance(error, Busy):
            peer.error(f"{INTERFACE}.Busy", resource=error.resource, holders=error.holders)
        elif isinstance(error, NotHeld):
            peer.error(f"{INTERFACE}.NotHeld", resource=error.resource, message=str(error))
        elif isinstance(error, Overtaken):
            peer.error(f"{INTERFACE}.Overtaken", message=str(error))
        else:
            peer.error(f"{INTERFACE}.Refused", message=str(error))

    def _ask_store(self, peer: server.Peer, work: Work, answer: Callable[[], dict[str, Any]]) -> None:
        """Have the driver do *work* and answer then; *answer* is called after it has succeeded, whoever still listens."""

        def done(error: LeaseError | None) -> None:
            self._waiting.discard(peer)
            if isinstance(error, Lost):
                self._guard.event(core.LOST, str(error))
            if error is None:
                peer.reply(answer())
            else:
                self._refuse(peer, error)
            if not waiting:
                return
            if self._peers.get(peer.fileno()) is peer:
                self._serve(peer)

        waiting = False
        self._waiting.add(peer)
        self._guard.store(work, done)
        waiting = True

    def _status(self) -> dict[str, Any]:
        guard = self._guard
        ttl, valid, now = guard.state.ttl, guard.state.valid, time.clock_gettime(time.CLOCK_BOOTTIME)
        return {
            **guard.told(),
            "name": guard.name,
            "phase": guard.state.phase,
            "since": guard.since,
            "pid": os.getpid(),
            "tree": guard.tree.pid if guard.tree else 0,
            "driver": guard.driver.name,
            "containment": guard.containment,
            "identity": guard.driver.identity,
            "resources": [{"name": one.resource, "mode": one.mode, "token": one.token} for one in guard.driver.held()],
            "handover": guard.handovers.report(),
            "holes": [{"name": hole.name, "text": hole.text} for hole in guard.holes],
            "facts": guard.driver.facts(),
            "ttl": ttl,
            "valid_for": None if valid is None else round(valid - now, 3),
            "valid_until": valid,
            "renewals": None if ttl is None else guard.renewals.report(),
        }

    def _acquire(self, peer: server.Peer, parameters: dict[str, Any]) -> None:
        guard = self._guard
        if guard.state.phase != core.ACTIVE:
            raise _Inactive
        resource, mode = parameters.get("resource"), parameters.get("mode") or EXCLUSIVE_MODE
        if not isinstance(resource, str) or not isinstance(mode, str):
            raise DriverRefused("resource and mode have to be text")
        self._needs_hot()

        known = ""

        def add() -> None:
            nonlocal known
            known = self._known(resource)
            if any(grant.resource == known and grant.mode == mode for grant in guard.driver.held()):
                return
            # The guard itself, too: a driver of another collection may only have declared it.
            too_many = drivers.too_many(type(guard.driver), len(guard.driver.held()) + 1)
            if too_many:
                raise DriverRefused(f"{resource}: {too_many}; give another one back first")
            naming.register(guard.driver, resource, mode, known)
            try:
                guard.driver.acquire()
            except LeaseError:
                guard.driver.forget(known)
                raise

        def added() -> dict[str, Any]:
            if known != resource:
                guard.disks[known] = disk(resource)
            guard.tokens_changed()
            return {"token": next(grant.token for grant in guard.driver.held() if grant.resource == known)}

        self._ask_store(peer, add, added)

    def _release(self, peer: server.Peer, parameters: dict[str, Any]) -> None:
        guard = self._guard
        if guard.state.phase != core.ACTIVE:
            raise _Inactive
        resource = str(parameters.get("resource"))
        self._needs_hot()

        def give_back() -> None:
            nonlocal resource
            resource = self._known(resource)
            if [grant.resource for grant in guard.driver.held()] == [resource]:
                raise DriverRefused(
                    f"{resource}: is the last one; a guarded service that holds nothing would be unguarded"
                )
            guard.driver.release(resource)

        def given_back() -> dict[str, Any]:
            guard.tokens_changed()
            return {}

        self._ask_store(peer, give_back, given_back)

    def _known(self, resource: str) -> str:
        """Give the name in the store. A disk that we have is found by its path also when it is there no more."""
        path = disk(resource)
        found = [known for known, where in self._guard.disks.items() if path and where == path]
        return found[0] if found else naming.known_as(resource)

    def _needs_hot(self) -> None:
        driver = self._guard.driver
        if HOT not in driver.capabilities:
            raise DriverRefused(f"driver {driver.name}: what a running service holds cannot be changed; restart it")

    def _further(self, peer: server.Peer, step: str, parameters: dict[str, Any]) -> bool:
        """Do one step of a hand-over; say whether there is such a step. Raises WrongPhase, LeaseError."""
        if step not in _STEPS:
            return False
        handovers = self._guard.handovers
        number = str(parameters.get("handover") or "")
        answer = self._later(peer)
        try:
            if step == "PrepareOut":
                seconds = parameters.get("seconds")
                if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
                    raise DriverRefused("seconds has to be a number")
                handovers.prepare_out(number, str(parameters.get("target") or ""), float(seconds), answer)
            elif step == "PrepareIn":
                handovers.prepare_in(number, answer)
            elif step == "CompleteOut":
                handovers.complete_out(number, answer)
            elif step == "CompleteIn":
                state = parameters.get("state")
                handovers.complete_in(number, None if state is None else Handover.read(state), answer)
            else:
                handovers.cancel(number, answer)
        except (WrongPhase, LeaseError):
            self._waiting.discard(peer)
            raise
        return True

    def _later(self, peer: server.Peer) -> Callable[[LeaseError | None, dict[str, Any]], None]:
        """Let *peer* wait for the answer, and give what answers it: now, or when the store has."""

        def answer(error: LeaseError | None, told: dict[str, Any]) -> None:
            self._waiting.discard(peer)
            if isinstance(error, Lost):
                self._guard.event(core.LOST, str(error))
            if error is None:
                peer.reply(told)
            else:
                self._refuse(peer, error)
            self._guard.loop.soon(lambda: self._go_on(peer))

        self._waiting.add(peer)
        return answer

    def _go_on(self, peer: server.Peer) -> None:
        if self._peers.get(peer.fileno()) is peer:
            self._serve(peer)


class _Inactive(Exception):
    """Resources can be added and given back only while the service runs."""
