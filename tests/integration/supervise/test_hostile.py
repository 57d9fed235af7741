# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a supervisor must bear: garbage in its FIFOs and its socket, clients that behave badly, directories of others."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import procs
import pytest
from supervised import INTERFACE, Scan
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._varlink.client import (
    Connection,
    ConnectionLost,
    VarlinkError,
)

root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def running(scan: Scan) -> Iterator[Scan]:
    """A supervisor with one service, which must be untouched at the end."""
    scan.add("a")
    scan.start()
    pid = scan.until("a", "ready")["pid"]
    yield scan
    report = scan.until("a", "ready")
    assert (report["pid"], report["deaths"]) == (pid, 0)


def connect(scan: Scan) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(30)
    connection.connect(scan.socket)
    return connection


def is_dropped(connection: socket.socket) -> bool:
    """Whether the supervisor ended the connection (what it says before that does not matter)."""
    try:
        while connection.recv(65536):
            pass
    except ConnectionResetError:
        pass
    return True


def test_garbage_in_the_control_fifo(running: Scan) -> None:
    harmless = bytes(byte for byte in range(256) if bytes([byte]) not in b"udoxpcaihqkt12wyrblL+=b")
    descriptor = os.open(running.path / "a" / "supervise" / "control", os.O_WRONLY | os.O_NONBLOCK)
    try:
        sent = 0
        while sent < 1024 * 1024:
            try:
                sent += os.write(descriptor, harmless * 16)
            except BlockingIOError:
                assert running.service("a")["state"] == "ready"
    finally:
        os.close(descriptor)


def test_data_in_the_ok_fifo(running: Scan) -> None:
    descriptor = os.open(running.path / "a" / "supervise" / "ok", os.O_WRONLY | os.O_NONBLOCK)
    try:
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(descriptor, b"\0" * 4096)
    finally:
        os.close(descriptor)
    assert running.service("a")["state"] == "ready"


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.0\r\n\r\n\0",
        b"\0",
        b"\0" * 1000,
        b"{}\0",
        b"[]\0",
        b"null\0",
        b'"x"\0',
        b"{\0",
        b'{"method": 7}\0',
        b'{"method": "x", "parameters": []}\0',
        b"\xff\xfe\0",
        b'{"a":' * 50000 + b"\0",
        b"[" * 100000 + b"\0",
        b'{"method": "io.holdfast.Supervisor.Status", "parameters": {"names": 7}}\0',
        b'{"method": "io.holdfast.Supervisor.Status", "parameters": {"names": [7, null, {}]}}\0',
        b'{"method": "io.holdfast.Supervisor.Wait", "parameters": {"wishes": [{}], "timeout": 1}}\0',
        b'{"method": "io.holdfast.Supervisor.Wait", "parameters": {"wishes": [], "timeout": "x"}}\0',
        b'{"method": "io.holdfast.Supervisor.Wait", "parameters": {"wishes": [], "timeout": 1e999}}\0',
        b'{"method": "io.holdfast.Supervisor.Wait", "parameters": {"wishes": [{"name":"a","state":"ready"}], "timeout": NaN}}\0',
        b'{"method": "io.holdfast.Supervisor.Wait", "parameters": {"wishes": [{"name":"a","state":"down"}], "timeout": -1}}\0',
        b'{"method": "io.holdfast.Supervisor.Control", "parameters": {"commands": "start"}}\0',
        b'{"method": "io.holdfast.Supervisor.Control", "parameters": {"commands": [["a", "start"]]}}\0',
        b'{"method": "io.holdfast.Supervisor.Why", "parameters": {"name": "a", "count": -5}}\0',
        b'{"method": "io.holdfast.Supervisor.Why", "parameters": {"name": "../../../etc/passwd", "count": 1e400}}\0',
        b'{"method": "io.holdfast.Supervisor.Why"}\0',
        b'{"method": "io.holdfast.Supervisor.Control", "parameters": {"commands": [{"name": "a", "action": "explode"}]}}\0',
    ],
)
def test_junk_on_the_socket(running: Scan, data: bytes) -> None:
    with connect(running) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(data)
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_WR)
        assert is_dropped(connection)
    assert running.call("Status")["services"][0]["name"] == "a"


def test_half_a_message_and_then_nothing(running: Scan) -> None:
    with connect(running) as connection:
        connection.sendall(b'{"method": "io.holdf')
        assert running.call("Status")["services"]
    assert running.call("Status")["services"]


