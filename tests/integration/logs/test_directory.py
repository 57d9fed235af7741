# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a log directory gets: stamps, lines, rotation, pruning, and the marks of an orderly end."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from log_tables import Table
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._supervise._logwriter.spool import Spool
from ansible_collections.holdfast.supervision.plugins.module_utils._supervise._logwriter.table import Settings

ISO = 28
TAI64N = 26


def label(seconds: float) -> str:
    """The name of a file that was rotated ``seconds`` ago."""
    return f"@{2**62 + 10 + int(time.time() - seconds):016x}00000000.s"


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_lines_get_stamps_in_the_wanted_format(table: Table) -> None:
    for form in ("iso", "tai64n", "none"):
        table.add(form, format=form)
        table.write(form, b"one\ntwo\n")
    table.start()
    for form in ("iso", "tai64n", "none"):
        table.wait_for(form, b"two\n")
    iso = rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z "
    assert re.fullmatch(iso + b"one\n" + iso + b"two\n", table.text("iso"))
    assert re.fullmatch(rb"@[0-9a-f]{24} one\n@[0-9a-f]{24} two\n", table.text("tai64n"))
    assert table.text("none") == b"one\ntwo\n"


def test_tai64n_stamps_are_those_of_the_c_tools(table: Table) -> None:
    if not shutil.which("tai64nlocal"):
        pytest.skip("tai64nlocal is not installed")
    table.add("a", format="tai64n")
    before = time.time()
    table.write("a", b"x\n")
    table.start()
    table.wait_for("a", b"x\n")
    shown = subprocess.run(
        ["tai64nlocal"], input=table.text("a"), capture_output=True, check=True, env={**os.environ, "TZ": "UTC"}
    )
    stamp = time.strptime(shown.stdout[:19].decode(), "%Y-%m-%d %H:%M:%S")
    import calendar

    assert before - 1 <= calendar.timegm(stamp) <= time.time() + 1


def test_a_line_in_pieces_gets_one_stamp(table: Table) -> None:
    table.add("a")
    table.start()
    for piece in (b"one ", b"two ", b"three\nfour", b"\n", b"\n", b"five\n"):
        table.write("a", piece)
        wait_until(lambda: table.waiting("a") == 0)
    table.wait_for("a", b"five\n")
    assert table.lines("a") == [b"one two three", b"four", b"", b"five"]


def test_every_byte_value_passes(table: Table) -> None:
    table.add("a", format="none")
    data = bytes(range(256)) * 300 + b"\0" * 5000 + b"\xff\0\xfe\xc0" * 40
    table.write("a", data[:60000])
    table.start()
    table.write("a", data[60000:])
    wait_until(lambda: table.text("a") == data)


def test_the_last_line_is_kept_and_ended_when_the_log_writer_stops(table: Table) -> None:
    table.add("a")
    table.start()
    table.write("a", b"whole\npart")
    table.wait_for("a", b"part")
    assert mode(table.current("a")) == 0o644
    assert table.stop() == 0
    assert table.lines("a") == [b"whole", b"part"]
    assert table.text("a").endswith(b"part\n")
    assert mode(table.current("a")) == 0o744


def test_what_was_written_before_the_stop_is_in_the_log(table: Table) -> None:
    for name in ("a", "b"):
        table.add(name)
    process = table.start()
    table.write("a", b"first\n")
    table.wait_for("a", b"first\n")
    process.send_signal(signal.SIGSTOP)
    for name in ("a", "b"):
        table.write(name, b"last\n" * 13000)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGCONT)
    assert process.wait(20) == 0
    assert table.lines("a") == [b"first"] + [b"last"] * 13000
    assert table.lines("b") == [b"last"] * 13000


def test_a_stop_that_comes_before_the_log_writer_can_hear_it_is_an_orderly_one(table: Table) -> None:
    table.add("a")
    table.write("a", b"x\n")
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM,))
    try:
        process = table.start()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM,))
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert table.lines("a") == [b"x"]


