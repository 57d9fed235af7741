# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Descriptors on their way from a caller to a worker, and from a worker to a caller. PRIVATE to the collection.

The helper itself never has a descriptor of a caller's: to look at one, or just to close it, can take for ever, when it
is of a file system whose server is the caller. It gives the worker the connection, in which the message with them still
waits; the worker takes them out. So what a caller sends is bounded by what the kernel lets him have under way, it costs
the helper nothing, and it can hang a worker, which has a time limit.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time

from .._lean import json
from .._varlink import sockets
from .parameters import DESCRIPTORS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: First number of a descriptor that a worker is passed.
FIRST = 10
#: Seconds for which an answer waits while too many descriptors are under way, and between two looks.
_PATIENCE, _PAUSE = 5.0, 0.005
#: Characters of what is told of a descriptor.
_TOLD = 256

_KINDS = {
    "file": stat.S_ISREG,
    "directory": stat.S_ISDIR,
    "pipe": stat.S_ISFIFO,
    "socket": stat.S_ISSOCK,
    "character": stat.S_ISCHR,
    "block": stat.S_ISBLK,
}
_MODES = {"read": os.O_RDONLY, "write": os.O_WRONLY, "read_write": os.O_RDWR}


class Refused(Exception):
    """A descriptor is not what was declared, or there are too many or too few."""


# --- in the helper -----------------------------------------------------------------------------------------------


def hand_over(control: sockets.Socket, connection: int, length: int) -> None:
    """Give a worker a connection whose next *length* bytes came with descriptors. Raises OSError."""
    sockets.send(control, str(length).encode(), [connection])


def receive(control: sockets.Socket, size: int) -> tuple[bytes, int]:
    """Give the next message of a worker, and the descriptor that came with it or -1; b"" is its end. Raises OSError."""
    try:
        data, found = _take(control, size, 1, sockets.MSG_DONTWAIT)
    except Refused:
        return b"", -1
    return data, found[0] if found else -1


# --- in the worker -----------------------------------------------------------------------------------------------


def take(control: int, declared: dict[str, dict[str, Any]], values: dict[str, Any], inherit: bool) -> list[int]:
    """Take the descriptors that *values* name by their place, and put their numbers there; gives those.

    Then tells the helper what was passed, for its log. inherit: whether a program is to have them. Raises Refused and
    OSError; none is open then.
    """
    named = [key for key, one in declared.items() if one["type"] == "descriptor" and key in values]
    names = sorted(named, key=lambda key: int(values[key]))
    found: list[int] = []
    try:
        found = _fetch(control)
        if len(found) != len(names):
            raise Refused(f"descriptors: {len(names)} are named, and {len(found)} came")
        for place, key in enumerate(names):
            _judge(f"{key}: ", declared[key], found[place])
            # Out of the way of what a program expects below.
            command = fcntl.F_DUPFD if inherit else fcntl.F_DUPFD_CLOEXEC
            lifted = fcntl.fcntl(found[place], command, FIRST)
            os.close(found[place])
            found[place] = values[key] = lifted
        told = {key: os.readlink(f"/proc/self/fd/{values[key]}")[:_TOLD] for key in names}
        os.write(control, json.dumps({"passed": told}).encode())
    except BaseException:
        close(found)
        raise
    return found


def give(control: int, answer: bytes, descriptor: int) -> None:
    """Answer the helper, with a descriptor for the caller. Raises OSError.

    How many are under way, sent and not received, the kernel bounds for all processes of a user together, and so for a worker
    that has sent none.
    """
    end = _end(control)
    deadline = time.monotonic() + _PATIENCE
    try:
        while True:
            try:
                sockets.send(end, answer, [descriptor])
                return
            except OSError as error:
                if error.errno != errno.ETOOMANYREFS:
                    raise
                if time.monotonic() >= deadline:
                    raise OSError(error.errno, "processes of its user have too many descriptors under way") from None
            time.sleep(_PAUSE)
    finally:
        end.close()


def returned(declared: dict[str, Any], value: Any, passed: list[int]) -> int:
    """Give a descriptor of our own for what a function returned, a number or something that has one; that is closed.

    passed: those that are closed anyway. Raises AttributeError, TypeError, ValueError and OSError.
    """
    number = value if isinstance(value, int) and not isinstance(value, bool) else int(value.fileno())
    try:
        _judge("what it returned ", declared, number)
        return fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, FIRST)
    except Refused as error:
        raise ValueError(str(error)) from None
    finally:
        if number is not value:
            value.close()
        elif number not in passed:
            close([number])


def close(descriptors: list[int]) -> None:
    """Close what is still open of *descriptors*."""
    while descriptors:
        try:
            os.close(descriptors.pop())
        except OSError:
            pass  # Whoever was given it has closed it.


def _fetch(control: int) -> list[int]:
    """Take what waits in the connection that the helper has sent."""
    end = _end(control)
    try:
        length, connections = _take(end, 16, 1, 0)
    finally:
        end.close()
    if not connections:
        raise Refused("descriptors: the connection is gone")
    connection = sockets.Socket(sockets.AF_UNIX, sockets.SOCK_STREAM, 0, connections[0])
    try:
        # One more than there may be: that is too many, and not the right number.
        return _take(connection, int(length), DESCRIPTORS + 1, sockets.MSG_DONTWAIT)[1]
    finally:
        connection.close()


def _end(control: int) -> sockets.Socket:
    return sockets.Socket(sockets.AF_UNIX, sockets.SOCK_SEQPACKET, 0, os.dup(control))


def _take(end: sockets.Socket, size: int, most: int, flags: int) -> tuple[bytes, list[int]]:
    """Read a message and at most *most* descriptors. Raises Refused when there were more."""
    data, found, more = sockets.receive(end, size, most, flags)
    if more:
        close(found)
        raise Refused(f"descriptors: more than {most} came")
    return data, found


def _judge(name: str, declared: dict[str, Any], descriptor: int) -> None:
    """Raise Refused unless a descriptor is of the kind, and open for what is declared."""
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    if flags & os.O_PATH:
        raise Refused(f"{name}is open for nothing (O_PATH)")
    mode = os.fstat(descriptor).st_mode
    kinds = declared.get("kinds", ["file"])
    if not any(_KINDS[kind](mode) for kind in kinds):
        raise Refused(f"{name}is to be a descriptor of: {', '.join(kinds)}")
    access = declared.get("access", "read")
    opened = flags & os.O_ACCMODE
    if access != "any" and opened not in (_MODES[access], os.O_RDWR):
        raise Refused(f"{name}is to be open for {access.replace('_', ' and ')}")
