# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A way to a shared file that can be lost: a file system of FUSE with that file alone. Each host has its own.

As `python3 faultyfs.py FILE FOLDER` it is the file system itself, in a process of its own. Its standard input has one word a line:

    good     what is asked for is done
    broken   reading, writing and syncing fail with EIO
    lost     they are not answered, until it is good or broken again, and then as that says
    slow     they are done, each a fifth of a second later

What the kernel asks is in linux/fuse.h; only what a program needs that reads and writes a file of fixed length.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import stat
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

NAME = "leases"
MODES = ("good", "broken", "lost", "slow")
DELAY = 0.2

_IN, _OUT = struct.Struct("<IIQQIIIHH"), struct.Struct("<IiQ")
_ATTRIBUTES = struct.Struct("<6Q10I")
_IO = struct.Struct("<QQIIQII")
(LOOKUP, FORGET, GETATTR, SETATTR, OPEN, READ, WRITE, STATFS, RELEASE) = (1, 2, 3, 4, 14, 15, 16, 17, 18)
(FSYNC, FLUSH, INIT, OPENDIR, READDIR, RELEASEDIR, ACCESS, INTERRUPT, DESTROY) = (20, 25, 26, 27, 28, 29, 34, 36, 38)
BATCH_FORGET = 42
#: ASYNC_READ, BIG_WRITES, ASYNC_DIO: what is submitted together is under way together.
_FLAGS = 1 << 0 | 1 << 5 | 1 << 15
_LARGEST = 1 << 17
_ROOT, _FILE = 1, 2
_MS_NOSUID, _MS_NODEV, _MNT_DETACH = 2, 4, 2
#: Seconds that the kernel need not ask again who is there.
_KNOWN = 3600


class Way:
    """The way to *file* that leads through *folder*, which is made."""

    def __init__(self, file: Path, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.file = folder / NAME
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(file), str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"there\n", "no file system of FUSE can be mounted here"

    def be(self, mode: str) -> None:
        """Have it good, broken, lost or slow from now on."""
        assert mode in MODES
        assert self._process.stdin is not None
        self._process.stdin.write(f"{mode}\n".encode())
        self._process.stdin.flush()

    def close(self) -> None:
        """Unmount it, whoever still has it open."""
        _libc().umount2(os.fsencode(self.folder), _MNT_DETACH)
        self._process.kill()
        self._process.wait()


def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


class _FileSystem:
    """Answers the kernel. *file* is the descriptor of the shared file, *kernel* that of the connection."""

    def __init__(self, file: int, kernel: int) -> None:
        self._file = file
        self._kernel = kernel
        self._mode = "good"
        self._waiting: list[bytes] = []
        self._late: list[tuple[float, bytes]] = []

    def run(self) -> None:
        """Until it is unmounted, or whoever has started us is gone."""
        words = b""
        while True:
            timeout = max(self._late[0][0] - time.monotonic(), 0.0) if self._late else None
            ready = select.select([self._kernel, 0], [], [], timeout)[0]
            while self._late and self._late[0][0] <= time.monotonic():
                self._do(self._late.pop(0)[1])
            if 0 in ready:
                words += os.read(0, 4096)
                if not words:
                    return
                *said, rest = words.split(b"\n")
                words = rest
                for word in said:
                    self._become(word.decode())
            if self._kernel in ready:
                try:
                    self._asked(os.read(self._kernel, _LARGEST + 4096))
                except OSError as error:
                    if error.errno == errno.ENODEV:
                        return
                    if error.errno not in (errno.EINTR, errno.ENOENT, errno.EAGAIN):
                        raise

    def _become(self, mode: str) -> None:
        self._mode = mode
        if mode != "lost":
            waiting, self._waiting = self._waiting, []
            for request in waiting:
                self._do(request)

    def _asked(self, request: bytes) -> None:
        code = _IN.unpack_from(request)[1]
        if code not in (READ, WRITE, FSYNC):
            self._answer(request, *self._tell(code, request))
        elif self._mode == "lost":
            self._waiting.append(request)
        elif self._mode == "slow":
            self._late.append((time.monotonic() + DELAY, request))
        else:
            self._do(request)

    def _do(self, request: bytes) -> None:
        """Read, write or sync, unless it is broken."""
        if self._mode == "broken":
            self._answer(request, -errno.EIO)
            return
        code = _IN.unpack_from(request)[1]
        try:
            if code == FSYNC:
                os.fsync(self._file)
                self._answer(request, 0)
                return
            _handle, offset, size = _IO.unpack_from(request, _IN.size)[:3]
            if code == READ:
                self._answer(request, 0, os.pread(self._file, size, offset))
            else:
                data = request[_IN.size + _IO.size :][:size]
                self._answer(request, 0, struct.pack("<II", os.pwrite(self._file, data, offset), 0))
        except OSError as error:
            self._answer(request, -(error.errno or errno.EIO))

    def _tell(self, code: int, request: bytes) -> tuple[int, bytes] | tuple[int]:
        """Give what is answered to all that does not reach the file: error and text."""
        node = _IN.unpack_from(request)[3]
        if code == INIT:
            return 0, struct.pack("<IIIIHHII", 7, 31, _LARGEST, _FLAGS, 64, 48, _LARGEST, 1) + bytes(36)
        if code == LOOKUP:
            if request[_IN.size :].rstrip(b"\0") != NAME.encode():
                return (-errno.ENOENT,)
            return 0, struct.pack("<4QII", _FILE, 0, _KNOWN, _KNOWN, 0, 0) + self._attributes(_FILE)
        if code in (GETATTR, SETATTR):
            return 0, struct.pack("<QII", _KNOWN, 0, 0) + self._attributes(node)
        if code in (OPEN, OPENDIR):
            return 0, struct.pack("<QII", 0, 0, 0)
        if code == STATFS:
            return 0, struct.pack("<5Q4I", 1 << 20, 1 << 19, 1 << 19, 2, 0, 4096, 255, 4096, 0) + bytes(24)
        if code in (READDIR, RELEASE, RELEASEDIR, FLUSH, ACCESS, DESTROY):
            return 0, b""
        return (-errno.ENOSYS,)

    def _attributes(self, node: int) -> bytes:
        found = os.fstat(self._file)
        if node == _ROOT:
            mode, size, links = stat.S_IFDIR | 0o755, 4096, 2
        else:
            mode, size, links = stat.S_IFREG | 0o600, found.st_size, 1
        now = int(found.st_mtime)
        times = (now, now, now, 0, 0, 0)
        rest = (mode, links, found.st_uid, found.st_gid, 0, 4096, 0)
        return _ATTRIBUTES.pack(node, size, size // 512, *times, *rest)

    def _answer(self, request: bytes, error: int, content: bytes = b"") -> None:
        _length, code, unique = _IN.unpack_from(request)[:3]
        if code in (FORGET, BATCH_FORGET, INTERRUPT):
            return
        try:
            os.write(self._kernel, _OUT.pack(_OUT.size + len(content), error, unique) + content)
        except OSError as failure:
            # Whoever asked has been killed meanwhile.
            if failure.errno != errno.ENOENT:
                raise


def main(file: str, folder: str) -> None:
    """Mount, say so on standard output, and serve."""
    shared = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    kernel = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    options = f"fd={kernel},rootmode=40000,user_id=0,group_id=0,allow_other,max_read={_LARGEST}"
    if _libc().mount(b"holdfast", os.fsencode(folder), b"fuse", _MS_NOSUID | _MS_NODEV, options.encode()):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), folder)
    print("there", flush=True)
    _FileSystem(shared, kernel).run()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
