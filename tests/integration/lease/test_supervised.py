# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A leased service under two supervisors of one host, as its definition is rendered."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import procs
import pytest
from leased import add_guarded, phase, report
from leased import add_leased as add
from supervised import Scan, make_base
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._lease.handle import Handle

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="pid namespaces need root")


@pytest.fixture
def pair(runtime: Path) -> Iterator[tuple[Scan, Scan, Path]]:
    """Two scan directories, each with its supervisor, and a directory of leases for both."""
    bases = [make_base(), make_base(), make_base()]
    scans = [Scan(runtime, base) for base in bases[:2]]
    for scan in scans:
        scan.start()
    yield scans[0], scans[1], bases[2]
    for scan in scans:
        scan.close()
    for base in bases:
        shutil.rmtree(base)


def both(one: Scan, other: Scan) -> Callable[[], bool]:
    return lambda: sorted((phase(one)(), phase(other)())) == ["active", "standby"]


def test_one_of_two_runs_and_both_are_ready(pair: tuple[Scan, Scan, Path]) -> None:
    one, other, leases = pair
    for scan in (one, other):
        add(scan, leases)
    wait_until(both(one, other))
    for scan in (one, other):
        scan.until("billing", "ready")


def test_the_command_line_tells_who_holds_and_who_stands_by(pair: tuple[Scan, Scan, Path]) -> None:
    one, other, leases = pair
    add(one, leases)
    wait_until(lambda: phase(one)() == "active")
    add(other, leases)
    wait_until(both(one, other))
    line = one.run("lease", "list").stdout.splitlines()[1].split()
    assert (line[0], line[1], line[4:]) == ("billing", "active", ["billing", "(1)", "-"])
    guards = json.loads(other.run("lease", "list", "--json").stdout)["guards"]
    assert [(guard["phase"], guard["resources"]) for guard in guards] == [("standby", [])]
    procs.kill(guards[0]["pid"])
    wait_until(
        lambda: (
            guards[0]["pid"]
            not in [one["pid"] for one in json.loads(other.run("lease", "list", "--json").stdout)["guards"]]
        )
    )


def test_a_stopped_service_hands_over_and_stands_by_when_started_again(pair: tuple[Scan, Scan, Path]) -> None:
    one, other, leases = pair
    add(one, leases)
    wait_until(lambda: phase(one)() == "active")
    add(other, leases)
    wait_until(both(one, other))
    one.control("billing", "stop")
    one.until("billing", "down")
    wait_until(lambda: phase(other)() == "active")
    one.control("billing", "start")
    wait_until(lambda: phase(one)() == "standby")
    assert phase(other)() == "active"


def test_what_needs_the_active_copy_follows_it_though_nobody_is_awake(pair: tuple[Scan, Scan, Path]) -> None:
    one, other, leases = pair
    add(one, leases)
    wait_until(lambda: phase(one)() == "active")
    add(other, leases)
    # In a circle with itself, by hand: it waits, and does no harm.
    other.add("circle", needs=["circle", "billing"], needs_active=["billing"])
    other.add("front", needs=["billing"], needs_active=["billing"])
    wait_until(lambda: {"circle", "front"} <= set(other.services()))
    wait_until(lambda: other.service("front")["reason"] == "needs billing to be active (standby)")
    assert other.service("front")["standby"]
    assert not other.service("circle")["standby"]
    started = other.run("start", "front")
    assert (started.returncode, started.stdout) == (0, "front: waiting: needs billing to be active (standby)\n")

    # The guard becomes active while no supervisor lives.
    other.kill_supervisor()
    one.control("billing", "stop")
    wait_until(lambda: phase(other)() == "active")
    other.start()
    front = other.until("front", "ready")["pid"]

    # What runs goes on, and waits again at its next start; a guard that was killed is not active any more.
    guard = other.service("billing")["pid"]
    one.control("billing", "start")
    wait_until(lambda: phase(one)() == "standby")
    procs.kill(guard)
    wait_until(lambda: phase(one)() == "active")
    assert other.service("front")["pid"] == front
    other.control("front", "restart")
    other.until("front", "waiting")


