# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A lease for an owner with a name: it outlives who got it, ends by itself, and is taken away only with a reason."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import procs
import pytest
from etcds import Cluster
from guarded import PYTHON
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._lease import information
from ansible_collections.holdfast.supervision.plugins.module_utils._lease.handle import living
from ansible_collections.holdfast.supervision.plugins.module_utils._lease.interface import LeaseError
from ansible_collections.holdfast.supervision.plugins.module_utils._lease.mutex import HeldByOther, Mutex


class Hosts:
    """Places where owners have holders, with one store; each place is as a host is, for etcd."""

    def __init__(self, runtime: Path, base: Path, driver: str, parameters: dict[str, Any]) -> None:
        self.runtime = runtime
        self.base = base
        self.driver = driver
        self.parameters = parameters

    def mutex(self, owner: str, place: str = "here", name: str = "m") -> Mutex:
        program = [PYTHON, "-I", "-S", str(self.runtime)]
        return Mutex(name, owner, self.driver, self.parameters, program, str(self.base / place))

    def living(self, place: str = "here") -> list[dict[str, Any]]:
        return living(str(self.base / place))


@pytest.fixture(params=["file", "etcd"])
def hosts(request: pytest.FixtureRequest, runtime: Path) -> Iterator[Hosts]:
    base = Path(tempfile.mkdtemp(prefix="hf-mutex-"))
    if request.param == "file":
        parameters: dict[str, Any] = {"directory": str(base / "leases")}
        (base / "leases").mkdir(mode=0o700)
    else:
        cluster: Cluster = request.getfixturevalue("etcd")
        parameters = {"endpoints": cluster.endpoints, "prefix": f"/{base.name}", "ttl": 4}
    yield Hosts(runtime, base, request.param, parameters)
    for place in base.iterdir():
        for record in living(str(place)):
            procs.kill(record["pid"])
            procs.until_dead(record["pid"])

    def removed() -> bool:
        # Whoever was about to end takes his own folder away, maybe at the same time.
        shutil.rmtree(base, ignore_errors=True)
        return not base.exists()

    wait_until(removed)


def test_it_is_held_after_whoever_got_it_is_gone_and_no_change_for_the_same_owner(hosts: Hosts) -> None:
    changed, first = hosts.mutex("run 1").hold(60, 0)
    assert changed
    token = first["resources"][0]["token"]
    changed, again = hosts.mutex("run 1").hold(120, 0)
    assert not changed
    assert again["resources"][0]["token"] == token
    assert again["until"] > first["until"]
    changed, shorter = hosts.mutex("run 1").hold(1, 0)
    assert shorter["until"] == again["until"]
    assert len(hosts.living()) == 1


def test_another_owner_is_told_who_has_it_since_when_until_when_and_what_helps(hosts: Hosts) -> None:
    _changed, first = hosts.mutex("run 1").hold(60, 0)
    with pytest.raises(HeldByOther) as caught:
        hosts.mutex("run 2").hold(60, 0)
    text = str(caught.value)
    assert "run 1" in text and "since 20" in text and "until 20" in text and "state broken" in text
    (holder,) = caught.value.holders
    assert (holder["owner"], holder["token"]) == ("run 1", first["resources"][0]["token"])
    assert holder["until"] == pytest.approx(first["until"])
    assert holder["host"] == os.uname().nodename
    # The other's holder has told why and ends.
    wait_until(lambda: [record["owner"] for record in hosts.living()] == ["run 1"])


def test_the_next_owner_waits_and_gets_a_greater_token(hosts: Hosts) -> None:
    _changed, first = hosts.mutex("run 1").hold(60, 0)
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(hosts.mutex("run 2").hold, 60, 30)
        wait_until(lambda: [one["phase"] for one in hosts.living()].count("standby") == 1)
        assert hosts.mutex("run 1").release()
        changed, second = waiting.result()
    assert changed
    assert second["resources"][0]["token"] > first["resources"][0]["token"]
    assert not hosts.mutex("run 1").release()
    assert hosts.mutex("run 2").release()


def test_waiting_in_vain_ends_and_leaves_nobody_in_line(hosts: Hosts) -> None:
    hosts.mutex("run 1").hold(60, 0)
    with pytest.raises(HeldByOther, match=r"not got within 0\.3 s"):
        hosts.mutex("run 2").hold(60, 0.3)
    wait_until(lambda: len(hosts.living()) == 1)
    assert hosts.mutex("run 1").find() is not None


def test_whoever_is_killed_while_he_waits_leaves_nobody_in_line(hosts: Hosts) -> None:
    hosts.mutex("run 1").hold(60, 0)
    waiting = hosts.mutex("run 2")
    child = os.fork()
    if not child:
        try:
            waiting.hold(60, 60)
        finally:
            os._exit(0)
    wait_until(lambda: [one["phase"] for one in hosts.living()].count("standby") == 1)
    procs.kill(child)
    os.waitpid(child, 0)
    wait_until(lambda: len(hosts.living()) == 1)


