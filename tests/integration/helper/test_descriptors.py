# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Descriptors that callers pass and that operations return: what was declared arrives, nothing else does, and none is left."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import procs
import pytest
from helping import CALLER, INTERFACE, PYTHON, STRANGER, HelperProcess
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._helper.client import HelperError
from ansible_collections.holdfast.supervision.plugins.module_utils._varlink.client import Connection, VarlinkError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a helper gives away what only root has")

CODE = """
import os, socket, time

def read(file, times=1):
    return [file, os.read(file, 100).decode() * times]

def left():
    found = []
    for number in range(4, 300):
        try:
            found.append(os.readlink("/proc/self/fd/%d" % number))
        except FileNotFoundError:
            pass
    return found

def shut(file):
    os.close(file)

def linger(file, began):
    with open(began, "a") as out:
        out.write("began\\n")
    time.sleep(1000)

def both(source, target):
    os.write(target, os.read(source, 100).upper())

def give(which="file"):
    if which == "file":
        return open("/etc/shadow")
    if which == "number":
        return os.open("/etc/shadow", os.O_RDONLY)
    if which == "closed":
        return 999
    if which == "directory":
        return os.open("/etc", os.O_RDONLY)
    return "text"

def announced(began):
    with open(began, "w"):
        return open("/etc/hostname")

def back(file):
    return file

def port(number):
    listener = socket.socket()
    listener.bind(("127.0.0.1", number))
    listener.listen()
    return listener
"""

FILE = {"type": "descriptor"}
PIPE = {"type": "descriptor", "kinds": ["pipe"]}


@pytest.fixture
def code(helper: HelperProcess) -> Path:
    path = helper.base / "operations.py"
    path.write_text(CODE)
    return path


def function(code: Path, name: str, **more: Any) -> dict[str, Any]:
    return {"function": {"file": str(code), "name": name}, "idempotency": "pure", **more}


def send(helper: HelperProcess, parameters: dict[str, Any], *descriptors: int, data: bytes = b"") -> dict[str, Any]:
    """Send a call with descriptors as it stands; gives the whole answer, {} if the connection was closed instead."""
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(helper.socket))
        peer.settimeout(30)
        message = json.dumps({"method": f"{INTERFACE}.Call", "parameters": parameters}).encode() + b"\0"
        socket.send_fds(peer, [data or message], list(descriptors))
        answer = b""
        try:
            while not answer.endswith(b"\0"):
                part = peer.recv(65536)
                if not part:
                    return {}
                answer += part
        except ConnectionResetError:
            return {}
        return dict(json.loads(answer[:-1]))


class Pipe:
    """A pipe whose end tells whether anybody else still has the other one."""

    def __init__(self) -> None:
        self.read, self.write = os.pipe()

    def ended(self) -> bool:
        """Let go of the writing end; whether nobody has one any more."""
        if self.write >= 0:
            os.close(self.write)
            self.write = -1
        os.set_blocking(self.read, False)
        try:
            return os.read(self.read, 1) == b""
        except BlockingIOError:
            return False

    def gone(self) -> None:
        wait_until(self.ended)
        os.close(self.read)


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


@pytest.mark.parametrize("isolation", ["pooled", "fresh"])
def test_a_function_reads_what_only_its_caller_could_open(
    helper: HelperProcess, code: Path, tmp_path: Path, isolation: str
) -> None:
    times = {"type": "integer", "minimum": 1, "maximum": 9, "default": 1}
    helper.start(
        # Without root, so that nothing but the descriptor lets it.
        read=function(code, "read", parameters={"file": FILE, "times": times}, user="nobody", isolation=isolation),
        left=function(code, "left", user="nobody", isolation=isolation),
    )
    secret = tmp_path / "secret"
    secret.write_text("theirs")
    secret.chmod(0o600)
    with secret.open() as file:
        client = helper.client()
        for _number in range(3):
            file.seek(0)
            number, text = client.call("read", {"times": 2}, descriptors={"file": file.fileno()})["result"]
            assert number >= 10 and text == "theirstheirs"
    assert helper.call("left")["result"] == []
    assert helper.calls("exited")[0]["parameters"] == {"file": str(secret), "times": 2}


