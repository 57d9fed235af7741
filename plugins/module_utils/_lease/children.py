# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Processes of ours beside a guard that execute nothing. PRIVATE to the collection."""

from __future__ import annotations

import fcntl
import os

from .._lean import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def forked(work: Callable[[], object]) -> int:
    """Do *work* in a child, in which all signals are blocked, and which ends afterwards; give its pid. Raises OSError.

    Nothing of the caller goes on in the child, whatever *work* raises.
    """
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if not pid:
            try:
                work()
            finally:
                os._exit(1)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return pid


def keep_only(descriptor: int) -> int:
    """In such a child: close all that is inherited but *descriptor*, and give its number from now on. Raises OSError.

    Standard input and output lead nowhere.
    """
    # Out of the way of the standard numbers first: a guard may have been started without those.
    kept = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 4)
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    kept = os.dup2(kept, 3, inheritable=False)
    os.closerange(4, max(map(int, os.listdir("/proc/self/fd"))) + 1)
    return kept


def stand_aside(title: bytes) -> None:
    """In such a child: leave the guard's session, and be called *title* (15 bytes at most). Raises OSError."""
    # Not in the guard's process group: whoever kills that as a whole is to leave this one behind.
    os.setsid()
    with open("/proc/self/comm", "wb", buffering=0) as told:
        told.write(title)
