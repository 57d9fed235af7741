# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How often somebody may do something. PRIVATE to the collection."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Hashable

#: Callers that are remembered before those whose past does not count any more are forgotten.
_REMEMBERED = 256


class Limit:
    """A bucket of tokens for each caller: *calls* of them at once, and as many again in each *seconds*.

    Of each caller one number is kept, the time at which his bucket is full again (the "generic cell rate algorithm",
    ITU-T I.371); none when it is full.
    """

    __slots__ = ("_full", "_gap", "_swept", "calls", "seconds")

    def __init__(self, calls: int, seconds: float) -> None:
        self.calls = calls
        self.seconds = seconds
        self._gap = seconds / calls
        self._full: dict[Hashable, float] = {}
        self._swept = 0.0

    def take(self, caller: Hashable, now: float) -> float:
        """Take a token; gives 0, or without taking one the seconds until there is one."""
        full = max(self._full.get(caller, 0.0), now) + self._gap
        # A little slack: sums of fractions are not exact, and the last of *calls* tokens is a token.
        wait = full - now - self.seconds
        if wait > self._gap * 1e-3:
            return wait
        if len(self._full) >= _REMEMBERED and now - self._swept > self._gap:
            self._full = {one: at for one, at in self._full.items() if at > now}
            self._swept = now
        self._full[caller] = full
        return 0.0
