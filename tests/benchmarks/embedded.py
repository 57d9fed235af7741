# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The embedded supervisor of this collection."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

# Behind this folder, which has modules of the same names.
sys.path.append(str(Path(__file__).resolve().parent.parent))

import collection
from described import described
from suite import DESCRIPTORS, GROUP, GROUPS, USER, Suite

_INTERFACE = "io.holdfast.Supervisor"


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
        content = described(name, files={"run": "0" * 64}, log=log, process=process)
        (directory / "holdfast.json").write_text(json.dumps(content))

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
