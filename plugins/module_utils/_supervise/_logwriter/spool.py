# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The crash-safe mapping through which every byte of every log goes.

One chunk is under way at a time. Before a byte leaves the FIFO, the spool says how many bytes will be read
(the log writer is the only reader, so the number that FIONREAD tells is the number that one read takes), with which
stamp they will be written, to which file and at which offset. The bytes are read straight into the mapping. Whenever
the process is killed, its successor finds one of three states:

- ``IDLE``: nothing was under way.
- ``WAITING``: the read may have happened. The area began with a pattern that no text contains; if it is still
  there, the bytes are still in the FIFO, otherwise they are all here (a read of a pipe is not interrupted by a signal).
- ``HELD``: the bytes are here.

In the last two cases the same bytes are written with the same stamp at the same offset once more, so that it does not
matter how far the first attempt came. The state is a single byte, and what it refers to is complete before it changes.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
from termios import FIONREAD

from .stamps import LONGEST

MAGIC = b"HFSPOOL1"
CHUNK = 65536
IDLE, WAITING, HELD = 0, 1, 2
_SECOND_SLOT = 4
_STATE = 8
_BOOT = 16
_BOOT_LENGTH = 40
_RECORD_LENGTH = 64
_SLOTS = (128, 192)
_RECORD = 256
DATA = 8192
RECORD_LIMIT = DATA - LONGEST - _RECORD
SIZE = DATA + CHUNK
_SLOT = struct.Struct("<IIQQQBB")
_LENGTH = struct.Struct("<I")
# Bytes that UTF-8 never has; a chunk that was read differs from it somewhere.
_PATTERN = bytes((0xFF, 0x00, 0xFE, 0xC0)) * 16
_PATTERN_END = DATA + len(_PATTERN)


class Chunk:
    """The chunk that a killed log writer left in the spool."""

    __slots__ = ("data", "device", "done", "inode", "midline", "offset", "record", "stamp")

    def __init__(self, data: bytes, stamp: bytes, record: bytes, slot: tuple[int, int, int, int, bool]) -> None:
        """``slot``: bytes of the stamped text that are already in an older file, offset, device, inode, midline."""
        self.data = data
        self.stamp = stamp
        self.record = record
        self.done, self.offset, self.device, self.inode, self.midline = slot


def boot_id() -> bytes:
    """What distinguishes this boot of the kernel from others; empty where it cannot be read."""
    try:
        with open("/proc/sys/kernel/random/boot_id", "rb", buffering=0) as file:
            return (file.read(_BOOT_LENGTH) or b"").strip()
    except OSError:
        return b""


