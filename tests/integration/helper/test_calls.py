# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Calls of the helper: what goes in, who may, what comes out, and what a worker may do."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any

import procs
import pytest
from helping import CALLER, INTERFACE, STRANGER, HelperProcess
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._helper.client import HelperError
from ansible_collections.holdfast.supervision.plugins.module_utils._varlink.client import Connection, VarlinkError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a helper gives away what only root has")

#: Prints its arguments, one a line.
SHOW = ["/usr/bin/printf", "%s\\n"]


def text(**more: Any) -> dict[str, Any]:
    return {"argv": [*SHOW, "{text}"], "parameters": {"text": {"type": "string", **more}}, "idempotency": "pure"}


def refused(helper: HelperProcess, operation: str, **parameters: Any) -> str:
    with pytest.raises(HelperError) as caught:
        helper.call(operation, **parameters)
    return caught.value.name


def test_an_operation_gives_exit_code_and_both_outputs(helper: HelperProcess) -> None:
    helper.start(fails={"argv": ["/bin/sh", "-c", "echo out; echo err >&2; exit 7"]})
    result = helper.call("fails")
    assert (result["exit"], result["stdout"], result["stderr"]) == (7, "out\n", "err\n")
    assert not result["truncated"]


def test_a_worker_that_is_killed_is_that_calls_business_only(helper: HelperProcess) -> None:
    pid = helper.start(dies={"argv": ["/bin/sh", "-c", "kill -9 $$"]}, works={"argv": ["/bin/true"]})
    assert helper.call("dies")["exit"] == -9
    assert helper.call("works")["exit"] == 0
    assert procs.alive(pid)


def test_a_program_that_is_not_there_is_an_error_with_its_name(helper: HelperProcess) -> None:
    helper.start(missing={"argv": ["/nowhere/program"]})
    with pytest.raises(HelperError, match="/nowhere/program") as caught:
        helper.call("missing")
    assert caught.value.name == "CannotStart"


def test_output_is_bounded(helper: HelperProcess) -> None:
    helper.start(floods={"argv": ["/usr/bin/head", "-c", "3000000", "/dev/zero"]})
    result = helper.call("floods")
    assert result["exit"] == 0 and result["truncated"] and len(result["stdout"]) == 65536


def test_only_those_who_are_allowed_see_and_call(helper: HelperProcess) -> None:
    group = 54399
    helper.start(
        mine={"argv": ["/bin/echo", "mine"]},
        ours={"argv": ["/bin/echo", "ours"], "allow": [{"group": group}]},
        roots={"argv": ["/bin/echo", "roots"], "allow": []},
    )
    assert helper.as_user(CALLER, "call", "mine")[:2] == (0, "mine\n")
    code, _out, err = helper.as_user(CALLER, "call", "ours")
    assert code == 1 and "not for this user" in err
    assert helper.as_user(CALLER, "call", "ours", extra_groups=[group])[:2] == (0, "ours\n")
    assert helper.as_user(STRANGER, "call", "mine")[0] == 1
    shown = [one["name"] for one in json.loads(helper.as_user(CALLER, "operations", "--json")[1])]
    assert shown == ["mine"]
    assert json.loads(helper.as_user(STRANGER, "operations", "--json")[1]) == []
    assert helper.call("roots")["stdout"] == "roots\n"
    refusals = [(line["uid"], line["operation"]) for line in helper.calls("not allowed")]
    assert refusals == [(CALLER, "ours"), (STRANGER, "mine")]


def test_what_may_not_be_called_looks_like_what_is_not_there(helper: HelperProcess) -> None:
    helper.start(secret={"argv": ["/bin/true"], "allow": []})
    there = helper.as_user(CALLER, "call", "secret")
    absent = helper.as_user(CALLER, "call", "absent")
    assert there[2].replace("secret", "absent") == absent[2]


