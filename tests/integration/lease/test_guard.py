# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A guard: gets in, keeps others out, hands over, and gives back only when its service's tree is gone."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import time

import procs
import pytest
from guarded import PYTHON, Guards, make_runtime
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._varlink.client import ConnectionLost, VarlinkError

PTRACE_SEIZE = 0x4206

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="pid namespaces need root")


def test_the_second_stands_by_and_takes_over_after_a_clean_stop(guards: Guards) -> None:
    first = guards.start("a")
    guards.until("a", "active")
    guards.start("b")
    guards.until("b", "standby")
    token = guards.token("a")
    first.terminate()
    assert first.wait(20) == 0
    guards.until("b", "active")
    assert guards.token("b") > token


def test_the_second_takes_over_when_the_guard_is_killed_and_its_tree_is_gone(guards: Guards) -> None:
    first = guards.start("a")
    tree = guards.until("a", "active")["tree"]
    service = wait_until(lambda: procs.children(tree))[0]
    guards.start("b")
    guards.until("b", "standby")
    first.kill()
    guards.until("b", "active")
    assert not procs.alive(tree)
    assert not procs.alive(service)


def test_without_waiting_a_held_resource_is_an_exit_code_that_names_the_holder(guards: Guards) -> None:
    guards.start("a")
    guards.until("a", "active")
    assert guards.start("b", "--no-wait").wait(20) == 75
    assert "r: held by a (process" in guards.complaints("b")


def test_a_guard_without_standard_input_and_output_does_the_same(guards: Guards) -> None:
    script = 'exec 0<&- 1>&- 2>&-; exec "$0" "$@"'

    def bare(name: str, *words: str) -> int:
        command = [PYTHON, "-I", "-S", str(guards.runtime), "guard", f"--name={name}", *guards.driver]
        command += [f"--state={guards.state}", "--resource=r", *words, "--", "/bin/sh", "-c", "exit 7"]
        return subprocess.run(["/bin/sh", "-c", script, *command], check=False, timeout=60).returncode

    assert bare("a") == 7
    guards.start("b")
    guards.until("b", "active")
    assert bare("c", "--no-wait") == 75


def test_nothing_wakes_one_in_line_as_long_as_nothing_happens(guards: Guards) -> None:
    guards.start("a")
    guards.until("a", "active")
    guards.start("b")
    before = guards.until_asleep("b")
    time.sleep(3)
    # Some room for what is none of its doing; whoever looks twice a second is woken six times.
    assert guards.turns("b") - before <= 3
    assert guards.report("b")["phase"] == "standby"


def test_a_guard_in_line_ends_when_asked_and_holds_nothing(guards: Guards) -> None:
    guards.start("a")
    guards.until("a", "active")
    second = guards.start("b")
    guards.until("b", "standby")
    second.terminate()
    assert second.wait(20) == 0
    assert guards.report("a")["phase"] == "active"
    assert guards.start("c", "--no-wait").wait(20) == 75


def _of_one_in_line(guard: int) -> tuple[int, int]:
    """Give what waits in line for a guard, and the first process of the tree that it has at hand."""

    def found() -> tuple[int, int] | None:
        ours = os.readlink("/proc/self/ns/pid")
        apart = {pid: os.readlink(f"/proc/{pid}/ns/pid") != ours for pid in procs.children(guard)}
        both = sorted(apart, key=lambda pid: apart[pid])
        # Its own session is the last that it makes for itself: before, the kernel does not know yet that it dies with its guard.
        made = sorted(apart.values()) == [False, True] and os.getsid(both[1]) == both[1]
        return (both[0], both[1]) if made else None

    return wait_until(found)


def test_a_killed_guard_in_line_leaves_nothing_behind(guards: Guards) -> None:
    first = guards.start("a")
    guards.until("a", "active")
    second = guards.start("b")
    guards.until("b", "standby")
    waiter, prepared = _of_one_in_line(second.pid)
    second.kill()
    procs.until_dead(waiter)
    procs.until_dead(prepared)
    first.terminate()
    guards.start("c", "--no-wait")
    first.wait(20)
    guards.start("d")
    wait_until(lambda: "active" in (guards.report("c").get("phase"), guards.report("d").get("phase")))


