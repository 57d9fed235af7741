# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who may call: processes of a supervised service, and nobody who looks like one; how often; and under which names."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from helping import CALLER, INTERFACE, PYTHON, STRANGER, HelperProcess
from supervised import Scan
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._helper.client import HelperError
from ansible_collections.holdfast.supervision.plugins.module_utils._helper.services import has_pidfds
from ansible_collections.holdfast.supervision.plugins.module_utils._varlink.client import Connection, VarlinkError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a helper gives away what only root has")

pidfds = pytest.mark.skipif(not has_pidfds(), reason="this kernel does not tell who made a connection")
GENERATED = "io.holdfast.Operations"


class Service:
    """A supervised service of the user CALLER, which does what it is told by a FIFO."""

    def __init__(self, scan: Scan, helper: HelperProcess, name: str) -> None:
        self._folder = helper.work / name
        self._folder.mkdir()
        self._folder.chmod(0o777)
        os.mkfifo(self._folder / "in", 0o666)
        (self._folder / "in").chmod(0o666)
        self._call = [PYTHON, "-I", "-S", str(helper.runtime), "call", "--socket", str(helper.socket)]
        self._count = 0
        loop = f'cd {self._folder}; while :; do while read -r line; do eval "$line"; done <in; done'
        script = f"#!/bin/sh\nexec setpriv --reuid={CALLER} --regid={CALLER} --clear-groups sh -c '{loop}'\n"
        scan.add(name, script)
        self.name = name

    def call(self, *words: str, how: str = "{}") -> tuple[int, str]:
        """Call an operation from within the service; gives exit code and output."""
        self._count += 1
        out = self._folder / f"out{self._count}"
        command = how.format(f"{' '.join([*self._call, *words])} >{out}.part 2>&1; echo $? >>{out}.part")
        (self._folder / "in").write_text(f"{command}; mv {out}.part {out}\n")
        wait_until(out.exists)
        *lines, code = out.read_text().splitlines()
        return int(code), "\n".join(lines)


def with_services(helper: HelperProcess, scan: Scan, **more: Any) -> None:
    helper.settings = {"services": {"manager": "embedded", "scan_directory": str(scan.path), **more}}


@pidfds
def test_processes_of_a_service_may_and_others_of_its_user_may_not(helper: HelperProcess, scan: Scan) -> None:
    with_services(helper, scan)
    helper.start(theirs={"argv": ["/bin/echo", "hello"], "allow": [{"service": "billing"}]})
    billing, other = Service(scan, helper, "billing"), Service(scan, helper, "other")
    scan.start()
    scan.until("billing", "ready")
    scan.until("other", "ready")
    assert billing.call("theirs") == (0, "hello")
    # However deep below it.
    assert billing.call("theirs", how="sh -c 'sh -c \"{}\" & wait' ; :") == (0, "hello")
    (record, *_more) = helper.calls("exited")
    assert record["service"] == "billing" and record["uid"] == CALLER

    for code, output in (other.call("theirs"), helper.as_user(CALLER, "call", "theirs")[::2]):
        assert code == 1 and "not for this user" in output
    assert all("service" not in line for line in helper.calls("not allowed"))
    # Another life of the service is the service.
    pid = scan.service("billing")["pid"]
    scan.control("billing", "restart")
    scan.until_other("billing", pid)
    assert billing.call("theirs") == (0, "hello")
    # It is asked for each call: what a service leaves behind is not the service.
    scan.kill_supervisor()
    assert billing.call("theirs") == (0, "hello")


