# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Calls of gRPC, and what a renewal makes of them, beside a peer that answers well, wrongly, or too late."""

from __future__ import annotations

from typing import Any

import pytest
from http2_peer import HEAD, SETTINGS, WELL, Peer, answer, began, part, soon

from ansible_collections.holdfast.supervision.plugins.module_utils._lease._etcd import (
    channel,
    channels,
    frames,
    hpack,
    http,
    messages,
    protobuf,
    renewing,
)
from ansible_collections.holdfast.supervision.plugins.module_utils._lease._etcd.client import Client, EtcdError
from ansible_collections.holdfast.supervision.plugins.module_utils._lease._etcd.frames import Violation, frame
from ansible_collections.holdfast.supervision.plugins.module_utils._lease._etcd.parameters import Parameters
from ansible_collections.holdfast.supervision.plugins.module_utils._lease.interface import Lost, StoreUnavailable

_WHOLE = frames.END_HEADERS | frames.END_STREAM


@pytest.fixture
def calls(peer: Peer) -> channel.Channel:
    made = channel.Channel(peer.socket, "http", "etcd1:2379", 0)
    peer.say(SETTINGS)
    made.begin(soon())
    return made


def fields_of(head: bytes) -> dict[str, str]:
    return hpack.decode(head)


def test_a_call_says_what_grpc_wants_to_know(peer: Peer, calls: channel.Channel) -> None:
    peer.say(answer(1, b"answer"))
    # The answer is read after the request was written.
    assert calls.ask("/a.B/C", "secret", b"question", soon()) == b"answer"
    assert fields_of(peer.hear_until(frames.HEADERS)[3]) == {
        ":method": "POST",
        ":scheme": "http",
        ":path": "/a.B/C",
        ":authority": "etcd1:2379",
        "te": "trailers",
        "content-type": "application/grpc",
        "token": "secret",
    }
    assert peer.hear() == (frames.DATA, frames.END_STREAM, 1, b"\0\0\0\0\x08question")
    assert calls.used


def test_a_conversation_goes_on_within_one_request(peer: Peer, calls: channel.Channel) -> None:
    for at in range(3):
        told = peer.meanwhile(lambda at=at: calls.tell("/a.B/C", "", b"%d" % at, soon()))  # type: ignore[misc]
        _kind, flags, number, payload = peer.hear_until(frames.DATA)
        assert (flags, number, payload) == (0, 1, b"\0\0\0\0\x01%d" % at)
        peer.say(began(1) if not at else b"", part(1, b"yes %d" % at))
        assert told.result() == b"yes %d" % at
        calls.look()
    # A call beside it has a number of its own.
    peer.say(answer(3, b"answer"))
    assert calls.ask("/a.B/D", "", b"", soon()) == b"answer"


def test_what_the_server_says_no_to_is_told_with_its_code(peer: Peer, calls: channel.Channel) -> None:
    no = hpack.encode([("grpc-status", "16"), ("grpc-message", "etcdserver: invalid auth token")])
    peer.say(frame(frames.HEADERS, _WHOLE, 1, HEAD + no))
    with pytest.raises(EtcdError, match="invalid auth token") as caught:
        calls.ask("/a.B/C", "", b"question", soon())
    assert caught.value.code == 16


def test_a_conversation_that_is_ended_is_told(peer: Peer, calls: channel.Channel) -> None:
    peer.say(began(1), part(1, b"yes"))
    assert calls.tell("/a.B/C", "", b"", soon()) == b"yes"
    peer.say(frame(frames.HEADERS, _WHOLE, 1, WELL))
    with pytest.raises(http.Broken):
        calls.look()


def test_an_answer_that_nobody_has_asked_for_is_not_kept_for_the_next_question(
    peer: Peer, calls: channel.Channel
) -> None:
    peer.say(began(1), part(1, b"yes"))
    assert calls.tell("/a.B/C", "", b"", soon()) == b"yes"
    peer.say(part(1, b"yes again"))
    with pytest.raises(http.Broken, match="nobody has asked for"):
        calls.look()


def _status(*fields: tuple[str, str]) -> bytes:
    return hpack.encode(fields)


@pytest.mark.parametrize(
    "said",
    [
        answer(1, b"answer", end=_status(("x", "y"))),
        answer(1, b"answer", end=_status(("grpc-status", ""))),
        answer(1, b"answer", end=_status(("grpc-status", "-1"))),
        answer(1, b"answer", end=_status(("grpc-status", "99999"))),
        answer(1, b"answer", end=_status(("grpc-status", "12"))),
        answer(1),
        answer(1, b"one", b"two"),
        answer(1, b"answer", head=_status((":status", "404"), ("content-type", "application/grpc"))),
        answer(1, b"answer", head=_status((":status", "200"), ("content-type", "text/html"))),
        answer(1, b"answer", head=_status(("content-type", "application/grpc"))),
        frame(frames.HEADERS, _WHOLE, 1, _status((":status", "502"))),
        began(1) + frame(frames.DATA, frames.END_STREAM, 1, b"\0\0\0\0\x06answer"),
        began(1) + frame(frames.DATA, frames.END_STREAM, 1, b"\0\0\0\0\x06ans"),
        began(1) + frame(frames.DATA, frames.END_STREAM, 1, b"\0"),
        began(1) + frame(frames.DATA, 0, 1, b"\1\0\0\0\x06answer"),
        began(1) + frame(frames.DATA, 0, 1, b"\0\xff\xff\xff\xff"),
    ],
)
def test_what_is_no_answer_of_grpc_is_given_up(peer: Peer, calls: channel.Channel, said: bytes) -> None:
    peer.say(said)
    with pytest.raises(Violation):
        calls.ask("/a.B/C", "", b"question", soon())


