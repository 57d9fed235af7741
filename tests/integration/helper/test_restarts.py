# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The helper dies, or its callers do, at every point: nothing is lost without a word, and nothing is done twice."""

from __future__ import annotations

import json
import os
import signal
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import procs
import pytest
from helping import CALLER, INTERFACE, HelperProcess, sleeping
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._helper.client import (
    HelperError,
    HelperGone,
    OutcomeUnknown,
)
from ansible_collections.holdfast.supervision.plugins.module_utils._varlink.client import Connection

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a helper gives away what only root has")

ID = "the-call"


def calling(helper: HelperProcess, operation: str, **options: Any) -> Future[dict[str, Any]]:
    """A call under way."""
    return helper.beside(helper.client(**options).call, operation, {}, ID)


def begun(file: Path) -> int:
    return file.read_text().count("began") if file.exists() else 0


def until_begun(file: Path, times: int = 1) -> None:
    wait_until(lambda: begun(file) == times)


@pytest.fixture
def file(helper: HelperProcess) -> Path:
    path = helper.work / "began"
    path.write_text("")
    return path


#: Long the first time, short the second.
def once_long(file: Path, idempotency: str) -> dict[str, Any]:
    script = f"echo began >>{file}; [ $(wc -l <{file}) -gt 1 ] || exec sleep 1000; echo again"
    return {"argv": ["/bin/sh", "-c", script], "idempotency": idempotency, "timeout": 600}


def test_a_caller_that_is_first_waits_for_the_helper(helper: HelperProcess, file: Path) -> None:
    helper.configure(quick={"argv": ["/bin/echo", "hello"]})
    caller = calling(helper, "quick")
    helper.start()
    assert caller.result(60)["stdout"] == "hello\n"


def test_a_caller_waits_for_a_first_helper_only_so_long(helper: HelperProcess) -> None:
    with pytest.raises(HelperGone, match="no helper came up"):
        helper.client(first_launch=0.2).call("quick")


def test_a_dead_helper_is_tried_three_times_and_then_told(helper: HelperProcess) -> None:
    helper.start(quick={"argv": ["/bin/true"]})
    helper.kill()
    with pytest.raises(HelperGone, match="refused"):
        helper.client(pause=0.05).call("quick")


def test_a_call_to_a_helper_that_is_being_restarted_is_made(helper: HelperProcess) -> None:
    helper.start(quick={"argv": ["/bin/echo", "hello"]})
    client = helper.client(pause=2)
    assert client.call("quick")["exit"] == 0
    helper.kill()
    caller = calling(helper, "quick", pause=2)
    helper.start()
    assert caller.result(60)["stdout"] == "hello\n"
    # What was used before the restart goes on being of use.
    assert client.call("quick")["exit"] == 0


@pytest.mark.parametrize("idempotency", ["pure", "idempotent"])
def test_a_call_that_may_be_repeated_is_when_the_helper_died_in_its_middle(
    helper: HelperProcess, file: Path, idempotency: str
) -> None:
    helper.start(work=once_long(file, idempotency))
    caller = calling(helper, "work", pause=2)
    until_begun(file)
    (worker,) = helper.programs()
    helper.kill()
    helper.start()
    assert caller.result(60)["stdout"] == "again\n"
    assert begun(file) == 2
    # The first one was ended before the second began.
    procs.until_dead(worker)


def test_a_call_that_must_not_be_repeated_is_not_and_can_be_asked_about(helper: HelperProcess, file: Path) -> None:
    helper.start(work=once_long(file, "once"))
    caller = calling(helper, "work", pause=2)
    until_begun(file)
    helper.kill()
    helper.start()
    with pytest.raises(OutcomeUnknown) as caught:
        caller.result(60)
    assert caught.value.id == ID
    assert begun(file) == 1
    assert helper.client().outcome(ID) == {"state": "unknown", "operation": "work", "result": None, "error": None}
    # Also when the same is asked once more, and after one more restart.
    helper.kill()
    helper.start()
    with pytest.raises(OutcomeUnknown):
        helper.call("work", ID)
    assert begun(file) == 1
    assert [line["outcome"] for line in helper.audit() if line["audit"] == "recovery" and "id" in line] == [
        "outcome unknown"
    ]


