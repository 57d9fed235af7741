# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The mark of a hand-over on storage that several hosts see. What its stages mean is in handover.py. PRIVATE to the collection.

A mark means something for one number of the resource only, the one that the source was granted, and so is void after the
next grant, whoever that was for; nobody is sure to be alone because of one. So it does no harm if one is lost, or comes late.

Its time is over when the hosts' clocks say so, or when it has been seen unchanged for as long as it is good for: a clock
that is wrong makes it shorter, and never longer for somebody who keeps looking.
"""

from __future__ import annotations

import time

from .handover import Handover
from .interface import LeaseError
from .sealed import EMPTY, decode, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    import mmap
    from typing import Any

#: Seconds that a mark may keep others out.
LONGEST = 86400.0


class Mark(Handover):
    """The mark of one resource. token: the number for which it stands. until: unix time. seconds: how long that was at first."""

    __slots__ = ("seconds", "token", "until")

    def __init__(self, state: Handover, token: int, seconds: float, until: float | None = None) -> None:
        super().__init__(state.id, state.source, state.target, state.tokens, state.stage)
        self.token = token
        self.seconds = min(seconds, LONGEST)
        self.until = time.time() + self.seconds if until is None else until

    def block(self) -> bytes:
        """Give what is written. Raises LeaseError if its texts are too long."""
        return encode(
            {
                "id": self.id,
                "source": self.source,
                "target": self.target,
                "stage": self.stage,
                "token": self.token,
                "seconds": self.seconds,
                "until": self.until,
            }
        )


class Sightings:
    """What one process has seen of the marks, and since when.

    common: a block of memory that a process has in common with those it forks, who then count together: of a guard and of whoever
    stands in line for it only the latter looks all the time.
    """

    def __init__(self, common: mmap.mmap | None = None) -> None:
        self._common = common
        self._since: dict[str, Any] = {}

    def _seen(self, resource: str, block: bytes, now: float) -> float:
        """Give since when *block* stands there."""
        if self._common is not None:
            self._since = decode(self._common[:]) or self._since
        # Its check sum.
        mark = block[:8].hex()
        seen, since = self._since.get(resource, ("", now))
        if seen == mark:
            return float(since)
        self._since[resource] = (mark, now)
        if self._common is not None:
            try:
                self._common[:] = encode(self._since)
            except LeaseError:
                # They are so many that from now on each counts for himself.
                self._common = None
        return now

    def read(self, resource: str, block: bytes) -> Mark | None:
        """Give the mark of *resource* that stands in *block*, None if there is none or its time is over."""
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        since = self._seen(resource, block, now)
        record: dict[str, Any] | None = decode(block) if block != EMPTY else None
        if record is None:
            return None
        try:
            token, seconds, until = int(record["token"]), float(record["seconds"]), float(record["until"])
            number, source, target, stage = (str(record[key]) for key in ("id", "source", "target", "stage"))
            state = Handover(number, source, target, {resource: token}, stage)
        except (LookupError, TypeError, ValueError):
            return None
        return None if now - since >= seconds or time.time() >= until else Mark(state, token, seconds, until)
