# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Messages of the Varlink protocol: JSON objects, each ended by one NUL byte.

Source of the format: https://varlink.org/Method-Call. PRIVATE to the collection.
"""

from __future__ import annotations

from .._lean import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Longest request that a server of ours reads, in bytes. A reply may be longer: the server is trusted by its clients.
REQUEST_LIMIT = 4 * 1024 * 1024
#: Deepest nesting of a request: the recursion of the JSON reader stays far from the interpreter's limit.
DEPTH_LIMIT = 16
#: Characters of a whole number: those of 64 bits, and the sign.
_DIGITS = 20


class BadMessage(ValueError):
    """A message that is not a JSON object of the protocol's form; the connection is of no further use."""


def _whole(text: str) -> int:
    """Read a whole number. The time for a long one grows with the square of its length, and no field needs it."""
    if len(text) > _DIGITS:
        raise ValueError("a number that is too long")
    return int(text)


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is no JSON")


_read = json.reader(_whole, _no_constant, words=False)
writer = json.writer
_text = writer((",", ":"))


def encode(message: dict[str, Any]) -> bytes:
    """Give *message* in its wire form, the NUL included."""
    return _text(message).encode() + b"\0"


def decode(frame: bytes) -> dict[str, Any]:
    """Read one message, the NUL already taken off.

    Raises BadMessage for anything but a JSON object in UTF-8 that is nested no deeper than DEPTH_LIMIT.
    """
    if _depth(frame) > DEPTH_LIMIT:
        raise BadMessage("nested too deeply")
    try:
        message = _read(frame.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadMessage(f"not JSON: {error}") from None
    if not isinstance(message, dict):
        raise BadMessage("not a JSON object")
    return message


def _depth(frame: bytes) -> int:
    """Give an upper bound of the nesting without parsing: brackets in strings count too, which only errs upwards.

    The cheap count decides nearly always; only a frame with many brackets is walked.
    """
    if frame.count(b"{") + frame.count(b"[") <= DEPTH_LIMIT:
        return 0
    depth = deepest = 0
    quoted = escaped = False
    for byte in frame:
        if escaped:
            escaped = False
        elif quoted:
            if byte == 0x5C:
                escaped = True
            elif byte == 0x22:
                quoted = False
        elif byte == 0x22:
            quoted = True
        elif byte in b"[{":
            depth += 1
            if depth > deepest:
                deepest = depth
                if deepest > DEPTH_LIMIT:
                    return deepest
        elif byte in b"]}":
            depth -= 1
    return deepest