def test_a_call_that_waited_its_turn_never_began_and_is_made_after_the_restart(
    helper: HelperProcess, file: Path
) -> None:
    blocker = {"argv": ["/bin/sleep", "1000"], "timeout": 600, "idempotency": "once"}
    helper.start(block=blocker, work={"argv": ["/bin/sh", "-c", f"echo began >>{file}"], "idempotency": "once"})
    connections = [Connection(str(helper.socket)) for _number in range(16)]
    for connection in connections:
        connection._send({"method": f"{INTERFACE}.Call", "parameters": {"operation": "block"}})
    wait_until(lambda: len(helper.programs()) == 16)
    caller = calling(helper, "work", pause=2)
    # It is known, and has not begun.
    wait_until(lambda: helper.client().outcome(ID)["operation"] == "work")
    assert helper.client().outcome(ID)["state"] == "never_began"
    helper.kill()
    helper.start()
    assert caller.result(60)["exit"] == 0
    for connection in connections:
        connection.close()
    assert begun(file) == 1


def test_the_answer_of_an_ended_call_is_kept_over_a_restart(helper: HelperProcess, file: Path) -> None:
    helper.start(work={"argv": ["/bin/sh", "-c", f"echo began >>{file}; echo out; exit 3"], "idempotency": "once"})
    first = helper.call("work", ID)
    helper.kill()
    helper.start()
    assert helper.call("work", ID) == first
    outcome = helper.client().outcome(ID)
    assert outcome["state"] == "done" and outcome["result"] == first
    assert begun(file) == 1


def test_an_id_means_one_call_of_one_user(helper: HelperProcess, file: Path) -> None:
    helper.start(
        work={"argv": ["/bin/echo", "out"], "idempotency": "once"},
        other={"argv": ["/bin/echo", "out"], "idempotency": "once"},
    )
    helper.call("work", ID)
    with pytest.raises(HelperError) as caught:
        helper.call("other", ID)
    assert caught.value.name == "BadId"
    assert json.loads(helper.as_user(CALLER, "outcome", "--json", ID)[1])["state"] == "never_began"
    assert helper.as_user(CALLER, "call", "--id", ID, "other")[:2] == (0, "out\n")


def test_two_callers_with_the_same_id_share_one_call(helper: HelperProcess, file: Path) -> None:
    gate = helper.work / "gate"
    script = f"echo began >>{file}; until [ -e {gate} ]; do sleep 0.02; done; echo done"
    helper.start(work={"argv": ["/bin/sh", "-c", script], "idempotency": "once"})
    callers = [calling(helper, "work") for _number in range(3)]
    until_begun(file)
    assert helper.client().outcome(ID)["state"] == "running"
    gate.write_text("")
    for caller in callers:
        assert caller.result(60)["stdout"] == "done\n"
    assert begun(file) == 1


@pytest.mark.parametrize("way", ["finish", "cancel"])
def test_the_call_of_a_dead_caller_ends_as_declared(helper: HelperProcess, file: Path, way: str) -> None:
    gate = helper.work / "gate"
    script = f"echo began >>{file}; until [ -e {gate} ]; do sleep 0.02; done; echo finished >>{file}"
    pid = helper.start(work={"argv": ["/bin/sh", "-c", script], "capabilities": ["dac_override"], "on_disconnect": way})
    caller = helper.caller(CALLER, "call", "--id", ID, "work")
    until_begun(file)
    (worker,) = helper.programs()
    caller.kill()
    caller.communicate()
    if way == "cancel":
        procs.until_dead(worker)
        wait_until(lambda: helper.calls("cancelled"))
        assert "finished" not in file.read_text()
    else:
        gate.write_text("")
        wait_until(lambda: helper.calls("exited"))
        assert "finished" in file.read_text()
        assert helper.as_user(CALLER, "outcome", ID)[1] == "done\n"
    assert procs.alive(pid)


