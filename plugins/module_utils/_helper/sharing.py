# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Calls that share a run: identical ones of an operation that is declared so. PRIVATE to the collection.

A call that comes while another one waits for its turn joins it. One that comes while another one runs does not: that run
may have looked at the world before the caller asked. It waits for the next, which begins when this one has ended. So
everybody's run began after he had asked, and any number of callers make two runs at most.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .calls import Call


class Sharing:
    """Who shares with whom. Calls are identical if operation and parameters are; who may call it may know what it gave."""

    def __init__(self) -> None:
        self._gathering: dict[str, Call] = {}
        self._running: set[str] = set()

    def join(self, call: Call) -> bool:
        """Have a call share the run of one that has not begun; False if it is the first of its run."""
        first = self._gathering.setdefault(call.digest, call)
        if first is call:
            return False
        first.sharers.append(call)
        call.first = first
        return True

    def may_begin(self, call: Call) -> bool:
        """Say whether no identical call is at work."""
        return not call.operation.coalesce or call.digest not in self._running

    def begins(self, call: Call) -> None:
        """Let nobody join a run any more."""
        if call.operation.coalesce:
            self._gathering.pop(call.digest, None)
            self._running.add(call.digest)

    def left(self, call: Call) -> None:
        """Let nobody join a call that has ended without a run."""
        if call.operation.coalesce and self._gathering.get(call.digest) is call:
            del self._gathering[call.digest]

    def ended(self, call: Call) -> None:
        """Let the next run begin."""
        if call.operation.coalesce:
            self._running.discard(call.digest)
