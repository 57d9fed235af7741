# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs inside an emulated machine: three hosts that contend for one lease on NFS, under random faults.

What happened is printed as a history, see tests/histories.py, and not judged: tests/chaos/test_leases_nfs.py does.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nfs_world import LEASES, PAYLOAD, RECOVERY, Host, end_grace, serve, start_server, stop_server, until, whole
from witnesses import NfsWitness

GIVEN = json.loads((PAYLOAD / "chaos.json").read_text())
#: Seconds: T.
TTL = float(GIVEN["ttl"])
#: Nanoseconds without a beat that are told.
SILENCE = 500_000_000
#: Seconds in which somebody has to hold the lease again: the server's grace, the holder's time, and a slow machine.
ALIVE = 6 * TTL + 60

#: Seconds in line after which a host wishes for what one has that comes after it.
BACK = 15

Event = dict[str, Any]


class World:
    """Everything that takes part."""

    def __init__(self) -> None:
        self.chance = random.Random(GIVEN["seed"])
        self.hosts = serve("abc", GIVEN["ttl"])
        self.events: list[Event] = []
        self.order: list[Callable[[World, Host], None]] = []
        # Where the server has it, which no network is before.
        self.witness = NfsWitness(Path("/export") / Path(LEASES).name / "db.lock", self.note)
        for place, host in enumerate(self.hosts):
            # Each comes after the one before, which gets the lease back after a while.
            host.told(f"--parameter=preference={place}", f"--parameter=fail_back={BACK}")
            host.mount("vers=4.2")
            host.run("mkdir", "-p", LEASES)
            host.run("touch", f"{LEASES}/proved.{host.name}")
            host.keep_running()

    def note(self, event: str, **what: Any) -> None:
        self.events.append({"at": time.clock_gettime_ns(time.CLOCK_BOOTTIME), "event": event, **what})

    def holder(self) -> Host | None:
        return next((host for host in self.hosts if host.runs()), None)

    def until_beating(self) -> None:
        try:
            until(lambda: self.holder() is not None, f"somebody beats after {self.events[-2:]}", ALIVE)
        except TimeoutError as error:
            states = "\n".join(f"{host.name}: {host.state()}" for host in self.hosts)
            raise TimeoutError(f"{error}\n{states}") from None

    def pause(self, longest: float) -> None:
        time.sleep(self.chance.random() * longest)

    def fault(self) -> None:
        self.order = self.order or self.chance.sample(FAULTS, len(FAULTS))
        what = self.order.pop()
        whom = (self.holder() if self.chance.random() < 0.8 else None) or self.chance.choice(self.hosts)
        self.note("fault", what=what.__name__, whom=whom.name)
        what(self, whom)
        self.note("healed")


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    try:
        if pid:
            os.kill(pid, number)
    except ProcessLookupError:
        pass


def guard_killed(_world: World, one: Host) -> None:
    kill(one.guard())


def hand_killed(_world: World, one: Host) -> None:
    kill(one.hand())


def guard_and_hand_killed(world: World, one: Host) -> None:
    victims = [one.guard(), one.hand()]
    world.chance.shuffle(victims)
    for pid in victims:
        kill(pid)


def _stopped(world: World, *pids: int) -> None:
    for pid in pids:
        kill(pid, signal.SIGSTOP)
    world.pause(1.5 * TTL)
    for pid in pids:
        kill(pid, signal.SIGCONT)


def guard_stopped(world: World, one: Host) -> None:
    _stopped(world, one.guard())


def hand_stopped(world: World, one: Host) -> None:
    _stopped(world, one.hand())


def both_stopped(world: World, one: Host) -> None:
    _stopped(world, one.guard(), one.hand())


def asked_to_stop(_world: World, one: Host) -> None:
    kill(one.guard(), signal.SIGTERM)


def cut(world: World, one: Host) -> None:
    one.cut()
    world.pause(2 * TTL)
    one.heal()


def cut_and_guard_killed(world: World, one: Host) -> None:
    one.cut()
    world.pause(TTL / 4)
    kill(one.guard())
    world.pause(2 * TTL)
    one.heal()


def _silent(world: World, longest: float) -> None:
    """The server is there, and answers nobody."""
    for host in world.hosts:
        host.cut()
    world.pause(longest)
    for host in world.hosts:
        host.heal()


def server_silent_for_a_moment(world: World, _one: Host) -> None:
    _silent(world, TTL / 3)


def server_silent(world: World, _one: Host) -> None:
    _silent(world, 2 * TTL)


def server_restarted(_world: World, _one: Host) -> None:
    stop_server()
    start_server()


def server_down(world: World, _one: Host) -> None:
    stop_server()
    world.pause(1.5 * TTL)
    start_server()


def server_forgets(world: World, one: Host) -> None:
    """The holder is cut off, and the server gives away what it had at once."""
    one.cut()
    stop_server()
    for client in RECOVERY.iterdir():
        client.rmdir()
    start_server()
    end_grace()
    world.pause(TTL)
    one.heal()


FAULTS = [
    guard_killed,
    hand_killed,
    guard_and_hand_killed,
    guard_stopped,
    hand_stopped,
    both_stopped,
    asked_to_stop,
    cut,
    cut_and_guard_killed,
    server_silent_for_a_moment,
    server_silent,
    server_restarted,
    server_down,
    server_forgets,
]


def beats(hosts: list[Host]) -> list[Event]:
    """Give the first and the last beat of each tenure, and those around a silence."""
    found = sorted((at, token, host.name) for host in hosts for at, token in host.beats())
    last = len(found) - 1
    return [
        {"at": one[0], "event": "beat", "token": one[1], "name": one[2]}
        for at, one in enumerate(found)
        if at in (0, last)
        or any(one[1:] != near[1:] or abs(one[0] - near[0]) > SILENCE for near in (found[at - 1], found[at + 1]))
    ]


def main() -> None:
    world = World()
    world.until_beating()
    end = time.monotonic() + GIVEN["seconds"]
    while time.monotonic() < end:
        world.fault()
        world.until_beating()
    for host in world.hosts:
        Path(f"/run/{host.name}/down").touch()
    # Who begins after this is not known to the witness.
    until_now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    time.sleep(1)
    world.witness.end()
    told = [event for event in beats(world.hosts) if event["at"] <= until_now]
    for event in sorted(world.events + told, key=lambda event: int(event["at"])):
        print(json.dumps(event), flush=True)


if __name__ == "__main__":
    whole(main)
