# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""By what name a disk is known to all who could use it, whatever it is called where they are. PRIVATE to the collection.

A disk is a block device, or a file that is used as one. A device is known by the number that it tells itself or that its
volume has been given, as the kernel reports it (sysfs: wwid, dm/uuid, md/uuid, serial); a file by the file system that it is
on and its path there, with links and mounts resolved. A loop device is the file behind it.

What is no name of its own: a part of a device that somebody uses as a whole (a partition, a volume of LVM), an image that is
copied, a file system that its hosts mount from differently named servers. Who has such a thing gives it a name himself.
"""

from __future__ import annotations

import os
import stat

from . import mounts
from .interface import RESOURCE_NAME, DriverRefused, LeaseError
from .modes import DISK, HERE

#: Where the kernel tells of block devices.
SYSFS = "/sys/dev/block"
#: Of a device, where it may have its number, and what is written before one that is not known to be the only one of its kind.
_NUMBERS = (("wwid", ""), ("device/wwid", ""), ("md/uuid", "md."), ("device/cid", "mmc."), ("serial", "serial."))
#: How multipath tells kinds of numbers apart, and how the kernel does.
_MULTIPATH = {"mpath-2": "eui.", "mpath-3": "naa."}


def key(path: str) -> str:
    """Give the name of the resource that the disk at *path* is. May hang with its storage.

    Raises DriverRefused if that is no disk, or one that cannot be told from others; LeaseError if it is not there: it may be
    repeated.
    """
    try:
        real = os.path.realpath(path)
        found = os.stat(real)
        if stat.S_ISBLK(found.st_mode):
            number = f"{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}"
            return _device(number) or f"{HERE}{number}"
        if stat.S_ISREG(found.st_mode):
            return _file(path, real, found)
    except OSError as error:
        raise LeaseError(f"disk {path}: {error.strerror or error}") from None
    raise DriverRefused(f"disk {path}: is neither a block device nor a file")


def _device(number: str) -> str:
    """Give the name of the device with a *number* MAJOR:MINOR, "" if it tells none. Raises OSError, LeaseError."""
    base = os.path.join(SYSFS, number)
    behind = _line(base, "loop/backing_file")
    if behind:
        return _file(behind, behind, os.stat(behind))
    part = _line(base, "partition")
    if part:
        whole = _device(_line(os.path.dirname(os.path.realpath(base)), "dev"))
        return f"{whole}-part{part}" if whole else ""
    mapped = _line(base, "dm/uuid")
    if mapped:
        return _mapped(mapped)
    for place, before in _NUMBERS:
        text = _line(base, place)
        if text:
            return _name(before, text)
    return ""


def _mapped(uuid: str) -> str:
    """Give the name of a device of the device mapper, of which whoever made it has written the kind into *uuid*."""
    part = ""
    if uuid.startswith("part") and "-" in uuid:
        part, _dash, uuid = uuid.partition("-")
    for theirs, kernels in _MULTIPATH.items():
        if uuid.startswith(theirs):
            # The same as that of each of its paths.
            return _name("", kernels + uuid[len(theirs) :]) + (f"-{part}" if part else "")
    if uuid.startswith("CRYPT-"):
        # The last part is what it is called here.
        kind, number = uuid.split("-")[1:3]
        return _name("luks.", number) if kind.startswith("LUKS") else ""
    return _name("dm.", f"{part}-{uuid}" if part else uuid)


def _file(path: str, real: str, found: os.stat_result) -> str:
    """Give the name of a file. Raises OSError, LeaseError."""
    if found.st_nlink > 1:
        raise DriverRefused(
            f"disk {path}: the file has {found.st_nlink} names, and a lease on one keeps nobody off it by another; "
            "remove those that are too many, or give the resource a name of your own"
        )
    mount = mounts.mount(real)
    inner = os.path.join(mount.root, os.path.relpath(real, mount.point or "/"))
    if mounts.is_network(mount.kind):
        # What is mounted may be a part of what is exported: only both together are the same everywhere.
        where = os.path.normpath(f"{mount.source}/{inner}")
    else:
        device = os.stat(real).st_dev
        number = f"{os.major(device)}:{os.minor(device)}"
        # Of a file system that nobody else can have, or nobody can tell: where it lies decides, as if it were the same everywhere.
        on = _device(number) if os.path.exists(os.path.join(SYSFS, number)) else ""
        where = f"{on}:{inner}" if on else real
    return f"{DISK}file.{_digest(where)}"


def _name(before: str, text: str) -> str:
    """Give the name with *text* in it, if that can be a part of one; otherwise what stands for it."""
    plain = f"{DISK}{before}{text}"
    # What stands behind it for a part of the device has to have room as well.
    return plain if RESOURCE_NAME(f"{plain}-part1000") else f"{DISK}{before or 'id.'}{_digest(text)}"


def _digest(text: str) -> str:
    # A guard has a child that asks, and needs no library of ciphers itself.
    import hashlib

    return hashlib.sha256(os.fsencode(text)).hexdigest()[:32]


def _line(base: str, name: str) -> str:
    """Read what the kernel tells of a device, "" if it tells nothing."""
    try:
        with open(os.path.join(base, name), encoding="utf-8", errors="surrogateescape") as file:
            return file.read().strip()
    except OSError:
        return ""
