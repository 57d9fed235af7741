# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The process that forks the helper's workers: what it has, and what comes of its death at any moment."""

from __future__ import annotations

import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import procs
import pytest
from faultyfs import Way
from helping import CALLER, HelperProcess, sleeping
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._helper.client import HelperError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a helper gives away what only root has")

CODE = """
import os, time

def pid():
    return os.getpid()

def parent():
    return os.getppid()

def wait(begun, until):
    open(begun, "w").close()
    while not os.path.exists(until):
        time.sleep(0.01)
    return "waited"
"""


def function(helper: HelperProcess, name: str, *parameters: str, **more: Any) -> dict[str, Any]:
    path = helper.base / "operations.py"
    if not path.exists():
        path.write_text(CODE)
    return {
        "function": {"file": str(path), "name": name},
        "parameters": {one: {"type": "string"} for one in parameters},
        "idempotency": "pure",
        **more,
    }


def program(*argv: str, **more: Any) -> dict[str, Any]:
    return {"argv": list(argv), "idempotency": "pure", **more}


def zygote(helper: HelperProcess) -> int:
    (found,) = wait_until(helper.zygotes)
    return found


def expect_own_children(helper: HelperProcess) -> None:
    """Start it, and see that workers of each kind are its children."""
    pid = helper.start(
        pooled=function(helper, "parent"),
        fresh=function(helper, "parent", isolation="fresh"),
        program=program("/bin/sh", "-c", "echo $PPID"),
    )
    assert helper.call("pooled")["result"] == helper.call("fresh")["result"] == pid
    assert int(helper.call("program")["stdout"]) == pid


def test_there_is_none_before_the_first_call_and_one_afterwards(helper: HelperProcess) -> None:
    pid = helper.start(true=program("/bin/true"), pid=function(helper, "pid"))
    helper.client().operations()
    assert procs.children(pid) == []
    helper.call("true")
    first = zygote(helper)
    helper.call("pid")
    assert zygote(helper) == first


def test_workers_are_the_helpers_own_children(helper: HelperProcess) -> None:
    expect_own_children(helper)


def test_it_has_nothing_of_the_helpers(helper: HelperProcess) -> None:
    helper.start(true=program("/bin/true"))
    with helper.log.open("rb"):
        helper.call("true")
        found = procs.descriptors(zygote(helper))
    # Nothing of the log, the listening socket, the callers' connections and the lock.
    assert sorted(found) == [0, 1, 2, 3]
    assert {found[number] for number in (0, 1, 2)} == {"/dev/null"}
    assert found[3].startswith("socket:")
    assert procs.status(zygote(helper))["NoNewPrivs"] == "1"


def test_what_is_at_work_goes_on_without_it(helper: HelperProcess) -> None:
    go = helper.work / "go"
    helper.start(
        pooled=function(helper, "wait", "begun", "until"),
        fresh=function(helper, "wait", "begun", "until", isolation="fresh"),
        program=program(
            "/bin/sh", "-c", f"echo >{helper.work}/3; until test -e {go}; do sleep 0.01; done; echo waited"
        ),
    )
    begun = [helper.work / name for name in "123"]
    callers = [
        helper.beside(helper.call, "pooled", begun=str(begun[0]), until=str(go)),
        helper.beside(helper.call, "fresh", begun=str(begun[1]), until=str(go)),
        helper.beside(helper.call, "program"),
    ]
    wait_until(lambda: all(one.exists() for one in begun))
    before = zygote(helper)
    procs.kill(before)
    # There may be another one at once.
    procs.until_dead(before)
    go.write_text("")
    results = [one.result() for one in callers]
    assert [one["result"] or one["stdout"].strip() for one in results] == ["waited"] * 3
    assert helper.call("program")["exit"] == 0


def test_a_killed_one_is_replaced(helper: HelperProcess) -> None:
    helper.start(
        fresh=function(helper, "pid", isolation="fresh"), pooled=function(helper, "pid"), true=program("/bin/true")
    )
    for operation in ("fresh", "pooled", "true"):
        helper.call("true")
        before = zygote(helper)
        # First itself, so that nobody comes after it.
        procs.kill(before)
        procs.until_dead(before)
        for one in helper.workers():
            procs.kill(one)
            procs.until_dead(one)
        assert helper.call(operation)["exit"] == 0
        assert zygote(helper) != before


