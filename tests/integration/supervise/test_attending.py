# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The parent of a service, below this test instead of a supervisor."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import procs
import pytest
from converging import PYTHON
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._supervise import attending, former_start, remains
from ansible_collections.holdfast.supervision.plugins.module_utils._supervise._embedded import identity


class Attended:
    """A service directory and the folder for the notes of its parent."""

    def __init__(self, runtime: Path, base: Path) -> None:
        self.runtime, self.folder, self.notes = runtime, base / "service", base / "notes"
        self.marks = base / "marks"
        self.started: list[subprocess.Popen[bytes]] = []
        for folder in (self.folder, self.notes):
            folder.mkdir()

    def write(self, run: str, finish: str = "", **meta: Any) -> None:
        meta = {"name": "one", "definition": "ab", "revision": 1, "kill": "group", "stop_timeout": 5.0, **meta}
        for name, text in (("run", run), ("finish", finish)):
            if text:
                meta.setdefault("files", {})[name] = "a hash"
                (self.folder / name).write_text(f"#!/bin/sh\n{text}\n")
                (self.folder / name).chmod(0o755)
        (self.folder / "holdfast.json").write_text(json.dumps(meta))

    def start(
        self, after: str = attending.NOTHING, notes: str | None = None, become: tuple[str, ...] = ()
    ) -> subprocess.Popen[bytes]:
        """Start a parent. become: a command in front of it."""
        command = [
            *become,
            PYTHON,
            "-I",
            "-S",
            str(self.runtime),
            "attend",
            str(self.folder),
            notes or str(self.notes),
            after,
        ]
        self.started.append(subprocess.Popen(command, cwd=self.notes, env={**os.environ, "MARKS": str(self.marks)}))
        return self.started[-1]

    def note(self, process: subprocess.Popen[bytes], *states: str) -> attending.Note:
        """Wait until a parent is at one of *states*."""

        def reached() -> attending.Note | None:
            found = attending.of(str(self.notes), process.pid)
            return found if found is not None and found.state in states else None

        found = wait_until(reached)
        assert found is not None
        return found

    def lines(self) -> list[str]:
        return self.marks.read_text().splitlines() if self.marks.exists() else []

    def close(self) -> None:
        for process in self.started:
            process.kill()
            process.wait()
        wait_until(lambda: not procs.living_in(self.folder))


