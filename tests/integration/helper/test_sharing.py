# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Calls that share a run, deadlines of callers, and output as it comes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import procs
import pytest
from helping import CALLER, INTERFACE, HelperProcess
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._helper.client import HelperError
from ansible_collections.holdfast.supervision.plugins.module_utils._varlink.client import Connection, VarlinkError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a helper gives away what only root has")


def calling(helper: HelperProcess, id_: str, timeout: float | None = None, **parameters: Any) -> Future[dict[str, Any]]:
    """A call under way."""
    return helper.beside(helper.client(pause=1, tries=20).call, "work", parameters, id_, timeout)


def error(call: Future[dict[str, Any]]) -> str:
    """The name of the error with which a call ends."""
    with pytest.raises(HelperError) as caught:
        call.result(60)
    return caught.value.name


def shared(helper: HelperProcess, **more: Any) -> dict[str, Any]:
    """Counts its runs, says which one it is, and ends when there is a gate for that."""
    work = helper.work
    script = (
        f"echo run >>{work}/runs; n=$(wc -l <{work}/runs); until [ -e {work}/gate$n ]; do sleep 0.02; done; "
        f"rm -f {work}/gate$n; echo $n"
    )
    operation = {"argv": ["/bin/sh", "-c", script], "coalesce": True, "idempotency": "idempotent", "timeout": 600}
    return {**operation, "capabilities": ["dac_override"], **more}


def runs(helper: HelperProcess) -> int:
    file = helper.work / "runs"
    return len(file.read_text().splitlines()) if file.exists() else 0


def open_gate(helper: HelperProcess, number: int) -> None:
    (helper.work / f"gate{number}").write_text("")


def until_asked(helper: HelperProcess, *ids: str) -> None:
    """Wait until the helper knows of calls."""
    for id_ in ids:
        wait_until(lambda id_=id_: helper.client().outcome(id_)["operation"])  # type: ignore[misc]


def test_a_run_that_is_shared_began_after_everybody_asked_who_shares_it(helper: HelperProcess) -> None:
    helper.start(work=shared(helper))
    first = calling(helper, "first")
    wait_until(lambda: runs(helper) == 1)
    # The first run is under way: what it found out may be older than what these ask.
    others = [calling(helper, f"other{number}") for number in range(5)]
    until_asked(helper, *(f"other{number}" for number in range(5)))
    assert helper.client().outcome("other0")["state"] == "never_began"
    assert runs(helper) == 1
    open_gate(helper, 1)
    assert first.result(60)["stdout"] == "1\n"
    wait_until(lambda: runs(helper) == 2)
    # The second one is under way: who comes now is not of it.
    late = calling(helper, "late")
    until_asked(helper, "late")
    open_gate(helper, 2)
    for caller in others:
        assert caller.result(60)["stdout"] == "2\n"
    wait_until(lambda: runs(helper) == 3)
    open_gate(helper, 3)
    assert late.result(60)["stdout"] == "3\n"
    # Each of them is in the log and in the journal.
    assert len(helper.calls("exited")) == 7 and sum(bool(line.get("shared")) for line in helper.calls()) == 4
    assert helper.client().outcome("other4")["result"]["stdout"] == "2\n"


def test_an_error_goes_to_all_who_share_a_run(helper: HelperProcess) -> None:
    helper.start(work=shared(helper, timeout=0.7))
    first = calling(helper, "first")
    wait_until(lambda: runs(helper) == 1)
    others = [calling(helper, f"other{number}") for number in range(3)]
    for caller in (first, *others):
        assert error(caller) == "Timeout"
    assert runs(helper) == 2


def test_other_parameters_are_another_run(helper: HelperProcess) -> None:
    parameters = {"which": {"type": "integer", "minimum": 0, "maximum": 9}}
    script = f"echo run >>{helper.work}/runs; until [ -e {helper.work}/gate1 ]; do sleep 0.02; done; exit $CODE"
    operation = shared(helper, parameters=parameters, environment={"CODE": "{which}"})
    helper.start(work={**operation, "argv": ["/bin/sh", "-c", script]})
    callers = [calling(helper, f"call{number}", which=number) for number in range(2)]
    wait_until(lambda: runs(helper) == 2)
    open_gate(helper, 1)
    for number, caller in enumerate(callers):
        assert caller.result(60)["exit"] == number