def test_the_other_takes_over_when_supervisor_and_guard_are_killed(pair: tuple[Scan, Scan, Path]) -> None:
    one, other, leases = pair
    add(one, leases)
    wait_until(lambda: phase(one)() == "active")
    add(other, leases)
    wait_until(both(one, other))
    guard = one.service("billing")["pid"]
    tree = json.loads((one.path / ".holdfast" / "guards" / "billing" / "state.json").read_text())["tree"]
    one.kill_supervisor()
    assert procs.alive(guard)
    assert phase(other)() == "standby"
    procs.kill(guard)
    wait_until(lambda: phase(other)() == "active")
    assert not procs.alive(tree)


def test_a_supervisor_that_comes_back_finds_its_guard_and_keeps_the_lease(pair: tuple[Scan, Scan, Path]) -> None:
    one, _other, leases = pair
    add(one, leases)
    wait_until(lambda: phase(one)() == "active")
    guard = one.service("billing")["pid"]
    one.kill_supervisor()
    one.start()
    assert one.until("billing", "up", "ready", adopted=True)["pid"] == guard
    assert phase(one)() == "active"


# -- with leases that run out


@pytest.fixture(params=["etcd", "sanlock"])
def remote_pair(
    request: pytest.FixtureRequest, pair: tuple[Scan, Scan, Path]
) -> tuple[tuple[Scan, dict[str, Any]], ...]:
    """Two supervisors, and what a service's lease is on the host of each."""
    one, other, base = pair
    leases: list[dict[str, Any]]
    if request.param == "etcd":
        parameters = {"endpoints": request.getfixturevalue("etcd").endpoints, "prefix": str(base)}
        leases = [{"driver": "etcd", "ttl": "3s", "parameters": parameters}] * 2
    else:
        hosts = request.getfixturevalue("hosts").hosts
        given = [host.parameters(prefix=f"{base.name}/") for host in hosts]
        leases = [{"driver": "sanlock", "safety": "standard", "parameters": parameters} for parameters in given]
    return (one, leases[0]), (other, leases[1])


def test_a_supervisor_that_is_killed_ends_no_lease_that_runs_out(
    remote_pair: tuple[tuple[Scan, dict[str, Any]], ...],
) -> None:
    (one, lease), (other, others) = remote_pair
    add_guarded(one, lease=lease)
    wait_until(lambda: phase(one)() == "active")
    add_guarded(other, lease=others)
    wait_until(both(one, other))
    guard, before = one.service("billing")["pid"], report(one)
    one.kill_supervisor()
    # Renewed while there is no supervisor.
    with Handle.attach("billing", str(one.path / ".holdfast" / "guards")) as handle:
        good = handle.inquire()["valid_until"]
        wait_until(lambda: handle.inquire()["valid_until"] > good)
    one.start()
    assert one.until("billing", "up", "ready", adopted=True)["pid"] == guard
    after = report(one)
    assert (after["tree"], after["resources"]) == (before["tree"], before["resources"])
    assert phase(other)() == "standby"
    one.kill_supervisor()
    procs.kill(guard)
    wait_until(lambda: phase(other)() == "active")
    assert not procs.alive(before["tree"])


def test_the_guard_stays_root_and_the_service_is_what_it_was_defined_to_be(pair: tuple[Scan, Scan, Path]) -> None:
    one, _other, leases = pair
    add(
        one,
        leases,
        user="nobody",
        limits={"nofile": 77},
        umask="0027",
        environment={"COLOUR": "blue"},
        secret_environment={"PASSWORD": "x"},
    )
    wait_until(lambda: phase(one)() == "active")
    guard = one.service("billing")["pid"]
    init = json.loads((one.path / ".holdfast" / "guards" / "billing" / "state.json").read_text())["tree"]
    wait_until(lambda: [procs.arguments(pid) for pid in procs.children(init)] == [["/bin/sleep", "100000"]])
    service = procs.children(init)[0]
    assert procs.status(guard)["Uid"].split()[0] == "0"
    assert procs.status(init)["Uid"].split()[0] == "0"
    assert procs.status(service)["Uid"].split()[0] != "0"
    assert procs.status(service)["Umask"] == "0027"
    assert procs.limits(service)["Max open files"] == ("77", "77")
    environment = procs.environment(service)
    assert (environment["COLOUR"], environment["PASSWORD"], environment["HOLDFAST_TOKEN"]) == ("blue", "geheim", "1")
    assert not {"HOLDFAST_GUARDED", "HOLDFAST_APPLIED", "HOLDFAST_RUNTIME"} & set(environment)


