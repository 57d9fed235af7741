# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which program is process 1, and what kind of init that makes. PRIVATE to the collection."""

from __future__ import annotations

import os
from typing import Any

from .look import Look

#: What is process 1 under each init, by the name that the kernel keeps. sysvinit and OpenRC are both called init.
_PROGRAMS = {
    "systemd": "systemd",
    "runit": "runit",
    "runit-init": "runit",
    "runsvdir": "runit",
    "s6-svscan": "s6",
    "s6-linux-init": "s6",
    "svscan": "daemontools",
    "supervisord": "supervisord",
    "dinit": "dinit",
    "openrc-init": "openrc",
}


def init(look: Look) -> dict[str, Any]:
    """Give *name* (unknown if nobody here knows it), *command* of process 1, and whether it is a container's."""
    program = look.text("proc/1/comm")
    command = look.text("proc/1/cmdline").replace("\0", " ")
    return {"name": _name(look, program, command), "program": program, "command": command}


def _name(look: Look, program: str, command: str) -> str:
    # The folder is systemd's own promise: it is there exactly while systemd is process 1.
    if look.exists("run/systemd/system"):
        return "systemd"
    if program in _PROGRAMS and _PROGRAMS[program] != "systemd":
        return _PROGRAMS[program]
    if " supervise " in f"{command} " and "holdfast" in command:
        return "embedded"
    if program == "init":
        # OpenRC brings up and down what any of these inits starts; without it they are what they are.
        if look.exists("run/openrc/softlevel"):
            return "openrc"
        if os.path.basename(look.link("sbin/init")) == "busybox":
            return "busybox"
        return "sysvinit" if look.exists("etc/inittab") or look.exists("etc/rc2.d") else "unknown"
    return "unknown"