def test_an_orderly_stop_finishes_what_is_at_work(helper: HelperProcess, file: Path) -> None:
    gate = helper.work / "gate"
    script = f"echo began >>{file}; until [ -e {gate} ]; do sleep 0.02; done; echo done"
    helper.start(work={"argv": ["/bin/sh", "-c", script], "idempotency": "once"})
    caller = calling(helper, "work")
    until_begun(file)
    assert helper.process is not None
    helper.process.send_signal(signal.SIGTERM)
    gate.write_text("")
    assert caller.result(60)["stdout"] == "done\n"
    assert helper.process.wait(30) == 0


def test_a_helper_that_is_killed_again_and_again_never_does_anything_twice(helper: HelperProcess, file: Path) -> None:
    """One caller after the other with an operation that adds a line, and the helper dies at random moments."""
    helper.start(
        add={
            "argv": ["/bin/sh", "-c", f'echo "$WHICH" >>{file}'],
            "environment": {"WHICH": "{which}"},
            "parameters": {"which": {"type": "integer", "minimum": 0, "maximum": 9999}},
            "idempotency": "once",
        }
    )
    done: list[int] = []
    unknown: list[int] = []
    stop = threading.Event()

    def calls() -> None:
        number = 0
        while not stop.is_set():
            try:
                assert helper.client(pause=1).call("add", {"which": number})["exit"] == 0
                done.append(number)
            except OutcomeUnknown:
                unknown.append(number)
            number += 1

    caller = helper.beside(calls)
    try:
        for target in range(5, 30, 5):
            wait_until(lambda target=target: len(done) + len(unknown) >= target or caller.done(), 60)  # type: ignore[misc]
            helper.kill()
            helper.start()
    finally:
        stop.set()
    caller.result(60)
    lines = [int(line) for line in file.read_text().split()]
    assert len(lines) == len(set(lines))
    assert set(done) <= set(lines) <= set(done) | set(unknown)


def test_a_worker_of_a_dead_helper_that_nobody_asked_to_keep_is_ended(helper: HelperProcess, file: Path) -> None:
    helper.start(work=sleeping(str(file), "pure"))
    with Connection(str(helper.socket)) as connection:
        connection._send({"method": f"{INTERFACE}.Call", "parameters": {"operation": "work"}})
        until_begun(file)
        (worker,) = helper.programs()
        helper.kill()
    assert procs.alive(worker)
    helper.start()
    procs.until_dead(worker)
    assert list(helper.base.glob("run/journal/*")) == []


def test_a_client_goes_on_after_restarts_in_threads_and_after_a_fork(helper: HelperProcess) -> None:
    helper.start(quick={"argv": ["/bin/echo", "hello"]})
    client = helper.client()
    assert client.call("quick")["exit"] == 0

    def calls() -> list[int]:
        return [client.call("quick")["exit"] for _number in range(5)]

    for _round in range(2):
        callers = [helper.beside(calls) for _number in range(6)]
        assert [caller.result() for caller in callers] == [[0] * 5] * 6
        helper.kill()
        helper.start()
    assert client.call("quick")["exit"] == 0
    # Parent and child each get the answers to what they asked.
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(0 if all(client.call("quick", id_=f"child{n}")["exit"] == 0 for n in range(20)) else 1)
        finally:
            os._exit(2)
    for number in range(20):
        assert client.call("quick", id_=f"parent{number}")["exit"] == 0
    assert os.waitpid(pid, 0)[1] == 0
    ids = {line.get("id") for line in helper.calls("exited")}
    assert {f"child{n}" for n in range(20)} | {f"parent{n}" for n in range(20)} <= ids


def test_a_call_that_a_dead_helper_never_got_is_not_unknown(helper: HelperProcess) -> None:
    helper.start(quick={"argv": ["/bin/echo", "hello"], "idempotency": "once"})
    client = helper.client(first_launch=1)
    assert client.call("quick")["exit"] == 0
    helper.kill_with_children()
    with pytest.raises(HelperGone):
        client.call("quick")
