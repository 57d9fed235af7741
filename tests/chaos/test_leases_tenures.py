# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""As many tenures as can be had: many resources of one etcd, two contenders for each, and whoever has one is struck soon.

What is looked for is that two are never there at a time, that tokens rise, and that nobody is there when etcd has the lease no more, but very
often. The kernel is one judge: a service holds a lock of flock for as long as any process of it lives, and says so if another one has
that yet. The other one has the first and the last moment of each service, and what etcd has said.

HOLDFAST_CHAOS_SECONDS makes it longer than a moment, HOLDFAST_CHAOS_PAIRS says how many resources there are,
HOLDFAST_CHAOS_SEED repeats a run's choices, HOLDFAST_CHAOS_REPORT names a file for figures, see histories.write_report.
"""

from __future__ import annotations

import collections
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
from guarded import PYTHON, Guards, make_runtime
from histories import Event, boottime, violations, write_report
from waiting import wait_until
from witnesses import EtcdWitness

SECONDS = float(os.environ.get("HOLDFAST_CHAOS_SECONDS", "15"))
PAIRS = int(os.environ.get("HOLDFAST_CHAOS_PAIRS", "4"))
SEED = int(os.environ.get("HOLDFAST_CHAOS_SEED", str(random.randrange(2**32))))
TTL = 2.0
#: Seconds that a tenure lasts at most before its holder is struck.
LONGEST = 0.5
#: Seconds between two looks.
LOOK = 0.02

#: Arguments: the files of the lock, of the tenures and of the moments, and who it is. Whatever befalls it, the lock is there until its
#: end. Of each tenure there are 16 bytes, for the first and the last moment at which its child was alive.
SERVICE = """\
import fcntl, os, sys, time
lock, tenures, moments, who = sys.argv[1:5]
token = int(os.environ["HOLDFAST_TOKEN"])
file = os.open(lock, os.O_RDWR | os.O_CREAT)
try:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    word = "one"
except BlockingIOError:
    word = "two"
told = os.open(tenures, os.O_WRONLY | os.O_APPEND)
os.write(told, f"{word} {token} {who}\\n".encode())
if word == "two":
    sys.exit(1)
if os.fork() == 0:
    file = os.open(moments, os.O_WRONLY | os.O_CREAT)
    first = time.clock_gettime_ns(time.CLOCK_BOOTTIME).to_bytes(8, "little")
    while True:
        last = time.clock_gettime_ns(time.CLOCK_BOOTTIME).to_bytes(8, "little")
        os.pwrite(file, first + last, 16 * (2 * token + "ab".index(who)))
        time.sleep(0.005)
os.wait()
"""

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="pid namespaces need root"),
    pytest.mark.skipif(not ETCD, reason="there is no etcd"),
]


class Pair:
    """Two contenders for one resource, whose guards are started again when they end."""

    def __init__(self, name: str, guards: Guards) -> None:
        self.name = name
        self.file = guards.base / f"{name}.tenures"
        self.file.touch()
        self._lock = guards.base / f"{name}.lock"
        self._moments = guards.base / f"{name}.moments"
        self._guards = guards
        self._running: dict[str, subprocess.Popen[str]] = {}
        self._seen = 0
        self._strike = float("inf")

    def told(self) -> list[tuple[str, int, str]]:
        """What services have said: one or two, token, who."""
        words = (line.split() for line in self.file.read_text().splitlines())
        return [(one, int(token), who) for one, token, who in words]

    def beats(self) -> list[Event]:
        """The first and the last moment of each tenure, in the order of time."""
        data = self._moments.read_bytes() if self._moments.exists() else b""
        found: list[Event] = []
        for at in range(0, len(data) // 16 * 16, 8):
            when = int.from_bytes(data[at : at + 8], "little")
            if when:
                found.append({"at": when, "event": "beat", "token": at // 32, "name": "ab"[at // 16 % 2]})
        return found

    def supervise(self) -> None:
        for side in "ab":
            one = self._running.get(side)
            if one is None or one.poll() is not None:
                self.start(side)

    def start(self, side: str) -> None:
        files = map(str, (self._lock, self.file, self._moments))
        command = (PYTHON, "-I", "-S", "-c", SERVICE, *files, side)
        name, words = f"{self.name}{side}", (f"--resource={self.name}", "--stop-timeout=0.2")
        self._running[side] = self._guards.start(name, *words, command=command)

    def strike(self, chance: random.Random) -> str:
        """Let a fault befall whoever has had the resource long enough, and say which."""
        now, size = time.monotonic(), self.file.stat().st_size
        if size != self._seen:
            self._seen, self._strike = size, now + chance.random() * LONGEST
        if now < self._strike:
            return ""
        self._strike = float("inf")
        what = chance.choice(FAULTS)
        what(self._running[self.told()[-1][2]].pid)
        return what.__name__


def guard_killed(guard: int) -> None:
    procs.kill(guard)


def guard_stopped(guard: int) -> None:
    """For good: the kernel's timer ends it."""
    procs.kill(guard, signal.SIGSTOP)


