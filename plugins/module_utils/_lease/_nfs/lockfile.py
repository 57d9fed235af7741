# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One lock file on NFS: opened, locked, read and written. PRIVATE to the collection.

All of it may hang as long as the server does not answer, so it is done in the process of hand.py alone.

O_DIRECT is no matter of speed here: what is read comes from the server and from no cache; a write is there when it has
returned; whoever waits for one can be killed; and a file that is opened so has no delegation, under which the client
would keep its locks to itself. Memory and offsets are aligned, so that the same works on local file systems.
"""

from __future__ import annotations

import mmap
import os

from ..._lean import libc
from .. import ofd
from ..counting import Counting
from ..interface import EXCLUSIVE_MODE, LeaseError
from . import layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LEASE = 0
_AT_FDCWD, _AT_STATX_FORCE_SYNC, _STATX_BASIC_STATS, _STATX_SIZE = -100, 0x2000, 0x7FF, 256
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_DIRECT
#: Seconds for which the counter is tried to be locked, and between two attempts.
_LIMIT, _PAUSE = 5.0, 0.05

# Some small C libraries have none.
_statx = libc.Library().find("statx")


class LockFile:
    """The file of the resource *name*. token: of our grant, None while there is none; slot: which block is ours then."""

    def __init__(self, directory: str, name: str, mode: str) -> None:
        self.name = name
        self.mode = mode
        self.path = os.path.join(directory, f"{name}.lock")
        self.token: int | None = None
        self.slot = 0
        self.record: dict[str, Any] = {}
        self._copy = os.path.join(directory, f"{name}.token")
        self._mark = os.path.join(directory, f"{name}.handover")
        #: Who would rather have it than its holder, see ../preferring.py.
        self.wish = Page(os.path.join(directory, f"{name}.wish"))
        self._descriptor = -1

    @property
    def shared(self) -> bool:
        """Say whether others may have it at the same time."""
        return self.mode != EXCLUSIVE_MODE

    def open(self) -> None:
        """Open the file that has the name now. Raises OSError."""
        self.close()
        self._descriptor = os.open(self.path, _FLAGS, 0o600)

    def close(self) -> None:
        """Close it; a lock is gone by that."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)
        self.wish.close()

    def lock(self) -> bool:
        """Lock it now or not at all. Raises OSError."""
        return ofd.lock(self._descriptor, _LEASE, self.shared)

    def lockable(self) -> bool:
        """Ask whether `lock` would succeed. Raises OSError."""
        return ofd.lockable(self._descriptor, _LEASE, self.shared)

    def unlock(self) -> None:
        """Unlock and close it. Raises OSError."""
        if self._descriptor >= 0:
            ofd.unlock(self._descriptor, _LEASE)
            self.close()

    def current(self) -> bool:
        """Ask the server whether the name still means the file that we have open. Raises OSError."""
        try:
            self._ask()
            return os.path.samestat(os.stat(self.path, follow_symlinks=False), os.fstat(self._descriptor))
        except FileNotFoundError:
            return False

    def _ask(self) -> None:
        """Have the server asked whether the directory has changed: if so, its names are not believed any more.

        To open the file by its name would ask too, but is refused in the server's time of grace.
        """
        if _statx is None:
            os.close(os.open(self.path, _FLAGS & ~os.O_CREAT))
            return
        directory = os.path.dirname(self.path)
        found = libc.room(_STATX_SIZE)
        libc.check(
            _statx(_AT_FDCWD, os.fsencode(directory), _AT_STATX_FORCE_SYNC, _STATX_BASIC_STATS, found), directory
        )

    def count(self) -> Counting:
        """Lock the counter and the blocks: for `with`."""
        return Counting(self._descriptor, _LIMIT, _PAUSE)

    # -- what is in it

    def blocks(self) -> list[bytes]:
        """Read everything. Raises OSError."""
        data = _read(self._descriptor, layout.SIZE, 0)
        data += bytes(-len(data) % layout.BLOCK)
        return [data[at : at + layout.BLOCK] for at in range(0, len(data), layout.BLOCK)]

    def block(self, number: int) -> bytes:
        """Read one block. Raises OSError."""
        return _read(self._descriptor, layout.BLOCK, number * layout.BLOCK)

    def write(self, number: int, block: bytes) -> None:
        """Write one block, and return when the server has it on its disk. Raises OSError."""
        _write(self._descriptor, block, number * layout.BLOCK)

    def beat(self, **more: Any) -> None:
        """Write our own block anew, which says that we live. Raises OSError, LeaseError."""
        self.record = {**self.record, "beat": self.record.get("beat", 0) + 1, **more}
        self.write(self.slot, layout.encode(self.record))

    # -- the counter's copy, so that a lock file that was exchanged is known for what it is

    def counted(self) -> dict[str, Any]:
        """Give the copy of the first block, {} if there has never been one. Raises OSError, LeaseError."""
        data = _whole(self._copy)
        if not data.rstrip(b"\0"):
            return {}
        record = layout.decode(data) or {}
        if not isinstance(record.get("token"), int):
            raise LeaseError(f"{self._copy}: is damaged; remove it if {self.path} is in order")
        return record

    def note_count(self, block: bytes) -> None:
        """Write the copy. Raises OSError."""
        _rewrite(self._copy, block)

    # -- the mark of a hand-over, to be changed while the counter is locked

    def mark(self) -> bytes:
        """Give the block of the mark. Raises OSError."""
        return _whole(self._mark).ljust(layout.BLOCK, b"\0")

    def write_mark(self, block: bytes) -> None:
        """Write it. Raises OSError."""
        _rewrite(self._mark, block)


class Page:
    """A file of one block, which stays open once it was opened: to open one is refused in the server's time of grace."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._descriptor = -1

    def read(self) -> bytes:
        """Read it, b"" if nothing was ever written. Raises OSError."""
        return _read(self._open(), layout.BLOCK, 0)

    def write(self, block: bytes) -> None:
        """Write it, and return when the server has it on its disk. Raises OSError."""
        _write(self._open(), block, 0)

    @property
    def opened(self) -> bool:
        """Say whether it is open."""
        return self._descriptor >= 0

    def close(self) -> None:
        """Close it; the next look opens it again."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)

    def _open(self) -> int:
        if self._descriptor < 0:
            self._descriptor = os.open(self.path, _FLAGS, 0o600)
        return self._descriptor


def _whole(path: str) -> bytes:
    """Read a file of one block; it is made, so that no client goes on believing that there is none."""
    descriptor = os.open(path, _FLAGS, 0o600)
    try:
        return _read(descriptor, layout.BLOCK, 0)
    finally:
        os.close(descriptor)


def _rewrite(path: str, block: bytes) -> None:
    descriptor = os.open(path, _FLAGS, 0o600)
    try:
        _write(descriptor, block, 0)
    finally:
        os.close(descriptor)


def _read(descriptor: int, length: int, at: int) -> bytes:
    with mmap.mmap(-1, length) as memory:
        got = os.preadv(descriptor, [memory], at)
        return memory[:got]


def _write(descriptor: int, data: bytes, at: int) -> None:
    with mmap.mmap(-1, len(data)) as memory:
        memory[:] = data
        if os.pwritev(descriptor, [memory], at) != len(data):
            raise OSError(28, os.strerror(28))
    os.fsync(descriptor)
