# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Jobs: they go on without their caller and without the helper, and are never silently gone."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import procs
import pytest
from helping import CALLER, INTERFACE, STRANGER, HelperProcess
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._helper.client import HelperError, OutcomeUnknown
from ansible_collections.holdfast.supervision.plugins.module_utils._varlink.client import Connection

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a helper gives away what only root has")

ID = "the-job"


def shell(script: str, **more: Any) -> dict[str, Any]:
    return {
        "argv": ["/bin/sh", "-c", script],
        "asynchronous": "always",
        "capabilities": ["dac_override"],
        "timeout": 600,
        **more,
    }


def gated(helper: HelperProcess, **more: Any) -> dict[str, Any]:
    """Adds a line when it begins and goes on when there is a gate; its process is in `pid`."""
    work = helper.work
    script = f"echo $$ >{work}/pid; echo began >>{work}/began; until [ -e {work}/gate ]; do sleep 0.02; done; echo done"
    return shell(script, **more)


def begun(helper: HelperProcess, times: int = 1) -> int:
    """Wait until it has begun so often; gives its pid."""
    file = helper.work / "began"
    wait_until(lambda: file.exists() and file.read_text().count("began") == times)
    return int((helper.work / "pid").read_text())


def keeper_of(helper: HelperProcess, uid: int = 0, id_: str = ID) -> int:
    return int(json.loads((helper.base / f"run/jobs/{uid}-{id_}/begun.json").read_text())["pid"])


def open_gate(helper: HelperProcess) -> None:
    (helper.work / "gate").write_text("")


def test_a_job_is_begun_at_once_and_its_result_is_there_when_asked_for(helper: HelperProcess) -> None:
    helper.start(work=gated(helper))
    job = helper.client().start("work", {}, ID)
    assert job["state"] == "running" and job["operation"] == "work" and job["user"] == 0
    begun(helper)
    open_gate(helper)
    ended = helper.client().job(ID, wait=True)
    assert (ended["state"], ended["exit"], ended["stdout"]) == ("done", 0, "done\n")
    assert ended["created"] <= ended["began"] <= ended["ended"]
    assert [one["id"] for one in helper.client().jobs()] == [ID]
    wait_until(lambda: not procs.alive(keeper_of(helper)))


def test_the_same_id_is_the_same_job_and_nothing_else(helper: HelperProcess) -> None:
    helper.start(work=gated(helper), other=shell("true"))
    for _number in range(3):
        assert helper.client().start("work", {}, ID)["state"] == "running"
    with pytest.raises(HelperError) as caught:
        helper.client().start("other", {}, ID)
    assert caught.value.name == "BadId"
    begun(helper)
    open_gate(helper)
    assert helper.call("work", ID)["stdout"] == "done\n"
    assert helper.client().start("work", {}, ID)["state"] == "done"
    assert begun(helper) and helper.client().outcome(ID)["state"] == "done"


def test_an_operation_says_whether_it_can_be_a_job(helper: HelperProcess) -> None:
    helper.start(never={"argv": ["/bin/true"]}, allowed={"argv": ["/bin/echo", "x"], "asynchronous": "allowed"})
    with pytest.raises(HelperError) as caught:
        helper.client().start("never")
    assert caught.value.name == "NotAsynchronous"
    assert helper.call("allowed")["stdout"] == "x\n"
    assert helper.client().jobs() == []
    job = helper.client().start("allowed")
    assert helper.client().job(job["id"], wait=True)["stdout"] == "x\n"


def test_an_id_is_a_call_or_a_job(helper: HelperProcess) -> None:
    helper.start(work={"argv": ["/bin/true"], "asynchronous": "allowed"})
    helper.call("work", "one")
    helper.client().start("work", {}, "two")
    for wrong in (lambda: helper.client().start("work", {}, "one"), lambda: helper.call("work", "two")):
        with pytest.raises(HelperError) as caught:
            wrong()
        assert caught.value.name == "BadId"


@pytest.mark.parametrize("orderly", [True, False])
def test_a_job_goes_on_when_the_helper_is_restarted(helper: HelperProcess, orderly: bool) -> None:
    helper.start(work=gated(helper))
    helper.client().start("work", {}, ID)
    pid = begun(helper)
    if orderly:
        assert helper.stop() == 0
    else:
        helper.kill()
    assert procs.alive(pid)
    helper.start()
    assert helper.client().job(ID)["state"] == "running"
    open_gate(helper)
    assert helper.client().job(ID, wait=True)["stdout"] == "done\n"
    assert begun(helper) == pid
    wait_until(lambda: [one["outcome"] for one in helper.audit() if one["audit"] == "job"][-1] == "done")


