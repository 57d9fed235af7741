# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The last log lines: only those, and only of a log."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._plan import logtail


def test_the_last_lines(tmp_path: Path) -> None:
    (tmp_path / "current").write_text("".join(f"line {number}\n" for number in range(100)))
    assert logtail.tail(str(tmp_path), lines=3) == ["line 97", "line 98", "line 99"]


def test_a_log_of_any_size_costs_the_same(tmp_path: Path) -> None:
    (tmp_path / "current").write_text("x" * 100000 + "\nlast without an end")
    lines = logtail.tail(str(tmp_path), size=50)
    assert lines[0].startswith("…x") and len(lines[0]) < 60
    assert lines[1] == "last without an end"


def test_of_lines_from_before_the_run_it_is_told_until_when_they_are(tmp_path: Path) -> None:
    meta = {"log": {"to": "directory", "directory": str(tmp_path)}}
    begun = 1_700_000_000.0
    assert logtail.tail_of(meta, begun) == ([], [])
    (tmp_path / "@400000006b00e1a014d20ba7.s").write_text("old\n")
    os.utime(tmp_path / "@400000006b00e1a014d20ba7.s", (begun - 100, begun - 100))
    # Empty, as it is after a rotation: nobody has said anything then.
    (tmp_path / "current").write_text("")
    lines, before = logtail.tail_of(meta, begun)
    assert lines == ["old"] and len(before) == 1 and "2023-11-14T22:11:40Z" in before[0]
    (tmp_path / "current").write_text("new\n")
    os.utime(tmp_path / "current", (begun + 1, begun + 1))
    assert logtail.tail_of(meta, begun) == (["old", "new"], [])


def test_the_last_lines_may_have_been_rotated_away(tmp_path: Path) -> None:
    (tmp_path / "@400000006b00e1a014d20ba7.s").write_text("older\n")
    rotated = tmp_path / "@400000006b00e1a014d20ba8.u"
    rotated.write_text("".join(f"line {number}\n" for number in range(5)))
    assert logtail.tail(str(tmp_path), lines=2) == ["line 3", "line 4"]
    (tmp_path / "current").write_text("last\n")
    assert logtail.tail(str(tmp_path), lines=3) == ["line 3", "line 4", "last"]
    assert logtail.tail(str(tmp_path), size=14) == ["…3", "line 4", "last"]
    rotated.unlink()
    rotated.symlink_to("/etc/passwd")
    assert logtail.tail(str(tmp_path)) == ["last"]


def test_nothing_that_would_steer_a_terminal(tmp_path: Path) -> None:
    (tmp_path / "current").write_bytes(b"\x1b[31mred\x07 \xff \xc3\xa4\ttab\n")
    assert logtail.tail(str(tmp_path)) == ["?[31mred? \\xff ä\ttab"]


@pytest.mark.parametrize("kind", ["nothing", "link", "hard link", "fifo", "directory"])
def test_only_a_file_of_its_own_is_read(tmp_path: Path, kind: str) -> None:
    (tmp_path / "shadow").write_text("root:x\n")
    logs = tmp_path / "log"
    logs.mkdir()
    current = logs / "current"
    if kind == "link":
        current.symlink_to(tmp_path / "shadow")
    elif kind == "hard link":
        os.link(tmp_path / "shadow", current)
    elif kind == "fifo":
        os.mkfifo(current)
    elif kind == "directory":
        current.mkdir()
    assert logtail.tail(str(logs)) == []


def test_links_on_the_way_have_to_be_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "current").write_text("line\n")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "absolute").symlink_to(tmp_path / "link")
    assert logtail.tail(str(tmp_path / "absolute")) == ["line"]
    (tmp_path / "loop").symlink_to("loop")
    assert logtail.tail(str(tmp_path / "loop")) == []
    if os.geteuid() == 0:
        os.chown(tmp_path / "link", 12345, 12345, follow_symlinks=False)
        assert logtail.tail(str(tmp_path / "link")) == []


def test_the_directory_of_a_definition() -> None:
    assert logtail.log_directory({"log": {"to": "directory", "directory": "/x"}}) == "/x"
    for log in (None, "x", {}, {"to": "none", "directory": "/x"}, {"to": "directory", "directory": None}):
        assert logtail.log_directory({"log": log}) == ""
    assert logtail.tail_of({}, 0.0) == ([], [])


def test_waiting_for_the_last_words_by_the_time_of_the_file(tmp_path: Path) -> None:
    logtail.settle([])
    logtail.settle([(str(tmp_path), 1.0, lambda: None)], 30, 0)
    writer = threading.Timer(0.02, lambda: (tmp_path / "current").write_text("late\n"))
    writer.start()
    logtail.settle([(str(tmp_path), 1.0, lambda: None)], 0, 30)
    assert logtail.tail(str(tmp_path)) == ["late"]
    writer.join()


def test_whose_logger_tells_is_waited_for_as_long_as_it_has_something_to_write(tmp_path: Path) -> None:
    answers = [False, False, True]
    # It said nothing: there is no file, and nothing to wait for.
    logtail.settle([(str(tmp_path), 1.0, lambda: answers.pop(0))], 30, 0)
    assert answers == []
    (tmp_path / "current").write_text("of somebody else\n")
    logtail.settle([(str(tmp_path), 1.0, lambda: False)], 0, 30)
