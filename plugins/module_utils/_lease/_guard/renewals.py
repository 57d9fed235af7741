# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Renewing of grants that run out, how long it takes, and the store's own word that one is lost. PRIVATE to the collection."""

from __future__ import annotations

import time

from .. import core
from ..interface import LeaseError, Lost, RunningOut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .guard import Guard

#: The part of T from which on a renewal counts as slow, and people are told.
SLOW = 0.1
#: Seconds between two such tellings.
_QUIET = 60.0
#: Seconds up to which renewals are counted together.
BOUNDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Renewals:
    """The renewals of one guard, answered or not. last, worst, sum: seconds that they took. slow, failed: how many since the start."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._since: float | None = None
        self._watched = -1
        # Of those that were slow, and of those that failed.
        self._told = [-_QUIET, -_QUIET]
        self.count = 0
        self.slow = 0
        self.failed = 0
        self.last = 0.0
        self.worst = 0.0
        self.sum = 0.0
        # One more, for what took longer than the last bound.
        self._took = [0] * (len(BOUNDS) + 1)

    def report(self) -> dict[str, Any]:
        """Give the figures, for people."""
        return {
            "count": self.count,
            "failed": self.failed,
            "slow": self.slow,
            "last": round(self.last, 6),
            "worst": round(self.worst, 6),
            "sum": round(self.sum, 6),
            "took": [{"le": bound, "count": sum(self._took[: at + 1])} for at, bound in enumerate(BOUNDS)],
        }

    def ask(self) -> None:
        """Renew; the loop goes on meanwhile. While one is under way there is no other."""
        if self._since is None:
            self._since = time.monotonic()
            self._guard.store(self._guard.driver.renew, self._answered)

    def _answered(self, error: LeaseError | None) -> None:
        guard = self._guard
        self.last = time.monotonic() - (self._since or 0.0)
        self.worst = max(self.worst, self.last)
        self.sum += self.last
        self._took[next((at for at, bound in enumerate(BOUNDS) if self.last <= bound), len(BOUNDS))] += 1
        self._since = None
        self.count += 1
        slow = guard.driver.ttl is not None and self.last > SLOW * guard.driver.ttl
        self.slow += slow
        if error is None:
            if slow:
                self._tell(
                    False, f"a renewal took {self.last:.2f} s of the {guard.driver.ttl:g} s that a grant is good for"
                )
            self.watch()
            guard.event(core.RENEWED, sent=guard.driver.good_from)
            if guard.driver.preferred():
                guard.make_way(guard.driver.preferred())
            return
        self.failed += 1
        text = f"not renewed after {self.last:.2f} s: {error}"
        if isinstance(error, Lost):
            # There is one, and it is why the service ends: whatever was told before.
            guard.say(text)
            guard.event(core.LOST, str(error))
            return
        self._tell(True, text)
        if isinstance(error, RunningOut):
            self._running_out(error)
        else:
            guard.event(core.UNCLEAR)

    def _running_out(self, error: RunningOut) -> None:
        """End the service in order: its deadlines stay as they are, as there will be no further renewal."""
        self.unwatch()
        self._guard.event(core.RUNNING_OUT, str(error))

    def _tell(self, failed: bool, text: str) -> None:
        now = time.monotonic()
        if now >= self._told[failed] + _QUIET:
            self._told[failed] = now
            self._guard.say(text)

    def watch(self) -> None:
        """Listen to the descriptor that the driver has now. A new one may have an old one's number: it is added anew."""
        self.unwatch()
        descriptor = self._guard.driver.lost_fd()
        if descriptor >= 0:
            self._guard.loop.watch(descriptor, self._heard)
            self._watched = descriptor

    def unwatch(self) -> None:
        """Listen no more."""
        if self._watched >= 0:
            try:
                self._guard.loop.forget(self._watched)
            except OSError:
                # The driver has closed it, and the kernel has forgotten it by that.
                pass
            self._watched = -1

    def _heard(self, _events: int) -> None:
        if self._guard.asking:
            # The thread is at it, and may exchange the connection under us: what it finds out decides.
            self.unwatch()
            return
        try:
            self._guard.driver.look()
        except Lost as error:
            self.unwatch()
            self._guard.say(str(error))
            self._guard.event(core.LOST, str(error))
        except RunningOut as error:
            self._guard.say(str(error))
            self._running_out(error)
        except LeaseError:
            # It has ended, and is begun anew with the next renewal.
            self.unwatch()
