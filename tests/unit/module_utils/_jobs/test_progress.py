# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a job says of its progress, in pieces of any size."""

from __future__ import annotations

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._jobs.progress import LONGEST, Progress, parse


@pytest.mark.parametrize(
    ("line", "percent", "text"),
    [
        (b"42 half way", 42, "half way"),
        (b"42% half way", 42, "half way"),
        (b"42 % half way", 42, "half way"),
        (b"99.5%", 99.5, ""),
        (b"100", 100, ""),
        (b"101 balloons", None, "101 balloons"),
        (b"3rd of 5", None, "3rd of 5"),
        (b"reading", None, "reading"),
        (b"", None, ""),
        (b"\xff\x1b[0m", None, "\ufffd [0m"),
    ],
)
def test_a_line_is_a_text_with_a_number_before_it_or_not(line: bytes, percent: float | None, text: str) -> None:
    assert parse(line) == {"percent": percent, "text": text}


def test_the_last_whole_line_counts_however_it_comes() -> None:
    whole = b"1 one\n2 two\n3 three\n4 fo"
    for size in (1, 2, 5, 100):
        progress = Progress()
        for start in range(0, len(whole), size):
            progress.take(whole[start : start + size])
        assert progress.last == {"percent": 3, "text": "three"} and progress.count == 3


def test_a_line_without_an_end_takes_no_room() -> None:
    progress = Progress()
    for _number in range(100):
        assert not progress.take(b"x" * 65536)
    assert progress.take(b"\n")
    assert progress.last == {"percent": None, "text": "x" * LONGEST}
