# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Handing over between two guards: nobody gets in between, and a crash at any step leaves one holder or none."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from etcds import Cluster
from guarded import PYTHON, STUBBORN, Guards, overlaps
from sanlocks import Storage
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._lease import handle, moving
from ansible_collections.holdfast.supervision.plugins.module_utils._lease.handle import Handle
from ansible_collections.holdfast.supervision.plugins.module_utils._lease.handover import Handover, Overtaken
from ansible_collections.holdfast.supervision.plugins.module_utils._lease.interface import Busy, LeaseError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="pid namespaces need root")

#: Seconds for one step.
LONG = 20.0


class Pair:
    """Two guards of one service, which beats and can't be stopped but by force; whoever ends is started again."""

    def __init__(self, guards: Guards, storage: Storage | None = None) -> None:
        self.guards = guards
        #: Of sanlock: `a` is on one host of it, all others on the other.
        self.storage = storage
        self.history = guards.base / "history"
        self.running: dict[str, subprocess.Popen[str]] = {}

    def start(self, name: str) -> None:
        self.settle(name)
        command = (PYTHON, "-c", STUBBORN, str(self.history), name)
        self.running[name] = self.guards.start(name, "--stop-timeout=0.1", command=command)

    def settle(self, name: str) -> None:
        """Let the next guard that is started be where *name* is."""
        if self.storage is not None:
            self.guards.use_sanlock(self.storage.hosts[name != "a"])

    def supervise(self) -> None:
        """Do what a supervisor does: start again whoever has ended."""
        for name, guard in list(self.running.items()):
            if guard.poll() is not None:
                self.start(name)
                wait_until(lambda name=name: self.phase(name) in ("active", "standby"))  # type: ignore[misc]

    def kill(self, name: str) -> None:
        self.running[name].kill()
        self.running[name].wait()

    def phase(self, name: str) -> str:
        found = self.guards.report(name)
        return str(found.get("phase")) if found and found["pid"] == self.running[name].pid else ""

    def at(self, name: str) -> Handle:
        return Handle.attach(name, str(self.guards.state), LONG)

    def place(self, name: str) -> moving.Place:
        return moving.Place(name, str(self.guards.state))

    def move(self, number: str = "h") -> dict[str, int]:
        return moving.hand_over(self.place("a"), self.place("b"), number, 30, LONG)

    def beats(self, name: str) -> int:
        return self.history.read_text().count(f" {name} ") if self.history.exists() else 0


@pytest.fixture
def pair(guards: Guards) -> Pair:
    """`a` is active and beats, `b` stands by."""
    return _started(guards)


@pytest.fixture(params=["file", "etcd", "sanlock"])
def any_pair(request: pytest.FixtureRequest, guards: Guards) -> Pair:
    """The same with each driver that hands over."""
    if request.param == "etcd":
        guards.use_etcd(request.getfixturevalue("etcd").endpoints)
    return _started(guards, request.getfixturevalue("hosts") if request.param == "sanlock" else None)


def _started(guards: Guards, storage: Storage | None = None) -> Pair:
    made = Pair(guards, storage)
    made.start("a")
    guards.until("a", "active")
    made.start("b")
    guards.until("b", "standby")
    wait_until(lambda: made.beats("a") > 0)
    return made


def test_the_target_gets_it_with_the_next_token_though_another_was_first_in_line(any_pair: Pair) -> None:
    pair = any_pair
    pair.kill("b")
    pair.start("c")
    pair.guards.until("c", "standby")
    pair.start("b")
    wait_until(lambda: pair.phase("b") == "standby")
    before = pair.guards.token("a")
    assert pair.move() == {"r": before + 1}
    assert pair.running["a"].wait(20) == 137
    pair.supervise()
    assert (pair.phase("a"), pair.phase("b"), pair.phase("c")) == ("standby", "active", "standby")
    wait_until(lambda: pair.beats("b") > 0)
    assert overlaps(pair.history) == (2, [])
    assert moving.arrived(pair.place("a"), pair.place("b"))


def test_it_can_be_handed_back(any_pair: Pair) -> None:
    pair = any_pair
    first = pair.move()["r"]
    pair.running["a"].wait(20)
    pair.supervise()
    assert moving.hand_over(pair.place("b"), pair.place("a"), "back", 30, LONG) == {"r": first + 1}
    wait_until(lambda: overlaps(pair.history)[0] == 3)
    assert overlaps(pair.history)[1] == []


