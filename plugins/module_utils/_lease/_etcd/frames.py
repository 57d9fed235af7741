# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Frames of HTTP/2 (RFC 9113, sections 4 and 6): how they are made, and taken out of what comes. PRIVATE to the collection."""

from __future__ import annotations

from . import http

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
#: Flags. ACK and END_STREAM are the same bit, for different frames.
ACK = END_STREAM = 0x1
END_HEADERS, PADDED, PRIORITISED = 0x4, 0x8, 0x20
#: Settings.
TABLE_SIZE, ENABLE_PUSH, MOST_STREAMS, FIRST_WINDOW, FRAME_SIZE, LIST_SIZE = range(1, 7)

#: What a client says first.
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#: Bytes of a window and of a frame while nobody has said otherwise.
WINDOW, SIZE = 65535, 16384
#: What no window, and no number of a stream, exceeds.
MOST = 2**31 - 1
_LARGEST = 2**24 - 1


class Violation(http.Broken):
    """The peer does not keep to HTTP/2, or to gRPC."""


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Make one. payload: no longer than the peer takes."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def settings(values: Iterable[tuple[int, int]]) -> bytes:
    """Make a frame of settings."""
    return frame(SETTINGS, 0, 0, b"".join(name.to_bytes(2, "big") + value.to_bytes(4, "big") for name, value in values))


def settings_of(payload: bytes) -> Iterator[tuple[int, int]]:
    """Give what a frame of settings says, as far as it means anything. Raises Violation."""
    if len(payload) % 6:
        raise Violation("settings of a wrong length")
    for at in range(0, len(payload), 6):
        name, value = int.from_bytes(payload[at : at + 2], "big"), int.from_bytes(payload[at + 2 : at + 6], "big")
        if (name == FIRST_WINDOW and value > MOST) or (name == FRAME_SIZE and not SIZE <= value <= _LARGEST):
            raise Violation(f"a setting {name} of {value}")
        yield name, value


def unpadded(flags: int, payload: bytes) -> bytes:
    """Give what a frame of data or of a head has beside padding and priority. Raises Violation."""
    start, end = 0, len(payload)
    if flags & PADDED:
        start, end = 1, end - (payload[0] if payload else end + 1)
    if flags & PRIORITISED:
        start += 5
    if start > end:
        raise Violation("more padding than there is room for")
    return payload[start:end]


class Reader:
    """Takes what comes, gives whole frames. They have SIZE bytes at most, as we never ask for more."""

    def __init__(self) -> None:
        self._data = b""

    def frames(self, data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
        """Give what *data* completes: kind, flags, number of the stream, payload. Raises Violation."""
        self._data = data = self._data + data
        at = 0
        while len(data) - at >= 9:
            size = int.from_bytes(data[at : at + 3], "big")
            if size > SIZE:
                raise Violation(f"a frame of {size} bytes")
            end = at + 9 + size
            if end > len(data):
                break
            # The first bit of a number means nothing.
            stream = int.from_bytes(data[at + 5 : at + 9], "big") & MOST
            yield data[at + 3], data[at + 4], stream, data[at + 9 : end]
            at = end
        self._data = data[at:]
