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
import signal
import time

from .._supervise._embedded import identity

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: The variable by which the processes of a group are known: PID.STARTED of the one that began it.
MARK = "HOLDFAST_TENURE"

NAMESPACE = "pid_namespace"
GROUP = "process_group"
PROCESS = "process"

#: Seconds between two looks at a process group, of which no descriptor tells the end.
_PAUSE = 0.01


def describe(pid: int, started: int, containment: str) -> dict[str, Any]:
    """Give the record by which another process finds the tree below *pid*."""
    return {
        "boot": boot(),
        "namespace": identity.pid_namespace(),
        "pid": pid,
        "started": started,
        "containment": containment,
    }


def boot() -> str:
    """Give the number of this boot, as records have it."""
    return identity.boot_id().hex()


def visible(record: dict[str, Any]) -> bool:
    """Say whether the pids of *record* mean something here."""
    return bool(record["namespace"] == identity.pid_namespace())


def gone(record: dict[str, Any]) -> bool:
    """Say whether the tree of a visible *record* has ended, with all that was in it."""
    if record["boot"] != boot():
        return True
    if identity.alive(record["pid"], record["started"]):
        return False
    return record["containment"] != GROUP or not members(record["pid"])


def end(record: dict[str, Any], patience: float | None = None) -> bool:
    """Kill the tree of a visible *record*, whose guard is dead, and wait until it is gone.

    patience: seconds, None for ever. Gives whether it is gone.
    """
    deadline = None if patience is None else time.monotonic() + patience
    while not gone(record):
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            return False
        _kill_and_wait(record, left)
    return True


def _kill_and_wait(record: dict[str, Any], left: float | None) -> None:
    pid = record["pid"]
    if record["containment"] == GROUP:
        mark = f"{MARK}={pid}.{record['started']}".encode()
        for member in members(pid):
            # A group's number may come again, a mark does not: what has none is waited for, not killed.
            if mark in _environment(member):
                _kill(member)
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        time.sleep(_PAUSE)
        return
    try:
        # The pidfd is of the process that has the pid now: only if that is the one of the record it may be killed.
        if not identity.alive(pid, record["started"]):
            time.sleep(_PAUSE)
            return
        try:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        poll.poll(None if left is None else left * 1000)
    finally:
        os.close(descriptor)


def members(leader: int) -> list[int]:
    """Give the living processes of the group or session that *leader* began."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        pid = int(entry)
        process = identity.process(pid)
        if process is None or process[1] in "ZX":
            continue
        try:
            if leader in (os.getpgid(pid), os.getsid(pid)):
                found.append(pid)
        except OSError:
            continue
    return found


def _environment(pid: int) -> list[bytes]:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read().split(b"\0")
    except OSError:
        return []


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError:
        pass
