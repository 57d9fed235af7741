# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stamps of lines and names of rotated files."""

from __future__ import annotations

import calendar
import time

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._supervise._logwriter import stamps

MOMENT = calendar.timegm((2026, 11, 21, 7, 39, 0)) * stamps.NANOSECONDS + 123_456_789


def test_iso_stamps_are_utc_with_microseconds() -> None:
    assert stamps.iso(MOMENT) == b"2026-11-21T07:39:00.123456Z "
    assert stamps.iso(MOMENT + stamps.NANOSECONDS) == b"2026-11-21T07:39:01.123456Z "
    assert stamps.iso(MOMENT) == b"2026-11-21T07:39:00.123456Z "


def test_iso_stamps_ignore_the_time_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    time.tzset()
    try:
        assert stamps.iso_stamps()(MOMENT) == b"2026-11-21T07:39:00.123456Z "
    finally:
        monkeypatch.undo()
        time.tzset()


def test_tai64n_stamps_have_an_offset_of_ten_seconds() -> None:
    assert stamps.tai64n(0) == b"@400000000000000a00000000 "
    assert stamps.tai64n(MOMENT) == b"@%016x%08x " % (2**62 + 10 + MOMENT // 10**9, 123_456_789)


def test_labels_sort_as_time_does_and_can_be_read_back() -> None:
    moments = [0, 1, 999_999_999, 1_000_000_000, MOMENT, MOMENT + 1]
    labels = [stamps.label(moment) for moment in moments]
    assert sorted(labels) == labels
    assert [stamps.from_label(label) for label in labels] == moments


@pytest.mark.parametrize("text", ["", "@", "@4000", "400000000000000a00000000x", "@" + "g" * 24])
def test_other_texts_are_no_labels(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        stamps.from_label(text)


@pytest.mark.parametrize("year", [1970, 1999, 2000, 2024, 2026, 2100])
@pytest.mark.parametrize("month", range(1, 13))
def test_the_stamp_of_a_line_can_be_read(year: int, month: int) -> None:
    for day in (1, 28):
        seconds = calendar.timegm((year, month, day, 23, 59, 58))
        for stamp in (stamps.iso, stamps.tai64n):
            line = stamp(seconds * stamps.NANOSECONDS) + b"text"
            assert stamps.from_line(line) == seconds * stamps.NANOSECONDS, line


@pytest.mark.parametrize(
    "line", [b"", b"\n", b"plain text without any stamp", b"2026-11-21 07:39:00.1 x", b"\xff" * 30]
)
def test_a_line_without_a_stamp_tells_no_time(line: bytes) -> None:
    assert stamps.from_line(line) is None
