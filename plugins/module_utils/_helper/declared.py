# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What those who judge the declaration of an operation and those who do it both know of it. PRIVATE to the collection."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Seconds that an operation may take unless it says otherwise.
TIMEOUT = 30.0

_SMALL, _DIGITS = "abcdefghijklmnopqrstuvwxyz", "0123456789"
_LETTERS = _SMALL + _SMALL.upper()
#: Longest name.
_LONGEST = 64


def name(text: str) -> bool:
    """Say whether *text* is a name, one that Varlink knows as one, too: https://varlink.org/Interface-Definition"""
    return len(text) <= _LONGEST and _is_joined(text, _SMALL)


def member(text: str) -> bool:
    """Say whether *text* can be a member of an enumeration in Varlink."""
    return _is_joined(text, _LETTERS)


def _is_joined(text: str, letters: str) -> bool:
    """Say whether *text* is letters and digits with single '_' between them, and the first one a letter."""
    parts = text.split("_")
    return all(part and not part.strip(letters + _DIGITS) for part in parts) and text[0] in letters


def placeholder(word: str) -> str:
    """Give the parameter whose value a word of a template is to be, "" if that is the word itself."""
    inner = word[1:-1]
    if word[:1] != "{" or word[-1:] != "}" or not 0 < len(inner) <= _LONGEST or inner[0] not in _SMALL:
        return ""
    return "" if inner.strip(_SMALL + _DIGITS + "_") else inner


def secured_by(document: dict[str, Any], operation: dict[str, Any]) -> str:
    """Give the resource that this host has to hold for an operation, "" for none."""
    if operation.get("unsecured"):
        return ""
    return str(operation.get("secured_by") or document.get("secured_by") or "")
