# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One thread that asks the store, so that the guard's loop never waits for it. PRIVATE to the collection.

A thread and no process: it shares the driver's state and costs no memory. It never keeps the guard from anything: one
that hangs means that nothing is renewed, for which the loop, and behind it the kernel's timer, end the service. It is
made before the pid namespace, since afterwards the kernel makes none. Whoever forks does so while it is idle, so that
no lock of the interpreter is held in the child by a thread that is not there.
"""

from __future__ import annotations

import _thread
import os
from _collections import deque  # type: ignore[import-not-found]

from ..interface import LeaseError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Optional

    from ..._supervise._embedded.loop import Loop

    Work = Callable[[], object]
    Done = Callable[[Optional[LeaseError]], None]


def attempt(work: Work) -> LeaseError | None:
    """Do it and give what went wrong. A driver's own fault is a failed call, and must not end the guard."""
    try:
        work()
    except LeaseError as error:
        return error
    except Exception as error:
        return LeaseError(f"{type(error).__name__}: {error}")
    return None


class Worker:
    """Does work in its thread, one piece after the other, and tells the loop how it went."""

    def __init__(self, loop: Loop) -> None:
        """Start the thread. Raises RuntimeError, OSError."""
        self._todo: deque[tuple[Work, Done]] = deque()
        self._finished: deque[tuple[Done, LeaseError | None]] = deque()
        self._given, self._give = os.pipe2(os.O_CLOEXEC)
        self._told, self._tell = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._pending = 0
        loop.watch(self._told, self._collect)
        _thread.start_new_thread(self._run, ())

    @property
    def idle(self) -> bool:
        """Say whether everything that was given has been done, and its outcome told."""
        return self._pending == 0

    def do(self, work: Work, done: Done) -> None:
        """Do *work* after what was given before, and call *done* from the loop with what went wrong, None if nothing."""
        self._pending += 1
        self._todo.append((work, done))
        os.write(self._give, b"w")

    def _run(self) -> None:
        while True:
            os.read(self._given, 1)
            work, done = self._todo.popleft()
            self._finished.append((done, attempt(work)))
            os.write(self._tell, b"d")

    def _collect(self, _events: int) -> None:
        for _unused in os.read(self._told, 4096):
            done, error = self._finished.popleft()
            self._pending -= 1
            done(error)
