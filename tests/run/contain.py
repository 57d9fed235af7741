# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep hold of all processes that a gate starts, so that none outlives it and nothing else is ever killed."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable

_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER

#: Masters of shared ssh connections go by themselves a minute after their last use.
_EXPECTED = ("ssh: ",)


def adopt_orphans() -> None:
    """Become the parent of every orphaned descendant of this process."""
    ctypes.CDLL(None, use_errno=True).prctl(_SUBREAPER, 1, 0, 0, 0)


def run(function: Callable[[], int]) -> int:
    """Call ``function`` in a child and give its exit code; meanwhile adopt and reap orphans, as an init does.

    When this process is asked to end by SIGTERM, all that is below it is killed first.
    """
    adopt_orphans()
    child = os.fork()
    if child == 0:
        # A shell starts background jobs with these ignored, nohup the last; what the tests start expects the default.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGQUIT, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        code = 1
        try:
            code = function()
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def stop(_signal: int, _frame: object) -> None:
        kill_descendants()
        os._exit(1)

    signal.signal(signal.SIGTERM, stop)
    while True:
        pid, status = os.wait()
        if pid == child:
            return os.waitstatus_to_exitcode(status)


def descendants() -> list[int]:
    """The living processes below this one, without zombies."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{entry}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
                if fields[0] != b"Z":
                    children.setdefault(int(fields[1]), []).append(int(entry))
    found: list[int] = []
    below = [os.getpid()]
    while below:
        below = [child for parent in below for child in children.get(parent, [])]
        found += below
    return found


def command_line(pid: int) -> str:
    """What the process was started as, for a person; empty when it has gone."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read().replace(b"\0", b" ").decode(errors="replace").strip()
    return ""


def left_running(patience: float = 3.0) -> list[str]:
    """End what still runs below this process; gives the command lines of what should have gone by itself."""
    deadline = time.monotonic() + patience
    remaining = descendants()
    while remaining and time.monotonic() < deadline:
        _reap()
        time.sleep(0.05)
        remaining = [pid for pid in descendants() if not command_line(pid).startswith(_EXPECTED)]
    guilty = [f"{pid}: {command_line(pid)}" for pid in remaining]
    kill_descendants()
    return guilty


def kill_descendants() -> None:
    """SIGKILL until nothing is left below this process."""
    for attempt in range(50):
        pids = descendants()
        for pid in pids:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        _reap()
        if not pids:
            return
        time.sleep(0.001 * attempt)


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
