# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The parts of the command line that need no supervisor."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._command import (
    arguments,
    exits,
    logfiles,
    logs,
    places,
    status,
    terminal,
)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0.0s"),
        (0.04, "0.0s"),
        (9.94, "9.9s"),
        (10, "10s"),
        (59.9, "59s"),
        (60, "1m 0s"),
        (3599, "59m 59s"),
        (3600, "1h 0m"),
        (86399, "23h 59m"),
        (90000, "1d 1h"),
        (86400 * 400, "400d 0h"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert terminal.duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "keep", "shown"),
    [
        ("plain ü", "", "plain ü"),
        ("\x1b[31m", "", "\\x1b[31m"),
        ("a\tb\n", "\t", "a\tb\\n"),
        ("\x9b2J", "", "\\x9b2J"),
        ("right\u202eleft", "", "right\\u202eleft"),
    ],
)
def test_nothing_that_steers_a_terminal_is_shown(text: str, keep: str, shown: str) -> None:
    assert terminal.harmless(text, keep) == shown


def test_table_is_aligned_and_has_no_trailing_blanks() -> None:
    lines = terminal.table(["A", "BBBB", "C"], [["1", "2", ""], ["long", "x", "end"]], ["", ""])
    assert lines == ["A     BBBB  C", "1     2", "long  x     end"]


@pytest.mark.parametrize(
    ("exit_status", "text"),
    [
        (None, ""),
        ({"kind": "exit", "code": 3}, "exit code 3"),
        ({"kind": "signal", "code": 9}, "signal SIGKILL"),
        ({"kind": "signal", "code": 99}, "signal 99"),
        ({"kind": "unknown", "code": 0}, "exit status unknown"),
    ],
)
def test_ending(exit_status: dict[str, Any] | None, text: str) -> None:
    assert terminal.ending(exit_status) == text


def service(**changes: Any) -> dict[str, Any]:
    return {
        "name": "a",
        "state": "ready",
        "pid": 7,
        "since": 100.0,
        "ready": True,
        "deaths": 0,
        "enabled": True,
        "exit": None,
        "definition": "x.1",
        "loaded": "x.1",
        "paused": False,
        "reason": "",
        **changes,
    }


def test_row() -> None:
    assert status.row(service(), 160.0) == ["a", "ready", "7", "1m 0s", "yes", "0", ""]
    assert status.row(service(paused=True), 160.0)[1] == "ready (paused)"
    assert status.row(service(pid=0, state="down", ready=False), 160.0)[2] == "-"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, ""),
        ({"reason": "needs db (down)"}, "needs db (down)"),
        ({"exit": {"kind": "exit", "code": 1}}, "last exit code 1"),
        ({"pid": 0, "exit": {"kind": "exit", "code": 1}, "state": "down"}, "exit code 1"),
        ({"loaded": "y.1"}, "runs an older definition"),
        ({"enabled": False}, "not enabled"),
        ({"enabled": False, "state": "down"}, ""),
    ],
)
def test_reason(changes: dict[str, Any], text: str) -> None:
    assert status.reason(service(**changes)) == text


def make_scan(path: Path, needs: dict[str, list[str]]) -> str:
    for name, needed in needs.items():
        (path / name).mkdir()
        (path / name / "holdfast.json").write_text(json.dumps({"needs": needed}))
    return str(path)


@pytest.mark.parametrize(
    ("needs", "layers"),
    [
        ({}, []),
        ({"a": [], "b": []}, [["a", "b"]]),
        ({"a": [], "b": ["a"], "c": ["b"], "d": ["a"]}, [["c", "d"], ["b"], ["a"]]),
        ({"a": ["elsewhere"]}, [["a"]]),
        ({"a": ["a"]}, [["a"]]),
        ({"a": ["b"], "b": ["a"], "c": ["a"]}, [["c"], ["a", "b"]]),
    ],
)
def test_layers(tmp_path: Path, needs: dict[str, list[str]], layers: list[list[str]]) -> None:
    assert places.layers(make_scan(tmp_path, needs), sorted(needs)) == layers


def test_plain_and_broken_directories_have_no_definition(tmp_path: Path) -> None:
    for name, content in (("plain", None), ("broken", "{"), ("list", "[]")):
        (tmp_path / name).mkdir()
        if content is not None:
            (tmp_path / name / "holdfast.json").write_text(content)
        assert places.definition(str(tmp_path), name) == {}


