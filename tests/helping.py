# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A privileged helper as a real process, and callers that are other users."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import procs
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._helper.client import Helper
from ansible_collections.holdfast.supervision.plugins.module_utils._jobs import tree
from ansible_collections.holdfast.supervision.plugins.module_utils._supervise._embedded import identity
from ansible_collections.holdfast.supervision.plugins.module_utils._varlink.client import Connection, ConnectionLost

PYTHON = "/usr/bin/python3"
#: A user whom no account and no operation knows, and one whom the tests allow.
STRANGER, CALLER = 54321, 54322
INTERFACE = "io.holdfast.Helper"

Value = TypeVar("Value")


class HelperProcess:
    """A helper below *base*, with its audit log in `audit`."""

    def __init__(self, runtime: Path, base: Path) -> None:
        self.runtime = runtime
        self.base = base
        self.file = base / "helper.json"
        self.socket = base / "run" / "socket"
        self.log = base / "log"
        self.errors = base / "errors"
        self.process: subprocess.Popen[bytes] | None = None
        #: What the helper is started by: `unshare` for namespaces of its own.
        self.prefix: list[str] = []
        #: More keys of the file.
        self.settings: dict[str, Any] = {}
        self.work = base / "work"
        self.work.mkdir()
        self.work.chmod(0o777)
        self._threads = ThreadPoolExecutor(256)

    def configure(self, **operations: Any) -> None:
        for one in operations.values():
            one.setdefault("allow", [{"user": CALLER}])
        document = {
            "format": 1,
            "socket": str(self.socket),
            "state_directory": str(self.base / "run"),
            "operations": operations,
            **self.settings,
        }
        self.file.write_text(json.dumps(document))

    @property
    def command(self) -> str:
        """The command of the runtime, as it is installed on a host."""
        path = self.base / "holdfast"
        if not path.exists():
            path.write_text(f'#!/bin/sh\nexec {PYTHON} -I -S {self.runtime}/__main__.py "$@"\n')
            path.chmod(0o755)
        return str(path)

    def inside(self, *command: str) -> str:
        """Run something in the namespaces of the helper."""
        assert self.process is not None
        enter = ["nsenter", "-t", str(self.process.pid), "-n", "-m"]
        done = subprocess.run([*enter, *command], check=False, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, **operations: Any) -> int:
        if operations:
            self.configure(**operations)
        with self.log.open("ab") as log, self.errors.open("ab") as errors:
            self.process = subprocess.Popen(
                [*self.prefix, PYTHON, "-I", "-S", f"{self.runtime}/__main__.py", "helper", str(self.file)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=errors,
                env={"PATH": "/usr/bin:/bin", "SECRET_OF_THE_HELPER": "1", "LD_PRELOAD": ""},
            )
        process = self.process

        def answers() -> bool:
            assert process.poll() is None, self.errors.read_text()
            try:
                with Connection(str(self.socket), 5) as connection:
                    return bool(connection.call("org.varlink.service.GetInfo"))
            except ConnectionLost:
                return False

        wait_until(answers)
        return process.pid

    def programs(self) -> list[int]:
        """The programs at work. What still is Python, as the helper is, waits for a call or serves functions."""
        assert self.process is not None
        found = []
        own = Path(f"/proc/{self.process.pid}/cmdline").read_bytes()
        for pid in procs.children(self.process.pid):
            with contextlib.suppress(OSError):
                if procs.alive(pid) and Path(f"/proc/{pid}/cmdline").read_bytes() != own:
                    found.append(pid)
        return found

    def _called(self, name: str) -> list[int]:
        assert self.process is not None
        return [pid for pid in procs.children(self.process.pid) if procs.alive(pid) and procs.name(pid) == name]

    def zygotes(self) -> list[int]:
        """The process that forks the others, if it is there. What it has just forked has its name, and its session, for a moment."""
        found = []
        for pid in self._called("holdfast-zygote"):
            with contextlib.suppress(ProcessLookupError):
                if os.getsid(pid) == pid:
                    found.append(pid)
        return found

    def workers(self) -> list[int]:
        """The processes that wait for a call or serve functions."""
        return self._called("holdfast-worker")

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def kill_with_children(self) -> None:
        """Kill it, and wait for its workers too: one that was just forked has the connections for a moment longer."""
        assert self.process is not None
        pid = self.process.pid
        procs.kill(pid, signal.SIGSTOP)
        wait_until(lambda: procs.state(pid) == "T")
        workers = procs.children(pid)
        self.kill()
        for worker in workers:
            procs.until_dead(worker)

    def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(120)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()
        for file in self.base.glob("run/jobs/*/begun.json"):
            begun = json.loads(file.read_text())
            token = json.loads((file.parent / "job.json").read_text())["token"]
            if begun["pid"] != os.getpid() and identity.alive(begun["pid"], begun["started"]):
                procs.kill(begun["pid"])
            tree.kill_marked(token)
        left = []
        for file in self.base.glob("run/workers/*"):
            pid = int(file.name) if file.name.isdecimal() else 0
            if pid and identity.alive(pid, int(file.read_text() or 0)):
                left.append(pid)
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
                procs.kill(pid)
        # Nobody changes a folder that is about to be removed; what hangs in the kernel can't.
        wait_until(lambda: all(not procs.alive(pid) or procs.state(pid) == "D" for pid in left))
        # With nobody left to answer them they end; none goes on beside the next test.
        self._threads.shutdown()

    def beside(self, work: Callable[..., Value], *arguments: Any, **named: Any) -> Future[Value]:
        """Do something in a thread beside the test. What it raises, its `result` raises: a thread's own would fail the next test."""
        return self._threads.submit(work, *arguments, **named)

    def client(self, **options: Any) -> Helper:
        return Helper(str(self.socket), **{"first_launch": 10, "pause": 0.2, "answer": 30, **options})

    def call(self, operation: str, id_: str = "", **parameters: Any) -> dict[str, Any]:
        return self.client().call(operation, parameters, id_)

    def audit(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def calls(self, outcome: str = "") -> list[dict[str, Any]]:
        found = [line for line in self.audit() if line["audit"] == "call"]
        return [line for line in found if not outcome or line["outcome"] == outcome]

    def caller(self, uid: int, *arguments: str, **popen: Any) -> subprocess.Popen[str]:
        """The command line as another user."""
        return subprocess.Popen(
            [PYTHON, "-I", "-S", str(self.runtime), arguments[0], "--socket", str(self.socket), *arguments[1:]],
            user=uid,
            group=uid,
            extra_groups=popen.pop("extra_groups", []),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **popen,
        )

    def as_user(self, uid: int, *arguments: str, **popen: Any) -> tuple[int, str, str]:
        process = self.caller(uid, *arguments, **popen)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err


def sleeping(text: str, idempotency: str = "once", **more: Any) -> dict[str, Any]:
    """An operation that adds a line to the file *text* when it begins, and then takes long."""
    script = f"echo began >>{text}; exec sleep ${{SECONDS_TO_SLEEP:-1000}}"
    return {"argv": ["/bin/sh", "-c", script], "idempotency": idempotency, "timeout": 600, **more}
