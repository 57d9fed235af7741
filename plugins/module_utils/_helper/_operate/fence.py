# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fencing: a fence agent, for a listed node. PRIVATE to the collection.

Agents read their parameters from standard input, one NAME=VALUE a line
(https://github.com/ClusterLabs/fence-agents/blob/main/doc/FenceAgentAPI.md). So nothing of it, the password least of all, is
in arguments that all users see.
"""

from __future__ import annotations

import os
import stat

from ..trust import untrusted
from .program import Failed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Bytes of parameters: what a pipe takes without a reader.
_LONGEST = 32768


def fence(node: dict[str, Any], action: str) -> None:
    """Become the agent, with the node's parameters and *action* on its standard input."""
    reason = untrusted(node["agent"])
    if reason:
        raise Failed(reason)
    lines = {**node["parameters"], "action": action}
    if node.get("password_file"):
        lines["password"] = _secret(node["password_file"])
    text = "".join(f"{key}={value}\n" for key, value in lines.items())
    # A line more would be a parameter more.
    if text.count("\n") != len(lines) or "\0" in text or len(text.encode()) > _LONGEST:
        raise Failed("a parameter has a line break, or they are too long")
    out, into = os.pipe()
    os.write(into, text.encode())
    os.close(into)
    os.dup2(out, 0)
    os.execve(node["agent"], [node["agent"]], dict(os.environ))


def _secret(path: str) -> str:
    """Give the first line of a file that root alone may read."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with open(descriptor, encoding="utf-8") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_mode & 0o077 or found.st_uid != os.geteuid():
            raise Failed(f"{path}: is to belong to root, and to be closed to others")
        return file.readline(4096).rstrip("\n")
