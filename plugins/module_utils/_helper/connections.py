# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The helper's connections: who may have how many, for how long, and who is to be read next. PRIVATE to the collection.

Everything that a peer can make grow has a bound of its own: connections, the length of a request, the time in which one
is to be complete, answers that nobody reads.

When there is no room for another connection, whoever has the most of them loses his oldest one that asks nothing and holds
nothing, so that no number of users keeps another one out.
"""

from __future__ import annotations

import time

from .._supervise._embedded.loop import READ, WRITE
from .._varlink import server
from . import generated, interface

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .._supervise._embedded.loop import Loop, Timer
    from .operations import Operation
    from .services import Services

#: Longest request in bytes, and the seconds in which one is to be complete once it has begun.
REQUEST, PATIENCE = 131072, 10.0
#: Connections: of all, of one user, and of one who may call nothing; and how many more root may have.
CONNECTIONS, OF_ONE, OF_STRANGERS, FOR_ROOT = 1024, 512, 16, 16
#: Seconds of rest when no descriptor is free for another connection.
REST = 1.0


class Client:
    """A connection. timer: the end of our patience with half a request; gone: whom to tell if it leaves while it waits."""

    __slots__ = (
        "_connections",
        "_gone",
        "_waits",
        "closing",
        "deadline",
        "drained",
        "events",
        "generated",
        "gids",
        "last",
        "more",
        "oneway",
        "passed",
        "peer",
        "timer",
    )

    def __init__(self, peer: server.Peer, connections: Connections) -> None:
        self.peer = peer
        self.gids = peer.groups()
        #: Of its last request: it wants no answer, or more than one.
        self.oneway = self.more = False
        #: Of its last request: its length, if descriptors came with it, which wait in the connection.
        self.passed = 0
        #: Whether it asked by the generated interface, and is told the errors of that.
        self.generated = False
        #: The operation that it called last.
        self.last: Operation | None = None
        self.events = READ
        self.timer: Timer | None = None
        self._connections = connections
        self._gone: Callable[[bool], None] | None = None
        self._waits = False
        #: When it is told that its patience is over, and what to call when it has read what it was told.
        self.deadline: tuple[float, float] | None = None
        self.drained: Callable[[], None] | None = None
        #: What to call when the connection has ended.
        self.closing: list[Callable[[], None]] = []

    @property
    def waits(self) -> bool:
        """Say whether its last request has no answer yet."""
        return self._waits

    @property
    def name(self) -> str:
        """Give the name by which its calls are counted: one service, or one user."""
        return self.peer.service or f"uid {self.peer.uid}"

    def belongs_to(self, service: str) -> bool:
        """Say whether it is a process of a supervised service now. That is asked anew each time: services end."""
        if not self._connections.services.has(service, self.peer):
            return False
        self.peer.service = service
        return True

    def wait(self, gone: Callable[[bool], None], patience: float | None = None) -> None:
        """Have it wait for `done`; *gone* is called instead when the connection ends, or with true after *patience* seconds."""
        self._waits, self._gone = True, gone
        if patience is not None:
            self.deadline = time.monotonic() + patience, patience
            self._connections.wake_at(self.deadline[0])

    def late(self) -> None:
        """Tell it that its patience is over."""
        seconds = self.deadline[1] if self.deadline else 0.0
        gone, self._gone = self._gone, None
        if gone is not None:
            gone(True)
        self.done(interface.DEADLINE_PASSED, {"seconds": seconds})

    def answer(self, error: str, parameters: dict[str, Any], passed: int = -1) -> None:
        """Answer its request: with the error, or without one with the parameters of a reply, and the descriptor *passed*."""
        if self.oneway:
            return
        if error:
            if self.generated:
                error = error.replace(interface.INTERFACE, generated.INTERFACE, 1)
            self.peer.error(error, **parameters)
        else:
            self.peer.reply(parameters, passed=passed)

    def tell(self, parameters: dict[str, Any]) -> None:
        """Answer what it waits for, with more to come."""
        self.peer.reply(parameters, continues=True)
        self._connections.serve_soon(self)

    def done(self, error: str, parameters: dict[str, Any], passed: int = -1) -> None:
        """Answer what it waits for, and read on."""
        self._waits, self._gone, self.deadline, self.drained = False, None, None, None
        self.answer(error, parameters, passed)
        peer = self.peer
        if peer.requests or peer.held or peer.dead or peer.wants_write:
            self._connections.serve_soon(self)

    def left(self) -> None:
        """Tell whom it concerns that it is not there any more."""
        gone, self._gone, self._waits = self._gone, None, False
        self.deadline = self.drained = None
        if gone is not None:
            gone(False)
        closing, self.closing = self.closing, []
        for closed in closing:
            closed()


class Connections:
    """Everybody who is connected to the socket at *path*, one request of each at a time."""

    def __init__(
        self,
        loop: Loop,
        path: str,
        services: Services,
        known: Callable[[Client], bool],
        request: Callable[[Client, dict[str, Any]], None],
        announce: Callable[[Client], None],
        passing: bool = False,
    ) -> None:
        """Listen. Raises OSError.

        services: tells which one a client belongs to; known: whether a client may call anything; request: called with
        each message; announce: called when one has begun to come; passing: whether there is an operation for which descriptors may come with one.
        """
        self._loop = loop
        self.services = services
        self._known = known
        self._request = request
        self._announce = announce
        self._listener = server.Listener(path, 0o666, longest=REQUEST, passing=passing)
        self._clients: dict[int, Client] = {}
        self._counts: dict[int, int] = {}
        self._alarm: Timer | None = None
        self._listening = False
        self._stopping = False
        self._resume()

    def stop(self) -> None:
        """Accept nobody any more."""
        self._stopping = True
        self._pause()

    def flush(self) -> None:
        """Send what can be sent at once; nothing is sent later."""
        for client in tuple(self._clients.values()):
            client.peer.writable()

    def wake_at(self, when: float) -> None:
        """Look for clients whose patience is over at *when*: one timer for all, since nearly all are answered before."""
        if self._alarm is None or self._alarm.when > when:
            if self._alarm is not None:
                self._alarm.cancel()
            self._alarm = self._loop.later(max(when - time.monotonic(), 0), self._look)

    def _look(self) -> None:
        self._alarm = None
        now = time.monotonic()
        for client in tuple(self._clients.values()):
            if client.deadline is not None and client.deadline[0] <= now:
                client.late()
        left = [client.deadline[0] for client in self._clients.values() if client.deadline is not None]
        if left:
            self.wake_at(min(left))

    def serve_soon(self, client: Client) -> None:
        """Read what a client asks next: not from here, since that may end at once, and in the middle of something."""
        self._loop.soon(lambda: self._serve(client))

    def _accept(self, _events: int) -> None:
        peer = self._listener.accept()
        if peer is None:
            # Who it would have been nobody knows: there is no descriptor free for him.
            if self._listener.exhausted and not self._make_room(-1):
                self._pause()
                self._loop.later(REST, self._resume)
            return
        client = Client(peer, self)
        count = self._counts.get(peer.uid, 0)
        full = len(self._clients) >= CONNECTIONS + (0 if peer.uid else FOR_ROOT)
        if count >= (OF_ONE if self._known(client) else OF_STRANGERS) or (full and not self._make_room(peer.uid)):
            peer.close()
            return
        self._counts[peer.uid] = count + 1
        self._clients[peer.fileno()] = client
        self._loop.watch(peer.fileno(), lambda events: self._ready(client, events))

    def _make_room(self, uid: int) -> bool:
        """Close a connection of the user who has the most, if that is not *uid*; False if there is none to be closed."""
        most = max(self._counts, key=self._counts.__getitem__, default=uid)
        if most == uid or self._counts[most] <= self._counts.get(uid, 0) + 1:
            return False
        for client in self._clients.values():
            # They are in the order in which they came.
            if client.peer.uid == most and not client.waits and not client.closing:
                self._close(client)
                return True
        return False

    def _pause(self) -> None:
        """Accept nobody for now."""
        if self._listening:
            self._listening = False
            self._loop.forget(self._listener.fileno())

    def _resume(self) -> None:
        if not self._listening and not self._stopping:
            self._listening = True
            self._loop.watch(self._listener.fileno(), self._accept)

    def _ready(self, client: Client, events: int) -> None:
        peer = client.peer
        if events & WRITE:
            peer.writable()
            if client.drained is not None and not peer.wants_write:
                client.drained()
        if events & ~WRITE:
            self._announce(client)
            peer.readable()
            if not peer.unfinished:
                if client.timer is not None:
                    client.timer.cancel()
                    client.timer = None
            elif client.timer is None:
                client.timer = self._loop.later(PATIENCE, lambda: self._close(client))
        self._serve(client)

    def _serve(self, client: Client) -> None:
        """Answer what was asked, one after the other; nothing further before the last answer was read."""
        peer = client.peer
        if peer.fileno() not in self._clients:
            return
        while peer.requests and not client.waits and not peer.dead and not peer.wants_write:
            request = peer.requests.pop(0)
            client.passed = 0 if peer.requests else peer.held
            self._request(client, request)
        # One to which descriptors came can't be read behind them, and ends with that answer.
        over = peer.held and not (peer.requests or client.waits or peer.wants_write)
        if peer.dead or over:
            self._close(client)
        else:
            events = (0 if peer.held else READ) | (WRITE if peer.wants_write else 0)
            if events != client.events:
                client.events = events
                self._loop.change(peer.fileno(), events)

    def _close(self, client: Client) -> None:
        peer = client.peer
        if peer.fileno() not in self._clients:
            return
        del self._clients[peer.fileno()]
        self._counts[peer.uid] -= 1
        if not self._counts[peer.uid]:
            del self._counts[peer.uid]
        self._loop.forget(peer.fileno())
        if client.timer is not None:
            client.timer.cancel()
        peer.close()
        client.left()
        self._resume()
