# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A guard with no service below it: holds a lease for a play, or for as long as a host is there. PRIVATE to the collection.

It has an owner, who is known by a name and not by a process, and may have an end: the time that it was given, which its
owner extends. The kernel kills it a little later than that if it was stopped or starved.
"""

from __future__ import annotations

import os
import time

from ..._lean import json
from ..._supervise._embedded import identity
from .. import core
from ..interface import NOTE, Busy, DriverRefused, LeaseError
from . import kernel
from .guard import BUSY, UNUSABLE, Guard
from .tree import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ..interface import Driver
    from .api import Api

#: Seconds after its end at which a holder that does nothing any more is killed.
_LATE = 5.0
#: Seconds between two looks at the clock that counts suspension too.
_LOOK = 30.0
#: Seconds that a holder may be given.
LONGEST = 31 * 86400.0


class _Nothing:
    """What stands in the place of a service's tree: the holder itself, which ends when it is told to."""

    def __init__(self, holder: Holder) -> None:
        self._holder = holder
        self.pid = os.getpid()
        self.started = identity.start_time(self.pid)

    def terminate(self) -> None:
        """End, in the next turn."""
        self._holder.loop.soon(self._holder.nothing_left)

    kill = terminate

    def forward(self, _number: int) -> None:
        """Nobody is there who would hear it."""


class Holder(Guard):
    """Holds one resource for *owner*. seconds: how long, None: until it is told to end. reports: who started it, or -1."""

    def __init__(self, name: str, folder: str, driver: Driver, owner: str, seconds: float | None) -> None:
        super().__init__(name, folder, driver, Command([], {}), "none")
        self.owner = owner
        self.until: float | None = None
        self.keeper: list[str] = []
        self.reports = -1
        self._seconds = seconds
        self._end: float | None = None
        self._note: dict[str, Any] = {}
        self._refusal: LeaseError | None = None
        self._kernel: kernel.DeadMan | None = None

    def api(self) -> Api:
        """Give what answers, and knows what only a holder can do."""
        from .holder_api import HolderApi

        return HolderApi(self)

    def make_way(self, whom: str) -> None:
        """Stay: what an owner holds it holds until its time is over."""

    def begin(self, wait: float, note: Mapping[str, Any]) -> None:
        """Make ready to `run`. wait: seconds to stand in line, 0 not at all, negative without end. Raises OSError."""
        self.wait = wait != 0
        if wait > 0:
            self.loop.later(wait, self._waited)
        self._note = dict(note)
        if NOTE in self.driver.capabilities:
            self.driver.note = self.note()
        if self._seconds is not None:
            self._extend(self._seconds)
        if self.reports >= 0:
            self.loop.watch(self.reports, self._deserted)

    def extend(self, seconds: float) -> None:
        """Let the end be *seconds* from now; what is later already stays. Raises DriverRefused, OSError."""
        if not 0 < seconds <= LONGEST:
            raise DriverRefused(f"ttl: {seconds:g} s is not between 0 and {LONGEST:g}")
        if self._end is not None and time.clock_gettime(time.CLOCK_BOOTTIME) + seconds > self._end:
            self._extend(seconds)
            self.publish()

    def _extend(self, seconds: float) -> None:
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        self._end, self.until = now + seconds, time.time() + seconds
        if self._kernel is None:
            self._kernel = kernel.DeadMan()
            self.loop.soon(self._look_at_clock)
        self._kernel.arm(self._end + _LATE)
        if NOTE in self.driver.capabilities:
            self.driver.note = self.note()

    def note(self) -> dict[str, Any]:
        """Give what stands beside the lease, for whoever finds it held."""
        return {**self._note, "owner": self.owner, "until": self.until}

    def _look_at_clock(self) -> None:
        if self._end is None:
            return
        left = self._end - time.clock_gettime(time.CLOCK_BOOTTIME)
        if left <= 0:
            self.say("its time is over")
            self.shut_down()
        else:
            self.loop.later(min(left, _LOOK), self._look_at_clock)

    def _waited(self) -> None:
        if self.state.phase == core.STANDBY:
            self.code = BUSY
            self.shut_down()

    def _deserted(self, _events: int) -> None:
        """Whoever started us says nothing more after his request: what can be read is his end."""
        self.loop.forget(self.reports)
        os.close(self.reports)
        self.reports = -1
        if self.state.phase == core.STANDBY:
            self.say("nobody waits for it any more")
            self.shut_down()

    # -- instead of a service

    def _do_start(self, _value: object) -> None:
        self.tree = _Nothing(self)  # type: ignore[assignment]
        self._publish_token(self.driver.held())
        self.renewals.watch()
        self.write_down()
        self._report({"granted": self.told()})

    def nothing_left(self) -> None:
        """The end of what stands in the place of a tree."""
        if self.tree is not None:
            self.tree = None
            self.event(core.GONE, "given back")

    def _acquired(self, error: LeaseError | None) -> None:
        self._refusal = error
        super()._acquired(error)

    def _denied(self, error: LeaseError, again: Any) -> None:
        self._refusal = error
        super()._denied(error, again)

    def _do_end(self, value: None) -> None:
        super()._do_end(value)
        error = self._refusal
        if error is not None:
            holders = error.holders if isinstance(error, Busy) else []
            kind = "busy" if isinstance(error, Busy) else "refused"
            self._report({"error": kind, "message": str(error), "holders": holders})
            self.code = self.code or (BUSY if kind == "busy" else UNUSABLE)

    def _report(self, told: dict[str, Any]) -> None:
        if self.reports < 0:
            return
        try:
            os.write(self.reports, json.dumps(told).encode() + b"\n")
        except OSError:
            pass

    def told(self) -> dict[str, Any]:
        """Give what a holder has to tell beyond what every guard has."""
        return {
            **super().told(),
            "owner": self.owner,
            "store": self.keeper,
            "until": self.until,
            "note": self._note,
            "holes": [{"name": hole.name, "text": hole.text} for hole in self.holes],
            "resources": [{"name": one.resource, "mode": one.mode, "token": one.token} for one in self.driver.held()],
        }