@pytest.mark.parametrize("killed", [True, False], ids=["killed", "stopped for ever"])
def test_one_that_does_not_fork_is_given_up(helper: HelperProcess, killed: bool) -> None:
    marks = helper.work / "marks"
    helper.start(once=program("/bin/sh", "-c", f"echo x >>{marks}", idempotency="once"), pid=function(helper, "pid"))
    helper.call("pid")
    stopped = zygote(helper)
    procs.kill(stopped, signal.SIGSTOP)
    wait_until(lambda: procs.state(stopped) == "T")
    caller = helper.beside(helper.call, "once")
    if killed:
        # The helper waits for it: the log has nothing of the call yet.
        procs.kill(stopped)
    assert caller.result()["exit"] == 0 and marks.read_text() == "x\n"
    assert not procs.alive(stopped) and zygote(helper) != stopped


def test_killed_at_any_moment_no_call_is_lost_or_doubled(helper: HelperProcess) -> None:
    marks = helper.work / "marks"
    pid = helper.start(once=program("/bin/sh", "-c", f"echo x >>{marks}", idempotency="once"))
    helper.call("once")
    done = threading.Event()

    def killing() -> None:
        rng = random.Random(7)
        while not done.wait(rng.random() * 0.02):
            for one in helper.zygotes():
                procs.kill(one)

    killer = helper.beside(killing)
    try:
        client = helper.client()
        for _number in range(60):
            assert client.call("once")["exit"] == 0
    finally:
        done.set()
    killer.result()
    assert marks.read_text() == "x\n" * 61
    # Those that were forked for a zygote that could not say so any more have gone.
    wait_until(lambda: len(procs.children(pid)) <= 3)


@pytest.mark.parametrize("number", [None, signal.SIGSTOP], ids=["running", "stopped"])
def test_it_dies_with_the_helper(helper: HelperProcess, number: int | None) -> None:
    helper.start(true=program("/bin/true"))
    helper.call("true")
    found = zygote(helper)
    if number is not None:
        procs.kill(found, number)
    helper.kill()
    procs.until_dead(found)


def test_a_call_of_a_killed_helper_ends_with_it(helper: HelperProcess) -> None:
    began = helper.work / "began"
    began.write_text("")
    helper.start(hang=sleeping(str(began), "idempotent"))
    process = helper.caller(CALLER, "call", "hang")
    wait_until(lambda: "began" in began.read_text())
    (hanging,) = helper.programs()
    procs.kill(zygote(helper))
    helper.kill()
    helper.start()
    # The next helper has ended what was left, and made the call again.
    procs.until_dead(hanging)
    wait_until(lambda: began.read_text().count("began") == 2)
    process.kill()
    process.wait()


def test_where_it_cannot_be_had_the_helper_forks_by_itself(helper: HelperProcess) -> None:
    runtime = helper.base / "runtime"
    shutil.copytree(helper.runtime, runtime)
    (file,) = runtime.rglob("zygote.py")
    text = file.read_text()
    assert f'"{os.uname().machine}"' in text
    file.write_text(text.replace(f'"{os.uname().machine}"', '"another"'))
    helper.runtime = runtime
    expect_own_children(helper)
    assert not helper.zygotes()


def test_where_each_of_them_dies_the_helper_forks_by_itself(helper: HelperProcess) -> None:
    runtime = helper.base / "runtime"
    shutil.copytree(helper.runtime, runtime)
    (file,) = runtime.rglob("nursery.py")
    with file.open("a") as text:
        # Whoever killed them at once could not be relied on to be in time.
        text.write("\n\ndef serve(*_arguments):\n    os.kill(os.getpid(), signal.SIGKILL)\n")
    helper.runtime = runtime
    expect_own_children(helper)


