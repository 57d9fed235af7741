# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Locks of open file descriptions. PRIVATE to the collection.

Such a lock belongs to what open(2) has made, not to a process: a fork shares it, and it goes when the last descriptor
of it is closed or one of them unlocks. Closing another descriptor of the same file does nothing to it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct

# Missing in the fcntl module of Python 3.8; the numbers are the same on all Linux architectures.
_SETLK = getattr(fcntl, "F_OFD_SETLK", 37)
_SETLKW = getattr(fcntl, "F_OFD_SETLKW", 38)
_GETLK = getattr(fcntl, "F_OFD_GETLK", 36)
# struct flock with 64-bit offsets: type, whence, start, length, pid (must be 0).
_FLOCK = "hhqqi4x"


def lock(descriptor: int, at: int, shared: bool = False, wait: bool = False) -> bool:
    """Lock the byte *at*; give whether it is locked now, which with *wait* it always is. Raises OSError."""
    kind = fcntl.F_RDLCK if shared else fcntl.F_WRLCK
    try:
        fcntl.fcntl(descriptor, _SETLKW if wait else _SETLK, struct.pack(_FLOCK, kind, os.SEEK_SET, at, 1, 0))
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True


def lockers(file: os.stat_result) -> list[int]:
    """Give the processes that have a descriptor by which *file* is locked: all of them for root, else those of the caller.

    Looks at every descriptor of every process: for an answer to people, not for every day.
    """
    found = []
    for entry in os.listdir("/proc"):
        try:
            descriptors = os.listdir(f"/proc/{entry}/fd") if entry.isdigit() else []
        except OSError:
            continue
        if any(_locks(entry, descriptor, file) for descriptor in descriptors):
            found.append(int(entry))
    return found


def _locks(pid: str, descriptor: str, file: os.stat_result) -> bool:
    try:
        if not os.path.samestat(os.stat(f"/proc/{pid}/fd/{descriptor}"), file):
            return False
        with open(f"/proc/{pid}/fdinfo/{descriptor}", encoding="ascii") as info:
            return "lock:" in info.read()
    except OSError:
        return False


def lockable(descriptor: int, at: int, shared: bool = False) -> bool:
    """Say whether `lock` would succeed now; nothing is locked. Raises OSError."""
    kind = fcntl.F_RDLCK if shared else fcntl.F_WRLCK
    told = fcntl.fcntl(descriptor, _GETLK, struct.pack(_FLOCK, kind, os.SEEK_SET, at, 1, 0))
    return bool(struct.unpack(_FLOCK, told)[0] == fcntl.F_UNLCK)


def unlock(descriptor: int, at: int) -> None:
    """Unlock the byte *at* for all descriptors that share the lock. Raises OSError."""
    fcntl.fcntl(descriptor, _SETLK, struct.pack(_FLOCK, fcntl.F_UNLCK, os.SEEK_SET, at, 1, 0))
