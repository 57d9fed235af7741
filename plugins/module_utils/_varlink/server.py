# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The server's half of Varlink for a program with one event loop: nothing here blocks. PRIVATE to the collection.

The loop owns the descriptors: it calls `Listener.accept` and `Peer.readable`/`Peer.writable` when they are ready and
asks `Peer.wants_write` afterwards. A peer that sends what is no Varlink, or more than REQUEST_LIMIT in one message, or
that does not read its replies, is dropped.

Descriptors that come with a message (SCM_RIGHTS, unix(7)) are never taken in: even to close one can take for ever, when
it is of a file system whose server answers when it likes. They stay in the socket, where the kernel keeps them at their
sender's expense, for a process that can afford to wait for them: see `Peer.held`.
"""

from __future__ import annotations

from . import listening, sockets
from .codec import REQUEST_LIMIT, BadMessage, decode, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

#: Replies that a peer may leave unread, in bytes, before it is dropped. One large reply always fits.
UNREAD_LIMIT = 64 * 1024 * 1024
#: Requests that one peer may have waiting for a reply.
PIPELINE_LIMIT = 64

#: include/uapi/asm-generic/socket.h
_SO_PEERGROUPS, _SO_PEERPIDFD = 59, 77

#: What all our services say of themselves.
VENDOR = {"vendor": "holdfast", "url": "https://example.org/holdfast/supervision"}

#: The interface that every service has.
SERVICE = "org.varlink.service"
INVALID_PARAMETER = f"{SERVICE}.InvalidParameter"
METHOD_NOT_FOUND = f"{SERVICE}.MethodNotFound"
EXPECTED_MORE = f"{SERVICE}.ExpectedMore"
INTERFACE_NOT_FOUND = f"{SERVICE}.InterfaceNotFound"


class Refused(Exception):
    """The call can't be carried out; `error` and `parameters` are the answer."""

    def __init__(self, error: str, /, **parameters: object) -> None:
        super().__init__(error)
        self.error = error
        self.parameters = parameters


class Listener(listening.Listener):
    """One whose connections are peers. longest: the longest request that is read, in bytes. The rest as there."""

    def __init__(
        self,
        path: str,
        mode: int = 0o600,
        backlog: int = 4096,
        longest: int = REQUEST_LIMIT,
        passing: bool = False,
    ) -> None:
        super().__init__(path, mode, backlog, passing)
        self._longest = longest
        self._passing = passing

    def accept(self) -> Peer | None:
        """Give the next peer, or None when nobody is waiting any more, or no descriptor is free: see `exhausted`."""
        connection = self.connection()
        return Peer(connection, self._longest, self._passing) if connection else None


