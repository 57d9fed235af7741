# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Log directories: names, rotation and pruning with a clock of our own."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._supervise._logwriter import (
    output,
    sealing,
    stamps,
    table,
)

SECOND = stamps.NANOSECONDS
NOON = 1_800_000_000 * SECOND


class Directory:
    """An output in a directory, with a sealer that is waited for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sealer = sealing.Sealer()
        self.output: output.DirectoryOutput | None = None

    def open(self, now: int = NOON, trusted: bool = False, **log: Any) -> output.DirectoryOutput:
        settings = table.Settings("a", {"directory": str(self.path), **log})
        self.output = output.DirectoryOutput(settings, self.sealer, trusted)
        self.output.open(now)
        return self.output

    def rotated(self) -> list[str]:
        self.sealer.wait()
        return sorted(name for name in os.listdir(self.path) if name.startswith("@"))

    def mode(self) -> int:
        return stat.S_IMODE((self.path / "current").stat().st_mode)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Directory]:
    made = Directory(tmp_path / "log")
    yield made
    made.sealer.wait()
    if made.output is not None:
        made.output.close(clean=False)


def write(target: output.Output, text: bytes, now: int = NOON) -> None:
    empty = not target.offset
    target.write(memoryview(text))
    target.midline = not text.endswith(b"\n")
    if empty:
        target.began(now)


@pytest.mark.parametrize(
    ("name", "rotated"),
    [
        ("@400000006b00e1a014d20ba7.s", True),
        ("@400000006b00e1a014d20ba7.u", True),
        ("@400000006b00e1a014d20ba7.t", False),
        ("@short.s", False),
        ("current", False),
        ("x400000006b00e1a014d20ba7.s", False),
    ],
)
def test_rotated_files_are_known_by_their_names(name: str, rotated: bool) -> None:
    assert output.is_rotated(name) is rotated


def test_many_rotations_at_one_moment_keep_their_order(directory: Directory) -> None:
    log = directory.open(count=4)
    for number in range(20):
        write(log, b"%d\n" % number)
        log.rotate(NOON)
    assert [(directory.path / name).read_bytes() for name in directory.rotated()] == [
        b"16\n",
        b"17\n",
        b"18\n",
        b"19\n",
    ]


def test_a_clock_that_is_set_back_does_not_change_the_order(directory: Directory) -> None:
    log = directory.open()
    for number, now in enumerate((NOON, NOON - 1000 * SECOND)):
        write(log, b"%d\n" % number)
        log.rotate(now)
    log.close(clean=True)
    log = directory.open()
    write(log, b"2\n")
    log.rotate(NOON - 2000 * SECOND)
    assert [(directory.path / name).read_bytes() for name in directory.rotated()] == [b"0\n", b"1\n", b"2\n"]


def test_age_is_due_from_the_first_byte_on(directory: Directory) -> None:
    log = directory.open(age=60)
    assert log.due == 0
    write(log, b"one\n", NOON + SECOND)
    assert log.due == NOON + 61 * SECOND
    log.tick(NOON + 60 * SECOND)
    assert directory.rotated() == []
    assert log.due == NOON + 61 * SECOND
    log.tick(NOON + 61 * SECOND)
    assert len(directory.rotated()) == 1
    assert log.due == 0


def test_age_waits_for_the_end_of_the_line(directory: Directory) -> None:
    log = directory.open(age=60)
    write(log, b"one")
    log.tick(NOON + 100 * SECOND)
    assert directory.rotated() == []
    assert log.limit == 0


def test_age_is_read_from_the_first_stamp_after_a_restart(directory: Directory) -> None:
    for form in ("iso", "tai64n"):
        log = directory.open(age=60, format=form)
        write(log, stamps.FORMATS[form](NOON) + b"one\n")
        log.close(clean=True)
        log = directory.open(NOON + 59 * SECOND, age=60, format=form)
        assert log.due // SECOND == (NOON + 60 * SECOND) // SECOND
        log.rotate(NOON + 60 * SECOND)
        log.close(clean=True)


def test_the_next_file_to_become_too_old_is_due(directory: Directory) -> None:
    log = directory.open(keep=100)
    for seconds in (0, 10, 20):
        write(log, b"x\n")
        log.rotate(NOON + seconds * SECOND)
    assert log.due == NOON + 100 * SECOND
    log.tick(log.due)
    assert len(directory.rotated()) == 2
    assert log.due == NOON + 110 * SECOND
    log.tick(NOON + 1000 * SECOND)
    assert directory.rotated() == []
    assert log.due == 0


def test_count_none_and_zero(directory: Directory) -> None:
    log = directory.open(count=None)
    for _unused in range(30):
        write(log, b"x\n")
        log.rotate(NOON)
    assert len(directory.rotated()) == 30
    log.settings.count = 0
    log.prune(NOON)
    assert directory.rotated() == []


@pytest.mark.parametrize(
    ("trusted", "marked", "put_aside"), [(False, False, True), (True, False, False), (False, True, False)]
)
def test_the_mark_of_current_decides(directory: Directory, trusted: bool, marked: bool, put_aside: bool) -> None:
    directory.path.mkdir()
    current = directory.path / "current"
    current.write_bytes(b"old\n")
    current.chmod(0o744 if marked else 0o644)
    log = directory.open(trusted=trusted)
    assert [name[-2:] for name in directory.rotated()] == ([".u"] if put_aside else [])
    assert log.offset == (0 if put_aside else 4)
    assert directory.mode() == 0o644
    log.close(clean=True)
    assert directory.mode() == 0o744


def test_an_unterminated_line_is_remembered(directory: Directory) -> None:
    log = directory.open()
    write(log, b"one\ntw")
    log.close(clean=False)
    assert directory.open(trusted=True).midline


def test_a_file_that_somebody_moved_is_not_renamed(directory: Directory) -> None:
    log = directory.open()
    write(log, b"one\n")
    (directory.path / "current").rename(directory.path / "mine")
    assert log.moved()
    log.rotate(NOON)
    assert not log.moved()
    assert directory.rotated() == []
    assert (directory.path / "mine").read_bytes() == b"one\n"


def test_a_directory_is_used_once(directory: Directory) -> None:
    log = directory.open()
    with pytest.raises(BlockingIOError, match="another logger"):
        Directory(directory.path).open()
    log.close(clean=True)
    Directory(directory.path).open().close(clean=True)


def test_a_failed_rotation_leaves_the_file_usable(directory: Directory) -> None:
    log = directory.open(size=10)
    write(log, b"one\n")
    directory.path.rename(directory.path.with_name("moved"))
    log.rotate(NOON)
    assert log.limit > log.offset
    write(log, b"two\n")
    assert (directory.path.with_name("moved") / "current").read_bytes() == b"one\ntwo\n"
