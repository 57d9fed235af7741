# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import itertools

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._lease._etcd.membership import Member, Refused, plan


def _url(name: str) -> str:
    return f"https://{name}:2380"


def _member(name: str, started: bool = True) -> Member:
    return Member(f"id-{name}", name if started else "", [_url(name)], ["https://x"] if started else [])


def _wanted(names: str) -> dict[str, str]:
    return {name: _url(name) for name in names}


def _plan(found: str, answering: str, wanted: str, join: str = "") -> tuple[str, str]:
    """Capital letters of *found*: added and never started."""
    members = [_member(name.lower(), name.islower()) for name in found]
    made = plan(members, {f"id-{name}" for name in answering}, _wanted(wanted), join)
    return "".join(one.number[3:] for one in made.removed), made.added


def test_who_is_a_member_already_is_left_alone() -> None:
    assert _plan("abc", "abc", "abc") == ("", "")
    assert _plan("abc", "a", "abc") == ("", "")


def test_one_with_an_empty_disk_gets_a_new_identity() -> None:
    assert _plan("abc", "ab", "abc", "c") == ("c", _url("c"))


def test_one_that_takes_the_place_of_another() -> None:
    assert _plan("abc", "ab", "abd", "d") == ("c", _url("d"))
    assert _plan("abc", "ab", "ab") == ("c", "")


def test_an_interrupted_joining_goes_on() -> None:
    assert _plan("abC", "ab", "abc", "c") == ("", "")
    assert _plan("abcC", "ab", "abc", "c") == ("c", "")


def test_one_member_may_become_several() -> None:
    assert _plan("a", "a", "abc", "b") == ("", _url("b"))


def test_what_would_cost_the_majority_is_refused() -> None:
    with pytest.raises(Refused, match=r"c can't be removed now: 1 of then 2 members would answer, and 2 .* first: b"):
        _plan("abc", "a", "abc", "c")
    with pytest.raises(Refused, match="d can't be added now"):
        _plan("ab", "a", "abd", "d")
    with pytest.raises(Refused, match="x is to join and is not among"):
        _plan("abc", "abc", "abc", "x")


def test_no_plan_ever_leaves_less_than_a_majority() -> None:
    for size in (1, 2, 3, 4, 5):
        names = "abcde"[:size]
        for count in range(size + 1):
            for answering in itertools.combinations(names, count):
                for join in ("", *names):
                    try:
                        removed, added = _plan(names, "".join(answering), names, join)
                    except Refused:
                        continue
                    left = [name for name in names if name not in removed]
                    alive = [name for name in left if name in answering]
                    assert not removed or len(alive) >= len(left) // 2 + 1
                    if added and len(left) > 1:
                        assert len(alive) >= (len(left) + 1) // 2 + 1