def test_no_line_is_cut_when_the_log_writer_is_replaced_under_a_flood(table: Table) -> None:
    table.add("a", size=100_000_000)
    fifo = table.fifos / "a"
    flood = (
        "import os, sys\nout = os.open(sys.argv[1], os.O_RDWR)\nnumber = 0\n"
        "while True:\n    os.write(out, b''.join(b'%09d\\n' % n for n in range(number, number + 777)))\n    number += 777\n"
    )
    with subprocess.Popen([sys.executable, "-c", flood, str(fifo)]) as service:
        try:
            for turn in range(1, 4):
                table.start()
                wait_until(lambda: len(table.text("a")) > 1_000_000 * turn)  # noqa: B023
                assert table.stop() == 0
        finally:
            service.kill()
    lines = table.lines("a")
    assert lines == [b"%09d" % number for number in range(len(lines))]


def test_rotated_files_have_whole_lines_and_the_wanted_size(table: Table) -> None:
    table.add("a", size=5000, count=1000)
    lines = [b"%d %s" % (number, b"x" * (number % 90)) for number in range(3000)]
    text = b"".join(line + b"\n" for line in lines)
    table.start()
    for begin in range(0, len(text), 3333):
        table.write("a", text[begin : begin + 3333])
    table.wait_for("a", lines[-1] + b"\n")
    assert table.stop() == 0
    assert table.lines("a") == lines
    assert len(table.rotated("a")) > 20
    for file in table.rotated("a"):
        assert re.fullmatch(r"@[0-9a-f]{24}\.s", file.name)
        assert mode(file) == 0o744
        assert file.read_bytes().endswith(b"\n")
        # A line that was begun may be ended beyond the size.
        assert 4000 < file.stat().st_size <= 5000 + 100


def test_a_line_longer_than_a_file_is_not_torn(table: Table) -> None:
    table.add("a", size=1000)
    table.start()
    table.write("a", b"short\n" + b"x" * 200_000 + b"\nshort again\n")
    table.wait_for("a", b"short again\n")
    assert table.lines("a") == [b"short", b"x" * 200_000, b"short again"]


def test_only_the_newest_files_are_kept(table: Table) -> None:
    table.add("a", size=1000, count=3)
    table.start()
    for number in range(1000):
        table.write("a", b"%04d\n" % number)
    table.wait_for("a", b"0999\n")
    lines = table.lines("a")
    assert len(table.rotated("a")) == 3
    assert lines == [b"%04d" % number for number in range(1000 - len(lines), 1000)]
    assert len(lines) < 200


def test_files_older_than_keep_are_deleted_and_others_are_not_touched(table: Table) -> None:
    directory = table.log / "a"
    directory.mkdir(parents=True)
    for age in (1000, 500, 100):
        (directory / label(age)).write_bytes(b"old\n")
        (directory / label(age)).chmod(0o744)
    (directory / "@notes.s").write_bytes(b"mine\n")
    names = sorted(file.name for file in directory.iterdir())
    table.add("a", keep=300, count=2)
    table.start()
    table.write("a", b"x\n")
    table.wait_for("a", b"x\n")
    assert sorted(file.name for file in directory.glob("@*")) == [names[2], "@notes.s"]


def test_a_file_that_becomes_too_old_is_deleted_without_any_line_coming(table: Table) -> None:
    directory = table.log / "a"
    directory.mkdir(parents=True)
    old = directory / label(100)
    old.write_bytes(b"old\n")
    old.chmod(0o744)
    table.add("a", keep=101)
    table.start()
    wait_until(lambda: not old.exists())


def test_a_file_is_rotated_at_its_age_without_any_line_coming(table: Table) -> None:
    table.add("a", age=0.3)
    table.start()
    table.write("a", b"one\n")
    (file,) = wait_until(lambda: table.rotated("a"))
    assert file.read_bytes()[ISO:] == b"one\n"
    assert table.current("a").stat().st_size == 0


def test_age_counts_over_a_restart(table: Table) -> None:
    directory = table.log / "a"
    directory.mkdir(parents=True)
    (directory / "current").write_bytes(b"2001-01-01T00:00:00.000000Z old\n")
    (directory / "current").chmod(0o744)
    table.add("a", age=86400)
    table.start()
    (file,) = wait_until(lambda: table.rotated("a"))
    assert file.read_bytes() == b"2001-01-01T00:00:00.000000Z old\n"


