# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Shared resources: there for the first, gone after the last, whoever dies meanwhile."""

from __future__ import annotations

import json
import os
import subprocess
import time
from concurrent.futures import Future
from typing import Any

import pytest
from helping import CALLER, INTERFACE, PYTHON, STRANGER, HelperProcess
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._helper.client import Held, HelperError
from ansible_collections.holdfast.supervision.plugins.module_utils._varlink.client import Connection

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a helper gives away what only root has")


def start(helper: HelperProcess, linger: float = 0.0, create: str = "", destroy: str = "") -> None:
    """A helper whose resource is a file, and what was done with it is in `log`."""
    log = helper.work / "log"

    def operation(script: str) -> dict[str, Any]:
        return {
            "argv": ["/bin/sh", "-c", script],
            "idempotency": "idempotent",
            "capabilities": ["dac_override"],
            "environment": {"WHICH": "{which}"},
            "parameters": {"which": {"type": "string", "default": "a"}},
        }

    helper.configure(
        make=operation(f"{create or 'true'} || exit 3; echo create $WHICH >>{log}; : >{helper.work}/thing-$WHICH"),
        take={
            **operation(
                f"{destroy or 'true'} || exit 4; echo destroy $WHICH >>{log}; rm -f {helper.work}/thing-$WHICH"
            ),
            "allow": [],
        },
    )
    document = json.loads(helper.file.read_text())
    document["resources"] = {"thing": {"create": "make", "destroy": "take", "linger": linger}}
    helper.file.write_text(json.dumps(document))
    helper.start()


def done(helper: HelperProcess) -> list[str]:
    file = helper.work / "log"
    return file.read_text().splitlines() if file.exists() else []


def hold(helper: HelperProcess, exclusive: bool = False, timeout: float | None = 20, **parameters: Any) -> Held:
    return helper.client(pause=1, tries=20).hold("thing", parameters, exclusive, timeout)


def holding(helper: HelperProcess, exclusive: bool = False, timeout: float | None = 20) -> Future[Held]:
    """Waits for a resource."""
    return helper.beside(hold, helper, exclusive, timeout)


def waiting(helper: HelperProcess, count: int) -> None:
    wait_until(lambda: [one["waiting"] for one in helper.client().resources()] == [count])


def test_it_is_made_for_the_first_and_taken_away_after_the_last(helper: HelperProcess) -> None:
    start(helper)
    first = hold(helper)
    second = hold(helper)
    assert (helper.work / "thing-a").exists()
    (shown,) = helper.client().resources()
    assert (shown["state"], shown["shared"], shown["exclusive"]) == ("present", 2, False)
    first.release()
    first.release()
    assert (helper.work / "thing-a").exists()
    second.release()
    wait_until(lambda: helper.client().resources() == [])
    assert done(helper) == ["create a", "destroy a"]


def test_other_parameters_are_another_thing(helper: HelperProcess) -> None:
    start(helper)
    with hold(helper, which="a"), hold(helper, which="b"):
        assert sorted(done(helper)) == ["create a", "create b"]
    wait_until(lambda: len(done(helper)) == 4)


def test_it_lingers_for_the_next_one(helper: HelperProcess) -> None:
    start(helper, linger=1000)
    for _number in range(3):
        hold(helper).release()
    assert done(helper) == ["create a"]
    assert helper.client().resources()[0]["state"] == "present"


def test_it_lingers_over_a_restart_as_long_as_was_said_and_no_longer(helper: HelperProcess) -> None:
    start(helper, linger=1000)
    hold(helper).release()
    (file,) = (helper.base / "run" / "resources").iterdir()
    until = json.loads(file.read_text())["until"]
    for _number in range(2):
        helper.kill()
        helper.start()
        # The restart is no new beginning.
        assert json.loads(file.read_text())["until"] == until
        assert helper.client().resources()[0]["state"] == "present"
    # As if most of that time had passed, and the rest does while it starts, or a moment later.
    helper.kill()
    until = time.clock_gettime(time.CLOCK_BOOTTIME) + 2
    file.write_text(json.dumps({**json.loads(file.read_text()), "until": until}))
    helper.start()
    wait_until(lambda: done(helper) == ["create a", "destroy a"])
    assert time.clock_gettime(time.CLOCK_BOOTTIME) >= until
    wait_until(lambda: helper.client().resources() == [])


