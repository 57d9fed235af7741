# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Three guards of one host that contend for one lease of the driver `file`, and the faults that befall them."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import procs
from guarded import PYTHON, Guards
from histories import Event, History
from waiting import wait_until
from witnesses import FileWitness

from ansible_collections.holdfast.supervision.plugins.module_utils._lease import moving
from ansible_collections.holdfast.supervision.plugins.module_utils._lease.interface import LeaseError
from ansible_collections.holdfast.supervision.plugins.module_utils._supervise._embedded import identity

#: Seconds in which somebody has to hold the lease again. Generous: the machine is shared.
ALIVE = 60
#: Seconds that a fault lasts at most.
LONGEST = 0.5
#: Seconds that an ordered stop may take, of a service that heeds none.
GRACE = 0.2
NAMES = ("a", "b", "c")


class World:
    """Everything that takes part. words: options of all guards; script: the service."""

    def __init__(self, guards: Guards, chance: random.Random, script: str, *words: str) -> None:
        self.guards = guards
        self.chance = chance
        self.words = (f"--stop-timeout={GRACE}", *words)
        self.history = History(guards.base)
        self.witness = FileWitness(guards.leases, "r", self.history.note)
        self.running: dict[str, subprocess.Popen[str]] = {}
        self._script = script
        self._killed: list[subprocess.Popen[str]] = []
        self._order: list[Callable[[World, str], None]] = []

    def supervise(self) -> None:
        for name in NAMES:
            one = self.running.get(name)
            if one is None or one.poll() is not None:
                command = (PYTHON, "-I", "-S", "-c", self._script, str(self.history.beats), name)
                self.running[name] = self.guards.start(name, *self.words, command=command)

    def account(self, name: str) -> dict[str, Any]:
        """What its living guard says of itself: what a killed one wrote stays until its successor writes."""
        told = self.guards.report(name)
        return told if told and name in self.running and told["pid"] == self.running[name].pid else {}

    def holder(self) -> str:
        """Give the name of the one that holds and whose service beats, "" if there is none."""
        with self.history.beats.open("rb") as file:
            file.seek(max(file.seek(0, 2) - 4000, 0))
            last = {line.split()[0] for line in file.read().split(b"\n")[1:-1]}
        for name in NAMES:
            told = self.account(name)
            held = told.get("resources") if told.get("phase") == "active" and told.get("tree") else None
            if held and str(held[0]["token"]).encode() in last:
                return name
        return ""

    def until_held(self) -> str:
        """Wait until somebody holds and beats, whoever it is; the ended are started again."""

        def held() -> str:
            self.supervise()
            return self.holder()

        return wait_until(held, ALIVE, f"nobody holds the lease: {self.history.last(8)}")

    def below(self, name: str) -> list[int]:
        """The processes that its guard has started: the first of its tree, and those below."""
        found = []
        for pid in procs.children(self.running[name].pid):
            found += [pid, *sorted(procs.children(pid), key=identity.start_time)]
        return found

    def kill(self, name: str) -> None:
        """Kill its guard."""
        self._killed.append(self.running[name])
        procs.kill(self.running[name].pid)

    def others(self, name: str) -> list[str]:
        return [one for one in NAMES if one != name]

    def pause(self) -> None:
        time.sleep(self.chance.random() * LONGEST)

    def fault(self) -> None:
        whom = self.until_held()
        # Each fault as often as any other, in any order.
        self._order = self._order or self.chance.sample(FAULTS, len(FAULTS))
        what = self._order.pop()
        token = self.account(whom).get("resources", [{"token": 0}])[0]["token"]
        self.history.note("fault", what=what.__name__, whom=whom, of=token)
        what(self, whom)
        for one in self._killed:
            # What it has written would be believed as long as it is there.
            one.wait(ALIVE)
        self._killed.clear()
        self.history.note("healed")

    def sweep(self) -> int:
        """Kill what is left of tenures that are over, which only a process group lets be; give how many that were."""
        now = self.account(self.until_held())["resources"][0]["token"]
        left = [pid for pid in procs.pids() if 0 < self._token(pid) < now]
        for pid in left:
            procs.kill(pid)
        return len(left)

    def _token(self, pid: int) -> int:
        """Give the number with which a process beats, 0 if it does not; one that has forgotten it has it as its last argument."""
        words = procs.arguments(pid)
        if str(self.history.beats) not in words:
            return 0
        return int(procs.environment(pid).get("HOLDFAST_TOKEN") or (words[-1] if words[-1].isdigit() else 0))

    def end(self) -> list[Event]:
        """Give everything that happened."""
        return self.history.end(self.witness)

    def close(self) -> None:
        self.witness.end()
        for one in self.running.values():
            procs.kill(one.pid, signal.SIGCONT)
        self.guards.close()


