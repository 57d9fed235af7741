# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Copies of descriptors that are out of the way of the numbers that a service is given. PRIVATE to the collection."""

from __future__ import annotations

import errno
import fcntl
import os
import resource

from ..interface import LeaseError

#: Where they are put if the limit of open files allows it, and how much room is left below the limit if it does not.
_ABOVE, _ROOM = 300, 24


def lift(descriptor: int, least: int = 0, inheritable: bool = False) -> int:
    """Copy *descriptor* to a number that is *least* or more, and out of the way if that can be. Raises LeaseError, OSError."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    above = _ABOVE if limit == resource.RLIM_INFINITY else min(_ABOVE, limit - _ROOM)
    command = fcntl.F_DUPFD if inheritable else fcntl.F_DUPFD_CLOEXEC
    try:
        return fcntl.fcntl(descriptor, command, max(least, above))
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EMFILE):
            raise
        raise LeaseError(
            f"its limit of open files (nofile, {limit}) is too low for the descriptors of a guard, which lie above {least}: "
            "raise that of the supervisor"
        ) from None


def make_room() -> None:
    """Have the kernel's table of our descriptors reach to where `lift` puts them. To be called while there is one thread.

    With two the kernel waits for all processors before it exchanges the table for a longer one, which takes 10 ms and more.
    Raises LeaseError, OSError.
    """
    os.close(lift(0))


def move(descriptor: int, least: int = 0) -> int:
    """Do the same, and close *descriptor*, also if there is no room. Raises LeaseError, OSError."""
    try:
        return lift(descriptor, least)
    finally:
        os.close(descriptor)