def test_a_program_finds_a_descriptor_by_its_path_or_number(helper: HelperProcess, tmp_path: Path) -> None:
    words = ["/bin/bash", "-c", 'cat "$1"; cat <&$2; cat "$FILE"; ls /proc/self/fd', "x"]
    helper.start(
        show={
            "argv": [*words, "{a}", "{b}"],
            "environment": {"FILE": "{c}"},
            "parameters": {"a": FILE, "b": {**FILE, "form": "number"}, "c": FILE},
        }
    )
    files = {}
    for name in ("b", "a", "c"):
        (tmp_path / name).write_text(f"this is {name}\n")
        files[name] = os.open(tmp_path / name, os.O_RDONLY)
    result = helper.client().call("show", descriptors=files)
    for descriptor in files.values():
        os.close(descriptor)
    said = result["stdout"].splitlines()
    assert said[:3] == ["this is a", "this is b", "this is c"]
    # Its outputs, what was passed, and the one by which ls reads the folder.
    assert len(said) == 3 + 3 + 3 + 1, said


def test_a_program_reads_and_writes_what_it_has_no_right_to_open(helper: HelperProcess, tmp_path: Path) -> None:
    parameters = {"a": {**FILE, "form": "input"}, "b": {**FILE, "form": "output", "access": "write"}}
    helper.start(copy={"argv": ["/bin/sh", "-c", "cat; echo >&2 err"], "parameters": parameters, "user": "nobody"})
    (tmp_path / "a").write_text("content")
    tmp_path.chmod(0o700)
    with open(tmp_path / "a") as a, open(tmp_path / "b", "w") as b:
        result = helper.client().call("copy", descriptors={"a": a.fileno(), "b": b.fileno()})
    assert (result["stdout"], result["stderr"]) == ("", "err\n")
    assert (tmp_path / "b").read_text() == "content"


def test_the_command_line_passes_files_and_numbers(helper: HelperProcess, code: Path) -> None:
    helper.start(
        read=function(code, "read", parameters={"file": {**FILE, "kinds": ["file", "pipe"]}}),
        cat={"argv": ["/bin/cat"], "parameters": {"file": {**FILE, "form": "input"}}, "idempotency": "pure"},
        give=function(code, "give", returns={"type": "descriptor"}),
    )
    file = helper.work / "file"
    file.write_text("content\n")
    file.chmod(0o600)
    os.chown(file, CALLER, CALLER)
    assert helper.as_user(CALLER, "call", "cat", "--fd", f"file={file}") == (0, "content\n", "")
    read, write = os.pipe()
    os.write(write, b"piped")
    code_, out, _err = helper.as_user(CALLER, "call", "read", "--fd", f"file={read}", pass_fds=(read,))
    os.close(read)
    os.close(write)
    assert code_ == 0 and "piped" in out
    code_, _out, err = helper.as_user(CALLER, "call", "cat", "--fd", "file=/etc/shadow")
    assert code_ == 1 and "Permission denied" in err
    code_, _out, err = helper.as_user(CALLER, "call", "cat", "--fd", "file")
    assert code_ == 2 and "NAME=PATH" in err
    # What root opened is read by who may not open it.
    script = 'cat /etc/shadow; cat <&"$HOLDFAST_DESCRIPTOR"'
    code_, out, err = helper.as_user(CALLER, "call", "give", "--run", "sh", "-c", script)
    assert code_ == 0 and out == Path("/etc/shadow").read_text() and "denied" in err


@pytest.mark.parametrize("which", ["file", "number"])
@pytest.mark.parametrize("isolation", ["pooled", "fresh"])
def test_an_operation_returns_what_it_opened(helper: HelperProcess, code: Path, which: str, isolation: str) -> None:
    choice = {"type": "enum", "values": ["file", "number", "closed", "directory", "text"]}
    pid = helper.start(
        give=function(code, "give", parameters={"which": choice}, returns={"type": "descriptor"}, isolation=isolation),
        left=function(code, "left", isolation=isolation),
    )
    client = helper.client()
    for _number in range(5):
        descriptor = client.open("give", {"which": which})
        with open(descriptor) as file:
            assert file.read() == Path("/etc/shadow").read_text()
            assert not os.get_inheritable(file.fileno())
        # Without a place for it there is none.
        assert client.call("give", {"which": which})["result"] == 0
        for wrong in ("closed", "directory", "text"):
            with pytest.raises(HelperError):
                client.open("give", {"which": wrong})
        assert client.call("left")["result"] == []
    wait_until(lambda: not any("shadow" in one for one in held(pid)))


