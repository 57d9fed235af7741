# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether control groups can be limited below the supervisor's own. PRIVATE to the collection."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

#: The controller behind each key of `resources`.
CONTROLLERS = {"memory_max": "memory", "cpu_weight": "cpu", "cpu_max": "cpu", "io_max": "io", "pids_max": "pids"}
MOUNT = "/sys/fs/cgroup"


def obstacle(resources: Mapping[str, Any], pid: int, mount: str = MOUNT, process: str = "/proc") -> str:
    """Say why the supervisor *pid* cannot limit *resources* of its services; nothing if it can."""
    wanted = {CONTROLLERS[key] for key, value in resources.items() if value is not None and key in CONTROLLERS}
    if not os.path.exists(f"{mount}/cgroup.controllers"):
        return f"{mount} is not a cgroup v2 hierarchy"
    try:
        with open(f"{process}/{pid}/cgroup", encoding="ascii", errors="replace") as stream:
            path = next(line.rstrip("\n")[3:] for line in stream if line.startswith("0::"))
    except (OSError, StopIteration):
        return f"the control group of the supervisor (pid {pid}) is not known"
    group = os.path.normpath(f"{mount}/{path}")
    try:
        with open(f"{group}/cgroup.controllers", encoding="ascii") as stream:
            present = set(stream.read().split())
    except OSError as error:
        return f"{group}: {error.strerror}"
    missing = sorted(wanted - present)
    if missing:
        return f"{group} has no controller {', '.join(missing)}"
    if not os.access(f"{group}/cgroup.subtree_control", os.W_OK) or not os.access(group, os.W_OK):
        return f"{group} is not delegated to the supervisor"
    return ""
