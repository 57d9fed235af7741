# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Syncing of rotated files beside the loop, so that one log's rotation does not keep the others waiting."""

from __future__ import annotations

import _thread
import os

MARKED = 0o744
_MOST_PENDING = 16


def seal(descriptor: int) -> None:
    """Bring a finished file to the disk, then mark it complete (mode 0744), then close it."""
    try:
        os.fsync(descriptor)
        os.fchmod(descriptor, MARKED)
    except OSError:
        pass  # Without the mark the next start treats the file as possibly incomplete, which is the truth.
    finally:
        os.close(descriptor)


class Sealer:
    """A thread that seals files, present only while there are some."""

    def __init__(self) -> None:
        self._lock = _thread.allocate_lock()
        self._pending: list[int] = []
        self._idle = _thread.allocate_lock()
        self._running = False

    def seal(self, descriptor: int) -> None:
        """Take over ``descriptor``. With many files under way the caller does the work: the disk cannot keep up."""
        with self._lock:
            if len(self._pending) < _MOST_PENDING:
                self._pending.append(descriptor)
                if self._running:
                    return
                try:
                    self._idle.acquire()
                    self._running = True
                    _thread.start_new_thread(self._run, ())
                    return
                except RuntimeError:  # No thread to be had.
                    self._running = False
                    self._idle.release()
                    self._pending.pop()
        seal(descriptor)

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._pending:
                    self._running = False
                    self._idle.release()
                    return
                descriptor = self._pending.pop(0)
            seal(descriptor)

    def wait(self) -> None:
        """Return when all files are sealed."""
        with self._idle:
            pass
