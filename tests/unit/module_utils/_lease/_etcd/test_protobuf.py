# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Messages in their wire form, with the examples of its description."""

from __future__ import annotations

import random

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._lease._etcd import messages, protobuf
from ansible_collections.holdfast.supervision.plugins.module_utils._lease._etcd.frames import Violation


def test_the_examples_of_the_description() -> None:
    assert protobuf.number(1, 150).hex() == "089601"
    assert protobuf.part(2, b"testing").hex() == "120774657374696e67"
    assert protobuf.part(3, protobuf.number(1, 150)).hex() == "1a03089601"
    # Numbers of 64 bits have their sign in the last one.
    assert protobuf.number(1, -2).hex() == "08feffffffffffffffff01"
    assert protobuf.number(1, 0) == b""


@pytest.mark.parametrize("value", [1, 127, 128, 2**32, 2**63 - 1, -1, -(2**63)])
def test_numbers_survive(value: int) -> None:
    ((field, found),) = protobuf.fields(protobuf.number(200, value))
    assert (field, protobuf.signed(found)) == (200, value)
    assert messages.lease_and_ttl(protobuf.number(2, value) + protobuf.number(3, 10)) == (value, 10)
    assert messages.keepalive(value) == protobuf.number(1, value)


def test_fields_of_other_kinds_are_gone_over() -> None:
    data = b"\x09" + bytes(8) + b"\x15" + bytes(4) + protobuf.number(3, 7)
    assert list(protobuf.fields(data)) == [(1, bytes(8)), (2, bytes(4)), (3, 7)]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ("08", "cut off"),
        ("0896", "cut off"),
        ("120774", "cut off"),
        ("09000000", "cut off"),
        ("12ffffffffffffffffff01", "cut off"),
        ("08" + "ff" * 11, "without end"),
        ("0b", "kind 3"),
    ],
)
def test_what_is_no_message_is_refused(data: str, why: str) -> None:
    with pytest.raises(Violation, match=why):
        list(protobuf.fields(bytes.fromhex(data)))


@pytest.mark.parametrize(
    "answer",
    [
        protobuf.part(1, protobuf.part(3, b"x")) + protobuf.number(2, 1),
        protobuf.number(1, 1),
        protobuf.part(1, protobuf.number(3, 5)) + protobuf.part(2, b"1"),
        protobuf.part(1, protobuf.number(3, 5)) + protobuf.number(3, 1),
        # A store without a revision is none.
        protobuf.number(2, 1),
        b"",
    ],
)
def test_an_answer_of_another_form_is_refused(answer: bytes) -> None:
    with pytest.raises(Violation):
        messages.transacted(answer)


def test_noise_is_an_answer_or_refused() -> None:
    chance = random.Random(1)
    good = (
        protobuf.part(1, protobuf.number(3, 5))
        + protobuf.number(2, 1)
        + protobuf.part(3, protobuf.part(1, protobuf.part(2, protobuf.part(1, b"k") + protobuf.part(5, b"v"))))
    )
    for _unused in range(3000):
        noise = bytearray(good)
        for _at in range(chance.randrange(1, 4)):
            noise[chance.randrange(len(noise))] = chance.randrange(256)
        for read in (messages.transacted, messages.lease_and_ttl, messages.CALLS["/v3/lease/grant"][2]):
            try:
                read(bytes(noise))
            except Violation:
                continue