def test_one_parameter_is_one_argument_whatever_is_in_it(helper: HelperProcess) -> None:
    helper.start(show=text())
    for value in ("a b", "$(id)", "`id`", "; id", "a'b\"c", "*", "{text}", "é", "\\n", ""):
        assert helper.call("show", text=value)["stdout"] == f"{value}\n"


@pytest.mark.parametrize("value", ["-rf", "--help", "a\nb", "a\0b", "\x1b[0m", "\ud800", "x" * 300, 5, True, ["a"], {}])
def test_options_control_characters_and_other_types_are_refused(helper: HelperProcess, value: Any) -> None:
    helper.start(show=text())
    assert refused(helper, "show", text=value) == "BadParameter"


def test_a_dash_needs_a_pattern_that_asks_for_it(helper: HelperProcess) -> None:
    helper.start(loose=text(pattern=".*"), strict=text(pattern="-?[0-9]+"), named=text(pattern="[a-z]+"))
    assert refused(helper, "loose", text="-x") == "BadParameter"
    assert helper.call("strict", text="-5")["stdout"] == "-5\n"
    assert refused(helper, "named", text="abc;") == "BadParameter"
    assert refused(helper, "named", text="abc\n") == "BadParameter"


def test_parameters_have_types_and_defaults(helper: HelperProcess) -> None:
    helper.start(
        typed={
            "argv": [*SHOW, "{number}", "{choice}", "{force}", "{optional}"],
            "parameters": {
                "number": {"type": "integer", "minimum": 1, "maximum": 9},
                "choice": {"type": "enum", "values": ["on", "off"], "default": "off"},
                "force": {"type": "boolean", "flag": "--force", "required": False},
                "optional": {"type": "string", "required": False},
            },
        }
    )
    assert helper.call("typed", number=3)["stdout"] == "3\noff\n"
    assert helper.call("typed", number=3, force=True, choice="on")["stdout"] == "3\non\n--force\n"
    for wrong in ({}, {"number": 0}, {"number": 10}, {"number": "3"}, {"number": True}, {"number": 1.0}):
        assert refused(helper, "typed", **wrong) == "BadParameter"
    assert refused(helper, "typed", number=1, choice="maybe") == "BadParameter"
    assert refused(helper, "typed", number=1, LD_PRELOAD="/x.so") == "BadParameter"


def test_a_workers_environment_is_what_the_operation_says(helper: HelperProcess) -> None:
    helper.start(
        env={
            "argv": ["/usr/bin/env"],
            "environment": {"FIXED": "x y", "NUMBER": 5, "GIVEN": "{given}"},
            "parameters": {"given": {"type": "string"}},
        }
    )
    lines = helper.call("env", given="LD_PRELOAD=/x.so")["stdout"].splitlines()
    assert sorted(lines) == [
        "FIXED=x y",
        "GIVEN=LD_PRELOAD=/x.so",
        "HOME=/",
        "LANG=C.UTF-8",
        "NUMBER=5",
        "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
        "SHELL=/bin/sh",
    ]


def test_a_path_cannot_leave_its_subtree(helper: HelperProcess) -> None:
    (helper.work / "in").mkdir()
    (helper.work / "in" / "file").write_text("inside")
    (helper.base / "outside").write_text("outside")
    (helper.work / "link").symlink_to(helper.base / "outside")
    (helper.work / "folder").symlink_to(helper.base)
    (helper.work / "in" / "hard").hardlink_to(helper.base / "outside")
    within = str(helper.work)
    helper.start(
        read={"argv": ["/bin/cat", "{path}"], "parameters": {"path": {"type": "path", "within": within}}},
        make={
            "argv": ["/usr/bin/touch", "{path}"],
            "capabilities": ["dac_override"],
            "parameters": {"path": {"type": "path", "within": within, "exists": False}},
        },
    )
    assert helper.call("read", path=f"{within}/in/file")["stdout"] == "inside"
    assert helper.call("make", path=f"{within}/in/new")["exit"] == 0
    assert (helper.work / "in" / "new").exists()
    for path in (
        f"{within}/../outside",
        f"{within}/in/../../outside",
        f"{within}/link",
        f"{within}/folder/outside",
        f"{within}/in/hard",
        f"{within}x/file",
        "/etc/shadow",
        "in/file",
        within,
        f"{within}/absent",
    ):
        assert refused(helper, "read", path=path) == "BadParameter", path
    assert refused(helper, "make", path=f"{within}/folder/new") == "BadParameter"


