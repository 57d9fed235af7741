# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Settings of service directories: ours, plain ones of the family, and broken ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._supervise._embedded import settings


def _load(directory: Path, **keys: Any) -> settings.Settings:
    (directory / "holdfast.json").write_text(json.dumps({"format": 1, "definition": "d" * 64, "revision": 2, **keys}))
    return settings.load(str(directory))


def test_the_defaults_of_a_managed_directory(tmp_path: Path) -> None:
    found = _load(tmp_path)
    assert found.managed
    assert found.identity == "d" * 64 + ".2"
    assert (found.stop_signal, found.stop_timeout, found.restart, found.kill) == (15, 10.0, "always", "process")
    assert found.log is None


def test_a_plain_directory_says_it_with_small_files(tmp_path: Path) -> None:
    for name, text in {
        "down-signal": "INT\n",
        "timeout-kill": "2500",
        "timeout-finish": "0\n",
        "notification-fd": "3\n",
    }.items():
        (tmp_path / name).write_text(text)
    found = settings.load(str(tmp_path))
    assert not found.managed
    assert (found.stop_signal, found.stop_timeout, found.finish_timeout, found.notification_fd) == (2, 2.5, 0.0, 3)


@pytest.mark.parametrize(("text", "number"), [("TERM", 15), ("SIGQUIT", 3), ("hup", 1), ("12", 12)])
def test_signals_by_name_or_number(tmp_path: Path, text: str, number: int) -> None:
    assert _load(tmp_path, stop_signal=text).stop_signal == number


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"format": 2}, "format 1"),
        ({"process": []}, "process"),
        ({"stop_timeout": "10"}, "stop_timeout"),
        ({"stop_timeout": True}, "stop_timeout"),
        ({"stop_timeout": -1}, "stop_timeout"),
        ({"restart": "sometimes"}, "sometimes"),
        ({"stop_signal": "NOSUCH"}, "NOSUCH"),
        ({"stop_signal": "0"}, "stop_signal"),
        ({"needs": "db"}, "needs"),
        ({"needs": [1]}, "needs"),
        ({"needs_active": "db"}, "needs_active"),
        ({"log": "yes"}, "log"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, keys: dict[str, Any], named: str) -> None:
    with pytest.raises(settings.BadSettings, match=named):
        _load(tmp_path, **keys)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format": 1'])
def test_what_is_no_settings_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "holdfast.json").write_text(text)
    with pytest.raises(settings.BadSettings, match=r"holdfast\.json"):
        settings.load(str(tmp_path))


def test_an_endless_settings_file_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "holdfast.json").write_text(" " * (settings.LIMIT + 1))
    with pytest.raises(settings.BadSettings, match="more than"):
        settings.load(str(tmp_path))


def test_a_number_file_with_words(tmp_path: Path) -> None:
    (tmp_path / "timeout-kill").write_text("soon\n")
    with pytest.raises(settings.BadSettings, match="timeout-kill"):
        settings.load(str(tmp_path))


def test_the_signature_tells_an_exchanged_directory(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for directory in (one, other):
        directory.mkdir()
        _load(directory)
    before = settings.signature(str(one))
    assert settings.signature(str(one)) == before
    one.rename(tmp_path / "away")
    other.rename(one)
    assert settings.signature(str(one)) != before
