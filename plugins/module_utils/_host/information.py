# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Everything that is to be known of a host before services are put on it. PRIVATE to the collection."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

from .._runtime.interpreter import PYTHON_FLOOR, Unfit, check_path
from .cgroups import cgroups
from .init import init
from .kernel import kernel
from .look import Look
from .machine import clock, user, virtualisation, watchdogs
from .network import hostname, network
from .storage import storage

#: What can be asked for.
SUBJECTS: dict[str, Callable[[Look], Any]] = {
    "cgroups": cgroups,
    "clock": clock,
    "init": init,
    "kernel": kernel,
    "network": network,
    "storage": storage,
    "virtualisation": virtualisation,
    "watchdogs": watchdogs,
}


def host_info(subjects: list[str], python: str, look: Look | None = None) -> dict[str, Any]:
    """Give what the module host_info returns. Changes nothing, and fails for nothing that is not there."""
    look = look or Look()
    result: dict[str, Any] = {
        "hostname": hostname(),
        "machine_id": look.text("etc/machine-id"),
        "user": user(),
        "python": _python(python),
    }
    for name in sorted(set(subjects) or set(SUBJECTS)):
        result[name] = SUBJECTS[name](look)
    return result


def _python(path: str) -> dict[str, Any]:
    """Say what the interpreter at *path* is, and whether root may rely on it; it is not run."""
    problem = ""
    if not os.access(path, os.X_OK):
        problem = f"there is no Python at {path}"
    else:
        try:
            check_path(path, 0)
        except Unfit as error:
            problem = str(error)
    return {
        "path": path,
        "program": os.path.realpath(path),
        "problem": problem,
        "running": ".".join(map(str, sys.version_info[:3])),
        "floor": ".".join(map(str, PYTHON_FLOOR)),
    }