def _stopped(world: World, pids: list[int]) -> None:
    for pid in pids:
        procs.kill(pid, signal.SIGSTOP)
    world.pause()
    for pid in reversed(pids):
        procs.kill(pid, signal.SIGCONT)


def guard_killed(world: World, name: str) -> None:
    world.kill(name)


def service_killed(world: World, name: str) -> None:
    """The main process alone; what it has left is found by guard or init."""
    for pid in world.below(name)[:2][-1:]:
        procs.kill(pid)


def tree_killed(world: World, name: str) -> None:
    for pid in world.below(name):
        procs.kill(pid)


def all_killed_in_any_order(world: World, name: str) -> None:
    guard = world.running[name].pid
    victims = [guard, *world.below(name)]
    world.chance.shuffle(victims)
    for pid in victims:
        if pid == guard:
            world.kill(name)
        else:
            procs.kill(pid)


def first_stopped_and_killed(world: World, name: str) -> None:
    first = world.below(name)[:1]
    for pid in (*first, world.running[name].pid):
        procs.kill(pid, signal.SIGSTOP)
    world.pause()
    for pid in first:
        procs.kill(pid)
    world.kill(name)


def guard_stopped(world: World, name: str) -> None:
    _stopped(world, [world.running[name].pid])


def all_stopped(world: World, name: str) -> None:
    _stopped(world, [world.running[name].pid, *world.below(name)])


def asked_to_stop(world: World, name: str) -> None:
    procs.kill(world.running[name].pid, signal.SIGTERM)


def asked_and_killed(world: World, name: str) -> None:
    procs.kill(world.running[name].pid, signal.SIGTERM)
    time.sleep(world.chance.random() * 2 * GRACE)
    world.kill(name)


def in_line_killed(world: World, name: str) -> None:
    """Those in line, or what they have at hand for their turn; then the holder."""
    for one in world.others(name):
        below = world.below(one)
        if below and world.chance.random() < 0.5:
            procs.kill(world.chance.choice(below))
        else:
            world.kill(one)
    world.kill(name)


def in_line_stopped(world: World, name: str) -> None:
    """The holder ends, and those whose turn it is are stopped."""
    pids = [world.running[one].pid for one in world.others(name)]
    for pid in pids:
        procs.kill(pid, signal.SIGSTOP)
    world.kill(name)
    world.pause()
    for pid in pids:
        procs.kill(pid, signal.SIGCONT)


def all_guards_killed(world: World, _name: str) -> None:
    for one in world.chance.sample(NAMES, len(NAMES)):
        world.kill(one)


def lock_file_removed(world: World, name: str) -> None:
    (world.guards.leases / "r.lock").unlink(missing_ok=True)
    world.pause()
    if world.chance.random() < 0.7:
        world.kill(name)


def lock_file_exchanged(world: World, name: str) -> None:
    beside = world.guards.leases / "beside"
    beside.touch()
    beside.rename(world.guards.leases / "r.lock")
    world.pause()
    if world.chance.random() < 0.7:
        asked_to_stop(world, name)


def _place(world: World, name: str) -> moving.Place:
    return moving.Place(name, str(Path(world.guards.state)))


def handed_over(world: World, name: str) -> None:
    other = world.chance.choice(world.others(name))
    with contextlib.suppress(LeaseError):
        moving.hand_over(_place(world, name), _place(world, other), f"h{world.chance.randrange(2**32)}", 5, ALIVE)


def handed_over_and_killed(world: World, name: str) -> None:
    """Source or destination, or both, between any two steps of a hand-over."""
    other, number = world.chance.choice(world.others(name)), f"h{world.chance.randrange(2**32)}"
    victims = [one for one in (name, other) if world.chance.random() < 0.6]
    when = world.chance.randrange(3)

    def between(step: int) -> None:
        for one in victims if step == when else ():
            world.kill(one)

    with contextlib.suppress(LeaseError):
        with _place(world, other).attach() as target, _place(world, name).attach() as source:
            source.prepare_out(number, target.prepare_in(number), 1)
        between(0)
        with _place(world, name).attach() as source:
            source.complete_out(number, ALIVE)
        between(1)
        with _place(world, other).attach() as target:
            target.complete_in(number)
    between(2)


#: Those by which a holder's guard is killed, or may be.
KILLING: tuple[Callable[[World, str], None], ...] = (
    guard_killed,
    all_killed_in_any_order,
    first_stopped_and_killed,
    asked_and_killed,
    in_line_killed,
    in_line_stopped,
    all_guards_killed,
    lock_file_removed,
    handed_over_and_killed,
)
FAULTS: tuple[Callable[[World, str], None], ...] = (
    *KILLING,
    service_killed,
    tree_killed,
    guard_stopped,
    all_stopped,
    asked_to_stop,
    lock_file_exchanged,
    handed_over,
)
