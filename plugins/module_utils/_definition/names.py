# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which names a service may have. Imported by long-lived programs too: keep it small. PRIVATE to the collection."""

from __future__ import annotations

import re

NAME_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9_.@:+-]{0,63}$"
NAME_RULE = "1 to 64 letters, digits and '_ . @ : + -', the first one a letter, a digit or '_'"

_match = re.compile(NAME_PATTERN).fullmatch


def is_name(text: object) -> bool:
    """Tell whether a value can be the name of a service, and so of its directory."""
    return isinstance(text, str) and _match(text) is not None and not text.endswith("\n")
