# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the parent of a service notes, and when a periodic service runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._supervise import attending, schedule


def noted(folder: Path, **values: Any) -> attending.Note:
    note = attending.Note()
    for name, value in values.items():
        setattr(note, name, value)
    (folder / attending.ATTENDED).write_text(note.line())
    return note


@pytest.mark.parametrize(
    ("since_start", "pause"), [(0.0, 60.0), (59.5, 0.5), (60.0, 0.0), (3600.0, 0.0)], ids=["new", "soon", "now", "late"]
)
def test_the_next_run_is_one_interval_after_the_last_start(since_start: float, pause: float) -> None:
    assert schedule.pause(60.0, since_start) == pause


def test_what_is_noted_can_be_read(tmp_path: Path) -> None:
    note = noted(tmp_path, pid=7, state="scheduled", next=1.5, started=2.25, kind="exit", code=3, boot="ab", token="cd")
    found = attending.of(str(tmp_path), 7)
    assert found is not None and found.line() == note.line()
    assert attending.of(str(tmp_path), 8) is None


@pytest.mark.parametrize("text", ["", "pid=7", "pid=seven state=run", "\0\0\0"])
def test_what_is_damaged_is_no_note(tmp_path: Path, text: str) -> None:
    (tmp_path / attending.ATTENDED).write_text(text)
    assert attending.read(str(tmp_path)) is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"state": "scheduled", "kind": "exit", "next": 9.0}, ("scheduled", True, None, "", 9.0)),
        (
            {"state": "scheduled", "kind": "exit", "code": 3, "next": 9.0},
            ("scheduled", False, None, "last run: exit code 3", 9.0),
        ),
        (
            {"state": "scheduled", "kind": "unknown", "next": 9.0},
            ("scheduled", False, None, "last run: exit status unknown", 9.0),
        ),
        ({"state": "run"}, ("ready", True, 7, "", None)),
        ({"state": "stopping"}, ("stopping", False, 7, "", None)),
        ({"state": "ended"}, ("finishing", False, 7, "", None)),
    ],
)
def test_a_record_says_what_the_parent_is_at(
    tmp_path: Path, values: dict[str, Any], expected: tuple[str, bool, int | None, str, float | None]
) -> None:
    record: dict[str, Any] = {"state": "ready", "ready": True, "pid": 7, "reason": "", "definition": "ab.1"}
    attending.overlay(record, noted(tmp_path, **values), {"type": "periodic"})
    assert tuple(record.get(key) for key in ("state", "ready", "pid", "reason", "next")) == expected


def test_what_has_not_been_started_is_starting() -> None:
    record: dict[str, Any] = {"state": "ready", "ready": True, "pid": 7}
    attending.overlay(record, None, {})
    assert (record["state"], record["ready"]) == ("starting", False)


@pytest.mark.parametrize(
    ("meta", "seconds"),
    [
        ({"stop_timeout": 5.0}, 10.0),
        ({"stop_timeout": 0.0}, 0.0),
        ({"stop_timeout": 5.0, "finish_timeout": 3.0, "files": {"finish": "ab"}}, 13.0),
        ({"stop_timeout": 5.0, "finish_timeout": 0.0, "files": {"finish": "ab"}}, 0.0),
        ({"stop_timeout": 5.0, "finish_timeout": 3.0}, 10.0),
    ],
)
def test_the_parent_has_time_for_the_end_of_the_service_and_what_follows(meta: dict[str, Any], seconds: float) -> None:
    assert attending.stop_timeout(meta, finish=True) == seconds
