# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Handing over between two guards: nobody gets in between, and a crash at any step leaves one holder or none."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from etcds import Cluster
from guarded import Guards, overlaps
from handing import LONG, Pair, started
from sanlocks import Storage
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._lease import handle, moving
from ansible_collections.holdfast.supervision.plugins.module_utils._lease.handle import Handle
from ansible_collections.holdfast.supervision.plugins.module_utils._lease.handover import Handover, Overtaken
from ansible_collections.holdfast.supervision.plugins.module_utils._lease.interface import Busy, LeaseError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="pid namespaces need root")

long_form = pytest.mark.skipif(
    "HOLDFAST_SANLOCK_LONG" not in os.environ, reason="takes minutes: HOLDFAST_SANLOCK_LONG=1"
)


@pytest.fixture
def pair(guards: Guards) -> Pair:
    """`a` is active and beats, `b` stands by."""
    return started(guards)


@pytest.fixture(params=["file", "etcd", "sanlock"])
def any_pair(request: pytest.FixtureRequest, guards: Guards) -> Pair:
    """The same with each driver that hands over."""
    if request.param == "etcd":
        guards.use_etcd(request.getfixturevalue("etcd").endpoints)
    return started(guards, request.getfixturevalue("hosts") if request.param == "sanlock" else None)


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
    pair = started(guards)
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
    _crash_and_finish(started(remote), step, "ab")


@pytest.mark.parametrize("victims", ["a", "b", "ab"])
@pytest.mark.parametrize("step", STEPS)
def test_after_a_crash_at_any_step_between_hosts_the_same_hand_over_is_finished(
    guards: Guards, hosts: Storage, step: str, victims: str
) -> None:
    _crash_and_finish(started(guards, hosts), step, victims)


def _crash_and_finish(pair: Pair, step: str, victims: str) -> None:
    STEPS[step](pair)
    for name in victims:
        pair.kill(name)
    if step == "out":
        # Nobody holds it now; whoever comes in from outside is kept out.
        pair.settle("x")
        assert pair.guards.start("x", "--no-wait").wait(20) == 75
    _finish(pair)


def _finish(pair: Pair, patience: float = 60) -> None:
    """Go on with the hand-over as often as it takes, and see that `b` has it in the end, and that at no time two ran."""
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

    wait_until(finished, patience)
    wait_until(settled, patience)
    seen = pair.beats("b")
    wait_until(lambda: pair.beats("b") > seen)
    assert overlaps(pair.history)[1] == []


# -- the way to the store is cut while a step is done


def _answered(step: Future[Any]) -> bool:
    """Whether a step has come to an end, whatever that is."""
    if not step.done():
        return False
    assert step.exception() is None or isinstance(step.exception(), LeaseError), step.exception()
    return True


def _first(_pair: Pair) -> None:
    """Nothing comes before."""


#: What comes before a step, at which guard it is done, and how.
CUT: dict[str, tuple[Callable[[Pair], object], str, Callable[[Handle], object]]] = {
    "prepare": (_first, "a", lambda source: source.prepare_out("h", f"b@{os.uname().nodename}", 30)),
    "complete out": (_prepared, "a", lambda source: source.complete_out("h", LONG)),
    "complete in": (_out, "b", lambda target: target.complete_in("h")),
    "cancel": (_prepared, "a", lambda source: source.cancel("h")),
}


def _cut(pair: Pair, step: str, cut: Callable[[str, bool], None], to_the_end: bool) -> None:
    """Cut the way to the store when a step begins, and mend it when that has failed, or has ended the service.

    to_the_end: mend it when the guard is dead, since it has lost its lease.
    """
    before, where, does = CUT[step]
    before(pair)
    with pair.at(where) as guard, ThreadPoolExecutor() as pool:
        cut(where, True)
        doing = pool.submit(does, guard)
        wait_until(lambda: _answered(doing) or pair.phase(where) == "releasing")
        if to_the_end:
            pair.running[where].wait(30)
        cut(where, False)
        wait_until(lambda: _answered(doing))


@pytest.mark.parametrize(
    "step", ["complete out", "complete in", *(pytest.param(step, marks=long_form) for step in ("prepare", "cancel"))]
)
@pytest.mark.parametrize("driver", ["etcd", "sanlock"])
def test_a_store_that_is_away_during_a_step_leaves_a_hand_over_that_is_finished(
    request: pytest.FixtureRequest, guards: Guards, driver: str, step: str
) -> None:
    _cut_and_finish(request, guards, driver, step, to_the_end=False)


@pytest.mark.parametrize(
    ("driver", "step"),
    [
        ("etcd", "complete out"),
        *(pytest.param("etcd", step, marks=long_form) for step in ("prepare", "cancel")),
        *(pytest.param("sanlock", step, marks=long_form) for step in ("prepare", "complete out", "cancel")),
    ],
)
def test_so_does_one_that_is_away_for_longer_than_the_lease_is_good(
    request: pytest.FixtureRequest, guards: Guards, driver: str, step: str
) -> None:
    _cut_and_finish(request, guards, driver, step, to_the_end=True)


def _cut_and_finish(request: pytest.FixtureRequest, guards: Guards, driver: str, step: str, to_the_end: bool) -> None:
    if driver == "etcd":
        proxy = request.getfixturevalue("proxy")
        guards.use_etcd(proxy.url, ttl=3 if to_the_end else 6)
        pair = started(guards)

        def cut(_where: str, away: bool) -> None:
            proxy.mode = "hang" if away else "pass"

    else:
        storage = request.getfixturevalue("ways")
        pair = started(guards, storage)

        def cut(where: str, away: bool) -> None:
            storage.hosts[where != "a"].way.be("lost" if away else "good")

    _cut(pair, step, cut, to_the_end)
    _finish(pair, 180 if to_the_end else 60)


def test_when_nobody_finishes_it_anybody_gets_it_after_its_time(pair: Pair) -> None:
    with pair.at("a") as source, pair.at("b") as target:
        source.prepare_out("h", target.prepare_in("h"), 0.05)
        # The time for the service's end is added to that of the mark: 5 s of margin would be long for a test.
        pair.kill("b")
    pair.kill("a")
    pair.start("c")
    pair.guards.until("c", "active")
    assert overlaps(pair.history)[1] == []
