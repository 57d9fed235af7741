# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of logs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._supervise._logwriter import table

LOG = {"to": "directory", "directory": "/var/log/x", "size": 5, "count": 2, "age": 1.5, "keep": None, "format": "none"}


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def test_an_entry_is_read(tmp_path: Path, directory: int) -> None:
    (tmp_path / "web.json").write_text(json.dumps({"fifo": "/run/f", "log": LOG}), encoding="ascii")
    fifo, settings = table.read(directory, "web")
    assert fifo == "/run/f"
    assert {key: getattr(settings, key) for key in LOG} == LOG
    assert settings.name == "web"


def test_missing_keys_have_defaults_and_null_means_none() -> None:
    settings = table.Settings("x", {"directory": "/d"})
    assert (settings.to, settings.size, settings.count, settings.format) == ("directory", 1_000_000, 10, "iso")
    assert (settings.age, settings.keep) == (None, None)
    assert table.Settings("x", {"directory": "/d", "size": None}).size is None


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"to": "none"}, "to"),
        ({"directory": "relative"}, "directory"),
        ({"directory": None}, "directory"),
        ({"directory": 7}, "directory"),
        ({"format": "rfc"}, "format"),
        ({"size": "1M"}, "size"),
        ({"size": True}, "size"),
        ({"count": -1}, "count"),
        ({"socket": 5}, "socket"),
    ],
)
def test_wrong_values_are_told_by_their_key(change: dict[str, Any], key: str) -> None:
    with pytest.raises(ValueError, match=f"^{key}: "):
        table.Settings("x", {**LOG, **change})


@pytest.mark.parametrize(
    "text", ["[]", "{}", '{"log": {}}', '{"fifo": "/f"}', '{"fifo": "f", "log": {"directory": "/d"}}', "\u00ff"]
)
def test_wrong_entries_are_value_errors(tmp_path: Path, directory: int, text: str) -> None:
    (tmp_path / "a.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"."):
        table.read(directory, "a")


def test_only_possible_names_count(tmp_path: Path, directory: int) -> None:
    good = ["web", "db@1", "_x", "9", "a.b", "x" * 64]
    bad = [".web", "@web", "-web", "x" * 65, "a b"]
    for name in (*good, *bad):
        (tmp_path / f"{name}.json").write_bytes(b"")
    (tmp_path / "web.json.new").write_bytes(b"")
    assert table.names(directory) == sorted(good)
    assert not table.valid("")
    assert not table.valid("../x")


def test_a_record_keeps_all_settings() -> None:
    settings = table.Settings("web", {**LOG, "directory": "/caf\u00e9\udcff"})
    copy = table.from_record(settings.record())
    assert [getattr(copy, key) for key in settings.__slots__] == [getattr(settings, key) for key in settings.__slots__]
    with pytest.raises(ValueError, match=r"."):
        table.from_record(settings.record()[:-5])
