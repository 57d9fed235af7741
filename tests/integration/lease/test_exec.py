# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A service that is executed in the place of its guard: it holds the lease itself, and whoever comes next waits for all of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import procs
import pytest
from guarded import PYTHON, Guards
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._lease import handle, information, ofd

EXEC = ("--mode=exec", "--safety=standard")

# Says which process it is, does what it is told with its descriptors, and stays.
LEAVES = """\
import os, sys, time
how, file = sys.argv[1:3]
pid = os.fork()
if pid:
    with open(file + ".new", "w") as told:
        told.write(str(pid))
    os.rename(file + ".new", file)
    time.sleep(1000)
if how != "descriptor":
    os.closerange(3, 1024)
if how == "mark":
    os.setsid()
    if os.fork():
        time.sleep(1000)
if how == "group":
    os.execve("/bin/sleep", ["sleep", "1000"], {})
time.sleep(1000)
"""


def executed(guards: Guards, name: str, *words: str, command: tuple[str, ...] = ("sleep", "1000")) -> Any:
    return guards.start(name, *EXEC, *words, command=command)


def python(text: str, *words: object) -> tuple[str, ...]:
    return (PYTHON, "-I", "-S", "-c", text, *map(str, words))


def is_free(guards: Guards, name: str = "probe") -> bool:
    """Whether somebody who does not wait gets in."""
    return executed(guards, name, "--no-wait", command=("true",)).wait(20) == 0


def test_the_process_is_the_service_and_nothing_of_ours_is_left(guards: Guards) -> None:
    service = executed(guards, "a", command=("/bin/sleep", "1000"))
    report = guards.until("a", "active")
    assert (report["mode"], report["pid"], report["tree"]) == ("exec", service.pid, service.pid)
    wait_until(lambda: procs.arguments(service.pid) == ["/bin/sleep", "1000"])
    assert procs.children(service.pid) == []
    environment = procs.environment(service.pid)
    (number,) = environment["HOLDFAST_LEASE_FDS"].split()
    assert os.readlink(f"/proc/{service.pid}/fd/{number}") == str(guards.leases / "r.lock")
    assert ofd.lockers(os.stat(guards.leases / "r.lock")) == [service.pid]
    assert environment["HOLDFAST_TOKEN"] == str(guards.token("a"))
    tokens = Path(f"/proc/{service.pid}/fd/{environment['HOLDFAST_TOKEN_FD']}").read_text()
    assert tokens == Path(environment["HOLDFAST_TOKEN_FILE"]).read_text() == f"r {guards.token('a')}\n"
    # Nothing else of ours is open in it.
    ours = {os.readlink(f"/proc/{service.pid}/fd/{one}") for one in os.listdir(f"/proc/{service.pid}/fd")}
    assert {one for one in ours if one.startswith(str(guards.base))} == {
        str(guards.leases / "r.lock"),
        str(guards.state / "a" / "lock"),
        str(guards.base / "a.err"),
    }


@pytest.mark.parametrize("second", [EXEC, ()], ids=["exec", "guard"])
def test_the_second_stands_by_and_follows_when_the_first_is_killed(guards: Guards, second: tuple[str, ...]) -> None:
    first = executed(guards, "a")
    token = guards.token("a") if guards.until("a", "active") else 0
    guards.start("b", *second)
    guards.until("b", "standby")
    first.kill()
    guards.until("b", "active")
    assert guards.token("b") > token


@pytest.mark.skipif(os.geteuid() != 0, reason="pid namespaces need root")
def test_one_follows_a_guard_when_its_tree_is_gone(guards: Guards) -> None:
    first = guards.start("a")
    tree = guards.until("a", "active")["tree"]
    executed(guards, "b")
    guards.until("b", "standby")
    first.kill()
    guards.until("b", "active")
    assert not procs.alive(tree)


def test_without_waiting_a_held_resource_is_an_exit_code_that_names_the_holder(guards: Guards) -> None:
    first = executed(guards, "a")
    guards.until("a", "active")
    assert executed(guards, "b", "--no-wait").wait(20) == 75
    assert f"r: held by a (process {first.pid}" in guards.complaints("b")


