# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Functions of the C library for programs that stay. PRIVATE to the collection.

What Python has in `_ctypes`, below `ctypes`: that makes dozens of types, for which it loads a third of a megabyte that a
process keeps for life.
"""

from __future__ import annotations

import _ctypes
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class _Function(_ctypes.CFuncPtr):
    """A function that takes and gives C's int, and leaves errno."""

    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO


class Pointer(_ctypes._SimpleCData):
    """An address: `value`, an integer or None."""

    _type_ = "P"


class _Char(_ctypes._SimpleCData):
    _type_ = "c"


#: Gives what a function writes to that is given the address of an argument.
address_of = _ctypes.byref


def room(size: int) -> object:
    """Give so many bytes for a function to write to."""
    return (_Char * size)()


class Library:
    """A shared library by its name, or what this process has loaded anyway. Raises OSError."""

    def __init__(self, name: str | None = None) -> None:
        self._handle = _ctypes.dlopen(name, os.RTLD_NOW)  # type: ignore[arg-type]

    def find(self, name: str) -> Callable[..., int] | None:
        """Give the function *name*, None if there is none. Its arguments: C's ints, bytes for text, None for no address."""
        try:
            return _Function((name, self))  # type: ignore[arg-type]
        except AttributeError:
            return None

    def function(self, name: str) -> Callable[..., int]:
        """Give the function *name*. Raises OSError."""
        found = self.find(name)
        if found is None:
            raise OSError(38, f"{name}: {os.strerror(38)}")
        return found


def check(result: int, what: str) -> None:
    """Raise OSError if a function has given anything but 0."""
    if result != 0:
        number = _ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
