# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Operations that are Python functions: what they are given, what they give back, and the processes that call them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import procs
import pytest
from helping import CALLER, STRANGER, HelperProcess
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._helper.client import HelperError, OutcomeUnknown

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a helper gives away what only root has")

CODE = """
import os, signal, time

seen = []

def pid():
    return os.getpid()

def give(**given):
    return given

def count(step=1):
    seen.append(step)
    return sum(seen)

def fail(text):
    raise KeyError(text)

def leave():
    raise SystemExit(3)

def fat():
    raise MemoryError

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def sleep(file):
    with open(file, "a") as out:
        out.write("began\\n")
    time.sleep(1000)

def status():
    with open("/proc/self/status") as file:
        lines = dict(line.split(":", 1) for line in file)
    return {key: value.strip() for key, value in lines.items()}

def surroundings():
    mask = os.umask(0)
    os.umask(mask)
    descriptors = [int(name) for name in os.listdir("/proc/self/fd")]
    return [mask, sorted(descriptors), dict(os.environ), os.getcwd()]

def read(path):
    with open(path) as file:
        return file.read()

def shout():
    print("out", flush=False)
    os.write(2, b"err")

def odd(which):
    return {"set": {1}, "nan": float("nan"), "long": "x" * 100000, "deep": deep(), "fine": [None, 1.5, {"a": True}]}[which]

def deep():
    value = []
    for _ in range(100):
        value = [value]
    return value

def eat():
    return len(bytearray(600_000_000))

class Nasty(Exception):
    def __str__(self):
        raise ValueError

def nasty():
    raise Nasty
"""


@pytest.fixture
def file(helper: HelperProcess) -> Path:
    path = helper.base / "operations.py"
    path.write_text(CODE)
    path.chmod(0o644)
    return path


def function(file: Path, name: str, *parameters: str, **more: Any) -> dict[str, Any]:
    return {
        "function": {"file": str(file), "name": name},
        "parameters": {one: {"type": "string"} for one in parameters},
        "idempotency": "pure",
        **more,
    }


def refused(helper: HelperProcess, operation: str, **parameters: Any) -> HelperError:
    with pytest.raises(HelperError) as caught:
        helper.call(operation, **parameters)
    return caught.value


@pytest.mark.parametrize("isolation", ["pooled", "fresh"])
def test_a_function_gets_typed_parameters_and_its_value_is_the_result(
    helper: HelperProcess, file: Path, isolation: str
) -> None:
    parameters = {
        "text": {"type": "string"},
        "number": {"type": "integer", "minimum": 0, "maximum": 9, "default": 5},
        "force": {"type": "boolean", "required": False},
        "choice": {"type": "enum", "values": ["a", "b"], "required": False},
    }
    helper.start(give=function(file, "give", parameters=parameters, isolation=isolation))
    assert helper.call("give", text="é $(id)")["result"] == {"text": "é $(id)", "number": 5}
    result = helper.call("give", text="", number=1, force=True, choice="b")
    assert result["result"] == {"text": "", "number": 1, "force": True, "choice": "b"}
    assert result["exit"] == 0
    assert refused(helper, "give", text="x", number="1").name == "BadParameter"


@pytest.mark.parametrize("isolation", ["pooled", "fresh"])
def test_an_exception_reaches_the_caller_with_type_and_message_and_nothing_else(
    helper: HelperProcess, file: Path, isolation: str
) -> None:
    helper.start(
        fail=function(file, "fail", "text", isolation=isolation),
        nasty=function(file, "nasty", isolation=isolation),
        leave=function(file, "leave", isolation=isolation),
        works=function(file, "pid", isolation=isolation),
    )
    error = refused(helper, "fail", text="sda")
    assert error.name == "Failed" and str(error) == "KeyError: 'sda'"
    assert str(refused(helper, "nasty")) == "Nasty: "
    assert str(refused(helper, "leave")) == "SystemExit: 3"
    assert helper.call("works")["result"] > 1
    assert helper.errors.read_text() == ""


def test_what_json_cannot_say_or_what_is_too_much_is_no_result(helper: HelperProcess, file: Path) -> None:
    helper.start(odd=function(file, "odd", "which"), same=function(file, "pid"))
    pid = helper.call("same")["result"]
    for which in ("set", "nan", "long", "deep"):
        assert refused(helper, "odd", which=which).name == "Failed", which
    assert helper.call("odd", which="fine")["result"] == [None, 1.5, {"a": True}]
    assert helper.call("same")["result"] == pid


