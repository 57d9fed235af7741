# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Mounts that the inventory names, and nothing else. PRIVATE to the collection."""

from __future__ import annotations

import ctypes
import os
import re
import stat

from .. import paths
from .program import Failed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MOUNT = "/bin/mount"
# include/uapi/linux/mount.h
_MS_NOSUID, _MS_NODEV, _MS_REMOUNT, _MS_BIND = 2, 4, 32, 4096
_FLAGS = {"ro": 1, "noexec": 8}
#: include/linux/fs.h: the last component is not followed if it is a symbolic link.
_UMOUNT_NOFOLLOW = 8
_libc = ctypes.CDLL(None, use_errno=True)
#: /proc/self/mountinfo, see proc(5): the number of the mount, its place, and behind the dash its type and source.
_line = re.compile(rb"(\d+) \d+ \S+ (\S+) (\S+) \S+ .*?- (\S+) (\S+) ").match
_octal = re.compile(rb"\\([0-7]{3})")


def mount(wanted: dict[str, Any]) -> None:
    """Mount a source on its target. There already: nothing is done; something else there: Failed."""
    target = wanted["target"]
    held = _directory(target)
    there = _of(held)
    if there is not None and there[0] == target:
        if _is(there, wanted):
            return
        raise Failed(f"{target}: {there[1]} is mounted there")
    if wanted["type"] == "bind":
        _bind(wanted, held)
        return
    # The target was found without following any link, and is named by what was found: the name may mean what it likes now.
    options = ",".join([*wanted["options"], "nosuid", "nodev"])
    os.set_inheritable(held, True)
    argv = [
        MOUNT,
        "--no-mtab",
        "--no-canonicalize",
        "-t",
        wanted["type"],
        "-o",
        options,
        "--",
        wanted["source"],
        f"/proc/self/fd/{held}",
    ]
    os.execve(MOUNT, argv, dict(os.environ))


def umount(wanted: dict[str, Any]) -> None:
    """Take the mount of a source off its target. Not there: nothing is done; something else there: Failed."""
    target = wanted["target"]
    held = _directory(target)
    there = _of(held)
    # A descriptor of what is mounted would keep it busy.
    os.close(held)
    if there is None or there[0] != target:
        return
    if not _is(there, wanted):
        raise Failed(f"{target}: not {wanted['source']} but {there[1]} is mounted there")
    parent = _directory(os.path.dirname(target))
    os.fchdir(parent)
    _done(_libc.umount2(os.fsencode(os.path.basename(target)), _UMOUNT_NOFOLLOW), target)


def _bind(wanted: dict[str, Any], held: int) -> None:
    """Bind a folder to the held one; the kernel takes the flags of a bind mount in a second step only."""
    target = wanted["target"]
    source = _directory(wanted["source"])
    place = os.fsencode(f"/proc/self/fd/{held}")
    _done(_libc.mount(b"/proc/self/fd/%d" % source, place, None, ctypes.c_ulong(_MS_BIND), None), target)
    # By its name again, since the held folder lies below now. Ours is there if it is what it was bound to.
    bound = _directory(target)
    if not os.path.samestat(os.fstat(bound), os.fstat(source)):
        raise Failed(f"{target}: was exchanged meanwhile")
    flags = _MS_BIND | _MS_REMOUNT | _MS_NOSUID | _MS_NODEV
    flags |= sum(_FLAGS[option] for option in set(wanted["options"]))
    place = os.fsencode(f"/proc/self/fd/{bound}")
    _done(_libc.mount(None, place, None, ctypes.c_ulong(flags), None), target)


def _done(result: int, where: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), where)


def _directory(path: str) -> int:
    """Give a descriptor of a directory, to which no symbolic link leads."""
    root = os.open("/", os.O_PATH | os.O_CLOEXEC)
    try:
        held = paths.find(root, paths.components(path), crossing=True)
    except paths.Refused as error:
        raise Failed(f"{path}: {error}") from None
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None
    finally:
        os.close(root)
    if not stat.S_ISDIR(os.fstat(held).st_mode):
        raise Failed(f"{path}: is no directory")
    return held


def _of(held: int) -> tuple[str, str, str, str] | None:
    """Give place, source, type and root of the mount that a descriptor lies on."""
    number = b"%d" % paths.mount_of(held)
    with open("/proc/self/mountinfo", "rb") as file:
        for line in file:
            found = _line(line)
            if found and found[1] == number:
                root, place, type_, source = (os.fsdecode(_octal.sub(_byte, found[index])) for index in (2, 3, 4, 5))
                return place, source, type_, root
    return None


def _byte(found: re.Match[bytes]) -> bytes:
    return bytes([int(found[1], 8)])


def _is(there: tuple[str, str, str, str], wanted: dict[str, Any]) -> bool:
    """Say whether a mount is the wanted one."""
    _place, source, _type, root = there
    if wanted["type"] == "bind":
        # A bind mount shows the source of the file system, and as root the folder in it.
        return (wanted["source"] + "/").endswith(root.rstrip("/") + "/")
    if source == wanted["source"]:
        return True
    try:
        backing = f"/sys/block/{os.path.basename(source)}/loop/backing_file"
        with open(backing, encoding="utf-8", errors="surrogateescape") as file:
            return file.read().rstrip("\n") == os.path.realpath(wanted["source"])
    except OSError:
        return os.path.realpath(wanted["source"]) == source
