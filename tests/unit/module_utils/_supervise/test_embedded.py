# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The client of the embedded supervisor, when what answers is not as it should be."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._supervise import embedded, presence
from ansible_collections.holdfast.supervision.plugins.module_utils._supervise.interface import (
    BackendError,
    NotRunning,
    Unanswered,
)
from ansible_collections.holdfast.supervision.plugins.module_utils._varlink.codec import decode, encode

STATUS = {"supervisor": {"pid": 7}, "services": [{"name": "web", "state": "ready"}]}


class Server:
    """Answers each call with the next of `answers`: a message, bytes as they are, or None to hang up."""

    def __init__(self, path: Path) -> None:
        self.answers: list[dict[str, Any] | bytes | None] = []
        self.calls: list[dict[str, Any]] = []
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen(5)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _peer = self._socket.accept()
            except OSError:
                return
            with connection:
                self._talk(connection)

    def _talk(self, connection: socket.socket) -> None:
        buffer = b""
        while True:
            data = connection.recv(65536)
            if not data:
                return
            buffer += data
            while b"\0" in buffer:
                frame, _nul, buffer = buffer.partition(b"\0")
                self.calls.append(decode(frame))
                answer = self.answers.pop(0) if self.answers else None
                if answer is None:
                    return
                connection.sendall(answer if isinstance(answer, bytes) else encode(answer))

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(10)


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    (tmp_path / ".holdfast").mkdir()
    return tmp_path


@pytest.fixture
def server(scan: Path) -> Iterator[Server]:
    made = Server(scan / ".holdfast" / "socket")
    yield made
    made.close()


@pytest.fixture
def backend(scan: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[embedded.Embedded]:
    monkeypatch.setattr(embedded, "RETURN", 0.2)
    made = embedded.Embedded(str(scan))
    yield made
    made.close()


def test_nobody_is_there(backend: embedded.Embedded) -> None:
    with pytest.raises(NotRunning, match="no supervisor runs on"):
        backend.snapshot()


def test_a_supervisor_that_holds_the_lock_and_does_not_answer(scan: Path, backend: embedded.Embedded) -> None:
    lock = scan / ".holdfast" / "lock"
    hold = (
        "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.lockf(f, fcntl.LOCK_EX); "
        "print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", hold, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        assert presence.lock_holder(str(lock)) == holder.pid
        with pytest.raises(Unanswered, match=f"process {holder.pid} holds"):
            backend.snapshot()
    finally:
        holder.communicate()
    assert presence.lock_holder(str(lock)) is None
    with lock.open("r+") as file:
        # Asking did not take it.
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"parameters": {}}, "is not a supervisor of this version"),
        ({"parameters": {"supervisor": {}, "services": {}}}, "is not a supervisor of this version"),
        ({"error": "org.varlink.service.MethodNotFound", "parameters": {"method": "Status"}}, "does not know Status"),
        ({"error": "org.varlink.service.InterfaceNotFound", "parameters": {}}, "of another version"),
        ({"error": "io.holdfast.Supervisor.BadRequest", "parameters": {"message": "no"}}, "refused Status: .*no"),
    ],
)
def test_something_else_answers(server: Server, backend: embedded.Embedded, answer: dict[str, Any], error: str) -> None:
    server.answers = [answer]
    with pytest.raises(BackendError, match=error):
        backend.snapshot()


def test_a_socket_of_somebody_else_is_not_trusted(
    server: Server, backend: embedded.Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded.Connection, "peer", lambda _self: (1, 12345, 12345))
    with pytest.raises(Unanswered, match="user 12345"):
        backend.snapshot()
    assert server.calls == []


@pytest.mark.parametrize("failure", [None, b"no json\0", b"[]\0"])
def test_a_lost_connection_is_made_again_and_the_call_too(
    server: Server, backend: embedded.Embedded, failure: bytes | None
) -> None:
    server.answers = [failure, {"parameters": STATUS}]
    assert backend.snapshot().services["web"].state == "ready"
    assert [call["method"] for call in server.calls] == ["io.holdfast.Supervisor.Status"] * 2


def test_a_supervisor_that_is_lost_again_and_again(server: Server, backend: embedded.Embedded) -> None:
    server.answers = [None, None]
    with pytest.raises(Unanswered, match=r"lost twice: [^;]*$"):
        backend.rescan()


def test_one_that_hangs_is_named_with_what_to_do(server: Server, backend: embedded.Embedded, scan: Path) -> None:
    server.answers = [None, None]
    # In a process of its own: the kernel names no holder that asks himself.
    with (scan / ".holdfast" / "lock").open("w") as lock:
        holder = os.fork()
        if not holder:
            fcntl.lockf(lock, fcntl.LOCK_EX)
            signal.pause()
        try:
            wait_until(lambda: presence.lock_holder(str(scan / ".holdfast" / "lock")) == holder)
            with pytest.raises(Unanswered, match=f"process {holder} hangs .*kill -9 {holder}"):
                backend.rescan()
        finally:
            os.kill(holder, signal.SIGKILL)
            os.waitpid(holder, 0)


def test_a_supervisor_that_does_not_come_back(scan: Path, backend: embedded.Embedded) -> None:
    server = Server(scan / ".holdfast" / "socket")
    server.answers = [{"parameters": STATUS}]
    backend.snapshot()
    server.close()
    with pytest.raises(NotRunning, match="did not come back"):
        backend.wait([("web", "ready")], 5)


def test_waiting_goes_on_with_the_time_that_is_left(server: Server, backend: embedded.Embedded) -> None:
    results = {"results": [{"name": "web", "outcome": "reached", "service": None}]}
    server.answers = [None, {"parameters": results}]
    verdict = backend.wait([("web", "gone")], 30)["web"]
    assert verdict.outcome == "reached" and verdict.service is None
    first, second = (call["parameters"]["timeout"] for call in server.calls)
    assert second < first <= 30


def test_what_is_said_on_the_wire(server: Server, backend: embedded.Embedded) -> None:
    server.answers = [{"parameters": {"errors": [{"name": "web", "message": "no"}]}}]
    assert backend.control([]) == {} and backend.wait([], 1) == {}
    assert backend.control([("web", "start")]) == {"web": "no"}
    assert server.calls == [
        {
            "method": "io.holdfast.Supervisor.Control",
            "parameters": {"commands": [{"name": "web", "action": "start"}]},
        }
    ]


def test_a_path_of_any_length(tmp_path: Path) -> None:
    deep = tmp_path
    for _level in range(12):
        deep = deep / ("x" * 20)
    (deep / ".holdfast").mkdir(parents=True)
    folder = os.open(deep / ".holdfast", os.O_PATH)
    server = Server(Path(f"/proc/self/fd/{folder}/socket"))
    try:
        server.answers = [{"parameters": STATUS}]
        backend = embedded.Embedded(str(deep))
        assert backend.snapshot().supervisor == {"pid": 7}
        backend.close()
    finally:
        server.close()
        os.close(folder)


def test_features_that_the_host_has_to_have(backend: embedded.Embedded, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    answer: Callable[..., str] = lambda *arguments: asked.append(arguments) or "no"  # noqa: E731
    monkeypatch.setattr(embedded, "label_obstacle", answer)
    snapshot = embedded.Snapshot({"pid": 7}, {})
    meta = {"process": {"security_context": {"selinux": "x"}}}
    assert backend.obstacle("security_context", meta, snapshot) == "no"
    assert asked == [({"selinux": "x"},)]
    assert backend.obstacle("health", meta, snapshot) == ""
