# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is particular to Supervisor as a backend, and the supervisord that the role runs."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import procs
import pytest
from conforming import sh, sweep
from conforming_supervisord import SupervisordHost
from converging import SLEEP
from deployed import Deployment, runtime
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._runtime import roots
from ansible_collections.holdfast.supervision.plugins.module_utils._runtime.supervisord_root import SupervisordRoot

pytestmark = pytest.mark.skipif(shutil.which("supervisord") is None, reason="not installed: supervisord")


@pytest.fixture
def base() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="hf-supervisord-"))
    path.chmod(0o755)
    yield path
    sweep(path)
    shutil.rmtree(path)


def test_the_root_is_started_once_and_removed_without_a_trace(base: Path) -> None:
    deployment = Deployment(base)
    deployment.install(runtime())
    before = sorted(str(path) for path in base.rglob("*"))
    root = SupervisordRoot(deployment.control(remove_logs=True))
    predicted = roots.started(root, True)
    assert predicted["changed"] and not deployment.scan.exists()
    made = roots.started(root, False)
    try:
        assert made["actions"] == predicted["actions"]
        assert made["state"] == "running" and procs.alive(made["pid"])
        socket = base / "holdfast" / "run" / "supervisord.sock"
        assert socket.stat().st_mode & 0o077 == 0
        again = roots.started(root, False)
        assert not again["changed"] and again["pid"] == made["pid"]
    finally:
        gone = roots.absent(root, False)
    assert gone["changed"] and gone["state"] == "stopped"
    procs.until_dead(made["pid"])
    assert sorted(str(path) for path in base.rglob("*")) == before
    assert not roots.absent(root, False)["changed"]


@pytest.fixture
def supervisord(runtime: Path, base: Path) -> Iterator[SupervisordHost]:
    host = SupervisordHost(runtime, base)
    host.prepare()
    host.start()
    yield host
    host.close()


def test_a_change_touches_no_other_program(supervisord: SupervisordHost) -> None:
    definitions = {"one": {"command": SLEEP}, "two": {"command": SLEEP}}
    supervisord.good(definitions)
    before = {name: service.pid for name, service in supervisord.snapshot().services.items()}
    supervisord.good({**definitions, "one": {"command": SLEEP, "nice": 1}, "three": {"command": SLEEP}})
    after = {name: service.pid for name, service in supervisord.snapshot().services.items()}
    assert after["two"] == before["two"] and after["one"] != before["one"] and after["three"]


def test_after_a_crash_of_supervisord_there_is_one_copy(supervisord: SupervisordHost) -> None:
    mark = str(supervisord.base / "copy")
    supervisord.good({"one": {"command": sh(f": {mark}; while :; do sleep 0.05; done")}})
    first = supervisord.service("one").pid
    supervisord.kill()
    assert first and procs.alive(first)
    supervisord.start()
    wait_until(lambda: supervisord.service("one").pid not in (None, first))
    procs.until_dead(first)
    wait_until(lambda: len(supervisord.pids(mark)) == 1)


SLOW = """
import os, sys, time
from supervisor import process, supervisord

def slow(self, pid, spawned=process.Subprocess._spawn_as_parent):
    found = spawned(self, pid)
    while self.config.name == "dies" and os.path.exists(sys.argv[0] + ".slow"):
        with open(f"/proc/{pid}/stat") as file:
            if file.read().rpartition(")")[2].split()[0] == "Z":
                break
        time.sleep(0.01)
    return found

process.Subprocess._spawn_as_parent = slow
supervisord.main()
"""


def test_a_program_that_has_died_when_supervisord_looks_was_started_and_keeps_no_other_back(
    runtime: Path, base: Path
) -> None:
    """On a busy machine supervisord comes to look when the process has ended, and answers that it could not start it."""
    host = SupervisordHost(runtime, base)
    host.prepare()
    script, slow = base / "slow.py", base / "slow.py.slow"
    script.write_text(SLOW)
    found = shutil.which("supervisord")
    assert found
    with open(found, encoding="utf-8") as file:
        host.program = (*file.readline().removeprefix("#!").split(), str(script))
    host.start()
    try:
        marks = base / "marks"
        slow.touch()
        dying = {"command": sh(f"echo >>{marks}; exit 1"), "log": False}
        result = host.task({"dies": dying, "stays": {"command": SLEEP}})
        assert "1 of 2 services" in result["msg"] and result["services"]["stays"]["state"] == "ready"
        slow.unlink()
        host.control(("dies", "stop"))
        host.until("dies", "down")
        before = marks.stat().st_size
        slow.touch()
        host.control(("dies", "start"))
        wait_until(lambda: marks.stat().st_size > before)
    finally:
        host.close()


def test_secrets_are_in_no_configuration(supervisord: SupervisordHost) -> None:
    supervisord.good({"one": {"command": SLEEP, "secret_environment": {"PASSWORD": "hidden-words"}}})
    pid = supervisord.service("one").pid
    assert pid
    # Until the program is executed, the process has the environment of who starts it.
    wait_until(lambda: procs.environment(pid).get("PASSWORD") == "hidden-words")
    folder = supervisord.scan / ".supervisord"
    assert all("hidden-words" not in path.read_text() for path in folder.rglob("*") if path.is_file())
    assert (folder / "programs" / "one.conf").stat().st_mode & 0o077 == 0


def test_a_name_with_a_colon_is_refused(supervisord: SupervisordHost) -> None:
    result = supervisord.task({"a:b": {"command": SLEEP}})
    assert result["failed"] and not result["changed"] and "takes no colon" in result["msg"]
