# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keeps secrets out of what is shown. PRIVATE to the collection.

Ansible replaces a secret value wherever it occurs in a result. A short one (a password "up") would destroy states, names
and keys. Our results are made so that secrets can only be in free text, so that is what is masked: file contents in
diffs, log lines, reasons.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

MASK = "********"
#: A value shorter than this is masked only where it stands alone: inside of words it says nothing.
LONG = 6


def _forms(value: str) -> Iterator[str]:
    """Give what a value looks like where it may be found: in a log, line by line, or quoted in a script."""
    for text in (value, value.strip(), *(line for line in map(str.strip, value.splitlines()) if len(line) >= LONG)):
        if text.strip():
            yield text
            yield text.replace("'", "'\\''")


class Mask:
    """Replaces the given values in texts."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._values = set(values)
        self._pattern: re.Pattern[str] | None = None

    def _made(self) -> re.Pattern[str]:
        # The longest first, since one may be a part of another.
        known = sorted({form for value in self._values for form in _forms(value)}, key=len, reverse=True)
        words = [re.escape(value) if len(value) >= LONG else rf"(?<!\w){re.escape(value)}(?!\w)" for value in known]
        # Without any it matches nothing.
        return re.compile("|".join(words) or "(?!)")

    def also(self, values: Iterable[str]) -> Mask:
        """Give one that covers these values too."""
        more = set(values) - self._values
        return Mask(self._values | more) if more else self

    def text(self, text: str) -> str:
        """Give *text* without the values."""
        if self._pattern is None:
            # Only now: with many long secrets this takes seconds, and most runs have nothing to show.
            self._pattern = self._made()
        return self._pattern.sub(MASK, text)
