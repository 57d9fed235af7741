# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The account of losses."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._supervise._logwriter import loss

SECOND = 1_000_000_000


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def test_a_loss_is_counted_told_and_kept_in_the_total(tmp_path: Path, directory: int) -> None:
    account = loss.Loss(directory, "web")
    assert account.text() == b""
    assert account.began("No space left on device", 5 * SECOND)
    assert not account.began("No space left on device", 6 * SECOND)
    account.add(3, 40, 7 * SECOND)
    account.add(1, 2, 8 * SECOND)
    assert account.text() == b"holdfast: 4 lines (42 bytes) lost: No space left on device\n"
    stats = json.loads((tmp_path / "stats" / "web").read_text())
    assert {key: stats[key] for key in ("lost_lines", "lost_bytes", "error", "since")} == {
        "lost_lines": 4,
        "lost_bytes": 42,
        "error": "No space left on device",
        "since": 5,
    }
    account.ended(9 * SECOND)
    assert account.text() == b""
    stats = json.loads((tmp_path / "stats" / "web").read_text())
    assert (stats["lost_lines"], stats["error"]) == (4, None)


def test_the_file_is_written_once_a_second_at_most(tmp_path: Path, directory: int) -> None:
    account = loss.Loss(directory, "web")
    account.began("x", 100 * SECOND)
    account.add(1, 1, 100 * SECOND + 1)
    account.add(1, 1, 100 * SECOND + 2)
    assert json.loads((tmp_path / "stats" / "web").read_text())["lost_lines"] == 0
    assert account.due == 101 * SECOND
    account.save(account.due)
    assert json.loads((tmp_path / "stats" / "web").read_text())["lost_lines"] == 2
    assert account.due == 0


def test_a_successor_goes_on_counting(directory: int) -> None:
    assert not loss.known(directory, "web")
    account = loss.Loss(directory, "web")
    account.began("x", 1)
    account.add(3, 40, 5 * SECOND)
    assert loss.known(directory, "web")
    successor = loss.Loss(directory, "web")
    assert successor.text() == account.text()
    successor.ended(6 * SECOND)
    successor.add(1, 1, 20 * SECOND)
    assert (successor.total_lines, successor.total_bytes) == (4, 41)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"lost_lines": "x"}'])
def test_a_damaged_account_is_begun_anew(tmp_path: Path, directory: int, text: str) -> None:
    (tmp_path / "stats").mkdir()
    (tmp_path / "stats" / "web").write_text(text)
    assert loss.Loss(directory, "web").text() == b""
