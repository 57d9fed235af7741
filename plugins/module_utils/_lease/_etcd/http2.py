# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A client's end of HTTP/2 (RFC 9113) over one socket, with a deadline for everything. PRIVATE to the collection.

For a few requests under way at a time, and a peer that is asked now and then: what comes in between is read with the next
request, and what has to be said to that (acknowledgements, new room in windows) goes out with it. After any error the
connection is to be closed.
"""

from __future__ import annotations

from . import frames, hpack, http
from .frames import Violation, frame

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..._varlink.sockets import Socket

#: Bytes of a packed head, and frames that may come for one request (those of the largest answer, and as many again).
_HEAD, _FRAMES = 65536, 4 * (http.LIMIT // frames.SIZE)
#: Bytes after which the peer is given new room.
_ROOM = frames.WINDOW // 4
#: Heads that are remembered in their unpacked form: a peer sends the same few again and again.
_KNOWN = 16

_SETTINGS = frames.settings(((frames.TABLE_SIZE, 0), (frames.ENABLE_PUSH, 0), (frames.LIST_SIZE, _HEAD)))


class Stream:
    """A request and its answer. head, trailers: None until they have come. ended: nothing more comes.

    data: what has come of the body and was not taken yet. window: bytes that the peer still takes.
    """

    __slots__ = ("data", "ended", "head", "number", "room", "trailers", "window")

    def __init__(self, number: int, window: int) -> None:
        self.number = number
        self.window = window
        self.room = frames.WINDOW
        self.head: dict[str, str] | None = None
        self.trailers: dict[str, str] | None = None
        self.data = bytearray()
        self.ended = False


class Connection:
    """One connection. settled: the peer has said its settings. leaving: it wants no further requests."""

    def __init__(self, connected: Socket) -> None:
        """Use a socket of http.connect."""
        self.settled = False
        self.leaving = False
        self._socket = connected
        self._reader = frames.Reader()
        self._out = bytearray()
        self._streams: dict[int, Stream] = {}
        self._next = 1
        self._count = 0
        # What the peer takes: altogether, on a new stream, in one frame, and how many requests at a time.
        self._window = self._first_window = frames.WINDOW
        self._size = frames.SIZE
        self._most = 2
        # What the peer may still send us.
        self._room = frames.WINDOW
        # The head that goes on in the next frame: number of the stream, flags, what has come.
        self._partial: tuple[int, int, bytes] | None = None
        self._known: dict[bytes, dict[str, str]] = {}

    def close(self) -> None:
        """Close it; may be repeated."""
        self._socket.close()

    def begin(self, deadline: float) -> None:
        """Greet, and hear the peer's settings. Raises OSError; Violation if it speaks something else."""
        self._out += frames.PREFACE + _SETTINGS
        while not self.settled:
            self.receive(deadline)
        if self._most < 2:
            raise Violation("not two requests at a time")

    def idle(self) -> None:
        """Read what has come since the last answer. Raises Broken if there is nothing to be had here any more."""
        self._count = 0
        while True:
            data = http.here(self._socket)
            if data is None:
                break
            self._take(data)
        if self.leaving:
            raise http.Broken("the peer wants no more requests")

    def request(self, head: bytes, data: bytes, end: bool, deadline: float) -> Stream:
        """Begin a request, with *data* as its body or the first part of it. Raises OSError."""
        if self._next > frames.MOST:
            raise http.Broken("there are no numbers left")
        stream = Stream(self._next, self._first_window)
        self._next += 2
        self._streams[stream.number] = stream
        kind, rest = frames.HEADERS, head
        while kind == frames.HEADERS or rest:
            piece, rest = rest[: self._size], rest[self._size :]
            self._out += frame(kind, 0 if rest else frames.END_HEADERS, stream.number, piece)
            kind = frames.CONTINUATION
        self.send(stream, data, end, deadline)
        return stream

    def send(self, stream: Stream, data: bytes, end: bool, deadline: float) -> None:
        """Send more of a request, as the peer has room for it. Raises OSError."""
        self._count = 0
        while not stream.ended:
            most = min(self._size, self._window, stream.window)
            if most <= 0 and data:
                self.receive(deadline)
                continue
            piece, data = data[:most] if data else b"", data[most:] if data else b""
            self._window -= len(piece)
            stream.window -= len(piece)
            self._out += frame(frames.DATA, frames.END_STREAM if end and not data else 0, stream.number, piece)
            if not data:
                break
        self._flush(deadline)

    def forget(self, stream: Stream) -> None:
        """Let go of a stream that has ended."""
        self._streams.pop(stream.number, None)

    def receive(self, deadline: float) -> None:
        """Say what is to be said, wait for something to come, and deal with it. Raises OSError."""
        self._flush(deadline)
        http.patience(self._socket, deadline)
        data = self._socket.recv(65536)
        if not data:
            raise http.Broken("closed by the peer")
        self._take(data)

    def _flush(self, deadline: float) -> None:
        if self._out:
            http.patience(self._socket, deadline)
            self._socket.sendall(self._out)
            self._out.clear()

    # -- what comes

    def _take(self, data: bytes) -> None:
        for kind, flags, number, payload in self._reader.frames(data):
            self._count += 1
            if self._count > _FRAMES:
                raise Violation("frames without end")
            if self._partial is not None and (kind != frames.CONTINUATION or number != self._partial[0]):
                raise Violation("something within a head")
            if not self.settled and (kind != frames.SETTINGS or flags & frames.ACK):
                raise Violation("it does not begin with settings")
            if kind == frames.DATA:
                self._on_data(flags, number, payload)
            elif kind == frames.HEADERS:
                self._on_head(flags, number, frames.unpadded(flags, payload))
            elif kind == frames.CONTINUATION:
                self._on_continuation(flags, payload)
            elif kind == frames.WINDOW_UPDATE:
                self._on_window(number, payload)
            elif kind == frames.PING:
                self._on_ping(flags, number, payload)
            elif kind == frames.SETTINGS:
                self._on_settings(flags, number, payload)
            elif kind == frames.RST_STREAM:
                self._on_reset(number, payload)
            elif kind == frames.GOAWAY:
                self._on_leaving(number, payload)
            elif kind == frames.PUSH_PROMISE:
                raise Violation("an answer that nobody has asked for")
            # Others mean nothing to us: priorities, and what was invented since.

    def _stream(self, number: int) -> Stream | None:
        """Give the stream of that number, None if it is over. Raises Violation if there never was one."""
        if not number or number % 2 == 0 or number >= self._next:
            raise Violation(f"a stream {number} that is none of ours")
        return self._streams.get(number)

    def _open(self, number: int) -> Stream:
        """Give the stream of that number, on which something may come. Raises Violation."""
        stream = self._stream(number)
        if stream is None or stream.ended:
            raise Violation("something after the end")
        return stream

    def _on_data(self, flags: int, number: int, payload: bytes) -> None:
        stream = self._open(number)
        if stream.head is None:
            raise Violation("a body without a head")
        # Padding takes room too.
        self._room -= len(payload)
        stream.room -= len(payload)
        if self._room < 0 or stream.room < 0:
            raise Violation("more than there is room for")
        stream.data += frames.unpadded(flags & frames.PADDED, payload)
        if len(stream.data) > http.LIMIT + 5:
            raise Violation("an answer without end")
        stream.ended = bool(flags & frames.END_STREAM)
        self._room += self._give(0, frames.WINDOW - self._room)
        if not stream.ended:
            stream.room += self._give(number, frames.WINDOW - stream.room)

    def _give(self, number: int, used: int) -> int:
        """Give the peer as much room as it has used, if that is worth a frame; say how much."""
        if used < _ROOM:
            return 0
        self._out += frame(frames.WINDOW_UPDATE, 0, number, used.to_bytes(4, "big"))
        return used

    def _on_head(self, flags: int, number: int, block: bytes) -> None:
        if len(block) > _HEAD:
            raise Violation("a head without end")
        if not flags & frames.END_HEADERS:
            self._partial = (number, flags, block)
            return
        self._partial = None
        stream = self._open(number)
        fields = self._known.get(block)
        if fields is None:
            fields = hpack.decode(block)
            if len(self._known) >= _KNOWN:
                self._known.clear()
            self._known[block] = fields
        end = bool(flags & frames.END_STREAM)
        if stream.head is None:
            if fields.get(":status", "").startswith("1") and not end:
                # "Wait", or a hint: the answer comes later.
                return
            stream.head = fields
        elif not end:
            raise Violation("a second head")
        if end:
            # An answer without a body has one head for both.
            stream.trailers = fields
            stream.ended = True

    def _on_continuation(self, flags: int, payload: bytes) -> None:
        if self._partial is None:
            raise Violation("a head that goes on without a beginning")
        number, first, block = self._partial
        self._on_head(first | flags & frames.END_HEADERS, number, block + payload)

    def _on_window(self, number: int, payload: bytes) -> None:
        more = int.from_bytes(payload, "big") & frames.MOST
        if len(payload) != 4 or not more:
            raise Violation("no new room")
        if not number:
            self._window = _added(self._window, more)
            return
        stream = self._stream(number)
        if stream is not None:
            stream.window = _added(stream.window, more)

    def _on_ping(self, flags: int, number: int, payload: bytes) -> None:
        if number or len(payload) != 8:
            raise Violation("no ping")
        if not flags & frames.ACK:
            self._out += frame(frames.PING, frames.ACK, 0, payload)

    def _on_settings(self, flags: int, number: int, payload: bytes) -> None:
        if number or (flags & frames.ACK and payload):
            raise Violation("no settings")
        if flags & frames.ACK:
            return
        for name, value in frames.settings_of(payload):
            if name == frames.FIRST_WINDOW:
                # Those that are open have as much more, or less than nothing.
                for stream in self._streams.values():
                    stream.window = _added(stream.window, value - self._first_window)
                self._first_window = value
            elif name == frames.FRAME_SIZE:
                self._size = value
            elif name == frames.MOST_STREAMS:
                self._most = value
        self.settled = True
        self._out += frame(frames.SETTINGS, frames.ACK, 0)

    def _on_reset(self, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise Violation("no reset")
        stream = self._stream(number)
        # Of one that has ended: it has answered, and does not want to hear the rest.
        if stream is not None and not stream.ended:
            raise http.Broken(f"the request was refused (HTTP/2 code {int.from_bytes(payload, 'big')})")

    def _on_leaving(self, number: int, payload: bytes) -> None:
        if number or len(payload) < 8:
            raise Violation("no farewell")
        last, code = int.from_bytes(payload[:4], "big") & frames.MOST, int.from_bytes(payload[4:8], "big")
        if code or any(one > last and not stream.ended for one, stream in self._streams.items()):
            raise http.Broken(f"the peer ends the connection (HTTP/2 code {code})")
        self.leaving = True


def _added(window: int, more: int) -> int:
    if window + more > frames.MOST:
        raise Violation("a window that is too large")
    return window + more
