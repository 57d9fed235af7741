# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts that come first, where the store calls nobody and one in line looks each `poll`. PRIVATE to the collection.

Who finds free what he wants, and does not come first, waits for as many glances as his preference says, and looks again.
In one glance everybody in line looks once, so that whoever comes before him has got it meanwhile, if he is there. Nobody
has to know of anybody: one who has died is waited for no longer than one who was never there.

Who comes first and has stood in line for `fail_back` seconds wishes for what is held by somebody who comes after him: he
writes a block beside it again and again. A holder heeds a block that has changed since it last looked, so that the wish of
one who has died moves nobody, and no clock is compared. It ends its service in order, and gives everything back.

Neither grants anything: who gets a lease is decided as if there was no preference.
"""

from __future__ import annotations

import os

from .given import number
from .sealed import decode, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

#: Parameters of a driver.
NAMES = frozenset(("preference", "fail_back"))
#: The part of `poll` in which everybody in line has looked once: a look is up to a tenth late.
GLANCE = 1.5
#: Seconds for which one wishes at a time at least. A holder that does not heed it is left alone then for `fail_back`.
_WISHES = 30.0


class Preference:
    """How a guard stands to others. place: 0 comes first. glance: seconds in which all in line have looked. pause: seconds to hold back."""

    __slots__ = ("_patience", "glance", "pause", "place")

    def __init__(self, driver: str, given: Mapping[str, Any], poll: float) -> None:
        """Raises DriverRefused."""
        self.place = number(driver, given, "preference", 0.0, 0.0, 100.0)
        self._patience = number(driver, given, "fail_back", 0.0, 0.0, 86400.0)
        self.pause = self.place * GLANCE * poll
        # Who makes way lets those have it, too, who come right after him, and hold back longer than he does.
        steps = self.place + 2 if "preference" in given else 1
        self.glance = steps * GLANCE * poll

    def wishes(self, waited: float, pace: float) -> bool:
        """Say whether it is time to wish, after *waited* seconds in line. pace: seconds between two looks of a holder."""
        if not self._patience:
            return False
        return waited % (self._patience + max(_WISHES, 3 * pace)) >= self._patience

    def after_us(self, record: Mapping[str, Any] | None) -> bool:
        """Say whether the holder of that *record* comes after us."""
        return self.place < place_of(record)

    def wish(self, tenant: str) -> bytes:
        """Give the block of a wish, another one each time."""
        return encode({"tenant": tenant, "preference": self.place, "beat": os.urandom(4).hex()})


class Wishes:
    """What a holder, whose *preference* it is, has seen of the wishes for what it holds."""

    def __init__(self, preference: Preference) -> None:
        self._preference = preference
        self._seen: dict[tuple[str, int], bytes] = {}

    def heed(self, resource: str, token: int, block: bytes) -> str:
        """Name who wishes for *resource*, by the *block* that stands there now, and comes before us; "" if nobody does.

        The first look at what was granted with *token* tells nothing: who has written the block may be long gone.
        """
        # Its check sum.
        mark = block[:8]
        before = self._seen.get((resource, token))
        self._seen[resource, token] = mark
        record = decode(block) if before not in (None, mark) else None
        if record is None or place_of(record) >= self._preference.place:
            return ""
        return str(record.get("tenant", "?"))


def place_of(record: Mapping[str, Any] | None) -> float:
    """Give the preference in a record: whoever has said none comes first."""
    value = (record or {}).get("preference", 0.0)
    return float(value) if isinstance(value, (int, float)) else 0.0
