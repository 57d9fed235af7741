# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The wire protocol: frames, limits, and a real server and client on a socket."""

from __future__ import annotations

import json
import os
import re
import select
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._helper import interface
from ansible_collections.holdfast.supervision.plugins.module_utils._lease._guard import api as guard_api
from ansible_collections.holdfast.supervision.plugins.module_utils._supervise._embedded import api
from ansible_collections.holdfast.supervision.plugins.module_utils._varlink import client, codec, server


def test_a_message_survives_the_wire() -> None:
    message = {"method": "a.b.C", "parameters": {"text": 'nul \0 quote " ü \U0001f600', "list": [1, 2.5, None, True]}}
    frame = codec.encode(message)
    assert frame.count(b"\0") == 1 and frame.endswith(b"\0")
    assert codec.decode(frame[:-1]) == message


@pytest.mark.parametrize("frame", [b"", b"null", b"[]", b"1", b"{", b'{"a": }', b"\xff\xfe", b'"text"'])
def test_what_is_no_message(frame: bytes) -> None:
    with pytest.raises(codec.BadMessage):
        codec.decode(frame)


def test_deep_nesting_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(codec.BadMessage, match="deep"):
        codec.decode(b'{"a":' + b"[" * 100000 + b"]" * 100000 + b"}")


def test_brackets_in_strings_are_no_nesting() -> None:
    assert codec.decode(json.dumps({"a": "[" * 500 + '\\"{{{'}).encode())["a"].startswith("[[")


class Echo:
    """A server in a thread that gives every call's parameters back, or what the method's name asks for."""

    def __init__(self, path: str) -> None:
        self.listener = server.Listener(path)
        self.peers: dict[int, server.Peer] = {}
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def stop(self) -> None:
        self.ended.set()
        self.thread.join()
        for peer in self.peers.values():
            peer.close()
        self.listener.close()

    def _run(self) -> None:
        while not self.ended.is_set():
            waiting = [self.listener.fileno(), *self.peers]
            writing = [number for number, peer in self.peers.items() if peer.wants_write]
            readable, writable, _none = select.select(waiting, writing, [], 0.05)
            for number in writable:
                self.peers[number].writable()
            for number in readable:
                self._read(number)
            for number, peer in list(self.peers.items()):
                if peer.dead:
                    del self.peers[number]
                    peer.close()

    def _read(self, number: int) -> None:
        if number == self.listener.fileno():
            peer = self.listener.accept()
            if peer is not None:
                self.peers[peer.fileno()] = peer
            return
        peer = self.peers[number]
        peer.readable()
        for request in peer.requests:
            self._answer(peer, request)
        peer.requests.clear()

    def _answer(self, peer: server.Peer, request: dict[str, Any]) -> None:
        parameters = request.get("parameters", {})
        if request["method"] == "test.Fail":
            peer.error("test.Failed", **parameters)
        elif request["method"] == "test.Count":
            for number in range(3):
                peer.reply({"number": number}, continues=number < 2)
        elif request["method"] == "test.Who":
            peer.reply({"pid": peer.pid, "uid": peer.uid, "gid": peer.gid})
        elif request["method"] != "test.Silence":
            peer.reply(parameters)


@pytest.fixture
def path(tmp_path: Path) -> Iterator[str]:
    # Longer than the 108 bytes that a socket's name may have.
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    made = Echo(str(folder / "socket"))
    yield str(folder / "socket")
    made.stop()


def test_a_call_and_its_reply(path: str) -> None:
    with client.Connection(path) as connection:
        for size in (1, 70_000, 2_000_000):
            assert connection.call("test.Echo", {"text": "x" * size}) == {"text": "x" * size}


def test_an_error_reply_is_raised(path: str) -> None:
    with client.Connection(path) as connection:
        with pytest.raises(client.VarlinkError) as caught:
            connection.call("test.Fail", {"name": "billing"})
        assert caught.value.name == "test.Failed"
        assert caught.value.parameters == {"name": "billing"}
        assert connection.call("test.Echo", {"still": "there"}) == {"still": "there"}


