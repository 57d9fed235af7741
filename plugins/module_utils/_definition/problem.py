# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a definition, in words that help."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

_SHOWN = 80
SECRET = "(secret)"


class Problem(NamedTuple):
    """One thing that is wrong in the inventory.

    path is the variable path (services_definitions.web.limits.nofile), value the offending value as it may be shown
    (never that of a secret; empty when there is nothing to show), allowed says what would be right, and advice how to
    get there (may be empty).
    """

    path: str
    value: str
    allowed: str
    advice: str = ""

    def text(self, host: str = "") -> str:
        """Return the problem as one line, led by the host it belongs to."""
        parts = [part for part in (host, self.path, self.value, self.allowed) if part]
        line = ": ".join(parts)
        return f"{line}; {self.advice}" if self.advice else line


def shown(value: Any) -> str:
    """Return a value as a person would have written it, cut to a readable length."""
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def nearest(word: str, known: Any) -> str:
    """Return advice that names the known word most like the given one, or all known words when none is like it."""
    # Only a faulty inventory pays for this import.
    import difflib

    words = sorted(known)
    close = difflib.get_close_matches(str(word), words, n=1)
    if close:
        return f"did you mean '{close[0]}'?"
    return "known: " + ", ".join(words)
