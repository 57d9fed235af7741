# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A connection of HTTP/2, beside a peer that keeps to it and beside peers that do not."""

from __future__ import annotations

import random

import pytest
from http2_peer import HEAD, SETTINGS, WELL, Peer, soon

from ansible_collections.holdfast.supervision.plugins.module_utils._lease._etcd import frames, hpack, http, http2
from ansible_collections.holdfast.supervision.plugins.module_utils._lease._etcd.frames import Violation, frame

_WHOLE = frames.END_HEADERS | frames.END_STREAM


@pytest.fixture
def connection(peer: Peer) -> http2.Connection:
    """One whose peer has said its settings."""
    made = http2.Connection(peer.socket)
    peer.say(SETTINGS)
    made.begin(soon())
    return made


@pytest.fixture
def stream(connection: http2.Connection) -> http2.Stream:
    return connection.request(b"\x83", b"question", True, soon())


def until_ended(connection: http2.Connection, stream: http2.Stream) -> None:
    while not stream.ended:
        connection.receive(soon())


# -- greeting


def test_it_greets_asks_for_no_table_and_acknowledges(peer: Peer, connection: http2.Connection) -> None:
    connection.request(b"\x83", b"", True, soon())
    kind, flags, number, payload = peer.hear()
    assert (kind, flags, number) == (frames.SETTINGS, 0, 0)
    assert dict(frames.settings_of(payload))[frames.TABLE_SIZE] == 0
    assert dict(frames.settings_of(payload))[frames.ENABLE_PUSH] == 0
    assert peer.hear() == (frames.SETTINGS, frames.ACK, 0, b"")


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        frame(frames.PING, 0, 0, bytes(8)),
        frame(frames.SETTINGS, frames.ACK, 0),
        frame(frames.GOAWAY, 0, 0, bytes(8)),
        frames.settings([(frames.MOST_STREAMS, 1)]),
    ],
)
def test_a_peer_that_speaks_something_else_is_known_by_its_first_words(peer: Peer, said: bytes) -> None:
    peer.say(said)
    with pytest.raises(Violation):
        http2.Connection(peer.socket).begin(soon())


def test_a_peer_that_hangs_up_or_says_nothing_is_not_waited_for(peer: Peer) -> None:
    with pytest.raises(http.Timeout):
        http2.Connection(peer.socket).begin(soon(0.05))
    peer.hang_up()
    with pytest.raises(OSError):
        http2.Connection(peer.socket).begin(soon())


# -- requests


def test_a_request_and_its_answer(peer: Peer, connection: http2.Connection, stream: http2.Stream) -> None:
    assert peer.hear_until(frames.HEADERS) == (frames.HEADERS, frames.END_HEADERS, 1, b"\x83")
    assert peer.hear() == (frames.DATA, frames.END_STREAM, 1, b"question")
    peer.say(
        frame(frames.HEADERS, frames.END_HEADERS, 1, b"\x88"),
        frame(frames.DATA, 0, 1, b"ans"),
        frame(frames.DATA, frames.PADDED, 1, b"\3wer\0\0\0"),
        frame(frames.HEADERS, _WHOLE, 1, WELL),
    )
    until_ended(connection, stream)
    assert (stream.head, bytes(stream.data)) == ({":status": "200"}, b"answer")
    assert stream.trailers == {"grpc-status": "0", "grpc-message": ""}
    assert connection.request(b"\x83", b"", True, soon()).number == 3


def test_an_answer_without_a_body_has_one_head_for_both(
    peer: Peer, connection: http2.Connection, stream: http2.Stream
) -> None:
    peer.say(frame(frames.HEADERS, _WHOLE, 1, b"\x88" + WELL))
    until_ended(connection, stream)
    assert stream.head == stream.trailers == {":status": "200", "grpc-status": "0", "grpc-message": ""}


