# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A blocking Varlink client on a unix socket. PRIVATE to the collection."""

from __future__ import annotations

import errno
import os
import socket
import time

from .codec import BadMessage, decode, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

#: Longest message with descriptors, in bytes: what the kernel sends in one piece.
PIECE = 32768


class VarlinkError(Exception):
    """The service answered with an error. `name` is the qualified error, `parameters` what came with it."""

    def __init__(self, name: str, parameters: dict[str, Any]) -> None:
        super().__init__(name, parameters)
        self.name = name
        self.parameters = parameters

    def __str__(self) -> str:
        detail = ", ".join(f"{key}={value}" for key, value in self.parameters.items())
        return f"{self.name}({detail})"


class ConnectionLost(Exception):
    """No connection, no answer in time, or one that is no Varlink: whether the call was made is unknown.

    Where `sent` is false it was not: the other end never had the whole message.
    """

    sent = True


class NoAnswer(ConnectionLost):
    """No answer in time; as far as anybody can tell, the other end is still there."""


class Connection:
    """One connection; calls are made one after the other. Not for several threads at once.

    *path* may be longer than the 108 bytes that the kernel allows for a socket's name: the connection goes through
    its folder's descriptor. *timeout* bounds the connect and, unless a call says otherwise, each answer, in seconds.
    Raises ConnectionLost.
    """

    def __init__(self, path: str, timeout: float = 10.0) -> None:
        self.path = path
        self.timeout = timeout
        self._buffer = bytearray()
        self._waits = timeout
        #: The descriptor that came with the last answer, if one was asked for.
        self._wanted = False
        self._passed = -1
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._socket.settimeout(timeout)
        try:
            folder = os.open(os.path.dirname(path) or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                self._connect(f"/proc/self/fd/{folder}/{os.path.basename(path)}")
            finally:
                os.close(folder)
        except OSError as error:
            self._socket.close()
            raise ConnectionLost(f"{path}: {error.strerror or error}") from None

    def _connect(self, address: str) -> None:
        """Connect; a server whose queue is full for the moment is tried again until the time is over."""
        deadline = time.monotonic() + self.timeout
        while True:
            try:
                self._socket.connect(address)
                return
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(0.01)

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_details: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection; a call under way at the other end is the other end's to finish."""
        self._socket.close()

    def fileno(self) -> int:
        """Give the descriptor, for a caller that waits for several things."""
        return self._socket.fileno()

    def peer(self) -> tuple[int, int, int]:
        """Give pid, uid and gid of the server as the kernel recorded them when it began to listen."""
        raw = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        pid, uid, gid = (int.from_bytes(raw[at : at + 4], "little", signed=True) for at in (0, 4, 8))
        return pid, uid, gid

    def call(
        self,
        method: str,
        parameters: dict[str, Any] | None = None,
        timeout: float | None = None,
        descriptors: Sequence[int] = (),
    ) -> dict[str, Any]:
        """Make one call and give the reply's parameters. Raises VarlinkError, ConnectionLost.

        descriptors: what goes with it, and stays open here; the parameters name them by their place. A service may end the
        connection after such a call. Raises BadMessage for one that is longer than PIECE.
        """
        self._send({"method": method, "parameters": parameters or {}}, timeout, descriptors)
        return self._reply(timeout)[0]

    def open(
        self,
        method: str,
        parameters: dict[str, Any] | None = None,
        timeout: float | None = None,
        descriptors: Sequence[int] = (),
    ) -> tuple[dict[str, Any], int]:
        """Make a call that is answered with a descriptor; gives that too, which is the caller's to close, -1 for none."""
        self._wanted = True
        try:
            reply = self.call(method, parameters, timeout, descriptors)
            passed, self._passed = self._passed, -1
        finally:
            self._wanted = False
            if self._passed >= 0:
                os.close(self._passed)
                self._passed = -1
        return reply, passed

    def stream(
        self, method: str, parameters: dict[str, Any] | None = None, timeout: float | None = None
    ) -> Iterator[dict[str, Any]]:
        """Make one call that asks for more than one reply and give them as they come; *timeout* bounds each."""
        self._send({"method": method, "parameters": parameters or {}, "more": True})
        more = True
        while more:
            reply, more = self._reply(timeout)
            yield reply

    def _patience(self, seconds: float) -> None:
        """Have the socket wait so long. To say so costs a system call, and calls mostly say the same."""
        if seconds != self._waits:
            self._socket.settimeout(seconds)
            self._waits = seconds

    def _send(self, message: dict[str, Any], timeout: float | None = None, descriptors: Sequence[int] = ()) -> None:
        data = encode(message)
        if descriptors and len(data) > PIECE:
            raise BadMessage(f"a message with descriptors is at most {PIECE} bytes long")
        try:
            self._patience(self.timeout if timeout is None else timeout)
            if descriptors:
                data = data[socket.send_fds(self._socket, [data], list(descriptors)) :]
            self._socket.sendall(data)
        except OSError as error:
            if descriptors and error.errno == errno.EPERM:
                # From Linux 6.16 on a socket can be closed to them.
                raise VarlinkError("org.varlink.service.InvalidParameter", {"parameter": "descriptors"}) from None
            lost = ConnectionLost(f"{self.path}: {error.strerror or error}")
            lost.sent = False
            raise lost from None

    def _receive(self) -> bytes:
        """Read on, and take the descriptor that comes with that; more than one the kernel does not hand out."""
        flags = socket.MSG_CMSG_CLOEXEC
        data, ancillary, _flags, _address = self._socket.recvmsg(65536, socket.CMSG_LEN(4), flags)
        for level, kind, raw in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS and len(raw) >= 4:
                if self._passed >= 0:
                    os.close(self._passed)
                self._passed = int.from_bytes(raw[:4], "little")
        return data

    def _reply(self, timeout: float | None) -> tuple[dict[str, Any], bool]:
        patience = self.timeout if timeout is None else timeout
        deadline = time.monotonic() + patience
        end = self._buffer.find(b"\0")
        while end < 0:
            scanned = len(self._buffer)
            try:
                self._patience(patience)
                data = self._receive() if self._wanted else self._socket.recv(65536)
            except socket.timeout:
                raise NoAnswer(f"{self.path}: no answer in time") from None
            except OSError as error:
                raise ConnectionLost(f"{self.path}: {error.strerror or error}") from None
            if not data:
                raise ConnectionLost(f"{self.path}: the other end closed the connection")
            self._buffer += data
            end = self._buffer.find(b"\0", scanned)
            if end < 0:
                patience = max(deadline - time.monotonic(), 0.001)
        frame = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        try:
            message = decode(frame)
        except BadMessage as error:
            raise ConnectionLost(f"{self.path}: {error}") from None
        parameters = message.get("parameters") or {}
        if "error" in message:
            raise VarlinkError(str(message["error"]), parameters)
        return parameters, bool(message.get("continues"))
