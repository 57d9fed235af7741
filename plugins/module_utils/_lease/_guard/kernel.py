# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""System calls that Python does not have. PRIVATE to the collection."""

from __future__ import annotations

import fcntl
import os
import struct
import time

from ..._lean import libc, signal
from ..._lean.libc import check

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_CLONE_NEWPID, _CLONE_NEWNS = 0x20000000, 0x00020000
_MS_REC, _MS_SLAVE = 0x4000, 0x80000
_TIMER_ABSTIME = 1
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 2, 4, 8

_libc = libc.Library()
_prctl, _unshare, _setns, _mount = (_libc.function(name) for name in ("prctl", "unshare", "setns", "mount"))


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends. A change of user takes that back. Raises OSError."""
    check(_prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0), "prctl(PR_SET_PDEATHSIG)")


def kill_group_at_end_of(pipe: int) -> None:
    """Have the kernel kill our process group when nobody has the other end of *pipe* any more, and somebody this one. Raises OSError.

    fcntl(2): F_SETSIG, F_SETOWN, O_ASYNC. It is ours to do so for processes of our user.
    """
    fcntl.fcntl(pipe, fcntl.F_SETSIG, int(signal.SIGKILL))
    fcntl.fcntl(pipe, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(pipe, fcntl.F_SETFL, fcntl.fcntl(pipe, fcntl.F_GETFL) | os.O_ASYNC)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends. Raises OSError."""
    check(_prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl(PR_SET_CHILD_SUBREAPER)")


def next_child_in_new_pid_namespace() -> None:
    """Let the next child be the init of a pid namespace. After its death no further child can be made. Raises OSError."""
    check(_unshare(_CLONE_NEWPID), "unshare(CLONE_NEWPID)")


def children_in(namespace: int) -> None:
    """Let children be in the pid namespace of this descriptor from now on. Raises OSError."""
    check(_setns(namespace, _CLONE_NEWPID), "setns(CLONE_NEWPID)")


def own_proc() -> None:
    """Give this process, and what comes of it, a /proc that shows its own pid namespace. Raises OSError.

    Mounts of the host still arrive here, those that are made here stay here.
    """
    check(_unshare(_CLONE_NEWNS), "unshare(CLONE_NEWNS)")
    check(_mount(b"none", b"/", None, _MS_REC | _MS_SLAVE, None), "mount(/)")
    check(_mount(b"proc", b"/proc", b"proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC, None), "mount(/proc)")


class DeadMan:
    """A timer of the kernel that kills this process: stopped, frozen (not by a cgroup v1), or with no CPU to run on.

    POSIX timers end with an exec, and a forked child has none. The clock counts suspension too. timer_create(2); the
    signal goes to the process, whichever thread runs.
    """

    def __init__(self) -> None:
        """Make the timer, not armed. Raises OSError."""
        # Where the C library has no timers (glibc before 2.34), another one has.
        library = _libc if _libc.find("timer_create") else libc.Library("librt.so.1")
        self._settime = library.function("timer_settime")
        # struct sigevent: sigval, signal, how (SIGEV_SIGNAL is 0), and room.
        event = struct.pack("Pii", 0, int(signal.SIGKILL), 0).ljust(64, b"\0")
        self._timer = libc.Pointer()
        check(
            library.function("timer_create")(time.CLOCK_BOOTTIME, event, libc.address_of(self._timer)), "timer_create"
        )

    def arm(self, when: float | None) -> None:
        """Die at *when* (CLOCK_BOOTTIME), at once if that is past; None: not any more. Raises OSError."""
        # struct itimerspec: interval, value; a value of 0 disarms.
        seconds, rest = divmod(int(when * 1e9), 10**9) if when is not None else (0, 0)
        value = struct.pack("llll", 0, 0, seconds, rest)
        check(self._settime(self._timer, _TIMER_ABSTIME, value, None), "timer_settime")
