# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The last lines of a service's log, for the message of a failure. PRIVATE to the collection.

The log directory belongs to the log writer's user, so nothing in it is trusted: a link there would make root show any
file of the host.
"""

from __future__ import annotations

import os
import stat
import time
from typing import Any

#: Bytes that are read from the end of the log, and lines that are shown of them.
TAIL_BYTES = 8192
TAIL_LINES = 20
#: Seconds that the log writer gets to write what a service has said at last.
PATIENCE = 1.0


def tail(directory: str, lines: int = TAIL_LINES, size: int = TAIL_BYTES) -> list[str]:
    """Give the last lines of `current` in a log directory; none if there is no log, or it cannot be trusted."""
    try:
        folder = open_folder(directory)
    except OSError:
        return []
    try:
        file = os.open("current", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return []
    finally:
        os.close(folder)
    try:
        state = os.fstat(file)
        # A second name may be a hard link to a file that its owner may not read.
        if not stat.S_ISREG(state.st_mode) or state.st_nlink != 1:
            return []
        start = max(state.st_size - size, 0)
        content = os.pread(file, size, start)
    except OSError:
        return []
    finally:
        os.close(file)
    text = content.decode("utf-8", "backslashreplace").split("\n")
    if start:
        # The first one is most likely the end of a longer line.
        text[0] = "…" + text[0]
    if text and not text[-1]:
        del text[-1]
    return ["".join(c if c.isprintable() or c == "\t" else "?" for c in line) for line in text[-lines:]]


def log_directory(meta: dict[str, Any]) -> str:
    """Give the directory of the log files of the service with this holdfast.json, "" if it has none."""
    log = meta.get("log")
    directory = log.get("directory") if isinstance(log, dict) and log.get("to") == "directory" else None
    return directory if isinstance(directory, str) else ""


def tail_of(meta: dict[str, Any]) -> list[str]:
    """Give the last log lines of the service with this holdfast.json."""
    directory = log_directory(meta)
    return tail(directory) if directory else []


def settle(logs: list[tuple[str, float]], patience: float = PATIENCE) -> None:
    """Wait until each log (its directory, and the time at which its service ended) has been written since, for a while.

    A service that said nothing at its end makes this wait in vain; it is called for failures only.
    """
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline and not all(_written(directory, at - 0.05) for directory, at in logs):
        time.sleep(0.01)


def _written(directory: str, at: float) -> bool:
    try:
        state = os.stat(f"{directory}/current")
    except OSError:
        return False
    return state.st_size > 0 and state.st_mtime >= at


def open_folder(path: str) -> int:
    """Open a directory by its path; of links on the way only those are followed that root or this user has made."""
    trusted = (0, os.geteuid())
    where = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    parts = [part for part in path.split("/") if part]
    followed = 0
    try:
        while parts:
            part = parts.pop(0)
            state = os.stat(part, dir_fd=where, follow_symlinks=False)
            if stat.S_ISLNK(state.st_mode):
                followed += 1
                if state.st_uid not in trusted or followed > 20:
                    raise PermissionError(f"{path}: {part} is a link that somebody else has made")
                target = os.readlink(part, dir_fd=where)
                if target.startswith("/"):
                    os.close(where)
                    where = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
                parts[:0] = [step for step in target.split("/") if step]
                continue
            below = os.open(part, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=where)
            os.close(where)
            where = below
    except BaseException:
        os.close(where)
        raise
    return where