def test_a_head_may_come_in_pieces_and_after_a_hint(
    peer: Peer, connection: http2.Connection, stream: http2.Stream
) -> None:
    hint = hpack.encode([(":status", "103")])
    peer.say(
        frame(frames.HEADERS, frames.END_HEADERS, 1, hint),
        frame(
            frames.HEADERS,
            frames.END_STREAM | frames.PADDED | frames.PRIORITISED,
            1,
            b"\2\0\0\0\0\0" + HEAD[:5] + b"\0\0",
        ),
        frame(frames.CONTINUATION, 0, 1, HEAD[5:9]),
        frame(frames.CONTINUATION, 0, 1, b""),
        frame(frames.CONTINUATION, frames.END_HEADERS, 1, HEAD[9:]),
    )
    until_ended(connection, stream)
    assert stream.head == {":status": "200", "content-type": "application/grpc"}


def test_no_frame_is_larger_than_the_peer_takes(peer: Peer) -> None:
    connection = http2.Connection(peer.socket)
    peer.say(SETTINGS)
    connection.begin(soon())
    connection.request(b"h" * 40000, b"d" * 40000, True, soon())
    found = [peer.hear_until(frames.HEADERS), *(peer.hear() for _unused in range(5))]
    assert [(kind, flags, len(payload)) for kind, flags, _number, payload in found] == [
        (frames.HEADERS, 0, 16384),
        (frames.CONTINUATION, 0, 16384),
        (frames.CONTINUATION, frames.END_HEADERS, 7232),
        (frames.DATA, 0, 16384),
        (frames.DATA, 0, 16384),
        (frames.DATA, frames.END_STREAM, 7232),
    ]


def test_what_the_peer_has_no_room_for_waits_until_it_has(peer: Peer) -> None:
    connection = http2.Connection(peer.socket)
    peer.say(frames.settings([(frames.FIRST_WINDOW, 10)]))
    connection.begin(soon())
    sent = peer.meanwhile(lambda: connection.request(b"\x83", b"0123456789abcdefghij", True, soon()))
    assert peer.hear_until(frames.DATA) == (frames.DATA, 0, 1, b"0123456789")
    # Less than nothing: ten bytes are under way, and there is room for four.
    peer.say(frames.settings([(frames.FIRST_WINDOW, 4)]), frame(frames.WINDOW_UPDATE, 0, 1, (9).to_bytes(4, "big")))
    assert peer.hear_until(frames.DATA) == (frames.DATA, 0, 1, b"abc")
    peer.say(frame(frames.WINDOW_UPDATE, 0, 1, (100).to_bytes(4, "big")))
    assert peer.hear_until(frames.DATA) == (frames.DATA, frames.END_STREAM, 1, b"defghij")
    assert sent.result().window == 93
    # And altogether: one connection has room for 65535, twenty of which are used.
    peer.say(frames.settings([(frames.FIRST_WINDOW, 10**6)]))
    second = peer.meanwhile(lambda: connection.request(b"\x83", b"x" * 70000, False, soon()))
    got = 0
    while got < 65515:
        got += len(peer.hear_until(frames.DATA)[3])
    assert got == 65515 and peer.hears_nothing_more()
    peer.say(frame(frames.WINDOW_UPDATE, 0, 0, (10**6).to_bytes(4, "big")))
    assert len(peer.hear_until(frames.DATA)[3]) == 70000 - 65515
    second.result()


def test_an_answer_that_comes_before_the_question_is_out_ends_the_question(peer: Peer) -> None:
    connection = http2.Connection(peer.socket)
    peer.say(frames.settings([(frames.FIRST_WINDOW, 3)]))
    connection.begin(soon())
    sent = peer.meanwhile(lambda: connection.request(b"\x83", b"question", True, soon()))
    peer.hear_until(frames.DATA)
    peer.say(frame(frames.HEADERS, _WHOLE, 1, b"\x88" + WELL), frame(frames.RST_STREAM, 0, 1, bytes(4)))
    assert sent.result().ended


def test_the_peer_is_given_new_room_for_what_was_read(
    peer: Peer, connection: http2.Connection, stream: http2.Stream
) -> None:
    peer.say(frame(frames.HEADERS, frames.END_HEADERS, 1, HEAD))
    given = {0: 65535, 1: 65535}
    for _unused in range(40):
        peer.say(frame(frames.DATA, 0, 1, bytes(10000)))
        given = {number: room - 10000 for number, room in given.items()}
        while len(stream.data) < 10000:
            connection.receive(soon())
        stream.data.clear()
        connection._flush(soon())
        while min(given.values()) < 10000 + 16384:
            _kind, _flags, number, payload = peer.hear_until(frames.WINDOW_UPDATE)
            given[number] += int.from_bytes(payload, "big")
    assert max(given.values()) <= 65535


