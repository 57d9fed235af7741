# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What only root can give a service, whichever backend starts it. PRIVATE to the collection."""

from __future__ import annotations

import grp
import os
import pwd
import resource
from collections.abc import Mapping
from typing import Any


def problems(metas: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Say what definitions (name to holdfast.json) ask for that an ordinary user cannot give; nothing for root."""
    if os.geteuid() == 0:
        return []
    found = []
    for name, meta in metas.items():
        lease = meta.get("lease")
        guarded = lease if isinstance(lease, Mapping) else {}
        process = (guarded.get("process") if guarded else meta.get("process")) or {}
        keys = [key for key, text in (("hooks", guarded.get("hooks")), ("type: forking", _forks(meta))) if text]
        keys += _of_process(process)
        if keys:
            found.append(
                f"{name}: {', '.join(keys)}: only root can give that to a service, and an ordinary user deploys "
                "(become: true, or leave it out)"
            )
    return found


def _forks(meta: Mapping[str, Any]) -> bool:
    return meta.get("type") == "forking"


def _of_process(process: Mapping[str, Any]) -> list[str]:
    keys = []
    user, group, groups, nice = (process.get(key) for key in ("user", "group", "groups", "nice"))
    if user is not None and _uid(user) != os.geteuid():
        keys.append(f"user: {user}")
    if group is not None and _gid(group) not in (os.getegid(), *os.getgroups()):
        keys.append(f"group: {group}")
    if groups is not None:
        keys.append("groups")
    # RLIMIT_NICE says in its own way how far it may go down, see getrlimit(2).
    lowest = 20 - resource.getrlimit(resource.RLIMIT_NICE)[0]
    if nice is not None and nice < os.getpriority(os.PRIO_PROCESS, 0) and nice < lowest:
        keys.append(f"nice: {nice}")
    return keys


def _uid(user: object) -> int:
    text = str(user)
    try:
        return int(text) if text.isdigit() else pwd.getpwnam(text).pw_uid
    except KeyError:
        return -1


def _gid(group: object) -> int:
    text = str(group)
    try:
        return int(text) if text.isdigit() else grp.getgrnam(text).gr_gid
    except KeyError:
        return -1
