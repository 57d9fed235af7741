# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The file systems of a host. PRIVATE to the collection."""

from __future__ import annotations

import os
from typing import Any

from .._lease.mounts import is_network
from .look import Look

#: File systems that hold nothing of anybody's.
_KERNEL = frozenset(
    ("autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "devtmpfs", "efivarfs")
    + ("fusectl", "hugetlbfs", "mqueue", "nsfs", "proc", "pstore", "rpc_pipefs", "securityfs", "sysfs", "tracefs")
)


def storage(look: Look) -> list[dict[str, Any]]:
    """Give each mounted file system that can hold files: where, of what type, from what, how large (bytes).

    A network file system is not asked for its size: a server that does not answer would hold us up without end.
    """
    found = {}
    for line in look.text("proc/self/mountinfo").splitlines():
        fields = line.split()
        if "-" not in fields:
            continue
        kind, source, options = (fields[fields.index("-") + 1 :] + ["", ""])[:3]
        if kind in _KERNEL:
            continue
        point = fields[4].encode("latin-1", "replace").decode("unicode_escape")
        network = is_network(kind)
        size = free = None
        if not network:
            try:
                space = os.statvfs(look.path(point))
                size, free = space.f_blocks * space.f_frsize, space.f_bavail * space.f_frsize
            except OSError:
                pass
        # Of several at one place the last one is what is seen.
        found[point] = {
            "mount": point,
            "type": kind,
            "source": source,
            "network": network,
            "read_only": "ro" in fields[5].split(",") or "ro" in options.split(","),
            "size": size,
            "free": free,
        }
    return [found[point] for point in sorted(found)]
