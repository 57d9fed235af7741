# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""JSON for programs that stay. PRIVATE to the collection.

The reader and the writer that `json` has in C. Around them it has regular expressions and what those load, half a megabyte
that a process keeps for life. It is asked for what they do not say: what is wrong with a text. Where a Python has them not,
`json` does everything.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO, Any

    encode_basestring_ascii: Any
    make_encoder: Any
    make_scanner: Any
    Separators = tuple[str, str]

try:
    from _json import encode_basestring_ascii, make_encoder, make_scanner
except ImportError:
    make_scanner = make_encoder = None

_SPACE = " \t\n\r"
_CONSTANTS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


class _Rules:
    """What the reader makes of numbers and names, as `json.JSONDecoder` has it."""

    strict = True
    #: The last one from Python 3.15 on.
    object_hook = object_pairs_hook = array_hook = None
    parse_float = float

    def __init__(self, parse_int: Callable[[str], object], parse_constant: Callable[[str], object]) -> None:
        self.parse_int = parse_int
        self.parse_constant = parse_constant
        self.memo: dict[str, str] = {}


def reader(
    parse_int: Callable[[str], object] = int,
    parse_constant: Callable[[str], object] = _CONSTANTS.__getitem__,
    words: bool = True,
) -> Callable[[str], Any]:
    """Give what makes a value of a text, which may have white space around it. That raises ValueError, RecursionError.

    words: whether it is to say what is wrong with a text, for which it loads `json`. Strangers must not have us do that.
    """

    def thorough(text: str) -> Any:
        if not words and make_scanner is not None:
            raise ValueError("no JSON")
        try:
            import json
        except ImportError:
            # A Python that was replaced on this host since we began.
            raise ValueError("no JSON") from None
        return json.loads(text, parse_int=parse_int, parse_constant=parse_constant)

    if make_scanner is None:
        return thorough
    scan = make_scanner(_Rules(parse_int, parse_constant))

    def attempt(text: str) -> tuple[Any, int]:
        try:
            value, end = scan(text, 0)
        except (StopIteration, SystemError, ValueError, ImportError):
            # Some Pythons have no words for what is wrong unless all of `json` is loaded, others load it for them.
            return None, -1
        return value, end

    def read(text: str) -> Any:
        value, end = attempt(text)
        if end != len(text):
            stripped = text.strip(_SPACE)
            value, end = attempt(stripped)
            if end != len(stripped):
                return thorough(text)
        return value

    return read


def writer(
    separators: Separators = (", ", ": "), sort_keys: bool = False, allow_nan: bool = True, checked: bool = False
) -> Callable[[Any], str]:
    """Give what makes text of a value; that raises TypeError, ValueError.

    checked: whether a value that contains itself is a ValueError, and not a RecursionError.
    """
    if make_encoder is None:
        import json

        return json.JSONEncoder(
            separators=separators, sort_keys=sort_keys, allow_nan=allow_nan, check_circular=checked
        ).encode
    between, after_key = separators
    rules = (_refuse, encode_basestring_ascii, None, after_key, between, sort_keys, False, allow_nan)
    if checked:
        # What one has seen is not forgotten after an error, so that each value has one of its own.
        return lambda value: "".join(make_encoder({}, *rules)(value, 0))
    write = make_encoder(None, *rules)
    return lambda value: "".join(write(value, 0))


def _refuse(value: object) -> object:
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


_read = reader()
_write = writer()


def loads(text: str | bytes) -> Any:
    """Give the value of a text in UTF-8. Raises ValueError, RecursionError."""
    return _read(text if isinstance(text, str) else text.decode())


def load(file: IO[str]) -> Any:
    """Give the value of a file's text. Raises ValueError, RecursionError, OSError."""
    return loads(file.read())


def dumps(value: Any, separators: Separators | None = None, sort_keys: bool = False) -> str:
    """Give the text of a value. Raises TypeError, ValueError."""
    if separators is None and not sort_keys:
        return _write(value)
    return writer(separators or (", ", ": "), sort_keys)(value)
