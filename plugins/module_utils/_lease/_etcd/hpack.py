# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Heads of HTTP/2 in their packed form (RFC 7541), as it is without a dynamic table. PRIVATE to the collection.

We tell the peer that we have no room for a table, and use none for what we send. So a packed head means the same
whenever it comes, and nothing has to be kept.
"""

from __future__ import annotations

from .frames import Violation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

#: The static table, appendix A: from 1 on, name and value with a blank between them.
_ENTRIES = """\
:authority|:method GET|:method POST|:path /|:path /index.html|:scheme http|:scheme https|:status 200|:status 204|\
:status 206|:status 304|:status 400|:status 404|:status 500|accept-charset|accept-encoding gzip, deflate|\
accept-language|accept-ranges|accept|access-control-allow-origin|age|allow|authorization|cache-control|\
content-disposition|content-encoding|content-language|content-length|content-location|content-range|content-type|\
cookie|date|etag|expect|expires|from|host|if-match|if-modified-since|if-none-match|if-range|if-unmodified-since|\
last-modified|link|location|max-forwards|proxy-authenticate|proxy-authorization|range|referer|refresh|retry-after|\
server|set-cookie|strict-transport-security|transfer-encoding|user-agent|vary|via|www-authenticate"""


def _field(entry: str) -> tuple[str, str]:
    name, _blank, value = entry.partition(" ")
    return name, value


_TABLE = tuple(map(_field, _ENTRIES.split("|")))
#: Huffman's code, appendix B: all that have codes of so many bits, in their order. It is canonical: codes count up.
_BY_LENGTH = (
    (5, "303132616365696f7374"),
    (6, "20252d2e2f333435363738393d415f62646667686c6d6e707275"),
    (7, "3a42434445464748494a4b4c4d4e4f5051525354555657596a6b71767778797a"),
    (8, "262a2c3b585a"),
    (10, "212228293f"),
    (11, "272b7c"),
    (12, "233e"),
    (13, "0024405b5d7e"),
    (14, "5e7d"),
    (15, "3c607b"),
    (19, "5cc3d0"),
    (20, "808283a2b8c2e0e2"),
    (21, "99a1a7acb0b1b3d1d8d9e3e5e6"),
    (22, "8184858688929a9ca0a3a4a9aaadb2b5b9babbbdbec4c6e4e8e9"),
    (23, "0187898a8b8c8d8f93959697989b9d9ea5a6a8aeafb4b6b7bcbfc5e7ef"),
    (24, "098e9091949fabced7e1eced"),
    (25, "c7cfeaeb"),
    (26, "c0c1c8c9cacdd2d5dadbeef0f2f3ff"),
    (27, "cbccd3d4d6dddedff1f4f5f6f7f8fafbfcfdfe"),
    (28, "020304050607080b0c0e0f1011121314151718191a1b1c1d1e1f7fdcf9"),
    # And with the last one of this length a text would end, which nobody may send.
    (30, "0a0d16"),
)
_LONGEST = 30


def _codes() -> dict[int, tuple[int, bytes]]:
    """Give for each length the first code, and what it and those after it stand for."""
    found = {}
    code = length = 0
    for bits, symbols in _BY_LENGTH:
        code <<= bits - length
        found[bits] = (code, bytes.fromhex(symbols))
        code, length = code + len(symbols) // 2, bits
    return found


_CODES = _codes()


def decode(block: bytes) -> dict[str, str]:
    """Give the fields of a head; of several with one name the last. Raises Violation."""
    fields: dict[str, str] = {}
    at = 0
    try:
        while at < len(block):
            first = block[at]
            if first & 0xE0 == 0x20:
                size, at = _number(block, at, 5)
                if size or fields:
                    raise Violation("a table that we have no room for")
                continue
            if first & 0x80:
                index, at = _number(block, at, 7)
                name, value = _entry(index)
            else:
                # To be put into the table, which has no room for it, or not.
                index, at = _number(block, at, 6 if first & 0x40 else 4)
                if index:
                    name = _entry(index)[0]
                else:
                    name, at = _text(block, at)
                value, at = _text(block, at)
            fields[name] = value
    except IndexError:
        raise Violation("a head that is cut off") from None
    return fields


def _entry(index: int) -> tuple[str, str]:
    if not 0 < index <= len(_TABLE):
        raise Violation("a head that refers to a table which we do not have")
    return _TABLE[index - 1]


def _number(block: bytes, at: int, prefix: int) -> tuple[int, int]:
    """Give the number that begins in the last *prefix* bits of a byte, and where it ends. Raises Violation, IndexError."""
    most = (1 << prefix) - 1
    value = block[at] & most
    at += 1
    if value < most:
        return value, at
    for shift in range(0, 28, 7):
        octet = block[at]
        at += 1
        value += (octet & 0x7F) << shift
        if octet < 0x80:
            return value, at
    raise Violation("a number without end")


def _text(block: bytes, at: int) -> tuple[str, int]:
    packed = block[at] & 0x80
    size, at = _number(block, at, 7)
    if at + size > len(block):
        raise IndexError
    data = block[at : at + size]
    return (_unpacked(data) if packed else data).decode("latin-1"), at + size


def _unpacked(data: bytes) -> bytes:
    """Undo Huffman's code. Raises Violation."""
    found = bytearray()
    code = length = 0
    for octet in data:
        for shift in range(7, -1, -1):
            code = code << 1 | octet >> shift & 1
            length += 1
            first, symbols = _CODES.get(length, (0, b""))
            if symbols and code - first < len(symbols):
                found.append(symbols[code - first])
                code = length = 0
            elif length >= _LONGEST:
                raise Violation("a code that stands for nothing")
    # What fills the last byte begins like the code of the end.
    if length > 7 or code != (1 << length) - 1:
        raise Violation("a text that is filled up wrongly")
    return bytes(found)


def encode(fields: Iterable[tuple[str, str]], secret: str = "") -> bytes:
    """Pack a head without any table but the static one. secret: the name of a field that nobody on the way may keep."""
    names = [entry[0] for entry in _TABLE]
    packed = b""
    for field in fields:
        if field in _TABLE:
            packed += _packed_number(_TABLE.index(field) + 1, 7, 0x80)
            continue
        name, value = field
        known = name in names
        packed += _packed_number(names.index(name) + 1 if known else 0, 4, 0x10 if name == secret else 0)
        packed += (b"" if known else _packed_text(name)) + _packed_text(value)
    return packed


def _packed_number(value: int, prefix: int, flags: int) -> bytes:
    most = (1 << prefix) - 1
    if value < most:
        return bytes((flags | value,))
    packed = bytearray((flags | most,))
    value -= most
    while value > 0x7F:
        packed.append(value & 0x7F | 0x80)
        value >>= 7
    packed.append(value)
    return bytes(packed)


def _packed_text(text: str) -> bytes:
    data = text.encode("latin-1")
    return _packed_number(len(data), 7, 0) + data
