# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Frames: how they are made and taken apart."""

from __future__ import annotations

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._lease._etcd import frames
from ansible_collections.holdfast.supervision.plugins.module_utils._lease._etcd.frames import Violation, frame


def test_a_frame_begins_with_length_kind_flags_and_stream() -> None:
    assert frame(frames.PING, frames.ACK, 0, b"12345678").hex() == "0000080601000000003132333435363738"
    assert frames.settings([(frames.TABLE_SIZE, 0), (frames.FRAME_SIZE, 16384)]).hex() == (
        "00000c040000000000" + "000100000000" + "000500004000"
    )


def test_frames_come_in_pieces_of_any_size() -> None:
    sent = [(frames.DATA, 1, 5, b"abc"), (frames.PING, 0, 0, b"12345678"), (77, 255, 1, b"")]
    data = b"".join(frame(kind, flags, stream, payload) for kind, flags, stream, payload in sent)
    for size in range(1, len(data) + 1):
        reader = frames.Reader()
        assert [one for at in range(0, len(data), size) for one in reader.frames(data[at : at + size])] == sent


def test_the_first_bit_of_a_stream_means_nothing() -> None:
    assert next(frames.Reader().frames(bytes.fromhex("000000000080000003"))) == (frames.DATA, 0, 3, b"")


def test_a_frame_that_is_larger_than_we_take_is_refused_before_it_has_come() -> None:
    with pytest.raises(Violation, match="16385 bytes"):
        list(frames.Reader().frames((16385).to_bytes(3, "big") + bytes(6)))


def test_padding_and_priority_are_taken_off() -> None:
    assert frames.unpadded(0, b"abc") == b"abc"
    assert frames.unpadded(frames.PADDED, b"\2abc\0\0") == b"abc"
    assert frames.unpadded(frames.PADDED | frames.PRIORITISED, b"\1\0\0\0\0\x10abc\0") == b"abc"
    assert frames.unpadded(frames.PADDED, b"\2\0\0") == b""


@pytest.mark.parametrize(
    ("flags", "payload"),
    [
        (frames.PADDED, b""),
        (frames.PADDED, b"\1"),
        (frames.PADDED, b"\xffabc"),
        (frames.PRIORITISED, b"abc"),
        (frames.PADDED | frames.PRIORITISED, b"\1\0\0\0\0\x10"),
    ],
)
def test_more_padding_than_there_is_room_for_is_refused(flags: int, payload: bytes) -> None:
    with pytest.raises(Violation, match="padding"):
        frames.unpadded(flags, payload)


@pytest.mark.parametrize("payload", ["00", "000400008000ff", "000480000000", "0005000000ff", "000501000000"])
def test_settings_that_are_none_are_refused(payload: str) -> None:
    with pytest.raises(Violation):
        list(frames.settings_of(bytes.fromhex(payload)))
