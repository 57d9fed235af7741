# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The log writer's table as others see it, and waiting until a log writer has let go of a log."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._supervise import holding, log_table
from ansible_collections.holdfast.supervision.plugins.module_utils._supervise._steps import logs
from ansible_collections.holdfast.supervision.plugins.module_utils._supervise._systemd import files, unit

#: Has the lock of a log open until it is told something, then is there still.
HOLDER = """
import os, sys
lock = os.open(sys.argv[1], os.O_RDWR)
print("open", flush=True)
sys.stdin.readline()
os.close(lock)
print("closed", flush=True)
sys.stdin.readline()
"""


def test_an_entry_is_for_all_to_read_and_written_when_it_differs(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "web.json.new").symlink_to(victim)
    before = os.umask(0o077)
    try:
        log_table.put(str(tmp_path), "web", "/run/fifo/web", {"to": "directory"})
    finally:
        os.umask(before)
    entry = tmp_path / "web.json"
    assert json.loads(entry.read_text()) == {"fifo": "/run/fifo/web", "log": {"to": "directory"}}
    assert stat.S_IMODE(entry.stat().st_mode) == 0o644 and victim.read_text() == "mine"
    first = entry.stat().st_ino
    log_table.put(str(tmp_path), "web", "/run/fifo/web", {"to": "directory"})
    assert entry.stat().st_ino == first
    log_table.put(str(tmp_path), "web", "/run/fifo/other", {"to": "directory"})
    assert json.loads(entry.read_text())["fifo"] == "/run/fifo/other"


def test_what_the_log_writer_has_put_in_the_place_of_an_entry_holds_nobody_up(tmp_path: Path) -> None:
    entry = tmp_path / "web.json"
    os.mkfifo(entry)
    log_table.put(str(tmp_path), "web", "/run/fifo/web", {"to": "directory"})
    assert json.loads(entry.read_text())["fifo"] == "/run/fifo/web"
    other = tmp_path / "other"
    entry.rename(other)
    entry.symlink_to(other)
    log_table.put(str(tmp_path), "web", "/run/fifo/web", {"to": "directory"})
    assert stat.S_ISREG(entry.lstat().st_mode)


def test_a_command_reaches_whoever_listens_and_is_written_into_nothing_else(tmp_path: Path) -> None:
    control = tmp_path / "control"
    log_table.tell(str(tmp_path), "-web")
    assert not control.exists()
    control.write_text("")
    log_table.tell(str(tmp_path), "-web")
    assert control.read_text() == ""
    control.unlink()
    os.mkfifo(control)
    # Nobody reads: nothing waits for it.
    log_table.tell(str(tmp_path), "-web")
    reading = os.open(control, os.O_RDONLY | os.O_NONBLOCK)
    try:
        log_table.tell(str(tmp_path), "-web")
        assert os.read(reading, 100) == b"-web\n"
    finally:
        os.close(reading)


@pytest.fixture
def fifo(tmp_path: Path) -> Iterator[int]:
    """A FIFO that is held for reading and writing."""
    os.mkfifo(tmp_path / "fifo")
    held = os.open(tmp_path / "fifo", os.O_RDWR | os.O_NONBLOCK)
    yield held
    os.close(held)


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has the log `tmp_path/log` open."""
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "lock").touch()
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "log" / "lock")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    yield process
    process.kill()
    process.communicate()


def until_let_go(tmp_path: Path, writer: Callable[[], int], **log: str) -> bool:
    log = {"to": "directory", "directory": str(tmp_path / "log"), **log}
    return log_table.until_let_go(log, str(tmp_path), str(tmp_path / "fifo"), writer)


def test_it_is_waited_until_the_log_writer_has_closed_the_log(
    tmp_path: Path, fifo: int, holder: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def writer() -> int:
        asked.append(holder.pid)
        return holder.pid

    def look(pid: int, path: str) -> bool:
        seen.append(has_open(pid, path))
        if len(seen) == 3:
            assert holder.stdin is not None
            holder.stdin.write("\n")
            holder.stdin.flush()
        return seen[-1]

    seen: list[bool] = []
    has_open = log_table._has_open
    monkeypatch.setattr(log_table, "_has_open", look)
    monkeypatch.setattr(log_table, "_AGAIN", 30.0)
    # Of what others than the service write into its FIFO afterwards, nobody waits.
    os.write(fifo, b"late\n")
    assert until_let_go(tmp_path, writer)
    # It is looked at again and again, and its supervisor asked once.
    assert len(seen) > 3 and len(asked) == 1 and holder.stdout is not None and holder.stdout.readline() == "closed\n"


def test_what_a_killed_log_writer_has_read_or_not_is_waited_for(
    tmp_path: Path, fifo: int, holder: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, spool = [], tmp_path / "spool"

    def writer() -> int:
        asked.append(None)
        if len(asked) == 4:
            # The next one has come, and reads it.
            os.read(fifo, 100)
        if len(asked) == 6:
            # It has written too what the killed one had read.
            spool.write_bytes(bytes(100))
        return holder.pid if len(asked) < 2 else 0

    def look(pid: int, path: str) -> bool:
        killed = threading.Thread(target=lambda: (holder.kill(), holder.wait()))
        killed.start()
        monkeypatch.setattr(log_table, "_has_open", has_open)
        return has_open(pid, path)

    has_open = log_table._has_open
    monkeypatch.setattr(log_table, "_has_open", look)
    spool.write_bytes(bytes(8) + b"\2" + bytes(91))
    os.write(fifo, b"left\n")
    assert until_let_go(tmp_path, writer) and len(asked) == 6


def test_a_log_writer_that_hangs_is_not_waited_for_for_ever(
    tmp_path: Path, holder: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_table, "PATIENCE", 0.05)
    assert not until_let_go(tmp_path, lambda: holder.pid)
    # What goes to syslog has no directory.
    assert until_let_go(tmp_path, lambda: holder.pid, to="syslog")


# -- systemd's table


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """Service directories: `a` with a log, and `quiet` without."""
    scan = tmp_path / "services"
    (scan / ".systemd").mkdir(parents=True)
    (scan / ".systemd" / "settings.json").write_text('{"log_user": ""}')
    for name, log in (("a", {"to": "directory", "directory": f"{tmp_path}/log/a"}), ("quiet", {"to": "none"})):
        (scan / name).mkdir()
        (scan / name / "holdfast.json").write_text(json.dumps({"format": 1, "name": name, "log": log}))
    return scan


def served(scan: Path, folder: Path) -> tuple[set[str], set[str]]:
    """Do the log writer's step; the names in the table, and those of the FIFOs."""
    assert logs.serve(str(scan), str(folder)) == 0
    return {path.stem for path in (folder / "logs").glob("*.json")}, set(os.listdir(folder / "fifo"))


