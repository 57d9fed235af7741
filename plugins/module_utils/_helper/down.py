# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a helper that is not there leaves for those who look for it. PRIVATE to the collection.

A file beside the socket says that the helper was stopped on purpose, or why it can't start. The next helper that serves
removes it. A helper that was killed leaves none: it is about to be started again. Unless its supervisor gives up after so
many deaths: nobody could tell then, so the helper whose death would be the last one says so while it lives.
"""

from __future__ import annotations

import os
import time

from .._lean import json
from .._supervise._embedded import files, identity

NAME = "down"
STOPPED, FAILED = "stopped", "failed"
#: Of a helper that lives: its death is its supervisor's reason to give up.
LAST = "last"
#: Seconds that a helper which was stopped may need to be there again: a restart is a stop and a start.
RESTART = 5.0


def leave(socket: str, state: str, message: str = "", **more: int) -> None:
    """Say that there is no helper behind *socket*, and why. What can't be written is not said."""
    try:
        folder = os.lstat(os.path.dirname(socket))
        if folder.st_uid != os.geteuid() or folder.st_mode & 0o022:
            return
        files.replace(_path(socket), json.dumps({"state": state, "message": message, **more}).encode(), 0o644)
    except OSError:
        pass


def foretell(socket: str, message: str) -> None:
    """Say why there will be no helper behind *socket* when this process has died."""
    leave(socket, LAST, message, pid=os.getpid(), started=identity.start_time(os.getpid()))


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
        if state == LAST:
            return "" if identity.alive(int(found["pid"]), int(found["started"])) else message
    except (OSError, ValueError, LookupError, TypeError):
        return ""
    if state == FAILED:
        return f"the helper can't start: {message}"
    return "the helper was stopped" if not 0 <= age < RESTART else ""


def _path(socket: str) -> str:
    return f"{os.path.dirname(socket)}/{NAME}"


def begin_life(folder: str, within: float) -> list[float]:
    """Note in the state directory *folder* that a helper lives; gives when, in the last *within* seconds, one was found dead.

    Times are those of CLOCK_BOOTTIME. Raises OSError.
    """
    path, now = f"{folder}/lives", time.clock_gettime(time.CLOCK_BOOTTIME)
    try:
        with open(path, encoding="ascii") as file:
            content = json.load(file)
        deaths = [float(at) for at in content["deaths"] if now - within < at <= now]
        if content["alive"]:
            deaths.append(now)
    except (OSError, ValueError, LookupError, TypeError):
        deaths = []
    files.replace(path, json.dumps({"alive": True, "deaths": deaths}).encode(), 0o600)
    return deaths


def end_life(folder: str) -> None:
    """Note that the helper ends as it was asked to. Raises OSError."""
    files.remove(f"{folder}/lives")
