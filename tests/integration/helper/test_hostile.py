# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Peers that send what nobody should: bounded, refused, survived, and the others are served meanwhile."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
from collections.abc import Iterator

import procs
import pytest
from helping import CALLER, INTERFACE, PYTHON, STRANGER, HelperProcess

from ansible_collections.holdfast.supervision.plugins.module_utils._varlink.client import Connection

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a helper gives away what only root has")

WORKS = {"argv": ["/bin/true"], "idempotency": "pure"}


def ask(helper: HelperProcess, data: bytes) -> bytes:
    """Send bytes and give the answer, b"" if the connection was closed instead."""
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(helper.socket))
        peer.settimeout(60)
        try:
            peer.sendall(data)
            answer = b""
            while not answer.endswith(b"\0"):
                part = peer.recv(65536)
                if not part:
                    break
                answer += part
        except (BrokenPipeError, ConnectionResetError):
            return b""
        return answer


def call(parameters: str) -> bytes:
    return f'{{"method": "{INTERFACE}.Call", "parameters": {parameters}}}'.encode() + b"\0"


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (b"\xff\xfe{}\0", b""),
        (b'{"method": "\xc3\x28"}\0', b""),
        (b"\xef\xbb\xbf{}\0", b""),
        (b"[" * 100000 + b"\0", b""),
        (b'{"a":' * 1000 + b"1" + b"}" * 1000 + b"\0", b""),
        (b'{"method": 1e999}\0', b"InterfaceNotFound"),
        (call('{"operation": "number", "parameters": {"number": NaN}}'), b""),
        (call('{"operation": "number", "parameters": {"number": Infinity}}'), b""),
        (call('{"operation": "number", "parameters": {"number": 1e999}}'), b"BadParameter"),
        (call('{"operation": "number", "parameters": {"number": ' + "9" * 100000 + "}}"), b""),
        (call('{"operation": "number", "parameters": {"number": 99999999999999999999}}'), b"BadParameter"),
        (call('{"operation": "number", "parameters": {"number": 1.0}}'), b"BadParameter"),
        (call('{"operation": "number", "parameters": {"number": "1"}}'), b"BadParameter"),
        (call('{"operation": "number", "parameters": {"number": 1, "__class__": "x"}}'), b"BadParameter"),
        (call('{"operation": "text", "parameters": {"text": "a\\u0000b"}}'), b"BadParameter"),
        (call('{"operation": "text", "parameters": {"text": "\\ud800"}}'), b"BadParameter"),
        (call('{"operation": "__init__"}'), b"NotAllowed"),
        (call('{"operation": "\\ud800"}'), b"NotAllowed"),
        (call('{"operation": "number", "parameters": [1]}'), b"BadParameter"),
        (b'{"method": "' + INTERFACE.encode() + b'.__init__"}\0', b"MethodNotFound"),
        (b'{"method": "' + INTERFACE.encode() + b'._call"}\0', b"MethodNotFound"),
        (b'{"method": "Call"}\0', b"InterfaceNotFound"),
    ],
)
def test_what_is_no_good_call_does_nothing(helper: HelperProcess, data: bytes, answer: bytes) -> None:
    began = helper.work / "began"
    script = ["/bin/sh", "-c", f"echo >>{began}", "x"]
    number = {"type": "integer", "minimum": 1, "maximum": 9}
    helper.start(
        number={"argv": [*script, "{number}"], "parameters": {"number": number}},
        text={"argv": [*script, "{text}"], "parameters": {"text": {"type": "string"}}},
    )
    got = ask(helper, data)
    assert answer in got if answer else got == b""
    assert not began.exists()
    assert b"parameters" in ask(helper, b'{"method": "org.varlink.service.GetInfo"}\0')


def test_of_a_key_that_comes_twice_one_is_judged_run_and_written_down(helper: HelperProcess) -> None:
    echo = {
        "argv": ["/bin/echo", "{number}"],
        "parameters": {"number": {"type": "integer", "minimum": 1, "maximum": 9}},
    }
    helper.start(echo=echo, roots={**echo, "allow": []})
    twice = call('{"operation": "roots", "operation": "echo", "parameters": {"number": 99, "number": 2}}')
    assert json.loads(ask(helper, twice)[:-1])["parameters"]["stdout"] == "2\n"
    (record,) = helper.calls()
    assert (record["operation"], record["parameters"]) == ("echo", {"number": 2})