def test_a_log_on_its_way_has_its_fifo_and_nobody_writes_it_yet(tmp_path: Path, scan: Path) -> None:
    folder = tmp_path / "run" / "systemd"
    holding.begin(str(scan))
    for holder, target, expected in (
        ("embedded", "systemd", (set(), {"a"})),
        ("-", "systemd", (set(), {"a"})),
        ("systemd", "systemd", ({"a"}, {"a"})),
        # Whose it was writes it until it is told not to.
        ("-", "embedded", ({"a"}, {"a"})),
        ("embedded", "embedded", (set(), set())),
    ):
        holding.write(str(scan), "a", holding.Mark(holder, holding.UP, target))
        assert served(scan, folder) == expected, (holder, target)


def test_what_waits_in_a_fifo_is_kept_for_the_next_log_writer(tmp_path: Path, scan: Path) -> None:
    folder = tmp_path / "run"
    assert served(scan, folder) == ({"a"}, {"a"})
    held = os.open(folder / "fifo" / "a", os.O_RDWR | os.O_NONBLOCK)
    try:
        os.write(held, b"left\n")
        (scan / "a" / "holdfast.json").unlink()
        assert served(scan, folder) == ({"a"}, {"a"})
        os.read(held, 100)
        assert served(scan, folder) == (set(), set())
    finally:
        os.close(held)


@pytest.fixture
def former(tmp_path: Path) -> files.FormerLogs:
    """A host of an earlier version: the table and the FIFOs are in the run directory itself."""
    place = unit.Place(
        str(tmp_path / "services"), str(tmp_path / "run"), "/python", "/runtime", 252, "multi-user.target"
    )
    units = files.Units(place, str(tmp_path / "units"))
    text = files.log_writer_unit(place).replace(place.logs, place.run)
    assert f"logwriter {place.run}/logs" in text and f"{place.scan} {place.run}\n" in text
    units.write(unit.LOG_WRITER, text)
    for kind in ("logs", "fifo"):
        (tmp_path / "run" / kind).mkdir(parents=True)
        (tmp_path / "run" / kind / "a").touch()
    return files.FormerLogs(units)


def test_logs_of_an_earlier_version_are_renamed_and_found_at_both_places_meanwhile(
    tmp_path: Path, former: files.FormerLogs
) -> None:
    run = tmp_path / "run"
    for _again in range(2):
        assert former.used()
        former.move()
        for kind in ("logs", "fifo"):
            assert (run / "systemd" / kind / "a").exists() and (run / kind / "a").exists()
    files.Units(former.place, str(tmp_path / "units")).write(unit.LOG_WRITER, files.log_writer_unit(former.place))
    assert former.used()
    former.forget()
    assert not former.used() and sorted(path.name for path in run.iterdir()) == ["systemd"]


def test_what_another_backend_has_there_is_not_touched(tmp_path: Path, former: files.FormerLogs) -> None:
    (tmp_path / "units" / unit.LOG_WRITER).write_text(files.log_writer_unit(former.place))
    assert not former.used()
    (tmp_path / "units" / unit.LOG_WRITER).unlink()
    assert not former.used()
    former.forget()
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["fifo", "logs"]
