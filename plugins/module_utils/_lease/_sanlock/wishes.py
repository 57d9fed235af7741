# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Wishes for what somebody holds who comes after the one who wishes, see ../preferring.py. PRIVATE to the collection.

The daemon tells of a holder on another host only its number. So who holds something and does not come first says beside it
how he stands, for the number of his grant only; whoever wishes for it reads that, and writes his wish beside it. What is
shared nobody wishes for: there is one block, and there may be many holders.
"""

from __future__ import annotations

from ..interface import LeaseError
from ..preferring import Wishes
from ..sealed import decode, encode
from .marks import MARK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..preferring import Preference
    from .batch import Resource
    from .daemon import Owner, Space
    from .marks import Marks

#: Blocks of a resource, counted from the end of its place.
_HOLDER, _WISH = MARK + 1, MARK + 2


class Wishing:
    """The wishes of the guard that others know as *known_as*, and those for what it holds."""

    def __init__(self, marks: Marks, preference: Preference, known_as: str) -> None:
        self._marks = marks
        self._preference = preference
        self._known_as = known_as
        self._wishes = Wishes(preference)
        #: Grants of which it stands beside them how we stand.
        self._said: set[tuple[str, int]] = set()

    def heed(self, held: Sequence[Resource], space: Space, patience: float) -> str:
        """Name who wishes for what is held alone and comes before us, "" if nobody does, or nobody knows."""
        grants = [(one, one.token) for one in held if one.token is not None and not one.shared]
        if not self._preference.place or not grants:
            # Nobody comes before who comes first.
            return ""
        try:
            said = {(one.name, token) for one, token in grants}
            if said - self._said:
                place = self._preference.place
                records = [(one, encode({"token": token, "preference": place})) for one, token in grants]
                self._marks.put([(one, _HOLDER, block) for one, block in records], space, patience)
                self._said = said
            blocks = self._marks.blocks([(one, _WISH) for one, _token in grants], space, patience)
        except LeaseError:
            # The next look tells.
            return ""
        found = [self._wishes.heed(one.name, token, block) for (one, token), block in zip(grants, blocks)]
        return next(filter(None, found), "")

    def wish(self, ahead: Sequence[tuple[Resource, Owner]], space: Space, patience: float) -> None:
        """Wish for what somebody has, if all of *ahead* come after us. Raises LeaseError."""
        if not ahead or any(owner.shared for _one, owner in ahead):
            return
        blocks = self._marks.blocks([(one, _HOLDER) for one, _owner in ahead], space, patience)
        for (_one, owner), block in zip(ahead, blocks):
            record = decode(block)
            if record is None or record.get("token") != owner.number or not self._preference.after_us(record):
                return
        block = self._preference.wish(self._known_as)
        self._marks.put([(one, _WISH, block) for one, _owner in ahead], space, patience)