def test_a_message_in_single_bytes(running: Scan) -> None:
    with connect(running) as connection:
        for byte in json.dumps({"method": f"{INTERFACE}.Status", "parameters": {}}).encode() + b"\0":
            connection.sendall(bytes([byte]))
        data = b""
        while not data.endswith(b"\0"):
            data += connection.recv(65536)
    assert json.loads(data[:-1])["parameters"]["services"][0]["name"] == "a"


def test_an_endless_message_is_cut_off(running: Scan) -> None:
    with connect(running) as connection, contextlib.suppress(OSError):
        for _block in range(64):
            connection.sendall(b"x" * 1024 * 1024)
        raise AssertionError("64 MB without an end were taken")
    assert running.call("Status")["services"]


def test_a_client_that_never_reads(running: Scan) -> None:
    request = json.dumps({"method": f"{INTERFACE}.Status", "parameters": {}}).encode() + b"\0"
    with connect(running) as connection:
        connection.setblocking(False)
        with contextlib.suppress(OSError):
            for _number in range(100000):
                connection.send(request)
        assert running.call("Status")["services"]
    assert running.call("Status")["services"]


def test_two_hundred_connections(running: Scan) -> None:
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(connect(running)) for _number in range(200)]
        assert running.call("Status")["services"]
        for connection in idle:
            connection.sendall(json.dumps({"method": f"{INTERFACE}.Status", "parameters": {}}).encode() + b"\0")
        for connection in idle:
            assert connection.recv(16)


def test_descriptors_are_given_back(running: Scan) -> None:
    assert running.process is not None
    before = len(procs.descriptors(running.process.pid))
    for _number in range(100):
        with connect(running) as connection:
            connection.sendall(b"junk\0")
    for _number in range(100):
        assert running.call("Status")["services"]
    pid = running.process.pid
    wait_until(lambda: len(procs.descriptors(pid)) <= before)


def test_a_waiter_that_goes_away(running: Scan) -> None:
    running.add("b", readiness={"grace": 100000.0, "timeout": 200000.0})
    running.until("b", "up")
    with connect(running) as connection:
        parameters = {"wishes": [{"name": "b", "state": "ready"}], "timeout": 1000.0}
        connection.sendall(json.dumps({"method": f"{INTERFACE}.Wait", "parameters": parameters}).encode() + b"\0")
        assert running.call("Status")["services"]
    procs.kill(running.service("b")["pid"])
    running.until("b", "up", deaths=1)


@pytest.mark.parametrize(
    "name", ["nobody-knows", "", ".", "..", "../a", "a/..", ".holdfast", "a/log", "a\0b", "é" * 100]
)
def test_names_that_are_no_services(running: Scan, name: str) -> None:
    with pytest.raises(VarlinkError) as refused:
        running.call("Status", names=[name])
    assert refused.value.name == f"{INTERFACE}.NoSuchService"
    with pytest.raises(VarlinkError) as refused:
        running.call("Why", name=name)
    assert refused.value.name == f"{INTERFACE}.NoSuchService"


def test_control_names_those_that_it_does_not_know(running: Scan) -> None:
    commands = [{"name": "nobody", "action": "start"}, {"name": "a", "action": "winch"}]
    try:
        errors = running.call("Control", commands=commands)["errors"]
    except VarlinkError as error:
        assert error.name == f"{INTERFACE}.NoSuchService"
    else:
        assert [error["name"] for error in errors] == ["nobody"]


def test_an_unknown_method(running: Scan) -> None:
    with Connection(running.socket) as connection:
        with pytest.raises(VarlinkError) as refused:
            connection.call(f"{INTERFACE}.Explode")
        assert refused.value.name == "org.varlink.service.MethodNotFound"
        with pytest.raises(VarlinkError) as refused:
            connection.call("org.example.Nothing")
        assert refused.value.name.startswith("org.varlink.service.")


def test_introspection(running: Scan) -> None:
    with Connection(running.socket) as connection:
        info = connection.call("org.varlink.service.GetInfo")
        assert INTERFACE in info["interfaces"]
        text = connection.call("org.varlink.service.GetInterfaceDescription", {"interface": INTERFACE})["description"]
    assert text.startswith("#") or "interface io.holdfast.Supervisor" in text
    for method in ("Status", "Rescan", "Control", "Wait", "Why", "Events", "Stop", "Reexec"):
        assert f"method {method}(" in text