@contextlib.contextmanager
def crowded(user: str) -> Iterator[None]:
    """As many descriptors of a user are under way as the kernel lets a worker of his have."""
    script = (
        "import socket, sys\n"
        "near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)\n"
        "try:\n"
        "    for _number in range(6):\n"
        "        socket.send_fds(near, [b'x'], [0] * 200)\n"
        "except OSError:\n"
        "    pass\n"
        "print(flush=True)\n"
        "sys.stdin.read()\n"
    )
    command = [PYTHON, "-I", "-S", "-c", script]
    with subprocess.Popen(command, user=user, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"\n"
        yield


def test_an_answer_waits_while_too_many_descriptors_of_its_user_are_under_way(
    helper: HelperProcess, code: Path
) -> None:
    began = helper.work / "began"
    parameters = {"began": {"type": "string"}}
    helper.start(open=function(code, "announced", parameters=parameters, returns={"type": "descriptor"}, user="bin"))
    client = helper.client()
    with crowded("bin"):
        with pytest.raises(HelperError, match="too many descriptors under way") as caught:
            client.open("open", {"began": str(began)})
        assert caught.value.name == "Failed"
        began.unlink()
        opening = helper.beside(client.open, "open", {"began": str(began)})
        wait_until(began.exists)
    os.close(opening.result(60))


def test_a_port_is_opened_for_who_may_not(helper: HelperProcess, code: Path) -> None:
    number = {"type": "integer", "minimum": 1, "maximum": 1023}
    returns = {"type": "descriptor", "kinds": ["socket"], "access": "read_write"}
    helper.prefix = ["unshare", "--net"]
    helper.start(
        port=function(
            code,
            "port",
            parameters={"number": number},
            returns=returns,
            capabilities=["net_bind_service"],
            user="nobody",
        )
    )
    with socket.socket(fileno=helper.client().open("port", {"number": 80})) as listener:
        assert listener.getsockname() == ("127.0.0.1", 80)


def test_what_was_not_declared_is_refused_and_nowhere_kept(helper: HelperProcess, code: Path, tmp_path: Path) -> None:
    pid = helper.start(
        plain=function(code, "left"),
        read=function(code, "read", parameters={"file": PIPE}),
        both=function(code, "both", parameters={"source": PIPE, "target": {**PIPE, "access": "write"}}),
        maybe=function(code, "left", parameters={"file": {**PIPE, "required": False}}),
    )
    assert helper.call("plain")["result"] == []
    before = descriptors(pid)

    def refused(operation: str, parameters: dict[str, Any], *passed: int) -> str:
        answer = send(helper, {"operation": operation, "parameters": parameters}, *passed)
        assert answer["error"] == f"{INTERFACE}.BadParameter", answer
        return f"{answer['parameters']['parameter']}: {answer['parameters']['message']}"

    pipe = Pipe()
    ends = pipe.read, pipe.write
    assert "no parameter names one" in refused("plain", {}, *ends)
    assert "there is no such parameter" in refused("plain", {"file": 0}, *ends)
    assert "no parameter names one" in refused("maybe", {}, *ends)
    assert "is missing" in refused("read", {}, pipe.read)
    assert "1 are named, and 2 came" in refused("read", {"file": 0}, *ends)
    assert "2 are named, and 1 came" in refused("both", {"source": 0, "target": 1}, pipe.read)
    assert "numbered from 0" in refused("both", {"source": 0, "target": 0}, *ends)
    assert "numbered from 0" in refused("both", {"source": 1, "target": 2}, *ends)
    assert "from 0" in refused("both", {"source": 0, "target": 8}, *ends)
    assert "from 0" in refused("read", {"file": -1}, pipe.read)
    assert "from 0" in refused("read", {"file": True}, pipe.read)
    assert "from 0" in refused("read", {"file": "/etc/shadow"}, pipe.read)
    assert "more than 9 came" in refused("read", {"file": 0}, *[pipe.read] * 10)
    assert "more than 9 came" in refused("read", {"file": 0}, *[pipe.read] * 253)
    # Of the wrong kind, or not open for it.
    assert "open for read" in refused("read", {"file": 0}, pipe.write)
    for path, flags in (("/etc/shadow", os.O_RDONLY), ("/", os.O_RDONLY), ("/dev/null", os.O_RDWR)):
        descriptor = os.open(path, flags)
        assert "descriptor of: pipe" in refused("read", {"file": 0}, descriptor)
        os.close(descriptor)
    descriptor = os.open("/etc/shadow", os.O_PATH)
    assert "O_PATH" in refused("read", {"file": 0}, descriptor)
    os.close(descriptor)
    # Without any.
    with Connection(str(helper.socket)) as connection, pytest.raises(VarlinkError, match="no descriptor came"):
        connection.call(f"{INTERFACE}.Call", {"operation": "read", "parameters": {"file": 0}})
    # To somebody who may call nothing, and with a question that takes none.
    listing = b'{"method": "%s.Operations"}\0' % INTERFACE.encode()
    assert "operations" in send(helper, {}, *ends, data=listing)["parameters"]
    assert "NotAllowed" in send(helper, {"operation": "absent"}, *ends)["error"]
    pipe.gone()
    assert helper.call("plain")["result"] == []
    wait_until(lambda: descriptors(pid) <= before)


def test_what_is_declared_arrives_and_is_let_go_of(helper: HelperProcess, code: Path) -> None:
    pid = helper.start(
        both=function(code, "both", parameters={"source": PIPE, "target": {**PIPE, "access": "write"}}),
        shut=function(code, "shut", parameters={"file": PIPE}),
        back=function(code, "back", parameters={"file": PIPE}, returns=PIPE),
        left=function(code, "left"),
    )
    client = helper.client()
    source, target = Pipe(), Pipe()
    os.write(source.write, b"hello")
    client.call("both", descriptors={"target": target.write, "source": source.read})
    assert os.read(target.read, 100) == b"HELLO"
    client.call("shut", descriptors={"file": source.read})
    os.write(source.write, b"again")
    again = client.open("back", descriptors={"file": source.read})
    assert os.read(again, 100) == b"again"
    os.close(again)
    assert client.call("left")["result"] == []
    os.close(source.read)
    with pytest.raises(BrokenPipeError):
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGPIPE])
        os.write(source.write, b"x")
    os.close(source.write)
    target.gone()
    assert descriptors(pid) < 30


