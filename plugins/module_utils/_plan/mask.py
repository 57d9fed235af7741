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
from collections.abc import Iterable

MASK = "********"
#: A value shorter than this is masked only where it stands alone: inside of words it says nothing.
LONG = 6


class Mask:
    """Replaces the given values in texts."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        # The longest first, since one may be a part of another.
        known = sorted({value for value in values if value.strip()}, key=len, reverse=True)
        words = [re.escape(value) if len(value) >= LONG else rf"(?<!\w){re.escape(value)}(?!\w)" for value in known]
        self._pattern = re.compile("|".join(words)) if words else None

    def text(self, text: str) -> str:
        """Give *text* without the values."""
        return text if self._pattern is None else self._pattern.sub(MASK, text)
