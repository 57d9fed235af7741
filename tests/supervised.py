# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A supervisor as a real process, on a scan directory of the test's own."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import uuid
from pathlib import Path
from typing import Any

import procs
from described import described
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._varlink.client import Connection, ConnectionLost

#: Started as on a host: isolated, by a Python of the system.
PYTHON = "/usr/bin/python3"
INTERFACE = "io.holdfast.Supervisor"
SLEEP = "#!/bin/sh\nexec sleep 100000\n"


class Scan:
    """A scan directory, and the supervisor on it once `start` was called.

    base: a folder of the test's own that every user may pass; path: the scan directory in it.
    """

    def __init__(self, runtime: Path, base: Path) -> None:
        self.runtime = runtime
        self.base = base
        self.path = base / "services"
        self.path.mkdir()
        self.path.chmod(0o755)
        self.token = uuid.uuid4().hex
        self.errors = base / "errors"
        self.process: subprocess.Popen[bytes] | None = None

    # -- service directories

    def add(
        self,
        name: str,
        run: str | None = SLEEP,
        files: dict[str, str] | None = None,
        plain: bool = False,
        **settings: Any,
    ) -> Path:
        """Publish a service directory in one step, with holdfast.json unless *plain*. settings: override its keys."""
        directory = self.path / f".{name}.new"
        directory.mkdir()
        directory.chmod(0o755)
        for entry, content in {"run": run, **(files or {})}.items():
            if content is None:
                continue
            path = directory / entry
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
            path.chmod(0o755 if content.startswith("#!") else 0o644)
        if not plain:
            (directory / "holdfast.json").write_text(json.dumps(self.definition(name, **settings)))
        directory.rename(self.path / name)
        return self.path / name

    def definition(self, name: str, **settings: Any) -> dict[str, Any]:
        """The content of holdfast.json; dictionaries in *settings* are merged into the defaults, the rest replaces."""
        quick = {
            "backoff": {"initial": 0.01, "maximum": 0.05},
            "readiness": {"notification_fd": None, "check": False, "interval": 0.02, "grace": 0.02, "timeout": 30.0},
        }
        for key, value in quick.items():
            given = settings.get(key, {})
            settings[key] = {**value, **given} if isinstance(given, dict) else given
        return described(name, **settings)

    def remove(self, name: str) -> None:
        """Take a service directory away in one step."""
        (self.path / name).rename(self.path / f".{name}.gone")

    # -- the supervisor

    def command(self, *arguments: str) -> list[str]:
        return [PYTHON, "-I", "-S", str(self.runtime), *arguments]

    def start(self, *options: str, wait: bool = True, environment: dict[str, str] | None = None, **popen: Any) -> int:
        """Start a supervisor and give its pid; with *wait*, when it answers."""
        with self.errors.open("ab") as errors:
            self.process = subprocess.Popen(
                self.command("supervise", *options, str(self.path)),
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                env={**os.environ, **(environment or {}), "HOLDFAST_TEST": self.token},
                **popen,
            )
        if wait:
            self.wait_answer()
        return self.process.pid

    def wait_answer(self) -> None:
        """Wait until the supervisor that was started last answers."""
        process = self.process
        assert process is not None

        def answers() -> bool:
            assert process.poll() is None, f"the supervisor ended with {process.returncode}: {self.complaints()}"
            try:
                return bool(self.call("Status", patience=5)["supervisor"]["pid"])
            except ConnectionLost:
                return False

        wait_until(answers)

    def complaints(self) -> str:
        """What the supervisor wrote to its standard error."""
        return self.errors.read_text() if self.errors.exists() else ""

    def kill_supervisor(self) -> None:
        """End the supervisor as a crash would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop_supervisor(self) -> int:
        """Have it stop all in order; gives its exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(120)

    # -- talk

    @property
    def socket(self) -> str:
        return str(self.path / ".holdfast" / "socket")

    def call(self, method: str, patience: float = 90, **parameters: Any) -> dict[str, Any]:
        with Connection(self.socket, patience) as connection:
            return connection.call(f"{INTERFACE}.{method}", parameters)

    def service(self, name: str) -> dict[str, Any]:
        found = self.call("Status", names=[name])["services"]
        assert len(found) == 1
        return dict(found[0])

    def services(self) -> dict[str, dict[str, Any]]:
        return {service["name"]: service for service in self.call("Status")["services"]}

    def control(self, name: str, action: str) -> None:
        errors = self.call("Control", commands=[{"name": name, "action": action}])["errors"]
        assert errors == []

    def until(self, name: str, *states: str, timeout: float = 120, **wanted: Any) -> dict[str, Any]:
        """Wait until a service is in one of *states* and every key of its report in *wanted* has that value."""
        last: dict[str, Any] = {}

        def reached() -> bool:
            last.clear()
            last.update(self.services().get(name) or {})
            good = bool(last) and (not states or last["state"] in states)
            return good and all(last[key] == value for key, value in wanted.items())

        try:
            wait_until(reached, timeout)
            return last
        except AssertionError:
            raise AssertionError(f"{name}: wanted {states} {wanted}, is {last}; {self.complaints()}") from None

    def until_other(self, name: str, pid: int) -> dict[str, Any]:
        """Wait until a service has another process than *pid*."""
        found: dict[str, Any] = {}

        def other() -> bool:
            found.update(self.service(name))
            return found["pid"] not in (0, pid)

        wait_until(other)
        return found

    def until_deaths(self, name: str, least: int) -> dict[str, Any]:
        """Wait until a service has died so often."""
        wait_until(lambda: self.service(name)["deaths"] >= least)
        return self.service(name)

    def until_gone(self, name: str) -> None:
        wait_until(lambda: name not in self.services())

    def events(self, name: str, count: int = 1000) -> list[dict[str, Any]]:
        return list(self.call("Why", name=name, count=count)["events"])

    def run(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a verb of the command line on this scan directory."""
        environment = {**os.environ, "HOLDFAST_SCAN": str(self.path), **options.pop("environment", {})}
        return subprocess.run(
            self.command(*arguments),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env=environment,
            **options,
        )

    # -- the end

    def processes(self) -> list[int]:
        """Everything that this test's supervisors started and that still runs."""
        below = os.path.realpath(self.base) + "/"
        found = []
        for pid in procs.pids():
            if pid == os.getpid() or not procs.alive(pid):
                continue
            ours = procs.environment(pid).get("HOLDFAST_TEST") == self.token
            if ours or (procs.working_directory(pid) + "/").startswith(below):
                found.append(pid)
        return found

    def close(self) -> None:
        """Kill whatever is left, until nothing is."""
        if self.process is not None and self.process.poll() is None:
            self.kill_supervisor()

        def nothing_left() -> bool:
            left = self.processes()
            for pid in left:
                procs.kill(pid)
            return not left

        wait_until(nothing_left)


def make_base() -> Path:
    base = Path(tempfile.mkdtemp(prefix="hf-scan-"))
    base.chmod(0o755)
    return base


def client(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a client of another suite."""
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
