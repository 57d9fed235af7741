# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The status file: the bytes that the family's clients read."""

from __future__ import annotations

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._supervise._embedded import status

# 2026-11-21 00:10:08.743213764 UTC
SINCE = 1795219808_743213764


def test_the_label_is_the_familys_not_real_tai() -> None:
    assert status.tai64n(0).hex() == "400000000000000a00000000"
    assert status.tai64n(1_500_000_000).hex() == "400000000000000b1dcd6500"


def test_a_running_service() -> None:
    data = status.encode(SINCE, 21434, status.WANT_UP, status.RUNNING, False, False, status.RUNIT)
    assert len(data) == 20
    assert data[12:16] == (21434).to_bytes(4, "little")
    assert data[16:18] == b"\0u"
    assert data[18:] == b"\0\1"


def test_paused_needs_a_process() -> None:
    assert status.encode(SINCE, 5, "u", status.RUNNING, True, False, status.RUNIT)[16] == 1
    assert status.encode(SINCE, 0, "u", status.DOWN, True, False, status.RUNIT)[16] == 0


@pytest.mark.parametrize(
    ("want", "byte"), [(status.WANT_UP, b"u"), (status.WANT_DOWN, b"d"), (status.WANT_ONCE, b"\0")]
)
def test_want(want: str, byte: bytes) -> None:
    assert status.encode(SINCE, 0, want, status.DOWN, False, False, status.RUNIT)[17:18] == byte


@pytest.mark.parametrize(
    ("state", "runit", "encore"),
    [
        (status.DOWN, 0, 0),
        (status.STARTING, 1, 1),
        (status.RUNNING, 1, 3),
        (status.FINISHING, 2, 4),
        (status.FAILED, 0, 5),
    ],
)
def test_the_state_byte_of_each_layout(state: int, runit: int, encore: int) -> None:
    assert status.encode(SINCE, 7, "u", state, False, False, status.RUNIT)[19] == runit
    data = status.encode(SINCE, 7, "u", state, False, True, status.ENCORE)
    assert (data[18], data[19]) == (encore, 0)


def test_runit_says_that_term_was_sent() -> None:
    assert status.encode(SINCE, 7, "d", status.STOPPING, False, True, status.RUNIT)[18] == 1
