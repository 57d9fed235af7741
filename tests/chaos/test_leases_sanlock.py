# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Three hosts of sanlock that contend for one lease, under random faults: never two holders, and there is one again.

HOLDFAST_CHAOS_SECONDS makes it longer than a moment, and a longer run than two minutes has faults after which everybody
has to wait for 68 seconds: daemons that are killed, or stopped for long. HOLDFAST_CHAOS_SEED repeats a run's choices,
HOLDFAST_CHAOS_REPORT names a file for figures, see histories.report.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import procs
import pytest
from fenced import carried
from guarded import PYTHON, STUBBORN, Guards
from histories import Event, History, report, violations
from sanlocks import SANLOCK, Host, Storage
from waiting import wait_until
from witnesses import SanlockWitness

from ansible_collections.holdfast.supervision.plugins.module_utils._lease import moving
from ansible_collections.holdfast.supervision.plugins.module_utils._lease.interface import LeaseError, StoreUnavailable
from ansible_collections.holdfast.supervision.plugins.plugin_utils import pack

SECONDS = float(os.environ.get("HOLDFAST_CHAOS_SECONDS", "12"))
SEED = int(os.environ.get("HOLDFAST_CHAOS_SEED", str(random.randrange(2**32))))
LONG = SECONDS > 120
#: Seconds for which a host's lease is good; beyond it a host counts as gone 60 seconds later.
TTL = 8.0
#: Seconds in line after which a host that comes before the holder wishes for the lease.
BACK = 5.0
#: Whether each host can have a way of its own to the storage, which can be lost.
WAYS = os.path.exists("/dev/fuse")
#: Seconds in which somebody has to hold the lease again. Generous: the machine is shared.
ALIVE = 240 if LONG else 60

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="pid namespaces need root"),
    pytest.mark.skipif(not SANLOCK, reason="there is no sanlock"),
]


class Contender:
    """A guard on one host, which is started again when it ends."""

    def __init__(self, host: Host, guards: Guards, history: History) -> None:
        self.name = f"host{host.number}"
        self.host = host
        self.guards = guards
        self.history = history
        self.process: subprocess.Popen[str] | None = None

    def supervise(self) -> None:
        if self.process is None or self.process.poll() is not None:
            self.guards.use_sanlock(self.host)
            command = (PYTHON, "-I", "-S", "-c", STUBBORN, str(self.history.beats), self.name)
            place = (f"--parameter=preference={self.host.number - 1}", f"--parameter=fail_back={BACK}")
            self.process = self.guards.start(self.name, "--stop-timeout=0.2", *place, command=command)

    @property
    def place(self) -> moving.Place:
        return moving.Place(self.name, str(self.guards.state))

    @property
    def pid(self) -> int:
        return self.process.pid if self.process else 0

    def below(self) -> list[int]:
        """Keeper, init and the service's main process, if they are there.

        Not the one that beats, which init has too: without it the service is as well as ever, and nobody hears of it.
        """
        found = [pid for pid in procs.children(self.pid) if procs.alive(pid)] if self.pid else []
        return found + [min(children) for children in map(procs.children, found) if children]

    def tell(self) -> str:
        """What is known of it, for people."""
        report = self.guards.report(self.name)
        daemon = self.host.client("status").stdout if self.host.process else "no daemon"
        lines = (self.host.base / "log").read_text(errors="replace").splitlines()
        log = "\n".join([line for line in lines if " cmd_" not in line][-25:])
        return f"-- {self.name}: {report}\n{self.guards.errors(self.name)[-1500:]}\n{daemon}\n{log}"


