# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which control groups there are, and whether limits can be set with them. PRIVATE to the collection."""

from __future__ import annotations

import os
from typing import Any

from .look import Look


def cgroups(look: Look) -> dict[str, Any]:
    """Give *version* (0 none, 1 legacy, 2 unified; a mixture counts by who has the controllers) and what goes with it."""
    mounts = [line.split() for line in look.text("proc/self/mountinfo").splitlines()]
    unified = [fields[4] for fields in mounts if "-" in fields and fields[fields.index("-") + 1] == "cgroup2"]
    legacy = [fields for fields in mounts if "-" in fields and fields[fields.index("-") + 1] == "cgroup"]
    mount = unified[0] if unified else ""
    own = next((line[3:] for line in look.text("proc/self/cgroup").splitlines() if line.startswith("0::")), "")
    has_controllers = any(not options.startswith("name=") for fields in legacy for options in _controllers(fields))
    controllers = look.words(mount, "cgroup.controllers") if mount else []
    version = 0
    if legacy and has_controllers:
        version = 1
    elif unified:
        version = 2
    elif legacy:
        version = 1
    return {
        "version": version,
        "mount": mount,
        "controllers": controllers,
        "own": own,
        "writable": bool(mount) and os.access(look.path(mount, own, "cgroup.procs"), os.W_OK),
        "kill": bool(mount) and own not in ("", "/") and look.exists(mount, own, "cgroup.kill"),
    }


def _controllers(fields: list[str]) -> list[str]:
    """Give the options of a legacy hierarchy's mount that name what it controls."""
    known = ("blkio", "cpu", "cpuacct", "cpuset", "devices", "freezer", "hugetlb", "memory", "net_cls", "pids")
    return [option for option in fields[-1].split(",") if option in known]
