# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who comes first in line, where everybody looks for himself."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._lease import sealed
from ansible_collections.holdfast.supervision.plugins.module_utils._lease.interface import DriverRefused
from ansible_collections.holdfast.supervision.plugins.module_utils._lease.preferring import Preference, Wishes


def preference(poll: float = 1.0, **given: Any) -> Preference:
    return Preference("x", given, poll)


def test_only_who_does_not_come_first_holds_back_and_each_longer_than_the_looks_of_all_before_him() -> None:
    pauses = [preference(preference=place).pause for place in range(4)]
    assert pauses[0] == 0
    # A look is up to a tenth late, and after it one has to get it.
    assert all(later - sooner >= 1.4 for sooner, later in zip(pauses, pauses[1:]))


def test_who_makes_way_gives_those_time_who_hold_back() -> None:
    """The first one may be ill, and then the one after it is to have it."""
    assert preference().glance == 1.5
    for place in range(3):
        assert preference(preference=place).glance > 1.1 + preference(preference=place + 1).pause


def test_wishes_begin_after_a_while_and_rest_between() -> None:
    one = preference(fail_back=60)
    times = [waited for waited in range(400) if one.wishes(waited, 1)]
    assert (times[0], times[29], times[30]) == (60, 89, 150)
    # Where holders look seldom, they are given three looks.
    assert one.wishes(60 + 120 - 1, 40) and not one.wishes(60 + 120, 40)
    assert not any(preference().wishes(waited, 1) for waited in range(400))


def test_a_holder_heeds_who_writes_while_it_looks_and_comes_before_it() -> None:
    wishes = Wishes(preference(preference=2))
    first, second, last = (preference(preference=place) for place in (0, 1, 2))
    old = first.wish("dead")
    assert wishes.heed("r", 7, old) == ""
    assert wishes.heed("r", 7, old) == ""
    assert wishes.heed("r", 7, second.wish("b")) == "b"
    assert wishes.heed("r", 7, last.wish("equal")) == ""
    assert wishes.heed("r", 7, first.wish("a")) == "a"
    assert wishes.heed("r", 7, b"damaged") == ""
    assert wishes.heed("r", 7, sealed.EMPTY) == ""
    assert wishes.heed("r", 7, first.wish("a")) == "a"
    # Another resource, and another grant of the same one, begin anew.
    assert wishes.heed("s", 7, first.wish("a")) == ""
    assert wishes.heed("r", 8, first.wish("a")) == ""


@pytest.mark.parametrize("given", [{"preference": -1}, {"preference": "high"}, {"fail_back": "soon"}])
def test_what_is_no_place_in_line_is_refused_by_its_name(given: dict[str, Any]) -> None:
    with pytest.raises(DriverRefused, match=f"driver x: {next(iter(given))}"):
        preference(**given)
