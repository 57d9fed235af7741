# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host of the test's own: a scan directory, a real supervisor on it, and tasks as the action plugin would send them."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._plan import tasks
from ansible_collections.holdfast.supervision.plugins.module_utils._supervise.backends import BACKENDS
from ansible_collections.holdfast.supervision.plugins.module_utils._varlink.client import Connection, ConnectionLost
from ansible_collections.holdfast.supervision.plugins.plugin_utils import features, payload

PYTHON = "/usr/bin/python3"
INTERFACE = "io.holdfast.Supervisor"
#: Ready soon, so that the tests are.
DEFAULTS = {"readiness": {"grace": "20ms"}, "backoff": {"initial": "10ms", "maximum": "50ms"}, "stop_timeout": "5s"}
SLEEP = ["/bin/sleep", "100000"]


def sent(
    definitions: dict[str, Any], defaults: dict[str, Any], scan: Path | str, logs: Path | str, **options: Any
) -> dict[str, Any]:
    """What the action plugin makes of definitions: the parameters of the module services."""
    made = payload.make(
        definitions,
        dict.fromkeys(definitions, "services"),
        defaults,
        {},
        lambda service: Path(service["template"]).read_text(),
    )
    assert not made.problems, [problem.text() for problem in made.problems]
    having = features.having(options.get("backend", "embedded"), made.content)
    return {
        "payload": payload.encode({**made.content, "having": having}),
        "secrets": made.secrets,
        "scan_directory": str(scan),
        "log_directory": str(logs),
        "prune": False,
        "timeout": 30.0,
        "command_check": True,
        "offline": False,
        "backend": "embedded",
        **options,
    }


class Host:
    """base: a folder of the test's own. scan: the scan directory in it; its `.holdfast` leads to `run`."""

    #: For the supervisor's command line.
    options: tuple[str, ...] = ()

    def __init__(self, runtime: Path, base: Path) -> None:
        self.runtime = runtime
        self.base = base
        self.scan = base / "services"
        self.logs = base / "log"
        self.supervisor: subprocess.Popen[bytes] | None = None

    def prepare(self) -> None:
        """What the role supervisor leaves behind."""
        run = self.base / "run"
        for folder in (self.scan, self.logs, run):
            folder.mkdir()
            folder.chmod(0o755)
        (self.scan / ".holdfast").symlink_to(run)

    def start(self) -> None:
        """Start the supervisor and wait until it answers."""
        command = [PYTHON, "-I", "-S", str(self.runtime), "supervise", *self.options, str(self.scan)]
        with (self.base / "errors").open("ab") as errors:
            self.supervisor = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors)
        wait_until(self._answers)

    def _answers(self) -> bool:
        assert self.supervisor is not None
        assert self.supervisor.poll() is None, (self.base / "errors").read_text()
        try:
            return bool(self.call("Status"))
        except ConnectionLost:
            return False

    def kill(self) -> None:
        """End the supervisor as a crash would; its services go on."""
        assert self.supervisor is not None
        self.supervisor.kill()
        self.supervisor.wait()

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        with Connection(str(self.scan / ".holdfast" / "socket"), 30) as connection:
            return connection.call(f"{INTERFACE}.{method}", parameters)

    def status(self) -> dict[str, dict[str, Any]]:
        return {service["name"]: service for service in self.call("Status")["services"]}

    def task(
        self,
        definitions: dict[str, Any],
        *,
        check: bool = False,
        diff: bool = True,
        defaults: dict[str, Any] | None = None,
        **options: Any,
    ) -> dict[str, Any]:
        """Run the task `services` with these definitions; everything that Ansible itself does is left out."""
        defaults = DEFAULTS if defaults is None else defaults
        parameters = sent(definitions, defaults, self.scan, self.logs, **options)
        return tasks.services(parameters, BACKENDS.values(), check_mode=check, with_diff=diff)

    def tree(self) -> dict[str, Any]:
        """Everything below the scan directory but what supervisors write, with modes, to compare it before and after."""
        found: dict[str, Any] = {}
        for path in sorted(self.scan.rglob("*")):
            if "supervise" in path.parent.parts:
                continue
            state = path.lstat()
            content = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
            found[str(path.relative_to(self.scan))] = (state.st_ino, oct(state.st_mode), content)
        return found

    def close(self) -> None:
        """Stop the supervisor in order; kill what is left after a crash."""
        if self.supervisor is None:
            return
        if self.supervisor.poll() is not None and self.scan.exists():
            self.start()
        self.supervisor.send_signal(signal.SIGTERM)
        try:
            self.supervisor.wait(120)
        except subprocess.TimeoutExpired:
            self.supervisor.kill()
            self.supervisor.wait()
            raise
