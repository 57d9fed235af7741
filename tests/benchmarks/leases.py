# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Leases beside what people use instead: etcdctl lock, flock, setlock, chpst -l, sanlock's own client.

    python3 tests/benchmarks/leases.py [--services N] [--rounds N] [--only MEASURE ...]

Run as root on a machine that does nothing else. Tools that are not installed have no figures. Over TLS is a column of its
own; `exec` is the driver file with a service that takes the place of its guard.
"""

from __future__ import annotations

import argparse
import math
import os
import select
import shutil
import signal
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

# The folder of the tests has a module procs of its own.
sys.path.append(str(Path(__file__).resolve().parent.parent))

import collection
import procs
from etcds import Cluster, certificates

TTL = 2
#: Seconds after which a lock that its holder's death did not free counts as never free.
NEVER = 8.0
#: Seconds for which many guards are watched, and for which those in line are.
WATCHED, WAITED = 20.0, 60.0

#: figure, unit, limit, values by who it is.
Row = tuple[str, str, str, dict[str, float]]


#: A way to hold a lock while a command runs: (lock, name of who wants it) -> command line. Names end in a and b.
Way = Callable[[str, str], list[str]]
#: What befalls the first one: (its process, its service's).
Strike = Callable[[int, int], None]


class Secured:
    """An etcd that is asked over TLS, by clients that it knows."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        certificates(folder)
        files = {"cert-file": "server.pem", "key-file": "server.key", "trusted-ca-file": "ca.pem"}
        options = {name: f"{folder}/{file}" for name, file in files.items()}
        self.cluster = Cluster(options={**options, "client-cert-auth": "true"}, scheme="https")
        self.cluster.context = ssl.create_default_context(cafile=f"{folder}/ca.pem")
        self.cluster.context.load_cert_chain(f"{folder}/client.pem", f"{folder}/client.key")
        self.cluster.start()
        names = {"ca_file": "ca.pem", "cert_file": "client.pem", "key_file": "client.key"}
        self.parameters = {
            "endpoints": self.cluster.endpoints,
            **{key: f"{folder}/{name}" for key, name in names.items()},
        }


