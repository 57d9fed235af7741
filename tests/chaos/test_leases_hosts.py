# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Three hosts with a supervisor, a guarded service and a member of etcd each, under random faults: never two holders.

The hosts share one kernel, so that the beats of the service have one clock. The service is as stubborn as can be, see
guarded.py. HOLDFAST_CHAOS_SECONDS, _SEED and _REPORT are as in test_leases_etcd.py.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import procs
import pytest
from etcds import ETCD, be_full
from fenced import carried
from guarded import PYTHON, STUBBORN
from histories import History, Pauses, report, violations
from labs import Lab
from leased import add_guarded
from supervised import Scan
from waiting import wait_until
from witnesses import EtcdWitness

from ansible_collections.holdfast.supervision.plugins.plugin_utils import pack

SECONDS = float(os.environ.get("HOLDFAST_CHAOS_SECONDS", "20"))
SEED = int(os.environ.get("HOLDFAST_CHAOS_SEED", str(random.randrange(2**32))))
TTL = 3.0
#: Seconds in which somebody has to hold the lease again after everything was healed. Generous: the machine is shared.
ALIVE = 90
PREFIX = "/chaos"
NAMES = ("a", "b", "c")
#: Seconds after which a host that stands by and comes first wishes for the lease.
BACK = 2.0

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="test hosts are made of namespaces, which needs root"),
    pytest.mark.skipif(not ETCD, reason="there is no etcd"),
]


class Host:
    """One host: its supervisor and its etcd run unless a fault has ended them, and are started again by `keep`."""

    def __init__(self, name: str, world: World) -> None:
        self.name = name
        self.world = world
        self.lab = world.lab
        self.folder = world.base / name
        self.folder.mkdir()
        self.folder.chmod(0o755)
        self.scan = Scan(world.runtime, self.folder)
        self.url = f"http://{world.addresses[name]}:2379"
        self._started: dict[str, subprocess.Popen[bytes]] = {}

    def publish(self) -> None:
        add_guarded(
            self.scan,
            command=[
                PYTHON,
                "-I",
                "-S",
                "-c",
                STUBBORN.replace("0.0005", "0.002"),
                str(self.world.history.beats),
                self.name,
            ],
            lease={
                "driver": "etcd",
                "ttl": f"{TTL:g}s",
                "safety": "standard",
                # Two of them pause what they cannot renew. The first one comes first, and takes the lease back.
                "on_lost": "kill" if self.name == NAMES[1] else "pause",
                "parameters": {
                    "endpoints": self.world.urls(),
                    "prefix": PREFIX,
                    "preference": NAMES.index(self.name),
                    "fail_back": BACK,
                },
                "resources": ["r"],
            },
            stop_timeout="200ms",
        )

    def boot(self) -> None:
        """After the host was switched on: what a reboot empties is empty, and it sees the world's folder."""
        shutil.rmtree(self.scan.path / ".holdfast", ignore_errors=True)
        self.lab.do("share", self.name, str(self.world.base))
        self.keep()

    def keep(self) -> None:
        """Start what does not run."""
        self._keep("supervisor", [PYTHON, "-I", "-S", str(self.world.runtime), "supervise", str(self.scan.path)])
        everybody = ",".join(f"{name}=http://{address}:2380" for name, address in self.world.addresses.items())
        peer = self.url.replace("2379", "2380")
        words = {
            "name": self.name,
            "data-dir": str(self.folder / "etcd"),
            "listen-client-urls": "http://0.0.0.0:2379",
            "advertise-client-urls": self.url,
            "listen-peer-urls": "http://0.0.0.0:2380",
            "initial-advertise-peer-urls": peer,
            "initial-cluster": everybody,
        }
        self._keep("etcd", [str(self.world.base / "store"), *(f"--{key}={value}" for key, value in words.items())])

    def _keep(self, what: str, command: list[str]) -> None:
        process = self._started.get(what)
        if process is not None and process.poll() is None:
            # nsenter stops itself when what it has started is stopped, and would not notice its end.
            process.send_signal(signal.SIGCONT)
            return
        with (self.folder / f"{what}.log").open("ab") as log:
            self._started[what] = subprocess.Popen(
                self.lab.command("exec", self.name, "--", *command), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def _find(self, *words: str) -> list[int]:
        """Our numbers of the processes of this host whose arguments have all of these."""
        return [pid for pid in procs.pids() if set(words) <= set(_own_arguments(pid)) and procs.alive(pid)]

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Call its etcd, by whoever has the lab's network."""
        request = urllib.request.Request(self.url + path, json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=2) as answer:
            return dict(json.loads(answer.read()))

    def reports(self) -> list[dict[str, Any]]:
        """What its guard has last written of itself."""
        try:
            return [json.loads((self.scan.path / ".holdfast/guards/billing/state.json").read_text())]
        except (OSError, ValueError):
            return []

    def supervisor(self) -> list[int]:
        return self._find("supervise", str(self.scan.path))

    def store(self) -> list[int]:
        return self._find(f"--name={self.name}", f"--data-dir={self.folder / 'etcd'}")

    def tree(self) -> list[int]:
        """The guard, init and all of the service; the guard first."""
        found = [pid for pid in procs.pids() if str(self.scan.path / "billing") in _where(pid) and _is_guard(pid)]
        guards = [pid for pid in found if _parent(pid) not in (0, *found)]
        return [one for pid in guards for one in _below(pid)]

    def tell(self) -> str:
        """What is known of it, for people."""
        states = {what: [(pid, procs.state(pid)) for pid in pids] for what, pids in self._processes().items()}
        found = [f"-- {self.name}: {states}"]
        for path in [self.scan.path / ".holdfast/guards/billing/state.json", *sorted(self.folder.glob("*.log"))]:
            if path.exists():
                found.append(f"{path.name}: {path.read_text(errors='replace')[-1500:]}")
        return "\n".join(found)

    def _processes(self) -> dict[str, list[int]]:
        return {"supervisor": self.supervisor(), "store": self.store(), "tree": self.tree()}

    def close(self) -> None:
        for process in self._started.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)


