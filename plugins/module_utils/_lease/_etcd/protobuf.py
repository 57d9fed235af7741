# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The wire form of protocol buffers, as much of it as etcd's messages need. PRIVATE to the collection.

https://protobuf.dev/programming-guides/encoding/. A number that is 0 and a text that is empty are left out by whoever
sends them.
"""

from __future__ import annotations

from .frames import Violation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Union

    Value = Union[int, bytes]

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_64 = 2**64


def number(field: int, value: int) -> bytes:
    """Give a field with a number of 64 bits, nothing for 0."""
    return varint(field << 3 | _VARINT) + varint(value % _64) if value else b""


def part(field: int, value: bytes) -> bytes:
    """Give a field with a text or with a message; an empty one is there too."""
    return varint(field << 3 | _LENGTH) + varint(len(value)) + value


def varint(value: int) -> bytes:
    """Give a number of no sign in its wire form."""
    if value < 0x80:
        return bytes((value,))
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def fields(data: bytes) -> Iterator[tuple[int, Value]]:
    """Give number and value of each field of a message. Raises Violation."""
    at, end = 0, len(data)
    while at < end:
        key = data[at]
        if key < 0x80:
            at += 1
        else:
            key, at = _varint(data, at)
        kind = key & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if kind == _LENGTH:
            size, at = _varint(data, at)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            raise Violation(f"a field of kind {kind}")
        if at + size > end:
            raise Violation("a message that is cut off")
        yield key >> 3, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise Violation("a message that is cut off")
        octet = data[at]
        at += 1
        value |= (octet & 0x7F) << shift
        if octet < 0x80:
            return value % _64, at
    raise Violation("a number without end")


def signed(value: Value) -> int:
    """Give the number of a field whose kind has a sign. Raises Violation if it is none."""
    if not isinstance(value, int):
        raise Violation("a text where a number belongs")
    return value - _64 if value >= _64 // 2 else value


def inner(value: Value) -> bytes:
    """Give the text or the message of a field. Raises Violation if it is none."""
    if not isinstance(value, bytes):
        raise Violation("a number where a message belongs")
    return value
