# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The guard's core against a store that forgets, answers late or not at all, and guards that sleep when they should not.

One clock for all. The store grants for T from the moment it hears a request; answers take any time. A guard's kernel
timer is modelled as what it is: it ends the guard and its tree at the time armed last, whoever is awake.
"""

from __future__ import annotations

import random
from typing import Any

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._lease import core

Step = Any


class Store:
    """Holds one exclusive lease for `ttl` seconds after the last request that it heard."""

    def __init__(self, ttl: float) -> None:
        self.ttl = ttl
        self.holder: Guard | None = None
        self.until = 0.0
        self.silent_until = 0.0

    def falls_silent(self, now: float, seconds: float) -> None:
        """Hear nothing for a while. What is held then is held longer by it, as in a store that was down."""
        if self.holder is not None and now < self.until:
            self.until += seconds
        self.silent_until = max(self.silent_until, now + seconds)

    def hears(self, guard: Guard, request: str, now: float) -> str:
        if self.holder is not None and now >= self.until:
            self.holder = None
        if request == core.RELEASE:
            if self.holder is guard:
                self.holder = None
            return core.RELEASED
        if request == core.RENEW and self.holder is not guard:
            return core.LOST
        if self.holder in (None, guard):
            self.holder, self.until = guard, now + self.ttl
            return core.GRANTED if request == "acquire" else core.RENEWED
        return ""


class Guard:
    """One guard as a driver of the core would be, with a tree that may be deaf to TERM."""

    def __init__(self, world: World, deaf: bool) -> None:
        self.world = world
        self.deaf = deaf
        self.state = core.begin(world.ttl, 1.0, on_lost=world.on_lost, patience=world.ttl * 2)
        #: Whether anything of it is left, and whether that stands still.
        self.tree = False
        self.still = False
        self.armed: float | None = None
        self.asleep_until = 0.0
        self.ended = False
        self.released_with_tree = False
        world.ask(self, "acquire")

    def gets(self, event: core.Event) -> None:
        if self.ended:
            return
        now = self.world.now
        self.state, actions = self.world.step(self.state, event, now)
        for name, value in actions:
            self.does(name, value)
        when = core.wake(self.state)
        if when is not None and not self.ended:
            self.world.at(max(when, now + 1e-6), lambda: self.awake(core.Event(core.TICK)))

    def does(self, name: str, value: Any) -> None:
        world = self.world
        if name == core.START:
            assert self.armed is not None, "nothing runs before the kernel's timer is armed"
            assert world.now < self.state.valid - 0.4 * world.ttl
            self.tree, self.still = True, False
            world.check()
        elif name == core.WARN:
            assert world.now < value < self.state.valid
            world.warned += 1
        elif name == core.PAUSE:
            # Now and then it takes long, or for ever.
            world.at(world.now + world.chance.choice((0.01, 0.01, world.ttl * 0.15, 1e9)), self.stands)
        elif name == core.RESUME:
            assert self.armed is not None and self.armed <= self.state.valid, (
                "resumed before the kernel's timer was back"
            )
            self.still = False
            world.resumed += 1
            world.check()
        elif name == core.ARM:
            if value is None:
                assert not self.tree, "disarmed while something of the service lived"
            else:
                assert value <= self.state.valid or self.still, "armed for later than the lease's end, and runs"
                world.at(value, self.kernel)
            self.armed = value
        elif name == core.TERMINATE and not self.deaf:
            world.at(world.now + world.chance.random() * 0.5, self.tree_ends)
        elif name == core.KILL:
            world.at(world.now + 0.001, self.tree_ends)
        elif name == core.RENEW:
            world.ask(self, core.RENEW)
        elif name == core.RELEASE:
            assert not self.tree, "released while something of the service lived"
            world.ask(self, core.RELEASE)
        elif name == core.LEAVE:
            world.at(world.now, lambda: self.awake(core.Event(core.REFUSED)))
        elif name == core.END:
            assert not self.tree, "ended while something of the service lived"
            self.ended = True

    def awake(self, event: core.Event) -> None:
        """Give the event when the guard next is awake."""
        if self.world.now < self.asleep_until:
            self.world.at(self.asleep_until, lambda: self.awake(event))
        else:
            self.gets(event)

    def stands(self) -> None:
        if self.tree and self.state.phase == core.PAUSING:
            self.still = True
            self.world.paused += 1
            self.awake(core.Event(core.STILL))

    def tree_ends(self) -> None:
        if self.tree:
            self.tree = False
            self.awake(core.Event(core.GONE))

    def kernel(self) -> None:
        if self.armed is not None and self.world.now >= self.armed and not self.ended and self.world.dead_man:
            self.tree = False
            self.ended = True


class World:
    """Time, and what happens in it."""

    def __init__(
        self, seed: int, step: Step = core.step, dead_man: bool = True, on_lost: str = core.ON_LOST_KILL
    ) -> None:
        self.chance = random.Random(seed)
        self.step = step
        self.dead_man = dead_man
        self.on_lost = on_lost
        self.warned = self.paused = self.resumed = 0
        self.ttl = self.chance.choice((2.0, 10.0))
        self.now = 0.0
        self.agenda: list[tuple[float, int, Any]] = []
        self.count = 0
        self.overlaps = 0
        self.starts = 0
        self.store = Store(self.ttl)
        self.guards: list[Guard] = []

    def at(self, when: float, what: Any) -> None:
        self.count += 1
        self.agenda.append((when, self.count, what))

    def check(self) -> None:
        self.starts += 1
        self.overlaps += sum(guard.tree and not guard.still for guard in self.guards) > 1

    def ask(self, guard: Guard, request: str) -> None:
        """Send a request; it may be lost, and so may its answer."""
        sent, chance = self.now, self.chance
        there = sent + chance.choice((0.001, 0.001, 0.1, chance.random() * self.ttl))
        back = chance.choice((0.001, 0.001, 0.1, chance.random() * self.ttl))
        lost = request != "acquire" and chance.random() < 0.4
        arrives = not lost or chance.random() < 0.5

        def heard() -> None:
            silent = self.now < self.store.silent_until
            answer = self.store.hears(guard, request, self.now) if arrives and not silent else "nothing"
            if not answer or (silent and request == "acquire"):
                self.at(self.now + 0.2, lambda: None if guard.ended else self.ask(guard, request))
            elif lost or silent:
                kind = core.UNRELEASED if request == core.RELEASE else core.UNCLEAR
                self.at(self.now + back, lambda: guard.awake(core.Event(kind)))
            else:
                self.at(self.now + back, lambda: guard.awake(core.Event(answer, sent)))

        self.at(there, heard)

    def run(self, seconds: float = 120.0) -> World:
        self.guards = [Guard(self, self.chance.random() < 0.5) for _unused in range(3)]
        for _unused in range(int(seconds / self.ttl * 2)):
            self.at(self.chance.random() * seconds, self.fault)
        for _unused in range(4 if self.on_lost == core.ON_LOST_PAUSE else 0):
            length = self.chance.random() * 3 * self.ttl
            self.at(self.chance.random() * seconds, lambda length=length: self.store.falls_silent(self.now, length))
        while self.agenda:
            when, _count, what = min(self.agenda)
            self.agenda.remove((when, _count, what))
            if when > seconds:
                break
            self.now = max(self.now, when)
            what()
            for at, guard in enumerate(self.guards):
                if guard.ended:
                    self.guards[at] = Guard(self, self.chance.random() < 0.5)
        return self

    def fault(self) -> None:
        guard, fault = self.chance.choice(self.guards), self.chance.random()
        if fault < 0.5:
            guard.asleep_until = self.now + self.chance.random() * 3 * self.ttl
        elif fault < 0.7:
            guard.awake(core.Event(core.STOP, 0.0, "asked to stop"))
        elif fault < 0.85:
            guard.tree_ends()
        else:
            guard.tree = False
            guard.ended = True


@pytest.mark.parametrize("block", range(8))
def test_no_schedule_lets_two_trees_live(block: int) -> None:
    starts = 0
    for seed in range(block * 300, block * 300 + 300):
        world = World(seed).run()
        assert world.overlaps == 0, f"seed {seed}"
        starts += world.starts
    assert starts > 1000


@pytest.mark.parametrize("block", range(2))
@pytest.mark.parametrize("on_lost", [core.ON_LOST_HOOK, core.ON_LOST_PAUSE])
def test_no_schedule_lets_two_trees_run_whatever_is_done_on_loss(block: int, on_lost: str) -> None:
    worlds = [World(seed, on_lost=on_lost).run() for seed in range(block * 300, block * 300 + 300)]
    assert [world.overlaps for world in worlds] == [0] * 300
    if on_lost == core.ON_LOST_PAUSE:
        assert sum(world.resumed for world in worlds) > 100
        assert sum(world.paused for world in worlds) > 200
    else:
        assert sum(world.warned for world in worlds) > 100


def _unclear_is_yes(state: core.State, event: core.Event, now: float) -> Any:
    return core.step(state, core.Event(core.RENEWED, now) if event.kind == core.UNCLEAR else event, now)


def _paused_unseen(state: core.State, event: core.Event, now: float) -> Any:
    state, actions = core.step(state, event, now)
    if (core.PAUSE, None) in actions:
        state, more = core.step(state, core.Event(core.STILL), now)
        actions += more
    return state, actions


def _timer_left_at_the_end_of_the_pause(state: core.State, event: core.Event, now: float) -> Any:
    after, actions = core.step(state, event, now)
    resumed = (core.RESUME, None) in actions
    return after, [one for one in actions if not (resumed and one[0] == core.ARM)]


@pytest.mark.parametrize("step", [_paused_unseen, _timer_left_at_the_end_of_the_pause, _unclear_is_yes])
def test_a_pause_with_a_known_fault_is_caught(step: Step) -> None:
    def caught(seed: int) -> bool:
        try:
            return World(seed, step, on_lost=core.ON_LOST_PAUSE).run().overlaps > 0
        except AssertionError:
            return True

    assert any(map(caught, range(600)))


def _valid_from_the_answer(state: core.State, event: core.Event, now: float) -> Any:
    return core.step(state, event._replace(sent=now) if event.kind in (core.GRANTED, core.RENEWED) else event, now)


@pytest.mark.parametrize(
    ("step", "dead_man"),
    [(core.step, False), (_valid_from_the_answer, True), (_unclear_is_yes, True)],
    ids=["no kernel timer", "deadline from the answer", "unclear answer taken for yes"],
)
def test_a_core_with_a_known_fault_is_caught(step: Step, dead_man: bool) -> None:
    assert any(World(seed, step, dead_man).run().overlaps for seed in range(600))


def run(state: core.State, *events: tuple[core.Event, float]) -> tuple[core.State, list[str]]:
    done: list[str] = []
    for event, now in events:
        state, actions = core.step(state, event, now)
        done.extend(name for name, _value in actions)
    return state, done


def test_a_lease_that_never_runs_out_needs_no_clock() -> None:
    state, done = run(core.begin(None, 5.0), (core.Event(core.GRANTED), 0.0))
    assert (state.phase, done, core.wake(state)) == (core.ACTIVE, [core.START], None)


def test_an_ordered_stop_kills_after_its_time_and_releases_after_the_end() -> None:
    state, done = run(
        core.begin(None, 5.0),
        (core.Event(core.GRANTED), 0.0),
        (core.Event(core.STOP), 10.0),
        (core.Event(core.TICK), 14.9),
        (core.Event(core.TICK), 15.0),
        (core.Event(core.GONE), 15.1),
        (core.Event(core.RELEASED), 15.2),
    )
    assert done == [core.START, core.TERMINATE, core.KILL, core.RELEASE, core.END]
    assert state.phase == core.ENDED


def test_what_is_granted_while_leaving_the_line_is_given_back_unused() -> None:
    _state, done = run(core.begin(None, 5.0), (core.Event(core.STOP), 0.0), (core.Event(core.GRANTED), 0.1))
    assert done == [core.LEAVE, core.RELEASE]


def test_a_lost_lease_is_killed_for_at_once_and_never_released() -> None:
    state, done = run(
        core.begin(10.0, 5.0),
        (core.Event(core.GRANTED, 0.0), 0.1),
        (core.Event(core.LOST), 1.0),
        (core.Event(core.RENEWED, 1.0), 1.1),
        (core.Event(core.GONE), 1.2),
    )
    assert done == [core.ARM, core.START, core.KILL, core.ARM, core.END]
    assert state.lost


def test_a_store_that_is_silent_ends_the_service_before_the_lease_ends() -> None:
    state = core.begin(10.0, 5.0)
    state, _done = run(state, (core.Event(core.GRANTED, 0.0), 0.1))
    state, done = run(state, (core.Event(core.TICK), 6.0), (core.Event(core.TICK), 8.0))
    assert [name for name in done if name != core.RENEW] == [core.TERMINATE, core.KILL]


@pytest.mark.parametrize(("grace", "killed"), [(0.2, 8.0), (3.0, 9.0), (0.0, 8.0)])
def test_a_service_that_was_asked_to_end_ends_though_the_store_is_back(grace: float, killed: float) -> None:
    state, _names = run(core.begin(10.0, grace), (core.Event(core.GRANTED, sent=0.0), 0.0))
    state, names = run(state, (core.Event(core.TICK), 6.0))
    assert "terminate" in names
    events = [(core.Event(core.RENEWED, sent=at / 10), at / 10) for at in range(65, round(killed * 10), 5)]
    state, names = run(state, *events)
    assert state.phase == core.STOPPING
    assert core.wake(state) <= killed
    state, names = run(state, (core.Event(core.TICK), killed))
    assert (state.phase, "kill" in names) == (core.KILLING, True)


def test_a_grant_that_comes_too_late_is_not_used() -> None:
    _state, done = run(core.begin(10.0, 5.0), (core.Event(core.GRANTED, 0.0), 6.0))
    assert done == [core.RELEASE]


def test_a_failed_release_is_tried_again_until_the_lease_ends() -> None:
    state, done = run(
        core.begin(10.0, 5.0),
        (core.Event(core.GRANTED, 0.0), 0.1),
        (core.Event(core.GONE), 1.0),
        (core.Event(core.UNRELEASED), 1.1),
        (core.Event(core.TICK), 2.1),
        (core.Event(core.UNRELEASED), 2.2),
        (core.Event(core.TICK), 10.0),
    )
    assert done == [core.ARM, core.START, core.ARM, core.RELEASE, core.RELEASE, core.END]
    assert state.phase == core.ENDED


def test_an_unclear_renewal_is_tried_again_soon() -> None:
    state, _done = run(core.begin(10.0, 5.0), (core.Event(core.GRANTED, 0.0), 0.1), (core.Event(core.TICK), 3.4))
    state, done = run(state, (core.Event(core.UNCLEAR), 3.5), (core.Event(core.TICK), 4.1))
    assert done == [core.RENEW]


def test_the_kernel_spares_a_guard_whose_tree_is_gone() -> None:
    state, _done = run(core.begin(10.0, 5.0), (core.Event(core.GRANTED, 0.0), 0.1))
    _state, actions = core.step(state, core.Event(core.GONE), 1.0)
    assert (core.ARM, None) in actions


def test_nothing_is_started_when_the_time_for_it_is_over() -> None:
    state, _done = run(core.begin(10.0, 5.0), (core.Event(core.GRANTED, 0.0), 0.1))
    assert core.may_start(state, 5.9)
    assert not core.may_start(state, 6.1)


def test_a_driver_may_ask_for_renewals_at_its_own_pace() -> None:
    state, _done = run(core.begin(8.0, 5.0, 1 / 8), (core.Event(core.GRANTED, 0.0), 0.5))
    assert core.wake(state) == 1.0
    state, done = run(state, (core.Event(core.TICK), 1.0))
    assert done == [core.RENEW]
    assert core.wake(state) == 2.0
    # A renewal that says nothing new puts off the next one and nothing else.
    state, done = run(state, (core.Event(core.RENEWED, 0.0), 1.1))
    assert (done, core.wake(state), state.valid) == ([], 2.0, 8.0)


def pausing(patience: float = 20.0) -> core.State:
    """A state at V - 0.4 T of a service that is paused then: T is 10, V is 10."""
    state = core.begin(10.0, 5.0, on_lost=core.ON_LOST_PAUSE, patience=patience)
    state, done = run(state, (core.Event(core.GRANTED, 0.0), 0.1), (core.Event(core.TICK), 6.0))
    assert state.phase == core.PAUSING
    assert core.PAUSE in done
    return state


def test_a_paused_service_goes_on_when_the_store_says_that_the_lease_was_ours_all_along() -> None:
    state, actions = core.step(pausing(), core.Event(core.STILL), 6.1)
    assert (state.phase, actions) == (core.PAUSED, [(core.ARM, pytest.approx(30.8))])
    state, done = run(state, (core.Event(core.TICK), 11.0), (core.Event(core.UNCLEAR), 12.0))
    assert (state.phase, done) == (core.PAUSED, [core.RENEW])
    state, actions = core.step(state, core.Event(core.RENEWED, 15.0), 15.5)
    assert (state.phase, state.valid) == (core.ACTIVE, 25.0)
    assert actions[:2] == [(core.ARM, 25.0 - 1.2), (core.RESUME, None)]


def test_a_service_that_nobody_saw_stand_still_is_killed_in_time() -> None:
    state, done = run(pausing(), (core.Event(core.TICK), 8.0), (core.Event(core.STILL), 8.1))
    assert (state.phase, [one for one in done if one != core.RENEW]) == (core.KILLING, [core.KILL])


def test_a_pause_ends_in_a_kill_when_its_time_is_over_or_the_lease_is_not_ours() -> None:
    paused, _done = run(pausing(), (core.Event(core.STILL), 6.1))
    state, done = run(paused, (core.Event(core.TICK), 30.0), (core.Event(core.GONE), 30.1))
    assert (state.phase, [one for one in done if one != core.RENEW]) == (core.ENDED, [core.KILL, core.ARM, core.END])
    for event in (core.Event(core.LOST), core.Event(core.STOP)):
        state, done = run(paused, (event, 12.0))
        assert (state.phase, done[0]) == (core.KILLING, core.KILL)


def test_an_answer_to_a_renewal_that_is_nearly_over_lets_nothing_go_on() -> None:
    paused, _done = run(pausing(), (core.Event(core.STILL), 6.1))
    state, done = run(paused, (core.Event(core.RENEWED, 8.0), 14.5))
    assert state.phase == core.PAUSED
    assert core.RESUME not in done


def test_a_hook_hears_of_the_end_before_the_service_is_asked() -> None:
    state = core.begin(10.0, 5.0, on_lost=core.ON_LOST_HOOK)
    state, _done = run(state, (core.Event(core.GRANTED, 0.0), 0.1))
    _state, actions = core.step(state, core.Event(core.TICK), 6.0)
    assert actions[:2] == [(core.WARN, 8.0), (core.TERMINATE, None)]


def test_a_hook_hears_of_a_lease_that_nobody_can_renew_any_more() -> None:
    state = core.begin(10.0, 5.0, on_lost=core.ON_LOST_HOOK)
    state, _done = run(state, (core.Event(core.GRANTED, 0.0), 0.1))
    state, actions = core.step(state, core.Event(core.RUNNING_OUT, 0.0, "the daemon is dead"), 1.0)
    assert actions == [(core.WARN, 8.0), (core.TERMINATE, None)]
    assert (state.phase, state.reason) == (core.STOPPING, "the daemon is dead")
