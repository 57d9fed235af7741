# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a lock file on NFS has in it, and how long those who are named there are waited for. PRIVATE to the collection.

Blocks of 4096 bytes, see ../sealed.py. The first has the counter of the resource, and the longest time that
anybody may have it for who is named in the others: what is waited for where one of those cannot be read. Each further one is
a holder's. He changes his block with every heartbeat, and clears it when he gives the lease back.

What can be said of a holder on another host, from here? Nothing by his lock: it goes when his client is cut off, when a
process of his is killed, when the server forgets it; the service may run on in all of these cases. But he promises that
nothing of it runs `ttl` seconds after he has *begun* the last heartbeat that was answered. So when a block has not changed
for `ttl` seconds of our own clock, since we have first read it as it is, his time is over, whatever server and network
did meanwhile. Nobody's clock is compared with another one; only their rates have to be about the same.
"""

from __future__ import annotations

from ..sealed import BLOCK, EMPTY, decode, encode

__all__ = ["BLOCK", "EMPTY", "LONGEST", "SIZE", "SLOTS", "Watched", "decode", "encode", "free_slot", "room"]

#: How many can have a resource at a time, all of them shared.
SLOTS = 31
SIZE = (1 + SLOTS) * BLOCK
#: Holders that follow each other have different slots, so that what an old one has sent and arrives late hits no new one.
_TURNS = 4
#: Seconds for which a grant is good at most, the most that a server has as its lease time.
LONGEST = 3600.0


def free_slot(blocks: list[bytes], token: int) -> int:
    """Give the number of the block for the holder with *token*, 0 if there is none left."""
    turns = [1 + (token + turn) % _TURNS for turn in range(_TURNS)]
    order = [*turns, *range(_TURNS + 1, SLOTS + 1)]
    return next((slot for slot in order if slot >= len(blocks) or blocks[slot] == EMPTY), 0)


def room(blocks: list[bytes]) -> bytes:
    """Give what is to be written after *blocks*, so that those who follow each other need no room on a disk that is full by then."""
    return EMPTY * max(1 + _TURNS - len(blocks), 0)


class Watched:
    """Since when the blocks of others are as they are, by our own clock."""

    def __init__(self) -> None:
        self._since: dict[tuple[str, int], tuple[bytes, float]] = {}

    def until(self, resource: str, slot: int, block: bytes, ttl: float, now: float) -> float:
        """Give the time from which on the holder named in *block*, who promises *ttl*, is sure to be gone.

        To be called with what has been read *before* the time *now*, again and again: what nobody has looked at is new. It is
        over for who has *begun* to read the block after that time.
        """
        seen = self._since.get((resource, slot))
        if seen is None or seen[0] != block:
            self._since[resource, slot] = seen = (block, now)
        return seen[1] + ttl

    def forget(self, resource: str) -> None:
        """Begin anew with a resource: it is ours now."""
        for key in [key for key in self._since if key[0] == resource]:
            del self._since[key]