def test_what_lingers_after_a_restart_is_there_for_the_next_one(helper: HelperProcess) -> None:
    start(helper, linger=1000)
    hold(helper).release()
    helper.kill()
    helper.start()
    hold(helper).release()
    assert done(helper) == ["create a"]


def test_what_is_no_resource_any_more_is_told_of(helper: HelperProcess) -> None:
    start(helper, linger=1000)
    hold(helper).release()
    helper.stop()
    document = json.loads(helper.file.read_text())
    document["resources"]["other"] = document["resources"].pop("thing")
    helper.file.write_text(json.dumps(document))
    helper.start()
    assert helper.client().resources() == []
    assert [line["resource"] for line in helper.audit() if line.get("outcome") == "forgotten"] == ["thing"]


def test_who_wants_it_alone_waits_and_is_not_overtaken(helper: HelperProcess) -> None:
    start(helper)
    first = hold(helper)
    alone = holding(helper, exclusive=True)
    waiting(helper, 1)
    # It could be shared with the first one, but somebody was there before.
    late = holding(helper)
    waiting(helper, 2)
    first.release()
    held = alone.result(60)
    assert helper.client().resources()[0]["exclusive"] and not late.done()
    held.release()
    late.result(60).release()
    wait_until(lambda: done(helper)[-1:] == ["destroy a"])


def test_a_wait_has_an_end(helper: HelperProcess) -> None:
    start(helper)
    with hold(helper, exclusive=True):
        with pytest.raises(HelperError) as caught:
            hold(helper, timeout=0.2)
        assert caught.value.name == "DeadlinePassed"
        waiting(helper, 0)


def test_an_error_goes_to_all_who_wait_and_the_next_one_tries_anew(helper: HelperProcess) -> None:
    gate, good = helper.work / "gate", helper.work / "good"
    start(helper, create=f"until [ -e {gate} ]; do sleep 0.02; done; [ -e {good} ]")
    waiters = [holding(helper) for _number in range(3)]
    waiting(helper, 3)
    gate.write_text("")
    for waiter in waiters:
        with pytest.raises(HelperError, match="exit code 3") as caught:
            waiter.result(60)
        assert caught.value.name == "ResourceFailed"
    assert helper.client().resources() == []
    good.write_text("")
    hold(helper).release()


def test_a_holder_that_dies_holds_nothing(helper: HelperProcess) -> None:
    start(helper)
    code = (
        f"import sys, time; sys.path.insert(0, {str(helper.runtime)!r})\n"
        "from holdfast._helper.client import Helper\n"
        f"held = Helper({str(helper.socket)!r}).hold('thing', dict(), True)\nprint('held', flush=True)\ntime.sleep(1000)\n"
    )
    holder = subprocess.Popen([PYTHON, "-I", "-S", "-c", code], stdout=subprocess.PIPE)
    assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
    waiter = holding(helper)
    waiting(helper, 1)
    holder.kill()
    holder.communicate()
    waiter.result(60).release()


@pytest.mark.parametrize("orderly", [True, False])
def test_what_is_held_stays_held_over_a_restart(helper: HelperProcess, orderly: bool) -> None:
    start(helper)
    held = hold(helper, exclusive=True)
    if orderly:
        helper.stop()
    else:
        helper.kill()
    helper.start()
    # Bound to this process, until it is to a connection again.
    with pytest.raises(HelperError) as caught:
        hold(helper, timeout=0.2)
    assert caught.value.name == "DeadlinePassed"
    held.attach()
    waiter = holding(helper)
    waiting(helper, 1)
    held.release()
    waiter.result(60).release()
    wait_until(lambda: helper.client().resources() == [])
    assert done(helper)[0] == "create a"