def test_it_ends_by_itself_and_leaves_nothing_on_the_host(hosts: Hosts) -> None:
    hosts.mutex("run 1").hold(0.5, 0)
    wait_until(lambda: not hosts.living())
    wait_until(lambda: not list((hosts.base / "here").iterdir()))
    assert hosts.mutex("run 2").hold(60, 0)[0]


def test_a_holder_that_was_stopped_does_not_outlast_its_time_for_good(hosts: Hosts) -> None:
    """The kernel ends it: 5 s after its time, or when the store's own grant runs out."""
    hosts.mutex("run 1").hold(0.5, 0)
    (record,) = hosts.living()
    procs.kill(record["pid"], signal.SIGSTOP)
    procs.until_dead(record["pid"])
    assert hosts.mutex("run 2").hold(60, 20)[0]


def test_a_killed_holder_lets_the_next_one_in(hosts: Hosts) -> None:
    _changed, first = hosts.mutex("run 1").hold(60, 0)
    procs.kill(hosts.living()[0]["pid"])
    assert hosts.mutex("run 1").find() is None
    _changed, second = hosts.mutex("run 2").hold(60, 20)
    assert second["resources"][0]["token"] > first["resources"][0]["token"]


def test_breaking_needs_nobodys_consent_and_makes_the_old_token_stale(hosts: Hosts) -> None:
    _changed, first = hosts.mutex("run 1").hold(60, 0)
    changed, token = hosts.mutex("").break_("run 1 hangs")
    assert changed
    assert token > first["resources"][0]["token"]
    assert hosts.mutex("").break_("again") == (False, 0)
    _changed, second = hosts.mutex("run 2").hold(60, 0)
    assert second["resources"][0]["token"] > token


def test_what_a_service_holds_is_not_broken(hosts: Hosts) -> None:
    if hosts.driver != "file" or os.geteuid() != 0:
        pytest.skip("one driver is enough, and it needs root")
    words = ["guard", "--name=svc", "--resource=m", f"--directory={hosts.parameters['directory']}"]
    command = [PYTHON, "-I", "-S", str(hosts.runtime), *words, f"--state={hosts.base / 'guards'}"]
    guard = subprocess.Popen([*command, "--", "sleep", "1000"], stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: [one["phase"] for one in living(str(hosts.base / "guards"))] == ["active"])
        with pytest.raises(HeldByOther, match="when it is stopped"):
            hosts.mutex("").break_("I want it")
        with pytest.raises(HeldByOther, match="when it is stopped"):
            hosts.mutex("").would_break()
        assert guard.poll() is None
    finally:
        guard.kill()
        guard.wait(20)

    def nobody_has_it() -> bool:
        # What is left of the service may be dying yet.
        try:
            return hosts.mutex("").break_("it is dead") == (False, 0)
        except HeldByOther:
            return False

    wait_until(nobody_has_it)


def test_of_many_owners_that_race_exactly_one_gets_it(hosts: Hosts) -> None:
    places = ("left", "right") if hosts.driver == "etcd" else ("here", "here")

    def attempt(number: int) -> bool:
        try:
            return hosts.mutex(f"run {number}", places[number % 2]).hold(60, 0)[0]
        except HeldByOther:
            return False

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(8))) == 1


def test_shared_holders_are_beside_each_other(hosts: Hosts) -> None:
    hosts.mutex("reader 1").hold(60, 0, "shared")
    hosts.mutex("reader 2").hold(60, 0, "shared")
    with pytest.raises(HeldByOther):
        hosts.mutex("writer").hold(60, 0)
    with pytest.raises(LeaseError, match="has it as shared"):
        hosts.mutex("reader 1").hold(60, 0)


def test_who_holds_and_who_waits_is_told(hosts: Hosts) -> None:
    _changed, first = hosts.mutex("run 1").hold(60, 0)
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(hosts.mutex("run 2").hold, 60, 20)
        wait_until(lambda: [one["phase"] for one in hosts.living()].count("standby") == 1)
        guards = information.everything([str(hosts.base / "here")])
        with information.Store(hosts.driver, hosts.parameters) as store:
            told = information.resource("m", store, guards)
        assert [holder["owner"] for holder in told["holders"]] == ["run 1"]
        assert told["waiters"] == ["run 2"]
        held = next(one for one in guards if one["owner"] == "run 1")
        assert held["kind"] == "holder" and held["answers"]
        # Of the store's grant and the owner's time, what ends first.
        assert time.time() < held["valid_until"] <= first["until"] + 0.001
        hosts.mutex("run 1").release()
        waiting.result()


def test_a_runtime_that_is_not_there_is_said(hosts: Hosts) -> None:
    one = hosts.mutex("run 1")
    one.program = ["/nonexistent/python"]
    with pytest.raises(LeaseError, match="which the role bootstrap or the module runtime installs"):
        one.hold(60, 0)
    one.program = [sys.executable, "-I", "-S", "/nonexistent/current"]
    with pytest.raises(LeaseError, match="its holder has ended"):
        one.hold(60, 0)