def test_the_tree_that_one_in_line_has_at_hand_becomes_its_services(guards: Guards) -> None:
    told = guards.base / "told"
    tell = (
        'echo "$HOLDFAST_TOKEN $(cat $HOLDFAST_TOKEN_FILE) $(cat <&$HOLDFAST_TOKEN_FD) $(ls -d /proc/[0-9]* | wc -l)"'
    )
    script = f"{tell} > {told}.new; mv {told}.new {told}; exec sleep 1000"
    first = guards.start("a")
    guards.until("a", "active")
    second = guards.start("b", command=("/bin/sh", "-c", script))
    assert guards.until("b", "standby")["tree"] == 0
    _waiter, prepared = _of_one_in_line(second.pid)
    assert not procs.children(prepared)
    assert not told.exists()
    first.terminate()
    assert guards.until("b", "active")["tree"] == prepared
    wait_until(told.exists)
    token = str(guards.token("b"))
    *tokens, processes = told.read_text().split()
    assert tokens == [token, "r", token, "r", token]
    assert int(processes) < 10
    wait_until(lambda: [procs.name(pid) for pid in procs.children(prepared)] == ["sleep"])
    guards.start("c", "--no-wait").wait(20)
    assert "r: held by b (process" in guards.complaints("c")


@pytest.mark.parametrize("which", ["waiter", "prepared", "both"])
def test_a_guard_in_line_loses_nothing_when_its_children_are_killed(guards: Guards, which: str) -> None:
    first = guards.start("a")
    guards.until("a", "active")
    second = guards.start("b")
    guards.until("b", "standby")
    waiter, prepared = _of_one_in_line(second.pid)
    for pid in {"waiter": [waiter], "prepared": [prepared], "both": [waiter, prepared]}[which]:
        procs.kill(pid)
        procs.until_dead(pid)
    if which != "prepared":
        wait_until(lambda: set(procs.children(second.pid)) - {waiter, prepared})
    assert guards.report("b")["phase"] == "standby"
    first.terminate()
    assert first.wait(20) == 0
    tree = guards.until("b", "active")["tree"]
    assert (tree == prepared) == (which == "waiter")
    wait_until(lambda: [procs.name(pid) for pid in procs.children(tree)] == ["sleep"])
    second.terminate()
    assert second.wait(20) == 0
    procs.until_dead(tree)


def test_a_guard_in_line_that_ends_takes_what_it_has_at_hand_along(guards: Guards) -> None:
    guards.start("a")
    guards.until("a", "active")
    second = guards.start("b")
    guards.until("b", "standby")
    waiter, prepared = _of_one_in_line(second.pid)
    second.terminate()
    assert second.wait(20) == 0
    assert not procs.alive(waiter)
    assert not procs.alive(prepared)


def test_a_tree_at_hand_that_was_stopped_starts_when_it_goes_on_and_not_without_its_guard(guards: Guards) -> None:
    told = guards.base / "told"
    first = guards.start("a")
    guards.until("a", "active")
    second = guards.start("b", command=("/bin/sh", "-c", f"echo > {told}; exec sleep 1000"))
    guards.until("b", "standby")
    _waiter, prepared = _of_one_in_line(second.pid)
    procs.stop(prepared)
    first.terminate()
    guards.until("b", "active")
    assert not told.exists()
    second.kill()
    procs.until_dead(prepared)
    third = guards.start("c")
    guards.until("c", "active")
    assert not told.exists()
    third.terminate()


def test_a_guard_whose_runtime_was_damaged_cannot_answer_and_goes_on(guards: Guards) -> None:
    guards.runtime = make_runtime(guards.base)
    guards.start("a")
    tree = guards.until("a", "active")["tree"]
    answering = guards.runtime / "holdfast/_lease/_guard/api.py"
    kept = answering.rename(guards.base / "kept")
    with pytest.raises(ConnectionLost):
        guards.call("a", "Status")
    assert "cannot answer: No module named" in guards.complaints("a")
    kept.rename(answering)
    assert guards.call("a", "Status")["tree"] == tree
    assert procs.alive(tree)


def test_a_process_group_dies_with_a_killed_guard_and_what_has_left_it_does_not(guards: Guards) -> None:
    words = ("--containment=process_group", "--safety=standard")
    script = "setsid sleep 1001 & sleep 1000 & wait"
    guard = guards.start("a", *words, command=("/bin/sh", "-c", script))
    tree = guards.until("a", "active")["tree"]

    def parted() -> tuple[int, int] | None:
        by_group = {os.getpgid(pid): pid for pid in procs.children(tree) if procs.name(pid) == "sleep"}
        left = [pid for group, pid in by_group.items() if group == pid]
        return (by_group[tree], left[0]) if left and tree in by_group else None

    stayed, left = wait_until(parted)
    guard.kill()
    for pid in (tree, stayed):
        procs.until_dead(pid)
    assert procs.alive(left)
    procs.kill(left)


def test_a_service_of_another_user_dies_with_a_killed_guard_also_without_any_descriptor(guards: Guards) -> None:
    definition = guards.base / "holdfast.json"
    definition.write_text(json.dumps({"lease": {"process": {"user": "nobody"}}}))
    words = ("--containment=process_group", "--safety=standard", f"--definition={definition}")
    script = "import os, time; os.closerange(3, 4096); time.sleep(1000)"
    guard = guards.start("a", *words, command=(PYTHON, "-c", script))
    tree = guards.until("a", "active")["tree"]
    wait_until(lambda: sorted(os.listdir(f"/proc/{tree}/fd")) == ["0", "1", "2"])
    assert procs.status(tree)["Uid"].split()[0] != "0"
    guard.kill()
    procs.until_dead(tree)


