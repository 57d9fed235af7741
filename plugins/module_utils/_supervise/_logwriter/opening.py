# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Opening log directories that nobody else can lead astray."""

from __future__ import annotations

import errno
import os
import stat

_MOST_LINKS = 32
_STEP = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


def _refused(path: str, reason: str) -> PermissionError:
    return PermissionError(errno.EPERM, reason, path)


def _step(name: str, parent: int, create: bool) -> int:
    try:
        return os.open(name, _STEP, dir_fd=parent)
    except FileNotFoundError:
        if not create:
            raise
    try:
        os.mkdir(name, 0o755, dir_fd=parent)
    except FileExistsError:
        pass
    return os.open(name, _STEP, dir_fd=parent)


def _check(path: str, descriptor: int) -> None:
    status = os.fstat(descriptor)
    user = os.geteuid()
    if status.st_uid != user:
        raise _refused(path, f"log directory is owned by uid {status.st_uid}, not by the log writer (uid {user})")
    if status.st_mode & stat.S_IWOTH:
        raise _refused(path, "log directory can be written by everybody")


def open_directory(path: str, create: bool) -> int:
    """A descriptor of the directory ``path``, made (0755, with its parents) if it is missing and ``create``.

    It must be owned by our user and writable by no stranger; the last component must not be a symbolic link, and
    links on the way count only if root or our user made them. Otherwise OSError, with the reason in its text.
    """
    user = os.geteuid()
    pending = path.split("/")[::-1]
    links = 0
    here = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        while pending:
            name = pending.pop()
            if name in ("", "."):
                continue
            there = _step(name, here, create)
            status = os.fstat(there)
            if stat.S_ISDIR(status.st_mode):
                os.close(here)
                here = there
                continue
            try:
                if not stat.S_ISLNK(status.st_mode):
                    raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
                links += 1
                if not any(pending):
                    raise _refused(path, "log directory is a symbolic link")
                if status.st_uid not in (0, user) or links > _MOST_LINKS:
                    raise _refused(path, f"a symbolic link of uid {status.st_uid} is on the way to the log directory")
                target = os.readlink("", dir_fd=there)
            finally:
                os.close(there)
            pending.extend(target.split("/")[::-1])
            if target.startswith("/"):
                os.close(here)
                here = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        _check(path, here)
        return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=here)
    finally:
        os.close(here)


def open_file(name: str, flags: int, mode: int, directory: int) -> int:
    """Open a regular file of ours in ``directory``; OSError if it is a link, a foreign file, or something else."""
    flags |= os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    descriptor = os.open(name, flags, mode, dir_fd=directory)
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid():
        return descriptor
    os.close(descriptor)
    raise _refused(name, "not a regular file of the log writer's own")