def test_a_guard_that_is_asking_its_store_takes_over_as_soon_as_that_has_answered(
    guards: Guards, etcd: Cluster
) -> None:
    guards.use_etcd(etcd.endpoints, ttl=8)
    pair = _started(guards)
    with pair.at("a") as source, pair.at("b") as target:
        name = target.prepare_in("h")
        source.prepare_out("h", name, 30)
        state = source.complete_out("h", LONG)
    pair.kill("b")
    with etcd.members[0].frozen():
        pair.start("b")
        wait_until(lambda: pair.phase("b") == "standby")
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(LONG)
        client.connect(str(guards.state / "b" / "socket"))
        request = {"handover": "h", "state": state.write()}
        client.sendall(json.dumps({"method": "io.holdfast.Guard.CompleteIn", "parameters": request}).encode() + b"\0")
        with pair.at("b") as target:
            # Who asks later is answered later: the first request has been read.
            assert target.inquire()["phase"] == "standby"
    answer = json.loads(client.recv(65536).rstrip(b"\0"))
    client.close()
    assert answer["parameters"]["resources"][0]["token"] == state.tokens["r"] + 1, answer
    wait_until(lambda: pair.beats("b") > 0)
    assert overlaps(pair.history) == (2, [])


def test_what_was_added_while_the_service_ran_moves_along(any_pair: Pair) -> None:
    pair = any_pair
    with pair.at("a") as source:
        token = source.acquire("disk")["disk"]
    assert pair.move()["disk"] == token + 1


def test_cancelled_before_the_end_the_source_never_stops(any_pair: Pair) -> None:
    pair = any_pair
    with pair.at("a") as source, pair.at("b") as target:
        child = source.get_child()
        source.prepare_out("h", target.prepare_in("h"), 30)
        assert source.inquire()["handover"]["role"] == "source"
        assert (source.cancel("h"), source.cancel("h")) == ("dropped", "unknown")
        assert source.get_child() == child
        with pytest.raises(LeaseError, match="prepare it first"):
            source.complete_out("h", LONG)
        assert source.get_child() == child


@pytest.mark.parametrize("driver", ["file", "etcd", "sanlock"])
def test_what_cannot_be_handed_over_any_more_when_the_service_has_ended_is_given_back(
    request: pytest.FixtureRequest, guards: Guards, driver: str
) -> None:
    if driver == "etcd":
        # So much that nobody gets it by waiting for that.
        guards.use_etcd(request.getfixturevalue("etcd").endpoints, ttl=60)
    elif driver == "sanlock":
        guards.use_sanlock(request.getfixturevalue("hosts").hosts[0])
    # It ends when it may, and not when it is asked to.
    ends_late = ("sh", "-c", f"trap '' TERM; while [ ! -e {guards.base}/go ]; do sleep 0.05; done")
    guards.start("a", "--stop-timeout=0", command=ends_late)
    guards.until("a", "active")
    guards.start("b")
    guards.until("b", "standby")
    state = str(guards.state)
    with (
        Handle.attach("a", state, LONG) as source,
        Handle.attach("b", state, LONG) as target,
        ThreadPoolExecutor() as pool,
    ):
        source.prepare_out("h", target.prepare_in("h"), 30)
        completing = pool.submit(source.complete_out, "h", LONG)
        guards.until("a", "stopping")
        # As if the mark had come to its end meanwhile.
        assert target.cancel("h") == "dropped"
        (guards.base / "go").touch()
        with pytest.raises(LeaseError, match="could not be handed over; was given back to whoever is first in line"):
            completing.result()
    guards.until("b", "active")


def test_cancelled_after_the_end_only_the_source_gets_it_back(any_pair: Pair) -> None:
    pair = any_pair
    pair.start("c")
    pair.guards.until("c", "standby")
    with pair.at("a") as source, pair.at("b") as target:
        source.prepare_out("h", target.prepare_in("h"), 30)
        state = source.complete_out("h", LONG)
    pair.running["a"].wait(20)
    pair.supervise()
    with pair.at("a") as source, pair.at("b") as target:
        assert source.cancel("h") == "returning"
        with pytest.raises((Busy, Overtaken)):
            target.complete_in(state)
    pair.guards.until("a", "active")
    assert pair.guards.token("a") == state.tokens["r"] + 1
    assert (pair.phase("b"), pair.phase("c")) == ("standby", "standby")


def test_the_target_takes_nothing_that_somebody_had_in_between(pair: Pair) -> None:
    with pair.at("a") as source, pair.at("b") as target:
        name = target.prepare_in("h")
        source.prepare_out("h", name, 0.05)
        token = pair.guards.token("a")
        stale = Handover("h", "a", name, {"r": token - 1}, "out")
        pair.kill("a")
        # The mark's time is over: b gets it as anybody does, and nobody takes that for a hand-over.
        pair.guards.until("b", "active")
        with pytest.raises(handle.NotActive):
            target.complete_in(stale)
    pair.supervise()
    with pair.at("a") as late, pytest.raises(LeaseError):
        late.complete_in(stale)
    assert pair.phase("a") == "standby"


