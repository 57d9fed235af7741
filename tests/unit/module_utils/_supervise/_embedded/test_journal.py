# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The journal: the newest entries, in bounded space, whatever a crash left."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.holdfast.supervision.plugins.module_utils._supervise._embedded import journal


def test_the_last_entries_oldest_first(tmp_path: Path) -> None:
    path = str(tmp_path / "journal")
    for number in range(5):
        journal.append(path, {"event": "start", "pid": number})
    assert [entry["pid"] for entry in journal.read(path, 3)] == [2, 3, 4]


def test_it_does_not_grow_without_end(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    for number in range(2000):
        journal.append(str(path), {"event": "exit", "pid": number, "message": "x" * 40})
        assert path.stat().st_size <= journal.LIMIT + 200
    entries = journal.read(str(path), 10000)
    numbers = [entry["pid"] for entry in entries]
    assert numbers == list(range(numbers[0], 2000))


def test_half_a_line_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal.append(str(path), {"pid": 1})
    with path.open("a") as file:
        file.write('{"pid": 2')
    assert journal.read(str(path), 10) == [{"pid": 1}]


def test_nothing_there(tmp_path: Path) -> None:
    assert journal.read(str(tmp_path / "journal"), 10) == []
    journal.append(str(tmp_path / "no" / "journal"), {"pid": 1})