def test_a_pooled_process_does_one_call_after_the_other_and_a_fresh_one_does_not(
    helper: HelperProcess, file: Path
) -> None:
    helper.start(
        count=function(file, "count"),
        pid=function(file, "pid"),
        fresh=function(file, "count", isolation="fresh"),
    )
    assert [helper.call("count")["result"] for _number in range(3)] == [1, 2, 3]
    assert helper.call("pid")["result"] == helper.call("pid")["result"]
    assert [helper.call("fresh")["result"] for _number in range(3)] == [1, 1, 1]


def test_no_process_has_more_than_its_operation_declares(helper: HelperProcess, file: Path) -> None:
    helper.start(
        none=function(file, "status"),
        net=function(file, "status", capabilities=["net_admin"]),
        other=function(file, "status", capabilities=["net_admin"], user="nobody"),
    )
    seen = {name: helper.call(name)["result"] for name in ("none", "net", "other")}
    masks = {"none": 0, "net": 1 << 12, "other": 1 << 12}
    for name, status in seen.items():
        mask = f"{masks[name]:016x}"
        assert {status[key] for key in ("CapPrm", "CapEff", "CapBnd")} == {mask}, name
        assert status["NoNewPrivs"] == "1"
        # What the kernel says of the process from outside is the same.
        outside = dict(line.split(":\t", 1) for line in Path(f"/proc/{status['Pid']}/status").read_text().splitlines())
        assert {outside[key] for key in ("CapPrm", "CapEff", "CapBnd")} == {mask}
    assert seen["other"]["Uid"].split() == ["65534"] * 4 and seen["other"]["CapAmb"] == f"{1 << 12:016x}"
    assert len({status["Pid"] for status in seen.values()}) == 3


@pytest.mark.parametrize("isolation", ["pooled", "fresh"])
def test_a_function_finds_nothing_of_the_helper_around_it(helper: HelperProcess, file: Path, isolation: str) -> None:
    helper.start(look=function(file, "surroundings", isolation=isolation, environment={"A": "b"}, directory="/usr"))
    mask, descriptors, environment, directory = helper.call("look")["result"]
    assert mask == 0o077 and directory == "/usr"
    # 4 is the folder that is being read.
    assert descriptors == [0, 1, 2, 3, 4]
    assert environment == {
        "A": "b",
        "HOME": "/",
        "LANG": "C.UTF-8",
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "SHELL": "/bin/sh",
    }


def test_a_fresh_functions_outputs_are_kept(helper: HelperProcess, file: Path) -> None:
    helper.start(shout=function(file, "shout", isolation="fresh"), pooled=function(file, "shout"))
    result = helper.call("shout")
    assert (result["stdout"], result["stderr"], result["exit"]) == ("out\n", "err", 0)
    assert helper.call("pooled")["stdout"] == ""


@pytest.mark.parametrize("isolation", ["pooled", "fresh"])
def test_a_process_that_dies_in_a_call_is_that_calls_error_only(
    helper: HelperProcess, file: Path, isolation: str
) -> None:
    pid = helper.start(
        die=function(file, "die", isolation=isolation, idempotency="once"),
        works=function(file, "pid", isolation=isolation),
    )
    for _number in range(3):
        error = refused(helper, "die")
        assert error.name == "WorkerDied" and "SIGKILL" in str(error)
    assert helper.call("works")["result"] > 1
    assert procs.alive(pid)
    assert len(helper.calls("worker died")) == 3


def test_a_pooled_process_that_is_killed_while_it_waits_is_replaced(helper: HelperProcess, file: Path) -> None:
    helper.start(pid=function(file, "pid"))
    first = helper.call("pid")["result"]
    os.kill(first, 9)
    procs.until_dead(first)
    assert helper.call("pid")["result"] != first


def test_too_much_memory_is_that_calls_error_only(helper: HelperProcess, file: Path) -> None:
    pid = helper.start(
        eat=function(file, "eat", memory_max=400_000_000),
        pid=function(file, "pid", memory_max=400_000_000),
    )
    first = helper.call("pid")["result"]
    assert str(refused(helper, "eat")).startswith("MemoryError")
    # Its memory may be in any state: it is not used again.
    assert helper.call("pid")["result"] != first
    assert procs.alive(pid)


def test_a_function_that_hangs_is_killed_and_the_others_go_on(helper: HelperProcess, file: Path) -> None:
    began = helper.work / "began"
    helper.start(
        hang=function(file, "sleep", "file", timeout=0.4, capabilities=["dac_override"]),
        pid=function(file, "pid", capabilities=["dac_override"]),
    )
    first = helper.call("pid")["result"]
    assert refused(helper, "hang", file=str(began)).name == "Timeout"
    procs.until_dead(first)
    assert helper.call("pid")["result"] != first


