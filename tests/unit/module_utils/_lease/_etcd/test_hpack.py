# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Packed heads, with the examples of RFC 7541, appendix C."""

from __future__ import annotations

import random

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._lease._etcd import hpack
from ansible_collections.holdfast.supervision.plugins.module_utils._lease._etcd.frames import Violation

_RESPONSE = {
    ":status": "302",
    "cache-control": "private",
    "date": "Mon, 21 Oct 2013 20:13:21 GMT",
    "location": "https://www.example.com",
}
_PLAIN = """
4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d54
6e1768747470733a2f2f7777772e6578616d706c652e636f6d"""
_CODED = """
488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff
6e919d29ad171863c78f0b97c8e9ae82ae43d3"""
_REQUEST = {":method": "GET", ":scheme": "http", ":path": "/", ":authority": "www.example.com"}


@pytest.mark.parametrize(
    ("packed", "fields"),
    [
        # C.2: one field, in each form that it can have.
        ("400a637573746f6d2d6b65790d637573746f6d2d686561646572", {"custom-key": "custom-header"}),
        ("040c2f73616d706c652f70617468", {":path": "/sample/path"}),
        ("100870617373776f726406736563726574", {"password": "secret"}),
        ("82", {":method": "GET"}),
        # C.3.1, C.4.1: a request, plain and with Huffman's code.
        ("828684410f7777772e6578616d706c652e636f6d", _REQUEST),
        ("828684418cf1e3c2e5f23a6ba0ab90f4ff", _REQUEST),
        # C.5.1, C.6.1: an answer.
        (_PLAIN, _RESPONSE),
        (_CODED, _RESPONSE),
    ],
)
def test_the_examples_of_the_rfc_are_unpacked(packed: str, fields: dict[str, str]) -> None:
    assert hpack.decode(bytes.fromhex(packed)) == fields


@pytest.mark.parametrize(
    ("packed", "text"),
    [
        ("a8eb10649cbf", "no-cache"),
        ("25a849e95ba97d7f", "custom-key"),
        ("25a849e95bb8e8b4bf", "custom-value"),
        ("640eff", "307"),
        ("9bd9ab", "gzip"),
        (
            "94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
            "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
        ),
    ],
)
def test_texts_of_the_rfc_are_unpacked(packed: str, text: str) -> None:
    data = bytes.fromhex(packed)
    assert hpack.decode(b"\x04" + bytes((0x80 | len(data),)) + data) == {":path": text}


def test_numbers_of_the_rfc() -> None:
    # C.1: 10 and 1337 in five bits, 42 in eight.
    assert hpack._number(b"\xea", 0, 5) == (10, 1)
    assert hpack._number(b"\x1f\x9a\x0a", 0, 5) == (1337, 3)
    assert hpack._number(b"\x2a", 0, 8) == (42, 1)
    assert [hpack._packed_number(*words, 0).hex() for words in ((10, 5), (1337, 5), (42, 8))] == ["0a", "1f9a0a", "2a"]


def test_every_byte_has_a_code_and_no_code_begins_another() -> None:
    codes = {}
    for length, (first, symbols) in hpack._CODES.items():
        for at, symbol in enumerate(symbols):
            codes[symbol] = format(first + at, f"0{length}b")
    assert sorted(codes) == list(range(256))
    # Some of appendix B.
    assert [codes[one] for one in (ord("0"), ord("a"), 0, 10, 255)] == [
        "00000",
        "00011",
        "1111111111000",
        "1" * 28 + "00",
        "11111111111111111111101110",
    ]
    # Together with the end they leave no room for others.
    assert sum(2.0 ** -len(code) for code in codes.values()) + 2.0**-30 == 1.0


def test_every_byte_survives() -> None:
    codes = {
        symbol: format(first + at, f"0{length}b")
        for length, (first, symbols) in hpack._CODES.items()
        for at, symbol in enumerate(symbols)
    }
    text = bytes(range(256))
    bits = "".join(codes[one] for one in text)
    bits += "1" * (-len(bits) % 8)
    assert hpack._unpacked(int(bits, 2).to_bytes(len(bits) // 8, "big")) == text


def test_a_table_of_no_size_may_be_announced_at_the_beginning() -> None:
    assert hpack.decode(b"\x20\x88") == {":status": "200"}


@pytest.mark.parametrize(
    ("packed", "why"),
    [
        ("be", "refers to a table"),
        ("80", "refers to a table"),
        ("7f0161", "refers to a table"),
        ("3f01", "no room"),
        ("8820", "no room"),
        ("04", "cut off"),
        ("040561", "cut off"),
        ("ff", "cut off"),
        ("ffffffffffffff", "without end"),
        # Filled up with noughts, with more than seven ones, and the code of the end itself.
        ("048100", "filled up"),
        ("0482f8ff", "filled up"),
        ("0484ffffffff", "stands for nothing"),
    ],
)
def test_what_is_no_head_is_refused(packed: str, why: str) -> None:
    with pytest.raises(Violation, match=why):
        hpack.decode(bytes.fromhex(packed))


def test_noise_is_a_head_or_refused() -> None:
    chance = random.Random(7541)
    for _unused in range(3000):
        noise = bytes(chance.randrange(256) for _at in range(chance.randrange(1, 60)))
        try:
            fields = hpack.decode(noise)
        except Violation:
            continue
        assert all(isinstance(text, str) for field in fields.items() for text in field)


def test_what_is_packed_is_what_was_meant() -> None:
    fields = [(":method", "POST"), (":path", "/a"), ("te", "trailers"), ("token", "x" * 2000), ("content-type", "\xe9")]
    packed = hpack.encode(fields, secret="token")
    assert hpack.decode(packed) == dict(fields)
    # In the form that nobody on the way may put into a table.
    assert b"\x10\x05token" in packed and b"\x00\x02te" in packed and packed.startswith(b"\x83\x04\x02/a")