def test_shared_holders_exclude_only_exclusive_ones(guards: Guards) -> None:
    first = guards.start("a", "--resource=r:shared")
    guards.until("a", "active")
    second = guards.start("b", "--resource=r:shared")
    guards.until("b", "active")
    assert guards.token("b") > guards.token("a")
    guards.start("c")
    guards.until("c", "standby")
    first.kill()
    first.wait()
    assert guards.report("c")["phase"] == "standby"
    second.terminate()
    guards.until("c", "active")
    assert guards.token("c") > 2


def test_several_resources_are_held_all_or_none(guards: Guards) -> None:
    guards.start("a", "--resource=y")
    guards.until("a", "active")
    assert guards.start("b", "--resource=x", "--resource=y", "--no-wait").wait(20) == 75
    guards.start("c", "--resource=x", "--no-wait")
    guards.until("c", "active")


def test_a_resource_is_added_to_a_running_service_and_given_back(guards: Guards) -> None:
    guards.start("a")
    tree = guards.until("a", "active")["tree"]
    token = guards.call("a", "Acquire", resource="disk", mode="exclusive")["token"]
    assert guards.start("b", "--resource=disk", "--no-wait").wait(20) == 75
    assert guards.call("a", "Acquire", resource="disk")["token"] == token
    guards.call("a", "Release", resource="disk")
    guards.start("c", "--resource=disk", "--no-wait")
    guards.until("c", "active")
    assert guards.token("c", "disk") > token
    with pytest.raises(VarlinkError, match="Busy"):
        guards.call("a", "Acquire", resource="disk")
    with pytest.raises(VarlinkError, match="NotHeld"):
        guards.call("a", "Release", resource="disk")
    assert guards.report("a")["tree"] == tree
    assert [one["name"] for one in guards.call("a", "Status")["resources"]] == ["r"]


def test_the_last_resource_is_not_given_back_while_the_service_runs(guards: Guards) -> None:
    guards.start("a")
    guards.until("a", "active")
    with pytest.raises(VarlinkError, match="last one"):
        guards.call("a", "Release", resource="r")
    assert guards.start("b", "--no-wait").wait(20) == 75


def test_a_hot_added_resource_too_is_free_only_when_the_tree_is_gone(guards: Guards) -> None:
    first = guards.start("a")
    tree = guards.until("a", "active")["tree"]
    guards.call("a", "Acquire", resource="disk")
    guards.start("b", "--resource=disk")
    guards.until("b", "standby")
    first.kill()
    guards.until("b", "active")
    assert not procs.alive(tree)


def test_a_free_lock_lets_nobody_in_while_the_old_tree_is_dying(guards: Guards) -> None:
    first = guards.start("a")
    tree = guards.until("a", "active")["tree"]
    service = wait_until(lambda: procs.children(tree))[0]
    # A traced process stays until its tracer, this test, has looked at its end: so long the tree is not gone.
    assert ctypes.CDLL(None).ptrace(PTRACE_SEIZE, service, None, None) == 0
    first.kill()
    first.wait()
    wait_until(lambda: not procs.descriptors(tree))
    assert guards.start("b", "--no-wait").wait(20) == 75
    assert "which is being killed" in guards.complaints("b")
    os.waitpid(service, 0)
    guards.start("c")
    guards.until("c", "active")
    assert not procs.alive(tree)


@pytest.mark.parametrize("code", [0, 3])
def test_the_exit_code_is_that_of_the_service(guards: Guards, code: int) -> None:
    assert guards.start("a", command=("/bin/sh", "-c", f"exit {code}")).wait(20) == code


@pytest.mark.parametrize("command", [("/bin/sh", "-c", "exit 3"), ("/nonexistent/program",)])
def test_a_service_that_ends_before_it_was_ready_is_no_harm(guards: Guards, command: tuple[str, ...]) -> None:
    path = guards.base / "holdfast.json"
    health = {"heartbeat_fd": 4, "interval": 0.5, "timeout": 1, "failures": 1}
    path.write_text(json.dumps({"lease": {"process": {}, "readiness": {"grace": 60}, "health": health}}))
    assert guards.start("a", f"--definition={path}", command=command).wait(20) in (3, 111)
    assert "Traceback" not in guards.complaints("a")
    assert guards.start("b", "--no-wait", command=("/bin/true",)).wait(20) == 0


def test_a_service_that_ended_by_a_signal_is_told_as_a_shell_does(guards: Guards) -> None:
    assert guards.start("a", command=("/bin/sh", "-c", "kill -SEGV $$")).wait(20) == 128 + signal.SIGSEGV


