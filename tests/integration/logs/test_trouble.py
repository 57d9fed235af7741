# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Outputs that cannot be written: the service never waits for them, and what is lost is counted to the line."""

from __future__ import annotations

import errno
import os
import re
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from log_tables import Table
from waiting import wait_until

NOTE = re.compile(rb"holdfast: (\d+) lines \((\d+) bytes\) lost: (.*)")


def accounted(table: Table, name: str) -> tuple[list[int], int, int]:
    """The numbers of the lines in the log, how many lines and bytes the log says are lost."""
    numbers, lines, count = [], 0, 0
    for line in table.lines(name):
        note = NOTE.fullmatch(line)
        if note:
            lines += int(note[1])
            count += int(note[2])
        else:
            numbers.append(int(line.split()[0]))
    return numbers, lines, count


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB."""
    place = tmp_path / "log"
    place.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root can mount")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mount is not allowed here")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def line(number: int) -> bytes:
    return b"%06d %s\n" % (number, b"x" * (number % 70))


def test_a_full_disk_costs_counted_lines_and_nothing_else(table: Table, small_disk: Path) -> None:
    table.add("a", size=1_000_000)
    table.start()
    ballast = small_disk / "ballast"
    total = 6000
    text = b"".join(line(number) for number in range(total))
    third = len(text) // 3
    # The middle third ends within a line.
    table.write("a", text[:1000])
    wait_until(lambda: table.waiting("a") == 0)
    ballast.write_bytes(b"x" * 50_000)
    for begin in range(1000, 2 * third, 7001):
        table.write("a", text[begin : min(begin + 7001, 2 * third)])
    wait_until(lambda: table.stats("a").get("lost_lines", 0) > 0)
    wait_until(lambda: table.waiting("a") == 0)
    assert table.stats("a")["error"] == os.strerror(errno.ENOSPC)
    ballast.unlink()
    table.write("a", text[2 * third :][:20_000])
    end = 2 * third + 20_000
    end = text.index(b"\n", end) + 1
    table.write("a", text[2 * third + 20_000 : end])
    written = text[:end].count(b"\n")
    table.wait_for("a", line(written - 1))
    numbers, lost_lines, lost_bytes = accounted(table, "a")
    assert sorted(set(numbers)) == numbers
    assert len(numbers) + lost_lines == written
    assert lost_bytes == end - sum(len(line(number)) for number in numbers)
    wait_until(lambda: table.stats("a")["error"] is None)
    assert table.stats("a")["lost_lines"] == lost_lines
    assert table.stats("a")["lost_bytes"] == lost_bytes
    assert table.stop() == 0
    assert table.text("a").endswith(b"\n")


def test_losses_survive_kill_9_and_are_told_by_the_next(table: Table, small_disk: Path) -> None:
    table.add("a")
    table.start()
    table.write("a", b"1 first\n")
    table.wait_for("a", b"first\n")
    ballast = small_disk / "ballast"
    with pytest.raises(OSError, match="No space"):
        ballast.write_bytes(b"x" * 70_000)
    table.write("a", b"2 lost\n" * 1000)
    wait_until(lambda: table.stats("a").get("lost_lines", 0) > 0)
    wait_until(lambda: table.stats("a").get("lost_lines", 0) == 1000 - table.text("a").count(b"2 lost\n"))
    table.kill()
    ballast.unlink()
    table.start()
    table.write("a", b"3 last\n")
    table.wait_for("a", b"3 last\n")
    numbers, lost_lines, _unused = accounted(table, "a")
    assert len(numbers) + lost_lines == 1002


def test_other_logs_are_not_disturbed_by_a_full_disk(table: Table, small_disk: Path, tmp_path: Path) -> None:
    table.add("a")
    table.add("b", directory=str(tmp_path / "elsewhere"))
    table.start()
    with pytest.raises(OSError, match="No space"):
        (small_disk / "ballast").write_bytes(b"x" * 70_000)
    for number in range(300):
        table.write("a", b"%d\n" % number * 100)
        table.write("b", b"%d\n" % number)
    good = tmp_path / "elsewhere" / "current"
    wait_until(lambda: good.exists() and good.read_bytes().count(b"\n") == 300)
    wait_until(lambda: table.waiting("a") == 0)


def test_a_file_size_limit_is_an_error_like_others(table: Table) -> None:
    table.add("a", size=10_000_000)
    process = table.start()
    table.write("a", b"0 first\n")
    table.wait_for("a", b"first\n")
    _unused, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
    # More than the spool and the statistics need.
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (100_000, hard))
    for number in range(1, 4000):
        table.write("a", b"%05d %s\n" % (number, b"x" * 40))
    wait_until(lambda: table.stats("a").get("lost_lines", 0) > 0)
    wait_until(lambda: table.waiting("a") == 0)
    assert table.stats("a")["error"] == os.strerror(errno.EFBIG)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, hard))
    table.write("a", b"4000 last\n")
    table.wait_for("a", b"4000 last\n")
    numbers, lost_lines, _unused = accounted(table, "a")
    assert len(numbers) + lost_lines == 4001


def refused(table: Table, reason: str) -> None:
    """The log is refused for this reason, the service goes on, and another log works."""
    good = table.path.with_name("good")
    table.add("good", directory=str(good))
    table.start()
    for _unused in range(5):
        table.write("a", b"line\n" * 10_000)
    table.write("good", b"x\n")
    wait_until(lambda: (good / "current").exists() and (good / "current").read_bytes().endswith(b"x\n"))
    wait_until(lambda: table.waiting("a") == 0)
    wait_until(lambda: table.stats("a").get("lost_lines") == 50_000)
    assert reason in table.stats("a")["error"]
    assert reason in table.errors.read_text()


def mended(table: Table) -> None:
    """The log works again, and tells of the loss."""

    def told() -> bool:
        table.write("a", b"line\n")
        return b" lost: " in table.text("a")

    wait_until(told)
    assert table.stop() == 0
    lines = table.lines("a")
    notes = [line for line in lines if NOTE.fullmatch(line)]
    assert len(notes) == 1
    assert int(NOTE.fullmatch(notes[0])[1]) >= 50_000  # type: ignore[index]


def test_a_symbolic_link_as_directory_is_refused(table: Table, tmp_path: Path) -> None:
    table.log.mkdir()
    (tmp_path / "target").mkdir()
    link = table.log / "a"
    link.symlink_to(tmp_path / "target")
    table.add("a")
    refused(table, "symbolic link")
    assert list((tmp_path / "target").iterdir()) == []
    link.unlink()
    mended(table)


def test_a_link_on_the_way_counts_if_it_is_ours(table: Table, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    table.log.symlink_to("../" + tmp_path.name + "/./real")
    table.add("a")
    table.start()
    table.write("a", b"x\n")
    table.wait_for("a", b"x\n")
    assert (tmp_path / "real" / "a" / "current").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of others")
def test_a_link_of_somebody_else_on_the_way_is_refused(table: Table, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    table.log.symlink_to(tmp_path / "real")
    os.lchown(table.log, 12345, 12345)
    table.add("a")
    refused(table, "symbolic link of uid 12345")
    os.lchown(table.log, 0, 0)
    mended(table)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of others")
def test_a_directory_of_somebody_else_is_refused(table: Table) -> None:
    directory = table.log / "a"
    directory.mkdir(parents=True)
    os.chown(directory, 12345, 12345)
    table.add("a")
    refused(table, "owned by uid 12345")
    assert list(directory.iterdir()) == []
    os.chown(directory, 0, 0)
    mended(table)


def test_a_directory_that_everybody_can_write_is_refused(table: Table) -> None:
    directory = table.log / "a"
    directory.mkdir(parents=True)
    directory.chmod(0o777)
    table.add("a")
    refused(table, "written by everybody")
    directory.chmod(0o755)
    mended(table)


def test_a_file_in_place_of_the_directory_is_refused(table: Table) -> None:
    table.log.mkdir()
    (table.log / "a").write_bytes(b"")
    table.add("a")
    refused(table, "Not a directory")
    (table.log / "a").unlink()
    mended(table)


@pytest.mark.parametrize("kind", ["link", "fifo", "directory"])
def test_a_current_that_is_no_file_is_refused(table: Table, tmp_path: Path, kind: str) -> None:
    directory = table.log / "a"
    directory.mkdir(parents=True)
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious\n")
    current = directory / "current"
    if kind == "link":
        current.symlink_to(victim)
    elif kind == "fifo":
        os.mkfifo(current)
    else:
        current.mkdir()
    table.add("a")
    refused(table, "current")
    assert victim.read_bytes() == b"precious\n"
    if kind == "directory":
        current.rmdir()
    else:
        current.unlink()
    mended(table)


def test_two_logs_cannot_share_a_directory(table: Table) -> None:
    table.add("a")
    table.start()
    table.write("a", b"ours\n")
    table.wait_for("a", b"ours\n")
    table.add("b", tell=True, directory=str(table.log / "a"))
    table.write("b", b"theirs\n")
    wait_until(lambda: table.stats("b").get("lost_lines") == 1)
    table.write("a", b"again\n")
    table.wait_for("a", b"again\n")
    assert table.lines("a") == [b"ours", b"again"]


def test_a_directory_that_vanishes_comes_back_with_the_rotation(table: Table) -> None:
    table.add("a", size=1000)
    table.start()
    table.write("a", b"x\n")
    table.wait_for("a", b"x\n")
    table.log.rename(table.log.with_name("moved"))

    def back() -> bool:
        table.write("a", b"%030d\n" % 7 * 100)
        table.tell("reopen")
        return table.current("a").exists()

    wait_until(back)