def test_a_job_that_ended_while_there_was_no_helper_has_its_result(helper: HelperProcess) -> None:
    helper.start(work=gated(helper))
    helper.client().start("work", {}, ID)
    begun(helper)
    helper.kill()
    open_gate(helper)
    wait_until((helper.base / f"run/jobs/0-{ID}/result.json").exists)
    helper.start()
    assert helper.client().job(ID)["stdout"] == "done\n"
    # Its end is in the log, and that once.
    helper.kill()
    helper.start()
    assert [one["outcome"] for one in helper.audit() if one["audit"] == "job"] == ["accepted", "done"]


def test_a_call_of_a_job_survives_a_restart_of_the_helper(helper: HelperProcess) -> None:
    helper.start(work=gated(helper))
    caller = helper.beside(helper.client(pause=1, tries=20).call, "work", {}, ID)
    begun(helper)
    helper.kill()
    helper.start()
    open_gate(helper)
    assert caller.result(60)["stdout"] == "done\n"
    begun(helper, 1)


def test_a_job_whose_keeper_is_killed_is_lost_with_all_that_belongs_to_it(helper: HelperProcess) -> None:
    helper.start(work=gated(helper))
    helper.client().start("work", {}, ID)
    pid = begun(helper)
    procs.kill(keeper_of(helper))
    lost = helper.client().job(ID, wait=True)
    assert lost["state"] == "lost" and "keeper was killed" in lost["message"]
    procs.until_dead(pid)
    with pytest.raises(OutcomeUnknown):
        helper.call("work", ID)
    assert helper.client().outcome(ID)["state"] == "unknown"
    begun(helper, 1)


def test_a_job_whose_keeper_died_with_the_helper_is_lost_too(helper: HelperProcess) -> None:
    helper.start(work=gated(helper))
    helper.client().start("work", {}, ID)
    pid = begun(helper)
    helper.kill()
    procs.kill(keeper_of(helper))
    helper.start()
    assert helper.client().job(ID, wait=True)["state"] == "lost"
    procs.until_dead(pid)
    assert [one["outcome"] for one in helper.audit() if one["audit"] == "job"] == ["accepted", "adopted", "lost"]


def test_a_job_of_another_boot_is_lost_and_nobody_is_killed_for_it(helper: HelperProcess) -> None:
    helper.start(work=gated(helper))
    helper.client().start("work", {}, ID)
    begun(helper)
    helper.kill()
    procs.kill(keeper_of(helper))
    file = helper.base / f"run/jobs/0-{ID}/begun.json"
    # Its pid is somebody else's by now.
    entry = {**json.loads(file.read_text()), "boot": "0" * 32, "pid": os.getpid()}
    file.write_text(json.dumps(entry))
    helper.start()
    lost = helper.client().job(ID)
    assert lost["state"] == "lost" and "the host was restarted" in lost["message"]


def test_cancelling_kills_all_of_it_also_what_went_to_the_background(helper: HelperProcess) -> None:
    pids = helper.work / "pids"
    inner = f"trap '' TERM; echo $$ >>{pids}; while :; do sleep 1; done"
    script = f'setsid sh -c "{inner}" & (setsid sh -c "{inner}" &) ; echo $$ >>{pids}; wait'
    helper.start(work=shell(script))
    helper.client().start("work", {}, ID)
    wait_until(lambda: pids.exists() and len(pids.read_text().split()) == 3)
    cancelled = helper.client().cancel(ID)
    assert cancelled["state"] == "cancelled" and cancelled["error"] == "cancelled"
    for pid in map(int, pids.read_text().split()):
        assert not procs.alive(pid)
    with pytest.raises(HelperError) as caught:
        helper.call("work", ID)
    assert caught.value.name == "Cancelled"


def test_a_job_that_was_adopted_can_be_cancelled(helper: HelperProcess) -> None:
    helper.start(work=gated(helper))
    helper.client().start("work", {}, ID)
    pid = begun(helper)
    helper.kill()
    helper.start()
    assert helper.client().cancel(ID)["state"] == "cancelled"
    assert not procs.alive(pid)


def test_a_job_has_its_time_also_without_a_helper(helper: HelperProcess) -> None:
    helper.start(work=gated(helper, timeout=1.5))
    helper.client().start("work", {}, ID)
    pid = begun(helper)
    helper.kill()
    procs.until_dead(pid)
    helper.start()
    job = helper.client().job(ID, wait=True)
    assert (job["state"], job["error"]) == ("failed", "timeout")


