# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The counter of a resource in a lock file, locked for a moment. PRIVATE to the collection."""

from __future__ import annotations

import time

from . import ofd
from .interface import StoreUnavailable

#: The byte that is locked.
COUNTER = 1


class Counting:
    """The counter of the file that is open as *descriptor*, locked: for `with`. Raises OSError, StoreUnavailable.

    Others have it for a moment only. But a service without a guard has the descriptor too, and may lock what it likes: so it
    is tried for *limit* seconds, every *pause*, and never waited for in the kernel, where a client of NFS looks again only
    after many seconds.
    """

    __slots__ = ("_descriptor", "_limit", "_pause")

    def __init__(self, descriptor: int, limit: float, pause: float) -> None:
        self._descriptor = descriptor
        self._limit = limit
        self._pause = pause

    def __enter__(self) -> None:
        deadline = time.monotonic() + self._limit
        while not ofd.lock(self._descriptor, COUNTER):
            if time.monotonic() >= deadline:
                raise StoreUnavailable("the counter of the resource is locked by somebody who does not let go of it")
            time.sleep(self._pause)

    def __exit__(self, *_details: object) -> None:
        ofd.unlock(self._descriptor, COUNTER)
