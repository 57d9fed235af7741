# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What becomes of the memory of a worker that becomes a program. PRIVATE to the collection.

Whoever is the last to have some takes it apart, page by page, which for Python's was a third of a program's call. So another
process has it too, for a moment, and takes it apart while the program runs. That one is in the C library's usleep until it
ends: nothing of Python may run twice in the same memory.
"""

from __future__ import annotations

import ctypes
import os

from .._lean import signal
from .zygote import CLONE

# include/uapi/linux/sched.h
_CLONE_VM, _CLONE_PARENT, _CLONE_THREAD = 0x100, 0x8000, 0x10000
#: Microseconds in which a worker is a program, unless there is much else to do: then it takes its memory apart itself.
_MOMENT = 1000
_STACK = 16384

#: It keeps the interpreter's lock, so that there is nothing to be done after the exec.
_libc = ctypes.PyDLL(None)
#: Elsewhere stacks may grow the other way.
_clone = _libc.clone if os.uname().machine in CLONE else None
if _clone is not None:
    _clone.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
_usleep = ctypes.cast(_libc.usleep, ctypes.c_void_p)
_stack = ctypes.create_string_buffer(_STACK)


def leave(more: int = 0) -> None:
    """Have our memory stay for a moment, whatever becomes of us; to be called once. Where that can't be, it does not.

    Who has it is of our process group, and our parent's child as we are: no program has a child that it did not start.
    """
    if _clone is not None:
        flags = _CLONE_VM | _CLONE_PARENT | signal.SIGCHLD | more
        _clone(_usleep, ctypes.addressof(_stack) + _STACK, flags, _MOMENT)


def rehearse() -> None:
    """Go through what `leave` goes through, up to where the kernel refuses."""
    leave(_CLONE_THREAD)
