# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The driver `sanlock` as far as it needs no daemon: parameters, names, clocks, and answers that come late or in pieces."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._lease import interface, places, sanlock
from ansible_collections.holdfast.supervision.plugins.module_utils._lease._sanlock import daemon, wire

GIVEN = {"path": "/srv/leases"}


# -- parameters and names


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({}, "path: the file or block device"),
        ({"path": "leases"}, "is not an absolute path"),
        ({"path": "/a b"}, "has a space, a colon"),
        ({"path": "/a:b"}, "has a space, a colon"),
        ({"path": "/" + "x" * 1023}, "too long"),
        ({**GIVEN, "socket": "sock"}, "is not an absolute path"),
        ({**GIVEN, "lockspace": "a:b"}, "lockspace"),
        ({**GIVEN, "lockspace": "x" * 48}, "lockspace"),
        ({**GIVEN, "host_id": 2000}, "host_id: 2000 is not between 0 and 1999"),
        ({**GIVEN, "host_id": "1.5"}, "host_id"),
        ({**GIVEN, "poll": 0}, "poll"),
        ({**GIVEN, "prefix": "a b"}, "prefix"),
        (
            {**GIVEN, "ttl": 3},
            "unknown parameter ttl; it knows: fail_back, host_id, lockspace, path, poll, preference, prefix, socket",
        ),
    ],
)
def test_what_is_wrong_with_parameters_is_said(given: dict[str, Any], text: str) -> None:
    with pytest.raises(interface.DriverRefused, match=text):
        sanlock.Sanlock("t", given)


def test_every_name_has_one_of_its_own_that_sanlock_has_room_for() -> None:
    names = ["r", "x" * 47, "x" * 48, "x" * 64, "x" * 63 + "y", "staging/" + "x" * 64]
    stored = [daemon.in_store(name) for name in names]
    assert stored[:2] == names[:2]
    assert len(set(stored)) == len(names)
    assert all(len(one) < wire.NAME for one in stored)
    # What is made of a long name can't be anybody's short one.
    assert all("~" in one for one in stored[2:])
    assert not interface.RESOURCE_NAME("a~b")


def test_two_stores_are_told_apart_by_storage_and_prefix() -> None:
    folders = {
        places.folder_of("sanlock", {"path": path, "prefix": prefix}, "r", "o")
        for path in ("/srv/a", "/srv/b")
        for prefix in ("", "x/")
    }
    assert len(folders) == 4
    assert places.store_of({"path": "/srv/../srv/a", "host_id": 1}) == places.store_of({"path": "/srv/a", "host_id": 2})


# -- clocks


class Space:
    """A lockspace that was renewed at *kept* of sanlock's clock."""

    host, generation, io_timeout = 1, 1, 10

    def __init__(self, kept: int) -> None:
        self.kept = kept


def test_time_that_the_host_has_slept_does_not_prolong_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    ahead = 5.0
    monkeypatch.setattr(sanlock, "_boottime_ahead", lambda: ahead)
    one = sanlock.Sanlock("t", GIVEN)
    one._note(Space(100))  # type: ignore[arg-type]
    assert (one.good_from, one.ttl) == (105.0, 80.0)
    # It slept for an hour after the renewal at 110, and both are seen afterwards.
    ahead = 3605.0
    one._note(Space(110))  # type: ignore[arg-type]
    assert one.good_from == 115.0
    one._note(Space(130))  # type: ignore[arg-type]
    assert one.good_from == 3735.0
    one._note(Space(130))  # type: ignore[arg-type]
    assert one.good_from == 3735.0


# -- the socket


Answer = Callable[[socket.socket, bytes], None]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Callable[[Answer], str]]:
    """Something that answers at a socket as the test says; gives its path."""
    listener = socket.socket(socket.AF_UNIX)
    threads: list[threading.Thread] = []
    path = str(tmp_path / "s")
    listener.bind(path)
    listener.listen()

    def serve(answer: Answer) -> str:
        def run() -> None:
            peer, _address = listener.accept()
            with peer:
                while True:
                    request = peer.recv(65536)
                    if not request:
                        return
                    answer(peer, request)

        thread = threading.Thread(target=run)
        thread.start()
        threads.append(thread)
        return path

    yield serve
    for thread in threads:
        thread.join(10)
    listener.close()


def header(request: bytes, data: int = 0, data2: int = 0, body: bytes = b"") -> bytes:
    magic, version, command, flags, _length, seq, _data, _data2 = struct.unpack("=8I", request[:32])
    values = struct.pack("=ii", data, data2)
    return struct.pack("=6I", magic, version, command, flags, 32 + len(body), seq) + values + body


def test_an_answer_that_comes_too_late_is_not_taken_for_the_next_one(served: Callable[[Answer], str]) -> None:
    late: list[bytes] = []

    def answer(peer: socket.socket, request: bytes) -> None:
        late.append(header(request, -len(late)))
        if len(late) == 2:
            # Both at once, in pieces that have nothing to do with where they end.
            together = b"".join(late)
            for at in range(0, len(together), 7):
                peer.sendall(together[at : at + 7])

    connection = wire.Connection(served(answer), 1.0)
    with pytest.raises(interface.StoreUnavailable, match="does not answer"):
        connection.call(wire.INQUIRE, b"", 0.05)
    assert connection.call(wire.INQUIRE, b"", 5.0) == (-1, 0, b"")
    connection.close()


def test_half_an_answer_is_kept_for_the_rest(served: Callable[[Answer], str]) -> None:
    seen: list[bytes] = []

    def answer(peer: socket.socket, request: bytes) -> None:
        seen.append(request)
        first = header(seen[0], 1, 0, b"abc")
        if len(seen) == 1:
            peer.sendall(first[:33])
        else:
            peer.sendall(first[33:] + header(request, 2, 0, b"de"))

    connection = wire.Connection(served(answer), 1.0)
    with pytest.raises(interface.StoreUnavailable):
        connection.call(wire.INQUIRE, b"", 0.05)
    assert connection.call(wire.INQUIRE, b"", 5.0) == (2, 0, b"de")
    connection.close()


def test_the_end_of_the_daemon_is_told_from_its_silence(served: Callable[[Answer], str]) -> None:
    connection = wire.Connection(served(lambda peer, _request: peer.shutdown(socket.SHUT_RDWR)), 1.0)
    assert not connection.ended()
    with pytest.raises(wire.Ended):
        connection.call(wire.INQUIRE, b"", 5.0)
    assert connection.ended()
    connection.close()


def test_who_answers_and_is_not_sanlock_is_not_believed(served: Callable[[Answer], str]) -> None:
    connection = wire.Connection(served(lambda peer, _request: peer.sendall(b"HTTP/1.1 400 Bad Request" * 4)), 1.0)
    with pytest.raises(interface.StoreUnavailable, match="is not answered by sanlock"):
        connection.call(wire.INQUIRE, b"", 5.0)
    connection.close()


def test_a_daemon_that_is_too_old_is_not_used(served: Callable[[Answer], str]) -> None:
    path = served(lambda peer, request: peer.sendall(header(request, 0, 0x03060000)))
    with pytest.raises(interface.DriverNotLoaded, match=r"sanlock 3\.6\.0: too old, at least 3\.8\.0 is needed"):
        sanlock.Sanlock("t", {**GIVEN, "socket": path}).probe()