def test_a_command_that_is_not_there_frees_the_lease(guards: Guards) -> None:
    assert guards.start("a", command=("/nonexistent/program",)).wait(20) == 111
    assert "/nonexistent/program" in guards.complaints("a")
    guards.start("b", "--no-wait")
    guards.until("b", "active")


@pytest.mark.parametrize("containment", ["pid_namespace", "process_group"])
def test_what_the_service_leaves_behind_is_gone_before_the_lease_is(guards: Guards, containment: str) -> None:
    script = "setsid sh -c 'trap \"\" TERM; exec sleep 4711' & sleep 0.2; exit 0"
    first = guards.start(
        "a", f"--containment={containment}", "--safety=standard", command=("/bin/sh", "-c", f"{script} # {guards.base}")
    )
    assert first.wait(20) == 0
    left = [pid for pid in procs.pids() if procs.arguments(pid) == ["sleep", "4711"]]
    ours = str(guards.base)
    assert [pid for pid in left if ours in procs.environment(pid).get("HOLDFAST_TOKEN_FILE", "")] == []


def test_a_service_that_ignores_the_stop_signal_is_killed_after_its_time(guards: Guards) -> None:
    deaf = guards.base / "deaf"
    script = f"trap '' TERM; : > {deaf}; while :; do sleep 0.05; done"
    first = guards.start("a", "--stop-timeout=0.2", command=("/bin/sh", "-c", script))
    wait_until(deaf.exists)
    first.terminate()
    assert first.wait(20) == 128 + signal.SIGKILL


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGINT])
def test_signals_reach_the_service(guards: Guards, number: signal.Signals) -> None:
    heard = guards.base / "heard"
    program = (
        "import signal, time, pathlib\n"
        f"signal.signal({int(number)}, lambda *_: pathlib.Path({str(heard)!r}).write_text('yes'))\n"
        f"pathlib.Path({str(heard)!r}).write_text('listening')\n"
        "while True: time.sleep(0.05)\n"
    )
    first = guards.start("a", command=(PYTHON, "-c", program))
    wait_until(lambda: heard.exists() and heard.read_text() == "listening")
    first.send_signal(number)
    wait_until(lambda: heard.read_text() == "yes")
    assert first.poll() is None


def test_the_service_knows_its_token_and_sees_only_its_own_processes(guards: Guards) -> None:
    told = guards.base / "told"
    tell = 'echo "$HOLDFAST_TOKEN $(cat $HOLDFAST_TOKEN_FILE) $(ls -d /proc/[0-9]* | wc -l)"'
    script = f"{tell} > {told}.new; mv {told}.new {told}; exec sleep 1000"
    guards.start("a", command=("/bin/sh", "-c", script))
    wait_until(told.exists)
    token, resource, in_file, processes = told.read_text().split()
    assert (token, resource) == (in_file, "r")
    assert int(token) == guards.token("a")
    assert int(processes) < 10


def test_a_second_guard_of_the_same_service_does_not_start(guards: Guards) -> None:
    guards.start("a")
    guards.until("a", "active")
    assert guards.start("a", "--resource=other").wait(20) == 111
    assert guards.report("a")["phase"] == "active"


def test_a_lock_file_that_was_exchanged_lets_nobody_in(guards: Guards) -> None:
    guards.start("a")
    guards.until("a", "active")
    (guards.leases / "r.lock").unlink()
    assert guards.start("b", "--no-wait").wait(20) == 75
    assert guards.report("a")["phase"] == "active"


def test_more_resources_than_the_driver_declares_are_refused_with_the_variable_and_the_cure(guards: Guards) -> None:
    assert guards.start("a", *(f"--resource=r{at}" for at in range(513))).wait(20) == 111
    assert "a: driver file can keep 512 for one service at most, not 513; write fewer into lease.resources" in (
        guards.complaints("a")
    )
    assert not guards.leases.exists()


def test_strict_refuses_a_process_group_and_standard_takes_it(guards: Guards) -> None:
    assert guards.start("a", "--containment=process_group").wait(20) == 111
    assert "process_group" in guards.complaints("a")
    guards.start("b", "--containment=process_group", "--safety=standard")
    assert [hole["name"] for hole in guards.until("b", "active")["holes"]] == ["process_group"]


def test_a_directory_that_others_may_write_to_is_refused(guards: Guards) -> None:
    guards.leases.mkdir()
    guards.leases.chmod(0o777)
    assert guards.start("a", "--safety=standard").wait(20) == 111
    assert "chmod go-w" in guards.complaints("a")


def test_wrong_usage_is_told_apart(guards: Guards) -> None:
    assert guards.start("a", "--speed=9").wait(20) == 2
    assert guards.start("a", "--driver=nowhere").wait(20) == 111
    assert "there is no lease driver nowhere" in guards.complaints("a")