def test_what_a_job_leaves_ends_with_it_unless_it_is_meant_to_live(helper: HelperProcess) -> None:
    script = (
        f"setsid sh -c 'echo $$ >{helper.work}/NAME; exec sleep 1000' </dev/null >/dev/null 2>&1 & "
        f"until [ -s {helper.work}/NAME ]; do sleep 0.02; done"
    )
    helper.start(
        short=shell(script.replace("NAME", "short")), long=shell(script.replace("NAME", "long"), long_lived=True)
    )
    for name in ("short", "long"):
        assert helper.call(name)["exit"] == 0
    short, long = (int((helper.work / name).read_text()) for name in ("short", "long"))
    assert not procs.alive(short)
    helper.kill()
    helper.start()
    assert procs.alive(long) and helper.client().jobs()[-1]["state"] == "done"
    procs.kill(long)


def test_progress_and_output_are_seen_while_it_runs(helper: HelperProcess) -> None:
    script = f"echo 42% half way >&$HOLDFAST_PROGRESS; echo out; echo err >&2; until [ -e {helper.work}/gate ]; do sleep 0.02; done"
    helper.start(work=shell(script))
    helper.client().start("work", {}, ID)
    seen: list[dict[str, Any]] = []
    for job in helper.client().follow(ID):
        seen.append(job)
        if job["progress"]:
            open_gate(helper)
    middle = next(job for job in seen if job["progress"])
    assert middle["state"] == "running" and middle["progress"] == {"percent": 42.0, "text": "half way"}
    assert (middle["stdout"], middle["stderr"]) == ("out\n", "err\n")
    assert seen[-1]["state"] == "done"


def test_only_the_end_of_the_output_is_kept(helper: HelperProcess) -> None:
    helper.start(work=shell("seq 1 200000; echo last"))
    result = helper.call("work", ID)
    assert result["truncated"] and result["stdout"].endswith("200000\nlast\n") and len(result["stdout"]) == 65536


def test_a_function_can_be_a_job(helper: HelperProcess) -> None:
    file = helper.base / "functions.py"
    file.write_text(
        "import os\n"
        "def work(text):\n"
        "    os.write(int(os.environ['HOLDFAST_PROGRESS']), b'7 seven\\n')\n"
        "    if not text:\n        raise ValueError('no text')\n"
        "    return {'length': len(text)}\n"
    )
    helper.start(
        work={
            "function": {"file": str(file), "name": "work"},
            "isolation": "fresh",
            "asynchronous": "always",
            "parameters": {"text": {"type": "string"}},
        }
    )
    assert helper.call("work", ID, text="four")["result"] == {"length": 4}
    assert helper.client().job(ID)["progress"]["percent"] == 7
    with pytest.raises(HelperError, match="ValueError: no text") as caught:
        helper.call("work", text="")
    assert caught.value.name == "Failed"


def test_jobs_wait_for_their_turn_and_begin_after_a_restart(helper: HelperProcess) -> None:
    work = helper.work
    block = shell(f"until [ -e {work}/gate ]; do sleep 0.05; done")
    secret = {"secret": {"type": "string", "no_log": True}}
    script = f'echo "$SECRET" >>{work}/began'
    helper.start(block=block, work=shell(script, parameters=secret, environment={"SECRET": "{secret}"}))
    for number in range(8):
        helper.client().start("block", {}, f"block{number}")
    assert helper.client().start("work", {"secret": "geheim!"}, ID)["state"] == "queued"
    assert helper.client().start("work", {"secret": "x"}, "second")["state"] == "queued"
    assert helper.client().cancel("second")["state"] == "cancelled"
    helper.kill()
    helper.start()
    assert helper.client().job(ID)["state"] == "queued"
    open_gate(helper)
    assert helper.client().job(ID, wait=True)["state"] == "done"
    assert (work / "began").read_text() == "geheim!\n"
    # The secret is nowhere any more.
    assert "geheim!" not in "".join(file.read_text() for file in helper.base.glob("run/jobs/*/*"))
    assert "geheim!" not in helper.log.read_text()


def test_jobs_are_their_users_own(helper: HelperProcess) -> None:
    helper.start(work=gated(helper))
    code, out, err = helper.as_user(CALLER, "call", "--job", "--id", ID, "work")
    assert (code, out) == (0, f"{ID}\n"), err
    begun(helper)
    shown = json.loads(helper.as_user(CALLER, "jobs", "--json")[1])
    assert [one["id"] for one in shown] == [ID]
    assert json.loads(helper.as_user(STRANGER, "jobs", "--json")[1]) == []
    for arguments in (["jobs", ID], ["jobs", "--cancel", ID], ["jobs", "--user", str(CALLER), ID]):
        code, _out, err = helper.as_user(STRANGER, *arguments)
        assert code == 1 and "no such job" in err
    # Root sees and ends everybody's.
    assert [one["user"] for one in helper.client().jobs()] == [CALLER]
    assert helper.client().cancel(ID, user=CALLER)["state"] == "cancelled"
    code, out, _err = helper.as_user(CALLER, "jobs", ID)
    assert code == 1 and "cancelled" in out


