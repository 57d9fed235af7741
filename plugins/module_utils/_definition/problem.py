# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a definition, in words that help. PRIVATE to the collection."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

_SHOWN = 80
_FEW = 50
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
        if self.advice:
            line = f"{line}; {self.advice}"
        return line.replace("\n", "\\n")


def shown(value: Any) -> str:
    """Return a value as a person would have written it, cut to a readable length.

    Of containers in containers only the kind is told: there may be a secret in the depth.
    """
    if isinstance(value, (dict, list, tuple)):
        inner = value.values() if isinstance(value, dict) else value
        if any(isinstance(item, (dict, list, tuple)) for item in inner):
            return "(dictionary)" if isinstance(value, dict) else "(list)"
    return example(value)


def example(value: Any) -> str:
    """Return a value that has no secret in it in the same way, however deep."""
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def nearest(word: str, known: Iterable[Any]) -> str:
    """Return advice that names the known word most like the given one, or all known words if they are few."""
    # Only a faulty inventory pays for this import.
    import difflib

    words = sorted(map(str, known))
    close = difflib.get_close_matches(str(word), words, n=1)
    if close:
        return f"did you mean '{close[0]}'?"
    return "known: " + ", ".join(words) if 0 < len(words) <= _FEW else ""
