# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Waiting for a service beside an init that is not ours. PRIVATE to the collection."""

from __future__ import annotations

import os
import select
import signal
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

#: How long one run of `check` may take, in seconds; what the embedded supervisor gives it.
CHECK_TIMEOUT = 10.0
#: Seconds between two looks at the file of readiness: at first, and at most.
_LOOK, _LONG_LOOK = 0.01, 0.25


def notified(path: str, process: int) -> bool:
    """Wait for a newline in the file *path*; False when the process of the pidfd *process* ends first."""
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        pause = _LOOK
        # What it said before it ended counts no more.
        while not ended(process, pause):
            said = os.read(file, 4096)
            if b"\n" in said:
                return True
            if not said:
                pause = min(pause * 1.2, _LONG_LOOK)
        return False
    finally:
        os.close(file)


def checked(program: str, interval: float, process: int) -> bool:
    """Run *program* until it ends with 0, *interval* seconds between two runs; False when *process* ends first."""
    while True:
        if finished([program], CHECK_TIMEOUT, lambda: ended(process, 0.0)) == 0:
            return not ended(process, 0.0)
        if ended(process, interval):
            return False


def finished(command: list[str], timeout: float, given_up: Callable[[], bool] | None = None) -> int | None:
    """Run a command in a process group of its own and give its exit code, negative after a signal.

    None when it took longer than *timeout* seconds (0: any time) or *given_up* said so; its group is killed then.
    """
    pid = os.fork()
    if pid == 0:
        try:
            os.setpgid(0, 0)
            os.execv(command[0], command)
        except OSError:
            os._exit(127)
    deadline = time.monotonic() + timeout if timeout else None
    process = os.pidfd_open(pid)
    try:
        while not ended(process, 0.1):
            late = deadline is not None and time.monotonic() >= deadline
            if late or (given_up is not None and given_up()):
                _kill_group(pid)
                os.waitpid(pid, 0)
                return None
    finally:
        os.close(process)
    status = os.waitpid(pid, 0)[1]
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)


def ended(process: int, timeout: float) -> bool:
    """Tell whether the process of a pidfd ends within *timeout* seconds."""
    return bool(select.select([process], [], [], timeout)[0])


def _kill_group(pid: int) -> None:
    for send in (os.killpg, os.kill):
        try:
            send(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
