# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Making a lockspace on storage that has none. Never over anything that is there. PRIVATE to the collection.

A file is made beside, with everything in it, and gets its name by link(2), which fails if somebody else was quicker. A
block device has to be empty where we write. Whatever else is found is named, and left alone.
"""

from __future__ import annotations

import mmap
import os
import stat
import time

from ..interface import DriverRefused, LeaseError, StoreUnavailable
from .daemon import FIRST_AT, Daemon, flags_of
from .judge import judge
from .parameters import WITNESS, Parameters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

#: Seconds: sanlock's io_timeout. Beneath 1 there is none; with more than 60 nobody would wait for the next host.
SHORTEST, LONGEST = 1, 60
#: Resources that there may be at least and at most: the index has no room for more.
FEWEST, MOST = 8, 4000
#: Seconds between two looks whether the host has joined.
_AGAIN = 0.5
#: What files get: sectors, and the unit in which everything is laid out.
_SECTOR, _UNIT = 512, 1 << 20


def prepare(given: Mapping[str, Any], io_timeout: int = 10, resources: int = 1000, check: bool = False) -> bool:
    """Make the lockspace, if there is none; say whether it was made (with *check*: whether it would be).

    Raises DriverRefused for what is there and is something else, LeaseError, StoreUnavailable. A file is complete or not
    there; on a block device there may be a beginning then, which the next call goes on with or names.
    """
    parameters = Parameters(given)
    for name, value, least, most in (
        ("io_timeout", io_timeout, SHORTEST, LONGEST),
        ("resources", resources, FEWEST, MOST),
    ):
        if not least <= value <= most:
            raise DriverRefused(f"sanlock: {name}: {value} is not between {least} and {most}")
    try:
        info = os.stat(parameters.path)
    except FileNotFoundError:
        if check:
            return True
        return _make_file(given, parameters, io_timeout, resources)
    except OSError as error:
        raise DriverRefused(f"{parameters.path}: {error.strerror or error}") from None
    if stat.S_ISREG(info.st_mode):
        if not _complete(parameters, io_timeout):
            raise DriverRefused(f"{parameters.path}: is there and is no lockspace; move it away")
        return False
    if not stat.S_ISBLK(info.st_mode):
        raise DriverRefused(f"{parameters.path}: is neither a file nor a block device")
    return _make_on_device(parameters, io_timeout, resources, check)


def join(given: Mapping[str, Any], seconds: float, check: bool = False) -> bool:
    """Have this host join the lockspace, and wait for that; say whether it had not joined (with *check*: has not).

    The parameter host_id says as whom. Raises DriverRefused, DriverNotLoaded, StoreUnavailable if it is not done in time:
    the daemon goes on with it.
    """
    parameters = Parameters(given)
    daemon = Daemon(parameters)
    joined = daemon.space() is not None
    if check:
        return not joined
    deadline = time.monotonic() + seconds
    while True:
        try:
            judge(daemon, parameters)
            return not joined
        except StoreUnavailable:
            if not parameters.host_id or time.monotonic() >= deadline:
                raise
        time.sleep(_AGAIN)


def _complete(parameters: Parameters, io_timeout: int) -> bool:
    """Say whether there is our lockspace with its index. Raises DriverRefused for another one, LeaseError."""
    daemon = Daemon(parameters)
    found = daemon.described(1)
    if found is None:
        return False
    if found.name != parameters.lockspace:
        raise DriverRefused(f"{parameters.path}: is the lockspace {found.name}, not {parameters.lockspace}")
    witness = daemon.described(WITNESS)
    if witness is not None and witness.io_timeout != io_timeout:
        raise DriverRefused(
            f"{parameters.path}: was made with io_timeout {witness.io_timeout}, not {io_timeout}; to change it, have all "
            "hosts leave, move it away and make a new one"
        )
    return daemon.has_index(found)


def _make_file(given: Mapping[str, Any], parameters: Parameters, io_timeout: int, resources: int) -> bool:
    path = parameters.path
    beside = f"{path}.{os.getpid()}.new"
    daemon = Daemon(Parameters({**given, "path": beside}))
    itself = daemon.itself()
    try:
        descriptor = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            # The daemon is the one that has to open it.
            if os.geteuid() == 0:
                os.fchown(descriptor, int(itself["uid"]), int(itself["gid"]))
            os.ftruncate(descriptor, (FIRST_AT + resources) * _UNIT)
            daemon.write(io_timeout, flags_of(_UNIT, _SECTOR), resources)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        # Unlike a rename, it fails if somebody else has made the file meanwhile.
        os.link(beside, path, follow_symlinks=False)
    except FileExistsError:
        return not _complete(parameters, io_timeout)
    except OSError as error:
        raise LeaseError(f"{path}: {error.strerror or error}") from None
    finally:
        try:
            os.unlink(beside)
        except FileNotFoundError:
            pass
    return True


def _make_on_device(parameters: Parameters, io_timeout: int, resources: int, check: bool) -> bool:
    if _complete(parameters, io_timeout):
        return False
    daemon = Daemon(parameters)
    begun = daemon.described(1)
    unit = begun.unit if begun is not None else _largest_unit(parameters.path)
    room = _room(parameters.path, unit * (FIRST_AT + resources))
    # Of a begun one the lockspace is there, and only what would be written now has to be empty.
    _look_empty(parameters.path, unit if begun is not None else 0, unit * FIRST_AT)
    if not check:
        daemon.write(io_timeout, 0, min(resources, room // unit - FIRST_AT), begun)
    return True


def _largest_unit(path: str) -> int:
    """Give the unit that sanlock will take for this device."""
    import fcntl

    with open(path, "rb", buffering=0) as device:
        sector = int.from_bytes(fcntl.ioctl(device, _BLKSSZGET, b"\0" * 4), "little")
    return _UNIT if sector == _SECTOR else 8 * _UNIT


#: ioctl of linux/fs.h: bytes of a sector.
_BLKSSZGET = 0x1268


def _room(path: str, needed: int) -> int:
    with open(path, "rb", buffering=0) as device:
        size = device.seek(0, os.SEEK_END)
    if size < needed:
        raise DriverRefused(f"{path}: has {size >> 20} MiB, and {needed >> 20} MiB are needed; ask for fewer resources")
    return size


def _look_empty(path: str, begin: int, end: int) -> None:
    """Look that nothing but zeros is there. Raises DriverRefused, LeaseError."""
    zeros = bytes(_UNIT)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
        try:
            with mmap.mmap(-1, _UNIT) as piece:
                for at in range(begin, end, _UNIT):
                    os.preadv(descriptor, [piece], at)
                    if piece[:] != zeros:
                        raise DriverRefused(
                            f"{path}: something else is on it (between {at >> 20} and {(at >> 20) + 1} MiB), which is "
                            f"not written over; if nobody needs it: blkdiscard -z {path}"
                        )
        finally:
            os.close(descriptor)
    except OSError as error:
        raise LeaseError(f"{path}: {error.strerror or error}") from None
