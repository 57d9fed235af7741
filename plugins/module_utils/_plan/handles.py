# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files below an open directory: read, write, exchange, remove. PRIVATE to the collection.

Every name is taken relative to the descriptor of an open directory, and no symbolic link is followed. Functions raise
OSError; where nothing is said, a failed call has changed nothing.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat

#: How a directory of a service is opened: itself, never the target of a link.
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_RENAME_EXCHANGE = 2

#: Largest file that is read, in bytes. Ours are small; a larger one is foreign and counts as different.
READ_LIMIT = 4 * 1024 * 1024


def open_directory(name: str, at: int) -> int:
    """Open the directory *name* of *at*. Raises NotADirectoryError (or ELOOP) for a link or a file."""
    return os.open(name, DIRECTORY, dir_fd=at)


def read_file(name: str, at: int) -> tuple[bytes, os.stat_result] | None:
    """Give the content and the state of a plain file; None when there is none, or it is something else or too large."""
    try:
        # Non-blocking, so that a FIFO of that name does not hold us up.
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=at)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP, errno.ENXIO, errno.ENOTDIR):
            return None
        raise
    try:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode) or state.st_size > READ_LIMIT:
            return None
        content = os.read(descriptor, state.st_size + 1)
        while len(content) < state.st_size:
            more = os.read(descriptor, state.st_size - len(content))
            if not more:
                break
            content += more
        return content, state
    finally:
        os.close(descriptor)


def write_file(name: str, at: int, content: bytes, mode: int) -> None:
    """Make the file *name* with exactly these permissions. After a failure it may be there, incomplete."""
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=at)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)


def make_directory(name: str, at: int, mode: int) -> int:
    """Make the directory *name* with exactly these permissions and give its descriptor."""
    os.mkdir(name, 0o700, dir_fd=at)
    descriptor = open_directory(name, at)
    os.fchmod(descriptor, mode)
    return descriptor


def is_directory(name: str, at: int) -> bool:
    """Tell whether *name* is a directory, and not a link to one."""
    try:
        return stat.S_ISDIR(os.stat(name, dir_fd=at, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def exists(name: str, at: int) -> bool:
    """Tell whether there is anything of that name, a dangling link included."""
    try:
        os.stat(name, dir_fd=at, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def remove_tree(name: str, at: int, last: str = "") -> None:
    """Delete *name* with all that is in it; a name that is not there is fine. After a failure a part may be gone.

    *last* is the entry of *name* that is deleted after all others: the one by which a later run knows whose it was.
    """
    try:
        descriptor = open_directory(name, at)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
        os.unlink(name, dir_fd=at)
        return
    try:
        with os.scandir(descriptor) as entries:
            found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        for entry, is_folder in sorted(found, key=lambda pair: pair[0] == last):
            if is_folder:
                remove_tree(entry, descriptor)
            else:
                os.unlink(entry, dir_fd=descriptor)
    finally:
        os.close(descriptor)
    os.rmdir(name, dir_fd=at)


def exchange(first: str, second: str, at: int) -> None:
    """Let two names change places in one step (renameat2, RENAME_EXCHANGE).

    Raises OSError with EINVAL or ENOSYS where the file system or the C library cannot do that.
    """
    library = ctypes.CDLL(None, use_errno=True)
    try:
        function = library.renameat2
    except AttributeError:
        raise OSError(errno.ENOSYS, "renameat2 is not available") from None
    if function(at, os.fsencode(first), at, os.fsencode(second), _RENAME_EXCHANGE):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), first)


def sync(at: int) -> None:
    """Bring everything that was written to the file system of *at* to the disk: one call for any number of files."""
    library = ctypes.CDLL(None, use_errno=True)
    try:
        function = library.syncfs
    except AttributeError:
        os.sync()
        return
    if function(at):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
