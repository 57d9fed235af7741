# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stopping a service whose lease could not be renewed in time, and letting it go on. PRIVATE to the collection."""

from __future__ import annotations

from .. import core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .guard import Guard

#: Seconds between two looks whether everything stands still.
_LOOK = 0.01


class Pausing:
    """The pauses of one guard's service. What decides about them is the core."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    def begin(self) -> None:
        """Have init stop everything below it, and report when that is so."""
        guard = self._guard
        guard.say("not renewed in time: paused until the store says that the lease is ours still")
        # What is run to see how the service is would be told lies, and must stand still too.
        guard.watching.suspend()
        if guard.tree is not None:
            guard.tree.pause()
        self._look()

    def _look(self) -> None:
        guard = self._guard
        if guard.state.phase != core.PAUSING or guard.tree is None:
            return
        if guard.tree.still:
            guard.event(core.STILL)
        else:
            guard.loop.later(_LOOK, self._look)

    def end(self) -> None:
        """Let everything go on. The kernel's timer has been set back before."""
        guard = self._guard
        guard.say("renewed: nobody else had the lease meanwhile, it goes on")
        if guard.tree is not None:
            guard.tree.resume()
        guard.watching.resume()