class World:
    """Everything that takes part in one run."""

    def __init__(self, guards: Guards, storage: Storage, chance: random.Random) -> None:
        self.chance = chance
        self.storage = storage
        self.twins = 0
        self.order: list[Callable[[World, Contender], None]] = []
        self.history = History(guards.base)
        self.witness = SanlockWitness(storage.path, guards.stored(), storage.io_timeout, self.history.note)
        self.contenders = [Contender(host, guards, self.history) for host in storage.hosts]

    def supervise(self) -> None:
        for one in self.contenders:
            one.supervise()

    def until_beating(self) -> None:
        """Wait until somebody beats, whoever it is; the ended are started again."""
        size = self.history.beats.stat().st_size

        def more() -> bool:
            self.supervise()
            return self.history.beats.stat().st_size > size + 200

        try:
            wait_until(more, ALIVE)
        except AssertionError:
            found = "\n".join([*map(str, self.history.last(12)), *(one.tell() for one in self.contenders)])
            raise AssertionError(f"nobody holds the lease, seed {SEED}\n{found}") from None

    def holder(self) -> Contender:
        line = self.history.beats.read_bytes()[-200:].decode().splitlines()[-2]
        return next(one for one in self.contenders if one.name == line.split()[1])

    def twin(self, host: Host) -> Host:
        """Start another host of this host's number."""
        self.twins += 1
        return Host(self.storage, host.number, f"twin{self.twins}").start()

    def another(self, one: Contender) -> Contender:
        return self.chance.choice([each for each in self.contenders if each is not one])

    def number(self) -> str:
        """Give a hand-over a number of its own."""
        return f"h{self.chance.randrange(2**32)}"

    def pause(self, longest: float) -> None:
        """Let the fault work, for any part of *longest* seconds; the ended are not started again."""
        time.sleep(self.chance.random() * longest)

    def fault(self) -> None:
        # Each fault as often as any other, in any order.
        self.order = self.order or self.chance.sample(FAULTS, len(FAULTS))
        what = self.order.pop()
        whom = self.holder() if self.chance.random() < 0.8 else self.chance.choice(self.contenders)
        self.history.note("fault", what=what.__name__, whom=whom.name)
        what(self, whom)
        self.history.note("healed")

    def end(self) -> list[Event]:
        """Give everything that happened."""
        return self.history.end(self.witness)

    def close(self) -> None:
        self.witness.end()
        for one in self.contenders:
            one.host.signal(signal.SIGCONT)
            procs.kill(one.pid, signal.SIGCONT)


def guard_killed(_world: World, one: Contender) -> None:
    procs.kill(one.pid)


def guard_and_all_below_killed(world: World, one: Contender) -> None:
    victims = [one.pid, *one.below()]
    world.chance.shuffle(victims)
    for pid in victims:
        procs.kill(pid)


def one_below_killed(world: World, one: Contender) -> None:
    for pid in one.below():
        if world.chance.random() < 0.5:
            procs.kill(pid)


def guard_stopped(world: World, one: Contender) -> None:
    procs.kill(one.pid, signal.SIGSTOP)
    world.pause(TTL)
    procs.kill(one.pid, signal.SIGCONT)


def all_stopped(world: World, one: Contender) -> None:
    stopped = [one.pid, *one.below()]
    for pid in stopped:
        procs.kill(pid, signal.SIGSTOP)
    world.pause(TTL)
    for pid in reversed(stopped):
        procs.kill(pid, signal.SIGCONT)


def asked_to_stop(_world: World, one: Contender) -> None:
    procs.kill(one.pid, signal.SIGTERM)


def daemon_stopped_for_a_moment(world: World, one: Contender) -> None:
    one.host.signal(signal.SIGSTOP)
    world.pause(TTL / 4)
    one.host.signal(signal.SIGCONT)


def daemon_stopped(world: World, one: Contender) -> None:
    one.host.signal(signal.SIGSTOP)
    world.pause(12 * TTL)
    one.host.signal(signal.SIGCONT)


def daemon_killed(world: World, one: Contender) -> None:
    one.host.kill()
    world.pause(TTL)
    one.host.start()


def daemon_killed_and_guard_stopped(world: World, one: Contender) -> None:
    one.host.kill()
    guard_stopped(world, one)
    one.host.start()


def _lost(world: World, one: Contender, mode: str, longest: float) -> None:
    """Have the host's way to the storage *mode*, for any part of *longest* seconds."""
    assert one.host.way is not None
    one.host.way.be(mode)
    world.pause(longest)
    one.host.way.be("good")


def storage_fails_for_a_moment(world: World, one: Contender) -> None:
    _lost(world, one, "broken", TTL / 4)


def path_lost_for_a_moment(world: World, one: Contender) -> None:
    _lost(world, one, "lost", TTL / 4)


