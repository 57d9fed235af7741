# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host of the test's own whose backend is switched: everything below one folder, by what the module supervisor does."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import deployed
import procs
from conforming import Supervised
from deployed import PYTHON, Deployment, run, runtime

from ansible_collections.holdfast.supervision.plugins.module_utils._supervise.interface import Service
from ansible_collections.holdfast.supervision.plugins.modules import supervisor

#: Counts on standard output, on where the last one ended: the number that was said last is in the file `count`.
COUNTER = """
import os, signal, sys, time
told = []
signal.signal(signal.SIGTERM, lambda number, frame: told.append(number))
file = os.open(sys.argv[1] + "/count", os.O_RDWR | os.O_CREAT, 0o644)
number = int(os.pread(file, 20, 0) or b"0")
while not told:
    number += 1
    os.write(1, b"%d\\n" % number)
    os.pwrite(file, b"%d" % number, 0)
    time.sleep(0.0003)
"""
#: Where daemontools-encore is, if somebody has built it; no package has it.
ENCORE = os.environ.get("HOLDFAST_ENCORE", "")
_ROTATED = re.compile(r"@.*\.[su]")


def counter(folder: Path, **more: Any) -> dict[str, Any]:
    """Give a service whose log must have all numbers, each once, in their order."""
    folder.mkdir()
    (folder / "count").write_text("0")
    log = {"size": 16_000_000}
    return {"command": [PYTHON, "-c", COUNTER, str(folder)], "readiness": {"grace": "20ms"}, "log": log, **more}


def said(folder: Path) -> int:
    """Give the last number that a counter has said."""
    return int((folder / "count").read_text())


def logged(directory: Path) -> list[int]:
    """Give the numbers of a log, whoever wrote it."""
    rotated = sorted(path for path in directory.iterdir() if _ROTATED.fullmatch(path.name))
    text = "".join(path.read_text() for path in (*rotated, directory / "current"))
    return [int(line.split()[-1]) for line in text[: text.rfind("\n") + 1].splitlines()]


def complete(directory: Path) -> bool:
    """Tell whether the log has each number so far once, in its place; what is wrong is printed."""
    numbers = logged(directory)
    wrong = [(there, here) for there, here in zip([0, *numbers], numbers) if here != there + 1]
    print(f"{directory}: {len(numbers)} numbers, after each other and not: {wrong[:10]}")
    return not wrong


#: Runs the module's work in a process of its own, which kills itself before the change with the number STEP.
INTERRUPTED = """
import json, os, signal, subprocess, sys
sys.dont_write_bytecode = True
sys.path[:0] = json.loads(sys.argv[1])
from ansible_collections.holdfast.supervision.plugins.modules import supervisor
options, backend, step = json.loads(sys.argv[2])
def run(command):
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr
supervisor.ROOTS  # imported: what imports write does not count
count, here = 0, os.getpid()
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.symlink", "os.fork", "subprocess.Popen"}
def hook(event, arguments):
    global count
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
    if (event in CHANGES or writes) and os.getpid() == here:
        count += 1
        if count == step:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(hook)
supervisor.supervisor(options, "started", backend, run, False)
print(count)
"""


def killed_before(step: int, paths: list[str], options: dict[str, Any], backend: str) -> list[str]:
    """Give what Python is run with to switch the backend, killed before the change with this number.

    paths: for modules of the collection and Ansible's. Unless it is killed, it ends with 0.
    """
    return ["-c", INTERRUPTED, json.dumps(paths), json.dumps([options, backend, step])]


class Switched:
    """Everything below *base*. backend: the present one."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.deployment = Deployment(base)
        self.deployment.install(runtime())
        self.scan = self.deployment.scan
        self.backend = ""

    def options(self, **changes: Any) -> dict[str, Any]:
        """Options of the module."""
        return deployed.options(self.scan, self.base / "holdfast", self.deployment.layout.root, **changes)

    def to(self, backend: str, check: bool = False, **changes: Any) -> dict[str, Any]:
        """Do what the module supervisor does with this backend."""
        if backend == "daemontools_encore":
            changes.setdefault("prefix", ENCORE)
        result = supervisor.supervisor(self.options(**changes), "started", backend, run, check)
        if not check:
            self.backend = backend
        return result

    def converge(self, definitions: dict[str, Any]) -> dict[str, Any]:
        """Run the task `services`, which must succeed."""
        return self._tasks().good(definitions, defaults={"stop_timeout": "5s"})

    def converge_fails(self, definitions: dict[str, Any]) -> str:
        """Run the task, which must fail; what it says."""
        result = self._tasks().task(definitions, defaults={})
        assert result["failed"] and not result["changed"]
        return str(result["msg"])

    def services(self) -> dict[str, Service]:
        """What the present backend says."""
        return self._tasks().snapshot().services

    def running(self, mark: str) -> list[int]:
        """The living processes with a word that has *mark* in it."""
        return [pid for pid in procs.pids() if procs.alive(pid) and any(mark in word for word in procs.arguments(pid))]

    def copies(self, mark: str) -> list[int]:
        """The running ones but their children, which have their words too until they become another program."""
        found = self.running(mark)
        return [pid for pid in found if procs.parent_or_none(pid) not in (None, *found)]

    def _tasks(self) -> Supervised:
        tasks = type("Switched", (Supervised,), {"backend": self.backend})(self.base, self.base)
        tasks.scan, tasks.logs = self.scan, self.base / "holdfast" / "log"
        return tasks

    def close(self) -> None:
        """Stop whatever runs."""
        for backend in (
            "embedded",
            "s6",
            "runit",
            "daemontools",
            "supervisord",
            *(["daemontools_encore"] if ENCORE else []),
        ):
            prefix = ENCORE if backend == "daemontools_encore" else None
            root = supervisor.ROOTS[backend].on(self.options(prefix=prefix), run)
            if root.traces():
                root.stop()