@pytest.mark.parametrize("data", [b'{"method": ', b"x" * 60000 + b"\0", b"\0", b"[" * 100 + b"\0", b'{"a":1}\0{"b":'])
def test_a_message_that_is_none_takes_its_descriptors_along(helper: HelperProcess, code: Path, data: bytes) -> None:
    pid = helper.start(read=function(code, "read", parameters={"file": PIPE}))
    before = descriptors(pid)
    pipe = Pipe()
    # Without half a message that is waited for.
    assert send(helper, {}, pipe.write, data=data).get("error", "InterfaceNotFound").endswith("InterfaceNotFound")
    pipe.gone()
    wait_until(lambda: descriptors(pid) <= before)


def test_descriptors_belong_to_the_message_that_they_came_with(helper: HelperProcess, code: Path) -> None:
    helper.start(read=function(code, "read", parameters={"file": PIPE}), left=function(code, "left"))
    pipe = Pipe()
    os.write(pipe.write, b"hello")
    call = b'{"method": "%s.Call", "parameters": {"operation": "%s", "parameters": %s}}\0'
    plain = call % (INTERFACE.encode(), b"left", b"{}")
    passing = call % (INTERFACE.encode(), b"read", b'{"file": 0}')
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(helper.socket))
        peer.settimeout(30)
        peer.sendall(plain)
        socket.send_fds(peer, [passing], [pipe.read])
        answers = b""
        while answers.count(b"\0") < 2:
            answers += peer.recv(65536)
        assert b'"hello"' in answers.split(b"\0")[1]
        # What else is said there is not heard.
        assert _end(peer)
    # Two messages in one piece: whose they are is not known, so they are nobody's.
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(helper.socket))
        peer.settimeout(30)
        socket.send_fds(peer, [plain + passing], [pipe.read])
        answers = b""
        while answers.count(b"\0") < 2:
            answers += peer.recv(65536)
        assert b"no descriptor came" in answers.split(b"\0")[1]
    pipe.gone()