def test_a_request_that_is_too_long_is_cut_off_and_costs_no_memory(helper: HelperProcess) -> None:
    pid = helper.start(works=WORKS)
    ask(helper, call('{"operation": "works"}'))
    before = resident(pid)
    for _number in range(20):
        assert ask(helper, b'{"method": "' + b"x" * 4_000_000) == b""
    assert resident(pid) < before + 4000
    assert helper.call("works")["exit"] == 0


def test_answers_that_nobody_reads_hold_up_their_reader_alone(helper: HelperProcess) -> None:
    pid = helper.start(works=WORKS)
    before = resident(pid)
    request = b'{"method": "org.varlink.service.GetInterfaceDescription", "parameters": {"interface": "%s"}}\0'
    with contextlib.ExitStack() as stack:
        for _number in range(20):
            peer = stack.enter_context(socket.socket(socket.AF_UNIX))
            peer.connect(str(helper.socket))
            peer.setblocking(False)
            with contextlib.suppress(OSError):
                for _turn in range(2000):
                    peer.send(request % INTERFACE.encode())
        assert helper.call("works")["exit"] == 0
        assert resident(pid) < before + 20 * 1024
    assert helper.call("works")["exit"] == 0


#: Opens connections as another user, sends half a request on each, and holds them until it is told to end.
CROWD = """
import resource, socket, sys
path, count, half = sys.argv[1], int(sys.argv[2]), sys.argv[3].encode()
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
held, made = [], 0
for number in range(count):
    peer = socket.socket(socket.AF_UNIX)
    try:
        peer.setblocking(False)
        peer.connect(path)
        if half:
            peer.send(half)
        made += 1
        held.append(peer)
    except BlockingIOError:
        pass
    except OSError:
        pass
    if len(held) > 900:
        held.pop(0).close()
print(made, flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def crowd(helper: HelperProcess, uid: int, count: int, half: str = "") -> Iterator[int]:
    command = [PYTHON, "-I", "-S", "-c", CROWD, str(helper.socket), str(count), half]
    with subprocess.Popen(
        command, user=uid, group=uid, extra_groups=[], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stdin is not None
        made = int(process.stdout.readline())
        yield made
        process.stdin.close()
        process.wait(60)


@pytest.mark.parametrize("uid", [CALLER, STRANGER])
def test_ten_thousand_connections_of_somebody_leave_room_for_others(helper: HelperProcess, uid: int) -> None:
    pid = helper.start(works=WORKS)
    with crowd(helper, uid, 10000, '{"method": '):
        assert helper.call("works")["exit"] == 0
        assert len(os.listdir(f"/proc/{pid}/fd")) < 600
        assert resident(pid) < 60 * 1024
    assert helper.call("works")["exit"] == 0
    assert procs.alive(pid)


def test_users_who_have_all_connections_keep_nobody_else_out(helper: HelperProcess) -> None:
    others = [CALLER + 1, CALLER + 2]
    hold = {"argv": ["/bin/true"], "idempotency": "idempotent"}
    helper.settings = {"resources": {"thing": {"create": "make", "destroy": "make"}}}
    everybody = [{"user": uid} for uid in (CALLER, *others)]
    works = {**WORKS, "allow": everybody}
    pid = helper.start(works=works, make={**hold, "allow": everybody})
    with contextlib.ExitStack() as stack:
        # One that holds something, and half a request on each of the others: 512 of each user is the bound.
        thing = stack.enter_context(helper.client().hold("thing"))
        for uid in others:
            stack.enter_context(crowd(helper, uid, 1200, '{"method": '))
        for _number in range(3):
            assert helper.as_user(CALLER, "call", "works")[0] == 0
            assert helper.call("works")["exit"] == 0
        assert len(os.listdir(f"/proc/{pid}/fd")) < 1100
        assert helper.client().resources()[0]["shared"] == 1
        thing.release()


def test_without_a_free_descriptor_the_helper_lives_and_recovers(helper: HelperProcess) -> None:
    helper.prefix = ["prlimit", "--nofile=128:128"]
    pid = helper.start(works=WORKS)
    with Connection(str(helper.socket), 60) as earlier:
        earlier.call(f"{INTERFACE}.Operations")
        with crowd(helper, CALLER, 300):
            # Who is connected is served; what needs a descriptor is refused or waits, and nothing breaks.
            assert earlier.call(f"{INTERFACE}.Operations")["operations"]
            assert procs.alive(pid)
        assert earlier.call(f"{INTERFACE}.Operations")["operations"]
    assert helper.call("works")["exit"] == 0
    assert procs.alive(pid)


def resident(pid: int) -> int:
    """KiB of the core."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS:"))