def test_a_leased_service_is_not_paused(pair: tuple[Scan, Scan, Path]) -> None:
    one, _other, leases = pair
    add(one, leases)
    wait_until(lambda: phase(one)() == "active")
    errors = one.call("Control", commands=[{"name": "billing", "action": "pause"}])["errors"]
    assert "is not paused" in errors[0]["message"]
    assert procs.state(one.service("billing")["pid"]) != "T"


def test_the_stop_signal_and_the_time_are_the_definitions(pair: tuple[Scan, Scan, Path]) -> None:
    one, _other, leases = pair
    heard, listening = leases / "heard", leases / "listening"
    script = f"trap 'echo > {heard}; exit 0' USR1; trap '' TERM; : >{listening}; while :; do sleep 0.05; done"
    add(one, leases, command=["/bin/sh", "-c", script], stop_signal="USR1", stop_timeout=30)
    # A standby is ready too.
    wait_until(listening.exists)
    one.control("billing", "stop")
    assert one.until("billing", "down")["exit"]["code"] == 0
    assert heard.exists()


# -- without a guard


ALONE = {"lease": {"mode": "exec", "safety": "standard"}}


def test_the_supervisors_process_is_the_service_and_a_standby_is_ready(pair: tuple[Scan, Scan, Path]) -> None:
    one, other, leases = pair
    add(one, leases, user="nobody", umask="0027", secret_environment={"PASSWORD": "x"}, **ALONE)
    wait_until(lambda: phase(one)() == "active")
    add(other, leases, user="nobody", **ALONE)
    wait_until(both(one, other))
    for scan in (one, other):
        scan.until("billing", "ready")
    service = one.service("billing")["pid"]
    wait_until(lambda: procs.arguments(service) == ["/bin/sleep", "100000"])
    assert procs.children(service) == []
    assert procs.status(service)["Uid"].split() == ["65534"] * 4
    assert procs.status(service)["Umask"] == "0027"
    environment = procs.environment(service)
    assert (environment["PASSWORD"], environment["HOLDFAST_TOKEN"]) == ("geheim", "1")
    assert not {"HOLDFAST_GUARDED", "HOLDFAST_APPLIED", "HOLDFAST_RUNTIME"} & set(environment)
    # The one that waits has its privileges still.
    assert procs.status(other.service("billing")["pid"])["Uid"].split() == ["0"] * 4


def test_without_a_guard_the_other_follows_a_stop_a_kill_and_a_dead_supervisor(pair: tuple[Scan, Scan, Path]) -> None:
    one, other, leases = pair
    add(one, leases, **ALONE)
    wait_until(lambda: phase(one)() == "active")
    add(other, leases, **ALONE)
    wait_until(both(one, other))
    one.control("billing", "stop")
    one.until("billing", "down")
    wait_until(lambda: phase(other)() == "active")
    one.control("billing", "start")
    wait_until(lambda: phase(one)() == "standby")
    # A stop reaches one that waits, too.
    one.control("billing", "stop")
    assert one.until("billing", "down")["exit"]["code"] == 0
    one.control("billing", "start")
    wait_until(lambda: phase(one)() == "standby")
    service = other.service("billing")["pid"]
    other.kill_supervisor()
    assert procs.alive(service)
    assert phase(one)() == "standby"
    procs.kill(service)
    wait_until(lambda: phase(one)() == "active")


def test_a_supervisor_that_comes_back_finds_a_service_that_has_no_guard(pair: tuple[Scan, Scan, Path]) -> None:
    one, _other, leases = pair
    add(one, leases, **ALONE)
    wait_until(lambda: phase(one)() == "active")
    service = one.service("billing")["pid"]
    one.kill_supervisor()
    one.start()
    assert one.until("billing", "up", "ready", adopted=True)["pid"] == service
    line = one.run("lease", "list").stdout.splitlines()[1].split()
    assert line[:4] == ["billing", "active", str(service), "(exec)"]


def test_a_service_without_a_guard_has_its_own_stop_signal_and_time(pair: tuple[Scan, Scan, Path]) -> None:
    one, _other, leases = pair
    heard, listening = leases / "heard", leases / "listening"
    script = f"trap 'echo > {heard}; exit 0' USR1; trap '' TERM; : >{listening}; while :; do sleep 0.05; done"
    add(one, leases, command=["/bin/sh", "-c", script], stop_signal="USR1", stop_timeout=30, **ALONE)
    wait_until(listening.exists)
    one.control("billing", "stop")
    assert one.until("billing", "down")["exit"]["code"] == 0
    assert heard.exists()
