# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The privileged helper beside other ways to root: what a call takes, how many there are in a second, what it costs at rest.

Everything is measured several times, in turns, so that a machine with other work to do is unfair to all alike; the median
of the rounds is shown. The ratios to the floor, which is C and does nothing, say more than the times.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import callers
import collection
import helping_peers as peers
import procs
from report import HIGHER, OURS, Report, progress
from supervision import IDLE

ROUNDS, CALLS, CLIENTS, SECONDS = 5, 2000, 4, 2.0
#: Seconds between two calls of what has a process of its own, as agents make them.
PAUSE = 0.02
#: What there is to reach: ratios to the floor of the same run, milliseconds, calls in a second, MB.
IDLE_RATIO, AWAKE_RATIO, WORST_RATIO, PRIVSEP_RATIO = 4.0, 9.0, 12.0, 1.2
SUDO_RATIO, FRESH, RATE, CORE, FOUR, AGAIN = 30.0, 2.5, 10000.0, 10.0, 25.0, 150.0

_FUNCTIONS = """
import time

def ping(number):
    return number

def wait():
    time.sleep(0.3)
"""


class Helper:
    """A helper with its audit log in a file, as below a supervisor that keeps it."""

    def __init__(self, base: Path) -> None:
        self.base = base
        runtime = base / "runtime" / "version"
        collection.make_runtime(runtime)
        functions = base / "operations.py"
        functions.write_text(_FUNCTIONS)
        number = {"number": {"type": "integer", "minimum": 0, "maximum": 9}}
        common = {"allow": [{"user": callers.CALLER}], "idempotency": "pure"}
        ping = {**common, "function": {"file": str(functions), "name": "ping"}, "parameters": number}
        operations = {
            "ping": ping,
            "once": {**ping, "idempotency": "once"},
            "fresh": {**ping, "isolation": "fresh"},
            "wait": {**common, "function": {"file": str(functions), "name": "wait"}},
            "true": {**common, "argv": ["/bin/true"]},
        }
        self.socket = base / "run" / "socket"
        document = {"format": 1, "socket": str(self.socket), "state_directory": str(base / "run")}
        (base / "helper.json").write_text(json.dumps({**document, "operations": operations}))
        self.command = [
            collection.PYTHON,
            "-I",
            "-S",
            str(runtime / "__main__.py"),
            "helper",
            str(base / "helper.json"),
        ]
        with (base / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={"PATH": "/usr/bin:/bin"}
            )
        procs.wait_until(self.socket.exists, 20, "the helper's socket")

    def make(self, operation: str, **parameters: Any) -> Callable[[], object]:
        """Connect, as one that goes on calling does."""
        from ansible_collections.holdfast.supervision.plugins.module_utils._helper import client

        helper = client.Helper(str(self.socket), first_launch=5, answer=60)
        return lambda: helper.call(operation, parameters)

    def ping(self) -> Callable[[], object]:
        """The call that does nothing."""
        return self.make("ping", number=1)

    def processes(self) -> list[int]:
        """The helper and all that it has forked."""
        return [self.process.pid, *procs.descendants(self.process.pid)]

    def close(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(30)


@contextlib.contextmanager
def workplace() -> Iterator[Path]:
    """A folder that root alone may write to, in memory."""
    base = Path(tempfile.mkdtemp(prefix="hf-bench-helper-", dir=procs.workplace()))
    base.chmod(0o755)
    try:
        yield base
    finally:
        shutil.rmtree(base)


def measure(report: Report, quick: bool) -> None:
    """Add all rows."""
    rounds, calls = (2, 500) if quick else (ROUNDS, CALLS)
    with workplace() as base:
        helper = Helper(base)
        manager = peers.Manager(base)
        floor = peers.Floor(base) if peers.Floor.available() else None
        privsep = peers.Privsep() if peers.Privsep.available() else None
        try:
            _latencies(report, rounds, calls, helper, manager, floor, privsep)
            _rates(report, rounds, helper, manager, privsep)
            _crowd(report, helper)
        finally:
            helper.close()
            manager.close()
            if privsep is not None:
                privsep.close()
        _at_rest(report)
        _crash(report, base, 3 if quick else 10)


def _latencies(
    report: Report,
    rounds: int,
    calls: int,
    helper: Helper,
    manager: peers.Manager,
    floor: peers.Floor | None,
    privsep: peers.Privsep | None,
) -> None:
    """Time single calls, with processors that sleep between them and with such that do not."""
    ways: dict[str, Callable[[], Any]] = {
        OURS: lambda: callers.latencies(helper.ping, calls),
        "manager": lambda: callers.latencies(manager.make, calls),
    }
    if floor is not None:
        ways["floor"] = lambda: floor.latencies(calls)
    if privsep is not None:
        ways["privsep"] = lambda: privsep.ask("latencies", calls)
    for words, surroundings, limit in (
        ("idle", contextlib.nullcontext, IDLE_RATIO),
        ("awake", callers.awake, AWAKE_RATIO),
    ):
        progress(f"helper: single calls, processors {words}")
        with surroundings():
            taken: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
            for _round in range(rounds):
                for way, call in ways.items():
                    taken[way].append(call())
        medians = {way: statistics.median(one[0] for one in found) for way, found in taken.items()}
        worst = {way: statistics.median(one[1] for one in found) for way, found in taken.items()}
        report.add(f"helper: pooled call, {words}, median", "µs", {way: 1e6 * one for way, one in medians.items()})
        report.add(f"helper: pooled call, {words}, p99", "µs", {way: 1e6 * one for way, one in worst.items()})
        if floor is not None:
            # Of each round the ratio to the floor of that round: what else the machine did was the same for both.
            ratios = [ours[0] / least[0] for ours, least in zip(taken[OURS], taken["floor"], strict=True)]
            report.add(
                f"helper: pooled call, {words}, median : floor's", "ratio", {OURS: statistics.median(ratios)}, limit
            )
            ratios = [ours[1] / least[0] for ours, least in zip(taken[OURS], taken["floor"], strict=True)]
            report.add(
                f"helper: pooled call, {words}, p99 : floor's median",
                "ratio",
                {OURS: statistics.median(ratios)},
                WORST_RATIO,
            )
        if privsep is not None:
            ratios = [ours[0] / theirs[0] for ours, theirs in zip(taken[OURS], taken["privsep"], strict=True)]
            report.add(
                f"helper: pooled call, {words}, median : privsep's",
                "ratio",
                {OURS: statistics.median(ratios)},
                PRIVSEP_RATIO,
            )
    progress("helper: programs and fresh functions")
    fewer = max(calls // 20, 50)
    words = ("fresh", "true")
    made = {"fresh": lambda: helper.make("fresh", number=1), "true": lambda: helper.make("true")}
    once: list[float] = []
    spawned: list[float] = []
    found: dict[tuple[str, float], list[float]] = {(word, pause): [] for word in words for pause in (0.0, PAUSE)}
    for _round in range(rounds):
        once.append(callers.latencies(lambda: helper.make("once", number=1), calls)[0])
        spawned.append(callers.latencies(peers.spawn, fewer)[0])
        for word, pause in found:
            found[word, pause].append(callers.latencies(made[word], fewer, 10, pause)[0])
    sudo = {}
    if shutil.which("sudo"):
        with peers.Sudoers():
            sudo["sudo"] = 1e3 * callers.latencies(peers.sudo, 50, 5)[0]
    report.add("helper: pooled call with a journal, median", "µs", {OURS: 1e6 * statistics.median(once)})
    for word, what in (("fresh", "function in a fresh process"), ("true", "program (/bin/true)")):
        for pause, how in ((PAUSE, f"{1 / PAUSE:g} a second"), (0.0, "one after the other")):
            values = {
                OURS: 1e3 * statistics.median(found[word, pause]),
                **(sudo if word == "true" and not pause else {}),
            }
            report.add(f"helper: {what}, {how}, median", "ms", values, FRESH)
    least = {OURS: 1e3 * statistics.median(spawned)}
    report.add("helper: start and end of /bin/true without any helper, median", "ms", least)


def _rates(report: Report, rounds: int, helper: Helper, manager: peers.Manager, privsep: peers.Privsep | None) -> None:
    progress(f"helper: {CLIENTS} clients at once")
    rates: dict[str, list[float]] = {}
    programs = []
    for _round in range(rounds):
        rates.setdefault(OURS, []).append(callers.rate(helper.ping, CLIENTS, SECONDS))
        rates.setdefault("manager", []).append(callers.rate(manager.make, CLIENTS, SECONDS))
        if privsep is not None:
            rates.setdefault("privsep", []).append(float(str(privsep.ask("rate", SECONDS))))
        programs.append(callers.rate(lambda: helper.make("true"), CLIENTS, SECONDS))
    if shutil.which("sudo"):
        with peers.Sudoers():
            rates["sudo"] = [callers.rate(peers.sudo, CLIENTS, SECONDS)]
    values = {way: statistics.median(found) for way, found in rates.items()}
    report.add(f"helper: pooled calls in a second, {CLIENTS} clients", "number", values, RATE, HIGHER)
    if "sudo" in values:
        ratio = values[OURS] / values["sudo"]
        report.add("helper: the same : sudo's", "ratio", {OURS: ratio}, SUDO_RATIO, HIGHER)
    report.add(
        f"helper: programs in a second, {CLIENTS} clients", "number", {OURS: statistics.median(programs)}, None, HIGHER
    )


def _at_rest(report: Report) -> None:
    """Look at a helper before its first call, and with as many processes as calls at once have left."""
    progress("helper: at rest")
    from ansible_collections.holdfast.supervision.plugins.module_utils._helper import client

    with workplace() as base:
        helper = Helper(base)
        try:
            waiting = client.Helper(str(helper.socket))
            waiting.operations()
            time.sleep(0.5)
            # Afterwards, what it shares with its children would be counted for half.
            core = procs.proportional(helper.process.pid)
            before = procs.switches(helper.process.pid)
            time.sleep(IDLE)
            woken = procs.switches(helper.process.pid) - before
            waiting.close()
            threads = [threading.Thread(target=helper.make("wait")) for _number in range(CLIENTS)]
            for one in threads:
                one.start()
            for one in threads:
                one.join()
            everybody = helper.processes()
            together = sum(procs.proportional(pid) for pid in everybody)
        finally:
            helper.close()
    report.add("helper: memory (PSS) of the core alone", "MB", {OURS: core / 1e6}, CORE)
    words = f"helper: memory (PSS) of the core, the zygote and {len(everybody) - 2} processes of the pool"
    report.add(words, "MB", {OURS: together / 1e6}, FOUR)
    report.add(f"helper: wake-ups in {IDLE:g} s, one client connected", "number", {OURS: woken}, 0)


def _crowd(report: Report, helper: Helper) -> None:
    progress("helper: 200 clients at once")
    errors = []

    def one() -> None:
        try:
            call = helper.ping()
            for _number in range(20):
                call()
        except Exception as error:  # counted, whatever it is
            errors.append(error)

    threads = [threading.Thread(target=one) for _number in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report.add("helper: errors of 200 clients at once", "number", {OURS: len(errors)}, 0)


def _crash(report: Report, base: Path, rounds: int) -> None:
    """Kill a supervised helper: seconds until a call succeeds that was made right afterwards."""
    progress("helper: crash to the next good call")
    from embedded import Embedded

    from ansible_collections.holdfast.supervision.plugins.module_utils._helper import client

    # The helper of the rows above was stopped on purpose, and callers are told so until there is another one.
    (base / "run" / "down").unlink(missing_ok=True)
    suite = Embedded(0)
    try:
        suite.prepare()
        run = "#!/bin/sh\nexec " + " ".join(
            [collection.PYTHON, "-I", "-S", str(suite.runtime / "__main__.py"), "helper", str(base / "helper.json")]
        )
        suite.write("helper", suite.scan / "helper", f"{run}\n")
        suite.start()
        helper = client.Helper(str(base / "run" / "socket"), first_launch=20, pause=0.01, tries=500)
        helper.call("ping", {"number": 1})
        taken = []
        for _round in range(rounds):
            # Longer than the supervisor's bound for services that die at once.
            time.sleep(1.2)
            pid = suite.pid("helper")
            began = time.perf_counter()
            os.kill(pid, 9)
            helper.call("ping", {"number": 1})
            taken.append(time.perf_counter() - began)
    finally:
        suite.close()
    report.add("helper: crash to the next good call, median", "ms", {OURS: 1e3 * statistics.median(taken)}, AGAIN)
