# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Linux capabilities: giving up all but some, for good. PRIVATE to the collection.

Both halves matter. The bounding set says what a program that root executes can get; the sets of the process say what it
has now. A child that runs as another user keeps what it may keep by the ambient set.
"""

from __future__ import annotations

import ctypes
import os
import struct

from .._lean import signal
from .capability_names import NAMES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# include/uapi/linux/prctl.h, include/uapi/linux/securebits.h
_PR_SET_PDEATHSIG, _PR_SET_KEEPCAPS, _PR_CAPBSET_READ, _PR_CAPBSET_DROP = 1, 8, 23, 24
_PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 38, 47
_AMBIENT_RAISE, _AMBIENT_CLEAR = 2, 4
_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)
_capget, _capset = _libc.capget, _libc.capset
# Said once, so that a call does not have to make an object for each number: a worker makes fifty on its way.
_libc.prctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong)


def no_new_privileges() -> None:
    """Let no program executed from now on gain anything by set-uid bits or file capabilities. Raises OSError."""
    _prctl("no_new_privs", _PR_SET_NO_NEW_PRIVS, 1)


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies; goes at once if that is not *parent* any more.

    To be said last: another user or another set of capabilities takes it back. Raises OSError.
    """
    _prctl("parent death signal", _PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(111)


def _last() -> int:
    """Give the number of the last capability that this kernel knows."""
    try:
        with open("/proc/sys/kernel/cap_last_cap", encoding="ascii") as file:
            return int(file.read())
    except OSError:
        return len(NAMES) - 1


_LAST = _last()
#: What may still be in the bounding set: a process that was forked takes over what its parent has taken out.
_bounding = set(range(_LAST + 1))


def rehearse() -> None:
    """Go through what `become` goes through, and change nothing."""
    _prctl("bounding set", _PR_CAPBSET_READ, 0)
    os.setresgid(-1, -1, -1)
    os.setresuid(-1, -1, -1)
    header, sets = _header_and_sets([0, 1])
    _capget(header, sets)


def bound(kept: list[int]) -> None:
    """Take all but *kept* out of the bounding set. Needs CAP_SETPCAP. Raises OSError."""
    for number in sorted(_bounding.difference(kept)):
        _prctl(f"capability {number}", _PR_CAPBSET_DROP, number)
        _bounding.discard(number)
    _prctl("ambient set", _PR_CAP_AMBIENT, _AMBIENT_CLEAR)


def become(uid: int, gid: int, groups: list[int], kept: list[int]) -> None:
    """Be *uid* with the capabilities *kept* and no others; groups first, while that is still allowed. Raises OSError."""
    _prctl("keepcaps", _PR_SET_KEEPCAPS, 1)
    os.setgroups(groups)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    only(kept)
    if uid != 0:
        for number in kept:
            _prctl(f"ambient capability {number}", _PR_CAP_AMBIENT, _AMBIENT_RAISE, number)


def only(kept: list[int]) -> None:
    """Have *kept* permitted, effective and inheritable, and nothing else. Raises OSError."""
    if _capset(*_header_and_sets(kept)) != 0:
        raise OSError(ctypes.get_errno(), f"capset: {os.strerror(ctypes.get_errno())}")


def _header_and_sets(kept: list[int]) -> tuple[Any, Any]:
    mask = sum(1 << number for number in kept)
    low, high = mask & 0xFFFFFFFF, mask >> 32
    header, sets = struct.pack("<Ii", _VERSION_3, 0), struct.pack("<6I", low, low, low, high, high, high)
    # Buffers of our own, since the kernel may write to them.
    return ctypes.create_string_buffer(header, len(header)), ctypes.create_string_buffer(sets, len(sets))


def _prctl(what: str, option: int, first: int, second: int = 0) -> None:
    if _libc.prctl(option, first, second, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")