def _end(peer: socket.socket) -> bool:
    try:
        return peer.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("way", ["finish", "cancel"])
def test_a_caller_that_dies_takes_its_descriptors_along(helper: HelperProcess, code: Path, way: str) -> None:
    began = helper.work / "began"
    parameters = {"file": PIPE, "began": {"type": "string"}}
    linger = function(code, "linger", parameters=parameters, on_disconnect=way, isolation="pooled", timeout=600)
    pid = helper.start(linger=linger)
    pipes = [Pipe() for _number in range(6)]
    peers = []
    for pipe in pipes:
        peer = socket.socket(socket.AF_UNIX)
        peer.connect(str(helper.socket))
        asked = {"operation": "linger", "parameters": {"file": 0, "began": str(began)}}
        message = json.dumps({"method": f"{INTERFACE}.Call", "parameters": asked}).encode() + b"\0"
        socket.send_fds(peer, [message], [pipe.read, pipe.write][:1])
        peers.append(peer)
        count = min(len(peers), 4)
        wait_until(lambda count=count: began.exists() and began.read_text().count("began") == count)  # type: ignore[misc]
    # Two wait for their turn, and never begin; four are at work.
    for peer in peers[4:]:
        peer.close()
    wait_until(lambda: len(helper.calls("cancelled")) == 2)
    for peer in peers[:4]:
        peer.close()
    wait_until(lambda: len(helper.calls("cancelled")) == (2 if way == "finish" else 6))
    for pipe in pipes[4 if way == "finish" else 0 :]:
        os.close(pipe.read)
        wait_until(lambda pipe=pipe: _broken(pipe.write))  # type: ignore[misc]
        os.close(pipe.write)
    assert began.read_text().count("began") == 4
    helper.kill()
    assert not procs.alive(pid)


def _broken(descriptor: int) -> bool:
    try:
        os.write(descriptor, b"x")
    except BrokenPipeError:
        return True
    return False


def test_a_call_with_a_descriptor_is_made_again_by_the_next_helper(helper: HelperProcess, code: Path) -> None:
    file = helper.work / "began"
    script = f'echo began >>{file}; [ $(wc -l <{file}) -gt 1 ] || exec sleep 1000; cat "$1"'
    helper.start(
        again={
            "argv": ["/bin/sh", "-c", script, "x", "{file}"],
            "parameters": {"file": FILE},
            "idempotency": "idempotent",
            "timeout": 600,
        }
    )
    content = helper.work / "content"
    content.write_text("as it was\n")
    with content.open() as opened:
        caller = helper.beside(helper.client(pause=2).call, "again", descriptors={"file": opened.fileno()})
        wait_until(lambda: file.exists() and file.read_text() == "began\n")
        helper.kill()
        helper.start()
        assert caller.result(60)["stdout"] == "as it was\n"


def test_a_worker_that_is_killed_with_a_descriptor_keeps_none(helper: HelperProcess, code: Path) -> None:
    began = helper.work / "began"
    pid = helper.start(
        linger=function(code, "linger", parameters={"file": PIPE, "began": {"type": "string"}}, timeout=600),
        left=function(code, "left"),
    )
    pipe = Pipe()
    caller = helper.beside(helper.client().call, "linger", {"began": str(began)}, descriptors={"file": pipe.read})
    wait_until(began.exists)
    assert os.readlink(f"/proc/self/fd/{pipe.read}") not in held(pid)
    (worker,) = [one for one in procs.children(pid) if os.readlink(f"/proc/self/fd/{pipe.read}") in held(one)]
    os.kill(worker, signal.SIGKILL)
    with pytest.raises(HelperError) as caught:
        caller.result(60)
    assert caught.value.name == "WorkerDied"
    os.close(pipe.read)
    wait_until(lambda: _broken(pipe.write))
    os.close(pipe.write)