class Spool:
    """The mapping. ``trusted``: a predecessor was killed during this boot, so that what it wrote is known."""

    def __init__(self, directory: int, name: str = "spool") -> None:
        """Open or create the file; OSError if there is no space for it."""
        self._directory = directory
        self._name = name
        descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600, dir_fd=directory)
        try:
            # All pages exist from the start: on a full file system a store into a hole would kill the process.
            os.posix_fallocate(descriptor, 0, SIZE)
            self.map = mmap.mmap(descriptor, SIZE)
        finally:
            os.close(descriptor)
        for page in range(0, SIZE, mmap.PAGESIZE):
            # Every page is mapped before the first read, which therefore has no page fault to fail in.
            self.map[page] = self.map[page]
        self._view = memoryview(self.map)
        self._owner: object | None = None
        self._waiting = memoryview(bytearray(4)).cast("i")
        self._count = 0
        self._midline = False
        self._stamp_length = 0
        self._slot = 0
        boot = boot_id().ljust(_BOOT_LENGTH, b"\0")
        self.trusted = self.map[:8] == MAGIC and self.map[_BOOT : _BOOT + _BOOT_LENGTH] == boot
        if not self.trusted:
            self.map[_STATE] = IDLE
            self.map[_BOOT : _BOOT + _BOOT_LENGTH] = boot
            self.map[DATA:_PATTERN_END] = _PATTERN
            self.map[:8] = MAGIC

    def recover(self) -> Chunk | None:
        """The chunk that was under way when the predecessor died; it stays until ``finish``."""
        state = self.map[_STATE]
        if state & 3 == IDLE:
            self.finish()
            return None
        self._slot = 1 if state & _SECOND_SLOT else 0
        count, done, offset, device, inode, midline, stamp_length = _SLOT.unpack_from(self.map, _SLOTS[self._slot])
        data = self.map[DATA : DATA + count]
        if state & 3 == WAITING and data[: len(_PATTERN)] == _PATTERN[:count]:
            self.finish()
            return None
        self._count, self._midline, self._stamp_length = count, bool(midline), stamp_length
        length = min(_LENGTH.unpack_from(self.map, _RECORD_LENGTH)[0], RECORD_LIMIT)
        stamp = self.map[DATA - stamp_length : DATA]
        self.map[_STATE] = HELD | (_SECOND_SLOT if self._slot else 0)
        return Chunk(data, stamp, self.map[_RECORD : _RECORD + length], (done, offset, device, inode, bool(midline)))

    def waiting(self, fifo: int) -> int:
        """The number of bytes in the FIFO."""
        fcntl.ioctl(fifo, FIONREAD, self._waiting)
        return self._waiting[0]

    def begin(  # pylint: disable=too-many-arguments
        self,
        owner: object,
        record: bytes,
        count: int,
        offset: int,
        device: int,
        inode: int,
        midline: bool,
        stamp: bytes,
    ) -> None:
        """Say what will be done with the next ``count`` bytes: write them with ``stamp`` at ``offset`` of this file."""
        area = self.map
        if self._owner is not owner:
            area[_RECORD : _RECORD + len(record)] = record
            _LENGTH.pack_into(area, _RECORD_LENGTH, len(record))
            self._owner = owner
        length = len(stamp)
        area[DATA - length : DATA] = stamp
        _SLOT.pack_into(area, 128, count, 0, offset, device, inode, midline, length)
        self._count = count
        self._midline = midline
        self._stamp_length = length
        self._slot = 0
        area[_STATE] = WAITING

    def read(self, fifo: int) -> int:
        """Read the chunk announced by ``begin`` into the mapping; the number of bytes, 0 if there were none."""
        count = self._count
        try:
            got = os.readv(fifo, (self._view[DATA : DATA + count],))
        except BlockingIOError:
            got = 0
        if got == count:
            self.map[_STATE] = HELD
        elif got:
            # Only possible if somebody else reads the FIFO as well.
            self._count = got
            _unused, done, offset, device, inode, midline, length = _SLOT.unpack_from(self.map, 128)
            _SLOT.pack_into(self.map, 192, got, done, offset, device, inode, midline, length)
            self._slot = 1
            self.map[_STATE] = HELD | _SECOND_SLOT
        return got

    def move(self, done: int, offset: int, device: int, inode: int, midline: bool | None = None) -> None:
        """The first ``done`` bytes of the text are in place; the rest goes to ``offset`` of this file.

        Inode 0 stands for the end of ``current``, whichever file that will be. ``midline`` replaces what ``begin`` said.
        """
        if midline is not None:
            self._midline = midline
        self._slot = 1 - self._slot
        _SLOT.pack_into(
            self.map, _SLOTS[self._slot], self._count, done, offset, device, inode, self._midline, self._stamp_length
        )
        self.map[_STATE] = HELD | (_SECOND_SLOT if self._slot else 0)

    def finish(self) -> None:
        """Everything is written: forget the chunk."""
        self.map[_STATE] = IDLE
        self.map[DATA:_PATTERN_END] = _PATTERN

    def forget(self, owner: object) -> None:
        """``owner`` or its record changes: write the record anew next time."""
        if self._owner is owner:
            self._owner = None

    def close(self, remove: bool) -> None:
        """Release the mapping; ``remove`` the file too after an orderly end, when there is nothing to trust."""
        self._view.release()
        self.map.close()
        if remove:
            os.unlink(self._name, dir_fd=self._directory)
