# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""HTTP/1.1 to one address, over a bare socket, with a deadline for everything. PRIVATE to the collection.

Python's own client costs a guard four megabytes and twice the time. What etcd's gateway sends is little: a status, a
body of known length or in chunks (RFC 9112), and trailers that nobody needs.
"""

from __future__ import annotations

import time

from ..._varlink import sockets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..._lean import tls

#: Bytes of one answer, or of one message of a watch, beyond which it is no answer of etcd.
LIMIT = 16 * 1024 * 1024
_HEAD = 65536
#: Seconds: an idle peer is asked whether it still is there, how often, and so many times.
_ALIVE = ((sockets.TCP_KEEPIDLE, 10), (sockets.TCP_KEEPINTVL, 5), (sockets.TCP_KEEPCNT, 3))


_NOTHING_THERE = ("SSLWantReadError", "SSLWantWriteError")
#: What a socket raises at its deadline; a TimeoutError from Python 3.10 on.
Timeout = sockets.timeout


class Broken(OSError):
    """The connection is of no use any more: it has ended, or what came is no HTTP."""


def now() -> float:
    """Give the time that deadlines count in, in seconds."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def resolve(host: str, port: int) -> list[tuple[int, tuple[str, int]]]:
    """Give the addresses of *host*. Raises OSError. How long that takes is the resolver's business, not the deadline's."""
    # As bytes, since for a text Python loads a quarter of a megabyte for names that are no ASCII; ours are.
    found = sockets.getaddrinfo(host.encode(), port, type=sockets.SOCK_STREAM)
    return [(int(family), address) for family, _type, _protocol, _name, address in found]  # type: ignore[misc]


def connect(
    family: int, address: tuple[str, int], host: str, context: tls.Context | None, deadline: float
) -> sockets.Socket:
    """Give a socket that is connected, and has shaken hands with *context* if there is one. Raises OSError."""
    kind = sockets.SOCK_STREAM | sockets.SOCK_CLOEXEC
    secured = None if context is None else context.socket(family, kind)
    made = sockets.Socket(family, kind) if secured is None else secured
    try:
        patience(made, deadline)
        made.connect(address)
        made.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY, 1)
        made.setsockopt(sockets.SOL_SOCKET, sockets.SO_KEEPALIVE, 1)
        for option, value in _ALIVE:
            made.setsockopt(sockets.IPPROTO_TCP, option, value)
        if secured is not None:
            patience(made, deadline)
            secured.begin(host)
    except BaseException:
        made.close()
        raise
    return made


def patience(one: sockets.Socket, deadline: float) -> None:
    """Let the next call on *one* end at the deadline. Raises Timeout if that is over."""
    left = deadline - now()
    if left <= 0:
        raise Timeout("no answer in time")
    one.settimeout(left)


def here(one: sockets.Socket) -> bytes | None:
    """Give what has come already, without waiting; None: nothing. Raises Broken if there will be no more."""
    one.settimeout(0.0)
    try:
        data = one.recv(65536)
    except OSError as error:
        # TLS has errors of its own for that, and is imported only where it is used.
        if isinstance(error, BlockingIOError) or type(error).__name__ in _NOTHING_THERE:
            return None
        raise Broken(str(error)) from None
    if not data:
        raise Broken("it was closed")
    return data


