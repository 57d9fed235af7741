# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The guard's Varlink interface. PRIVATE to the collection."""

from __future__ import annotations

import os

from ..._supervise._embedded.loop import READ, WRITE
from ..._varlink import server
from .. import core
from ..interface import EXCLUSIVE_MODE, Busy, DriverRefused, LeaseError, NotHeld

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .guard import Guard

INTERFACE = "io.holdfast.Guard"
DESCRIPTION = """\
# The guard of one service. Only root and the guard's own user may call.
interface io.holdfast.Guard

type Resource (name: string, mode: (exclusive, shared), token: int)
type Hole (name: string, text: string)

# phase: standby (in line), active, stopping, killing, releasing. since: unix time of the last change of phase.
# tree: the first process of the service's tree, 0 if there is none.
method Status() -> (
  name: string, phase: string, since: float, pid: int, tree: int, driver: string, containment: string,
  resources: []Resource, holes: []Hole
)

# Gets one more resource for the running service, now or not at all.
method Acquire(resource: string, mode: ?(exclusive, shared)) -> (token: int)

# Gives one resource back while the service goes on, which must have ceased to use it. The last one is not given back.
method Release(resource: string) -> ()

error Busy (resource: string, holders: []string)
error NotHeld (resource: string)
error NotActive (phase: string)
error Refused (message: string)
"""
CONNECTIONS = 32

_INFORMATION = {
    "vendor": "holdfast",
    "product": "guard",
    "version": "1",
    "url": "https://github.com/holdfast/supervision",
}


class Api:
    """Answers the peers of one guard. Every call is answered at once."""

    def __init__(self, guard: Guard, path: str) -> None:
        """Listen at *path*. Raises OSError."""
        self._guard = guard
        self._listener = server.Listener(path)
        self._peers: dict[int, server.Peer] = {}
        guard.loop.watch(self._listener.fileno(), self._accept)

    def _accept(self, _events: int) -> None:
        peer = self._listener.accept()
        if peer is None:
            return
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
        while peer.requests:
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
            if "error" in standard:
                peer.error(standard["error"], **standard["parameters"])
            else:
                peer.reply(standard["parameters"])
            return
        method = str(request.get("method"))
        parameters = request.get("parameters") or {}
        try:
            if method == f"{INTERFACE}.Status":
                peer.reply(self._status())
            elif method == f"{INTERFACE}.Acquire":
                peer.reply(self._acquire(parameters))
            elif method == f"{INTERFACE}.Release":
                self._release(parameters)
                peer.reply({})
            else:
                peer.error(server.METHOD_NOT_FOUND, method=method)
        except _Inactive:
            peer.error(f"{INTERFACE}.NotActive", phase=self._guard.state.phase)
        except Busy as error:
            peer.error(f"{INTERFACE}.Busy", resource=error.resource, holders=error.holders)
        except NotHeld as error:
            peer.error(f"{INTERFACE}.NotHeld", resource=str(parameters.get("resource")), message=str(error))
        except LeaseError as error:
            peer.error(f"{INTERFACE}.Refused", message=str(error))

    def _status(self) -> dict[str, Any]:
        guard = self._guard
        return {
            "name": guard.name,
            "phase": guard.state.phase,
            "since": guard.since,
            "pid": os.getpid(),
            "tree": guard.tree.pid if guard.tree else 0,
            "driver": guard.driver.name,
            "containment": guard.containment,
            "resources": [{"name": one.resource, "mode": one.mode, "token": one.token} for one in guard.driver.held()],
            "holes": [{"name": hole.name, "text": hole.text} for hole in guard.holes],
        }

    def _acquire(self, parameters: dict[str, Any]) -> dict[str, Any]:
        guard = self._guard
        if guard.state.phase != core.ACTIVE:
            raise _Inactive
        resource, mode = parameters.get("resource"), parameters.get("mode") or EXCLUSIVE_MODE
        if not isinstance(resource, str) or not isinstance(mode, str):
            raise DriverRefused("resource and mode have to be text")
        for grant in guard.driver.held():
            if grant.resource == resource and grant.mode == mode:
                return {"token": grant.token}
        guard.driver.register(resource, mode)
        try:
            grants = guard.driver.acquire()
        except LeaseError:
            guard.driver.forget(resource)
            raise
        guard.tokens_changed()
        return {"token": next(grant.token for grant in grants if grant.resource == resource)}

    def _release(self, parameters: dict[str, Any]) -> None:
        guard = self._guard
        if guard.state.phase != core.ACTIVE:
            raise _Inactive
        resource = str(parameters.get("resource"))
        held = [grant.resource for grant in guard.driver.held()]
        if held == [resource]:
            raise DriverRefused(f"{resource}: is the last one; a guarded service that holds nothing would be unguarded")
        guard.driver.release(resource)
        guard.tokens_changed()


class _Inactive(Exception):
    """Resources can be added and given back only while the service runs."""