@pidfds
def test_what_a_service_leaves_behind_is_not_the_service(helper: HelperProcess, scan: Scan) -> None:
    with_services(helper, scan)
    helper.start(theirs={"argv": ["/bin/echo", "hello"], "allow": [{"service": "billing"}], "idempotency": "pure"})
    address = helper.work / "result"
    program = f"""
import os, socket, sys, time
request = b'{{"method": "io.holdfast.Helper.Call", "parameters": {{"operation": "theirs"}}}}\\0'
# Before anybody can know that this runs, and end the service.
parent = os.getppid()
peer = socket.socket(socket.AF_UNIX)
peer.connect({str(helper.socket)!r})
def ask():
    peer.sendall(request)
    return b"hello" in peer.recv(65536)
first = ask()
while os.getppid() == parent:
    time.sleep(0.01)
open({str(address) + ".new"!r}, "w").write(f"{{first}} {{ask()}}")
os.rename({str(address) + ".new"!r}, {str(address)!r})
"""
    (helper.work / "program.py").write_text(program)
    scan.add(
        "billing",
        f"#!/bin/sh\nsetsid setpriv --reuid={CALLER} --regid={CALLER} --clear-groups "
        f"{PYTHON} -I -S {helper.work}/program.py &\nsleep 1\nexec sleep 1000\n",
        kill="process",
    )
    scan.start()
    scan.until("billing", "ready")
    wait_until(lambda: helper.calls("exited"))
    scan.control("billing", "stop")
    wait_until(address.exists)
    assert address.read_text() == "True False"


@pidfds
def test_a_process_number_that_is_used_again_is_nobody(checkout: Path, tmp_path: Path) -> None:
    """In a pid namespace of its own, where the next number can be chosen: the caller dies, the service gets its number."""
    program = tmp_path / "reuse.py"
    program.write_text(
        f"""
import os, socket, sys, time
sys.path.insert(0, {str(checkout.parents[2])!r})
BASE = "ansible_collections.holdfast.supervision.plugins.module_utils."
from importlib import import_module
server = import_module(BASE + "_varlink.server")
services = import_module(BASE + "_helper.services")
record = import_module(BASE + "_supervise._embedded.record")
identity = import_module(BASE + "_supervise._embedded.identity")
folder = {str(tmp_path)!r}
os.makedirs(folder + "/billing/supervise")
# The way to the test's folder is not root's alone, as that of a real scan directory is.
services.untrusted = lambda path: ""
told = services.Services("embedded", folder)
listener = server.Listener(folder + "/socket")

def connect(through):
    # A child connects, hands the connection on and dies if *through*; otherwise it stays.
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        peer = socket.socket(socket.AF_UNIX)
        peer.connect(folder + "/socket")
        socket.send_fds(theirs, [b"x"], [peer.fileno()])
        if not through:
            time.sleep(1000)
        os._exit(0)
    socket.recv_fds(ours, 1, 1)
    if through:
        os.waitpid(child, 0)
    return child, listener.accept()

def note(pid):
    one = record.Record()
    one.boot, one.namespace, one.phase = identity.boot_id(), identity.pid_namespace(), record.RUNNING
    one.pid, one.started = pid, identity.start_time(pid)
    record.write(folder + "/billing/supervise/record", one)

# One that lives is recognised, by itself and by its parent.
child, peer = connect(False)
note(child)
assert peer.pid == child and told.has("billing", peer)
note(os.getpid())
assert told.has("billing", peer) is (os.getpid() > 1)
# A record of an earlier process of that number is of somebody else.
one = record.read(folder + "/billing/supervise/record")
one.pid, one.started = child, 5
record.write(folder + "/billing/supervise/record", one)
assert not told.has("billing", peer)

gone, peer = connect(True)
for attempt in range(100):
    with open("/proc/sys/kernel/ns_last_pid", "w") as file:
        file.write(str(gone - 1))
    service = os.fork()
    if service == 0:
        time.sleep(1000)
    if service == gone:
        break
assert service == gone
note(service)
assert peer.pid == service and identity.alive(service, identity.start_time(service))
assert not told.has("billing", peer), "the number alone made it the service"
print("done")
"""
    )
    command = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", sys.executable, str(program)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == "done\n", done.stderr


