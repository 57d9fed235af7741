# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A guard's part in handing over: as the source, as the destination, and as what came after a dead source.

What the steps mean is in ../handover.py. Each may be repeated. The store has the marks, so that a guard that was started
again knows as much as the one before it. PRIVATE to the collection.
"""

from __future__ import annotations

from .. import core
from ..handover import Handover
from ..interface import EXCLUSIVE_MODE, HANDOVER, DriverRefused, LeaseError, Lost, StoreUnavailable
from .guard import HANDED_OVER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Optional

    from .guard import Guard

    Answer = Callable[[Optional[LeaseError], dict[str, Any]], None]

#: Seconds that a mark may be asked for.
LONGEST = 86400.0
#: Seconds by which a mark outlives the time that the service has for its end.
_MARGIN = 5.0


class WrongPhase(Exception):
    """The step means nothing in the phase that the guard is in."""


class Handovers:
    """The hand-overs of one guard. expected: the one whose destination this guard is."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self.expected = ""
        self._seconds = 0.0
        self._marked: Handover | None = None
        self._leaving = ""
        self._left: Handover | None = None
        self._too_late = False
        self._arrived = ""
        self._waiting: list[Answer] = []

    def report(self) -> dict[str, Any] | None:
        """Tell of the hand-over that is under way here, for people."""
        if self._marked is not None:
            return {"id": self._marked.id, "role": "source", "other": self._marked.target}
        return {"id": self.expected, "role": "destination", "other": ""} if self.expected else None

    def prepare_out(self, handover: str, target: str, seconds: float, answer: Answer) -> None:
        """Mark what is held. Raises WrongPhase, DriverRefused."""
        self._check(handover)
        self._only_in(core.ACTIVE)
        if not target or target == self._guard.driver.identity:
            raise DriverRefused(f"target: {target!r} is no other guard")
        if not 0 < seconds <= LONGEST:
            raise DriverRefused(f"seconds: {seconds:g} is not between 0 and {LONGEST:g}")

        def mark() -> None:
            self._marked = self._guard.driver.prepare_out(handover, target, seconds)
            self._seconds = seconds

        self._store(mark, lambda: {"state": self._marked.write() if self._marked else None}, answer)

    def prepare_in(self, handover: str, answer: Answer) -> None:
        """Look whether we could take over now, before the source ends anything, and expect it. Raises WrongPhase, DriverRefused."""
        guard = self._guard
        self._check(handover)
        if self._arrived == handover:
            answer(None, {"target": guard.driver.identity})
            return
        self._only_in(core.STANDBY)

        def look() -> None:
            # We stand by, maybe since long ago: since then the store may be gone from here, or something may be open.
            holes = guard.driver.probe()
            if guard.strict and holes:
                raise DriverRefused("is open here: " + "; ".join(f"{hole.name}: {hole.text}" for hole in holes))
            guard.driver.prepare_in(handover)

        def looked(error: LeaseError | None) -> None:
            if error is None:
                if guard.state.phase != core.STANDBY or guard.state.reason:
                    answer(LeaseError(f"the guard does not stand by any more, it is {guard.state.phase}"), {})
                    return
                self.expected = handover
                answer(None, {"target": guard.driver.identity})
                return
            answer(DriverRefused(f"{guard.name} could not take over: {error}"), {})

        guard.store(look, looked)

    def complete_out(self, handover: str, answer: Answer) -> None:
        """End the service and leave what it held to the destination; the answer comes when that is done.

        Raises WrongPhase, DriverRefused.
        """
        guard = self._guard
        self._check(handover)
        phase = guard.state.phase
        if phase == core.STANDBY and not guard.state.reason:
            # The one before us has marked it, and has died on the way or has done it and was not heard.
            found: list[Handover] = []
            self._store(
                lambda: found.append(guard.driver.complete_out(handover)), lambda: {"state": found[0].write()}, answer
            )
            return
        if self._leaving == handover:
            self._waiting.append(answer)
            return
        marked = self._marked
        if phase != core.ACTIVE or self._leaving:
            raise WrongPhase
        if marked is None or marked.id != handover:
            raise DriverRefused(f"nothing is being handed over under the number {handover}: prepare it first")

        def renew_mark() -> None:
            # Before the service is ended: what nobody keeps for the destination anybody could take.
            seconds = self._seconds + (guard.state.grace or 0.0) + _MARGIN
            guard.driver.prepare_out(handover, marked.target, min(seconds, LONGEST))

        def renewed(error: LeaseError | None) -> None:
            if error is not None:
                answer(error, {})
                return
            if guard.state.phase != core.ACTIVE:
                answer(LeaseError(f"the service is {guard.state.phase} already"), {})
                return
            self._leaving = handover
            self._waiting.append(answer)
            guard.event(core.STOP, HANDED_OVER)

        guard.store(renew_mark, renewed)

    @property
    def leaving(self) -> bool:
        """Say whether what is held is left to a destination."""
        return bool(self._leaving)

    def leave(self) -> None:
        """Complete the hand-over; if its mark is not there any more, give everything back to anybody. Raises LeaseError."""
        driver = self._guard.driver
        try:
            self._left = driver.complete_out(self._leaving)
        except (StoreUnavailable, Lost):
            raise
        except LeaseError as error:
            alone = [one.resource for one in driver.held() if one.mode == EXCLUSIVE_MODE]
            marks = [driver.handed_over(resource) for resource in alone]
            if all(mark is not None and mark.id == self._leaving for mark in marks):
                raise
            self._guard.say(f"{error}; given back, to whoever is first in line")
            driver.release()
            self._too_late = True

    def ended(self) -> None:
        """Answer those who wait for the end of `complete_out`; the guard ends."""
        where = (
            "was given back to whoever is first in line: the mark was gone" if self._too_late else "its store has it"
        )
        error = None if self._left else LeaseError(f"what the service held could not be handed over; {where}")
        for answer in self._waiting:
            answer(error, {"state": self._left.write()} if self._left else {})
        self._waiting.clear()

    def complete_in(self, handover: str, state: Handover | None, answer: Answer) -> None:
        """Take over and start the service; without *state*, by the marks in the store. Raises WrongPhase, DriverRefused."""
        guard = self._guard
        self._check(handover)
        if state is not None and state.id != handover:
            raise DriverRefused(f"the state is that of hand-over {state.id}, not of {handover}")

        def held() -> dict[str, Any]:
            return {
                "resources": [
                    {"name": one.resource, "mode": one.mode, "token": one.token} for one in guard.driver.held()
                ]
            }

        if self._arrived == handover and guard.state.phase == core.ACTIVE:
            answer(None, held())
            return
        self._only_in(core.STANDBY)

        def taken(error: LeaseError | None) -> None:
            if error is None:
                self._arrived, self.expected = handover, ""
            answer(error, held())

        if not guard.take_over(lambda: guard.driver.complete_in(state or self._marks(handover)), taken):
            raise DriverRefused("the guard is taking something over already; try again")

    def _marks(self, handover: str) -> Handover:
        """Give what the store says of a hand-over to us. Raises LeaseError."""
        driver = self._guard.driver
        found = [mark for mark in map(driver.handed_over, self._guard.resources) if mark and mark.id == handover]
        if not found or found[0].target != driver.identity:
            raise LeaseError(f"nothing is kept for {driver.identity} under the number {handover}, or not any more")
        tokens = {name: token for mark in found for name, token in mark.tokens.items()}
        return Handover(handover, found[0].source, found[0].target, tokens, found[0].stage)

    def cancel(self, handover: str, answer: Answer) -> None:
        """Take a hand-over back. Raises WrongPhase, DriverRefused."""
        guard = self._guard
        self._check(handover)
        if guard.state.phase not in (core.ACTIVE, core.STANDBY) or self._leaving:
            raise WrongPhase
        outcome: list[str] = []

        def cancelled() -> dict[str, Any]:
            if self.expected == handover:
                self.expected = ""
            if self._marked is not None and self._marked.id == handover:
                self._marked = None
            return {"outcome": outcome[0]}

        self._store(lambda: outcome.append(guard.driver.cancel(handover)), cancelled, answer)

    def _store(self, work: Callable[[], None], told: Callable[[], dict[str, Any]], answer: Answer) -> None:
        self._guard.store(work, lambda error: answer(error, {} if error else told()))

    def _only_in(self, phase: str) -> None:
        state = self._guard.state
        if state.phase != phase or (phase == core.STANDBY and state.reason) or self._leaving:
            raise WrongPhase

    def _check(self, handover: str) -> None:
        driver = self._guard.driver
        if HANDOVER not in driver.capabilities:
            raise DriverRefused(f"driver {driver.name} cannot hand over; stop the service, another guard gets it then")
        if not 0 < len(handover) <= 128 or not handover.isprintable():
            raise DriverRefused("handover: has to be a text of 1 to 128 characters")