def test_memory_of_the_helper_is_not_that_of_a_function(helper: HelperProcess) -> None:
    """A function is forked from what has never seen a call."""
    secret = "a-value-that-nobody-else-has"
    path = helper.base / "operations.py"
    path.write_text(
        CODE
        + """
def finds(first, second):
    found = 0
    wanted = (first + second).encode()
    with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
        for line in maps:
            ends, mode = line.split()[:2]
            if mode.startswith("rw"):
                begin, end = (int(one, 16) for one in ends.split("-"))
                memory.seek(begin)
                try:
                    found += memory.read(end - begin).count(wanted)
                except OSError:
                    pass
    # What we have made ourselves is there, and nothing else.
    return found
"""
    )
    helper.start(
        finds=function(helper, "finds", "first", "second", isolation="fresh"),
        set={**program("/bin/true", "{value}"), "parameters": {"value": {"type": "string"}}},
    )
    half = len(secret) // 2
    alone = helper.call("finds", first=secret[:half], second=secret[half:])["result"]
    for _number in range(20):
        helper.call("set", value=secret)
    assert helper.call("finds", first=secret[:half], second=secret[half:])["result"] <= alone


@pytest.mark.parametrize("isolation", ["fresh", "pooled"])
def test_a_function_that_answers_and_stays_is_ended(helper: HelperProcess, isolation: str) -> None:
    """As code would that has taken it over: it is not to be there for the calls of others."""
    path = helper.base / "operations.py"
    path.write_text(
        CODE
        + """
def stay():
    answer = '{"result": %d, "last": true}' % os.getpid()
    os.write(3, answer.encode())
    while True:
        time.sleep(0.1)
"""
    )
    helper.start(stay=function(helper, "stay", isolation=isolation))
    pid = helper.call("stay")["result"]
    procs.until_dead(pid)
    assert helper.call("stay")["result"] != pid


STATUS = 'grep -E "^(Uid|Gid|CapEff|CapBnd|NoNewPrivs|Seccomp):" /proc/self/status; ulimit -v; id -G'


def test_a_process_made_ready_for_one_operation_is_like_any_other(helper: HelperProcess) -> None:
    """The second call of an operation in a row has a process that was made ready for it; others must not notice."""

    def shown(**more: Any) -> dict[str, Any]:
        return program("/bin/sh", "-c", STATUS, **more)

    helper.start(
        root=shown(capabilities=["net_admin"]),
        nobody=shown(user="nobody", capabilities=["net_raw"], memory_max=1 << 30),
        plain=shown(seccomp=False),
    )
    fresh = {one: helper.call(one)["stdout"] for one in ("root", "nobody", "plain")}
    assert len(set(fresh.values())) == 3
    for operation in ("root", "nobody", "plain", "nobody", "root", "plain"):
        for _number in range(3):
            assert helper.call(operation)["stdout"] == fresh[operation]
            # There is time for another one to be made ready.
            wait_until(lambda: len(helper.workers()) == 2)
    # Made ready, it has what the operation declares and no more, long before the call.
    helper.call("nobody")
    (prepared,) = wait_until(
        lambda: [one for one in helper.workers() if procs.status(one)["Uid"].split()[1] == "65534"]
    )
    assert int(procs.status(prepared)["CapEff"], 16) == int(procs.status(prepared)["CapBnd"], 16) == 1 << 13


def test_whoever_an_operation_runs_as_can_not_change_what_it_runs(helper: HelperProcess) -> None:
    """Neither the first time nor when a process was made ready as that user."""
    path = helper.base / "program"
    path.write_text("#!/bin/sh\necho ran\n")
    path.chmod(0o755)
    helper.start(run=program(str(path), user="nobody"))
    for _number in range(3):
        assert helper.call("run")["stdout"] == "ran\n"
        wait_until(lambda: len(helper.workers()) == 2)
    shutil.chown(path, "nobody")
    for _number in range(3):
        with pytest.raises(HelperError, match="belongs to uid 65534") as error:
            helper.call("run")
        assert error.value.name == "CannotStart"
        wait_until(lambda: len(helper.workers()) == 2)


