# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The record that outlives a supervisor."""

from __future__ import annotations

import os
from pathlib import Path

from ansible_collections.holdfast.supervision.plugins.module_utils._supervise._embedded import record


def _full() -> record.Record:
    kept = record.Record()
    kept.boot = bytes(range(16))
    kept.namespace = 4026531836
    kept.phase = record.RUNNING
    kept.want = "u"
    kept.flags = record.READY | record.PAUSED
    kept.pid, kept.started = 4711, 123456789
    kept.since, kept.up = 1795219808743213764, 1795219808000000000
    kept.deaths, kept.step = 3, 2
    kept.code, kept.kind = 15, 2
    kept.token = "ab" * 16
    kept.identity = "f" * 64 + ".12"
    return kept


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = str(tmp_path / "record")
    record.write(path, _full())
    found = record.read(path)
    assert found is not None
    assert all(getattr(found, name) == getattr(_full(), name) for name in record.Record.__slots__)


def test_a_shorter_identity_leaves_nothing_of_a_longer_one(tmp_path: Path) -> None:
    path = str(tmp_path / "record")
    kept = _full()
    record.write(path, kept)
    kept.identity = "a.1"
    record.write(path, kept)
    found = record.read(path)
    assert found is not None and found.identity == "a.1"


def test_what_is_no_record_is_none(tmp_path: Path) -> None:
    path = tmp_path / "record"
    assert record.read(str(path)) is None
    path.write_bytes(b"")
    assert record.read(str(path)) is None
    path.write_bytes(_full().encode()[:-1])
    assert record.read(str(path)) is None
    path.write_bytes(b"X" + _full().encode()[1:])
    assert record.read(str(path)) is None


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    record.write(str(tmp_path / "elsewhere"), _full())
    os.symlink(tmp_path / "elsewhere", tmp_path / "record")
    assert record.read(str(tmp_path / "record")) is None


def test_it_is_written_by_one_write_of_less_than_a_page() -> None:
    assert len(_full().encode()) < 4096