def test_a_keeper_is_in_nobodys_tree_and_holds_nothing_of_the_helper(helper: HelperProcess) -> None:
    pid = helper.start(work=gated(helper))
    helper.client().start("work", {}, ID)
    begun(helper)
    kept = keeper_of(helper)
    assert procs.parent(kept) != pid and os.getsid(kept) != os.getsid(pid)
    assert not any("socket:" in one and "journal" in one for one in procs.descriptors(kept).values())
    named = [one for one in procs.descriptors(kept).values() if str(helper.base) in one]
    assert named == [str(helper.base / f"run/jobs/0-{ID}/lock")]


def test_a_helper_that_is_killed_again_and_again_loses_and_doubles_no_job(helper: HelperProcess) -> None:
    began = helper.work / "began"
    helper.start(
        add={
            **shell(f'echo "$WHICH" >>{began}'),
            "environment": {"WHICH": "{which}"},
            "parameters": {"which": {"type": "integer", "minimum": 0, "maximum": 9999}},
        }
    )
    done: list[int] = []
    stop = threading.Event()

    def calls() -> None:
        number = 0
        while not stop.is_set():
            assert helper.client(pause=0.5, tries=20).call("add", {"which": number})["exit"] == 0
            done.append(number)
            number += 1

    caller = helper.beside(calls)
    try:
        for target in range(3, 18, 3):
            wait_until(lambda target=target: len(done) >= target or caller.done(), 60)  # type: ignore[misc]
            helper.kill()
            helper.start()
    finally:
        stop.set()
    caller.result(60)
    assert len(done) >= 15
    assert [int(line) for line in began.read_text().split()] == done


def test_whoever_watches_a_job_may_leave(helper: HelperProcess) -> None:
    helper.start(work=gated(helper))
    helper.client().start("work", {}, ID)
    begun(helper)
    with Connection(str(helper.socket)) as connection:
        replies = connection.stream(f"{INTERFACE}.Job", {"id": ID}, 20)
        assert next(replies)["job"]["state"] == "running"
        open_gate(helper)
        assert list(replies)[-1]["job"]["state"] == "done"
    # A watcher that leaves in the middle is nobody's business.
    (helper.work / "gate").unlink()
    helper.client().start("work", {}, "second")
    begun(helper, 2)
    with Connection(str(helper.socket)) as connection:
        next(connection.stream(f"{INTERFACE}.Job", {"id": "second"}, 20))
    open_gate(helper)
    assert helper.client().job("second", wait=True)["state"] == "done"
    assert helper.process is not None and helper.process.poll() is None
    helper.process.send_signal(signal.SIGTERM)
    assert helper.process.wait(30) == 0


@pytest.mark.parametrize("what", ["program", "folder"])
def test_a_job_that_cannot_start_says_so(helper: HelperProcess, what: str) -> None:
    operation = shell("true", directory="/nowhere") if what == "folder" else {**shell(""), "argv": ["/nowhere/program"]}
    helper.start(work=operation)
    with pytest.raises(HelperError) as caught:
        helper.call("work", ID)
    assert caught.value.name == "CannotStart"
    assert helper.client().job(ID)["error"] == "cannot_start"


def test_old_jobs_make_room(helper: HelperProcess, tmp_path: Path) -> None:
    helper.start(work=shell("true"))
    for number in range(66):
        helper.client().start("work", {}, f"job{number:02}")
        helper.client().job(f"job{number:02}", wait=True)
    known = [one["id"] for one in helper.client().jobs()]
    assert len(known) == 64 and known[0] == "job02" and known[-1] == "job65"


def test_where_no_operation_can_be_a_job_there_is_none(helper: HelperProcess) -> None:
    helper.start(run={"argv": ["/bin/true"]})
    client = helper.client()
    assert client.jobs() == []
    for ask in (client.job, client.cancel, lambda id_: client.job(id_, wait=True)):
        with pytest.raises(HelperError) as error:
            ask(ID)
        assert error.value.name == "NoSuchJob"
    with pytest.raises(HelperError) as error:
        client.start("run", {}, ID)
    assert error.value.name == "NotAsynchronous"
    # The name is free for a call.
    assert client.call("run", {}, ID)["exit"] == 0
    assert client.outcome(ID)["state"] == "done"


def test_a_job_is_told_of_where_no_operation_can_be_one_any_more(helper: HelperProcess) -> None:
    helper.start(work=shell("echo done"))
    helper.call("work", id_=ID)
    helper.stop()
    helper.start(work={"argv": ["/bin/true"]})
    assert helper.client().job(ID)["stdout"] == "done\n"
