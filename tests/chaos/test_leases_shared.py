# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Guards that share a lease and guards that want it alone, under random faults: who has it alone has nobody beside him.

With the driver `file`, and with `etcd`. HOLDFAST_CHAOS_SECONDS, _SEED and _REPORT are as in test_leases_etcd.py.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import procs
import pytest
from etcds import ETCD, Cluster
from fenced import carried
from guarded import PYTHON, STUBBORN, Guards, make_runtime
from histories import Event, History, figures, violations, write_report
from waiting import wait_until
from witnesses import EtcdWitness, FileWitness, Witness

SECONDS = float(os.environ.get("HOLDFAST_CHAOS_SECONDS", "6"))
SEED = int(os.environ.get("HOLDFAST_CHAOS_SEED", str(random.randrange(2**32))))
TTL = 2.0
#: Seconds in which somebody has to hold the lease again. Generous: the machine is shared.
ALIVE = 60
SHARED, ALONE = ("reader1", "reader2", "reader3"), ("writer1", "writer2")

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="pid namespaces need root")


class World:
    """Everything that takes part in one run. longest: seconds that a fault lasts at most."""

    def __init__(self, guards: Guards, chance: random.Random, longest: float) -> None:
        self.guards = guards
        self.chance = chance
        self.longest = longest
        self.history = History(guards.base)
        self.cluster: Cluster | None = None
        self.witness: Witness | None = None
        self.running: dict[str, subprocess.Popen[str]] = {}
        self._order: list[Callable[[World], None]] = []

    def on_file(self) -> None:
        self.witness = FileWitness(self.guards.leases, "r", self.history.note)

    def on_etcd(self) -> None:
        self.cluster = Cluster().start()
        self.guards.use_etcd(self.cluster.endpoints, TTL)
        self.witness = EtcdWitness(self.cluster, str(self.guards.base), "r", self.history.note)

    def supervise(self) -> None:
        for name in (*SHARED, *ALONE):
            one = self.running.get(name)
            if one is None or one.poll() is not None:
                words = (f"--resource=r{':shared' * (name in SHARED)}", "--stop-timeout=0.2")
                command = (PYTHON, "-I", "-S", "-c", STUBBORN, str(self.history.beats), name)
                self.running[name] = self.guards.start(name, *words, command=command)

    def account(self, name: str) -> dict[str, Any]:
        told = self.guards.report(name)
        return told if told and told["pid"] == self.running[name].pid else {}

    def holders(self) -> list[str]:
        told = {name: self.account(name) for name in self.running}
        return [name for name, one in told.items() if one.get("phase") == "active" and one["tree"]]

    def until_beating(self) -> list[str]:
        """Wait until somebody beats, whoever it is; the ended are started again. Gives who says that he holds."""
        size = self.history.beats.stat().st_size

        def more() -> bool:
            self.supervise()
            return self.history.beats.stat().st_size > size + 200 and bool(self.holders())

        wait_until(more, ALIVE, f"nobody holds the lease, seed {SEED}")
        return self.holders()

    def until_shared(self) -> None:
        """If it is shared, wait for all who may."""
        if set(self.until_beating()) & set(SHARED):
            wait_until(lambda: len(self.until_beating()) > 1 or set(self.holders()) & set(ALONE), ALIVE)

    def pause(self) -> None:
        time.sleep(self.chance.random() * self.longest)

    def signal(self, names: list[str], number: int) -> None:
        for name in names:
            procs.kill(self.running[name].pid, number)

    def fault(self) -> None:
        self._order = self._order or self.chance.sample(FAULTS, len(FAULTS))
        what = self._order.pop()
        self.history.note("fault", what=what.__name__, whom=self.holders())
        what(self)
        self.history.note("healed")

    def close(self) -> None:
        if self.witness is not None:
            self.witness.end()
        self.signal(list(self.running), signal.SIGCONT)
        self.guards.close()
        if self.cluster is not None:
            self.cluster.close()


def one_killed(world: World) -> None:
    world.signal(world.holders()[:1], signal.SIGKILL)


def all_killed(world: World) -> None:
    """Also those who have got it meanwhile: there is a change between who shares and who does not."""
    world.signal(world.holders(), signal.SIGKILL)


def all_asked(world: World) -> None:
    world.signal(world.holders(), signal.SIGTERM)


