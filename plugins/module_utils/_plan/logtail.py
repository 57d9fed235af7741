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

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Optional

    #: Of a service that has ended: the directory of its log, the time of its end, and what tells whether its logger has
    #: written all that it has said (None: that can't be told).
    Log = tuple[str, float, Callable[[], Optional[bool]]]

#: Bytes that are read from the end of the log, and lines that are shown of them.
TAIL_BYTES = 8192
TAIL_LINES = 20
#: Seconds that a logger gets to write what a service has said at last: where we know when it has, and where only the time
#: of the file tells that it has written something.
PATIENCE, GUESS = 10.0, 1.0


def tail(directory: str, lines: int = TAIL_LINES, size: int = TAIL_BYTES) -> list[str]:
    """Give the last lines in a log directory; none if there is no log, or it cannot be trusted."""
    return _read(directory, lines, size)[0]


def _read(directory: str, lines: int = TAIL_LINES, size: int = TAIL_BYTES) -> tuple[list[str], float]:
    """Give the last lines, and when the last one was written."""
    try:
        folder = open_folder(directory)
    except OSError:
        return [], 0.0
    try:
        content, cut, written = _end(folder, size)
    finally:
        os.close(folder)
    text = content.decode("utf-8", "backslashreplace").split("\n")
    if cut:
        # The first one is most likely the end of a longer line.
        text[0] = "…" + text[0]
    if text and not text[-1]:
        del text[-1]
    return ["".join(c if c.isprintable() or c == "\t" else "?" for c in line) for line in text[-lines:]], written


def _end(folder: int, size: int) -> tuple[bytes, bool, float]:
    """Give the last *size* bytes of the log, of `current` and the file before it; whether one was cut, and of when they are.

    What a service said at last may be in that one, since it is rotated at any moment.
    """
    content, read, written = b"", None, 0.0
    # The second is looked for when the first has been opened: what is rotated between the two looks is found.
    for find in (lambda: "current", lambda: _newest_rotated(folder)):
        try:
            file = os.open(find(), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        except OSError:
            continue
        try:
            state = os.fstat(file)
            # A second name may be a hard link to a file that its owner may not read.
            if not stat.S_ISREG(state.st_mode) or state.st_nlink != 1 or state.st_ino == read:
                continue
            left = size - len(content)
            start = max(state.st_size - left, 0)
            content, read = os.pread(file, left, start) + content, state.st_ino
            written = written or (state.st_mtime if state.st_size else 0.0)
        except OSError:
            continue
        finally:
            os.close(file)
        if start:
            return content, True, written
    return content, False, written


def _newest_rotated(folder: int) -> str:
    """Give the name of the file that was rotated last. Raises OSError, FileNotFoundError if there is none."""
    here = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
    try:
        # By its time, which sorts as its name does; Supervisor's logs have numbers instead.
        names = [name for name in os.listdir(here) if name[:1] == "@" and name[-2:] in (".s", ".u")]
    finally:
        os.close(here)
    if not names:
        raise FileNotFoundError
    return max(names)


def log_directory(meta: dict[str, Any]) -> str:
    """Give the directory of the log files of the service with this holdfast.json, "" if it has none."""
    log = meta.get("log")
    directory = log.get("directory") if isinstance(log, dict) and log.get("to") == "directory" else None
    return directory if isinstance(directory, str) else ""


def tail_of(meta: dict[str, Any], begun: float) -> tuple[list[str], list[str]]:
    """Give the last log lines of the service with this holdfast.json, and what to show before them if all are older."""
    directory = log_directory(meta)
    lines, written = _read(directory) if directory else ([], 0.0)
    if not lines or written >= begun - 0.05:
        return lines, []
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(written))
    return lines, [f"(its log until {at}, before this run:)"]


def settle(logs: Sequence[Log], patience: float = PATIENCE, guess: float = GUESS) -> None:
    """Wait until each log has what its service has said at last, for a while.

    A service that said nothing at its end makes this wait in vain where its logger does not tell; it is called for
    failures only.
    """
    begin = time.monotonic()
    while True:
        waited = time.monotonic() - begin
        logs = [log for log in logs if not _settled(log, waited, patience, guess)]
        if not logs:
            return
        time.sleep(0.01)


def _settled(log: Log, waited: float, patience: float, guess: float) -> bool:
    directory, ended, told = log
    written = told()
    if written is not None:
        return written or waited >= patience
    return waited >= guess or _written(directory, ended - 0.05)


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