def service_killed(guard: int) -> None:
    for init in procs.children(guard):
        for pid in procs.children(init):
            procs.kill(pid)


def asked_to_stop(guard: int) -> None:
    procs.kill(guard, signal.SIGTERM)


FAULTS: tuple[Callable[[int], None], ...] = (guard_killed, guard_stopped, service_killed, asked_to_stop)


@pytest.fixture
def guards() -> Iterator[Guards]:
    base = Path(tempfile.mkdtemp(prefix="hf-tenures-"))
    made = Guards(make_runtime(base), base)
    # As on a host: guards start very often here.
    subprocess.run([PYTHON, "-m", "compileall", "-q", str(made.runtime)], check=True)
    yield made
    made.close()
    shutil.rmtree(base)


def wrong(told: list[tuple[str, int, str]]) -> list[str]:
    """Everything that must not be."""
    found = [f"{token} of {who} began while another one was there" for one, token, who in told if one == "two"]
    tokens = [token for _one, token, _who in told]
    return found + [f"{later} was granted after {token}" for token, later in zip(tokens, tokens[1:]) if later <= token]


def _granted(events: list[Event]) -> set[int]:
    return {event["token"] for event in events if event["event"] == "granted"}


def test_never_two_holders_in_very_many_tenures(guards: Guards) -> None:
    chance = random.Random(SEED)
    cluster = Cluster().start()
    kinds: collections.Counter[str] = collections.Counter()
    events: dict[str, list[Event]] = collections.defaultdict(list)

    def note(event: str, resource: str, **what: Any) -> None:
        events[resource].append({"at": boottime(), "event": event, **what})

    witness = EtcdWitness(cluster, str(guards.base), "", note)
    try:
        guards.use_etcd(cluster.endpoints, TTL)
        pairs = [Pair(f"r{at}", guards) for at in range(PAIRS)]
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            for pair in pairs:
                pair.supervise()
                kinds[pair.strike(chance)] += 1
            time.sleep(LOOK)
        guards.close()
        tenures = {pair.name: pair.told() for pair in pairs}
        for pair in pairs:
            wait_until(lambda pair=pair: _granted(events[pair.name]) >= {one[1] for one in tenures[pair.name]})  # type: ignore[misc]
        witness.end()
        for pair in pairs:
            events[pair.name] = carried(events[pair.name] + pair.beats(), SEED)
    finally:
        witness.end()
        guards.close()
        cluster.close()
    del kinds[""]
    found = [f"{name}: {text}" for name, told in tenures.items() for text in wrong(told) + violations(events[name])]
    heard = collections.Counter(event["event"] for one in events.values() for event in one)
    count = sum(map(len, tenures.values()))
    write_report(
        "tenures",
        kinds,
        found,
        seed=SEED,
        seconds=SECONDS,
        pairs=PAIRS,
        ttl=TTL,
        tenures=count,
        refused=heard["refused"],
    )
    assert found == [], f"seed {SEED}"
    assert count > PAIRS
    assert heard["granted"] >= count and heard["gone"] > PAIRS and heard["beat"] > PAIRS


def test_two_at_a_time_would_be_seen(guards: Guards) -> None:
    pair = Pair("r", guards)
    for side in "ab":
        # Each has its own idea of who has it.
        guards.driver = (f"--directory={guards.base}/{side}",)
        pair.start(side)
        wait_until(lambda: bool(pair.told()), message="nobody begins")
    wait_until(lambda: len(pair.told()) == 2, message="the other one does not begin")
    assert wrong(pair.told()) == ["1 of b began while another one was there", "1 was granted after 1"]