def test_completing_in_is_refused_while_the_source_runs_and_may_be_repeated(any_pair: Pair) -> None:
    pair = any_pair
    with pair.at("a") as source, pair.at("b") as target:
        state = source.prepare_out("h", target.prepare_in("h"), 30)
        with pytest.raises(Busy):
            target.complete_in(state)
        state = source.complete_out("h", LONG)
        tokens = target.complete_in(state)
        assert target.complete_in(state) == tokens
        assert target.complete_in("h") == tokens


def test_a_guard_in_the_wrong_phase_says_so(pair: Pair) -> None:
    with pair.at("a") as active, pair.at("b") as standing_by:
        with pytest.raises(handle.NotActive, match="standby"):
            standing_by.prepare_out("h", "a", 30)
        with pytest.raises(handle.NotActive, match="active"):
            active.prepare_in("h")
        with pytest.raises(LeaseError, match="no other guard"):
            active.prepare_out("h", "a", 30)
        with pytest.raises(LeaseError, match="nothing is kept for b"):
            standing_by.complete_in("h")
    assert (pair.phase("a"), pair.phase("b")) == ("active", "standby")


def _prepared(pair: Pair) -> dict[str, Any]:
    with pair.at("a") as source, pair.at("b") as target:
        return {"state": source.prepare_out("h", target.prepare_in("h"), 30)}


def _out(pair: Pair) -> dict[str, Any]:
    _prepared(pair)
    with pair.at("a") as source:
        return {"state": source.complete_out("h", LONG)}


def _ending(pair: Pair) -> None:
    """Begin to complete out, and do not wait for the answer."""
    _prepared(pair)
    with pair.at("a") as source, pytest.raises(handle.Unclear):
        source.complete_out("h", 0.001)


def _in(pair: Pair) -> None:
    state = _out(pair)["state"]
    with pair.at("b") as target:
        target.complete_in(state)


STEPS: dict[str, Callable[[Pair], object]] = {"prepared": _prepared, "ending": _ending, "out": _out, "in": _in}


@pytest.mark.parametrize("victims", ["a", "b", "ab"])
@pytest.mark.parametrize("step", STEPS)
def test_after_a_crash_at_any_step_the_same_hand_over_is_finished(pair: Pair, step: str, victims: str) -> None:
    _crash_and_finish(pair, step, victims)


@pytest.mark.parametrize("step", STEPS)
def test_after_a_crash_of_both_in_a_store_the_same_hand_over_is_finished(remote: Guards, step: str) -> None:
    _crash_and_finish(_started(remote), step, "ab")


@pytest.mark.parametrize("victims", ["a", "b", "ab"])
@pytest.mark.parametrize("step", STEPS)
def test_after_a_crash_at_any_step_between_hosts_the_same_hand_over_is_finished(
    guards: Guards, hosts: Storage, step: str, victims: str
) -> None:
    _crash_and_finish(_started(guards, hosts), step, victims)


def _crash_and_finish(pair: Pair, step: str, victims: str) -> None:
    STEPS[step](pair)
    for name in victims:
        pair.kill(name)
    if step == "out":
        # Nobody holds it now; whoever comes in from outside is kept out.
        pair.settle("x")
        assert pair.guards.start("x", "--no-wait").wait(20) == 75
    pair.running["a"].poll()
    pair.supervise()

    def finished() -> bool:
        pair.supervise()
        if moving.arrived(pair.place("a"), pair.place("b")):
            return True
        try:
            pair.move()
        except LeaseError:
            return False
        return True

    def settled() -> bool:
        pair.supervise()
        return (pair.phase("a"), pair.phase("b")) == ("standby", "active")

    wait_until(finished)
    wait_until(settled)
    seen = pair.beats("b")
    wait_until(lambda: pair.beats("b") > seen)
    assert overlaps(pair.history)[1] == []


def test_when_nobody_finishes_it_anybody_gets_it_after_its_time(pair: Pair) -> None:
    with pair.at("a") as source, pair.at("b") as target:
        source.prepare_out("h", target.prepare_in("h"), 0.05)
        # The time for the service's end is added to that of the mark: 5 s of margin would be long for a test.
        pair.kill("b")
    pair.kill("a")
    pair.start("c")
    pair.guards.until("c", "active")
    assert overlaps(pair.history)[1] == []