def test_rotation_on_command_waits_for_the_end_of_the_line(table: Table) -> None:
    table.add("a")
    table.start()
    table.write("a", b"one\ntw")
    table.wait_for("a", b"tw")
    table.tell("rotate a")
    table.write("a", b"o\n")
    (file,) = wait_until(lambda: table.rotated("a"))
    assert [line[ISO:] for line in file.read_bytes().splitlines()] == [b"one", b"two"]


def test_an_empty_log_is_not_rotated(table: Table) -> None:
    table.add("a")
    table.add("b")
    table.start()
    table.tell("rotate a", "rotate b")
    table.write("b", b"x\n")
    table.wait_for("b", b"x\n")
    assert table.rotated("a") == []


def test_the_log_writer_goes_on_with_current_after_kill_9(table: Table) -> None:
    table.add("a")
    table.start()
    table.write("a", b"one\ntw")
    table.wait_for("a", b"tw")
    table.kill()
    table.write("a", b"o\n")
    table.start()
    table.wait_for("a", b"two\n")
    assert table.rotated("a") == []
    assert table.lines("a") == [b"one", b"two"]


def test_current_without_the_mark_is_put_aside_when_nothing_is_known_about_it(table: Table) -> None:
    table.add("a")
    directory = table.log / "a"
    directory.mkdir(parents=True)
    (directory / "current").write_bytes(b"cut by a powe")
    sealed, unsealed = directory / label(200), directory / label(100)
    for file in (sealed, unsealed):
        file.write_bytes(b"x\n")
    sealed.chmod(0o744)
    unsealed.chmod(0o644)
    table.start()
    table.write("a", b"new\n")
    table.wait_for("a", b"new\n")
    unsure = [file for file in table.rotated("a") if file.suffix == ".u"]
    assert [file.read_bytes() for file in unsure] == [b"x\n", b"cut by a powe"]
    assert sealed.exists()
    assert table.current("a").read_bytes()[ISO:] == b"new\n"


def test_current_with_the_mark_is_continued(table: Table) -> None:
    table.add("a")
    for text in (b"one\n", b"two\n"):
        table.start()
        table.write("a", text)
        table.wait_for("a", text)
        assert table.stop() == 0
    assert table.rotated("a") == []
    assert table.lines("a") == [b"one", b"two"]


@pytest.mark.parametrize("logger", ["multilog", "svlogd", "s6-log"])
def test_other_loggers_take_the_directory_over_and_back(table: Table, logger: str) -> None:
    if not shutil.which(logger):
        pytest.skip(f"{logger} is not installed")
    table.add("a", format="tai64n")
    table.start()
    table.write("a", b"one\n")
    table.wait_for("a", b"one\n")
    assert table.stop() == 0
    command = {"multilog": ["t"], "svlogd": ["-t"], "s6-log": ["t"]}[logger]
    subprocess.run([logger, *command, str(table.log / "a")], input=b"two\n", check=True, timeout=20)
    table.start()
    table.write("a", b"three\n")
    table.wait_for("a", b"three\n")
    assert [file.name for file in table.rotated("a") if file.name.endswith(".u")] == []
    assert table.lines("a", TAI64N) == [b"one", b"two", b"three"]


@pytest.mark.parametrize("logger", [["multilog", "t"], ["svlogd"], ["s6-log", "t"]], ids=lambda one: one[0])
def test_a_directory_that_another_logger_holds_is_left_alone(table: Table, logger: list[str]) -> None:
    if not shutil.which(logger[0]):
        pytest.skip(f"{logger[0]} is not installed")
    table.add("a", format="tai64n")
    (table.log / "a").mkdir(parents=True)
    with subprocess.Popen([*logger, str(table.log / "a")], stdin=subprocess.PIPE) as other:
        assert other.stdin is not None
        other.stdin.write(b"theirs\n")
        other.stdin.flush()
        wait_until(lambda: b"theirs" in table.text("a"))
        table.start()
        table.write("a", b"lost\n")
        # It is given some time to go.
        wait_until(lambda: table.stats("a").get("lost_lines") == 1)
        assert "another logger" in table.stats("a")["error"]
        other.stdin.close()
        other.wait(20)

    def works() -> bool:
        table.write("a", b"ours\n")
        return b"ours\n" in table.text("a")

    wait_until(works)


