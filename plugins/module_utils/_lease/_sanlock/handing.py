# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hand-overs by sanlock. What their steps and stages mean is in ../handover.py. PRIVATE to the collection.

Who holds a resource changes its mark: nobody else does, and before it is given back. Whoever does not hold it, the next
guard of the source or the destination, does so as the only one of all hosts (the lease of whoever makes a resource), so
that a hand-over is either cancelled or completed. That nobody was in between sanlock itself sees to: the destination
asks for the resource with the very number that the source had, and is refused with any other.

Who is neither looks at the mark before he asks for the resource. If it is written between the two, he may get in: then
the number is another one, and the hand-over is refused.
"""

from __future__ import annotations

from ..handover import BACK, DROPPED, OUT, PREPARED, RETURNING, UNKNOWN, Handover, UnderWay, permit
from ..interface import Busy, LeaseError
from ..remote_marks import Mark
from .daemon import READING
from .marks import Marks
from .wire import DEAD, FREE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeVar

    from .batch import Resource
    from .daemon import Daemon, Space
    from .index import Index

    Value = TypeVar("Value")


class Handing:
    """The hand-overs of the guard that other guards know as *known_as*.

    resources have their offsets; patience: the seconds that one call may take.
    """

    def __init__(self, daemon: Daemon, index: Index, path: str, known_as: str) -> None:
        self._daemon = daemon
        self._index = index
        #: For who has something else to write beside the resources.
        self.marks = self._marks = Marks(path)
        self._known_as = known_as
        #: What we have marked and hold.
        self._prepared: dict[str, Resource] = {}

    def standing(self, resources: Sequence[Resource], space: Space, patience: float) -> list[Mark | None]:
        """Give the mark of each that means something. Raises LeaseError."""
        found = self._marks.read(resources, space, patience)
        return [
            mark if mark is not None and mark.token == self._number(one, space) else None
            for one, mark in zip(resources, found)
        ]

    def _number(self, one: Resource, space: Space) -> int:
        return one.token if one.token is not None else self._daemon.held_by(one.stored, one.offset, space)[0]

    # -- the source, which holds

    def prepare_out(
        self, held: Sequence[Resource], handover: str, target: str, seconds: float, space: Space, patience: float
    ) -> Handover:
        """Mark what is held. Raises UnderWay, LeaseError: no mark is left, or one that ends with its time."""
        state = Handover(handover, self._known_as, target, {one.name: one.token or 0 for one in held}, PREPARED)
        for one, mark in zip(held, self.standing(held, space, patience)):
            if mark is not None and (mark.id, mark.target) != (handover, target):
                raise UnderWay(f"{one.name}: {mark} has not ended; cancel it first")
        try:
            self._marks.write([(one, Mark(state, one.token or 0, seconds)) for one in held], space, patience)
        except LeaseError:
            self._drop(held, space, patience)
            raise
        self._prepared.update((one.name, one) for one in held)
        return state

    def turn_out(self, held: Sequence[Resource], handover: str, space: Space, patience: float) -> Handover:
        """Say that what is held is about to be given back for the destination. Raises LeaseError: nothing has changed."""
        marks = self._ours(held, handover, space, patience)
        for mark in marks:
            mark.stage = OUT
        self._marks.write(list(zip(held, marks)), space, patience)
        for one in held:
            self._prepared.pop(one.name, None)
        return self._state(handover, held, marks)

    def _ours(self, resources: Sequence[Resource], handover: str, space: Space, patience: float) -> list[Mark]:
        found = []
        for one, mark in zip(resources, self.standing(resources, space, patience)):
            if mark is None or mark.id != handover or mark.source != self._known_as:
                raise LeaseError(
                    f"{one.name}: is not being handed over by {self._known_as} under the number {handover}"
                )
            if mark.stage not in (PREPARED, OUT):
                raise LeaseError(f"{one.name}: {mark} was taken back")
            found.append(mark)
        return found

    def _state(self, handover: str, resources: Sequence[Resource], marks: Sequence[Mark]) -> Handover:
        tokens = {one.name: mark.token for one, mark in zip(resources, marks)}
        return Handover(handover, self._known_as, marks[0].target if marks else "", tokens, OUT)

    def abandon(self, given: Sequence[Resource], look: Callable[[], Space]) -> None:
        """Who gives back what he has prepared, and has not handed over, leaves it to anybody. Raises LeaseError."""
        chosen = [one for one in given if self._prepared.pop(one.name, None) is not None]
        if chosen:
            space = look()
            self._marks.write([(one, None) for one in chosen], space, float(space.io_timeout))

    def _drop(self, resources: Sequence[Resource], space: Space, patience: float) -> None:
        """Take marks away if that can be done: they end with their time."""
        try:
            self._marks.write([(one, None) for one in resources], space, patience)
        except LeaseError:
            pass

    # -- who does not hold

    def alone(self, space: Space, work: Callable[[], Value]) -> Value:
        """Do *work* as the only one of all who don't hold what they change the marks of. Raises LeaseError."""
        maker = self._index.alone(space)
        try:
            return work()
        finally:
            maker.give_up(READING)

    def turn_left(self, resources: Sequence[Resource], handover: str, space: Space, patience: float) -> Handover:
        """Do what a dead guard of ours has not come to: see that it holds nothing, and leave it to the destination."""
        marks = self._ours(resources, handover, space, patience)
        for one, mark in zip(resources, marks):
            owners = self._daemon.owners(one.stored, one.offset, space)
            living = [owner.host for owner in owners if self._daemon.state(owner) not in (FREE, DEAD)]
            if mark.stage == PREPARED and living:
                raise Busy(one.name, [f"host {host}" for host in living])
            mark.stage = OUT
        self._marks.write(list(zip(resources, marks)), space, patience)
        return self._state(handover, resources, marks)

    def cancel(self, resources: Sequence[Resource], handover: str, space: Space, patience: float) -> str:
        """Drop the marks that have come to nothing yet, turn the others back. Raises LeaseError."""
        changes: list[tuple[Resource, Mark | None]] = []
        outcome = UNKNOWN
        for one, mark in zip(resources, self.standing(resources, space, patience)):
            if mark is None or mark.id != handover:
                continue
            if mark.stage == PREPARED:
                changes.append((one, None))
                outcome = outcome if outcome == RETURNING else DROPPED
            else:
                mark.stage, outcome = BACK, RETURNING
                changes.append((one, mark))
        self._marks.write(changes, space, patience)
        for one, _mark in changes:
            self._prepared.pop(one.name, None)
        return outcome

    # -- whoever wants it

    def judge(
        self, wanted: Sequence[Resource], space: Space, patience: float, state: Handover | None = None
    ) -> list[Resource]:
        """See that no mark keeps us from *wanted*; state: the hand-over that we complete. Gives what had a mark.

        Raises Busy, Overtaken, LeaseError.
        """
        marked = []
        for one, mark in zip(wanted, self.standing(wanted, space, patience)):
            if mark is not None or state is not None:
                permit(one.name, mark, self._known_as, self._number(one, space), state)
            if mark is not None:
                marked.append(one)
        return marked

    def kept(self, wanted: Sequence[Resource], space: Space, patience: float) -> bool:
        """Say whether a mark keeps us from *wanted*. Raises LeaseError."""
        marks = self.standing(wanted, space, patience)
        return any(mark is not None and not mark.allows(self._known_as) for mark in marks)

    def tidy(self, resources: Sequence[Resource], space: Space, patience: float) -> None:
        """Take away marks that are void, since we were granted what they are about."""
        self._drop(resources, space, patience)