def _own_arguments(pid: int) -> list[str]:
    """Arguments; nothing for who has only carried them into the host."""
    words = procs.arguments(pid)
    return [] if words and ("nsenter" in words[0] or "exec" in words) else words


def _parent(pid: int) -> int:
    """Its parent, 0 if it has gone meanwhile."""
    try:
        return procs.parent(pid)
    except OSError:
        return 0


def _where(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return ""


def _is_guard(pid: int) -> bool:
    return "guard" in procs.arguments(pid)


def _below(pid: int) -> list[int]:
    return [pid, *(one for child in procs.children(pid) for one in _below(child))]


class HostWitness(EtcdWitness):
    """Hears it in the lab's network."""

    def __init__(self, world: World) -> None:
        self._lab = world.lab
        super().__init__(world, PREFIX, "r", world.history.note)  # type: ignore[arg-type]

    def run(self) -> None:
        self._lab.enter_network()
        super().run()


class World:
    """Everything that takes part in one run. members: as of a cluster, for the witness."""

    def __init__(self, base: Path, chance: random.Random) -> None:
        self.base = base
        self.chance = chance
        self.runtime = base / "runtime"
        for name, content in pack.runtime_files().items():
            path = self.runtime / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        shutil.copy(str(ETCD), base / "store")
        self.history = History(base)
        self.lab = Lab("chaos")
        self.addresses: dict[str, str] = {}
        self.hosts: list[Host] = []
        self.witness: HostWitness | None = None
        self.pauses: Pauses | None = None

    def up(self) -> None:
        self.lab.do("up", *NAMES)
        for line in self.lab.do("list").splitlines():
            name, _state, address = line.split()[:3]
            self.addresses[name] = address
        self.hosts = [Host(name, self) for name in NAMES]
        for host in self.hosts:
            host.publish()
            host.boot()
        self.witness = HostWitness(self)
        self.pauses = Pauses(lambda: [report for host in self.hosts for report in host.reports()], self.history)

    @property
    def members(self) -> list[Host]:
        return self.hosts

    def urls(self) -> list[str]:
        return [f"http://{address}:2379" for address in self.addresses.values()]

    def leader(self) -> Host:
        """The host with etcd's leader; the first one if nobody knows."""

        def ask() -> Host:
            for host in self.hosts:
                with contextlib.suppress(OSError):
                    status = host.post("/v3/maintenance/status", {})
                    if status.get("leader") == status["header"]["member_id"]:
                        return host
            return self.hosts[0]

        return self.lab.within(ask)

    def ask_store(self, question: Callable[[Callable[[str, dict[str, Any]], dict[str, Any]]], None]) -> None:
        """Ask any member that answers, until one has."""

        def asked() -> bool:
            for host in self.hosts:
                with contextlib.suppress(OSError):
                    self.lab.within(lambda host=host: question(host.post))
                    return True
            return False

        wait_until(asked, ALIVE)

    def keep(self) -> None:
        for host in self.hosts:
            host.keep()

    def until_beating(self) -> None:
        size = self.history.beats.stat().st_size

        def more() -> bool:
            self.keep()
            return self.history.beats.stat().st_size > size + 200

        try:
            wait_until(more, ALIVE)
        except AssertionError:
            found = "\n".join([*map(str, self.history.last(12)), *(host.tell() for host in self.hosts)])
            raise AssertionError(f"nobody holds the lease, seed {SEED}\n{found}") from None

    def holder(self) -> Host:
        line = self.history.beats.read_bytes()[-200:].decode().splitlines()[-2]
        return next(host for host in self.hosts if host.name == line.split()[1])

    def until_first(self) -> None:
        """Wait until the host that comes first has the lease back, and everybody is as well as can be."""

        def back() -> bool:
            self.keep()
            return self.holder() is self.hosts[0]

        wait_until(back, ALIVE, f"the host that comes first does not take the lease back, seed {SEED}")

    def pause(self, longest: float) -> None:
        time.sleep(self.chance.random() * longest)

    def fault(self, what: Callable[[World, Host], None]) -> None:
        whom = self.holder() if self.chance.random() < 0.8 else self.chance.choice(self.hosts)
        self.history.note("fault", what=what.__name__, whom=whom.name)
        what(self, whom)
        self.history.note("healed", what=what.__name__)

    def close(self) -> None:
        for one in (self.witness, self.pauses):
            if one is not None:
                one.end()
        self.lab.do("down")
        for host in self.hosts:
            host.close()


# -- faults. Each is healed when it returns; what has ended is started again by `keep`.


def _stop(world: World, pids: list[int], longest: float = 2 * TTL) -> None:
    world.history.note("signalled", pids=pids)
    for pid in pids:
        procs.kill(pid, signal.SIGSTOP)
    world.pause(longest)
    for pid in reversed(pids):
        procs.kill(pid, signal.SIGCONT)


def _kill(world: World, pids: list[int]) -> None:
    world.history.note("signalled", pids=pids)
    for pid in pids:
        procs.kill(pid)


def guard_killed(world: World, host: Host) -> None:
    _kill(world, host.tree()[:1])


def guard_stopped(world: World, host: Host) -> None:
    _stop(world, host.tree()[:1])


def guard_stopped_and_cut_off(world: World, host: Host) -> None:
    world.lab.do("cut", host.name)
    _stop(world, host.tree()[:1])
    world.lab.do("heal", host.name)


def all_stopped(world: World, host: Host) -> None:
    _stop(world, host.tree())


def service_killed(world: World, host: Host) -> None:
    _kill(world, host.tree()[2:])


def init_killed(world: World, host: Host) -> None:
    _kill(world, host.tree()[1:2])


def service_stopped(world: World, host: Host) -> None:
    _stop(world, host.tree()[2:])


def supervisor_killed(world: World, host: Host) -> None:
    _kill(world, host.supervisor())
    world.pause(TTL)


def supervisor_stopped(world: World, host: Host) -> None:
    _stop(world, host.supervisor())


def supervisor_and_guard_killed(world: World, host: Host) -> None:
    _kill(world, host.supervisor() + host.tree()[:1])


def store_killed(world: World, _host: Host) -> None:
    _kill(world, world.leader().store())
    world.pause(TTL)


def store_stopped(world: World, _host: Host) -> None:
    chosen = world.leader() if world.chance.random() < 0.5 else world.chance.choice(world.hosts)
    _stop(world, chosen.store())


def two_stores_stopped(world: World, _host: Host) -> None:
    _stop(world, [pid for host in world.chance.sample(world.hosts, 2) for pid in host.store()])


def store_slow(world: World, _host: Host) -> None:
    """A leader that gets little of its processor."""
    slow = world.leader().store()
    world.history.note("signalled", pids=slow)
    end = time.monotonic() + world.chance.random() * 2 * TTL
    while time.monotonic() < end:
        for number, seconds in ((signal.SIGSTOP, world.chance.random() * TTL / 6), (signal.SIGCONT, 0.02)):
            for pid in slow:
                procs.kill(pid, number)
            time.sleep(seconds)


def store_full(world: World, _host: Host) -> None:
    """As when the quota is used up: nothing is written any more, what is renewed or given back is."""
    for full in (True, False):
        world.ask_store(lambda post, full=full: be_full(post, full))  # type: ignore[misc]
        if full:
            world.pause(2 * TTL)


def cut_off(world: World, host: Host) -> None:
    world.lab.do("cut", host.name)
    world.pause(3 * TTL)
    world.lab.do("heal", host.name)


def frozen(world: World, host: Host) -> None:
    world.lab.do("freeze", host.name)
    world.pause(3 * TTL)
    world.lab.do("thaw", host.name)


def power_off(world: World, host: Host) -> None:
    world.lab.do("power-off", host.name)
    world.pause(TTL)
    world.lab.do("power-on", host.name)
    host.boot()


def power_off_with_the_leader(world: World, _host: Host) -> None:
    power_off(world, world.leader())


def same_name(world: World, host: Host) -> None:
    """Another host calls itself as the holder's does, and its next guard is the same one to the store."""
    other = world.chance.choice([one for one in world.hosts if one is not host])
    world.lab.do("exec", other.name, "--", "hostname", host.name)
    _kill(world, other.tree()[:1])
    world.pause(2 * TTL)
    if world.chance.random() < 0.5:
        _kill(world, host.tree()[:1])
        world.pause(2 * TTL)
    world.lab.do("exec", other.name, "--", "hostname", other.name)


FAULTS: tuple[Callable[[World, Host], None], ...] = (
    guard_killed,
    frozen,
    guard_stopped,
    cut_off,
    supervisor_and_guard_killed,
    same_name,
    power_off,
    store_killed,
    all_stopped,
    two_stores_stopped,
    service_killed,
    init_killed,
    service_stopped,
    supervisor_killed,
    supervisor_stopped,
    store_stopped,
    store_slow,
    store_full,
    guard_stopped_and_cut_off,
    power_off_with_the_leader,
)


@pytest.fixture
def world() -> Iterator[World]:
    base = Path(tempfile.mkdtemp(prefix="hf-chaos-hosts-"))
    base.chmod(0o755)
    made = World(base, random.Random(SEED))
    try:
        made.up()
        yield made
    finally:
        made.close()
        shutil.rmtree(base, ignore_errors=True)


def test_never_two_holders_on_three_hosts_and_always_one_again(world: World) -> None:
    world.until_beating()
    end = time.monotonic() + SECONDS
    order: list[Callable[[World, Host], None]] = []
    recoveries = []
    while time.monotonic() < end:
        # Each fault as often as any other, in any order.
        order = order or world.chance.sample(FAULTS, len(FAULTS))
        world.fault(order.pop())
        healed = time.monotonic()
        world.until_beating()
        recoveries.append(time.monotonic() - healed)
    world.until_first()
    assert world.witness is not None and world.pauses is not None
    events = carried(world.history.end(world.witness, world.pauses), SEED)
    # Old versions end leases early when a frozen leader thaws: the next one waits for that.
    found = violations(events, TTL)
    report(
        "hosts",
        events,
        found,
        seed=SEED,
        seconds=SECONDS,
        ttl=TTL,
        healed_to_beat_max=round(max(recoveries), 3),
        signalled=sum(len(event.get("pids", ())) for event in events),
        released=sum(1 for event in events if event.get("released")),
    )
    assert found == [], f"seed {SEED}"
    assert any(event["event"] == "granted" for event in events)
