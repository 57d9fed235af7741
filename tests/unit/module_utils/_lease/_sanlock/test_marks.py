# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a mark whose writer's clock is ahead keeps others out: as long as it was seen to stand there."""

from __future__ import annotations

import os
import time

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._lease._sanlock.marks import Marks
from ansible_collections.holdfast.supervision.plugins.module_utils._lease.handover import OUT, Handover
from ansible_collections.holdfast.supervision.plugins.module_utils._lease.remote_marks import Mark


def block(number: str) -> bytes:
    """A mark that is good for ten seconds, from a host whose clock is a day ahead."""
    state = Handover(number, "a", "b", {"db": 1}, OUT)
    return Mark(state, 1, 10.0, time.time() + 86400).block()


class Host:
    """A process that looks, and those it forks; its clock stands still but for what is said."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "clock_gettime", lambda _clock: self.now)
        self._sightings = Marks("/srv/leases")._sightings

    def keeps(self, resource: str, mark: bytes) -> bool:
        return self._sightings.read(resource, mark) is not None

    def keeps_in_line(self, resource: str, mark: bytes) -> bool:
        """The same for one that stands in line."""
        pid = os.fork()
        if not pid:
            os._exit(self.keeps(resource, mark))
        return bool(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def test_what_one_in_line_has_seen_the_guard_need_not_see_again(monkeypatch: pytest.MonkeyPatch) -> None:
    host, mark = Host(monkeypatch), block("h")
    assert host.keeps_in_line("db", mark)
    host.now += 11
    assert not host.keeps_in_line("db", mark)
    assert not host.keeps("db", mark)


def test_what_the_guard_has_seen_one_in_line_need_not_see_again(monkeypatch: pytest.MonkeyPatch) -> None:
    host, mark = Host(monkeypatch), block("h")
    assert host.keeps("db", mark)
    host.now += 11
    assert not host.keeps_in_line("db", mark)


def test_another_mark_and_one_of_another_resource_have_their_own_time(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(monkeypatch)
    assert host.keeps_in_line("db", block("h"))
    host.now += 11
    assert host.keeps("db", block("other"))
    assert host.keeps("web", block("h"))


def test_of_more_marks_than_there_is_room_for_each_process_counts_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    host, mark = Host(monkeypatch), block("h")
    names = [f"resource-{number}-{'x' * 40}" for number in range(100)]
    assert all(host.keeps(name, mark) for name in names)
    host.now += 11
    assert not any(host.keeps(name, mark) for name in names)