def test_several_resources_are_held_all_or_none_and_shared_ones_together(guards: Guards) -> None:
    executed(guards, "a", "--resource=y", "--resource=z:shared")
    guards.until("a", "active")
    assert executed(guards, "b", "--resource=x", "--resource=y", "--no-wait").wait(20) == 75
    executed(guards, "c", "--resource=x", "--resource=z:shared", "--no-wait")
    assert len(guards.until("c", "active")["resources"]) == 2
    assert executed(guards, "d", "--resource=z", "--no-wait").wait(20) == 75


# -- what the service does to its descriptors, and what it leaves behind


def test_a_service_that_closes_everything_keeps_others_out_until_it_ends(guards: Guards) -> None:
    closes = python("import os, time; os.closerange(3, 1024); open(os.environ['F'], 'w'); time.sleep(1000)")
    closed = guards.base / "closed"
    first = executed(guards, "a", command=("env", f"F={closed}", *closes))
    wait_until(closed.exists)
    assert ofd.lockers(os.stat(guards.leases / "r.lock")) == []
    assert executed(guards, "b", "--no-wait").wait(20) == 75
    executed(guards, "c")
    guards.until("c", "standby")
    # It has the lock and waits for the process: nothing is looked at again and again.
    waiting = guards.report("c")["pid"]
    wait_until(lambda: ofd.lockers(os.stat(guards.leases / "r.lock")) == [waiting])
    first.kill()
    guards.until("c", "active")


def test_a_service_lives_as_long_as_one_of_its_threads(guards: Guards) -> None:
    script = """
import ctypes, os, threading, time
os.closerange(3, 1024)
threading.Thread(target=lambda: (open(os.environ["F"], "w"), time.sleep(1000))).start()
ctypes.CDLL(None).syscall(ctypes.c_long(EXIT), 0)
""".replace("EXIT", "93" if os.uname().machine == "aarch64" else "60")
    closed = guards.base / "closed"
    first = executed(guards, "a", command=("env", f"F={closed}", *python(script)))
    wait_until(lambda: closed.exists() and procs.state(first.pid) == "Z")
    assert not is_free(guards)
    first.kill()
    executed(guards, "b")
    guards.until("b", "active")


@pytest.mark.parametrize("how", ["descriptor", "mark", "group"])
def test_what_a_dead_service_has_left_behind_is_waited_for_and_named(guards: Guards, how: str) -> None:
    told = guards.base / "told"
    first = executed(guards, "a", command=python(LEAVES, how, told))
    wait_until(told.exists)
    left = int(told.read_text())
    if how == "group":
        wait_until(lambda: procs.arguments(left)[:1] == ["sleep"])
    if how == "mark":
        # The one that lives on is the child of this one, in another session.
        left, between = wait_until(lambda: procs.children(left))[0], left
        procs.kill(between)
    first.kill()
    first.wait()
    assert executed(guards, "b", "--no-wait").wait(20) == 75
    assert f"a (process {first.pid}, token 1), which has ended" in guards.complaints("b")
    assert f"{left} (" in guards.complaints("b")
    executed(guards, "c")
    guards.until("c", "standby")
    assert procs.alive(left)
    procs.kill(left)
    guards.until("c", "active")


def test_what_hides_in_every_way_is_the_hole_that_is_named(guards: Guards) -> None:
    told = guards.base / "told"
    hides = """
import os, sys, time
if os.fork():
    time.sleep(1000)
os.closerange(3, 1024)
os.setsid()
pid = os.fork()
if pid:
    open(sys.argv[1], "w").write(str(pid))
    os._exit(0)
os.setsid()
os.execve("/bin/sleep", ["sleep", "1000"], {})
"""
    first = executed(guards, "a", command=python(hides, told))
    wait_until(lambda: told.exists() and told.read_text())
    left = int(told.read_text())
    wait_until(lambda: procs.arguments(left)[:1] == ["sleep"])
    first.kill()
    executed(guards, "b")
    holes = guards.until("b", "active")["holes"]
    assert procs.alive(left)
    procs.kill(left)
    assert "left_behind" in [hole["name"] for hole in holes]


