# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host of the test's own whose backend is switched: everything below one folder, by what the module supervisor does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import procs
from conforming import Supervised
from deployed import PYTHON, Deployment, run, runtime

from ansible_collections.holdfast.supervision.plugins.module_utils._supervise.interface import Service
from ansible_collections.holdfast.supervision.plugins.modules import supervisor


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
        below = self.base / "holdfast"
        return {
            "prefix": None,
            "scan_directory": str(self.scan),
            "run_directory": str(below / "run"),
            "log_directory": str(below / "log"),
            "runtime_directory": self.deployment.layout.root,
            "python": PYTHON,
            "log_user": None,
            "version": None,
            "units": {},
            "scripts": {},
            "timeout": 20.0,
            "stop_timeout": 30.0,
            "remove_logs": False,
            **changes,
        }

    def to(self, backend: str, check: bool = False, **changes: Any) -> dict[str, Any]:
        """Do what the module supervisor does with this backend."""
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

    def _tasks(self) -> Supervised:
        tasks = type("Switched", (Supervised,), {"backend": self.backend})(self.base, self.base)
        tasks.scan, tasks.logs = self.scan, self.base / "holdfast" / "log"
        return tasks

    def close(self) -> None:
        """Stop whatever runs."""
        for backend in ("embedded", "s6", "runit", "daemontools", "supervisord"):
            root = supervisor.ROOTS[backend].on(self.options(), run)
            if root.traces():
                root.stop()