@contextlib.contextmanager
def held(directory: Path) -> Iterator[None]:
    """Be the logger of a directory for a while."""
    directory.mkdir(parents=True, exist_ok=True)
    lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def rests(process: subprocess.Popen[bytes]) -> bool:
    """Whether a log writer waits for another logger, and for nothing else."""
    where = Path(f"/proc/{process.pid}/wchan").read_text()
    return any(word in where for word in ("select", "poll_schedule", "sys_poll"))


def test_of_a_directory_that_another_logger_is_about_to_leave_nothing_is_lost(table: Table) -> None:
    table.add("a")
    table.add("b")
    with held(table.log / "a"):
        process = table.start()
        table.write("a", b"one\n")
        # It has looked, and goes on with the others.
        table.write("b", b"other\n")
        table.wait_for("b", b"other\n")
        assert table.waiting("a") == len(b"one\n")
    table.write("a", b"two\n")
    table.wait_for("a", b"two\n")
    assert table.lines("a") == [b"one", b"two"] and not table.stats("a") and process.poll() is None


@pytest.mark.parametrize("end", ["taken away", "stopped"])
def test_a_log_that_ends_while_another_logger_has_the_directory_waits_for_it(table: Table, end: str) -> None:
    table.add("a")
    table.add("b")
    with held(table.log / "a"):
        process = table.start()
        table.write("a", b"one\n")
        table.write("b", b"other\n")
        table.wait_for("b", b"other\n")
        if end == "stopped":
            process.terminate()
        else:
            (table.path / "a.json").unlink()
            table.tell("-a")
        wait_until(lambda: rests(process))
    wait_until(lambda: table.lines("a") == [b"one"])
    assert not table.stats("a")


def test_what_a_killed_log_writer_had_read_waits_for_another_logger_to_go(table: Table) -> None:
    table.add("a")
    table.start()
    table.write("a", b"one\n")
    table.wait_for("a", b"one\n")
    table.kill()
    # Killed when it had read and not written.
    folder = os.open(table.path, os.O_RDONLY)
    spool = Spool(folder)
    settings = Settings("a", json.loads((table.path / "a.json").read_text())["log"]).record()
    status = table.current("a").stat()
    fifo = os.open(table.fifos / "a", os.O_RDONLY | os.O_NONBLOCK)
    table.write("a", b"two\n")
    spool.begin(object(), settings, 4, status.st_size, status.st_dev, status.st_ino, False, b"x" * 28)
    assert spool.read(fifo) == 4
    spool.close(remove=False)
    os.close(fifo)
    os.close(folder)
    with held(table.log / "a"):
        process = table.start()
        wait_until(lambda: rests(process))
        assert not table.stats("a")
    table.wait_for("a", b"two\n")
    assert table.lines("a") == [b"one", b"two"] and not table.stats("a")


def test_nobody_holding_the_fifo_is_no_reason_to_run(table: Table) -> None:
    table.add("a")
    process = table.start()
    table.write("a", b"one\npart")
    table.wait_for("a", b"part")
    table.release("a")
    table.wait_for("a", b"part\n")
    sleeping = Path(f"/proc/{process.pid}/wchan")
    wait_until(lambda: "poll" in sleeping.read_text())
    with (table.fifos / "a").open("wb", buffering=0) as service:
        service.write(b"again\n")
        table.wait_for("a", b"again\n")
    wait_until(lambda: "poll" in sleeping.read_text())


def test_a_thread_per_service_writes_while_the_table_changes(table: Table) -> None:
    names = [f"s{number}" for number in range(8)]
    table.start()

    def service(name: str) -> None:
        for number in range(3000):
            table.write(name, b"%d\n" % number)

    services = []
    for name in names:
        table.add(name, tell=True, size=20_000, count=1000)
        services.append(table.beside(service, name))
    for size in (10_000, 30_000, 7_000):
        for name in names:
            table.add(name, tell=True, size=size, count=1000)
        table.tell("reopen", *(f"rotate {name}" for name in names))
    for one in services:
        one.result()
    assert table.stop() == 0
    for name in names:
        assert table.lines(name) == [b"%d" % number for number in range(3000)]
