# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes that call something as often as they can, and how long that took them."""

from __future__ import annotations

import gc
import json
import os
import statistics
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

#: The unprivileged user who calls: `daemon`, whom every system has.
CALLER = 1


def latencies(
    make: Callable[[], Callable[[], object]], count: int, warm: int = 50, pause: float = 0.0
) -> tuple[float, float]:
    """Call *count* times in a process of another user, every *pause* seconds: median and 99th percentile, in seconds."""
    (taken,) = _together([lambda: _timed(make(), count, warm, pause)])
    taken.sort()
    return statistics.median(taken), taken[int(len(taken) * 0.99)]


def rate(make: Callable[[], Callable[[], object]], clients: int, seconds: float) -> float:
    """Have *clients* processes call for *seconds*: calls in a second, of all."""
    return sum(_together([lambda: _counted(make(), seconds)] * clients)) / seconds


@contextmanager
def awake() -> Iterator[None]:
    """Keep all processors from sleeping, by work that everybody else goes before."""
    pids = []
    for _number in os.sched_getaffinity(0):
        pid = os.fork()
        if pid == 0:
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
            while os.getppid() != 1:
                for _turn in range(100000):
                    pass
            os._exit(0)
        pids.append(pid)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, 9)
            os.waitpid(pid, 0)


def _timed(call: Callable[[], object], count: int, warm: int, pause: float) -> list[float]:
    for _number in range(warm):
        call()
    taken = []
    clock = time.perf_counter
    for _number in range(count):
        if pause:
            time.sleep(pause)
        began = clock()
        call()
        taken.append(clock() - began)
    return taken


def _counted(call: Callable[[], object], seconds: float) -> int:
    call()
    count = 0
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        call()
        count += 1
    return count


def _together(works: list[Callable[[], Any]]) -> list[Any]:
    """Do each in a process of its own, as the caller. Raises RuntimeError when one fails."""
    started = []
    for work in works:
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.close(read)
                os.setgroups([])
                os.setresgid(CALLER, CALLER, CALLER)
                os.setresuid(CALLER, CALLER, CALLER)
                gc.disable()
                text = json.dumps(work())
                with os.fdopen(write, "w") as out:
                    out.write(text)
                os._exit(0)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(1)
        os.close(write)
        started.append((pid, read))
    results = []
    for pid, read in started:
        with os.fdopen(read) as answer:
            text = answer.read()
        _pid, status = os.waitpid(pid, 0)
        if status:
            raise RuntimeError(f"a caller failed: {status}")
        results.append(json.loads(text))
    return results