def test_a_holder_that_died_with_the_helper_is_found_dead(helper: HelperProcess) -> None:
    start(helper)
    code = (
        f"import sys, time; sys.path.insert(0, {str(helper.runtime)!r})\n"
        "from holdfast._helper.client import Helper\n"
        f"held = Helper({str(helper.socket)!r}).hold('thing')\nprint('held', flush=True)\ntime.sleep(1000)\n"
    )
    holders = [subprocess.Popen([PYTHON, "-I", "-S", "-c", code], stdout=subprocess.PIPE) for _number in range(2)]
    for holder in holders:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
    helper.kill()
    holders[0].kill()
    holders[0].communicate()
    helper.start()
    assert [one["shared"] for one in helper.client().resources()] == [1]
    # One that dies later, without ever having connected again.
    holders[1].kill()
    holders[1].communicate()
    wait_until(lambda: done(helper) == ["create a", "destroy a"])


def test_what_was_half_made_when_the_helper_died_is_taken_away(helper: HelperProcess) -> None:
    start(helper, create=f"echo begun >>{helper.work}/log; [ -e {helper.work}/gate ] || sleep 1000")
    waiter = holding(helper, timeout=None)
    wait_until(lambda: done(helper) == ["begun"])
    helper.kill()
    (helper.work / "gate").write_text("")
    helper.start()
    held = waiter.result(60)
    # It asked again, and it was made, whatever came first.
    assert (helper.work / "thing-a").exists()
    held.release()
    wait_until(lambda: helper.client().resources() == [])
    assert not (helper.work / "thing-a").exists()


def test_a_destroy_that_fails_is_tried_again_and_told_of(helper: HelperProcess) -> None:
    start(helper, destroy=f"echo try >>{helper.work}/log; [ -e {helper.work}/good ]")
    hold(helper).release()
    wait_until(lambda: done(helper).count("try") == 3)
    wait_until(lambda: helper.client().resources()[0]["state"] == "failed")
    assert "exit code 4" in helper.client().resources()[0]["message"]
    outcomes = [line["outcome"] for line in helper.audit() if line["audit"] == "resource"]
    assert outcomes.count("not destroyed") == 3
    # It is made anew for whoever asks, and the next last one takes it away.
    (helper.work / "good").write_text("")
    hold(helper).release()
    wait_until(lambda: helper.client().resources() == [])


def test_what_a_command_holds_may_be_told_by_numbers_and_truth_values(helper: HelperProcess) -> None:
    operation = {
        "argv": ["/bin/true", "{lun}", "{writable}"],
        "idempotency": "idempotent",
        "parameters": {"lun": {"type": "integer", "minimum": 0, "maximum": 7}, "writable": {"type": "boolean"}},
    }
    helper.configure(make=operation, take={**operation, "allow": []})
    document = json.loads(helper.file.read_text())
    document["resources"] = {"disk": {"create": "make", "destroy": "take"}}
    helper.file.write_text(json.dumps(document))
    helper.start()
    code, out, err = helper.as_user(CALLER, "resource", "disk", "lun=3", "writable=true", "--run", "/bin/echo", "with")
    assert (code, out) == (0, "with\n"), err
    code, _out, err = helper.as_user(CALLER, "resource", "disk", "lun=x", "writable=true", "--run", "/bin/echo", "with")
    assert code == 2 and "a whole number is needed" in err


def test_only_who_may_make_it_may_hold_and_see_it(helper: HelperProcess) -> None:
    start(helper)
    with hold(helper):
        code, out, err = helper.as_user(CALLER, "resource", "thing", "--run", "/bin/sh", "-c", "echo with")
        assert (code, out) == (0, "with\n"), err
        code, _out, err = helper.as_user(STRANGER, "resource", "thing", "--run", "/bin/echo", "with")
        assert code == 1 and "not for this user" in err
        assert json.loads(helper.as_user(CALLER, "resource", "--json")[1])[0]["shared"] == 1
        assert json.loads(helper.as_user(STRANGER, "resource", "--json")[1]) == []


def test_where_no_resource_is_declared_there_is_none(helper: HelperProcess) -> None:
    helper.start(run={"argv": ["/bin/true"]})
    client = helper.client()
    assert client.resources() == []
    with pytest.raises(HelperError) as error:
        client.hold("share")
    assert error.value.name == "NotAllowed"
    with Connection(str(helper.socket)) as connection:
        assert connection.call(f"{INTERFACE}.Release", {"token": "token"}) == {"released": False}