class Bench:
    """One etcd, another one over TLS, two hosts of sanlock, one directory, and everything that is started in it."""

    def __init__(self, base: Path, rounds: int) -> None:
        self.base = base
        self.rounds = rounds
        self.runtime = collection.make_runtime(base / "runtime")
        # In memory, as the directory of the driver file is if nobody chooses another, and what guards write of themselves:
        # on a disk it is the disk that is measured.
        self.memory = tempfile.mkdtemp(prefix="hf-bench-leases-", dir="/dev/shm")
        self.cluster = Cluster().start()
        self.secured = Secured(base / "tls")
        # Only here: what it imports of the collection can be imported by now.
        from sanlocks import SANLOCK, Storage

        self.storage: Storage | None = Storage(2, io_timeout=5).join() if SANLOCK else None
        self.rows: list[Row] = []
        self.number = 0

    def add(self, figure: str, unit: str, limit: str, **values: float) -> None:
        self.rows.append((figure, unit, limit, values))
        print(f"{figure}: " + ", ".join(f"{who} {value:.3g} {unit}" for who, value in values.items()), file=sys.stderr)

    def guard(self, driver: str, resource: str, name: str, *words: str, **parameters: Any) -> list[str]:
        """The command line of a guard, up to the command that it is to run."""
        if driver == "file":
            parameters["directory"] = self.memory
        elif driver == "etcd":
            parameters = {"endpoints": self.cluster.endpoints, "ttl": TTL, **parameters}
        kept = [f"--parameter={key}={value}" for key, value in parameters.items()]
        # As the supervisor has it started.
        program = [collection.PYTHON, "-I", "-S", f"{self.runtime}/__main__.py"]
        start = [*program, "guard", f"--driver={driver}", f"--name={name}"]
        return [*start, f"--resource={resource}", f"--state={self.memory}/guards", *kept, *words, "--"]

    def _on_sanlock(self, lock: str, name: str) -> list[str]:
        """A guard of one of the two hosts."""
        assert self.storage is not None
        host = self.storage.hosts["ab".index(name[-1]) if name[-1] in "ab" else 0]
        return self.guard("sanlock", lock, name, "--safety=standard", **host.parameters())

    def ways(self) -> dict[str, Way]:
        """All ways, by their names."""
        found: dict[str, Way] = {
            "etcd": lambda lock, name: self.guard("etcd", lock, name),
            "TLS": lambda lock, name: self.guard("etcd", lock, name, **self.secured.parameters),
            "file": lambda lock, name: self.guard("file", lock, name),
            "exec": lambda lock, name: self.guard("file", lock, name, "--mode=exec", "--safety=standard"),
        }
        if self.storage is not None:
            found["sanlock"] = self._on_sanlock
        if shutil.which("etcdctl"):
            endpoints = f"--endpoints={self.cluster.endpoints}"
            found["etcdctl"] = lambda lock, name: ["etcdctl", endpoints, "lock", f"--ttl={TTL}", lock, "--"]
        for tool, words in (("flock", ["flock"]), ("setlock", ["setlock"]), ("chpst", ["chpst", "-l"])):
            if shutil.which(tool):
                found[tool] = lambda lock, name, words=words: [*words, f"{self.base}/{lock}"]  # type: ignore[misc]
        return found

    def takeover(self, way: Way, strike: Strike, never: float = NEVER) -> tuple[float, bool]:
        """Seconds from what befalls the first one to the next one's first word; inf if there is none in *never* seconds.

        Also whether the first one's service was still alive then.
        """
        self.number += 1
        lock, told = f"lock{self.number}", [self.base / f"told{self.number}{side}" for side in "ab"]
        begun = []
        try:
            for side, file in zip("ab", told, strict=True):
                script = f"echo $$ $(date +%s%N) > {file}.new; mv {file}.new {file}; exec sleep 1000"
                environment = {**os.environ, "ETCDCTL_API": "3"}
                command = [*way(lock, f"{lock}{side}"), "/bin/sh", "-c", script]
                begun.append(
                    subprocess.Popen(command, env=environment, start_new_session=True, stdout=subprocess.DEVNULL)
                )
                if side == "a":
                    procs.wait_until(file.exists, 20, f"the first one with {command[0]}")
                else:
                    time.sleep(0.7)
            # In a pid namespace the number that the service knows of itself is another one.
            services = [pid for pid in procs.descendants(begun[0].pid) if procs.name(pid) == "sleep"] or [begun[0].pid]
            struck = time.time_ns()
            strike(begun[0].pid, services[0])
            try:
                procs.wait_until(told[1].exists, never, "the next one")
            except procs.TooLate:
                return float("inf"), False
            both = procs.alive(services[0])
            return (int(told[1].read_text().split()[1]) - struck) / 1e9, both
        finally:
            end(begun)

    def close(self) -> None:
        self.cluster.close()
        self.secured.cluster.close()
        if self.storage is not None:
            self.storage.close()
        shutil.rmtree(self.memory)


def end(begun: Iterable[subprocess.Popen[bytes]]) -> None:
    """Kill them, and all that is below them."""
    for one in begun:
        for pid in [*procs.descendants(one.pid), one.pid]:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                continue
        one.wait()


def kill_service(_holder: int, service: int) -> None:
    os.kill(service, signal.SIGKILL)


def kill_holder(holder: int, _service: int) -> None:
    os.kill(holder, signal.SIGKILL)


def stop_holder(holder: int, _service: int) -> None:
    os.kill(holder, signal.SIGSTOP)


