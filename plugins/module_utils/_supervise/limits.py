# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Limits of control groups: what they need of a host, and whether it has that. PRIVATE to the collection.

Part of the runtime too, and imported there by the children that set the limits.
"""

from __future__ import annotations

import errno
import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

#: Which controller a key of `resources` needs.
CONTROLLERS = {"memory_max": "memory", "cpu_weight": "cpu", "cpu_max": "cpu", "io_max": "io", "pids_max": "pids"}
_CURE = (
    "cgroup v2 has no such controller to give here: boot with systemd.unified_cgroup_hierarchy=1 and without "
    "cgroup_disable=, or have the container's runtime delegate it"
)


def obstacle(resources: Mapping[str, Any], groups: Mapping[str, Any] | None) -> str:
    """Say why the limits *resources* can't be set; nothing if they can.

    groups: what the supervisor says of the place for control groups (its type Groups); None of one that knows of none.
    """
    keys = ", ".join(f"resources.{key}" for key in resources)
    if groups is None:
        return (
            f"{keys}: the supervisor that runs is of an older version: apply the role holdfast.supervision.supervisor"
        )
    if not groups.get("path"):
        return f"{keys}: {groups.get('problem') or 'the supervisor has no place for control groups'}"
    there = groups.get("controllers") or []
    missing = [f"resources.{key} needs {CONTROLLERS[key]}" for key in resources if CONTROLLERS[key] not in there]
    if missing:
        return f"{', '.join(missing)}; {groups['path']} has only: {' '.join(there) or 'nothing'}; {_CURE}"
    for device in resources.get("io_max") or {}:
        try:
            device_number(device)
        except OSError as error:
            return f"resources.io_max.{device}: {error.strerror}: correct the definition, or attach the device first"
    return ""


def device_number(path: str) -> str:
    """Give MAJOR:MINOR of a block device; of the whole disk for a partition, since only that can be limited.

    Raises OSError.
    """
    state = os.stat(path)
    if not stat.S_ISBLK(state.st_mode):
        raise OSError(errno.ENOTBLK, "not a block device", path)
    number = f"{os.major(state.st_rdev)}:{os.minor(state.st_rdev)}"
    known = f"/sys/dev/block/{number}"
    if os.path.exists(f"{known}/partition"):
        with open(f"{known}/../dev", encoding="ascii") as file:
            return file.read().strip()
    return number
