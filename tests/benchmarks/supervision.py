# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One life of a supervisor with many services: start, footprint, idleness, restarts, additions, stop.

Everything is measured from outside, the same way for every suite. A service is up when its own program runs, behind its
shell and whatever gives it its process state, and when its logger is there.
"""

from __future__ import annotations

import os
import signal
import statistics
import time
from typing import Any

import procs
from report import OURS, Report, progress
from suite import PROGRAM, Suite

#: Seconds of idleness that are looked at.
IDLE = 20.0
#: The number of service directories that svscan and runsvdir look at.
LARGEST = 1000
#: What ours has to reach, by the figure, the number of services and whether they have a process state.
LIMITS = {
    ("memory", 200, False): 20.0,
    ("memory", 1000, False): 24.0,
    ("wakeups", 200, False): 0.0,
    ("wakeups", 1000, False): 0.0,
    ("all_up", 200, False): 1.0,
    ("all_up", 1000, False): 4.0,
    ("all_up", 1000, True): 6.0,
    ("restart", 200, False): 5.0,
    ("restart", 200, True): 8.0,
    ("add", 200, False): 20.0,
}
#: What is shown: name, words, unit, factor.
SHOWN = (
    ("memory", "memory (PSS) without the services", "MB", 1e-6),
    ("alone", "memory, shared pages counted once", "MB", 1e-6),
    ("processes", "processes without the services", "number", 1),
    ("all_up", "all up", "s", 1),
    ("wakeups", f"wake-ups in {IDLE:g} s", "number", 1),
    ("restart", "crash to restarted, median", "ms", 1000),
    ("restart_worst", "crash to restarted, worst", "ms", 1000),
    ("add", "new directory to pid, median", "ms", 1000),
    ("stop", "stop all", "s", 1),
)


def measure(report: Report, suites: list[type[Suite]], count: int, state: bool) -> None:
    """Measure one life of every suite with *count* services."""
    lives = {}
    for kind in suites:
        progress(f"{kind.title}: {count} services{', with process state' if state else ''}")
        lives[kind.title] = life(kind(count, state))
    what = f"{count} with user, groups, limit" if state else str(count)
    for name, words, unit, factor in SHOWN:
        values = {title: figures[name] * factor for title, figures in lives.items() if name in figures}
        if OURS in values:
            report.add(f"{what}: {words}", unit, values, LIMITS.get((name, count, state)))


def life(suite: Suite, idle: float = IDLE) -> dict[str, Any]:
    """Measure *suite* from its start to its end; its processes and files are gone afterwards."""
    try:
        suite.prepare()
        suite.start()
        figures: dict[str, Any] = {"all_up": suite.wait_up()}
        settle(suite)
        if not suite.state:
            figures.update(footprint(suite))
            figures["wakeups"] = wakeups(suite, idle)
        restarts = [restart(suite, name) for name in suite.names[-suite.restarts :]]
        figures["restart"] = statistics.median(restarts)
        figures["restart_worst"] = max(restarts)
        if not suite.state and len(suite.names) + suite.additions < LARGEST:
            figures["add"] = statistics.median(add(suite, number) for number in range(suite.additions))
        # Those of the family that sleep after a start only then see a command.
        time.sleep(1.5)
        figures["stop"] = stop(suite)
    finally:
        suite.close()
    return figures


def settle(suite: Suite, patience: float = 15.0) -> None:
    """Wait until what follows a start is over: a second in which nobody woke up, if there is one."""
    deadline = time.monotonic() + patience
    while wakeups(suite, 1.5) and time.monotonic() < deadline:
        pass


def footprint(suite: Suite) -> dict[str, Any]:
    """Processes and memory (bytes) that supervision and logs cost.

    The proportional set size is smaller when unrelated programs share libraries or the interpreter; the other figure counts
    the pages of each file once, as if the suite had them for itself.
    """
    pids = suite.supervision()
    return {
        "memory": sum(procs.proportional(pid) for pid in pids),
        "alone": procs.counted_once(pids),
        "processes": len(pids),
    }


def wakeups(suite: Suite, seconds: float) -> int:
    """How many times any process of the suite got a processor in *seconds*."""
    pids = suite.supervision()
    before = sum(procs.switches(pid) for pid in pids)
    time.sleep(seconds)
    return sum(procs.switches(pid) for pid in pids) - before


def restart(suite: Suite, name: str) -> float:
    """Kill a service: seconds until its program, not only its shell, runs again."""
    old = suite.pid(name)
    began = time.perf_counter()
    os.kill(old, signal.SIGKILL)

    def again() -> bool:
        # Some suites show the pid of a child that only looks for a `finish` script first.
        new = suite.pid(name)
        return new not in (0, old) and procs.name(new) == PROGRAM

    procs.wait_until(again, 20, f"{suite.title}: restart of {name}", pause=0.0001)
    return time.perf_counter() - began


def add(suite: Suite, number: int) -> float:
    """Publish one more service directory: seconds until the service has a pid."""
    name = f"t{number:04}"
    beside = suite.base / f"{name}.new"
    suite.write(name, beside)
    began = time.perf_counter()
    for path in (beside, beside.with_name(f"{beside.name}.conf")):
        if path.exists():
            path.rename(suite.scan / path.name.replace(".new", ""))
    suite.announce()
    suite.names.append(name)
    procs.wait_until(lambda: suite.pid(name), 30, f"{suite.title}: {name} added", pause=0.0001)
    return time.perf_counter() - began


def stop(suite: Suite) -> float:
    """Stop all services: seconds until the last has gone."""
    pids = [suite.pid(name) for name in suite.names]
    began = time.perf_counter()
    suite.stop_all()
    for pid in pids:
        procs.wait_until(lambda pid=pid: not procs.alive(pid), 60, f"{suite.title}: stop")  # type: ignore[misc]
    return time.perf_counter() - began