def test_where_the_kernel_cannot_tell_a_service_is_its_user_if_that_is_its_own(
    helper: HelperProcess, scan: Scan
) -> None:
    with_services(helper, scan, identity="user", users={"billing": CALLER})
    helper.start(
        theirs={"argv": ["/bin/echo", "hello"], "allow": [{"service": "billing"}]},
        others={"argv": ["/bin/echo", "hello"], "allow": [{"service": "other"}]},
    )
    assert helper.as_user(CALLER, "call", "theirs")[:2] == (0, "hello\n")
    assert helper.as_user(CALLER, "call", "others")[0] == 1
    (record,) = [
        line for line in helper.audit() if line["outcome" if "outcome" in line else "audit"] == "unknown names"
    ]
    assert record["operation"] == "others" and "no user of its own" in record["unknown"][0]


@pidfds
def test_a_scan_directory_of_somebody_else_proves_nothing(helper: HelperProcess, scan: Scan) -> None:
    with_services(helper, scan)
    billing = Service(scan, helper, "billing")
    scan.start()
    scan.until("billing", "ready")
    scan.path.chmod(0o777)
    helper.start(theirs={"argv": ["/bin/echo", "hello"], "allow": [{"service": "billing"}]})
    assert billing.call("theirs")[0] == 1
    assert any("others may write to" in str(line.get("unknown")) for line in helper.audit())


def test_calls_have_a_rate_for_each_caller(helper: HelperProcess) -> None:
    helper.start(
        rare={"argv": ["/bin/true"], "rate": {"calls": 2, "seconds": 3600}},
        free={"argv": ["/bin/true"]},
    )
    for id_ in ("a", "b", "a", "b"):
        assert helper.call("rare", id_)["exit"] == 0
    with Connection(str(helper.socket)) as connection, pytest.raises(VarlinkError) as caught:
        connection.call(f"{INTERFACE}.Call", {"operation": "rare"})
    assert caught.value.name == f"{INTERFACE}.TooOften"
    told = dict(caught.value.parameters)
    assert 1700 < told.pop("retry_after") <= 1800
    assert told == {"operation": "rare", "calls": 2, "seconds": 3600.0}
    with pytest.raises(HelperError, match="2 calls in 3600 s") as refused:
        helper.call("rare")
    assert refused.value.name == "TooOften"
    assert helper.as_user(CALLER, "call", "rare")[0] == 0
    assert helper.call("free")["exit"] == 0
    # What was done can still be asked for.
    assert helper.call("rare", "a")["exit"] == 0
    assert len(helper.calls("too often")) == 2


def test_all_calls_of_a_caller_have_a_rate(helper: HelperProcess) -> None:
    helper.settings = {"rate": {"calls": 3, "seconds": 3600}}
    helper.start(one={"argv": ["/bin/true"]}, two={"argv": ["/bin/true"]})
    for operation in ("one", "two", "one"):
        helper.call(operation)
    with pytest.raises(HelperError) as caught:
        helper.call("two")
    assert caught.value.name == "TooOften"
    assert helper.as_user(CALLER, "call", "two")[0] == 0


def test_refused_calls_do_not_fill_the_log(helper: HelperProcess) -> None:
    helper.start(works={"argv": ["/bin/true"]})
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(helper.socket))
        peer.settimeout(30)
        request = json.dumps({"method": f"{INTERFACE}.Call", "parameters": {"operation": "absent"}}).encode() + b"\0"
        answers = b""
        for _number in range(1000):
            peer.sendall(request)
            part = b""
            while not part.endswith(b"\0"):
                part += peer.recv(65536)
            answers += part
    told = answers.count(b"NotAllowed")
    # Two hundred, and one more for each 0.3 s that all this has taken.
    assert 200 <= told < 400 and answers.count(b"Busy") == 1000 - told
    assert len(helper.calls("not allowed")) == told
    assert 1 <= len(helper.calls("too many refused calls")) <= told - 199
    assert helper.call("works")["exit"] == 0


