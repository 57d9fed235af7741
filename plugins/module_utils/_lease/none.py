# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The driver of a guard that holds nothing: it is there for the hooks around its service. PRIVATE to the collection."""

from __future__ import annotations

from .interface import CORE_API, Driver, DriverRefused, NotHeld

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar

    from .interface import Grant, Holder, Hole


class Nothing(Driver):
    """No resource can be registered, so that everything is granted at once; see the interface for each verb."""

    name: ClassVar[str] = "none"
    api: ClassVar[tuple[int, int]] = CORE_API
    capabilities: ClassVar[frozenset[str]] = frozenset()
    # Whoever starts a guard says these for every driver; they mean nothing to this one.
    parameters: ClassVar[frozenset[str]] = frozenset({"containment", "directory"})

    @classmethod
    def load(cls, core_api: tuple[int, int], features: frozenset[str]) -> None:
        """Nothing can be missing."""

    def probe(self) -> list[Hole]:
        """Nothing is promised, so nothing is open."""
        return []

    def register(self, resource: str, mode: str) -> None:
        """Refuse: without a store there is nothing to hold."""
        raise DriverRefused(f"{resource}: the driver none holds nothing")

    def acquire(self) -> list[Grant]:
        """Give nothing, at once."""
        return []

    def bind(self, pid: int, started: int) -> None:
        """Nothing is to be bound."""

    def prepare_line(self) -> None:
        """Nobody waits."""

    def leave_line(self) -> None:
        """Nobody waits."""

    def forget(self, resource: str) -> None:
        """Nothing is registered."""

    def line_up(self) -> None:
        """Nobody waits."""

    def release(self, resource: str | None = None) -> None:
        """Give nothing back."""
        if resource is not None:
            raise NotHeld(resource, self.tenant)

    def held(self) -> list[Grant]:
        """Nothing is held."""
        return []

    def owners(self, resource: str) -> list[Holder]:
        """Nobody holds anything."""
        return []

    def free(self) -> None:
        """Nothing is open."""
