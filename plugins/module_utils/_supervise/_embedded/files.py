# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Small operations on files that several parts of the supervisor need. PRIVATE to the collection."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time

#: Seconds for which what is left of a supervisor that has ended may still hold its lock, see `lock_after`.
ORPHANED_LOCK = 30.0


class Busy(Exception):
    """Somebody else holds the lock."""


def make_directory(path: str, mode: int) -> None:
    """Make the directory *path*, or the target of the link that *path* is; an existing one is left as it is."""
    try:
        os.mkdir(path, mode)
    except FileExistsError:
        if not os.path.exists(path):
            os.makedirs(os.path.realpath(path), mode, exist_ok=True)
        elif not os.path.isdir(path):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path) from None


def open_fifo(path: str, mode: int, owner: tuple[int, int] | None = None) -> int:
    """Open the FIFO *path* for reading and writing without blocking, making it first if need be.

    Held for both, it neither reports end-of-file nor kills its writers. owner: uid and gid of a new one.
    Raises OSError; FileExistsError if something else has the name.
    """
    try:
        os.mkfifo(path, mode)
        if owner is not None:
            os.chown(path, *owner)
        os.chmod(path, mode)
    except FileExistsError:
        pass
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileExistsError(errno.EEXIST, "not a FIFO", path)
    return descriptor


def expect_fifo(path: str) -> None:
    """Raise FileExistsError if something else than a FIFO has the name *path*."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISFIFO(mode):
        raise FileExistsError(errno.EEXIST, "not a FIFO", path)


def lock(path: str, mode: int = 0o600) -> int:
    """Open *path* and lock it in both ways that the family uses (flock and fcntl). Raises Busy, OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if error.errno in (errno.EAGAIN, errno.EACCES):
            raise Busy(path) from None
        raise
    return descriptor


def lock_after(path: str, patience: float, mode: int = 0o600) -> int:
    """Lock *path* as `lock` does; wait up to *patience* seconds for what is left of a holder that has ended.

    A process that ends gives up the lock of fcntl first, and that of flock some time later on a busy machine; children that
    it had forked have the latter until they close what they have inherited. Raises Busy, at once if the holder lives, and
    OSError.
    """
    # Only here: most of those who use files have no need of it.
    from ..presence import lock_holder

    deadline = time.monotonic() + patience
    while True:
        try:
            return lock(path, mode)
        except Busy:
            if time.monotonic() > deadline or lock_holder(path) is not None:
                raise
            time.sleep(0.005)


def replace(path: str, data: bytes, mode: int = 0o644) -> None:
    """Write *data* beside *path* and rename it in. Raises OSError, after which *path* is as it was."""
    beside = path + ".new"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        descriptor = os.open(beside, flags, mode)
    except FileExistsError:
        os.unlink(beside)
        descriptor = os.open(beside, flags, mode)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)
    os.rename(beside, path)


def remove(path: str) -> None:
    """Remove the file *path* if it is there and can be removed."""
    try:
        os.unlink(path)
    except OSError:
        pass


def close_on_exec() -> None:
    """Have no child inherit what whoever started us left open."""
    for entry in os.listdir("/proc/self/fd"):
        try:
            if int(entry) > 2:
                os.set_inheritable(int(entry), False)
        except OSError:
            continue
