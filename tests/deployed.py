# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A deployment below one folder: runtime and supervisor, through what the modules runtime and supervisor do."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._runtime import (
    archive,
    control,
    converge,
    host,
    install,
)
from ansible_collections.holdfast.supervision.plugins.module_utils._runtime.systemd import Systemd
from ansible_collections.holdfast.supervision.plugins.module_utils._runtime.talk import Supervisor
from ansible_collections.holdfast.supervision.plugins.module_utils._varlink.client import Connection
from ansible_collections.holdfast.supervision.plugins.plugin_utils import pack

PYTHON = "/usr/bin/python3"
INTERFACE = "io.holdfast.Supervisor"


def run(command: list[str]) -> tuple[int, str, str]:
    """What AnsibleModule.run_command gives."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def runtime(**changes: str) -> dict[str, bytes]:
    """The collection's runtime as it is, with modules replaced or added: `_command__extra="..."` is _command/extra.py."""
    files = pack.runtime_files()
    for name, text in changes.items():
        files[f"holdfast/{name.replace('__', '/')}.py"] = text.encode()
    return files


def options(scan: Path, below: Path, library: str, **changes: Any) -> dict[str, Any]:
    """Options of the module supervisor for the scan directory *scan*, with run and log directories *below*."""
    return {
        "prefix": None,
        "scan_directory": str(scan),
        "run_directory": str(below / "run"),
        "log_directory": str(below / "log"),
        "runtime_directory": library,
        "python": PYTHON,
        "log_user": None,
        "version": None,
        "units": {},
        "scripts": {},
        "timeout": 60.0,
        "stop_timeout": 30.0,
        "remove_logs": False,
        **changes,
    }


class Deployment:
    """Everything below *base*."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.scan = base / "holdfast" / "services"
        self.layout = install.Layout(str(base / "holdfast" / "lib"))
        self.command = base / "holdfast" / "bin" / "holdfast"
        self.supervisor = Supervisor(str(self.scan))

    def install(self, files: dict[str, bytes], check: bool = False, python: str = PYTHON) -> dict[str, Any]:
        """Do what the module runtime does."""
        return converge.present(
            converge.Wanted(
                self.layout.root,
                str(self.command),
                python,
                str(self.scan),
                archive.version_of(files),
                archive.encode(files),
            ),
            run,
            check,
        )

    def control(self, **options: Any) -> host.Host:
        """Give what the module supervisor works on; without units, as where there is no known init."""
        wanted = {
            "scan_directory": str(self.scan),
            "run_directory": str(self.base / "holdfast" / "run"),
            "log_directory": str(self.base / "holdfast" / "log"),
            "runtime_directory": self.layout.root,
            "python": PYTHON,
            **options,
        }
        return host.Host(host.Wanted(**wanted), run, Systemd({}, run))

    def start(self, check: bool = False, **options: Any) -> dict[str, Any]:
        """Do what the module does for state started."""
        return control.started(self.control(**options), check)

    def add(self, name: str, script: str) -> None:
        """Publish a service as another suite would, and wait until it runs."""
        beside = self.scan / f".{name}.new"
        beside.mkdir()
        (beside / "run").write_text(script)
        (beside / "run").chmod(0o755)
        beside.rename(self.scan / name)
        wait_until(lambda: self.service(name).get("pid"))

    def service(self, name: str) -> dict[str, Any]:
        """What the supervisor says of one service, nothing while it does not know it."""
        services: list[dict[str, Any]] = self.call("Status")["services"]
        return next((service for service in services if service["name"] == name), {})

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Ask the supervisor."""
        with Connection(str(self.scan / ".holdfast" / "socket"), 20) as connection:
            return connection.call(f"{INTERFACE}.{method}", parameters)

    def definitions(self) -> list[str]:
        """The names in the scan directory."""
        return sorted(path.name for path in self.scan.iterdir())

    def close(self) -> None:
        """Stop everything that was started."""
        if not self.scan.is_dir():
            return
        holder = self.supervisor.holder()
        if holder is not None:
            self.supervisor.stop(20)
            if not self.supervisor.wait_until_gone(20):
                os.kill(holder, signal.SIGKILL)
        if self.layout.active() is not None:
            run([PYTHON, "-I", "-S", self.layout.current, "--scan", str(self.scan), "stop", "--orphans"])


def alive(pid: int) -> bool:
    """Tell whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
