# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Services with a guard below a real supervisor, rendered as the collection renders them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import procs
from supervised import Scan

from ansible_collections.holdfast.supervision.plugins.module_utils._definition.normalise import normalise
from ansible_collections.holdfast.supervision.plugins.module_utils._directory import files
from ansible_collections.holdfast.supervision.plugins.plugin_utils import render


def add_leased(scan: Scan, leases: Path, name: str = "billing", **definition: Any) -> None:
    """Publish a service that has a lease in the directory *leases*."""
    add_guarded(scan, name, lease={"directory": str(leases), **definition.pop("lease", {})}, **definition)


def add_guarded(scan: Scan, name: str = "billing", **definition: Any) -> None:
    """Publish a service of this definition."""
    definition.setdefault("command", ["/bin/sleep", "100000"])
    definition.setdefault("backoff", {"initial": "20ms", "maximum": "50ms"})
    service = normalise(name, {"log": False, **definition}, {})
    scripts = render.scripts(service)
    entry = files.build(service, scripts.pop("run"), scripts)
    contents = {path: file["content"] for path, file in entry["files"].items()}
    contents["holdfast.json"] = json.dumps({**entry["holdfast"], "revision": 1})
    for path in entry["secret_files"]:
        contents[path] = "geheim"
    scan.add(name, contents.pop("run"), contents, plain=True)


def report(scan: Scan, name: str = "billing") -> dict[str, Any]:
    """What a living guard last wrote about itself; nothing without one."""
    try:
        found = dict(json.loads((scan.path / ".holdfast" / "guards" / name / "state.json").read_text()))
    except (OSError, ValueError):
        return {}
    return found if procs.alive(found["pid"]) else {}


def phase(scan: Scan, name: str = "billing") -> Callable[[], str]:
    """Gives the phase of the guard whenever it is asked; of an active one only when there is a service."""

    def read() -> str:
        found = report(scan, name)
        return str(found["phase"]) if found and (found["tree"] or found["phase"] != "active") else ""

    return read
