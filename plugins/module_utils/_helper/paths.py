# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finds what a path below a folder means, without being led out of the folder. PRIVATE to the collection.

Whoever may write below the folder is taken for an attacker who exchanges names at any moment. So nothing is looked at
and then used by its name: what was found is held by a descriptor, and the name is not asked again.

The kernel does it in one step from 5.6 on (openat2(2), https://man7.org/linux/man-pages/man2/openat2.2.html); before
that, and where a sandbox forbids the call, it is done component by component.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct

# include/uapi/linux/openat2.h; the number is the same on all architectures that Python supports.
_OPENAT2 = 437
_NO_XDEV, _NO_MAGICLINKS, _NO_SYMLINKS, _BENEATH = 1, 2, 4, 8
_HELD = os.O_PATH | os.O_CLOEXEC
#: Renames that the kernel could not tell from an attack, before that is what they are taken for.
_ATTEMPTS = 64

_libc = ctypes.CDLL(None, use_errno=True)


class Refused(Exception):
    """A path leads elsewhere, or is not what it is to be."""


def components(path: str) -> list[str]:
    """Give the parts of a relative path. Raises Refused for one that goes up."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise Refused("'..' is not followed")
    return parts


def find(folder: int, parts: list[str], crossing: bool = False) -> int:
    """Give an O_PATH descriptor of what *parts* lead to below *folder*, a descriptor of a directory.

    No symbolic link is followed, the last part's included, and no link of procfs. crossing: whether it may lie on
    another mount than the folder. Raises Refused, and OSError for what is missing or may not be searched.
    """
    if not parts:
        return os.open(".", _HELD | os.O_DIRECTORY, dir_fd=folder)
    try:
        return _by_kernel(folder, "/".join(parts), crossing)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EPERM):
            raise
    return _by_steps(folder, parts, crossing)


def _by_kernel(folder: int, path: str, crossing: bool) -> int:
    resolve = _BENEATH | _NO_SYMLINKS | _NO_MAGICLINKS | (0 if crossing else _NO_XDEV)
    how = struct.pack("=QQQ", _HELD, 0, resolve)
    name = os.fsencode(path)
    for _attempt in range(_ATTEMPTS):
        descriptor: int = _libc.syscall(
            ctypes.c_long(_OPENAT2), ctypes.c_int(folder), ctypes.c_char_p(name), how, ctypes.c_size_t(len(how))
        )
        if descriptor >= 0:
            return descriptor
        number = ctypes.get_errno()
        if number == errno.ELOOP:
            raise Refused("a symbolic link is not followed")
        if number == errno.EXDEV:
            raise Refused("leads to another mount")
        if number != errno.EAGAIN:
            raise OSError(number, os.strerror(number))
    raise Refused("is being moved about")


def _by_steps(folder: int, parts: list[str], crossing: bool) -> int:
    home = -1 if crossing else mount_of(folder)
    here = os.dup(folder)
    try:
        for number, part in enumerate(parts):
            last = number == len(parts) - 1
            below = os.open(part, _HELD | os.O_NOFOLLOW, dir_fd=here)
            os.close(here)
            here = below
            mode = os.fstat(here).st_mode
            if stat.S_ISLNK(mode):
                raise Refused("a symbolic link is not followed")
            if home >= 0 and mount_of(here) != home:
                raise Refused("leads to another mount")
            if not last and not stat.S_ISDIR(mode):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    except BaseException:
        os.close(here)
        raise
    return here


def mount_of(descriptor: int) -> int:
    """Give the number of the mount that a descriptor lies on; a bind mount has one of its own. Raises OSError."""
    with open(f"/proc/self/fdinfo/{descriptor}", encoding="ascii") as file:
        for line in file:
            if line.startswith("mnt_id:"):
                return int(line[7:])
    raise OSError(errno.ENOTSUP, "the kernel tells no mount of a descriptor")


def hold(
    within: str,
    path: str,
    exists: bool = True,
    create: str = "",
    crossing: bool = False,
    owner: tuple[int, int] = (0, 0),
) -> tuple[int, str]:
    """Give a descriptor of what *path* names below *within*, and what is to be put behind that descriptor's name.

    That is nothing, but for what need not exist: it is named by the folder that holds it, and its own name. create: a
    `file` or `directory` that is made here, belongs to *owner* and was not there before. Raises Refused, OSError.
    """
    parts = components(path[len(within.rstrip("/")) :])
    if not parts:
        raise Refused("names the folder itself")
    # The way to the folder is the administrator's, links included.
    folder = os.open(within, _HELD | os.O_DIRECTORY)
    try:
        if exists and not create:
            held = find(folder, parts, crossing)
        else:
            held = find(folder, parts[:-1], crossing)
            if not stat.S_ISDIR(os.fstat(held).st_mode):
                os.close(held)
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    finally:
        os.close(folder)
    if not exists and not create:
        return held, f"/{parts[-1]}"
    try:
        if create:
            made = _make(held, parts[-1], create, owner)
            os.close(held)
            held = made
        found = os.fstat(held)
        if stat.S_ISREG(found.st_mode) and found.st_nlink > 1:
            raise Refused("has another name elsewhere (a hard link)")
    except BaseException:
        os.close(held)
        raise
    return held, ""


def _make(folder: int, name: str, kind: str, owner: tuple[int, int]) -> int:
    if kind == "directory":
        os.mkdir(name, 0o700, dir_fd=folder)
        # Somebody may have exchanged it at once. What he put there he owns, or it is another empty folder of ours.
        made = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        found = os.fstat(made)
        if found.st_uid != os.geteuid() or os.listdir(made):
            os.close(made)
            raise Refused("was exchanged when it had just been made")
    else:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        made = os.open(name, flags, 0o600, dir_fd=folder)
    try:
        if os.geteuid() == 0:
            os.fchown(made, *owner)
        return os.open(f"/proc/self/fd/{made}", _HELD)
    finally:
        os.close(made)