def test_a_path_that_is_exchanged_meanwhile_still_means_what_was_checked(helper: HelperProcess) -> None:
    target = helper.work / "target"
    target.write_text("inside")
    (helper.base / "outside").write_text("outside")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            for make in (lambda p: p.symlink_to(helper.base / "outside"), lambda p: p.write_text("inside")):
                make(helper.work / ".new")
                (helper.work / ".new").rename(target)

    helper.start(
        read={
            "argv": ["/bin/cat", "{path}"],
            "parameters": {"path": {"type": "path", "within": str(helper.work)}},
        }
    )
    attacker = helper.beside(swap)
    try:
        seen = set()
        for _number in range(100):
            try:
                seen.add(helper.call("read", path=str(target))["stdout"])
            except HelperError as error:
                seen.add(error.name)
    finally:
        stop.set()
    attacker.result()
    assert "outside" not in seen and seen <= {"inside", "", "BadParameter"}


def status_of(helper: HelperProcess, operation: str) -> dict[str, str]:
    lines = helper.call(operation)["stdout"].splitlines()
    return {key: value.strip() for key, _colon, value in (line.partition(":") for line in lines)}


def test_a_worker_has_the_declared_capabilities_and_no_way_to_others(helper: HelperProcess) -> None:
    show = ["/bin/cat", "/proc/self/status"]
    helper.start(
        none={"argv": show},
        one={"argv": show, "capabilities": ["net_admin"]},
        other={"argv": show, "capabilities": ["net_admin", "checkpoint_restore"], "user": "nobody"},
    )
    none = status_of(helper, "none")
    assert {none[key] for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert none["NoNewPrivs"] == "1" and none["Groups"] == "0"
    one = status_of(helper, "one")
    assert {one[key] for key in ("CapPrm", "CapEff", "CapBnd")} == {f"{1 << 12:016x}"}
    other = status_of(helper, "other")
    mask = f"{1 << 12 | 1 << 40:016x}"
    assert {other[key] for key in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {mask}
    assert other["Uid"].split() == ["65534"] * 4


def test_a_worker_without_capabilities_cannot_do_what_root_can(helper: HelperProcess) -> None:
    (helper.work / "file").write_text("")
    os.chown(helper.work / "file", STRANGER, STRANGER)
    (helper.work / "file").chmod(0o600)
    argv = ["/bin/cat", str(helper.work / "file")]
    helper.start(without={"argv": argv}, with_it={"argv": argv, "capabilities": ["dac_read_search"]})
    assert helper.call("without")["exit"] == 1
    assert helper.call("with_it")["exit"] == 0


def test_a_worker_has_no_descriptor_of_the_helper(helper: HelperProcess) -> None:
    helper.start(list={"argv": ["/bin/ls", "/proc/self/fd"]})
    # The fourth is the folder that ls reads.
    assert helper.call("list")["stdout"].split() == ["0", "1", "2", "3"]


def test_a_program_that_others_may_change_is_not_run(helper: HelperProcess) -> None:
    program = helper.work / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    helper.start(loose={"argv": [str(program)]})
    with pytest.raises(HelperError, match="others may write to"):
        helper.call("loose")


def test_a_call_that_takes_too_long_is_killed_with_its_group(helper: HelperProcess) -> None:
    pids = helper.work / "pids"
    script = f"sleep 1000 & echo $! $$ >{pids}; wait"
    helper.start(hangs={"argv": ["/bin/sh", "-c", script], "timeout": 2, "capabilities": ["dac_override"]})
    with pytest.raises(HelperError) as caught:
        helper.call("hangs")
    assert caught.value.name == "Timeout"
    for pid in map(int, pids.read_text().split()):
        procs.until_dead(pid)
    assert len(helper.calls("timeout")) == 1


def test_what_a_worker_leaves_in_its_group_ends_with_it(helper: HelperProcess) -> None:
    pids = helper.work / "pids"
    helper.start(leaves={"argv": ["/bin/sh", "-c", f"sleep 1000 & echo $! >{pids}"], "capabilities": ["dac_override"]})
    assert helper.call("leaves")["exit"] == 0
    procs.until_dead(int(pids.read_text()))


def test_a_memory_limit_holds(helper: HelperProcess) -> None:
    program = ["/usr/bin/python3", "-I", "-S", "-c", "x = bytearray(400_000_000)"]
    helper.start(greedy={"argv": program, "memory_max": 200_000_000}, free={"argv": program})
    assert helper.call("greedy")["exit"] == 1
    assert helper.call("free")["exit"] == 0


def test_the_audit_log_tells_who_and_what_but_no_secret(helper: HelperProcess) -> None:
    helper.start(
        login={
            "argv": ["/bin/echo", "{name}"],
            "environment": {"PASSWORD": "{password}"},
            "parameters": {"name": {"type": "string"}, "password": {"type": "string", "no_log": True, "max_length": 9}},
        }
    )
    helper.call("login", name="joe", password="geheim!")
    assert refused(helper, "login", name="joe", password="geheim!geheim!") == "BadParameter"
    assert refused(helper, "login", name="joe", passwort="geheim!") == "BadParameter"
    assert helper.as_user(STRANGER, "call", "login", "name=x", "password=geheim!")[0] == 1
    first = helper.calls("exited")[0]
    assert first["uid"] == 0 and first["operation"] == "login" and first["exit"] == 0 and first["duration"] > 0
    assert first["parameters"] == {"name": "joe", "password": "(secret)"}
    assert "geheim!" not in helper.log.read_text() + helper.errors.read_text()
    assert "geheim!" not in "".join(file.read_text() for file in helper.base.glob("run/journal/*"))


@pytest.mark.parametrize(
    "data",
    [
        b"\0",
        b"nonsense\0",
        b"[]\0",
        b'{"method": 5}\0',
        b'{"method": "io.holdfast.Helper.Call", "parameters": []}\0',
        b'{"method": "io.holdfast.Helper.Call", "parameters": {"operation": {"a": 1}, "id": []}}\0',
        b'{"method": "io.holdfast.Helper.Call", "parameters": {"operation": "works", "parameters": 5}}\0',
        b'{"method": "io.holdfast.Helper.Outcome", "parameters": {"id": "../../etc/passwd"}}\0',
        b'{"method": "io.holdfast.Helper.Call", "parameters": {"operation": "works", "id": "../x"}}\0',
        b"[" * 5000 + b"\0",
        b'{"a":' * 100 + b"1" + b"}" * 100 + b"\0",
        b"\xff\xfe\0",
        b"x" * 400_000,
        b'{"method": "' + b"x" * 100_000 + b'"}\0',
        b"\0" * 1000,
    ],
    ids=range(15),
)
def test_a_hostile_peer_harms_nobody(helper: HelperProcess, data: bytes) -> None:
    pid = helper.start(works={"argv": ["/bin/true"]})
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(helper.socket))
        peer.settimeout(20)
        try:
            peer.sendall(data)
            peer.shutdown(socket.SHUT_WR)
            while peer.recv(65536):
                pass
        except (BrokenPipeError, ConnectionResetError):
            pass
    assert helper.call("works")["exit"] == 0
    assert procs.alive(pid)


def test_strangers_have_few_connections_and_keep_nobody_out(helper: HelperProcess) -> None:
    helper.start(works={"argv": ["/bin/true"]})
    script = (
        "import socket,sys\nkept=[]\n"
        "for n in range(2000):\n s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); kept.append(s)\n"
        "print('there', flush=True); sys.stdin.read()"
    )
    crowd = subprocess.Popen(
        [
            "/usr/bin/python3",
            "-I",
            "-S",
            "-c",
            f"import resource\nresource.setrlimit(7,(4096,4096))\n{script}",
            str(helper.socket),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        user=STRANGER,
        group=STRANGER,
        extra_groups=[],
    )
    try:
        assert crowd.stdout is not None and crowd.stdout.readline() == b"there\n"
        assert helper.process is not None
        assert helper.as_user(CALLER, "call", "works")[0] == 0
        wait_until(lambda: len(procs.descriptors(helper.process.pid)) < 40)
    finally:
        crowd.kill()
        crowd.communicate()


def test_two_hundred_clients_at_once(helper: HelperProcess) -> None:
    helper.start(show=text())

    def one(number: int) -> str:
        return str(helper.client(answer=120).call("show", {"text": str(number)})["stdout"])

    callers = [helper.beside(one, number) for number in range(200)]
    assert [caller.result() for caller in callers] == [f"{number}\n" for number in range(200)]


def test_everything_is_described_to_a_varlink_client(helper: HelperProcess) -> None:
    helper.start(works={"argv": ["/bin/true"], "description": "Works."})
    with Connection(str(helper.socket)) as connection:
        assert INTERFACE in connection.call("org.varlink.service.GetInfo")["interfaces"]
        described = connection.call("org.varlink.service.GetInterfaceDescription", {"interface": INTERFACE})
        assert "method Call(" in described["description"]
        assert connection.call(f"{INTERFACE}.Operations")["operations"][0]["description"] == "Works."
        with pytest.raises(VarlinkError, match="MethodNotFound"):
            connection.call(f"{INTERFACE}.shutdown")


def test_the_stock_varlink_package_lists_and_calls(helper: HelperProcess) -> None:
    varlink = pytest.importorskip("varlink")
    helper.start(show=text(), roots={"argv": ["/bin/true"], "allow": []})
    with varlink.Client(f"unix:{helper.socket}") as client, client.open(INTERFACE) as remote:
        assert [one["name"] for one in remote.Operations()["operations"]] == ["show", "roots"]
        assert remote.Call("show", {"text": "hello"}, None)["stdout"] == "hello\n"
        assert remote.Outcome("never")["state"] == "never_began"
        with pytest.raises(varlink.VarlinkError) as caught:
            remote.Call("show", {"text": "-x"}, None)
        assert caught.value.error() == f"{INTERFACE}.BadParameter"
        assert caught.value.parameters()["parameter"] == "text"


def test_the_stock_varlink_package_can_do_everything(helper: HelperProcess) -> None:
    """Each method of each interface, as its description says, with nothing of ours on the caller's side."""
    varlink = pytest.importorskip("varlink")
    steps = f"echo '1% one' >&${{HOLDFAST_PROGRESS:-2}}; echo first; until [ -e {helper.work}/go ]; do sleep 0.02; done; echo last"
    thing = {"argv": ["/bin/true"], "idempotency": "idempotent"}
    helper.settings["resources"] = {"thing": {"create": "make_thing", "destroy": "take_thing"}}
    helper.start(
        show=text(),
        flow={"argv": ["/bin/sh", "-c", "echo one; echo two >&2; echo three"], "stream": True},
        job={"argv": ["/bin/sh", "-c", steps], "asynchronous": "allowed"},
        make_thing={**thing},
        take_thing={**thing},
    )
    used: set[str] = set()

    class Used:
        """Notes which methods are called."""

        def __init__(self, remote: Any) -> None:
            self._remote = remote

        def __getattr__(self, name: str) -> Any:
            used.add(name)
            return getattr(self._remote, name)

    with varlink.Client(f"unix:{helper.socket}") as client:
        assert set(client.get_interfaces()) == {"org.varlink.service", INTERFACE, "io.holdfast.Operations"}
        methods = {
            name: {one.name for one in client.get_interface(name).members.values() if type(one).__name__ == "_Method"}
            for name in (INTERFACE, "io.holdfast.Operations")
        }
        with client.open(INTERFACE) as plain:
            remote = Used(plain)
            assert {one["name"] for one in remote.Operations()["operations"]} >= {"show", "flow", "job"}
            assert remote.Call("show", {"text": "hello"})["stdout"] == "hello\n"
            assert remote.Call("make_thing", {}, "id-1")["exit"] == 0
            assert remote.Outcome("id-1")["state"] == "done"
            pieces = list(remote.Stream("flow", {}, _more=True))
            assert "".join(one.get("stdout") or "" for one in pieces) == "one\nthree\n"
            assert pieces[-1]["result"]["exit"] == 0
            assert remote.Start("job", {}, "job-1")["job"]["state"] in ("queued", "running")
            assert [one["id"] for one in remote.Jobs()["jobs"]] == ["job-1"]
            (helper.work / "go").write_text("")
            states = [one["job"]["state"] for one in remote.Job("job-1", _more=True)]
            assert states[-1] == "done"
            assert remote.Job("job-1")["job"]["stdout"] == "first\nlast\n"
            assert remote.Cancel("job-1")["job"]["state"] == "done"
            assert remote.Acquire("thing", {}, None, "token-1", None)["state"] == "present"
            assert [one["resource"] for one in remote.Resources()["resources"]] == ["thing"]
            assert remote.Release("token-1")["released"] is True
        assert used == methods[INTERFACE]
        used.clear()
        with client.open("io.holdfast.Operations") as plain:
            remote = Used(plain)
            assert remote.Show("typed")["stdout"] == "typed\n"
            for name in ("Flow", "Job", "MakeThing", "TakeThing"):
                assert getattr(remote, name)()["exit"] == 0
        assert used == methods["io.holdfast.Operations"]


def test_a_configuration_of_somebody_else_is_not_used(helper: HelperProcess) -> None:
    helper.configure(works={"argv": ["/bin/true"]})
    helper.file.chmod(0o666)
    command = ["/usr/bin/python3", "-I", "-S", str(helper.runtime), "helper", str(helper.file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 111 and "others may write to" in done.stderr
    assert subprocess.run([*command[:5], "--check", command[5]], check=False, timeout=30).returncode == 0


def test_a_second_helper_does_not_take_the_place_of_the_first(helper: HelperProcess) -> None:
    helper.start(works={"argv": ["/bin/true"]})
    command = ["/usr/bin/python3", "-I", "-S", str(helper.runtime), "helper", str(helper.file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 100
    assert helper.call("works")["exit"] == 0


def test_half_a_request_is_not_waited_for_for_ever(helper: HelperProcess) -> None:
    helper.start(works={"argv": ["/bin/true"]})
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(helper.socket))
        peer.settimeout(60)
        peer.sendall(b'{"method": ')
        assert peer.recv(1) == b""
    assert helper.call("works")["exit"] == 0


def test_peer_death_at_any_step_is_survived(helper: HelperProcess, tmp_path: Path) -> None:
    pid = helper.start(works={"argv": ["/bin/true"]})
    message = json.dumps({"method": f"{INTERFACE}.Call", "parameters": {"operation": "works"}}).encode() + b"\0"
    for step in range(0, len(message) + 1, 5):
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(str(helper.socket))
            peer.sendall(message[:step])
    assert helper.call("works")["exit"] == 0
    assert procs.alive(pid)
    os.kill(pid, signal.SIGHUP)
    assert helper.call("works")["exit"] == 0
