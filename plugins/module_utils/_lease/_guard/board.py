# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a guard and the init of its service's pid namespace tell each other without words. PRIVATE to the collection.

A page of memory that both see. What is wanted stands there as a state and not as a message, so that nothing can be
overtaken, doubled or lost, however late init is. Whoever executes a program does not have it any more.
"""

from __future__ import annotations

import os
import struct

from ..._lean import signal

#: From the guard to init: look at the board.
LOOK = signal.SIGRTMIN + 2
#: Bytes of the page: the number of what is wanted, of what is reached, and the seconds of a warning. A number that is odd
#: means stopped. One byte each, as those are written at once.
_WANTED, _REACHED, _WARNING = 0, 1, 8


class Board:
    """One page, made before the fork."""

    __slots__ = ("_page",)

    def __init__(self) -> None:
        """Make it. Raises OSError."""
        # Only here: few guards have a board.
        import mmap

        self._page = mmap.mmap(-1, mmap.PAGESIZE)

    @property
    def wanted(self) -> int:
        """Give the number of what the guard wants."""
        return self._page[_WANTED]

    def want(self, stopped: bool) -> None:
        """Say, as the guard, whether the tree is to stand still. Nothing happens if that is wanted already."""
        number = self.wanted
        if number % 2 != stopped:
            self._page[_WANTED] = (number + 1) % 256

    def reach(self, number: int) -> None:
        """Say, as init, that what had this number is so."""
        self._page[_REACHED] = number

    @property
    def still(self) -> bool:
        """Say whether every process stands still, and will until something else is wanted."""
        return self.wanted % 2 == 1 and self._page[_REACHED] == self.wanted

    @property
    def warning(self) -> float:
        """Give the seconds in which the tree is killed, from when it was asked to end; 0 if nobody has said so."""
        seconds: float = struct.unpack_from("d", self._page, _WARNING)[0]
        return seconds

    def warn(self, seconds: float) -> None:
        """Say, as the guard, that the tree is about to be asked to end since its lease ends. To be said before that."""
        struct.pack_into("d", self._page, _WARNING, seconds)


def all_stopped() -> bool:
    """Say whether every thread of every other process of the namespace is stopped, or dead. False if nobody can say.

    One that a debugger has stopped is not: the debugger lets it go on. /proc is that of the namespace.
    """
    for name in os.listdir("/proc"):
        if not name.isdigit() or name == "1":
            continue
        try:
            for thread in os.listdir(f"/proc/{name}/task"):
                with open(f"/proc/{name}/task/{thread}/stat", "rb") as file:
                    if file.read().rpartition(b")")[2][1:2] not in b"TZX":
                        return False
        except (FileNotFoundError, ProcessLookupError):
            continue  # It has ended meanwhile.
        except OSError:
            return False
    return True
