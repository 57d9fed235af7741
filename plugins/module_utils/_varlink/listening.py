# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The socket that a server of Varlink listens on, see server.py. PRIVATE to the collection."""

from __future__ import annotations

import errno
import os

from . import sockets

#: include/uapi/asm-generic/socket.h
_SO_PASSRIGHTS = 83


class Listener:
    """The listening socket at *path*, made with *mode*; a socket that a dead server left there is replaced.

    passing: whether descriptors may come with a request. The caller holds the lock that makes him the only server of *path*.
    Raises OSError.
    """

    def __init__(self, path: str, mode: int = 0o600, backlog: int = 4096, passing: bool = False) -> None:
        self.path = path
        #: Whether `connection` gave none because there was no room for him.
        self.exhausted = False
        self._socket = sockets.Socket(
            sockets.AF_UNIX, sockets.SOCK_STREAM | sockets.SOCK_NONBLOCK | sockets.SOCK_CLOEXEC
        )
        if not passing:
            try:
                # From Linux 6.16 on nobody can even send one; connections have it from their listener.
                self._socket.setsockopt(sockets.SOL_SOCKET, _SO_PASSRIGHTS, 0)
            except OSError:
                pass  # The kernel drops what nobody asks for.
        folder = os.open(os.path.dirname(path) or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # Bound beside and renamed in, so that the name never leads to a socket with other permissions.
            name = os.path.basename(path)
            beside = f"/proc/self/fd/{folder}/.{name}.new"
            try:
                os.unlink(beside)
            except FileNotFoundError:
                pass
            self._socket.bind(beside)
            os.chmod(beside, mode)
            self._socket.listen(backlog)
            os.rename(beside, f"/proc/self/fd/{folder}/{name}")
        finally:
            os.close(folder)

    def fileno(self) -> int:
        """Give the descriptor that the loop waits for."""
        return self._socket.fileno()

    def connection(self) -> sockets.Socket | None:
        """Give the next one, not blocking, or None when nobody is waiting any more, or no descriptor is free: see `exhausted`."""
        try:
            connection = sockets.accept(self._socket)
        except OSError as error:
            self.exhausted = error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
            return None
        connection.setblocking(False)
        return connection

    def close(self) -> None:
        """Stop listening; the name stays, since a successor may have it already."""
        self._socket.close()