def test_several_replies_to_one_call(path: str) -> None:
    with client.Connection(path) as connection:
        assert [reply["number"] for reply in connection.stream("test.Count")] == [0, 1, 2]


def test_the_kernel_says_who_calls(path: str) -> None:
    with client.Connection(path) as connection:
        assert connection.call("test.Who") == {"pid": os.getpid(), "uid": os.getuid(), "gid": os.getgid()}
        assert connection.peer() == (os.getpid(), os.getuid(), os.getgid())


def test_no_answer_in_time(path: str) -> None:
    with client.Connection(path) as connection, pytest.raises(client.ConnectionLost, match="no answer"):
        connection.call("test.Silence", timeout=0.05)


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(client.ConnectionLost):
        client.Connection(str(tmp_path / "socket"))


def test_the_socket_is_for_its_owner_alone(path: str) -> None:
    assert os.stat(path).st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "junk",
    [b"GET / HTTP/1.1\r\n\r\n\0", b"[]\0", b"\0", b'{"method":' + b"[" * 1000 + b"\0"],
    ids=["http", "list", "empty", "deep"],
)
def test_junk_ends_the_connection_and_no_other(path: str, junk: bytes) -> None:
    folder = os.open(os.path.dirname(path), os.O_PATH)
    with client.Connection(path) as good, socket.socket(socket.AF_UNIX) as bad:
        bad.connect(f"/proc/self/fd/{folder}/socket")
        bad.sendall(junk)
        bad.settimeout(20)
        try:
            assert bad.recv(100) == b""
        except ConnectionResetError:
            pass
        assert good.call("test.Echo", {"a": 1}) == {"a": 1}
    os.close(folder)


def test_a_message_without_end_is_cut_off(path: str) -> None:
    folder = os.open(os.path.dirname(path), os.O_PATH)
    with socket.socket(socket.AF_UNIX) as bad:
        bad.connect(f"/proc/self/fd/{folder}/socket")
        bad.settimeout(20)
        with pytest.raises(OSError):
            for _turn in range(2 * codec.REQUEST_LIMIT // 65536):
                bad.sendall(b" " * 65536)
    os.close(folder)


def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    server.Listener(path).close()
    second = Echo(path)
    try:
        with client.Connection(path) as connection:
            assert connection.call("test.Echo", {"a": 1}) == {"a": 1}
    finally:
        second.stop()


def test_the_standard_service_interface() -> None:
    about = {"vendor": "v", "product": "p", "version": "1", "url": "u"}
    found = server.service_reply({"method": "org.varlink.service.GetInfo"}, about, {"a.b": "interface a.b"})
    assert found == ("", {**about, "interfaces": ["org.varlink.service", "a.b"]})
    request = {"method": "org.varlink.service.GetInterfaceDescription", "parameters": {"interface": "a.b"}}
    assert server.service_reply(request, about, {"a.b": "interface a.b"}) == ("", {"description": "interface a.b"})
    request["parameters"] = {"interface": "c"}
    assert server.service_reply(request, about, {}) == (server.INTERFACE_NOT_FOUND, {"interface": "c"})
    request["method"] = "org.varlink.service.Absent"
    assert server.service_reply(request, about, {}) == (server.METHOD_NOT_FOUND, {"method": request["method"]})
    assert server.service_reply({"method": "a.b.C"}, about, {}) is None


@pytest.mark.parametrize(
    "text",
    [server.SERVICE_DESCRIPTION, api.DESCRIPTION, guard_api.DESCRIPTION, interface.DESCRIPTION],
    ids=["service", "supervisor", "guard", "helper"],
)
def test_each_name_of_an_interface_means_one_thing(text: str) -> None:
    """Clients keep all members of an interface by their names: of two with one name they know the last."""
    names = re.findall(r"^(?:type|method|error) ([A-Za-z]\w*)", text, re.MULTILINE)
    assert len(names) > 5
    assert sorted(set(names)) == sorted(names)