def test_one_that_can_not_be_made_ready_says_why_and_is_not_forked_again_and_again(helper: HelperProcess) -> None:
    helper.start(run=program("/bin/true", user="nobody-is-called-so"))
    for _number in range(3):
        with pytest.raises(HelperError, match="there is no user nobody-is-called-so") as error:
            helper.call("run")
        # No parameter of the caller's is to blame.
        assert error.value.name == "CannotStart"
        # One that was made ready and one for any operation, and they stay.
        wait_until(lambda: [procs.state(one) for one in helper.workers()] == ["S", "S"])


def lost(helper: HelperProcess) -> list[dict[str, Any]]:
    return [line for line in helper.audit() if line["audit"] == "zygote"]


def stop_zygote(helper: HelperProcess) -> None:
    """Stop it when it has done what it was asked for, and has said so."""
    pid = zygote(helper)
    wait_until(lambda: procs.state(pid) == "S")
    procs.stop(pid)


def pipes(helper: HelperProcess) -> int:
    """How many pipes the helper has: its own, and two to each process that is not of the pool, there or asked for."""
    return sum(name.startswith("pipe:") for name in procs.descriptors(helper.process.pid).values())


def connections(helper: HelperProcess) -> int:
    """How many callers the helper has: their sockets have the address of the one that they came by, which pairs have not."""
    lines = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    connected = {f"socket:[{line[6]}]" for line in lines if line[5] == "03" and line[7:]}
    return len(connected.intersection(procs.descriptors(helper.process.pid).values()))


def test_one_that_does_not_answer_holds_up_who_needs_it_and_nobody_else(helper: HelperProcess) -> None:
    """Whoever runs as root can stop it. That is to be no way to stop the helper."""
    helper.start(fresh=function(helper, "pid", isolation="fresh"), pid=function(helper, "pid"))
    own = pipes(helper)
    helper.call("pid")
    for number in (1, 2):
        helper.call("fresh")
        # The one of the pool, and two that wait for calls of another kind.
        wait_until(lambda: len(helper.workers()) == 3)
        stop_zygote(helper)
        pooled = helper.call("pid")["result"]
        wait_until(lambda: not connections(helper))
        for one in helper.workers():
            if one != pooled:
                procs.kill(one)
                # Until the helper knows: it is to give nobody a dead one.
                wait_until(lambda: not procs.state(one))  # noqa: B023
        caller = helper.beside(helper.call, "fresh")
        # What leads to a process that is not there yet. The helper may have asked for that one before the call.
        wait_until(lambda: connections(helper) and pipes(helper) >= own + 2)
        for _number in range(20):
            helper.call("pid")
        assert caller.result()["exit"] == 0
        assert len(lost(helper)) == number
    names = [line.get("operation", line["audit"]) for line in helper.audit()]
    # All of those calls ended while somebody waited for the one that did not answer.
    first = names.index("zygote")
    assert names[first - 20 : first] == ["pid"] * 20
    assert [line["lost"] for line in lost(helper)] == [1, 2]
    assert all(line["message"] == "it does not answer" for line in lost(helper))


def leave_before_it_begins(helper: HelperProcess, *options: str) -> Path:
    """Go as the caller of *mark* while there is no process for it, as the zygote is stopped; gives where marks would be."""
    marks = helper.work / "marks"
    helper.start(
        mark=program("/bin/sh", "-c", f"echo x >>{marks}", idempotency="once", on_disconnect="cancel"),
        pid=function(helper, "pid"),
    )
    helper.call("pid")
    stop_zygote(helper)
    own = pipes(helper)
    process = helper.caller(CALLER, "call", *options, "mark")
    # What leads to a process that is not there yet.
    wait_until(lambda: pipes(helper) >= own + 2)
    process.kill()
    process.wait()
    return marks


def test_a_call_whose_caller_goes_while_there_is_no_process_for_it_is_not_done(helper: HelperProcess) -> None:
    marks = leave_before_it_begins(helper)
    wait_until(lambda: lost(helper))
    assert helper.call("pid")["result"] > 1
    wait_until(lambda: len(helper.calls()) == 3)
    assert not marks.exists()


