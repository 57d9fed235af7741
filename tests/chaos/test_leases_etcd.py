# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Three contenders for one lease of etcd, under random faults: never two holders, and after each fault there is one again.

A lease that somebody revokes is not among the faults: the store itself gives it to the next one then, while the holder
hears of it. See docs/leases.md; how quickly it ends is in tests/integration/lease/test_etcd.py.


HOLDFAST_CHAOS_SECONDS makes it longer than a moment, HOLDFAST_CHAOS_MEMBERS=3 gives etcd three members,
HOLDFAST_CHAOS_SEED repeats a run's choices, HOLDFAST_CHAOS_REPORT names a file for figures, see histories.report.
"""

from __future__ import annotations

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
from etcds import ETCD, Cluster, Proxy
from fenced import carried
from guarded import PYTHON, STUBBORN, Guards
from histories import Event, History, Pauses, report, violations
from waiting import wait_until
from witnesses import EtcdWitness

from ansible_collections.holdfast.supervision.plugins.plugin_utils import pack

SECONDS = float(os.environ.get("HOLDFAST_CHAOS_SECONDS", "15"))
MEMBERS = int(os.environ.get("HOLDFAST_CHAOS_MEMBERS", "1"))
SEED = int(os.environ.get("HOLDFAST_CHAOS_SEED", str(random.randrange(2**32))))
TTL = 3.0
#: Seconds after which a host that stands by and comes first wishes for the lease.
BACK = 2.0
#: Seconds in which somebody has to hold the lease again after everything was healed. Generous: the machine is shared.
ALIVE = 60

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="pid namespaces need root"),
    pytest.mark.skipif(not ETCD, reason="there is no etcd"),
]


class Host:
    """One contender: a guard that is started again when it ends, and its own way to etcd."""

    def __init__(self, name: str, guards: Guards, cluster: Cluster, history: History) -> None:
        self.name = name
        self.guards = guards
        self.history = history
        # The first one comes first and takes the lease back; two of them pause what they cannot renew.
        place = "abc".index(name)
        self.options = [
            "--stop-timeout=0.2",
            f"--on-lost={'kill' if place == 1 else 'pause'}",
            f"--parameter=preference={place}",
            f"--parameter=fail_back={BACK}",
        ]
        self.proxies = [Proxy(member.url) for member in cluster.members]
        self.process: subprocess.Popen[str] | None = None

    def supervise(self) -> None:
        if self.process is None or self.process.poll() is not None:
            self.guards.use_etcd(",".join(proxy.url for proxy in self.proxies), TTL)
            command = (PYTHON, "-I", "-S", "-c", STUBBORN, str(self.history.beats), self.name)
            self.process = self.guards.start(self.name, *self.options, command=command)

    @property
    def pid(self) -> int:
        return self.process.pid if self.process else 0

    def tree(self) -> list[int]:
        """The init of the service and the service, if they are there."""
        found = [pid for pid in procs.children(self.pid) if procs.alive(pid)] if self.pid else []
        return found + [child for pid in found for child in procs.children(pid)]

    def network(self, mode: str, delay: float = 0.0) -> None:
        for proxy in self.proxies:
            proxy.mode, proxy.delay = mode, delay

    def close(self) -> None:
        procs.kill(self.pid, signal.SIGCONT)
        for proxy in self.proxies:
            proxy.close()


class World:
    """Everything that takes part in one run."""

    def __init__(self, guards: Guards, cluster: Cluster, chance: random.Random) -> None:
        self.guards = guards
        self.cluster = cluster
        self.chance = chance
        self.history = History(guards.base)
        self.witness = EtcdWitness(cluster, str(guards.base), "r", self.history.note)
        self.hosts = [Host(name, guards, cluster, self.history) for name in "abc"]
        self.pauses = Pauses(lambda: [guards.report(host.name) for host in self.hosts], self.history)

    def supervise(self) -> None:
        for host in self.hosts:
            host.supervise()

    def until_beating(self) -> None:
        """Wait until somebody beats, whoever it is; the ended are started again."""
        size = self.history.beats.stat().st_size

        def more() -> bool:
            self.supervise()
            return self.history.beats.stat().st_size > size + 200

        wait_until(more, ALIVE, "nobody holds the lease")

    def holder(self) -> Host:
        line = self.history.beats.read_bytes()[-200:].decode().splitlines()[-2]
        return next(host for host in self.hosts if host.name == line.split()[1])

    def pause(self, longest: float) -> None:
        """Let the fault work, for any part of *longest* seconds; the ended are not started again."""
        time.sleep(self.chance.random() * longest)

    def fault(self) -> None:
        what = self.chance.choice(FAULTS)
        whom = self.holder() if self.chance.random() < 0.8 else self.chance.choice(self.hosts)
        self.history.note("fault", what=what.__name__, whom=whom.name)
        what(self, whom)
        self.history.note("healed")

    def until_first(self) -> None:
        """Wait until the host that comes first has the lease back."""

        def back() -> bool:
            self.supervise()
            return self.holder() is self.hosts[0]

        wait_until(back, ALIVE, "the host that comes first does not take the lease back")

    def end(self) -> list[Event]:
        """Give everything that happened."""
        return self.history.end(self.witness, self.pauses)

    def close(self) -> None:
        self.witness.end()
        self.pauses.end()
        for host in self.hosts:
            host.close()


def guard_killed(_world: World, host: Host) -> None:
    procs.kill(host.pid)


def guard_stopped(world: World, host: Host) -> None:
    procs.kill(host.pid, signal.SIGSTOP)
    world.pause(2 * TTL)
    procs.kill(host.pid, signal.SIGCONT)


def all_stopped(world: World, host: Host) -> None:
    stopped = [host.pid, *host.tree()]
    for pid in stopped:
        procs.kill(pid, signal.SIGSTOP)
    world.pause(2 * TTL)
    for pid in reversed(stopped):
        procs.kill(pid, signal.SIGCONT)


def service_killed(_world: World, host: Host) -> None:
    for pid in host.tree():
        procs.kill(pid)


def asked_to_stop(_world: World, host: Host) -> None:
    procs.kill(host.pid, signal.SIGTERM)


def cut_off(world: World, host: Host) -> None:
    host.network("hang")
    world.pause(2 * TTL)
    host.network("pass")


def answers_lost(world: World, host: Host) -> None:
    host.network(world.chance.choice(("cut", "mute")))
    world.pause(TTL)
    host.network("pass")


def slow(world: World, host: Host) -> None:
    host.network("pass", world.chance.random() * TTL / 3)
    world.pause(2 * TTL)
    host.network("pass")


def store_frozen(world: World, _host: Host) -> None:
    with world.chance.choice(world.cluster.members).frozen():
        world.pause(2 * TTL)


def store_killed(world: World, _host: Host) -> None:
    member = world.cluster.leader()
    member.kill()
    world.pause(TTL)
    member.start()
    world.cluster.until_serving()


def store_full(world: World, _host: Host) -> None:
    """As when the quota is used up: nothing is written any more, what is renewed or given back is."""
    world.cluster.be_full(True)
    world.pause(2 * TTL)
    world.cluster.be_full(False)


def cut_off_and_stopped(world: World, host: Host) -> None:
    host.network("hang")
    guard_stopped(world, host)
    host.network("pass")


FAULTS: tuple[Callable[[World, Host], None], ...] = (
    guard_killed,
    guard_stopped,
    all_stopped,
    service_killed,
    asked_to_stop,
    cut_off,
    answers_lost,
    slow,
    store_frozen,
    store_killed,
    store_full,
    cut_off_and_stopped,
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
    cluster = Cluster(MEMBERS).start()
    made = World(guards, cluster, random.Random(SEED))
    yield made
    made.close()
    guards.close()
    cluster.close()
    shutil.rmtree(base)


def test_never_two_holders_and_always_one_again(world: World) -> None:
    world.supervise()
    world.until_beating()
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        world.fault()
        world.until_beating()
    world.until_first()
    events = carried(world.end(), SEED)
    # With several members old versions end leases early when a frozen leader thaws: the next one waits for that.
    found = violations(events, TTL if MEMBERS > 1 else 0.0)
    report("etcd", events, found, seed=SEED, seconds=SECONDS, members=MEMBERS, ttl=TTL)
    assert found == [], f"seed {SEED}"
    assert any(event["event"] == "granted" for event in events)
