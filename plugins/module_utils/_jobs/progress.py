# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a job says of its progress. PRIVATE to the collection.

It writes lines to the descriptor whose number is in HOLDFAST_PROGRESS: a text, before which a number from 0 to 100 may
stand, with or without a percent sign. The last whole line counts.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

VARIABLE = "HOLDFAST_PROGRESS"
#: Bytes of a line that are kept.
LONGEST = 1024

_line = re.compile(r"(?:(\d{1,3}(?:\.\d{1,6})?)\s*%?(?:\s+|$))?(.*)", re.DOTALL).fullmatch


class Progress:
    """Takes in what comes, in pieces of any size. last: percent and text; count: how many lines there were."""

    def __init__(self) -> None:
        self.last: dict[str, Any] | None = None
        self.count = 0
        self._rest = b""

    def take(self, data: bytes) -> bool:
        """Say whether there is news."""
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[:LONGEST]
        if not lines:
            return False
        self.count += len(lines)
        self.last = parse(lines[-1])
        return True


def parse(line: bytes) -> dict[str, Any]:
    """Read one line: `percent`, None if it has none, and `text`, without control characters."""
    text = line[:LONGEST].decode("utf-8", "replace").strip()
    text = "".join(letter if letter >= " " and letter != "\x7f" else " " for letter in text)
    found = _line(text)
    if found is None or found[1] is None or float(found[1]) > 100:
        return {"percent": None, "text": text}
    return {"percent": float(found[1]), "text": found[2]}
