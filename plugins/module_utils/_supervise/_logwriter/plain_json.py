# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""JSON for the log writer, without the memory of the ``json`` package (which loads regular expressions and enums).

CPython's own scanner and string encoder are used where they are; otherwise the package.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable


class _Context:
    """What the scanner asks its decoder for."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float

    def __init__(self) -> None:
        self.memo: dict[str, str] = {}


def _scanner() -> Callable[[str], Any]:
    try:
        from _json import make_scanner
    except ImportError:
        from json import loads

        return loads
    scan = make_scanner(_Context())  # type: ignore[arg-type]

    def load(text: str) -> Any:
        """The value of a JSON text; ValueError if it is none."""
        stripped = text.strip()
        try:
            value, end = scan(stripped, 0)
        except (StopIteration, ValueError, SystemError):
            end = -1
        if end == len(stripped):
            return value
        # The package knows to say what is wrong, and the scanner cannot without it.
        from json import loads

        return loads(text)

    return load


def _encoder() -> Callable[[str], str]:
    try:
        from _json import encode_basestring_ascii
    except ImportError:
        from json import dumps

        return dumps
    return encode_basestring_ascii


load = _scanner()
_quote = _encoder()


def dump(value: dict[str, str | int | float | None]) -> str:
    """The JSON text of a flat dictionary."""
    parts = []
    for key, item in value.items():
        text = "null" if item is None else _quote(item) if isinstance(item, str) else repr(item)
        parts.append(f"{_quote(key)}: {text}")
    return "{{{}}}".format(", ".join(parts))
