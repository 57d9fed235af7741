# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The other end of a connection of HTTP/2, played by a test: it says what it likes, and sees what is said to it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from ansible_collections.holdfast.supervision.plugins.module_utils._lease._etcd import frames, hpack, http
from ansible_collections.holdfast.supervision.plugins.module_utils._lease._etcd.frames import frame

Value = TypeVar("Value")
Frame = tuple[int, int, int, bytes]

#: How an answer of gRPC begins and ends.
HEAD = hpack.encode([(":status", "200"), ("content-type", "application/grpc")])
WELL = hpack.encode([("grpc-status", "0"), ("grpc-message", "")])
SETTINGS = frames.settings([])


def soon(seconds: float = 20.0) -> float:
    """A deadline that nobody reaches who is answered."""
    return http.now() + seconds


class Peer:
    """The server's end. socket: the client's."""

    def __init__(self) -> None:
        self.socket, self._mine = socket.socketpair()
        self._mine.settimeout(20)
        self._reader = frames.Reader()
        self._heard: list[Frame] = []
        self._greeted = False
        self._pool = ThreadPoolExecutor(1)

    def say(self, *pieces: bytes) -> None:
        self._mine.sendall(b"".join(pieces))

    def hear(self) -> Frame:
        """The next frame that the client has sent; the greeting before the first is left out."""
        data = b""
        while not self._heard:
            more = self._mine.recv(65536)
            assert more, "the client has gone"
            data += more
            if not self._greeted:
                if len(data) < len(frames.PREFACE):
                    continue
                assert data.startswith(frames.PREFACE)
                self._greeted, data = True, data[len(frames.PREFACE) :]
            self._heard += self._reader.frames(data)
            data = b""
        return self._heard.pop(0)

    def hear_until(self, kind: int, flags: int = 0) -> Frame:
        """The next frame of that kind that has those flags; others are passed over."""
        while True:
            found = self.hear()
            if found[0] == kind and found[1] & flags == flags:
                return found

    def hears_nothing_more(self) -> bool:
        """Whether the client has said nothing that was not heard."""
        self._mine.settimeout(0.05)
        try:
            return not self._heard and not self._mine.recv(65536)
        except (socket.timeout, BlockingIOError):
            return True
        finally:
            self._mine.settimeout(20)

    def meanwhile(self, work: Callable[[], Value]) -> Future[Value]:
        """Have the client do something, while the test plays the server."""
        return self._pool.submit(work)

    def hang_up(self) -> None:
        self._mine.close()

    def close(self) -> None:
        self._mine.close()
        self._pool.shutdown()
        self.socket.close()


def answer(stream: int, *messages: bytes, head: bytes = HEAD, end: bytes = WELL) -> bytes:
    """A whole answer of gRPC."""
    body = b"".join(b"\0" + len(message).to_bytes(4, "big") + message for message in messages)
    found = frame(frames.HEADERS, frames.END_HEADERS, stream, head)
    found += frame(frames.DATA, 0, stream, body) if messages else b""
    return found + frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, stream, end)


def part(stream: int, message: bytes) -> bytes:
    """One message within an answer."""
    return frame(frames.DATA, 0, stream, b"\0" + len(message).to_bytes(4, "big") + message)


def began(stream: int) -> bytes:
    """The beginning of an answer."""
    return frame(frames.HEADERS, frames.END_HEADERS, stream, HEAD)
