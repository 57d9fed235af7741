# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The directories of log files: they have to belong to the log writer's user. PRIVATE to the collection.

The log writer makes them where it may. Where it may not, as in /srv, the task makes them for it.
"""

from __future__ import annotations

import os
import stat

from .logtail import open_folder

MODE = 0o755


def check(path: str, uid: int) -> tuple[str, bool]:
    """Look at a log directory: what is wrong with it, and whether it has to be made for the log writer *uid*."""
    try:
        state = os.stat(path)
    except FileNotFoundError:
        return _check_missing(path, uid)
    except OSError as error:
        return f"log directory {path}: {error.strerror}", False
    if not stat.S_ISDIR(state.st_mode):
        return f"log directory {path} is not a directory: choose another one", False
    if state.st_uid != uid:
        return (
            f"log directory {path} belongs to the uid {state.st_uid}, the log writer is {uid}: "
            f"chown it, or choose another one"
        ), False
    return "", False


def _check_missing(path: str, uid: int) -> tuple[str, bool]:
    parent = os.path.dirname(path)
    while True:
        try:
            state = os.stat(parent)
            break
        except OSError:
            above = os.path.dirname(parent)
            if above == parent:
                return f"log directory {path} cannot be made", False
            parent = above
    if state.st_uid == uid:
        return "", False
    if parent != os.path.dirname(path):
        return f"log directory {path}: {parent} has no such folder: make {os.path.dirname(path)} first", False
    return "", True


def move(former: str, path: str) -> bool:
    """Give a log directory another name beside its own; False if that can't be done, after which nothing has changed."""
    if os.path.dirname(former) != os.path.dirname(path):
        return False
    try:
        parent = open_folder(os.path.dirname(path))
    except OSError:
        return False
    try:
        os.rename(os.path.basename(former), os.path.basename(path), src_dir_fd=parent, dst_dir_fd=parent)
        return True
    except OSError:
        return False
    finally:
        os.close(parent)


def make(path: str, uid: int, gid: int) -> None:
    """Make a log directory for the log writer. Raises OSError."""
    parent = open_folder(os.path.dirname(path))
    try:
        name = os.path.basename(path)
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            return
        folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            # Whoever owns the parent could have put another directory there meanwhile, to be given away by us.
            if os.fstat(folder).st_uid != os.geteuid() or os.listdir(folder):
                raise PermissionError(f"{path} was exchanged while it was made")
            os.fchmod(folder, MODE)
            os.fchown(folder, uid, gid)
        finally:
            os.close(folder)
    finally:
        os.close(parent)
