# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the running kernel can do for supervision, leases and the helper, found out by asking it. PRIVATE to the collection."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import platform
import socket
import struct
from collections.abc import Callable
from typing import Any

from .look import Look

# Numbers from 424 on are the same on every architecture (include/uapi/asm-generic/unistd.h).
_CALLS = {
    "pidfd_send_signal": 424,
    "clone3": 435,
    "close_range": 436,
    "openat2": 437,
    "pidfd_getfd": 438,
    "landlock": 444,
}
# include/uapi/asm-generic/socket.h; the older architectures that have another number say that there is none.
_SO_PEERPIDFD = 77
# include/uapi/linux/pidfd.h: _IOWR(0xFF, 11, struct pidfd_info), of which the first version has 64 bytes.
_PIDFD_GET_INFO, _PIDFD_INFO_EXIT, _PIDFD_INFO_SIZE = 0xC040FF0B, 1 << 3, 64


def kernel(look: Look) -> dict[str, Any]:
    """Give *release*, *architecture*, *boot_id* and *features*: name to whether the kernel lets us have it."""
    return {
        "release": platform.release(),
        "architecture": platform.machine(),
        "boot_id": look.text("proc/sys/kernel/random/boot_id"),
        "security_modules": [name for name in look.text("sys/kernel/security/lsm").split(",") if name],
        "features": features(look),
    }


def features(look: Look) -> dict[str, bool]:
    """Ask for each feature. None of the questions changes anything."""
    found = {name: _has_call(number) for name, number in _CALLS.items()}
    found["pidfd_open"] = _works(_pidfd)
    found["pidfd_exit_status"] = _works(_exit_status)
    found["peer_pidfd"] = _works(_peer_pidfd)
    found["ofd_locks"] = _works(_ofd_lock)
    found["boottime_timers"] = _works(_boottime_timer)
    found["pid_namespaces"] = look.exists("proc/self/ns/pid")
    found["user_namespaces"] = look.text("proc/sys/user/max_user_namespaces") not in ("", "0") and (
        look.text("proc/sys/kernel/unprivileged_userns_clone") != "0"
    )
    found["seccomp_filter"] = "errno" in look.words("proc/sys/kernel/seccomp/actions_avail")
    return dict(sorted(found.items()))


def _works(question: Callable[[], None]) -> bool:
    try:
        question()
    except (OSError, AttributeError):
        return False
    return True


def _has_call(number: int) -> bool:
    """Make a call with arguments that are wrong for each of them; only one that there is complains of the arguments."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(number, -1, -1, -1, -1, -1, -1) != -1:
        return True
    # A filter that refuses calls by their number answers EPERM.
    return ctypes.get_errno() not in (errno.ENOSYS, errno.EPERM)


def _pidfd() -> None:
    os.close(os.pidfd_open(os.getpid()))


def _exit_status() -> None:
    descriptor = os.pidfd_open(os.getpid())
    try:
        buffer = bytearray(struct.pack("=Q", _PIDFD_INFO_EXIT).ljust(_PIDFD_INFO_SIZE, b"\0"))
        fcntl.ioctl(descriptor, _PIDFD_GET_INFO, buffer)
    finally:
        os.close(descriptor)


def _peer_pidfd() -> None:
    left, right = socket.socketpair()
    with left, right:
        os.close(left.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD))


def _ofd_lock() -> None:
    descriptor = os.open("/proc/self/stat", os.O_RDONLY | os.O_CLOEXEC)
    try:
        # struct flock: type, whence, start, length, pid. A lock of another is asked for, none is taken.
        fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, struct.pack("hhqqi", fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0))
    finally:
        os.close(descriptor)


def _boottime_timer() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "timer_create"):  # glibc before 2.34
        libc = ctypes.CDLL("librt.so.1", use_errno=True)
    # struct sigevent with SIGEV_NONE: a timer that does nothing when it is due, and is never set.
    event = ctypes.create_string_buffer(struct.pack("=Qii", 0, 0, 1), 64)
    timer = ctypes.c_void_p()
    clock_boottime = 7
    if libc.timer_create(clock_boottime, event, ctypes.byref(timer)) != 0:
        raise OSError(ctypes.get_errno(), "timer_create")
    libc.timer_delete(timer)
