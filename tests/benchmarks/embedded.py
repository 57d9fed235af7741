# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The embedded supervisor of this collection."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import collection
from suite import DESCRIPTORS, GROUP, GROUPS, USER, Suite

_INTERFACE = "io.holdfast.Supervisor"


def definition(name: str, log: dict[str, Any], process: dict[str, Any]) -> dict[str, Any]:
    """The content of holdfast.json, with every key that the collection writes."""
    return {
        "format": 1,
        "name": name,
        "definition": "0" * 64,
        "revision": 1,
        "owner": "services",
        "files": {"run": "0" * 64},
        "process": {
            "user": None,
            "group": None,
            "groups": None,
            "umask": None,
            "nice": None,
            "limits": {},
            "oom_score_adjust": None,
            "resources": {},
            "security_context": None,
            "runtime_directories": [],
            **process,
        },
        "state": "started",
        "type": "longrun",
        "interval": None,
        "restart": "always",
        "backoff": {"initial": 1.0, "maximum": 30.0},
        "failure_limit": {"deaths": 0, "within": 60.0},
        "stop_signal": "TERM",
        "stop_timeout": 10.0,
        "finish_timeout": 5.0,
        "kill": "group",
        "reload_signal": "HUP",
        "on_change": "restart",
        "readiness": {"notification_fd": None, "check": False, "interval": 0.5, "grace": 0.5, "timeout": 30.0},
        "health": None,
        "needs": [],
        "log": log,
    }


class Embedded(Suite):
    """`holdfast supervise`, byte-compiled as on a host, with its log writer."""

    title = "embedded"

    def __init__(self, count: int, state: bool = False) -> None:
        super().__init__(count, state)
        self.runtime = self.base / "runtime" / "version"

    def prepare(self) -> None:
        collection.make_runtime(self.runtime)
        super().prepare()

    def write(self, name: str, directory: Path, run: str | None = None) -> None:
        self.script(directory / "run", run or self.run_text())
        log = {
            "to": "directory",
            "directory": str(self.base / "logs" / name),
            "size": 1000000,
            "count": 10,
            "age": None,
            "keep": None,
            "format": "iso",
        }
        process: dict[str, Any] = {}
        if self.state:
            limits = {"nofile": [DESCRIPTORS, DESCRIPTORS]}
            process = {"user": USER, "group": GROUP, "groups": list(GROUPS), "limits": limits}
        (directory / "holdfast.json").write_text(json.dumps(definition(name, log, process)))

    def command(self) -> list[str]:
        return [collection.PYTHON, "-I", "-S", str(self.runtime), "supervise", str(self.scan)]

    def logs(self, name: str) -> bool:
        return (self.base / "logs" / name / "current").exists()

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the supervisor. Raises ConnectionError."""
        from ansible_collections.holdfast.supervision.plugins.module_utils._varlink import client

        try:
            with client.Connection(str(self.scan / ".holdfast" / "socket"), 60) as connection:
                return dict(connection.call(f"{_INTERFACE}.{method}", parameters))
        except client.ConnectionLost as error:
            raise ConnectionError(str(error)) from None

    def stop_all(self) -> None:
        self.call("Control", commands=[{"name": name, "action": "stop"} for name in self.names])
