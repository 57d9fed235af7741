# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Handing leases over from one guard to another: the mark in the store, and what each stage of it allows.

PRIVATE to the collection.

    prepare-in     the destination, which stands by, sees whether it could take over now, and says by what name it is known
    prepare-out    the source marks each resource: hand-over, source, destination, token, end of the mark    PREPARED
    complete-out   the source ends its service and gives the resources back; the mark stays                  OUT
    complete-in    the destination gets the resources if their tokens are still those of the mark
    cancel         before complete-out the mark is dropped; afterwards only the source gets the resources    BACK

Who hands over to himself keeps the resources for his next guard, see _guard/keeping.py: OUT then is BACK already.

The mark keeps third parties out while nobody holds the resource; it runs out, so that the death of everybody who took
part blocks nobody for good. That nobody came in between is not proved by the mark but by the token: every grant raises
it, and the destination is granted nothing unless it is the very number that the source held. Every step may be repeated
and is known by the hand-over's id.
"""

from __future__ import annotations

from .interface import EXCLUSIVE_MODE, Busy, LeaseError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from .interface import Driver, Grant

PREPARED = "prepared"
OUT = "out"
BACK = "back"

#: What `cancel` says: there is no mark any more and the source never stopped; the source gets it back; there was none.
DROPPED = "dropped"
RETURNING = "returning"
UNKNOWN = "unknown"


class Overtaken(LeaseError):
    """Since the source gave it up, somebody has had the resource: what was to be handed over is out of date."""


class UnderWay(LeaseError):
    """Another hand-over of the same resource has not ended. The text names it."""


class Handover:
    """One hand-over. tokens: by resource, as the source held them. stage: PREPARED, OUT or BACK."""

    __slots__ = ("id", "source", "stage", "target", "tokens")

    def __init__(self, handover: str, source: str, target: str, tokens: Mapping[str, int], stage: str) -> None:
        self.id = handover
        self.source = source
        self.target = target
        self.tokens = dict(tokens)
        self.stage = stage

    def write(self) -> dict[str, Any]:
        """Give the form in which it travels."""
        return {
            "id": self.id,
            "source": self.source,
            "target": self.target,
            "stage": self.stage,
            "resources": [{"name": name, "token": self.tokens[name]} for name in sorted(self.tokens)],
        }

    @classmethod
    def read(cls, told: object) -> Handover:
        """Read that form. Raises LeaseError."""
        try:
            if not isinstance(told, dict):
                raise TypeError
            tokens = {str(one["name"]): int(one["token"]) for one in told["resources"]}
            return cls(str(told["id"]), str(told["source"]), str(told["target"]), tokens, str(told["stage"]))
        except (LookupError, TypeError, ValueError):
            raise LeaseError("what should describe a hand-over does not; use what complete-out has given") from None

    def allows(self, who: str, completing: str = "") -> bool:
        """Say whether *who* may be granted the resource; completing: the hand-over that it completes."""
        if self.stage == PREPARED:
            # A source that was restarted goes on; its new token stops the hand-over.
            return who == self.source or completing == self.id
        if self.stage == OUT and self.source != self.target:
            return who == self.target and completing == self.id
        return who == self.source

    def __str__(self) -> str:
        return f"hand-over {self.id} from {self.source} to {self.target}"


def permit(resource: str, mark: Handover | None, who: str, last: int, state: Handover | None) -> None:
    """See that *who* may be granted *resource* next, after the token *last*. state: the hand-over that he completes, if he does.

    Raises Busy if *mark* keeps him out, Overtaken if somebody was in between.
    """
    if mark is not None and not mark.allows(who, state.id if state else ""):
        raise Busy(resource, [f"nobody, but kept for {mark}"])
    expected = state.tokens.get(resource) if state else None
    if expected is not None and expected != last:
        raise Overtaken(f"{resource}: {state} was to go on from token {expected}, and {last} has been granted since")


def complete_in(
    driver: Driver, registered: Mapping[str, str], state: Handover, take: Callable[[Handover], list[Grant]]
) -> list[Grant]:
    """Have *driver* get everything by *take*, which is told *state*; what the source held besides is registered for it.

    registered: the modes of all that is. Nothing is held. Raises what *take* raises, and LeaseError: nothing more is registered then.
    """
    added = [name for name in sorted(state.tokens) if name not in registered]
    left = [name for name, mode in registered.items() if mode == EXCLUSIVE_MODE and name not in state.tokens]
    if left:
        raise LeaseError(f"{state} is not about {', '.join(sorted(left))}, which {driver.tenant} needs")
    try:
        for name in added:
            driver.register(name, EXCLUSIVE_MODE)
        return take(state)
    except LeaseError:
        for name in added:
            driver.forget(name)
        raise