def test_the_scan_directory_that_is_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = tmp_path / "one", tmp_path / ".holdfast" / "services"
    one.mkdir()
    other.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("HOLDFAST_SCAN", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert places.scan_directory(None) == str(other)
    monkeypatch.setenv("HOLDFAST_SCAN", str(one))
    assert places.scan_directory(None) == str(one)
    assert places.scan_directory(str(other)) == str(other)
    with pytest.raises(exits.CommandError) as refused:
        places.scan_directory(str(tmp_path / "none"))
    assert refused.value.code == exits.USAGE


def logged(path: Path, **files: str) -> str:
    """A scan directory with one service, whose log directory has *files*."""
    log = path / "log"
    log.mkdir()
    for name, content in files.items():
        (log / name.replace("at_", "@").replace("_dot_", ".")).write_text(content)
    directory = path / "scan" / "a"
    directory.mkdir(parents=True)
    (directory / "holdfast.json").write_text(json.dumps({"log": {"to": "directory", "directory": str(log)}}))
    return str(path / "scan")


def test_tail_of_long_lines_and_an_unterminated_end(tmp_path: Path) -> None:
    long = "x" * (logfiles.BLOCK * 2)
    scan = logged(tmp_path, at_1_dot_s="old\n", current=f"first\n{long}\nlast without an end")
    assert logfiles.tail(scan, "a", 2) == [long.encode(), b"last without an end"]
    assert logfiles.tail(scan, "a", 4)[:2] == [b"old", b"first"]


def test_tail_leaves_other_files_alone(tmp_path: Path) -> None:
    scan = logged(tmp_path, at_1_dot_s="one\n", at_2_dot_u="two\n", state="no\n", lock="", current="three\n")
    assert logfiles.tail(scan, "a", 10) == [b"one", b"two", b"three"]


def rotate(log: Path, name: str) -> None:
    (log / "current").rename(log / name)
    (log / "current").write_text("new\n")


def test_a_file_that_is_rotated_while_the_log_is_read_is_not_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = logged(tmp_path, at_1_dot_s="one\n", current="two\n")
    log = tmp_path / "log"
    listed = os.listdir

    def rotated_twice_before(path: str) -> list[str]:
        if path == str(log):
            rotate(log, "@2.s")
            rotate(log, "@3.s")
        return listed(path)

    def rotated_after(path: str) -> list[str]:
        found = listed(path)
        if path == str(log):
            rotate(log, "@4.s")
        return found

    with monkeypatch.context() as patched:
        patched.setattr(os, "listdir", rotated_twice_before)
        assert logfiles.tail(scan, "a", 10) == [b"one", b"two"]
    with monkeypatch.context() as patched:
        patched.setattr(os, "listdir", rotated_after)
        assert logfiles.tail(scan, "a", 10) == [b"one", b"two", b"new", b"new"]
    assert logfiles.tail(scan, "a", 10) == [b"one", b"two", b"new", b"new", b"new"]


def test_a_log_is_read_between_the_two_steps_of_a_rotation(tmp_path: Path) -> None:
    scan = logged(tmp_path, at_1_dot_s="one\n", at_2_dot_s="two\n")
    assert logfiles.tail(scan, "a", 10) == [b"one", b"two"]


def test_what_is_shown_first_and_what_follows_fit_together(tmp_path: Path) -> None:
    scan = logged(tmp_path, at_1_dot_s="one\n", current="two\n")
    current = tmp_path / "log" / "current"
    follower = logs.Follower(str(current))
    # Written, and even rotated, between the two: it is told once, by the follower.
    with current.open("a") as stream:
        stream.write("three\n")
    current.rename(tmp_path / "log" / "@2.s")
    current.write_text("four\n")
    assert logfiles.tail(scan, "a", 10, follower.position()) == [b"one", b"two"]
    assert follower.read() == b"three\n"
    assert follower.read() == b"four\n"
    assert follower.read() == b""


def test_follower_of_a_file_that_comes_later(tmp_path: Path) -> None:
    follower = logs.Follower(str(tmp_path / "current"))
    assert follower.position() is None
    assert follower.read() == b""
    (tmp_path / "current").write_text("one\n")
    assert follower.read() == b"one\n"


def test_scan_may_stand_before_or_after_the_verb() -> None:
    assert arguments.parse(["--scan", "x", "status"]).scan == "x"
    assert arguments.parse(["status", "--scan", "x"]).scan == "x"
    assert arguments.parse(["status"]).scan is None
    assert arguments.parse(["--scan", "x", "status", "--scan", "y"]).scan == "y"


@pytest.mark.parametrize("words", [["--timeout", "-1"], ["--timeout", "nan"], ["--timeout", "1e9"], ["--orphans"]])
def test_bad_options_are_refused(words: list[str]) -> None:
    with pytest.raises(exits.CommandError) as refused:
        arguments.parse(["start", "a", *words])
    assert refused.value.code == exits.USAGE