def storage_slow(world: World, one: Contender) -> None:
    _lost(world, one, "slow", TTL)


def storage_fails(world: World, one: Contender) -> None:
    _lost(world, one, "broken", 12 * TTL)


def path_lost(world: World, one: Contender) -> None:
    _lost(world, one, "lost", 12 * TTL)


def path_lost_and_guard_stopped(world: World, one: Contender) -> None:
    assert one.host.way is not None
    one.host.way.be("lost")
    guard_stopped(world, one)
    one.host.way.be(world.chance.choice(("broken", "good")))
    world.pause(TTL)
    one.host.way.be("good")


def all_paths_lost(world: World, _one: Contender) -> None:
    for each in world.contenders:
        assert each.host.way is not None
        each.host.way.be("lost")
    world.pause(2 * TTL)
    for each in world.contenders:
        assert each.host.way is not None
        each.host.way.be("good")


def handed_over(world: World, one: Contender) -> None:
    """Have another host take over from whoever has it, as `holdfast lease handover` does."""
    other = world.another(one)
    with contextlib.suppress(LeaseError):
        moving.hand_over(one.place, other.place, world.number(), TTL, ALIVE)


def handed_over_and_killed(world: World, one: Contender) -> None:
    """Kill source or destination, or both, between any two steps of a hand-over."""
    other, number = world.another(one), world.number()
    victims = [each for each in (one, other) if world.chance.random() < 0.6]
    when = world.chance.randrange(3)

    def between(step: int) -> None:
        for each in victims if step == when else ():
            procs.kill(each.pid)

    with contextlib.suppress(LeaseError):
        with other.place.attach() as target, one.place.attach() as source:
            source.prepare_out(number, target.prepare_in(number), TTL)
        between(0)
        with one.place.attach() as source:
            source.complete_out(number, ALIVE)
        between(1)
        with other.place.attach() as target:
            target.complete_in(number)
    between(2)


def same_host_id(world: World, one: Contender) -> None:
    """Another host that calls itself as this one does wants to join; it is not let in while this one lives."""
    twin = world.twin(one.host)
    try:
        with contextlib.suppress(StoreUnavailable):
            twin.daemon().join(twin.number, twin.storage.io_timeout, 1.0)
            raise AssertionError(f"two hosts have joined as {twin.number}")
        world.pause(TTL)
    finally:
        twin.end()


_ALWAYS = (
    guard_killed,
    guard_and_all_below_killed,
    one_below_killed,
    guard_stopped,
    all_stopped,
    asked_to_stop,
    handed_over,
    handed_over_and_killed,
    same_host_id,
)
_SHORT = (daemon_stopped_for_a_moment, *((storage_fails_for_a_moment, path_lost_for_a_moment, storage_slow) * WAYS))
_LONG = (
    daemon_stopped,
    daemon_killed,
    daemon_killed_and_guard_stopped,
    *((storage_fails, path_lost, path_lost_and_guard_stopped, all_paths_lost) * WAYS),
)
FAULTS: tuple[Callable[[World, Contender], None], ...] = (
    *_ALWAYS,
    *_SHORT,
    *(_LONG if LONG else ()),
)


@pytest.fixture
def world() -> Iterator[World]:
    base = Path(tempfile.mkdtemp(prefix="hf-lease-chaos-"))
    tree = base / "runtime"
    for name, content in pack.runtime_files().items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    guards = Guards(tree, base)
    storage = Storage(3, ways=WAYS)
    try:
        made = World(guards, storage.join(), random.Random(SEED))
        yield made
        made.close()
    finally:
        guards.close()
        storage.close()
        shutil.rmtree(base)


def test_never_two_holders_and_always_one_again(world: World) -> None:
    world.supervise()
    world.until_beating()
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        world.fault()
        world.until_beating()
    events = carried(world.end(), SEED)
    found = violations(events)
    made_way = sum(one.guards.errors(one.name).count("makes way for ") for one in world.contenders)
    report("sanlock", events, found, seed=SEED, seconds=SECONDS, made_way=made_way)
    assert found == [], f"seed {SEED}"
    # Where daemons die nothing is given back.
    assert {"granted", "good", "beat"} <= {event["event"] for event in events}
