# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a resource is on the storage, and how it gets there. PRIVATE to the collection.

A resource is made when it is first needed. sanlock's own call for that takes care that two hosts do not write to one
place at the same time, but not that they do not make two resources of one name, of which each would then hold the one.
So whoever makes one holds a lease for that, and looks once more before he does.
"""

from __future__ import annotations

import os
import time

from ..interface import EXCLUSIVE_MODE, Busy, StoreUnavailable
from . import wire
from .batch import Batch, Resource
from .daemon import BUSY, INDEX_AT, MAKER, MAKER_AT, NOT_FOUND, READING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .daemon import Daemon, Space
    from .parameters import Parameters

#: Seconds between two attempts while somebody else has the index.
_AWHILE = 0.005


class Index:
    """The resources of a lockspace by name. What was found once stays: nothing is ever moved or removed."""

    def __init__(self, daemon: Daemon, parameters: Parameters) -> None:
        self._daemon = daemon
        self._parameters = parameters
        self._places: dict[str, int] = {}

    def place(self, name: str, space: Space) -> int:
        """Give the offset of a resource, -1 if it was never made. Raises LeaseError."""
        if name not in self._places:
            result, offset = self._ask(wire.LOOKUP, name, space)
            if result == NOT_FOUND:
                return -1
            if result:
                raise self._daemon.bad(result, f"looking for {name} in {self._parameters.path}")
            self._places[name] = offset
        return self._places[name]

    def make(self, name: str, space: Space) -> int:
        """Give the offset of a resource, and make it if nobody has. Raises LeaseError."""
        offset = self.place(name, space)
        if offset >= 0:
            return offset
        maker = self.alone(space)
        try:
            offset = self.place(name, space)
            if offset < 0:
                result, offset = self._ask(wire.CREATE_RESOURCE, name, space)
                if result:
                    raise self._daemon.bad(result, f"making room for {name} in {self._parameters.path}")
            self._places[name] = offset
            return offset
        finally:
            maker.give_up(READING)

    def alone(self, space: Space) -> Batch:
        """Be the only one of all hosts who makes a resource, or changes marks of what he does not hold. Raises LeaseError."""
        deadline = time.monotonic() + READING
        while True:
            lease = Resource(MAKER, EXCLUSIVE_MODE, False, MAKER)
            lease.offset = MAKER_AT * space.unit
            batch = Batch(self._parameters, self._daemon.connect())
            try:
                batch.acquire([lease], MAKER, space, max(READING, 1.5 * space.io_timeout))
                return batch
            except Busy:
                if time.monotonic() >= deadline:
                    raise StoreUnavailable(
                        f"sanlock: {self._parameters.path}: somebody else makes a resource or hands over, and does not come to an end"
                    ) from None
            _wait()

    def _ask(self, command: int, name: str, space: Space) -> tuple[int, int]:
        """Ask the index; gives result and offset. On one host only one at a time may: try for a while."""
        parameters = self._parameters
        body = wire.index(parameters.lockspace, 0, parameters.path, INDEX_AT * space.unit) + wire.entry(name)
        deadline = time.monotonic() + READING
        while True:
            result, _second, rest = self._daemon.call(command, body, max(READING, 1.5 * space.io_timeout))
            if result not in BUSY or time.monotonic() >= deadline:
                return result, wire.ENTRY.unpack_from(rest)[1]
            _wait()


def _wait() -> None:
    time.sleep(_AWHILE * (1 + os.urandom(1)[0] / 255))