def test_a_ping_is_answered_with_what_it_says(peer: Peer, connection: http2.Connection) -> None:
    peer.say(frame(frames.PING, 0, 0, b"whatever"), frame(frames.PING, frames.ACK, 0, b"8 bytes."))
    connection.idle()
    connection.request(b"\x83", b"", True, soon())
    assert peer.hear_until(frames.PING) == (frames.PING, frames.ACK, 0, b"whatever")
    assert peer.hear()[0] == frames.HEADERS


def test_what_means_nothing_to_us_is_gone_over(peer: Peer, connection: http2.Connection) -> None:
    peer.say(frame(frames.PRIORITY, 0, 1, bytes(5)), frame(0xFA, 0xFF, 9, b"grease"), frames.settings([(0x3A3A, 7)]))
    connection.idle()


def test_when_there_are_no_numbers_left_there_is_no_request(connection: http2.Connection) -> None:
    connection._next = frames.MOST
    assert connection.request(b"\x83", b"", True, soon()).number == frames.MOST
    with pytest.raises(http.Broken, match="no numbers"):
        connection.request(b"\x83", b"", True, soon())


# -- ends


def test_a_peer_that_leaves_answers_what_it_has_heard_and_nothing_more(
    peer: Peer, connection: http2.Connection, stream: http2.Stream
) -> None:
    peer.say(frame(frames.GOAWAY, 0, 0, (1).to_bytes(4, "big") + bytes(4)), frame(frames.HEADERS, _WHOLE, 1, b"\x88"))
    until_ended(connection, stream)
    assert connection.leaving
    with pytest.raises(http.Broken, match="no more requests"):
        connection.idle()


@pytest.mark.parametrize(
    "said",
    [
        # It has not heard of us, or it is angry.
        frame(frames.GOAWAY, 0, 0, bytes(8)),
        frame(frames.GOAWAY, 0, 0, (1).to_bytes(4, "big") + (11).to_bytes(4, "big") + b"calm down"),
        frame(frames.RST_STREAM, 0, 1, (7).to_bytes(4, "big")),
    ],
)
def test_a_request_that_is_refused_is_broken_off(
    peer: Peer, connection: http2.Connection, stream: http2.Stream, said: bytes
) -> None:
    peer.say(said)
    with pytest.raises(http.Broken) as caught:
        until_ended(connection, stream)
    assert not isinstance(caught.value, Violation)


def test_a_connection_that_was_closed_meanwhile_is_known(peer: Peer, connection: http2.Connection) -> None:
    connection.idle()
    peer.hang_up()
    with pytest.raises(http.Broken):
        connection.idle()


# -- peers that keep to nothing

