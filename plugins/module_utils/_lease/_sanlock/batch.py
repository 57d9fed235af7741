# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What was acquired in one go: one registered connection to the daemon, and the resources that belong to it.

A connection of its own for each acquisition, so that one whose answer does not come can be taken back, by closing it,
without losing what was held before: the daemon gives back what belongs to a connection when its last copy is closed,
also if it gets it only afterwards. PRIVATE to the collection.
"""

from __future__ import annotations

from ..handover import Overtaken
from ..interface import Busy, LeaseError, StoreUnavailable
from . import wire
from .daemon import BUSY, CHANGED, UNCLEAR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .daemon import Space
    from .parameters import Parameters

#: Answers to a release of what the connection does not have (any more).
_NOT_THERE = (-1, -2)


class Resource:
    """One resource. stored: its name on the disk. offset: where it is, -1 until it is known. token: None: not held."""

    __slots__ = ("mode", "name", "offset", "shared", "stored", "token")

    def __init__(self, name: str, mode: str, shared: bool, stored: str) -> None:
        self.name = name
        self.mode = mode
        self.shared = shared
        self.stored = stored
        self.offset = -1
        self.token: int | None = None


class Batch:
    """Resources of one acquisition, and their connection."""

    def __init__(self, parameters: Parameters, connection: wire.Connection) -> None:
        """Register. Raises StoreUnavailable; the connection is closed then."""
        self.connection = connection
        self.resources: list[Resource] = []
        self._parameters = parameters
        try:
            connection.register()
        except StoreUnavailable:
            connection.close()
            raise

    def acquire(
        self,
        resources: Sequence[Resource],
        tenant: str,
        space: Space,
        patience: float,
        expected: Mapping[str, int] | None = None,
    ) -> None:
        """Get all of *resources* or none. expected: the numbers that some of them have to have had last.

        Raises Busy, Overtaken, LeaseError: nothing is held, and the connection is closed.
        """
        try:
            for at in range(0, len(resources), wire.AT_ONCE):
                some = resources[at : at + wire.AT_ONCE]
                self._acquire(some, tenant, space, patience, expected or {})
                self.resources += some
        except LeaseError:
            self.give_up(patience)
            raise

    def _acquire(
        self, some: Sequence[Resource], tenant: str, space: Space, patience: float, expected: Mapping[str, int]
    ) -> None:
        parameters = self._parameters
        body = b""
        for one in some:
            flags = space.flags | wire.SHARED * one.shared | wire.LVER * (one.name in expected)
            number = expected.get(one.name, 0)
            body += wire.resource(parameters.lockspace, one.stored, flags, parameters.path, one.offset, number)
        result, _second, _rest = self.connection.call(
            wire.ACQUIRE, body + wire.options(tenant), patience, wire.OWNER_NOWAIT, len(some), -1
        )
        if result in BUSY:
            raise Busy(some[0].name)
        names = ", ".join(one.name for one in some)
        if result == CHANGED:
            raise Overtaken(f"{names}: somebody has been granted it since it was given up")
        if result:
            error = wire.SanlockError(result, f"acquiring {names}")
            raise (StoreUnavailable if result in UNCLEAR else LeaseError)(f"sanlock: {error}")

    def give_up(self, patience: float) -> None:
        """Give back at once what the end of the connection would give back a little later, and end it."""
        try:
            if self.resources:
                self.release(list(self.resources), patience)
        except LeaseError:
            pass
        self.connection.close()

    def release(self, some: Sequence[Resource], patience: float) -> None:
        """Give back *some* of ours. Raises StoreUnavailable: they count as held, may be repeated."""
        for one in some:
            body = wire.resource(self._parameters.lockspace, one.stored, 0)
            result, _second, _rest = self.connection.call(wire.RELEASE, body, patience, 0, 1, -1)
            if result and result not in _NOT_THERE:
                raise StoreUnavailable(f"sanlock: {wire.SanlockError(result, f'giving back {one.name}')}")
            self.resources.remove(one)

    def restrict(self, patience: float) -> None:
        """Have the daemon take no further call on the connection: whoever inherits it can tell it nothing. Raises StoreUnavailable.

        What belongs to it stays until its last copy is closed.
        """
        result, _second, _rest = self.connection.call(wire.RESTRICT, b"", patience, wire.RESTRICT_ALL, 0, -1)
        if result:
            raise StoreUnavailable(f"sanlock: {wire.SanlockError(result, 'restricting the connection')}")

    def missing(self, patience: float) -> list[Resource]:
        """Give those of ours that the daemon does not know as ours any more. Raises StoreUnavailable."""
        result, _count, rest = self.connection.call(wire.INQUIRE, b"", patience, 0, 0, -1)
        if result:
            raise StoreUnavailable(f"sanlock: {wire.SanlockError(result, 'asking what we hold')}")
        parameters = self._parameters
        told = " " + wire.text(rest)
        return [
            one
            for one in self.resources
            if f" {parameters.lockspace}:{one.stored}:{parameters.path}:{one.offset}:" not in told
        ]
