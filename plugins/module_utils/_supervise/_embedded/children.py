# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The children of the supervisor and the processes that it adopted: who is told when one dies. PRIVATE to the collection."""

from __future__ import annotations

import fcntl
import os
import struct

from ..._lean import signal
from . import identity

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .loop import Loop

    #: Called once, with how the process ended.
    Exited = Callable[["Exit"], None]

NONE, EXITED, SIGNALLED, UNKNOWN = range(4)
KINDS = ("none", "exit", "signal", "unknown")

# include/uapi/linux/pidfd.h: _IOWR(0xFF, 11, struct pidfd_info) of 64 bytes, since Linux 6.13; the exit code since 6.15.
_PIDFD_GET_INFO = (3 << 30) | (64 << 16) | (0xFF << 8) | 11
_PIDFD_INFO_EXIT = 1 << 3


class Exit:
    """How a process ended. kind: EXITED (code is the exit code), SIGNALLED (code is the signal) or UNKNOWN."""

    __slots__ = ("code", "kind", "status")

    def __init__(self, status: int | None) -> None:
        """Take the wait status, None if nobody can know it."""
        self.status = status
        if status is None:
            self.kind, self.code = UNKNOWN, 0
        elif os.WIFSIGNALED(status):
            self.kind, self.code = SIGNALLED, os.WTERMSIG(status)
        else:
            self.kind, self.code = EXITED, os.WEXITSTATUS(status)

    @property
    def success(self) -> bool:
        """Say whether it ended with exit code 0."""
        return self.kind == EXITED and self.code == 0

    def __str__(self) -> str:
        if self.kind == EXITED:
            return f"exit code {self.code}"
        if self.kind == SIGNALLED:
            return f"signal {signal.name_of(self.code)}"
        return "exit status unknown"


class Children:
    """Everybody whose death is waited for."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._own: dict[int, tuple[Exited, Callable[[], None] | None]] = {}
        self._adopted: dict[int, int] = {}
        #: How many children somebody else is about to fork for us, and how those ended that did so before we heard of them.
        self.expected = 0
        self._early: dict[int, int] = {}

    def watch(self, pid: int, exited: Exited, dying: Callable[[], None] | None = None) -> None:
        """Call *exited* when our child *pid* has ended.

        dying is called before it is reaped, while its pid (and process group) can't be anybody else's.
        """
        status = self._early.pop(pid, None)
        if status is not None and not _is_child(pid):
            self._loop.soon(lambda: exited(Exit(status)))
            return
        self._own[pid] = (exited, dying)

    def adopt(self, pid: int, started: int, exited: Exited, dying: Callable[[], None] | None = None) -> bool:
        """Watch a process that an earlier supervisor started at *started*; False if it is not there any more.

        One that is our own child (after a re-exec) is watched as such.
        """
        found = identity.process(pid)
        if found is None or found[0] != started:
            return False
        if found[2] == os.getpid():
            self.watch(pid, exited, dying)
            return True
        if found[1] in "ZX":
            return False
        try:
            descriptor = os.pidfd_open(pid)
        except OSError:
            return False
        # The pid may have changed hands between the look and the open.
        if not identity.alive(pid, started):
            os.close(descriptor)
            return False
        self._adopted[pid] = descriptor
        self._loop.watch(descriptor, lambda _events: self._adopted_died(pid, started, exited, dying))
        return True

    def reap(self) -> None:
        """Collect all children that have ended, also ones that nobody asked about (orphans, as PID 1)."""
        if not self.expected:
            self._early.clear()
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if found is None:
                return
            pid = found.si_pid
            exited, dying = self._own.pop(pid, (None, None))
            if dying is not None:
                dying()
            _pid, status = os.waitpid(pid, 0)
            if exited is not None:
                exited(Exit(status))
            elif self.expected:
                self._early[pid] = status

    def _adopted_died(
        self, pid: int, started: int, exited: Exited, dying: Callable[[], None] | None, tries: int = 0
    ) -> None:
        if not tries:
            self._loop.forget(self._adopted[pid])
        elif pid not in self._adopted:
            return
        # A zombie shows its status until its parent looks; the kernel keeps it for holders of a pidfd afterwards.
        status = identity.zombie_status(pid, started)
        if status is None:
            status = _exit_status(self._adopted[pid])
        if status is None and tries < 5 and identity.start_time(pid) == started:
            self._loop.later(0.01, lambda: self._adopted_died(pid, started, exited, dying, tries + 1))
            return
        os.close(self._adopted.pop(pid))
        # Reaped by somebody else: the process group is still its own unless the pid is in use again.
        if dying is not None and identity.start_time(pid) in (0, started):
            dying()
        exited(Exit(status))


def _is_child(pid: int) -> bool:
    """Say whether we have such a child now: its number may have been that of another one."""
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _exit_status(descriptor: int) -> int | None:
    """Give the wait status of the dead process behind a pidfd where the kernel tells it, else None."""
    buffer = bytearray(struct.pack("<Q", _PIDFD_INFO_EXIT).ljust(64, b"\0"))
    try:
        fcntl.ioctl(descriptor, _PIDFD_GET_INFO, buffer)
    except OSError:
        return None
    if not struct.unpack_from("<Q", buffer)[0] & _PIDFD_INFO_EXIT:
        return None
    return int(struct.unpack_from("<i", buffer, 60)[0])
