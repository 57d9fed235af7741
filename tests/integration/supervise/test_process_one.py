# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""As process 1 of a container, and as supervisor of one directory."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import procs
import pytest
from supervised import Scan, client
from waiting import wait_until


def can_unshare() -> bool:
    if shutil.which("unshare") is None:
        return False
    tried = subprocess.run(
        ["unshare", "--fork", "--pid", "--mount-proc", "true"], capture_output=True, check=False, timeout=30
    )
    return tried.returncode == 0


container = pytest.mark.skipif(not can_unshare(), reason="needs the right to make pid namespaces")


class Container:
    """A supervisor that is process 1 of a pid namespace. pid: of the supervisor, as seen from here."""

    def __init__(self, scan: Scan, *options: str) -> None:
        self.scan = scan
        with scan.errors.open("ab") as errors:
            self.process = subprocess.Popen(
                ["unshare", "--fork", "--kill-child", "--pid", "--mount-proc"]
                + scan.command("supervise", *options, str(scan.path)),
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                env={**os.environ, "HOLDFAST_TEST": scan.token},
            )
        scan.process = self.process
        self.pid = wait_until(self._supervisor)
        scan.wait_answer()

    def _supervisor(self) -> int:
        return next(iter(procs.children(self.process.pid)), 0)

    def members(self) -> list[int]:
        """All processes of the namespace, zombies too."""
        mine = os.readlink(f"/proc/{self.pid}/ns/pid")
        found = []
        for pid in procs.pids():
            try:
                if os.readlink(f"/proc/{pid}/ns/pid") == mine:
                    found.append(pid)
            except OSError:
                continue
        return found


@container
def test_it_reaps_orphans(scan: Scan) -> None:
    # The middle one ends at once: its child becomes a child of process 1.
    scan.add("a", "#!/bin/sh\nsetsid sh -c 'sh -c \"echo orphan >orphan\" & exit' \nexec sleep 100000\n")
    contained = Container(scan)
    pid = scan.until("a", "ready")["pid"]
    assert pid > 1
    wait_until((scan.path / "a" / "orphan").exists)
    # The service alone is left, and no zombie.
    wait_until(lambda: [procs.state(child) for child in procs.children(contained.pid)] == ["S"])


@container
def test_term_is_an_orderly_stop(scan: Scan) -> None:
    run = "#!/bin/sh\ntrap 'kill $! 2>/dev/null; echo {0} >>../../order; exit 0' TERM\nsleep 100000 &\necho >&3\nwait\n"
    scan.add("db", run.format("db"), readiness={"notification_fd": 3})
    scan.add("app", run.format("app"), readiness={"notification_fd": 3}, needs=["db"])
    contained = Container(scan)
    scan.until("app", "ready")
    os.kill(contained.pid, signal.SIGTERM)
    assert contained.process.wait(30) == 0
    assert (scan.base / "order").read_text() == "app\ndb\n"


@container
@pytest.mark.parametrize(("end", "code"), [("exit 7", 7), ("exit 0", 0), ("kill -TERM $$", 128 + 15)])
def test_the_exit_code_of_a_chosen_service(scan: Scan, end: str, code: int) -> None:
    run = f"#!/bin/sh\nwhile ! test -e go; do sleep 0.01; done\n{end}\n"
    directory = scan.add("main", run, restart="never")
    scan.add("other", "#!/bin/sh\ntrap ': >stopped; kill $! 2>/dev/null; exit 0' TERM\nsleep 100000 &\nwait\n")
    contained = Container(scan, "--exit-with", "main")
    scan.until("main", "ready")
    scan.until("other", "ready")
    (directory / "go").touch()
    assert contained.process.wait(30) == code
    assert (scan.path / "other" / "stopped").exists()


@container
def test_a_restart_inside_a_container(scan: Scan) -> None:
    scan.add("a", FIRST_FAILS)
    Container(scan)
    scan.until("a", "ready", deaths=1)


@container
def test_reexec_as_process_one(scan: Scan) -> None:
    scan.add("a")
    contained = Container(scan)
    pid = scan.until("a", "ready")["pid"]
    assert scan.call("Reexec")["pid"] == 1
    scan.wait_answer()
    assert scan.until("a", "ready")["pid"] == pid
    os.kill(contained.pid, signal.SIGTERM)
    assert contained.process.wait(30) == 0


@container
def test_records_of_a_dead_container_mean_nothing(scan: Scan) -> None:
    scan.add("a")
    contained = Container(scan)
    scan.until("a", "ready")
    procs.kill(contained.pid)
    contained.process.wait(30)
    Container(scan)
    report = scan.until("a", "ready")
    assert not report["adopted"]


FIRST_FAILS = "#!/bin/sh\ntest -e ran && exec sleep 100000\n: >ran\nexit 1\n"


class Single:
    """`supervise --service DIR`."""

    def __init__(self, scan: Scan, directory: Path) -> None:
        self.scan = scan
        self.directory = directory
        with scan.errors.open("ab") as errors:
            self.process = subprocess.Popen(
                scan.command("supervise", "--service", str(directory)),
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                env={**os.environ, "HOLDFAST_TEST": scan.token},
            )
        scan.process = self.process
        wait_until(lambda: client("svok", str(directory)).returncode == 0)

    def stat(self) -> str:
        return client("svstat", str(self.directory)).stdout.partition(": ")[2]

    def until(self, beginning: str) -> str:
        return str(wait_until(lambda: (text := self.stat()).startswith(beginning) and text))


@pytest.fixture
def directory(scan: Scan) -> Path:
    # Outside of any scan directory.
    scan.add("a", plain=True).rename(scan.base / "a")
    return scan.base / "a"


needs_svc = pytest.mark.skipif(shutil.which("svc") is None, reason="needs daemontools")


@needs_svc
def test_one_directory_up_down_and_exit(scan: Scan, directory: Path) -> None:
    single = Single(scan, directory)
    single.until("up")
    client("svc", "-d", str(directory))
    single.until("down")
    client("svc", "-u", str(directory))
    single.until("up")
    client("svc", "-dx", str(directory))
    assert single.process.wait(30) == 0
    assert client("svok", str(directory)).returncode == 100
    assert procs.living_in(directory) == []


@needs_svc
def test_one_directory_is_locked(scan: Scan, directory: Path) -> None:
    single = Single(scan, directory)
    single.until("up")
    second = subprocess.run(
        scan.command("supervise", "--service", str(directory)), capture_output=True, text=True, timeout=30, check=False
    )
    assert second.returncode in (100, 111)
    assert "another supervisor" in second.stderr
    assert len(procs.living_in(directory)) == 1


@needs_svc
def test_one_directory_is_adopted_after_a_kill(scan: Scan, directory: Path) -> None:
    single = Single(scan, directory)
    single.until("up")
    before = procs.living_in(directory)
    single.process.kill()
    single.process.wait()
    again = Single(scan, directory)
    again.until("up")
    assert procs.living_in(directory) == before


@needs_svc
def test_term_stops_the_one_service(scan: Scan, directory: Path) -> None:
    single = Single(scan, directory)
    single.until("up")
    single.process.terminate()
    assert single.process.wait(30) == 0
    assert procs.living_in(directory) == []
