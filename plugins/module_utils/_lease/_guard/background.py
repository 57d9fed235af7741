# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finds the process that a program has left in the background. PRIVATE to the collection."""

from __future__ import annotations

import os
import stat

from ..._supervise._embedded import identity

#: Bytes of a pid file that are read; a number and an end of line are far less.
_LONGEST = 64


def read(path: str) -> int | None:
    """Give the number in a pid file, None while there is none. The file is the service's: it may be anything."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        words = os.read(descriptor, _LONGEST).split()
    except OSError:
        return None
    finally:
        os.close(descriptor)
    if not words or not words[0].isdigit() or len(words[0]) > 10:
        return None
    return int(words[0])


def is_child(pid: int) -> bool:
    """Say whether a process is there, not dead already, and ours to collect: whoever started it has ended."""
    found = identity.process(pid)
    return found is not None and found[1] not in "ZX" and found[2] == os.getpid()