def held(pid: int) -> list[str]:
    found = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            found.append(os.readlink(f"/proc/{pid}/fd/{name}"))
        except FileNotFoundError:
            pass
    return found


def test_the_helper_holds_no_descriptor_of_a_thousand_calls_of_any_kind(helper: HelperProcess, code: Path) -> None:
    pid = helper.start(read=function(code, "read", parameters={"file": PIPE}), left=function(code, "left"))
    helper.call("left")
    before = descriptors(pid)
    pipe = Pipe()
    messages = [
        json.dumps({"method": f"{INTERFACE}.Call", "parameters": one}).encode() + b"\0"
        for one in (
            {"operation": "read", "parameters": {}},
            {"operation": "left"},
            {"operation": "absent"},
            {"operation": "read", "parameters": {"file": 1}},
        )
    ]
    for number in range(1000):
        if number % 50 == 0:
            # Not more at once: those of one user that are under way are counted together, for the tests beside this one too.
            assert helper.call("left")["result"] == []
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(str(helper.socket))
            message = messages[number % 4]
            # Some are cut short, and none waits for an answer.
            socket.send_fds(peer, [message if number % 3 else message[: number % len(message) + 1]], [pipe.write] * 8)
    assert helper.call("left")["result"] == []
    wait_until(lambda: descriptors(pid) <= before)
    pipe.gone()


def test_a_helper_without_such_operations_cannot_be_sent_one(helper: HelperProcess) -> None:
    pid = helper.start(works={"argv": ["/bin/true"]})
    before = descriptors(pid)
    pipe = Pipe()
    try:
        answer = send(helper, {"operation": "works"}, pipe.write)
    except PermissionError:
        answer = {}  # The kernel says so itself, from Linux 6.16 on.
    assert not answer or answer["parameters"]["exit"] == 0
    pipe.gone()
    wait_until(lambda: descriptors(pid) <= before)
    with open("/etc/hostname") as file, pytest.raises(HelperError, match=r"no such parameter|no operation to which"):
        helper.client().call("works", descriptors={"file": file.fileno()})


def test_a_stranger_passes_nothing(helper: HelperProcess, code: Path) -> None:
    helper.start(read=function(code, "read", parameters={"file": PIPE}))
    script = (
        "import socket, sys\n"
        "peer = socket.socket(socket.AF_UNIX)\n"
        f"peer.connect({str(helper.socket)!r})\n"
        f'call = b\'{{"method": "{INTERFACE}.Call", "parameters": {{"operation": "read", "parameters": {{"file": 0}}}}}}\'\n'
        "socket.send_fds(peer, [call + bytes(1)], [0])\n"
        "print(peer.recv(1000))\n"
    )
    command = [PYTHON, "-I", "-S", "-c", script]
    done = subprocess.run(
        command, user=STRANGER, group=STRANGER, extra_groups=[], capture_output=True, text=True, check=True
    )
    assert "NotAllowed" in done.stdout


def test_the_generated_method_takes_one_too(helper: HelperProcess, code: Path) -> None:
    helper.start(read=function(code, "read", parameters={"file": PIPE}))
    read, write = os.pipe()
    os.write(write, b"x")
    with Connection(str(helper.socket)) as connection:
        asked = {"interface": "io.holdfast.Operations"}
        text = connection.call("org.varlink.service.GetInterfaceDescription", asked)["description"]
        assert "method Read(file: int)" in text and "# file: is a descriptor" in text
        answer = connection.call("io.holdfast.Operations.Read", {"file": 0}, descriptors=[read])
    assert answer["exit"] == 0
    assert stat.S_ISFIFO(os.fstat(read).st_mode)
    os.close(read)
    os.close(write)