def test_a_second_one_of_a_service_that_has_let_go_of_its_folder_is_refused(guards: Guards) -> None:
    closed = guards.base / "closed"
    closes = python("import os, time; os.closerange(3, 1024); open(os.environ['F'], 'w'); time.sleep(1000)")
    executed(guards, "a", command=("env", f"F={closed}", *closes))
    wait_until(closed.exists)
    report = guards.report("a")
    assert executed(guards, "a").wait(30) == 111
    assert "another guard has this service here" in guards.complaints("a")
    assert guards.report("a") == report


# -- standing by


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGWINCH])
def test_one_in_line_ends_when_it_is_stopped_and_holds_nothing(guards: Guards, number: signal.Signals) -> None:
    executed(guards, "a")
    guards.until("a", "active")
    second = executed(guards, "b", "--stop-signal=WINCH")
    guards.until("b", "standby")
    # What else a service is sent means nothing while there is none.
    for other in (signal.SIGHUP, signal.SIGUSR1, signal.SIGQUIT):
        second.send_signal(other)
    assert second.poll() is None
    second.send_signal(number)
    assert second.wait(20) == 0
    assert guards.report("b") == {}
    assert guards.report("a")["phase"] == "active"
    guards.started[0].kill()
    guards.started[0].wait()
    assert is_free(guards)


def test_a_service_that_is_stopped_by_what_nobody_can_take_is_started_and_followed(guards: Guards) -> None:
    first = executed(guards, "a", "--stop-signal=KILL")
    guards.until("a", "active")
    second = executed(guards, "b", "--stop-signal=KILL")
    guards.until("b", "standby")
    first.kill()
    assert first.wait(20) == -signal.SIGKILL
    guards.until("b", "active")
    second.kill()
    assert second.wait(20) == -signal.SIGKILL


def test_signals_reach_the_service_as_they_would_without_us(guards: Guards) -> None:
    script = """
import os, signal, sys, time
told = open(sys.argv[1], "w")
ignored = [number for number in signal.valid_signals() if signal.getsignal(number) == signal.SIG_IGN]
told.write(repr((sorted(set(ignored) - {signal.SIGPIPE, signal.SIGXFSZ}), sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())))))
told.close()
os.rename(sys.argv[1], sys.argv[2])
time.sleep(1000)
"""
    new, told = guards.base / "new", guards.base / "told"
    service = executed(guards, "a", command=python(script, new, told))
    wait_until(told.exists)
    assert told.read_text() == "([], [])"
    status = procs.status(service.pid)
    assert int(status["SigBlk"], 16) == 0
    service.terminate()
    assert service.wait(20) == -signal.SIGTERM


def test_a_stopped_service_keeps_its_lease(guards: Guards) -> None:
    first = executed(guards, "a")
    guards.until("a", "active")
    first.send_signal(signal.SIGSTOP)
    executed(guards, "b")
    guards.until("b", "standby")
    first.send_signal(signal.SIGCONT)
    first.kill()
    guards.until("b", "active")


# -- what is refused


def test_strict_refuses_and_names_what_is_open(guards: Guards) -> None:
    assert guards.start("a", "--mode=exec").wait(20) == 111
    assert "refused, because of what is open: left_behind:" in guards.complaints("a")
    assert is_free(guards)


def test_drivers_that_need_a_guard_are_refused_and_the_others_named(guards: Guards) -> None:
    guards.use_etcd("http://127.0.0.1:1")
    assert executed(guards, "a").wait(20) == 111
    assert "driver etcd needs a guard beside the service; these do not: file, sanlock" in guards.complaints("a")


@pytest.mark.parametrize("option", ["--keep=5", "--containment=process_group", "--on-lost=hook", "--report-fd=1"])
def test_what_needs_somebody_beside_the_service_is_wrong_usage(guards: Guards, option: str) -> None:
    assert executed(guards, "a", option).wait(20) == 2
    assert option.partition("=")[0] in guards.complaints("a")