def test_events_are_streamed(running: Scan) -> None:
    with Connection(running.socket, 30) as connection:
        events = connection.stream(f"{INTERFACE}.Events")
        # Something to report, again and again, until the stream, which begins when it likes, has it.
        running.add("b", "#!/bin/sh\nexit 9\n")
        seen = next(event for event in events if "exit" in json.dumps(event))
    assert "b" in json.dumps(seen)


def test_the_socket_is_private(running: Scan) -> None:
    assert Path(running.socket).stat().st_mode & 0o777 == 0o600


@root
def test_other_users_are_refused_even_if_they_reach_the_socket(running: Scan) -> None:
    os.chmod(running.socket, 0o666)
    program = (
        "import os, socket, sys\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "s = socket.socket(socket.AF_UNIX)\n"
        "s.settimeout(20)\n"
        "try:\n"
        "    s.connect(sys.argv[1])\n"
        '    s.sendall(b\'{"method": "io.holdfast.Supervisor.Status", "parameters": {}}\\0\')\n'
        "    data = s.recv(65536)\n"
        "except OSError:\n"
        "    data = b''\n"
        "print('services' if b'services' in data else 'refused')\n"
    )
    answer = subprocess.run(
        ["/usr/bin/python3", "-c", program, running.socket], capture_output=True, text=True, timeout=60, check=False
    )
    assert answer.stdout.strip() == "refused", answer.stderr


@root
def test_a_scan_directory_of_somebody_else_is_refused(scan: Scan) -> None:
    os.chown(scan.path, pwd.getpwnam("nobody").pw_uid, -1)
    scan.add("a")
    answer = scan.run("supervise", str(scan.path))
    assert answer.returncode in (100, 111)
    assert "65534" in answer.stderr or "nobody" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert procs.living_in(scan.path / "a") == []


def test_a_scan_directory_that_others_may_write_to_is_refused(scan: Scan) -> None:
    scan.path.chmod(0o777)
    answer = scan.run("supervise", str(scan.path))
    assert answer.returncode in (100, 111)
    assert "write" in answer.stderr


@pytest.mark.parametrize("arguments", [[], ["--nonsense"], ["a", "b"], ["--layout", "odd", "."], ["--service"]])
def test_wrong_usage(scan: Scan, arguments: list[str]) -> None:
    answer = scan.run("supervise", *arguments, cwd=scan.base)
    assert answer.returncode == 2
    assert "usage" in answer.stderr


def test_a_scan_directory_that_is_not_there(scan: Scan) -> None:
    answer = scan.run("supervise", str(scan.base / "none"))
    assert answer.returncode in (100, 111)
    assert "Traceback" not in answer.stderr


def test_a_long_path(scan: Scan) -> None:
    # The kernel allows 108 bytes for the name of a socket.
    deep = scan.base / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    scan.path.rename(deep / "services")
    scan.path = deep / "services"
    scan.add("a")
    scan.start()
    scan.until("a", "ready")
    answer = scan.run("status")
    assert answer.returncode == 0
    assert " ready " in answer.stdout


def test_a_supervise_directory_that_cannot_be_made(scan: Scan) -> None:
    directory = scan.add("a")
    (directory / "supervise").write_text("in the way\n")
    scan.add("b")
    scan.start()
    scan.until("b", "ready")
    assert procs.living_in(directory) == []
    assert "a" in scan.complaints()


@pytest.mark.parametrize("name", ["control", "ok", "status", "lock", "record", "journal"])
def test_something_else_where_a_file_of_the_supervisor_belongs(scan: Scan, name: str) -> None:
    directory = scan.add("a")
    (directory / "supervise" / name).mkdir(parents=True)
    scan.add("b")
    scan.start()
    scan.until("b", "ready")


def test_files_of_the_supervisor_that_are_deleted_while_it_runs(scan: Scan) -> None:
    directory = scan.add("a")
    scan.add("b")
    scan.start()
    pid = scan.until("a", "ready")["pid"]
    for entry in (directory / "supervise").iterdir():
        entry.unlink()
    procs.kill(pid)
    scan.until("a", "ready", deaths=1)
    scan.control("a", "stop")
    scan.until("a", "down")
    scan.until("b", "ready", deaths=0)


def test_lost_connection_is_told_apart_from_no_supervisor(scan: Scan) -> None:
    with pytest.raises(ConnectionLost):
        scan.call("Status")
