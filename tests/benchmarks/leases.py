# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Leases beside what people use instead: etcdctl lock, flock, setlock, chpst -l.

    python3 tests/benchmarks/leases.py [--services N] [--many] [--rounds N]

Run as root on a machine that does nothing else. Tools that are not installed have no figures.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
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
#: Seconds for which many guards are watched.
WATCHED = 20.0

#: figure, unit, limit, values by who it is.
Row = tuple[str, str, str, dict[str, float]]


class Bench:
    """One etcd, one directory, and everything that is started in it."""

    def __init__(self, base: Path, rounds: int) -> None:
        self.base = base
        self.rounds = rounds
        self.runtime = collection.make_runtime(base / "runtime")
        self.cluster = Cluster().start()
        self.rows: list[Row] = []
        self.number = 0

    def add(self, figure: str, unit: str, limit: str, **values: float) -> None:
        self.rows.append((figure, unit, limit, values))
        print(f"{figure}: " + ", ".join(f"{who} {value:.3g} {unit}" for who, value in values.items()), file=sys.stderr)

    def guard(self, driver: str, resource: str, name: str, *words: str) -> list[str]:
        """The command line of a guard, up to the command that it is to run."""
        kept = (
            [f"--directory={self.base}/leases"]
            if driver == "file"
            else [f"--parameter=endpoints={self.cluster.endpoints}", f"--ttl={TTL}"]
        )
        start = [collection.PYTHON, "-I", "-S", str(self.runtime), "guard", f"--driver={driver}", f"--name={name}"]
        return [*start, f"--resource={resource}", f"--state={self.base}/guards", *kept, *words, "--"]

    def ways(self) -> dict[str, Callable[[str, str], list[str]]]:
        """What holds a lock while a command runs, by its name: (lock, name) -> command line."""
        found: dict[str, Callable[[str, str], list[str]]] = {
            "etcd": lambda lock, name: self.guard("etcd", lock, name),
            "file": lambda lock, name: self.guard("file", lock, name),
        }
        if shutil.which("etcdctl"):
            endpoints = f"--endpoints={self.cluster.endpoints}"
            found["etcdctl"] = lambda lock, name: ["etcdctl", endpoints, "lock", f"--ttl={TTL}", lock, "--"]
        for tool, words in (("flock", ["flock"]), ("setlock", ["setlock"]), ("chpst", ["chpst", "-l"])):
            if shutil.which(tool):
                found[tool] = lambda lock, name, words=words: [*words, f"{self.base}/{lock}"]  # type: ignore[misc]
        return found

    def takeover(self, way: Callable[[str, str], list[str]], whom: str) -> tuple[float, bool]:
        """Seconds from the kill of the holder's service (or of what holds for it) to the next one's first word.

        Also whether the killed one's service was still alive then.
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
            killed = time.time_ns()
            os.kill(begun[0].pid if whom == "holder" else services[0], signal.SIGKILL)
            try:
                procs.wait_until(told[1].exists, NEVER, "the next one")
            except procs.TooLate:
                return float("inf"), False
            both = procs.alive(services[0])
            return (int(told[1].read_text().split()[1]) - killed) / 1e9, both
        finally:
            for one in begun:
                for pid in [*procs.descendants(one.pid), one.pid]:
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except OSError:
                        continue
                one.wait()

    def close(self) -> None:
        self.cluster.close()


def driver(bench: Bench, **parameters: Any) -> Any:
    from ansible_collections.holdfast.supervision.plugins.module_utils._lease.etcd import Etcd

    return Etcd("bench", {"endpoints": bench.cluster.endpoints, "ttl": 10, **parameters})


def acquiring(bench: Bench) -> None:
    """Getting and giving back in one process, without any service."""
    for count, limit in ((1, "<= 3"), (32, "<= 6")):
        values = {"etcd": _acquire(driver(bench), count, bench.rounds * 10)}
        with tempfile.TemporaryDirectory() as folder:
            certificates(Path(folder))
            files = {"cert-file": "server.pem", "key-file": "server.key", "trusted-ca-file": "ca.pem"}
            options = {name: f"{folder}/{file}" for name, file in files.items()}
            import ssl

            secured = Cluster(options={**options, "client-cert-auth": "true"}, scheme="https")
            secured.context = ssl.create_default_context(cafile=f"{folder}/ca.pem")
            secured.context.load_cert_chain(f"{folder}/client.pem", f"{folder}/client.key")
            secured.start()
            names = {"ca_file": "ca.pem", "cert_file": "client.pem", "key_file": "client.key"}
            given = {name: f"{folder}/{file}" for name, file in names.items()}
            values["TLS"] = _acquire(driver(bench, endpoints=secured.endpoints, **given), count, bench.rounds * 10)
            secured.close()
        if count == 1 and "etcdctl" in bench.ways():
            values["etcdctl"] = statistics.median(
                _timed(["etcdctl", f"--endpoints={bench.cluster.endpoints}", "lock", "x", "true"], bench.rounds)
            )
        bench.add(f"acquire, {count} resources", "ms", limit, **values)


def _acquire(one: Any, count: int, rounds: int) -> float:
    taken = []
    for _unused in range(rounds):
        for at in range(count):
            one.register(f"r{at}", "exclusive")
        before = time.perf_counter()
        one.acquire()
        taken.append((time.perf_counter() - before) * 1000)
        one.release()
    return statistics.median(taken)


def _timed(command: list[str], rounds: int) -> list[float]:
    taken = []
    for _unused in range(rounds):
        before = time.perf_counter()
        subprocess.run(command, check=True, env={**os.environ, "ETCDCTL_API": "3"}, stdout=subprocess.DEVNULL)
        taken.append((time.perf_counter() - before) * 1000)
    return taken


def renewing(bench: Bench) -> None:
    one = driver(bench)
    one.register("renewed", "exclusive")
    one.acquire()
    one.renew()
    server = bench.cluster.members[0].process
    assert server is not None
    count = bench.rounds * 50
    before, ours, theirs = time.perf_counter(), time.process_time(), procs.processor_time(server.pid)
    for _unused in range(count):
        one.renew()
    took = time.perf_counter() - before
    bench.add("renewal, time", "ms", "", etcd=took / count * 1000)
    bench.add("renewal, processor of the guard", "ms", "<= 0.2", etcd=(time.process_time() - ours) / count * 1000)
    bench.add(
        "renewal, processor of etcd", "ms", "<= 0.6", etcd=(procs.processor_time(server.pid) - theirs) / count * 1000
    )
    one.release()


def starting(bench: Bench) -> None:
    values = {
        who: statistics.median(_timed([*way(f"s-{who}", f"s-{who}"), "/bin/true"], bench.rounds))
        for who, way in bench.ways().items()
    }
    values["nothing"] = statistics.median(_timed(["/bin/true"], bench.rounds))
    bench.add("start, run true, end", "ms", "", **values)


def taking_over(bench: Bench) -> None:
    for whom, limit, rounds in (
        ("service", "<= 100", bench.rounds),
        ("holder", f"<= {TTL}600", max(bench.rounds // 4, 2)),
    ):
        values, both = {}, {}
        for who, way in bench.ways().items():
            found = [bench.takeover(way, whom) for _unused in range(rounds)]
            values[who] = statistics.median(took for took, _both in found) * 1000
            both[who] = float(sum(alive for _took, alive in found))
        bench.add(f"{whom} killed, next one runs", "ms", limit, **values)
        if whom == "holder":
            bench.add("holder killed, two run then", f"of {rounds}", "0", **both)


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
            while at % 10 == 9 and _active(bench, "many") < at - 20:
                time.sleep(0.05)
        procs.wait_until(lambda: _active(bench, "many") == count, 600, "all of them", pause=0.2)
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


def _active(bench: Bench, prefix: str) -> int:
    import base64

    key = base64.b64encode(f"/holdfast/leases/{prefix}".encode()).decode()
    end = base64.b64encode(f"/holdfast/leases/{prefix}~".encode()).decode()
    found = bench.cluster.post("/v3/kv/range", {"key": key, "range_end": end, "keys_only": True})
    return sum(1 for one in found.get("kvs") or () if base64.b64decode(one["key"]).endswith(b"/holder/exclusive"))


def table(rows: list[Row]) -> str:
    columns = ["etcd", "file", "TLS", "etcdctl", "flock", "setlock", "chpst"]
    lines = [f"{'figure':52} {'unit':6} {'limit':>8} " + " ".join(f"{name:>9}" for name in [*columns, "other"])]
    for figure, unit, limit, values in rows:
        others = [value for name, value in values.items() if name not in columns]
        cells = [f"{values[name]:9.3g}" if name in values else f"{'-':>9}" for name in columns]
        cells.append(f"{others[0]:9.3g}" if others else f"{'-':>9}")
        lines.append(f"{figure:52} {unit:6} {limit:>8} " + " ".join(cells))
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--services", type=int, default=200, help="guarded services on one etcd (200)")
    parser.add_argument("--many", action="store_true", help="only these services, nothing else")
    parser.add_argument("--rounds", type=int, default=12, help="how often each thing is done, at least (12)")
    chosen = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("only root has pid namespaces")
    collection.make_importable()
    procs.adopt_orphans()
    base = Path(tempfile.mkdtemp(prefix="hf-bench-leases-"))
    bench = Bench(base, chosen.rounds)
    try:
        for measure in () if chosen.many else (acquiring, renewing, starting, taking_over, dead_man, memory):
            measure(bench)
        many(bench, chosen.services)
    finally:
        procs.end_all(("etcd",))
        bench.close()
        shutil.rmtree(base)
    print(table(bench.rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
