# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Buckets of tokens."""

from __future__ import annotations

from ansible_collections.holdfast.supervision.plugins.module_utils._helper.limits import Limit


def test_so_many_at_once_and_then_one_by_one() -> None:
    limit = Limit(3, 30.0)
    assert [limit.take("a", 100.0) for _number in range(3)] == [0, 0, 0]
    assert limit.take("a", 100.0) == 10.0
    assert limit.take("a", 109.0) == 1.0
    assert limit.take("a", 110.0) == 0
    assert limit.take("a", 110.0) == 10.0
    # A long rest gives no more than the bucket holds.
    assert [limit.take("a", 1000.0) for _number in range(3)] == [0, 0, 0]
    assert limit.take("a", 1000.0) > 0


def test_one_does_not_pay_for_another() -> None:
    limit = Limit(1, 60.0)
    assert limit.take("a", 1.0) == 0 and limit.take("b", 1.0) == 0
    assert limit.take("a", 1.0) == 60.0 and limit.take("b", 2.0) == 59.0


def test_what_is_past_is_forgotten() -> None:
    limit = Limit(2, 2.0)
    for number in range(5000):
        limit.take(number, number * 1.0)
    assert len(limit._full) < 600


def test_any_rate_can_be_used_up_and_comes_back() -> None:
    for calls, seconds in ((1, 0.001), (7, 3.3), (1000, 1.0), (100000, 86400.0)):
        limit = Limit(calls, seconds)
        assert all(limit.take("a", 5.0) == 0 for _number in range(calls)), (calls, seconds)
        wait = limit.take("a", 5.0)
        assert 0 < wait <= seconds * 1.001
        assert limit.take("a", 5.0 + wait) == 0