def test_a_message_may_come_in_many_pieces(peer: Peer, calls: channel.Channel) -> None:
    body = b"\0" + (70000).to_bytes(4, "big") + bytes(70000)

    def trickle() -> None:
        peer.say(began(1))
        for at in range(0, len(body), 7001):
            peer.say(frame(frames.DATA, 0, 1, body[at : at + 7001]))
        peer.say(frame(frames.HEADERS, _WHOLE, 1, WELL))

    said = peer.meanwhile(trickle)
    assert calls.ask("/a.B/C", "", b"", soon()) == bytes(70000)
    said.result()


# -- renewing

LEASE = -(2**62)
KEPT = protobuf.number(2, LEASE) + protobuf.number(3, 10)
CONFIRMED = protobuf.part(1, protobuf.number(3, 77)) + protobuf.number(2, 1)


class Alone:
    """A renewal with one endpoint, whose channel is open; there is nobody at its gateway."""

    def __init__(self, calls: channel.Channel) -> None:
        # Port 9 of this host: nobody listens there.
        parameters = Parameters({"endpoints": "http://127.0.0.1:9"})
        self.client = Client(parameters)
        self.channels = channels.Channels(parameters)
        self.channels._channel = calls
        self.renewing = renewing.Renewing(self.channels, "/p/never")

    def renew(self, seconds: float = 20.0) -> renewing.Renewed:
        same = [("/p/r/holder/exclusive", 42)]
        return self.renewing.renew(self.client, str(LEASE), same, ["/p/r/wish"], soon(seconds))


def test_the_transaction_waits_for_the_answer_to_the_keepalive(peer: Peer, calls: channel.Channel) -> None:
    alone = Alone(calls)
    for at in range(3):
        before = http.now()
        done = peer.meanwhile(alone.renew)
        assert peer.hear_until(frames.DATA)[2:] == (1, b"\0\0\0\0\x0b" + messages.keepalive(LEASE))
        assert peer.hears_nothing_more()
        between = http.now()
        peer.say(began(1) if not at else b"", part(1, KEPT))
        number = peer.hear_until(frames.DATA, frames.END_STREAM)[2]
        assert number == 3 + 2 * at
        peer.say(answer(number, CONFIRMED))
        found = done.result()
        assert before <= found.sent <= between
        assert (found.ttl, found.succeeded, found.revision, found.wished) == (10, True, 77, [])


def test_a_keepalive_without_a_time_is_a_lost_lease_and_nothing_more_is_asked(
    peer: Peer, calls: channel.Channel
) -> None:
    done = peer.meanwhile(Alone(calls).renew)
    peer.hear_until(frames.DATA)
    peer.say(began(1), part(1, protobuf.number(2, LEASE)))
    with pytest.raises(Lost, match="has ended or was revoked"):
        done.result()
    assert peer.hears_nothing_more()


@pytest.mark.parametrize(
    ("kept", "confirmed"),
    [
        (protobuf.number(2, 5) + protobuf.number(3, 10), CONFIRMED),
        (KEPT + b"\x08", CONFIRMED),
        (KEPT, protobuf.number(2, 1)),
        (KEPT, CONFIRMED + b"\x08"),
    ],
)
def test_an_answer_that_is_none_is_no_renewal(
    peer: Peer, calls: channel.Channel, kept: bytes, confirmed: bytes
) -> None:
    done = peer.meanwhile(Alone(calls).renew)
    peer.hear_until(frames.DATA)
    peer.say(began(1), part(1, kept), answer(3, confirmed))
    with pytest.raises(StoreUnavailable):
        done.result()


def test_the_store_says_that_the_keys_are_others(peer: Peer, calls: channel.Channel) -> None:
    done = peer.meanwhile(Alone(calls).renew)
    peer.hear_until(frames.DATA)
    peer.say(began(1), part(1, KEPT))
    peer.hear_until(frames.DATA)
    peer.say(answer(3, protobuf.part(1, protobuf.number(3, 77))))
    assert not done.result().succeeded


def test_an_answer_that_comes_too_late_is_never_read(peer: Peer, calls: channel.Channel) -> None:
    alone = Alone(calls)
    with pytest.raises(StoreUnavailable):
        alone.renew(0.1)
    peer.hear_until(frames.DATA)
    with pytest.raises(OSError):
        peer.say(began(1), part(1, KEPT))
        peer.say(began(1), part(1, KEPT))
    with pytest.raises(StoreUnavailable):
        alone.renew()


def test_what_wishes_say_is_read_along(peer: Peer, calls: channel.Channel) -> None:
    def found(value: bytes) -> bytes:
        pairs = protobuf.part(2, protobuf.part(1, b"/p/r/wish") + protobuf.part(5, value))
        return protobuf.part(3, protobuf.part(1, protobuf.part(1, protobuf.number(3, 77)) + pairs))

    done = peer.meanwhile(Alone(calls).renew)
    peer.hear_until(frames.DATA)
    peer.say(began(1), part(1, KEPT))
    peer.hear_until(frames.DATA)
    deleted = protobuf.part(3, protobuf.part(3, b""))
    peer.say(answer(3, CONFIRMED + deleted + found(b'{"tenant": "b@h", "preference": 1}') + found(b"[1]")))
    wished: list[dict[str, Any]] = done.result().wished
    assert wished == [{"tenant": "b@h", "preference": 1}, {}]
