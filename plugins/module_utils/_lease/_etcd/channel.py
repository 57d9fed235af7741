# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Calls of gRPC over one connection of HTTP/2. PRIVATE to the collection.

https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md: a message is preceded by whether it is compressed and by
its length; how a call went is in the trailers. After any error the channel is to be closed: no answer that comes too late
is taken for another one.
"""

from __future__ import annotations

from . import hpack, http, http2
from .client import EtcdError
from .frames import Violation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..._varlink.sockets import Socket

_UNIMPLEMENTED = 12


class Channel:
    """One connection to a server of gRPC. used: whether an exchange has gone well on it. number: for its owner."""

    def __init__(self, connected: Socket, scheme: str, name: str, number: int) -> None:
        """Use a socket of http.connect. scheme: http or https. name: the peer's, with its port."""
        self.number = number
        self.used = False
        self._connection = http2.Connection(connected)
        self._scheme = scheme
        self._name = name
        self._kept: http2.Stream | None = None
        # The head of the last call, and what it is made of: it is mostly the same.
        self._made: tuple[str, str] = ("", "")
        self._head = b""

    def begin(self, deadline: float) -> None:
        """Greet the peer. Raises OSError; Violation if it does not speak HTTP/2."""
        self._connection.begin(deadline)

    def close(self) -> None:
        """Close it; may be repeated."""
        self._connection.close()

    def look(self) -> None:
        """Read what has come since the last call. Raises OSError if it can't be used any more."""
        self._connection.idle()
        if self._kept is not None and (self._kept.data or self._kept.ended):
            raise http.Broken("the peer has said something that nobody has asked for")

    def ask(self, path: str, token: str, request: bytes, deadline: float) -> bytes:
        """Make a call with one answer, and give that. Raises EtcdError, OSError."""
        connection = self._connection
        stream = connection.request(self._head_of(path, token), _framed(request), True, deadline)
        answer = self._message(stream, deadline)
        if answer is not None and self._message(stream, deadline) is not None:
            raise Violation("two answers")
        _judge(stream)
        if answer is None:
            raise Violation("no answer")
        connection.forget(stream)
        self.used = True
        return answer

    def tell(self, path: str, token: str, request: bytes, deadline: float) -> bytes:
        """Say one thing more in the conversation that is kept, and give the answer to it. Raises EtcdError, OSError.

        There is one conversation: path and token count when it is begun.
        """
        if self._kept is None:
            self._kept = self._connection.request(self._head_of(path, token), _framed(request), False, deadline)
        else:
            self._connection.send(self._kept, _framed(request), False, deadline)
        answer = self._message(self._kept, deadline)
        if answer is None:
            _judge(self._kept)
            raise http.Broken("the conversation has ended")
        return answer

    def _head_of(self, path: str, token: str) -> bytes:
        if self._made != (path, token):
            fields = [(":method", "POST"), (":scheme", self._scheme), (":path", path), (":authority", self._name)]
            fields += [("te", "trailers"), ("content-type", "application/grpc")]
            if token:
                fields.append(("token", token))
            self._head = hpack.encode(fields, secret="token")
            self._made = (path, token)
        return self._head

    def _message(self, stream: http2.Stream, deadline: float) -> bytes | None:
        """Wait for the next message and take it; None: there is none any more. Raises OSError."""
        data = stream.data
        while True:
            if stream.head is not None and not (
                stream.head.get(":status") == "200"
                and stream.head.get("content-type", "").startswith("application/grpc")
            ):
                raise Violation(f"no answer of gRPC (HTTP status {stream.head.get(':status', '')[:10]})")
            if len(data) >= 5:
                size = int.from_bytes(data[1:5], "big")
                if data[0] or size > http.LIMIT:
                    raise Violation(f"a message that is compressed, or has {size} bytes")
                if len(data) >= 5 + size:
                    message = bytes(data[5 : 5 + size])
                    del data[: 5 + size]
                    return message
            if stream.ended:
                if data:
                    raise Violation("a message that is cut off")
                return None
            self._connection.receive(deadline)


def _framed(message: bytes) -> bytes:
    return b"\0" + len(message).to_bytes(4, "big") + message


def _judge(stream: http2.Stream) -> None:
    """Raise what the trailers say: EtcdError, or Violation if it is something that no etcd says."""
    status = (stream.trailers or {}).get("grpc-status", "")
    if not (status.isascii() and status.isdigit()) or len(status) > 4 or int(status) == _UNIMPLEMENTED:
        raise Violation(f"a call that ends with status {status[:10]!r}")
    if int(status):
        # It is for people, and only what is no ASCII in it is coded.
        raise EtcdError(int(status), (stream.trailers or {}).get("grpc-message", "")[:500])