def one_asked(world: World) -> None:
    world.signal(world.holders()[-1:], signal.SIGTERM)


def one_tree_killed(world: World) -> None:
    for name in world.holders()[:1]:
        procs.kill(world.account(name).get("tree", 0) or world.running[name].pid)


def one_stopped(world: World) -> None:
    stopped = world.holders()[-1:]
    world.signal(stopped, signal.SIGSTOP)
    world.pause()
    world.signal(stopped, signal.SIGCONT)


def all_stopped(world: World) -> None:
    stopped = world.holders()
    world.signal(stopped, signal.SIGSTOP)
    world.pause()
    world.signal(stopped, signal.SIGCONT)


def one_stopped_and_others_killed(world: World) -> None:
    """One who shares and is stopped is left; who wants it alone has to wait for him."""
    first, *others = world.holders() or [SHARED[0]]
    world.signal([first], signal.SIGSTOP)
    world.signal(others, signal.SIGKILL)
    world.pause()
    world.signal([first], signal.SIGCONT)


def in_line_killed(world: World) -> None:
    holders = world.holders()
    world.signal([name for name in world.running if name not in holders], signal.SIGKILL)
    world.signal(holders, signal.SIGKILL)


def store_stopped(world: World) -> None:
    if world.cluster is not None:
        with world.cluster.members[0].frozen():
            world.pause()


FAULTS: tuple[Callable[[World], None], ...] = (
    one_killed,
    all_killed,
    all_asked,
    one_asked,
    one_tree_killed,
    one_stopped,
    all_stopped,
    one_stopped_and_others_killed,
    in_line_killed,
    store_stopped,
)


@pytest.fixture
def world_of() -> Iterator[Callable[[float], World]]:
    made: list[World] = []

    def one(longest: float) -> World:
        base = Path(tempfile.mkdtemp(prefix="hf-lease-chaos-"))
        made.append(World(Guards(make_runtime(base), base), random.Random(SEED), longest))
        return made[-1]

    with contextlib.ExitStack() as stack:
        yield one
        for world in made:
            stack.callback(shutil.rmtree, world.guards.base)
            stack.callback(world.close)


def together(events: list[Event]) -> int:
    """Give how often somebody who shares began while another one was there."""
    spans: dict[int, list[int]] = {}
    for event in events:
        if event["event"] == "beat" and event["name"] in SHARED:
            spans.setdefault(event["token"], [event["at"], event["at"]])[1] = event["at"]
    return sum(any(one[0] < each[0] <= one[1] for one in spans.values()) for each in spans.values())


def _run(world: World, seconds: float) -> list[Event]:
    end = time.monotonic() + seconds
    world.until_shared()
    # However short it is, somebody has to have had it alone.
    while time.monotonic() < end or b" writer" not in world.history.beats.read_bytes():
        world.fault()
        world.until_shared()
    assert world.witness is not None
    return carried(world.history.end(world.witness), SEED, frozenset(SHARED))


def test_never_two_holders_of_whom_one_wants_it_alone(world_of: Callable[[float], World]) -> None:
    on_file, on_etcd = world_of(0.5), world_of(1.5 * TTL)
    on_file.on_file()
    histories = {"file": _run(on_file, SECONDS / 2)}
    if ETCD:
        on_etcd.on_etcd()
        histories["etcd"] = _run(on_etcd, SECONDS / 2)
    found = [f"{name}: {text}" for name, one in histories.items() for text in violations(one, shared=frozenset(SHARED))]
    whole = [event for one in histories.values() for event in one]
    kinds = collections.Counter(event["what"] for event in whole if event["event"] == "fault")
    known = {
        "tenures": sum(figures(one)["tenures"] for one in histories.values()),
        "alone": len({(name, event["token"]) for name, one in histories.items() for event in one if _alone(event)}),
        "together": sum(together(one) for one in histories.values()),
        "refused": sum(event["event"] == "refused" for event in whole),
    }
    file = write_report("shared", kinds, found, seed=SEED, seconds=SECONDS, **known)
    if file is not None:
        for name, one in histories.items():
            file.with_suffix(f".{name}.jsonl").write_text("".join(json.dumps(event) + "\n" for event in one))
    assert found == [], f"seed {SEED}"
    assert known["together"] and known["alone"], f"seed {SEED}"


def _alone(event: Event) -> bool:
    return bool(event["event"] == "beat" and event["name"] in ALONE)