@pytest.fixture
def one(runtime: Path, tmp_path: Path) -> Iterator[Attended]:
    made = Attended(runtime, tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize(("run", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -SEGV $$", -11), ("kill -KILL $$", -9)])
def test_it_ends_as_the_service_does(one: Attended, run: str, code: int) -> None:
    one.write(run)
    assert one.start().wait(30) == code
    # Without notes too, as below systemd.
    assert one.start(notes="-").wait(30) == code


def test_what_cannot_be_started_is_said(one: Attended, capfd: pytest.CaptureFixture[str]) -> None:
    one.write("exit 0")
    (one.folder / "run").chmod(0o644)
    assert one.start().wait(30) == 111
    assert "one: cannot start: ./run: Permission denied" in capfd.readouterr().err
    (one.folder / "holdfast.json").unlink()
    assert one.start().wait(30) == 111


@pytest.mark.parametrize(("finish", "code"), [("exit 0", 7), ("exit 125", 100)])
def test_finish_may_give_up(one: Attended, finish: str, code: int) -> None:
    one.write("exit 7", f'echo "$1 $2" >>"$MARKS"; {finish}')
    assert one.start(attending.FINISH).wait(30) == code
    assert one.lines() == ["7 0"]


def test_it_becomes_what_comes_after(one: Attended) -> None:
    one.write("kill -TERM $$")
    script = one.notes / "finish"
    script.write_text('#!/bin/sh\necho "$1 $2 $$" >>"$MARKS"\nexit 3\n')
    script.chmod(0o755)
    process = one.start(attending.BECOME)
    assert process.wait(30) == 3
    assert one.lines() == [f"-1 15 {process.pid}"]


def test_a_late_service_is_killed_with_its_group(one: Attended) -> None:
    one.write("trap '' TERM; sleep 100000 & echo $! >>\"$MARKS\"; wait; sleep 100000", stop_timeout=0.2)
    process = one.start()
    child = int(wait_until(one.lines)[0])
    process.terminate()
    assert process.wait(30) == -9
    procs.until_dead(child)


def test_signals_go_to_the_service_and_alrm_is_a_run_before_its_time(one: Attended) -> None:
    one.write(
        'trap \'echo usr1 >>"$MARKS"\' USR1; trap \'echo alrm >>"$MARKS"; exit 0\' ALRM; echo up >>"$MARKS"\n'
        "while :; do sleep 0.02; done",
        type="periodic",
        interval=3600.0,
    )
    process = one.start()
    for count in (1, 2):
        wait_until(lambda count=count: one.lines().count("up") == count)  # type: ignore[misc]
        process.send_signal(signal.SIGUSR1)
        wait_until(lambda count=count: one.lines().count("usr1") == count)  # type: ignore[misc]
        process.send_signal(signal.SIGALRM)
        one.note(process, attending.SCHEDULED)
        # Nothing to send them to.
        process.send_signal(signal.SIGUSR1)
        process.send_signal(signal.SIGALRM)
    wait_until(lambda: one.lines() == ["up", "usr1", "alrm"] * 2 + ["up"])
    process.terminate()
    assert process.wait(30) == -15


def test_an_order_is_carried_out_once(one: Attended) -> None:
    one.write('echo run >>"$MARKS"', type="periodic", interval=3600.0)
    process = one.start()
    first = one.note(process, attending.SCHEDULED)
    assert first.good and first.next - first.since == pytest.approx(3600, abs=60)
    # CONT alone follows a pause.
    process.send_signal(signal.SIGCONT)
    (one.notes / attending.NOW).write_text("once\n")
    process.send_signal(signal.SIGCONT)
    assert process.wait(30) == 0
    assert one.lines() == ["run", "run"] and not attending.is_asked_to_run(str(one.notes))


def test_exit_code_100_gives_up(one: Attended) -> None:
    one.write("exit 100", type="periodic", interval=0.01)
    assert one.start().wait(30) == 100


def test_what_a_killed_parent_has_left_is_gone_before_the_next_start(one: Attended) -> None:
    one.write('setsid sleep 100000 & echo $! >>"$MARKS"; exec sleep 100000', kill="tree")
    first = one.start()
    child = int(wait_until(one.lines)[0])
    one.note(first, attending.RUN)
    first.kill()
    first.wait()
    assert procs.alive(child)
    second = one.start()
    wait_until(lambda: len(one.lines()) == 2)
    assert not procs.alive(child)
    second.terminate()
    second.wait(30)
    procs.until_dead(int(one.lines()[1]))


@pytest.mark.skipif(os.geteuid() != 0, reason="a process that the parent cannot kill needs root")
def test_what_cannot_be_ended_is_said_and_holds_a_stop(
    one: Attended, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    one.write('echo run >>"$MARKS"; exec sleep 100000')
    one.notes.chmod(0o777)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and folder.is_relative_to(tmp_path.parent.parent):
            folder.chmod(0o755)
    # As one that the kernel keeps in the state D.
    with subprocess.Popen(["sleep", "100000"]) as former:
        try:
            note = attending.Note()
            note.boot, note.child = remains.boot_id().replace("-", ""), former.pid
            note.child_started = identity.start_time(former.pid)
            (one.notes / attending.ATTENDED).write_text(note.line())
            process = one.start(become=("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"))
            wait_until((one.notes / attending.LEFT).exists)
            assert former_start.of_suite(str(one.notes), process.pid) == [former.pid]
            # The next one, should this one be killed, finds it too.
            assert attending.read(str(one.notes)).child == former.pid  # type: ignore[union-attr]
            process.terminate()
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(1.5)
            assert not one.lines()
        finally:
            former.kill()
        former.wait()
        assert process.wait(30) == 0
    assert not one.lines() and not (one.notes / attending.LEFT).exists()
    said = capfd.readouterr().err
    assert f"one: waits for what is left of a former start: process {former.pid} (state S)" in said
    assert "one: nothing is left of the former one" in said
