# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a helper that is not there leaves for those who look for it. PRIVATE to the collection.

A file beside the socket says that the helper was stopped on purpose, or why it can't start. The next helper that serves
removes it. A helper that was killed leaves none: it is about to be started again.
"""

from __future__ import annotations

import json
import os
import time

from .._supervise._embedded import files

NAME = "down"
STOPPED, FAILED = "stopped", "failed"
#: Seconds that a helper which was stopped may need to be there again: a restart is a stop and a start.
RESTART = 5.0


def leave(socket: str, state: str, message: str = "") -> None:
    """Say that there is no helper behind *socket*, and why. What can't be written is not said."""
    try:
        folder = os.lstat(os.path.dirname(socket))
        if folder.st_uid != os.geteuid() or folder.st_mode & 0o022:
            return
        files.replace(_path(socket), json.dumps({"state": state, "message": message}).encode(), 0o644)
    except OSError:
        pass


def clear(socket: str) -> None:
    """Say that there is one."""
    files.remove(_path(socket))


def look(socket: str) -> str:
    """Say why no helper is to be expected behind *socket*, "" if one may come."""
    try:
        with open(_path(socket), encoding="utf-8") as file:
            found = json.load(file)
            age = time.time() - os.fstat(file.fileno()).st_mtime
        state, message = found["state"], str(found["message"])
    except (OSError, ValueError, LookupError, TypeError):
        return ""
    if state == FAILED:
        return f"the helper can't start: {message}"
    return "the helper was stopped" if not 0 <= age < RESTART else ""


def _path(socket: str) -> str:
    return f"{os.path.dirname(socket)}/{NAME}"