ECHO = {
    "argv": ["/bin/echo", "{text}", "{number}", "{choice}", "{loud}"],
    "description": "Says it.",
    "parameters": {
        "text": {"type": "string", "description": "What is said."},
        "number": {"type": "integer", "minimum": 1, "maximum": 9, "default": 5},
        "choice": {"type": "enum", "values": ["on", "off"], "required": False},
        "loud": {"type": "boolean", "flag": "LOUD", "required": False},
    },
}


def test_each_operation_is_a_method_with_types(helper: HelperProcess) -> None:
    helper.start(say_it=dict(ECHO), roots={"argv": ["/bin/true"], "allow": []}, no2={"argv": ["/bin/echo", "no"]})
    with Connection(str(helper.socket)) as connection:
        assert GENERATED in connection.call("org.varlink.service.GetInfo")["interfaces"]
        asked = {"interface": GENERATED}
        text = connection.call("org.varlink.service.GetInterfaceDescription", asked)["description"]
        assert "# Says it.\n# text: What is said.\nmethod SayIt(" in text
        assert "method SayIt(text: string, number: ?int, choice: ?(on, off), loud: ?bool) -> (exit: int," in text
        assert "method Roots()" in text and "method No2()" in text and "error BadParameter" in text
        assert connection.call(f"{GENERATED}.SayIt", {"text": "a b", "loud": True})["stdout"] == "a b 5 LOUD\n"
        assert connection.call(f"{GENERATED}.No2")["stdout"] == "no\n"
        for method, error in (("SayIt", "BadParameter"), ("say_it", "NotAllowed"), ("Absent", "NotAllowed")):
            with pytest.raises(VarlinkError) as caught:
                connection.call(f"{GENERATED}.{method}", {"text": "-x"} if method == "SayIt" else {})
            assert caught.value.name == f"{GENERATED}.{error}"
            assert caught.value.parameters.get("operation", method) == method


def test_the_stock_varlink_package_calls_operations_as_methods(helper: HelperProcess) -> None:
    varlink = pytest.importorskip("varlink")
    helper.start(say_it=dict(ECHO), roots={"argv": ["/bin/true"], "allow": []})
    with varlink.Client(f"unix:{helper.socket}") as client, client.open(GENERATED) as remote:
        assert remote.SayIt("hello", 7, "on", None)["stdout"] == "hello 7 on\n"
        assert remote.SayIt(text="hello")["stdout"] == "hello 5\n"
        with pytest.raises(varlink.VarlinkError) as caught:
            remote.SayIt("hello", 10)
        assert caught.value.error() == f"{GENERATED}.BadParameter"
        assert caught.value.parameters()["parameter"] == "number"


def test_a_caller_is_shown_no_method_that_it_may_not_call(helper: HelperProcess) -> None:
    helper.start(mine={"argv": ["/bin/true"]}, roots={"argv": ["/bin/true"], "allow": []})

    def shown(uid: int) -> str:
        program = (
            "import json, socket, sys\n"
            "peer = socket.socket(socket.AF_UNIX)\n"
            f"peer.connect({str(helper.socket)!r})\n"
            "asked = {'method': 'org.varlink.service.GetInterfaceDescription',"
            f" 'parameters': {{'interface': {GENERATED!r}}}}}\n"
            "peer.sendall(json.dumps(asked).encode() + bytes(1))\n"
            "print(peer.recv(65536).decode())\n"
        )
        command = [PYTHON, "-I", "-S", "-c", program]
        done = subprocess.run(command, user=uid, group=uid, extra_groups=[], capture_output=True, text=True, check=True)
        return done.stdout

    assert "method Mine" in shown(CALLER) and "method Roots" not in shown(CALLER)
    assert "method Roots" in shown(0)
    assert "InterfaceNotFound" in shown(STRANGER)