class Connection:
    """One connection. used: whether an exchange has gone well on it."""

    def __init__(self, connected: sockets.Socket, name: str) -> None:
        """Use a socket of `connect`. name: the peer's, with its port."""
        self.used = False
        self._socket = connected
        self._host = name
        self._data = b""
        self._line = b""

    def fileno(self) -> int:
        """Give the socket's descriptor."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close it; may be repeated."""
        self._socket.close()

    def post(self, path: str, body: bytes, token: str, deadline: float) -> tuple[int, bytes]:
        """Send *body* to *path* and give status and body of the answer. Raises OSError, after which it is to be closed."""
        self.send(path, body, token, deadline)
        status, length = self._head(deadline)
        if length is not None:
            while len(self._data) < length:
                self._receive(deadline)
            answer, self._data = self._data[:length], self._data[length:]
        else:
            answer = b"".join(self._chunks(deadline))
        self.used = True
        return status, answer

    def send(self, path: str, body: bytes, token: str, deadline: float) -> None:
        """Send a request. Raises OSError."""
        lines = [f"POST {path} HTTP/1.1", f"Host: {self._host}", f"Content-Length: {len(body)}"]
        if token:
            lines.append(f"Authorization: {token}")
        patience(self._socket, deadline)
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode("ascii") + body)

    def begin(self, deadline: float) -> int:
        """Read the head of an answer whose body goes on for ever, and give the status. Raises OSError."""
        status, length = self._head(deadline)
        if length is not None:
            raise Broken("the answer ends, and should not")
        return status

    def messages(self, deadline: float) -> Iterator[bytes]:
        """Give the lines of such a body as they come. Raises OSError; Timeout at the deadline."""
        for piece in self._chunks(deadline):
            yield from self._lines(piece)

    def waiting(self) -> list[bytes]:
        """Give the lines that are here already, without waiting. Raises Broken if there will be no more."""
        found: list[bytes] = []
        while True:
            while True:
                size = self._chunk()
                if size is None:
                    break
                if not size:
                    raise Broken("it has ended")
                found.extend(self._lines(self._take(size)))
            data = here(self._socket)
            if data is None:
                return found
            self._data += data

    def _lines(self, piece: bytes) -> list[bytes]:
        """Give the lines that *piece* completes: a long message comes in several chunks."""
        *lines, self._line = (self._line + piece).split(b"\n")
        if len(self._line) > LIMIT:
            raise Broken("a message without end")
        return [line for line in lines if line.strip()]

    # -- reading

    def _receive(self, deadline: float) -> None:
        patience(self._socket, deadline)
        data = self._socket.recv(65536)
        if not data:
            raise Broken("closed by the peer")
        self._data += data
        if len(self._data) > LIMIT:
            raise Broken("an answer without end")

    def _head(self, deadline: float) -> tuple[int, int | None]:
        """Read status line and fields: the status, and the length unless the body comes in chunks."""
        while b"\r\n\r\n" not in self._data:
            if len(self._data) > _HEAD:
                raise Broken("no HTTP")
            self._receive(deadline)
        head, self._data = self._data.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        words = lines[0].split()
        if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdigit():
            raise Broken(f"no HTTP: {lines[0][:40]!r}")
        fields = {
            name.strip().lower(): value.strip() for name, _colon, value in (line.partition(":") for line in lines[1:])
        }
        if fields.get("transfer-encoding", "").lower() == "chunked":
            return int(words[1]), None
        length = fields.get("content-length", "")
        if not length.isdigit() or int(length) > LIMIT:
            raise Broken(f"an answer of length {length[:20]!r}")
        return int(words[1]), int(length)

    def _chunk(self) -> int | None:
        """Give the size of the chunk at the front if it is here as a whole, None if not. Raises Broken."""
        end = self._data.find(b"\r\n")
        if end < 0:
            if len(self._data) > 20:
                raise Broken("no chunk")
            return None
        try:
            size = int(self._data[:end].split(b";")[0], 16)
        except ValueError:
            raise Broken("no chunk") from None
        if not 0 <= size <= LIMIT:
            raise Broken("no chunk")
        return size if not size or len(self._data) >= end + 2 + size + 2 else None

    def _take(self, size: int) -> bytes:
        """Take the chunk at the front, which is here."""
        start = self._data.index(b"\r\n") + 2
        piece, self._data = self._data[start : start + size], self._data[start + size + 2 :]
        return piece

    def _chunks(self, deadline: float) -> Iterator[bytes]:
        while True:
            size = self._chunk()
            while size is None:
                self._receive(deadline)
                size = self._chunk()
            if not size:
                break
            yield self._take(size)
        # The last chunk is followed by trailers and an empty line.
        self._data = self._data[self._data.index(b"\r\n") + 2 :]
        while True:
            line, found, rest = self._data.partition(b"\r\n")
            if not found:
                self._receive(deadline)
                continue
            self._data = rest
            if not line:
                return
