# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A whole hand-over between two guards that this host reaches, step by step; begun again it goes on. PRIVATE to the collection."""

from __future__ import annotations

from .handle import GuardGone, Handle, NotActive
from .handover import RETURNING, Handover
from .interface import LeaseError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Place:
    """Where a guard is to be found: its name and the directory that has its folder."""

    __slots__ = ("base", "name")

    def __init__(self, name: str, base: str) -> None:
        self.name = name
        self.base = base

    def attach(self) -> Handle:
        """Find the guard that is there now, which may have been started since the last step. Raises LeaseError."""
        return Handle.attach(self.name, self.base)

    def cancel(self, handover: str) -> str:
        """Take a hand-over from here back; give what became of it. Raises LeaseError."""
        with self.attach() as handle:
            return handle.cancel(handover)

    def status(self) -> dict[str, Any]:
        """Give its status, {} if none is there. Raises LeaseError."""
        try:
            with self.attach() as handle:
                return handle.inquire()
        except GuardGone:
            return {}


class NotMoved(LeaseError):
    """The hand-over failed. The text says where the service runs, or that it runs nowhere, and what can be done."""


def arrived(source: Place, target: Place) -> bool:
    """Say whether there is nothing to hand over: the target's service runs and the source's does not. Raises LeaseError."""
    return target.status().get("phase") == "active" and source.status().get("phase") in (None, "standby")


def hand_over(source: Place, target: Place, handover: str, seconds: float, timeout: float) -> dict[str, int]:
    """Move what the source's service holds to the target's service; give the new tokens.

    seconds: how long nobody else gets it while neither has it. timeout: for the end of the source's service.
    Raises NotMoved; if the target could not take over, the source has been asked to go on.
    """
    try:
        with target.attach() as handle:
            name = handle.prepare_in(handover)
        state = _out(source, handover, name, seconds, timeout)
    except LeaseError as error:
        raise NotMoved(f"{error}. {_cancel(source, handover)}{where(source, target)}") from None
    try:
        with target.attach() as handle:
            return handle.complete_in(handover if state is None else state)
    except LeaseError as error:
        raise NotMoved(f"{error}. {_cancel(source, handover)}{where(source, target)}") from None


def _out(source: Place, handover: str, target: str, seconds: float, timeout: float) -> Handover | None:
    """Have the source give up. None: its guard is gone, what it has left behind is known to the store alone."""
    try:
        with source.attach() as handle:
            try:
                handle.prepare_out(handover, target, seconds)
            except NotActive:
                # It may have been handed over already, by somebody who did not hear the answer.
                pass
            return handle.complete_out(handover, timeout)
    except GuardGone:
        return None


def _cancel(source: Place, handover: str) -> str:
    try:
        returning = source.cancel(handover) == RETURNING
    except LeaseError:
        return ""
    return f"{source.name} was asked to go on. " if returning else ""


def where(source: Place, target: Place) -> str:
    """Say at which of the two places the service runs, for people."""
    found = []
    for place in (source, target):
        try:
            phase = place.status().get("phase")
        except LeaseError as error:
            found.append(f"of {place.name} nobody knows: {error}")
            continue
        if phase is None:
            found.append(f"{place.name} has no guard")
        else:
            found.append(f"{place.name} is {phase}")
    return f"Now {', '.join(found)}"