def test_one_who_gives_up_or_dies_takes_nobody_else_with_him(helper: HelperProcess) -> None:
    helper.start(work=shared(helper, on_disconnect="cancel"))
    first = calling(helper, "first")
    wait_until(lambda: runs(helper) == 1)
    leader = helper.caller(CALLER, "call", "--id", "leader", "work")
    wait_until(lambda: helper.as_user(CALLER, "outcome", "--json", "leader")[1].count('"work"'))
    stays = calling(helper, "stays")
    until_asked(helper, "stays")
    impatient = calling(helper, "impatient", timeout=0.1)
    assert error(impatient) == "DeadlinePassed"
    leader.kill()
    leader.communicate()
    open_gate(helper, 1)
    first.result(60)
    wait_until(lambda: runs(helper) == 2)
    open_gate(helper, 2)
    assert stays.result(60)["stdout"] == "2\n"


def test_a_call_whose_caller_gives_up_is_really_ended(helper: HelperProcess) -> None:
    script = f"echo $$ >{helper.work}/pid; exec sleep 1000"
    helper.start(
        work={"argv": ["/bin/sh", "-c", script], "timeout": 600, "capabilities": ["dac_override"]},
        other={"argv": ["/bin/true"]},
    )
    caller = calling(helper, "call", timeout=1.0)
    pid = int(wait_until(lambda: (helper.work / "pid").exists() and (helper.work / "pid").read_text().strip()))
    assert error(caller) == "DeadlinePassed"
    procs.until_dead(pid)
    wait_until(lambda: helper.client().outcome("call")["state"] == "done")
    with pytest.raises(HelperError) as caught:
        helper.client().call("other", timeout=-1)
    assert caught.value.name == "BadParameter"
    assert helper.client().call("other", timeout=5)["exit"] == 0


def test_a_shared_run_of_a_killed_helper_is_made_again_for_all(helper: HelperProcess) -> None:
    helper.start(work=shared(helper))
    first = calling(helper, "first")
    wait_until(lambda: runs(helper) == 1)
    other = calling(helper, "other")
    until_asked(helper, "other")
    helper.kill()
    helper.start()
    for number in range(2, 5):
        open_gate(helper, number)
    for caller in (first, other):
        assert caller.result(60)["exit"] == 0
    assert runs(helper) <= 4


# -- streaming ---------------------------------------------------------------------------------------------------


def reading(helper: HelperProcess, **more: Any) -> Iterator[tuple[str, Any]]:
    return helper.client(**more).stream("work")


def test_output_is_read_as_it_comes(helper: HelperProcess) -> None:
    gate = helper.work / "gate"
    script = f"echo one; echo two >&2; until [ -e {gate} ]; do sleep 0.02; done; printf 'thr\\303'; sleep 0.1; printf '\\251e'; exit 3"
    helper.start(work={"argv": ["/bin/sh", "-c", script], "stream": True})
    parts = reading(helper)
    assert dict([next(parts), next(parts)]) == {"stdout": "one\n", "stderr": "two\n"}
    gate.write_text("")
    rest = list(parts)
    name, result = rest.pop()
    assert name == "result" and result["exit"] == 3 and result["stdout"] == ""
    assert "".join(text for _name, text in rest) == "thrée"


def test_who_does_not_read_holds_up_the_program_and_fills_nothing(helper: HelperProcess) -> None:
    script = f"head -c 50000000 /dev/zero | tr '\\0' x; echo $? >{helper.work}/written"
    helper.start(work={"argv": ["/bin/sh", "-c", script], "stream": True, "timeout": 60})
    assert helper.process is not None
    with Connection(str(helper.socket)) as connection:
        replies = connection.stream(f"{INTERFACE}.Stream", {"operation": "work"}, 30)
        total = len(next(replies)["stdout"])
        # The helper goes on with others, and takes no more in than the pipes hold.
        assert helper.client().operations()
        assert not (helper.work / "written").exists()
        memory = int(procs.status(helper.process.pid)["VmRSS"].split()[0])
        for reply in replies:
            total += len(reply["stdout"] or "")
    assert total == 50_000_000 and memory < 60_000


def test_a_reader_that_leaves_does_not_hold_up_the_program_for_ever(helper: HelperProcess) -> None:
    script = f"head -c 5000000 /dev/zero | tr '\\0' x; echo done >{helper.work}/done"
    helper.start(work={"argv": ["/bin/sh", "-c", script], "stream": True, "capabilities": ["dac_override"]})
    parts = reading(helper)
    next(parts)
    parts.close()  # type: ignore[attr-defined]
    wait_until((helper.work / "done").exists)


def test_only_what_is_declared_so_can_be_read(helper: HelperProcess) -> None:
    helper.start(work={"argv": ["/bin/true"]}, ok={"argv": ["/bin/true"], "stream": True})
    with pytest.raises(HelperError) as caught:
        list(reading(helper))
    assert caught.value.name == "NotReadable"
    with Connection(str(helper.socket)) as connection, pytest.raises(VarlinkError, match="ExpectedMore"):
        connection.call(f"{INTERFACE}.Stream", {"operation": "ok"})
