# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A process that has died while its supervisor sleeps, as supervise of daemontools does after each start, is not ready."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import procs
import pytest
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._supervise import family_files
from ansible_collections.holdfast.supervision.plugins.module_utils._supervise.daemontools import Daemontools
from ansible_collections.holdfast.supervision.plugins.module_utils._supervise.runit import Runit


class Supervise:
    """What a supervisor has in a service's folder, with statuses of the test's choice. Its processes are the test's."""

    def __init__(self, scan: Path, name: str, suite: str = "daemontools", **readiness: float) -> None:
        self.folder = scan / f".{suite}" / name
        (self.folder / "supervise").mkdir(parents=True)
        (scan / name).mkdir()
        (scan / name / "run").touch()
        meta = {"format": 1, "name": name, "definition": "a", "revision": 1, "readiness": readiness}
        (scan / name / "holdfast.json").write_text(json.dumps(meta))
        os.mkfifo(self.folder / "supervise" / "ok")
        self._ok = os.open(self.folder / "supervise" / "ok", os.O_RDONLY | os.O_NONBLOCK)
        self._processes: list[subprocess.Popen[bytes]] = []
        self._begun = 0

    def run(self, *command: str, ended: bool, want: bytes = b"u") -> int:
        """Have a process, which the status file names from now on; *ended*: it is dead, and nobody has heard of that."""
        process = subprocess.Popen(command)
        self._processes.append(process)
        if ended:
            wait_until(lambda: procs.state(process.pid) == "Z")
        (self.folder / "started").write_text(f"{process.pid} 1 boot a.1\n")
        self._begun += 1
        # It began an hour ago, as far as its supervisor knows: whatever grace there is, it is over.
        os.utime(self.folder / "started", (time.time() - 3600, time.time() - 3600))
        label = struct.pack(">QI", family_files.TAI + int(time.time()) - 3600 + self._begun, 0)
        new = self.folder / "supervise" / "status.new"
        new.write_bytes(label + struct.pack("<I", process.pid) + b"\0" + want)
        new.rename(self.folder / "supervise" / "status")
        return process.pid

    def end(self) -> None:
        os.close(self._ok)
        for process in self._processes:
            process.kill()
            process.wait()


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Supervise]:
    one = Supervise(tmp_path, "one", grace=0.5)
    yield one
    one.end()


def test_who_lives_is_ready(tmp_path: Path, supervise: Supervise) -> None:
    pid = supervise.run("sleep", "100000", ended=False)
    verdict = Daemontools(str(tmp_path)).wait([("one", "ready")], 60.0)["one"]
    assert verdict.outcome == "reached" and verdict.service is not None and verdict.service.pid == pid


def test_who_has_died_unheard_is_not_ready(tmp_path: Path, supervise: Supervise) -> None:
    supervise.run("true", ended=True)
    backend = Daemontools(str(tmp_path))
    verdict = backend.wait([("one", "ready")], 0.3)["one"]
    assert verdict.outcome == "timeout" and verdict.service is not None
    assert (verdict.service.state, verdict.service.ready, verdict.service.pid) == ("backoff", False, None)


def test_who_dies_unheard_again_and_again_has_failed(tmp_path: Path, supervise: Supervise) -> None:
    supervise.run("true", ended=True)
    over = threading.Event()

    def go_on() -> None:
        while not over.wait(0.3):
            supervise.run("true", ended=True)

    with ThreadPoolExecutor() as pool:
        starting = pool.submit(go_on)
        try:
            verdict = Daemontools(str(tmp_path)).wait([("one", "ready")], 60.0)["one"]
        finally:
            over.set()
        starting.result()
    assert verdict.outcome == "failed" and verdict.service is not None and verdict.service.deaths == 3


def test_it_is_not_down_before_its_supervisor_knows(tmp_path: Path, supervise: Supervise) -> None:
    supervise.run("true", ended=True)
    assert Daemontools(str(tmp_path)).wait([("one", "down")], 0.3)["one"].outcome == "timeout"


def test_it_is_finishing_where_finish_comes_once_its_supervisor_knows(tmp_path: Path) -> None:
    one = Supervise(tmp_path, "one", suite="runit")
    try:
        one.run("true", ended=True, want=b"d")
        verdict = Runit(str(tmp_path)).wait([("one", "down")], 0.3)["one"]
        assert verdict.outcome == "timeout" and verdict.service is not None
        assert (verdict.service.state, verdict.service.pid) == ("finishing", None)
    finally:
        one.end()


def test_a_process_whose_first_thread_has_ended_lives(tmp_path: Path, supervise: Supervise) -> None:
    program = "import ctypes, threading, time; threading.Thread(target=time.sleep, args=(100000,)).start(); ctypes.CDLL(None).pthread_exit(None)"
    pid = supervise.run("/usr/bin/python3", "-c", program, ended=True)
    assert procs.state(pid) == "Z"
    assert Daemontools(str(tmp_path)).wait([("one", "ready")], 60.0)["one"].outcome == "reached"