def drivers(bench: Bench) -> dict[str, Any]:
    """One driver of each kind in this process, by the names of the ways."""
    from ansible_collections.holdfast.supervision.plugins.module_utils._lease.etcd import Etcd
    from ansible_collections.holdfast.supervision.plugins.module_utils._lease.file import File
    from ansible_collections.holdfast.supervision.plugins.module_utils._lease.sanlock import Sanlock

    found: dict[str, Any] = {
        "etcd": Etcd("bench", {"endpoints": bench.cluster.endpoints, "ttl": 10}),
        "TLS": Etcd("bench", {**bench.secured.parameters, "ttl": 10}),
        "file": File("bench", {"directory": bench.memory}),
    }
    if bench.storage is not None:
        found["sanlock"] = Sanlock("bench", bench.storage.hosts[0].parameters())
    return found


def acquiring(bench: Bench) -> None:
    """Getting and giving back in one process, without any service."""
    for count, limit in ((1, "<= 3"), (32, "<= 6")):
        taken = {who: _acquire(one, count, bench.rounds * 10) for who, one in drivers(bench).items() if who != "file"}
        values = {who: statistics.median(times) for who, times in taken.items()}
        if count == 1 and "etcdctl" in bench.ways():
            values["etcdctl"] = statistics.median(
                _timed(["etcdctl", f"--endpoints={bench.cluster.endpoints}", "lock", "x", "true"], bench.rounds)
            )
        if count == 1 and bench.storage is not None:
            values["client"] = statistics.median(_timed(_of_client(bench), bench.rounds, 0.5))
        bench.add(f"acquire, {count} resources", "ms", limit, **values)
    taken_by_file = sorted(1000 * one for one in _acquire(drivers(bench)["file"], 1, bench.rounds * 100))
    bench.add("acquire, 1 resource, file", "us", "", file=statistics.median(taken_by_file))
    bench.add("the same, 99 of 100", "us", "", file=taken_by_file[len(taken_by_file) * 99 // 100])
    bench.add("its lock alone, 99 of 100", "us", "<= 20", file=_lock(bench))


def _of_client(bench: Bench) -> list[str]:
    """The command by which sanlock's own client holds a resource while a command runs."""
    import sanlocks

    from ansible_collections.holdfast.supervision.plugins.module_utils._lease._sanlock import daemon, index, parameters

    assert bench.storage is not None
    host = bench.storage.hosts[0]
    name, space = daemon.in_store("client"), host.daemon().space()
    assert space is not None
    offset = index.Index(host.daemon(), parameters.Parameters(host.parameters())).make(name, space)
    environment = ["env", f"SANLOCK_RUN_DIR={host.base}"]
    return [
        *environment,
        sanlocks.SANLOCK or "",
        "client",
        "command",
        "-r",
        f"holdfast:{name}:{host.path}:{offset}",
        "-c",
        "/bin/true",
    ]


def _lock(bench: Bench) -> float:
    """Microseconds that opening, locking, and looking whether the file is still the same one take, 99 of 100."""
    from ansible_collections.holdfast.supervision.plugins.module_utils._lease import ofd

    path = Path(bench.memory, "alone")
    path.touch()
    taken = []
    for _unused in range(bench.rounds * 100):
        before = time.perf_counter()
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        ofd.lock(descriptor, 0)
        same = os.path.samestat(os.fstat(descriptor), os.stat(path))
        taken.append((time.perf_counter() - before) * 1e6)
        assert same
        os.close(descriptor)
    return sorted(taken)[len(taken) * 99 // 100]


def _acquire(one: Any, count: int, rounds: int) -> list[float]:
    taken = []
    for _unused in range(rounds):
        for at in range(count):
            one.register(f"r{at}", "exclusive")
        before = time.perf_counter()
        one.acquire()
        taken.append((time.perf_counter() - before) * 1000)
        one.release()
    return taken


def _spoken(command: list[str]) -> float:
    """Milliseconds until the first word of what *command* says."""
    before = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as one:
        assert one.stdout is not None
        assert one.stdout.read(1), "it said nothing"
        return (time.perf_counter() - before) * 1000


def _timed(command: list[str], rounds: int, pause: float = 0.0) -> list[float]:
    """Milliseconds that each run takes. pause: seconds between two, for a daemon that gives back afterwards."""
    taken = []
    for _unused in range(rounds):
        before = time.perf_counter()
        subprocess.run(command, check=True, env={**os.environ, "ETCDCTL_API": "3"}, stdout=subprocess.DEVNULL)
        taken.append((time.perf_counter() - before) * 1000)
        time.sleep(pause)
    return taken


def renewing(bench: Bench) -> None:
    values: dict[str, list[float]] = {}
    chosen = {who: one for who, one in drivers(bench).items() if who in ("etcd", "TLS")}
    for (who, one), cluster in zip(chosen.items(), (bench.cluster, bench.secured.cluster), strict=True):
        one.register("renewed", "exclusive")
        one.acquire()
        one.renew()
        server = cluster.members[0].process
        assert server is not None
        count = bench.rounds * 50
        before, ours, theirs = time.perf_counter(), time.process_time(), procs.processor_time(server.pid)
        for _unused in range(count):
            one.renew()
        spent = (time.perf_counter() - before, time.process_time() - ours, procs.processor_time(server.pid) - theirs)
        values[who] = [seconds / count * 1000 for seconds in spent]
        one.release()
    for at, (what, limit) in enumerate(
        (("time", ""), ("processor of the guard", "<= 0.2"), ("processor of etcd", "<= 0.6"))
    ):
        bench.add(f"renewal, {what}", "ms", limit, **{who: spent[at] for who, spent in values.items()})


def starting(bench: Bench) -> None:
    values = {
        who: statistics.median(_timed([*way(f"s-{who}", f"s-{who}"), "/bin/true"], bench.rounds))
        for who, way in bench.ways().items()
    }
    values["nothing"] = nothing = statistics.median(_timed(["/bin/true"], bench.rounds))
    bench.add("start, run true, end", "ms", "", **values)
    begun = {
        who: statistics.median(_spoken([*way(f"b-{who}", f"b-{who}"), "/bin/echo"]) for _unused in range(bench.rounds))
        for who, way in bench.ways().items()
        if who != "etcdctl"
    }
    bench.add("start, its program has spoken", "ms", "<= 35", **begun)
    beyond = {who: value - nothing for who, value in values.items() if who in ("exec", "flock", "setlock", "chpst")}
    bench.add("acquire and exec, beyond a plain fork and exec", "ms", "", **beyond)
    bench.add("the same, without the start of Python", "ms", "<= 1", exec=_taking_with_it(bench))


def _taking_with_it(bench: Bench) -> float:
    """Milliseconds that a child needs to take a lease that goes with it into its exec.

    Of a child that has taken another one before: what is imported for it, and the pages that a forked Python copies when it
    touches them, are in a guard part of its start.
    """
    from ansible_collections.holdfast.supervision.plugins.module_utils._lease.file import File

    def take(resource: str) -> None:
        one = File("bench", {"directory": bench.memory})
        one.register(resource, "exclusive")
        one.acquire()
        for descriptor in one.become():
            os.set_inheritable(descriptor, True)

    def child(at: int) -> float:
        told, tell = os.pipe()
        pid = os.fork()
        if not pid:
            try:
                take(f"first{at}")
                before = time.perf_counter()
                take(f"taken{at}")
                os.write(tell, str((time.perf_counter() - before) * 1000).encode())
                os.execv("/bin/true", ["true"])
            finally:
                os._exit(1)
        os.close(tell)
        with open(told, encoding="ascii") as pipe:
            taken = float(pipe.read())
        assert os.waitpid(pid, 0)[1] == 0
        return taken

    return statistics.median(child(at) for at in range(bench.rounds * 5))


def taking_over(bench: Bench, chosen: Collection[str] = ()) -> None:
    for what, strike, limit, rounds in (
        ("service killed", kill_service, "<= 100", bench.rounds),
        ("holder killed", kill_holder, f"<= {TTL}600", max(bench.rounds // 4, 2)),
        ("holder stopped", stop_holder, f"<= {TTL}600", max(bench.rounds // 4, 2)),
    ):
        values, most, worst, both = {}, {}, {}, {}
        for who, way in bench.ways().items():
            if chosen and who not in chosen:
                continue
            found = [bench.takeover(way, strike) for _unused in range(rounds)]
            taken = sorted(took * 1000 for took, _both in found)
            values[who], worst[who] = statistics.median(taken), taken[-1]
            most[who] = taken[math.ceil(rounds * 0.99) - 1]
            both[who] = float(sum(alive for _took, alive in found))
        bench.add(f"{what}, next one runs", "ms", limit, **values)
        if rounds >= 100:
            bench.add("the same, 99 of 100", "ms", "", **most)
        bench.add("the same, worst", "ms", "", **worst)
        if strike is not kill_service:
            bench.add(f"{what}, two run then", f"of {rounds}", "0", **both)


def host_death(bench: Bench) -> None:
    """A host dies that has the lease, and with it the leader of the store, or another member."""
    for what, with_leader, limit in (
        # An etcd that may end leases early is given a T more, see docs/leases-etcd.md.
        ("host dies, another member with it", False, f"<= {TTL}600 (+ {TTL}000)"),
        ("host dies, the store's leader with it", True, f"<= {2 * TTL}000 (+ vote)"),
    ):
        taken = []
        for _unused in range(max(bench.rounds // 4, 2)):
            cluster = Cluster(3).start()
            try:
                leader = cluster.leader()
                member = leader if with_leader else next(one for one in cluster.members if one is not leader)

                def strike(holder: int, service: int, member: Any = member) -> None:
                    member.kill()
                    kill_holder(holder, service)

                taken.append(
                    bench.takeover(
                        lambda lock, name, cluster=cluster: bench.guard(  # type: ignore[misc]
                            "etcd", lock, name, endpoints=cluster.endpoints
                        ),
                        strike,
                        30.0,
                    )[0]
                )
            finally:
                cluster.close()
        bench.add(f"{what}, next one runs", "ms", limit, etcd=statistics.median(taken) * 1000)
        bench.add("the same, worst", "ms", "", etcd=max(taken) * 1000)


def dead_man(bench: Bench) -> None:
    from ansible_collections.holdfast.supervision.plugins.module_utils._lease._guard import kernel

    late = []
    for _unused in range(bench.rounds * 2):
        when = time.clock_gettime(time.CLOCK_BOOTTIME) + 0.1
        pid = os.fork()
        if not pid:
            kernel.DeadMan().arm(when)
            os.kill(os.getpid(), signal.SIGSTOP)
            os._exit(0)
        os.waitpid(pid, 0)
        late.append((time.clock_gettime(time.CLOCK_BOOTTIME) - when) * 1000)
    late.sort()
    bench.add("kernel timer too late, stopped process", "ms", "", median=statistics.median(late))
    bench.add("the same, worst", "ms", "<= 10", worst=late[-1])
    gone = sorted(_tree_after_guard(bench, f"tree{at}") for at in range(max(bench.rounds // 2, 3)))
    bench.add("guard killed by it, its tree gone after", "ms", "", etcd=statistics.median(gone))
    bench.add("the same, worst", "ms", "<= 20", etcd=gone[-1])


def _tree_after_guard(bench: Bench, name: str) -> float:
    """Milliseconds from the end of a stopped guard to that of its service."""
    guard = subprocess.Popen([*bench.guard("etcd", name, name), "sleep", "1000"], start_new_session=True)
    try:
        services: list[int] = []

        def runs() -> bool:
            services[:] = [pid for pid in procs.descendants(guard.pid) if procs.name(pid) == "sleep"]
            return bool(services)

        procs.wait_until(runs, 20, "active")
        ends = [os.pidfd_open(pid) for pid in (guard.pid, services[0])]
        os.kill(guard.pid, signal.SIGSTOP)
        at = []
        for descriptor in ends:
            assert select.select([descriptor], [], [], TTL * 5)[0], "it was not killed"
            at.append(time.perf_counter())
            os.close(descriptor)
        return (at[1] - at[0]) * 1000
    finally:
        guard.kill()
        guard.wait()


def memory(bench: Bench) -> None:
    for driver_name in ("etcd", "file"):
        one = subprocess.Popen(
            [*bench.guard(driver_name, f"m-{driver_name}", f"m-{driver_name}"), "sleep", "1000"], start_new_session=True
        )
        try:
            procs.wait_until(
                lambda one=one: any(procs.name(pid) == "sleep" for pid in procs.descendants(one.pid)), 20, "active"
            )  # type: ignore[misc]
            time.sleep(1)
            text = Path(f"/proc/{one.pid}/smaps_rollup").read_text()
            fields = {line.split(":")[0]: int(line.split()[1]) for line in text.splitlines() if line.endswith("kB")}
            private = fields["Private_Clean"] + fields["Private_Dirty"]
            bench.add(f"guard, {driver_name}, resident", "MB", "<= 11", ours=fields["Rss"] / 1024)
            bench.add(
                f"guard and its init, {driver_name}, shares counted once",
                "MB",
                "",
                ours=procs.counted_once([one.pid, *procs.children(one.pid)]) / 1024**2,
            )
            bench.add(f"guard, {driver_name}, private beside its init", "MB", "<= 5", ours=private / 1024)
        finally:
            one.kill()
            one.wait()


def waiting(bench: Bench) -> None:
    """How often one in line wakes, with all of its processes."""
    begun: dict[str, list[subprocess.Popen[bytes]]] = {}
    try:
        for who, way in bench.ways().items():
            for side in "ab":
                command = [*way(f"w-{who}", f"w-{who}-{side}"), "sleep", "1000"]
                begun.setdefault(who, []).append(
                    subprocess.Popen(command, env={**os.environ, "ETCDCTL_API": "3"}, start_new_session=True)
                )
                time.sleep(2)
        trees = {who: [pair[1].pid, *procs.descendants(pair[1].pid)] for who, pair in begun.items()}
        before = {who: sum(map(procs.switches, pids)) for who, pids in trees.items()}
        time.sleep(WAITED)
        woken = {who: sum(map(procs.switches, pids)) - before[who] for who, pids in trees.items()}
        bench.add("one in line wakes, in 10 s", "", "<= 1", **{who: n / WAITED * 10 for who, n in woken.items()})
    finally:
        end(one for pair in begun.values() for one in pair)


def many(bench: Bench, count: int) -> None:
    """So many guarded services on one etcd, each with T = 10 s."""
    begun: list[subprocess.Popen[bytes]] = []
    server = bench.cluster.members[0].process
    assert server is not None
    try:
        before = time.perf_counter()
        for at in range(count):
            command = [*bench.guard("etcd", f"many{at}", f"many{at}", "--ttl=10"), "sleep", "1000"]
            begun.append(subprocess.Popen(command, start_new_session=True))
            # No more than the machine can start at a time: a start that takes longer than T is none.
            if at % 10 == 9:
                _until_active(bench, begun, at - 20, 0.05)
        _until_active(bench, begun, count, 0.2)
        bench.add(f"{count} services started", "s", "", etcd=time.perf_counter() - before)
        theirs = procs.processor_time(server.pid)
        ours = sum(procs.processor_time(one.pid) for one in begun)
        began = time.perf_counter()
        time.sleep(WATCHED)
        took = time.perf_counter() - began
        bench.add(
            f"{count} services, etcd's share of a core",
            "%",
            "<= 25",
            etcd=(procs.processor_time(server.pid) - theirs) / took * 100,
        )
        ours = sum(procs.processor_time(one.pid) for one in begun) - ours
        bench.add(f"{count} services, a guard's share of a core", "%", "<= 0.1", etcd=ours / took / count * 100)
        lost = sum(one.poll() is not None for one in begun)
        bench.add(f"{count} services, lost meanwhile", "", "0", etcd=float(lost))
    finally:
        for one in begun:
            one.kill()
        for one in begun:
            one.wait()


class GuardEnded(Exception):
    """A guard that was to be measured has ended."""


def _until_active(bench: Bench, begun: list[subprocess.Popen[bytes]], count: int, pause: float) -> None:
    """Wait until so many of the guards of `many` have their leases. Raises GuardEnded, TooLate."""

    def active() -> bool:
        ended = [f"many{at} with {one.returncode}" for at, one in enumerate(begun) if one.poll() is not None]
        if ended:
            raise GuardEnded(
                f"{len(ended)} of {len(begun)} guards ended while they were started: {', '.join(ended[:3])}; what they said is above"
            )
        return _active(bench, "many") >= count

    procs.wait_until(active, 600, f"{count} of {len(begun)} guards with a lease", pause=pause)


def _active(bench: Bench, prefix: str) -> int:
    import base64

    key = base64.b64encode(f"/holdfast/leases/{prefix}".encode()).decode()
    end = base64.b64encode(f"/holdfast/leases/{prefix}~".encode()).decode()
    for patience in range(10, -1, -1):
        try:
            found = bench.cluster.post("/v3/kv/range", {"key": key, "range_end": end, "keys_only": True})
            break
        except OSError:
            # So busy with those that are starting that it does not answer in time.
            if not patience:
                raise
    return sum(1 for one in found.get("kvs") or () if base64.b64decode(one["key"]).endswith(b"/holder/exclusive"))


def table(rows: list[Row]) -> str:
    columns = ["etcd", "TLS", "sanlock", "file", "exec", "etcdctl", "client", "flock", "setlock", "chpst"]
    lines = [f"{'figure':52} {'unit':6} {'limit':>16} " + " ".join(f"{name:>9}" for name in [*columns, "other"])]
    for figure, unit, limit, values in rows:
        others = [value for name, value in values.items() if name not in columns]
        cells = [f"{values[name]:9.3g}" if name in values else f"{'-':>9}" for name in columns]
        cells.append(f"{others[0]:9.3g}" if others else f"{'-':>9}")
        lines.append(f"{figure:52} {unit:6} {limit:>16} " + " ".join(cells))
    return "\n".join(lines)


MEASURES: dict[str, Callable[..., None]] = {
    one.__name__: one
    for one in (acquiring, renewing, starting, taking_over, host_death, dead_man, memory, waiting, many)
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--services", type=int, default=200, help="guarded services on one etcd (200)")
    parser.add_argument("--only", nargs="+", choices=MEASURES, default=list(MEASURES), help="what is measured (all)")
    parser.add_argument("--rounds", type=int, default=12, help="how often each thing is done, at least (12)")
    parser.add_argument("--ways", nargs="+", default=[], help="who takes over: etcd, TLS, file, exec, … (all)")
    chosen = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("only root has pid namespaces")
    collection.make_importable()
    procs.adopt_orphans()
    base = Path(tempfile.mkdtemp(prefix="hf-bench-leases-"))
    bench = Bench(base, chosen.rounds)
    try:
        for name in chosen.only:
            if name == "many":
                many(bench, chosen.services)
            elif name == "taking_over":
                taking_over(bench, chosen.ways)
            else:
                MEASURES[name](bench)
    finally:
        procs.end_all(("etcd", "sanlock", "sanlock-helper"))
        bench.close()
        shutil.rmtree(base)
    print(table(bench.rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
