# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The process that has the last copy of the connections to the daemon. PRIVATE to the collection.

sanlock gives a resource back when the last copy of the connection is closed. When a process is killed, the kernel closes
its descriptors *before* it ends the other processes of its pid namespace; if only guard and init had copies, another host
could be granted the lease while something of the service still runs, for a moment, or for long if it hangs in the kernel.
So there is one more process, outside of the namespace, which waits for init's end. The kernel reports that only after
everything in the namespace has been collected. It does nothing else, and its own death changes nothing while the guard lives.
"""

from __future__ import annotations

import os
import select

from ..._varlink import sockets
from ..children import forked, keep_only, stand_aside

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .wire import Connection

_TREE, _CONNECTION = b"t", b"c"
#: What `ps` shows: 15 bytes at most.
_TITLE = b"holdfast-keeper"


class Keeper:
    """The guard's end of it."""

    def __init__(self) -> None:
        """Start the process. Raises OSError."""
        self._socket, theirs = sockets.pair()
        try:
            forked(lambda: _keep(theirs.fileno()))
        finally:
            theirs.close()

    def add(self, connection: Connection) -> None:
        """Give it a copy of a connection. Raises OSError."""
        self._give(_CONNECTION, connection.fileno())

    def tie(self, pid: int) -> None:
        """Tell it whose end it has to wait for: a child of ours. Raises OSError."""
        tree = os.pidfd_open(pid)
        try:
            self._give(_TREE, tree)
        finally:
            os.close(tree)

    def _give(self, what: bytes, descriptor: int) -> None:
        sockets.send(self._socket, what, [descriptor], sockets.MSG_DONTWAIT | sockets.MSG_NOSIGNAL)

    def close(self) -> None:
        """Let it end, as soon as the tree is gone."""
        self._socket.close()


def _keep(pair: int) -> None:
    """Be the keeper."""
    stand_aside(_TITLE)
    pair = keep_only(pair)
    guard = sockets.Socket(fileno=pair)
    guard.setblocking(False)
    poll = select.poll()
    poll.register(pair, select.POLLIN)
    tree = -1
    while True:
        ready = dict(poll.poll())
        if tree in ready:
            return
        while True:
            try:
                what, descriptors, _more = sockets.receive(guard, 1, 1)
            except BlockingIOError:
                break
            if not what:
                # The guard is dead or has given everything back; without a tree there is nothing to wait for.
                if tree < 0:
                    return
                poll.unregister(pair)
                break
            if what == _TREE and descriptors:
                tree = descriptors[0]
                poll.register(tree, select.POLLIN)