def test_more_calls_than_processes_wait_for_their_turn(helper: HelperProcess, file: Path) -> None:
    began = helper.work / "began"
    began.write_text("")
    hang = function(file, "sleep", "file", timeout=1.5, capabilities=["dac_override"])
    pid = helper.start(hang=hang, free=function(file, "pid"))
    callers = [helper.beside(refused, helper, "hang", file=str(began)) for _number in range(6)]
    wait_until(lambda: began.read_text().count("began") == 4)
    # Of another class, it has a process of its own and does not wait.
    assert helper.call("free")["result"] > 1
    assert began.read_text().count("began") == 4
    assert [caller.result().name for caller in callers] == ["Timeout"] * 6
    assert began.read_text().count("began") == 6
    assert procs.alive(pid)


def test_the_functions_of_a_dead_helper_die_with_it(helper: HelperProcess, file: Path) -> None:
    began = helper.work / "began"
    began.write_text("")
    helper.start(hang=function(file, "sleep", "file", capabilities=["dac_override"], idempotency="once"))
    caller = helper.beside(refused, helper, "hang", file=str(began))
    wait_until(lambda: "began" in began.read_text())
    (worker,) = helper.workers()
    helper.kill()
    procs.until_dead(worker)
    helper.start()
    assert isinstance(caller.result(), OutcomeUnknown)
    assert began.read_text().count("began") == 1


def test_a_fresh_function_is_that_of_the_file_as_it_is_at_the_call(helper: HelperProcess, file: Path) -> None:
    helper.start(
        version=function(file, "version", isolation="fresh"), status=function(file, "status", isolation="fresh")
    )
    for version in (1, 2, 3):
        file.write_text(f"{CODE}\ndef version():\n    return {version}\n")
        # The first of them is compiled beforehand, after the first call of any.
        for _number in range(4):
            assert helper.call("version")["result"] == version
            helper.call("status")


def test_a_path_of_a_function_cannot_leave_its_subtree(helper: HelperProcess, file: Path) -> None:
    (helper.work / "file").write_text("inside")
    (helper.base / "outside").write_text("outside")
    (helper.work / "link").symlink_to(helper.base / "outside")
    path = {"path": {"type": "path", "within": str(helper.work)}}
    helper.start(read=function(file, "read", parameters=path), look=function(file, "surroundings"))
    assert helper.call("read", path=f"{helper.work}/file")["result"] == "inside"
    assert refused(helper, "read", path=f"{helper.work}/link").name == "BadParameter"
    # Nothing stays open from call to call.
    assert helper.call("look")["result"][1] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("flaw", ["writable", "foreign", "link", "folder", "folder_link", "fifo", "absent", "huge"])
def test_a_file_that_somebody_else_could_have_written_is_not_loaded(
    helper: HelperProcess, file: Path, flaw: str
) -> None:
    folder = helper.base / "folder"
    folder.mkdir(mode=0o755)
    target = folder / "operations.py"
    if flaw not in ("absent", "link", "fifo"):
        target.write_text(CODE if flaw != "huge" else "#" * 2_000_000)
        target.chmod(0o644)
    if flaw == "writable":
        target.chmod(0o664)
    elif flaw == "foreign":
        os.chown(target, STRANGER, 0)
    elif flaw == "link":
        target.symlink_to(file)
    elif flaw == "fifo":
        os.mkfifo(target, 0o644)
    elif flaw == "folder":
        folder.chmod(0o775)
    elif flaw == "folder_link":
        (helper.base / "way").symlink_to(folder)
        target = helper.base / "way" / "operations.py"
    pid = helper.start(works=function(file, "pid"), pid=function(target, "pid"))
    error = refused(helper, "pid")
    assert error.name == "CannotStart" and str(helper.base) in str(error)
    assert helper.call("works")["result"] > 1
    assert procs.alive(pid)


@pytest.mark.parametrize(
    "content",
    [
        "def pid(:\n",
        "raise RuntimeError('at once')\n",
        "import nowhere\n",
        "pid = 5\n",
        "\0",
        "import os\nos._exit(0)\n",
    ],
    ids=["syntax", "raises", "import", "no function", "nul", "exits"],
)
def test_a_file_that_is_no_use_is_told_to_the_caller(helper: HelperProcess, file: Path, content: str) -> None:
    broken = helper.base / "broken.py"
    broken.write_text(content)
    broken.chmod(0o644)
    pid = helper.start(broken=function(broken, "pid"), works=function(file, "pid"))
    assert refused(helper, "broken").name in ("CannotStart", "WorkerDied")
    assert helper.call("works")["result"] > 1
    assert procs.alive(pid)