_UPDATE = (1).to_bytes(4, "big")
HOSTILE = {
    "a frame that is too large": b"\xff\xff\xff" + bytes(6),
    "a body without a head": frame(frames.DATA, 0, 1, b"x"),
    "a body of nobody": frame(frames.DATA, 0, 0, b"x"),
    "a stream of the peer's": frame(frames.HEADERS, frames.END_HEADERS, 2, HEAD),
    "a stream to come": frame(frames.HEADERS, frames.END_HEADERS, 3, HEAD),
    "a promise": frame(frames.PUSH_PROMISE, frames.END_HEADERS, 1, bytes(4) + HEAD),
    "something within a head": frame(frames.HEADERS, 0, 1, HEAD) + frame(frames.PING, 0, 0, bytes(8)),
    "another's rest of a head": frame(frames.HEADERS, 0, 1, HEAD) + frame(frames.CONTINUATION, 4, 3, b""),
    "a rest without a head": frame(frames.CONTINUATION, frames.END_HEADERS, 1, HEAD),
    "a head without end": frame(frames.HEADERS, 0, 1, b"") + frame(frames.CONTINUATION, 0, 1, bytes(16384)) * 5,
    "empty rests without end": frame(frames.HEADERS, 0, 1, b"") + frame(frames.CONTINUATION, 0, 1) * 5000,
    "a head that is none": frame(frames.HEADERS, frames.END_HEADERS, 1, b"\xbe"),
    "a head of more padding": frame(frames.HEADERS, frames.END_HEADERS | frames.PADDED, 1, b"\xff" + HEAD),
    "a second head": frame(frames.HEADERS, frames.END_HEADERS, 1, HEAD) * 2,
    "something after the end": frame(frames.HEADERS, _WHOLE, 1, HEAD) + frame(frames.DATA, 0, 1, b"x"),
    "settings of somebody": frame(frames.SETTINGS, 0, 1),
    "settings of a wrong length": frame(frames.SETTINGS, 0, 0, b"1234567"),
    "an acknowledgement that says something": frame(frames.SETTINGS, frames.ACK, 0, bytes(6)),
    "a window that is too large": frames.settings([(frames.FIRST_WINDOW, 2**31 - 1)])
    + frame(frames.WINDOW_UPDATE, 0, 1, _UPDATE) * 9,
    "room for too much": frame(frames.WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff"),
    "room for nothing": frame(frames.WINDOW_UPDATE, 0, 0, bytes(4)),
    "room in a stream to come": frame(frames.WINDOW_UPDATE, 0, 5, _UPDATE),
    "half a number": frame(frames.WINDOW_UPDATE, 0, 0, b"\1"),
    "a short ping": frame(frames.PING, 0, 0, b"1234567"),
    "a ping of somebody": frame(frames.PING, 0, 1, bytes(8)),
    "a short farewell": frame(frames.GOAWAY, 0, 0, bytes(7)),
    "a farewell of somebody": frame(frames.GOAWAY, 0, 1, bytes(8)),
    "a short reset": frame(frames.RST_STREAM, 0, 1, b"\1"),
    "a reset of nothing": frame(frames.RST_STREAM, 0, 0, bytes(4)),
    "a reset to come": frame(frames.RST_STREAM, 0, 7, bytes(4)),
    "pings without end": frame(frames.PING, 0, 0, bytes(8)) * 5000,
    "settings without end": frame(frames.SETTINGS, 0, 0) * 5000,
    "nothing without end": frame(frames.HEADERS, frames.END_HEADERS, 1, HEAD) + frame(frames.DATA, 0, 1) * 5000,
    "more than there is room for": frame(frames.HEADERS, frames.END_HEADERS, 1, HEAD)
    + frame(frames.DATA, 0, 1, bytes(16384)) * 4,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_peer_that_breaks_the_rules_is_given_up(
    peer: Peer, connection: http2.Connection, stream: http2.Stream, name: str
) -> None:
    if name == "more than there is room for":
        # Nobody gives it any.
        connection._give = lambda _number, _used: 0  # type: ignore[method-assign]
    said = peer.meanwhile(lambda: peer.say(HOSTILE[name]))
    with pytest.raises(Violation):
        for _unused in range(10000):
            connection.receive(soon())
    peer.socket.close()
    said.exception()


def test_an_answer_without_end_is_given_up_before_it_fills_the_memory(
    peer: Peer, connection: http2.Connection, stream: http2.Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "LIMIT", 100_000)

    def pour() -> None:
        peer.say(frame(frames.HEADERS, frames.END_HEADERS, 1, HEAD))
        for _unused in range(50):
            peer.say(frame(frames.DATA, 0, 1, bytes(10000)))

    said = peer.meanwhile(pour)
    with pytest.raises(Violation, match="without end"):
        until_ended(connection, stream)
    assert len(stream.data) < 120_000
    peer.socket.close()
    said.exception()


def test_noise_ends_in_an_error_of_the_connection_and_in_no_other() -> None:
    chance = random.Random(9113)
    kinds = [*range(10), 77]
    for _unused in range(400):
        peer = Peer()
        connection = http2.Connection(peer.socket)
        peer.say(SETTINGS)
        connection.begin(soon())
        connection.request(b"\x83", b"question", True, soon())
        for _frame in range(chance.randrange(1, 8)):
            payload = chance.choice((HEAD, WELL, b"", bytes(4), bytes(8), chance.randbytes(chance.randrange(40))))
            peer.say(frame(chance.choice(kinds), chance.randrange(256), chance.randrange(6), payload))
        peer.hang_up()
        with pytest.raises(OSError):
            while True:
                connection.receive(soon())
        peer.close()