def test_who_comes_back_for_a_call_before_there_is_a_process_for_it_has_it_done(helper: HelperProcess) -> None:
    marks = leave_before_it_begins(helper, "--id", "one")
    wait_until(lambda: not connections(helper))
    again = helper.caller(CALLER, "call", "--id", "one", "mark")
    assert again.communicate(timeout=60)[1] == "" and again.returncode == 0
    assert marks.read_text() == "x\n" and len(lost(helper)) == 1


def test_one_that_can_not_begin_says_why(helper: HelperProcess) -> None:
    runtime = helper.base / "runtime"
    shutil.copytree(helper.runtime, runtime)
    (file,) = runtime.rglob("child.py")
    with file.open("a") as text:
        text.write("\n\ndef prepare(_operations):\n    raise RuntimeError('no room for it')\n")
    helper.runtime = runtime
    helper.start(true=program("/bin/true"))
    # The helper can do it by itself.
    assert helper.call("true")["exit"] == 0
    assert [line["message"] for line in lost(helper)][:2] == ["RuntimeError: no room for it"] * 2


def test_where_nobody_can_begin_the_caller_is_told_why_and_the_helper_lives(helper: HelperProcess) -> None:
    runtime = helper.base / "runtime"
    shutil.copytree(helper.runtime, runtime)
    (file,) = runtime.rglob("nursery.py")
    file.write_text("import a_module_that_an_upgrade_has_removed\n")
    helper.runtime = runtime
    pid = helper.start(true=program("/bin/true"))
    for _number in range(2):
        with pytest.raises(HelperError, match="a_module_that_an_upgrade_has_removed") as error:
            helper.call("true")
        assert error.value.name == "Busy"
    assert procs.alive(pid)
    assert any("a_module_that_an_upgrade_has_removed" in line["message"] for line in lost(helper))


def test_processes_that_die_while_they_wait_come_back_more_and_more_slowly(helper: HelperProcess) -> None:
    runtime, marks = helper.base / "runtime", helper.base / "marks"
    shutil.copytree(helper.runtime, runtime)
    (file,) = runtime.rglob("_helper/child.py")
    with file.open("a") as text:
        dies = "os.kill(os.getpid(), 9)"
        text.write(f"\n\ndef rehearse(_operation):\n    open({str(marks)!r}, 'a').write('x')\n    {dies}\n")
    helper.runtime = runtime
    helper.start(true=program("/bin/true"))
    assert helper.call("true")["exit"] == -signal.SIGKILL
    wait_until(lambda: marks.stat().st_size >= 8)
    # Each pause is twice as long as the one before. Were all the same, a second would be enough for a hundred.
    time.sleep(1)
    assert marks.stat().st_size < 20
    assert procs.alive(helper.process.pid)


@pytest.fixture
def far(helper: HelperProcess) -> Iterator[Way]:
    """A file of functions on a file system that can be lost."""
    source = helper.base / "far.py"
    source.write_bytes(CODE.encode().ljust(4096, b"\n"))
    way = Way(source, helper.base / "mount")
    yield way
    way.be("good")
    helper.close()
    way.close()


def test_a_file_of_functions_that_can_not_be_read_holds_up_nobody(helper: HelperProcess, far: Way) -> None:
    """The zygote compiles it beforehand, and hangs in that, where no signal reaches it."""
    helper.start(
        far={**function(helper, "pid"), "function": {"file": str(far.file), "name": "pid"}},
        pid=function(helper, "pid"),
        true=program("/bin/true"),
    )
    far.be("lost")
    helper.call("pid")
    first = zygote(helper)
    wait_until(lambda: procs.state(first) == "D")
    caller = helper.beside(helper.call, "true")
    for _number in range(20):
        helper.call("pid")
    assert caller.result()["exit"] == 0
    names = [line.get("operation", line["audit"]) for line in helper.audit()]
    at = names.index("zygote")
    assert names[at - 20 : at] == ["pid"] * 20
    # The next one does not try it.
    for _number in range(3):
        assert helper.call("true")["exit"] == 0
    assert len(lost(helper)) == 1
    far.be("good")
    assert helper.call("far")["result"] > 1