class Peer:
    """One connected client. `requests` holds what it asked and nobody has taken yet; `dead` says that it is to be closed."""

    __slots__ = (
        "_in",
        "_longest",
        "_out",
        "_passing",
        "_socket",
        "dead",
        "gid",
        "held",
        "pid",
        "requests",
        "service",
        "uid",
    )

    def __init__(self, connection: sockets.Socket, longest: int = REQUEST_LIMIT, passing: bool = False) -> None:
        self._socket = connection
        self._longest = longest
        self._passing = passing
        #: Bytes of the last of `requests` that are still in the socket, because descriptors came with them. Nothing is read
        #: after it: whoever takes the descriptors reads that message, and the connection is of no further use.
        self.held = 0
        self._in = bytearray()
        self._out = bytearray()
        self.requests: list[dict[str, Any]] = []
        self.dead = False
        #: The service that it was found to belong to, for the records of whoever asked that.
        self.service = ""
        raw = connection.getsockopt(sockets.SOL_SOCKET, sockets.SO_PEERCRED, 12)
        self.pid, self.uid, self.gid = (int.from_bytes(raw[at : at + 4], "little", signed=True) for at in (0, 4, 8))

    def fileno(self) -> int:
        """Give the descriptor that the loop waits for."""
        return self._socket.fileno()

    @property
    def unfinished(self) -> bool:
        """Say whether the beginning of a request has come and its end has not."""
        return bool(self._in)

    def groups(self) -> set[int]:
        """Give the groups of the peer as the kernel recorded them when it connected.

        Of one with more than 256 groups, and where the kernel can't say, it is the first alone.
        """
        try:
            raw = self._socket.getsockopt(sockets.SOL_SOCKET, _SO_PEERGROUPS, 1024)
        except OSError:
            raw = b""
        return {self.gid, *(int.from_bytes(raw[at : at + 4], "little") for at in range(0, len(raw), 4))}

    def pidfd(self) -> int:
        """Give a pidfd of the process that connected, however often its number was used again.

        Raises OSError where the kernel can't say (before Linux 6.5), and for one that is gone.
        """
        return peer_pidfd(self._socket)

    @property
    def wants_write(self) -> bool:
        """Say whether replies wait to be sent."""
        return bool(self._out)

    def readable(self) -> None:
        """Take in what has come; complete messages go to `requests`."""
        if self.held:
            # There is nothing to be read but that the other end has gone.
            self.dead = True
            return
        try:
            data = self._look() if self._passing else self._socket.recv(65536)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.dead = True
            return
        if not data:
            self.dead = True
            return
        buffer = self._in
        start = len(buffer)
        buffer += data
        while True:
            end = buffer.find(b"\0", start)
            if end < 0:
                break
            frame = bytes(buffer[:end])
            del buffer[: end + 1]
            start = 0
            try:
                self.requests.append(decode(frame))
            except BadMessage:
                self.dead = True
                return
        if len(buffer) > self._longest or len(self.requests) > PIPELINE_LIMIT:
            self.dead = True

    def _look(self) -> bytes:
        """Read what came without descriptors; a message with some is looked at, and left where it is. Raises OSError.

        One look ends with the first piece that has descriptors. Such a message is to be sent in one piece, and alone: if it
        is not, its sender loses them or his connection.
        """
        data, _nothing, flags, _address = self._socket.recvmsg(65536, 0, sockets.MSG_PEEK)
        # Without room for them the kernel says no more than that there are some.
        if not flags & sockets.MSG_CTRUNC:
            return self._socket.recv(len(data)) if data else data
        earlier = data.rfind(b"\0", 0, -1) + 1
        if earlier:
            return self._socket.recv(earlier)
        if self._in or not data.endswith(b"\0"):
            raise ConnectionError("a message with descriptors in several pieces")
        self.held = len(data)
        return data

    def reply(self, parameters: dict[str, Any], continues: bool = False, passed: int = -1) -> None:
        """Answer the request that was taken first and not answered yet. passed: a descriptor that is to come with it."""
        message: dict[str, Any] = {"parameters": parameters}
        if continues:
            message["continues"] = True
        self._queue(message, passed)

    def error(self, name: str, /, **parameters: object) -> None:
        """Answer with the error *name*."""
        self._queue({"error": name, "parameters": parameters})

    def writable(self) -> None:
        """Send what the socket takes."""
        while self._out:
            try:
                sent = self._socket.send(self._out[:262144])
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                self.dead = True
                return
            del self._out[:sent]

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    def answer(self, error: str, parameters: dict[str, Any]) -> None:
        """Answer with the error, or without one with the parameters of a reply."""
        if error:
            self.error(error, **parameters)
        else:
            self.reply(parameters)

    def _queue(self, message: dict[str, Any], passed: int = -1) -> None:
        if self.dead:
            return
        if passed >= 0:
            self._pass(encode(message), passed)
            return
        waiting = len(self._out)
        self._out += encode(message)
        if waiting > UNREAD_LIMIT:
            self.dead = True
        elif not waiting:
            self.writable()

    def _pass(self, data: bytes, descriptor: int) -> None:
        """Send an answer with a descriptor: at once, since nobody keeps that for a peer that does not read."""
        rights = (sockets.SOL_SOCKET, sockets.SCM_RIGHTS, descriptor.to_bytes(4, "little"))
        try:
            if self._out:
                raise BlockingIOError
            self._out += data[self._socket.sendmsg([data], [rights]) :]
        except OSError:
            self.dead = True


def peer_pidfd(connection: sockets.Socket) -> int:
    """Give a pidfd of the process at the other end. Raises OSError."""
    return connection.getsockopt(sockets.SOL_SOCKET, _SO_PEERPIDFD)


def service_reply(
    request: dict[str, Any], information: dict[str, str], descriptions: dict[str, str]
) -> tuple[str, dict[str, Any]] | None:
    """Answer the methods that every Varlink service has, for `Peer.answer`; None for a method of another interface.

    *information* has vendor, product, version and url; *descriptions* the interface texts by name.
    """
    method = request.get("method")
    if not isinstance(method, str) or not method.startswith(f"{SERVICE}."):
        return None
    if method == f"{SERVICE}.GetInfo":
        return "", dict(information, interfaces=[SERVICE, *sorted(descriptions)])
    if method == f"{SERVICE}.GetInterfaceDescription":
        parameters = request.get("parameters")
        name = parameters.get("interface") if isinstance(parameters, dict) else None
        texts = {**descriptions, SERVICE: SERVICE_DESCRIPTION}
        if isinstance(name, str) and name in texts:
            return "", {"description": texts[name]}
        return INTERFACE_NOT_FOUND, {"interface": str(name)[:256]}
    return METHOD_NOT_FOUND, {"method": method[:256]}


def called(request: dict[str, Any], interfaces: Iterable[str]) -> tuple[str, str, dict[str, Any]]:
    """Give interface, name and parameters of the method that is called. Raises Refused unless it is of *interfaces*."""
    method, parameters = request.get("method"), request.get("parameters", {})
    interface, _dot, name = method.rpartition(".") if isinstance(method, str) else ("", "", "")
    if interface not in interfaces:
        raise Refused(INTERFACE_NOT_FOUND, interface=interface[:256])
    if not isinstance(parameters, dict):
        raise Refused(INVALID_PARAMETER, parameter="parameters")
    return interface, name, parameters


SERVICE_DESCRIPTION = """\
# What every Varlink service answers
interface org.varlink.service

method GetInfo() -> (vendor: string, product: string, version: string, url: string, interfaces: []string)
method GetInterfaceDescription(interface: string) -> (description: string)

error InterfaceNotFound (interface: string)
error MethodNotFound (method: string)
error MethodNotImplemented (method: string)
error InvalidParameter (parameter: string)
error PermissionDenied ()
error ExpectedMore ()
"""