def test_an_unprivileged_caller_calls_a_function_by_the_command_line(helper: HelperProcess, file: Path) -> None:
    helper.start(give=function(file, "give", "text"), fail=function(file, "fail", "text"))
    assert helper.as_user(CALLER, "call", "give", "text=x")[:2] == (0, '{"text": "x"}\n')
    code, _out, err = helper.as_user(CALLER, "call", "fail", "text=x")
    assert code == 1 and "KeyError: 'x'" in err


def test_system_calls_are_filtered_as_declared(helper: HelperProcess) -> None:
    code = """
import ctypes, os, socket, subprocess
libc = ctypes.CDLL(None, use_errno=True)

def attempt(what):
    try:
        if what == "unshare":
            done = libc.unshare(0x10000000)
            return 0 if done == 0 else ctypes.get_errno()
        if what == "network":
            socket.socket(socket.AF_INET).close()
        if what == "alg":
            socket.socket(38, socket.SOCK_SEQPACKET).close()
        if what == "program":
            subprocess.run(["/bin/true"], check=True)
    except OSError as error:
        return error.errno
    return 0

def mode():
    with open("/proc/self/status") as file:
        return [line.split()[1] for line in file if line.startswith("Seccomp:")][0]
"""
    source = helper.base / "calls.py"
    source.write_text(code)
    source.chmod(0o644)
    helper.start(
        mode=function(source, "mode"),
        unfiltered=function(source, "mode", seccomp=False),
        attempt=function(source, "attempt", "what"),
        admin=function(source, "attempt", "what", capabilities=["sys_admin"]),
        hermit=function(source, "attempt", "what", forbid=["network", "programs"]),
        program={"argv": ["/bin/grep", "-w", "Seccomp:", "/proc/self/status"]},
        unshare={"argv": ["/usr/bin/unshare", "-U", "/bin/true"]},
    )
    described = {one["name"]: one["seccomp"] for one in helper.client().operations()}
    assert described == {**dict.fromkeys(described, True), "unfiltered": False}
    assert helper.call("mode")["result"] == "2" and helper.call("unfiltered")["result"] == "0"
    assert helper.call("program")["stdout"].split() == ["Seccomp:", "2"]
    assert helper.call("unshare")["exit"] == 1
    permitted = {what: helper.call("attempt", what=what)["result"] for what in ("unshare", "network", "alg", "program")}
    assert permitted == {"unshare": 1, "network": 0, "alg": 97, "program": 0}
    assert helper.call("admin", what="unshare")["result"] == 0
    assert [helper.call("hermit", what=what)["result"] for what in ("network", "program")] == [97, 1]


MODE = """
def mode():
    with open("/proc/self/status") as file:
        return [line.split()[1] for line in file if line.startswith("Seccomp:")][0]
"""


def test_system_calls_are_filtered_where_nobody_says_that_they_can_be(helper: HelperProcess) -> None:
    """What a container hides of /proc is no reason to leave the filter out."""
    source = helper.base / "mode.py"
    source.write_text(MODE)
    hide = 'mount -t tmpfs none /proc/sys/kernel/seccomp && exec "$@"'
    helper.prefix = ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", hide, "sh"]
    helper.start(mode=function(source, "mode"), plain=function(source, "mode", seccomp=False))
    assert not os.path.exists(f"/proc/{helper.process.pid}/root/proc/sys/kernel/seccomp/actions_avail")
    assert (helper.call("mode")["result"], helper.call("plain")["result"]) == ("2", "0")


def test_what_requires_a_filter_is_not_done_without_one(helper: HelperProcess) -> None:
    source = helper.base / "mode.py"
    source.write_text(MODE)
    runtime = helper.base / "runtime"
    shutil.copytree(helper.runtime, runtime)
    for name in ("operations.py", "seccomp.py"):
        (file,) = runtime.rglob(f"_helper/{name}")
        text = file.read_text()
        assert f'"{os.uname().machine}"' in text
        file.write_text(text.replace(f'"{os.uname().machine}"', '"another"'))
    helper.runtime = runtime
    helper.start(
        mode=function(source, "mode"),
        required=function(source, "mode", seccomp="required"),
        program={"argv": ["/bin/true"], "seccomp": "required"},
    )
    assert helper.call("mode")["result"] == "0"
    assert [line["seccomp"] for line in helper.audit() if line["audit"] == "start"] == [False]
    for operation in ("required", "program", "program", "program"):
        error = refused(helper, operation)
        assert error.name == "CannotStart" and "can't be filtered on this machine" in str(error)