def test_a_command_that_cannot_be_executed_gives_everything_back(guards: Guards) -> None:
    assert executed(guards, "a", command=("/no/such/program",)).wait(20) == 111
    assert "cannot start: /no/such/program: No such file" in guards.complaints("a")
    assert is_free(guards)


# -- seen from outside


def tool(guards: Guards, *words: str) -> subprocess.CompletedProcess[str]:
    scan = guards.base / "scan"
    (scan / ".holdfast").mkdir(parents=True, exist_ok=True)
    if not (scan / ".holdfast" / "guards").exists():
        (scan / ".holdfast" / "guards").symlink_to(guards.state)
    command = [PYTHON, "-I", "-S", str(guards.runtime), "lease", *words, f"--scan={scan}"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_it_is_listed_without_being_asked_and_can_be_told_nothing(guards: Guards) -> None:
    first = executed(guards, "a")
    guards.until("a", "active")
    executed(guards, "b")
    guards.until("b", "standby")
    told = {one["name"]: one for one in information.everything([str(guards.state)])}
    assert [(one["mode"], one["phase"], one["answers"], one["problem"]) for one in told.values()] == [
        ("exec", "active", False, ""),
        ("exec", "standby", False, ""),
    ]
    with pytest.raises(handle.NoGuard, match=f"process {first.pid}"):
        handle.Handle.attach("a", str(guards.state))
    lines = tool(guards, "list").stdout.splitlines()
    assert lines[1].split()[:4] == ["a", "active", str(first.pid), "(exec)"]
    status = tool(guards, "status", "a").stdout
    assert f"without a guard, process {first.pid}" in status
    assert "lost by mode exec: it cannot be handed over" in status
    assert "in line here: b" in status
    refused = tool(guards, "handover", "a", "b")
    assert (refused.returncode, "runs without a guard" in refused.stderr) == (1, True)
    first.kill()
    first.wait()
    assert "a" not in [one["name"] for one in information.everything([str(guards.state)])]


def test_probe_says_what_it_opens_and_loses(guards: Guards) -> None:
    with information.Store("file", {"directory": str(guards.leases)}) as store:
        found = information.probe(store)
    assert [hole["name"] for hole in found["exec"]["holes"]] == ["left_behind"]
    assert {loss["name"] for loss in found["exec"]["losses"]} >= {"loss", "order", "health", "handover", "hot"}
    assert found["holes"] == []
    assert "exec" in found["capabilities"]
    assert found["limits"] == {"most_resources": 512, "shortest_ttl": 0.0}


# -- the process state


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes the user")
def test_privileges_go_last_and_what_cannot_be_had_is_refused(
    guards: Guards, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("definition")

    def define(**lease: Any) -> str:
        path = folder / "holdfast.json"
        path.write_text(json.dumps({"lease": {"mode": "exec", **lease}}))
        return f"--definition={path}"

    service = executed(guards, "a", define(process={"user": "nobody", "umask": 0o27, "limits": {"nofile": (77, 77)}}))
    guards.until("a", "active")
    wait_until(lambda: procs.status(service.pid)["Uid"].split() == ["65534"] * 4)
    assert procs.status(service.pid)["Umask"] == "0027"
    assert procs.limits(service.pid)["Max open files"] == ("77", "77")
    assert ofd.lockers(os.stat(guards.leases / "r.lock")) == [service.pid]
    assert guards.report("a")["pid"] == service.pid
    service.kill()
    for asked in ({"hooks": {"directory": "/x"}}, {"finish_timeout": 5.0}, {"readiness": {"check": True}}):
        name = next(iter(asked))
        assert executed(guards, name, define(**asked)).wait(20) == 111
        assert "mode exec: there is nobody beside the service" in guards.complaints(name)
    assert executed(guards, "u", define(process={"user": "no-such-user"})).wait(20) == 111
    assert "no user" in guards.complaints("u")
    assert is_free(guards)
