# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Looking instead of sleeping: how long, and what ends it."""

from __future__ import annotations

import os
import time

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._supervise._embedded.loop import REST, YIELDED, Turns


class Clock:
    """Time that passes while others have the processor, and not otherwise."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.others = 1e-6

    def pass_(self) -> None:
        self.now += self.others


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(time, "monotonic", lambda: made.now)
    monkeypatch.setattr(os, "sched_yield", made.pass_)
    return made


def looks(turns: Turns, most: int = 10000) -> int:
    count = 0
    while count < most and turns.take():
        count += 1
    return count


def test_nothing_is_looked_for_unless_that_was_said(clock: Clock) -> None:
    assert looks(Turns()) == 0


def test_it_ends_when_the_time_is_over(clock: Clock) -> None:
    turns = Turns()
    turns.begin(100e-6)
    assert looks(turns) in (100, 101)
    assert looks(turns) == 0


def test_it_ends_when_that_is_said(clock: Clock) -> None:
    turns = Turns()
    turns.begin(100e-6)
    assert turns.take()
    turns.begin(0)
    assert not turns.take()


def test_who_has_to_wait_for_others_sleeps_for_a_while(clock: Clock) -> None:
    turns = Turns()
    turns.begin(100e-6)
    clock.others = 2 * YIELDED
    # What has come meanwhile is looked for at once, and then no more.
    assert looks(turns) == 1
    clock.others = 1e-6
    turns.begin(100e-6)
    assert looks(turns) == 0
    clock.now += REST * 2 * YIELDED
    turns.begin(100e-6)
    assert looks(turns) > 50
