# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table and the commands: logs come, change and go while the log writer runs."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from log_tables import Table
from waiting import wait_until


def test_a_log_is_added_while_the_log_writer_runs(table: Table) -> None:
    table.start()
    table.add("a", tell=True)
    table.write("a", b"x\n")
    table.wait_for("a", b"x\n")


def test_a_removed_log_is_emptied_and_closed(table: Table) -> None:
    table.add("a")
    process = table.start()
    table.write("a", b"one\n")
    table.wait_for("a", b"one\n")
    process.send_signal(signal.SIGSTOP)
    table.write("a", b"two\nthree")
    (table.path / "a.json").unlink()
    table.tell("-a")
    (table.fifos / "a").unlink()
    table.release("a")
    process.send_signal(signal.SIGCONT)
    wait_until(lambda: os.access(table.current("a"), os.X_OK))
    assert table.lines("a") == [b"one", b"two", b"three"]
    assert table.stop() == 0


def test_the_end_of_a_process_ends_its_line(table: Table) -> None:
    table.add("a")
    table.start()
    table.write("a", b"what it said las")
    table.wait_for("a", b"las")
    table.tell("end a")
    table.wait_for("a", b"las\n")
    table.write("a", b"first of the next\n")
    table.wait_for("a", b"next\n")
    assert table.lines("a") == [b"what it said las", b"first of the next"]


def test_a_log_moves_to_another_directory_with_nothing_left_behind(table: Table, tmp_path: Path) -> None:
    table.add("a")
    process = table.start()
    table.write("a", b"one\n")
    table.wait_for("a", b"one\n")
    process.send_signal(signal.SIGSTOP)
    table.write("a", b"two\n")
    table.add("a", tell=True, directory=str(tmp_path / "elsewhere" / "a"))
    process.send_signal(signal.SIGCONT)
    new = tmp_path / "elsewhere" / "a" / "current"
    wait_until(new.exists)
    table.write("a", b"three\n")
    wait_until(lambda: new.read_bytes().endswith(b"three\n"))
    assert table.lines("a") == [b"one", b"two"]
    assert os.access(table.current("a"), os.X_OK)


def test_a_new_format_and_size_are_taken_over(table: Table) -> None:
    table.add("a")
    table.start()
    table.write("a", b"one\n")
    table.wait_for("a", b"one\n")
    table.add("a", tell=True, format="none", size=10)
    table.write("a", b"two\n")
    table.wait_for("a", b"two\n")
    wait_until(lambda: len(table.rotated("a")) == 1)
    assert table.current("a").read_bytes() == b"two\n"


@pytest.mark.parametrize("way", ["signal", "command"])
def test_a_file_that_was_moved_away_is_made_again(table: Table, way: str) -> None:
    table.add("a")
    process = table.start()
    table.write("a", b"one\n")
    table.wait_for("a", b"one\n")
    taken = table.current("a").rename(table.log / "taken")
    if way == "signal":
        process.send_signal(signal.SIGHUP)
    else:
        table.tell("reopen")
    wait_until(table.current("a").exists)
    table.write("a", b"two\n")
    table.wait_for("a", b"two\n")
    assert table.lines("a") == [b"two"]
    assert taken.read_bytes().endswith(b"one\n")


def test_sighup_reads_the_table_again(table: Table) -> None:
    table.add("a")
    process = table.start()
    table.write("a", b"x\n")
    table.wait_for("a", b"x\n")
    (table.path / "a.json").unlink()
    table.add("b")
    process.send_signal(signal.SIGHUP)
    wait_until(lambda: os.access(table.current("a"), os.X_OK))
    table.write("b", b"y\n")
    table.wait_for("b", b"y\n")


def test_a_new_fifo_under_the_same_name_is_taken(table: Table) -> None:
    table.add("a")
    process = table.start()
    table.write("a", b"one\n")
    table.wait_for("a", b"one\n")
    process.send_signal(signal.SIGSTOP)
    table.write("a", b"two\n")
    fifo = table.fifos / "a"
    fifo.unlink()
    os.mkfifo(fifo, 0o600)
    table.tell("+a")
    process.send_signal(signal.SIGCONT)
    table.wait_for("a", b"two\n")
    with fifo.open("r+b", buffering=0) as service:
        service.write(b"three\n")
        table.wait_for("a", b"three\n")


def test_bad_entries_are_told_and_harm_nobody(table: Table) -> None:
    table.add("good")
    (table.path / "broken.json").write_text("{", encoding="ascii")
    (table.path / "list.json").write_text("[]", encoding="ascii")
    (table.path / ".hidden.json").write_text("{}", encoding="ascii")
    table.add("relative", directory="var/log")
    table.add("format", format="rfc3339")
    table.add("size", size="big")
    table.add("lonely")
    (table.fifos / "lonely").unlink()
    table.start()
    table.tell("nonsense", "+../../etc/passwd", "-unknown", "+unknown", "rotate unknown")
    table.write("good", b"x\n")
    table.wait_for("good", b"x\n")
    wait_until(lambda: "rotate unknown" in table.errors.read_text())
    errors = table.errors.read_text()
    for words in (
        "broken: ",
        "list: ",
        "relative: directory: ",
        "format: format: ",
        "size: size: ",
        "lonely",
        "nonsense",
    ):
        assert words in errors, words
    assert "hidden" not in errors


def test_commands_for_thousands_of_logs_wait_for_a_busy_log_writer(table: Table) -> None:
    table.add("a")
    process = table.start()
    table.write("a", b"x\n")
    table.wait_for("a", b"x\n")
    process.send_signal(signal.SIGSTOP)
    for number in range(5000):
        table.tell(f"-{number:060}")
    table.add("b", tell=True)
    process.send_signal(signal.SIGCONT)
    table.write("b", b"y\n")
    table.wait_for("b", b"y\n")


def test_a_second_log_writer_goes_away(table: Table) -> None:
    table.add("a")
    first = table.start()
    table.write("a", b"x\n")
    table.wait_for("a", b"x\n")
    assert table.start().wait(20) == 100
    table.process = first
    assert table.stop() == 0


@pytest.mark.parametrize("arguments", [[], ["/nonexistent/logs"], ["a", "b"]])
def test_wrong_arguments_are_told(table: Table, arguments: list[str]) -> None:
    import subprocess

    from log_tables import PROGRAM

    ended = subprocess.run([sys.executable, "-I", "-S", "-c", PROGRAM, *arguments], capture_output=True, check=False)
    assert ended.returncode in (100, 111)
    assert ended.stderr.startswith(b"holdfast logwriter: ")


def test_an_idle_log_writer_sleeps_without_an_end(table: Table) -> None:
    if os.uname().machine not in ("x86_64", "aarch64"):
        pytest.skip("the arguments of the system call are read as on x86_64 and aarch64")
    table.add("a")
    table.add("b", age=1e9, keep=1e9)
    process = table.start()
    table.write("a", b"x\n")
    table.wait_for("a", b"x\n")
    call = Path(f"/proc/{process.pid}/syscall")

    def timeout() -> int | None:
        words = call.read_text().split()
        return int(words[4], 16) & 0xFFFFFFFF if len(words) > 5 else None

    wait_until(lambda: timeout() == 0xFFFFFFFF, message="the log writer does not wait without a time-out")
