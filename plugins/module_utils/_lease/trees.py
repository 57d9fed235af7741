# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The process tree that a lease is tied to: who it is, whether it lives, and its end. PRIVATE to the collection.

A lock alone cannot tell that a tree is gone. When the kernel ends a process, it closes the process's descriptors first
and only then lets its children, or the processes of the pid namespace that it was the init of, know. So a lock held
by guard and init alone is free while the service may still be running, for a moment that nothing bounds. The next
holder therefore waits for the tree as well: the init of a pid namespace becomes a zombie only after everything in its
namespace has been collected, and a pidfd tells that.
"""

from __future__ import annotations

import os
import select
import time

from .._lean import signal
from .._supervise._embedded import identity

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

#: The variable by which the processes of a group are known: PID.STARTED of the one that began it.
MARK = "HOLDFAST_TENURE"

NAMESPACE = "pid_namespace"
GROUP = "process_group"
PROCESS = "process"
EXEC = "exec"

#: Looks at all processes of a host on which something is started all the time: at each of them, and at those that are new.
_LOOKS, _QUICK_LOOKS = 5, 20
#: Processes that are started while we look, of which numbers that are given anew are surely not all numbers.
_FEW = 10_000
#: Seconds between two looks at what no descriptor tells the end of.
_PAUSE = 0.01


def describe(pid: int, started: int, containment: str) -> dict[str, Any]:
    """Give the record by which another process finds the tree below *pid*."""
    return {
        "boot": boot(),
        "namespace": identity.pid_namespace(),
        "clock": identity.time_namespace(),
        "pid": pid,
        "started": started,
        "containment": containment,
    }


def describe_self() -> dict[str, Any]:
    """Give the record of the calling process, which is going to be its tree: what it starts from now on belongs to that."""
    pid = os.getpid()
    ticks = time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK")
    return {**describe(pid, identity.start_time(pid), EXEC), "began": int(ticks) - 1}


#: What `boot` has read once.
_boot: list[str] = []


def boot() -> str:
    """Give the number of this boot, as records have it."""
    if not _boot:
        _boot.append(identity.boot_id().hex())
    return _boot[0]


def visible(record: dict[str, Any]) -> bool:
    """Say whether the pids and start times of *record* mean something here. An older guard did not say what its clock was."""
    if record["namespace"] != identity.pid_namespace():
        return False
    ours = identity.time_namespace()
    return bool(record.get("clock", ours) == ours)


def gone(record: dict[str, Any]) -> bool:
    """Say whether the tree of a visible *record* has ended, with all that was in it."""
    return not remaining(record)


def remaining(record: dict[str, Any]) -> list[int]:
    """Give the processes of the tree of a visible *record* that have to end: the first one, then what it has left behind."""
    if record["boot"] != boot():
        return []
    if identity.alive(record["pid"], record["started"]):
        return [record["pid"]]
    if record["containment"] not in (GROUP, EXEC):
        return []
    # Whoever looks may have been started by what he looks for.
    ours, traces = (os.getpid(), os.getppid()), _traces(record)
    return _search(traces[1], lambda pid: pid not in ours and _has(traces, pid))


def _search(leader: int, wanted: Callable[[int], bool]) -> list[int]:
    """Give the living processes that are *wanted*; if that cannot be said, and the group *leader* is not empty, its leader.

    Who forks and ends while we look shows neither himself nor his child. So a look that finds nobody counts only if nothing
    was forked on the host meanwhile. The later looks are quick: who was not wanted once never will be, unless his number has been given anew.
    """
    seen: set[int] = set()
    first, last = _forks(), _last_pid()
    for _unused in range(_LOOKS if last < 0 else _QUICK_LOOKS):
        forks, now = _forks(), _last_pid()
        if last < 0 or forks - first > _FEW:
            seen.clear()
        found = []
        for pid in _all():
            # Numbers are given in turn, and begin anew after the greatest.
            if pid in seen and not (last < pid <= now if last <= now else pid > last or pid <= now):
                continue
            if wanted(pid):
                found.append(pid)
            else:
                seen.add(pid)
        if found or _forks() == forks:
            return found
    try:
        if leader > 0:
            os.killpg(leader, 0)
    except ProcessLookupError:
        return []
    except PermissionError:
        pass
    return [leader] if leader > 0 else []


def _forks() -> int:
    """Give how many processes and threads this boot has had."""
    with open("/proc/stat", "rb") as file:
        return next((int(line.split()[1]) for line in file if line.startswith(b"processes ")), -1)


def _last_pid() -> int:
    """Give the number that a process or thread of our pid namespace was given last, -1 where the kernel does not tell."""
    try:
        with open("/proc/sys/kernel/ns_last_pid", "rb") as file:
            return int(file.read())
    except (OSError, ValueError):
        return -1


def end(record: dict[str, Any], patience: float | None = None) -> bool:
    """Kill the tree of a visible *record*, whose guard is dead, and wait until it is gone.

    One that had no guard is nobody's to kill, and only waited for. patience: seconds, None for ever. Gives whether it is gone.
    """
    return _outlast(record, patience, kill=record["containment"] != EXEC)


def outlast(record: dict[str, Any], patience: float | None = None) -> bool:
    """Wait until the tree of a visible *record* is gone, and do nothing to it. Gives whether it is, after *patience* seconds."""
    return _outlast(record, patience, kill=False)


def _outlast(record: dict[str, Any], patience: float | None, kill: bool) -> bool:
    deadline = None if patience is None else time.monotonic() + patience
    while True:
        left = None if deadline is None else deadline - time.monotonic()
        there = remaining(record)
        if not there:
            return True
        if left is not None and left <= 0:
            return False
        if kill and record["containment"] == GROUP:
            mark = _mark(record)
            for member in there:
                # A group's number may come again, a mark does not: what has none is waited for, not killed.
                if mark in _environment(member):
                    _kill(member)
        _wait(record, there[0], left, kill)


def _wait(record: dict[str, Any], pid: int, left: float | None, kill: bool) -> None:
    """Wait for the end of a process of the tree, *left* seconds at most, or for a moment if no descriptor tells it."""
    first = pid == record["pid"]
    if not first and record["containment"] != EXEC:
        time.sleep(_PAUSE)
        return
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        time.sleep(_PAUSE)
        return
    try:
        # The pidfd is of the process that has the pid now: only if that is the one that is meant it may be killed.
        if not (identity.alive(pid, record["started"]) if first else _has(_traces(record), pid)):
            # It may be dead and not collected, and others of its group not seen on a host that starts something all the time.
            time.sleep(_PAUSE)
            return
        try:
            if kill:
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        poll.poll(None if left is None else left * 1000)
    finally:
        os.close(descriptor)


def own_mark() -> dict[str, str]:
    """Give the variable by which those are known that come from the calling process."""
    return {MARK: f"{os.getpid()}.{identity.start_time(os.getpid())}"}


def _mark(record: dict[str, Any]) -> bytes:
    """Give that of the first process of *record*, as it is in environments."""
    return f"{MARK}={record['pid']}.{record['started']}".encode()


def _traces(record: dict[str, Any]) -> tuple[int, int, bytes]:
    """Give what tells that a process comes from the first one of *record*, which is dead: when it began, group or session, mark."""
    # While anything of a group lives, no other process gets its number.
    number = record["pid"] if identity.start_time(record["pid"]) in (0, record["started"]) else -1
    return record.get("began", record["started"]), number, _mark(record)


def _has(traces: tuple[int, int, bytes], pid: int) -> bool:
    """Say whether a living process has these traces. Only root sees the mark of other users' processes."""
    began, number, mark = traces
    found = identity.kin(pid)
    # Most are older: their environment, which takes longer, is not looked at.
    if found is None or found[1] in "ZX" or found[0] < began:
        return False
    return number in found[2:] or mark in _environment(pid)


def _all() -> Iterator[int]:
    return (int(entry) for entry in os.listdir("/proc") if entry.isdigit())


def _environment(pid: int) -> list[bytes]:
    return identity.environment(pid).split(b"\0")


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError:
        pass
