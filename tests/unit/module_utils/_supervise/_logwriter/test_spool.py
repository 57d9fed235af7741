# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The spool: what a successor finds in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._supervise._logwriter import spool

STAMP = b"stamp "
TEXT = b"some text\nmore"


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe2(os.O_NONBLOCK)
    yield ends
    for end in ends:
        os.close(end)


def begun(directory: int, reading: int, count: int, midline: bool = False) -> spool.Spool:
    made = spool.Spool(directory)
    made.begin(made, b"record", count, 1234, 5, 6, midline, STAMP)
    assert made.waiting(reading) == count
    return made


def test_a_new_spool_is_not_trusted_and_an_abandoned_one_is(directory: int) -> None:
    assert not spool.Spool(directory).trusted
    assert spool.Spool(directory).trusted
    assert spool.Spool(directory).recover() is None


def test_a_spool_of_another_boot_says_nothing(
    directory: int, monkeypatch: pytest.MonkeyPatch, pipe: tuple[int, int]
) -> None:
    os.write(pipe[1], TEXT)
    begun(directory, pipe[0], len(TEXT)).read(pipe[0])
    monkeypatch.setattr(spool, "boot_id", lambda: b"another boot")
    successor = spool.Spool(directory)
    assert not successor.trusted
    assert successor.recover() is None


@pytest.mark.parametrize("content", [b"", b"\0" * spool.SIZE, b"x" * 100])
def test_a_damaged_spool_is_made_anew(tmp_path: Path, directory: int, content: bytes) -> None:
    (tmp_path / "spool").write_bytes(content)
    made = spool.Spool(directory)
    assert not made.trusted
    assert made.recover() is None


def test_a_chunk_that_was_not_read_is_still_in_the_fifo(directory: int, pipe: tuple[int, int]) -> None:
    os.write(pipe[1], TEXT)
    begun(directory, pipe[0], len(TEXT))
    assert spool.Spool(directory).recover() is None


@pytest.mark.parametrize("text", [TEXT, b"\n", b"\0" * 5000, b"x" * spool.CHUNK, b"\xff" * 100], ids=repr)
def test_a_chunk_is_recovered_even_if_nobody_said_that_it_was_read(
    directory: int, pipe: tuple[int, int], text: bytes
) -> None:
    os.write(pipe[1], text)
    begun(directory, pipe[0], len(text), midline=True)
    with open(f"/proc/self/fd/{directory}/spool", "r+b") as file:
        file.seek(spool.DATA)
        file.write(os.read(pipe[0], len(text)))
    chunk = spool.Spool(directory).recover()
    assert chunk is not None
    assert (chunk.data, chunk.stamp, chunk.record) == (text, STAMP, b"record")
    assert (chunk.done, chunk.offset, chunk.device, chunk.inode, chunk.midline) == (0, 1234, 5, 6, True)


def test_a_chunk_stays_until_it_is_finished(directory: int, pipe: tuple[int, int]) -> None:
    os.write(pipe[1], TEXT)
    assert begun(directory, pipe[0], len(TEXT)).read(pipe[0]) == len(TEXT)
    for _unused in range(2):
        successor = spool.Spool(directory)
        chunk = successor.recover()
        assert chunk is not None
        assert chunk.data == TEXT
    successor.move(7, 0, 0, 0)
    successor.move(8, 9, 10, 11)
    chunk = spool.Spool(directory).recover()
    assert chunk is not None
    assert (chunk.data, chunk.done, chunk.offset, chunk.device, chunk.inode) == (TEXT, 8, 9, 10, 11)
    successor.finish()
    assert spool.Spool(directory).recover() is None


def test_a_read_that_gives_less_than_was_there_is_recorded_as_it_was(directory: int, pipe: tuple[int, int]) -> None:
    os.write(pipe[1], TEXT)
    made = begun(directory, pipe[0], len(TEXT))
    assert os.read(pipe[0], 5) == TEXT[:5]
    assert made.read(pipe[0]) == len(TEXT) - 5
    chunk = spool.Spool(directory).recover()
    assert chunk is not None
    assert chunk.data == TEXT[5:]


def test_a_read_that_gives_nothing_is_none(directory: int, pipe: tuple[int, int]) -> None:
    os.write(pipe[1], TEXT)
    made = begun(directory, pipe[0], len(TEXT))
    os.read(pipe[0], 100)
    assert made.read(pipe[0]) == 0


def test_an_orderly_end_leaves_no_spool(tmp_path: Path, directory: int) -> None:
    spool.Spool(directory).close(remove=True)
    assert not (tmp_path / "spool").exists()
