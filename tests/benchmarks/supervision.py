# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One life of a supervisor with many services: start, footprint, idleness, restarts, additions, stop.

Everything is measured from outside, the same way for every suite.
"""

from __future__ import annotations

import os
import signal
import statistics
import time
from typing import Any

import procs
from suite import PROGRAM, Suite

#: Seconds of idleness that are looked at.
IDLE = 20.0


def life(suite: Suite, idle: float = IDLE) -> dict[str, Any]:
    """Measure *suite* from its start to its end; its processes and files are gone afterwards."""
    try:
        suite.prepare()
        suite.start()
        figures: dict[str, Any] = {"all_up": suite.wait_up()}
        settle(suite)
        figures.update(footprint(suite))
        figures["wakeups"] = wakeups(suite, idle)
        restarts = [restart(suite, name) for name in suite.names[-suite.restarts :]]
        figures["restart"] = statistics.median(restarts)
        figures["restart_worst"] = max(restarts)
        if not suite.state and len(suite.names) < 1000:
            figures["add"] = statistics.median(add(suite, number) for number in range(suite.additions))
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
    """Memory (proportional set size, bytes) and processes that supervision and logs cost."""
    pids = suite.supervision()
    return {"memory": sum(procs.pss(pid) for pid in pids), "processes": len(pids)}


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
    procs.wait_until(lambda: suite.pid(name) not in (0, old), 20, f"{suite.title}: restart of {name}", pause=0.0001)
    new = suite.pid(name)
    procs.wait_until(lambda: procs.name(new) == PROGRAM, 20, f"{suite.title}: {name} runs", pause=0.0001)
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
