# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The marks of hand-overs on the storage, see ../remote_marks.py. PRIVATE to the collection.

The mark of a resource is in the last 4096 bytes of its place, of which sanlock uses the first 2003 sectors of 2048. It is
read and written past the daemon, which has no words for it. The two blocks before it are those of wishes.py.
"""

from __future__ import annotations

import mmap
import os
import time

from ..aside import aside
from ..interface import LeaseError, StoreUnavailable
from ..remote_marks import Mark, Sightings
from ..sealed import BLOCK, EMPTY, decode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .batch import Resource
    from .daemon import Space

#: Attempts to read one that is being written, and seconds between two of them.
_TRIES, _PAUSE = 4, 0.002
#: Errors of storage that may work again: EIO, ETIMEDOUT, ENXIO.
_PASSING = frozenset((5, 110, 6))


#: The block of the mark, counted from the end.
MARK = 1


class Marks:
    """The marks of a lockspace at *path*, as one process has seen them, and those that it forks to stand in line."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._sightings = Sightings(mmap.mmap(-1, BLOCK))

    def read(self, resources: Sequence[Resource], space: Space, patience: float) -> list[Mark | None]:
        """Give the mark of each whose time is not over, whatever its number. Raises LeaseError."""
        blocks = self.blocks([(one, MARK) for one in resources], space, patience)
        return [self._sightings.read(one.name, block) for one, block in zip(resources, blocks)]

    def blocks(self, wanted: Sequence[tuple[Resource, int]], space: Space, patience: float) -> list[bytes]:
        """Give the blocks with these numbers, counted from the end of a resource's place. Raises LeaseError."""
        path, places = self._path, [_place(one, space, number) for one, number in wanted]
        data = self._aside(lambda: _read(path, places), patience) if places else b""
        return [data[at : at + BLOCK] for at in range(0, len(data), BLOCK)]

    def _aside(self, work: Callable[[], bytes], patience: float) -> bytes:
        try:
            return aside(work, patience)
        except OSError as error:
            kind = StoreUnavailable if error.errno in _PASSING else LeaseError
            raise kind(f"{self._path}: {error.strerror}; hand-overs are noted on it by the guards") from None
        except StoreUnavailable as error:
            raise StoreUnavailable(f"{self._path}: {error}") from None

    def write(self, changes: Sequence[tuple[Resource, Mark | None]], space: Space, patience: float) -> None:
        """Write marks, None takes one away. Raises LeaseError: some may be written, or still be."""
        self.put([(one, MARK, mark.block() if mark else EMPTY) for one, mark in changes], space, patience)

    def put(self, blocks: Sequence[tuple[Resource, int, bytes]], space: Space, patience: float) -> None:
        """Write blocks with these numbers. Raises LeaseError: some may be written, or still be."""
        path, written = self._path, [(_place(one, space, number), block) for one, number, block in blocks]
        if written:
            self._aside(lambda: _write(path, written), patience)


def _place(one: Resource, space: Space, number: int) -> int:
    return one.offset + space.unit - number * BLOCK


# -- in a process of their own: O_DIRECT, as the daemon does it, so that all hosts see the same. To close a file on NFS may take
# as long as anything else: it is closed before the answer, after which the end of the process is waited for without a limit.


def _read(path: str, places: Sequence[int]) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT)
    found = b""
    try:
        with mmap.mmap(-1, BLOCK) as memory:
            for place in places:
                for _unused in range(_TRIES):
                    got = os.preadv(descriptor, [memory], place)
                    block = memory[:got].ljust(BLOCK, b"\0")
                    if block == EMPTY or decode(block) is not None:
                        break
                    time.sleep(_PAUSE)
                found += block
    finally:
        os.close(descriptor)
    return found


def _write(path: str, blocks: Sequence[tuple[int, bytes]]) -> bytes:
    descriptor = os.open(path, os.O_WRONLY | os.O_DIRECT | os.O_SYNC)
    try:
        with mmap.mmap(-1, BLOCK) as memory:
            for place, block in blocks:
                memory[:] = block
                if os.pwritev(descriptor, [memory], place) != BLOCK:
                    raise OSError(5, os.strerror(5))
    finally:
        os.close(descriptor)
    return b""
