# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All the processes of a job, however they were started. PRIVATE to the collection.

Whoever keeps a job is the subreaper of what it runs: a process that goes to the background, and leaves its session, still
stays below it. What is left when the keeper itself was killed is found by a variable of its environment.
"""

from __future__ import annotations

import os
import signal

from .._supervise._embedded import identity

#: The variable by which the processes of a job are found, whoever is their parent; its value is the job's token.
MARK = "HOLDFAST_JOB"

# include/uapi/linux/prctl.h
_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Be the parent of everything below us whose own parent dies. Raises OSError."""
    # Only here: whoever just keeps jobs has no use for it.
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "PR_SET_CHILD_SUBREAPER")


def kill_below(pid: int) -> int:
    """Kill what descends from *pid*; gives how many there were. One that forks meanwhile is found the next time."""
    found = identity.below(pid)
    for one in found:
        _kill(one)
    return len(found)


def kill_marked(token: str) -> int:
    """Kill what carries the token of a job whose keeper is dead; gives how many there were."""
    wanted = f"{MARK}={token}".encode()
    count = 0
    for name in os.listdir("/proc"):
        if not name.isdecimal():
            continue
        try:
            # Killed by what was looked at, not by a number that may be somebody else's by then.
            descriptor = os.pidfd_open(int(name))
        except OSError:
            continue
        try:
            if wanted in identity.environment(int(name)).split(b"\0"):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                count += 1
        except OSError:
            pass
        finally:
            os.close(descriptor)
    return count


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
