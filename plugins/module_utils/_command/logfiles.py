# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a service's log files are, and their last lines. PRIVATE to the collection."""

from __future__ import annotations

import itertools
import os

from .places import definition

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

#: Bytes that are read at a time from the end of a file.
BLOCK = 65536
#: Where the directories of common `log/run` scripts keep their files, seen from the service directory.
CUSTOMARY = ("log/main", "log", "log/log")


class LogError(Exception):
    """There are no log files to show; the message says where the log is instead."""


def log_directory(scan: str, name: str) -> str:
    """Give the directory that holds `current` of a service. Raises LogError."""
    log = definition(scan, name).get("log")
    if isinstance(log, dict):
        to = log.get("to")
        if to == "directory" and log.get("directory"):
            return str(log["directory"])
        places = {"syslog": "the host's syslog", "journald": "the journal (journalctl -t " + name + ")"}
        raise LogError(f"{name} logs to {places[str(to)]}" if to in places else f"{name} keeps no log")
    for place in CUSTOMARY:
        directory = os.path.join(scan, name, place)
        if os.path.exists(os.path.join(directory, "current")):
            return directory
    raise LogError(f"{name} is a plain service directory and its log is not at one of the usual places")


def newest_first(directory: str) -> Iterator[BinaryIO]:
    """Open all log files one after the other, `current` first. Raises OSError if there is no directory to read.

    The log goes on to be written: what has come to be after `current` was opened is left out, and a file that is rotated
    between two looks is not missed.
    """
    current = _open(os.path.join(directory, "current"))
    # A rotated file is `@<stamp>.s` (closed cleanly) or `.u` (after a crash); the stamp sorts as time does.
    names = sorted(entry for entry in os.listdir(directory) if entry[:1] == "@" and entry[-2:] in (".s", ".u"))
    rotated = [os.path.join(directory, name) for name in names]
    if current is not None:
        with current:
            # If it has been rotated since, those from there on are newer.
            rotated = list(itertools.takewhile(lambda path: not _is(path, current), rotated))
            yield current
    for path in reversed(rotated):
        stream = _open(path)
        if stream is not None:
            with stream:
                yield stream


def _open(path: str) -> BinaryIO | None:
    """Open a file; None if there is none: it is being rotated, or was pruned under our hands."""
    try:
        return open(path, "rb")
    except FileNotFoundError:
        return None


def _is(path: str, stream: BinaryIO) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(stream.fileno()))
    except FileNotFoundError:
        return False


def tail(scan: str, name: str, count: int, stop: tuple[int, int] | None = None) -> list[bytes]:
    """Give the last *count* lines of a service's log, oldest first, without their line ends.

    Goes back into rotated files as far as it must. stop: inode and offset of a file that is read no further than
    there, with nothing newer than it. Raises LogError, OSError.
    """
    found: list[bytes] = []
    for stream in newest_first(log_directory(scan, name)):
        if len(found) >= count:
            break
        limit = None
        if stop is not None:
            if os.fstat(stream.fileno()).st_ino != stop[0]:
                continue
            limit, stop = stop[1], None
        found = _tail_of(stream, count - len(found), limit) + found
    return found


def _tail_of(stream: BinaryIO, count: int, limit: int | None) -> list[bytes]:
    position = stream.seek(0, os.SEEK_END) if limit is None else limit
    data = b""
    # One line end more than lines are wanted: the one before the first of them.
    while position > 0 and data.count(b"\n") <= count:
        step = min(BLOCK, position)
        position -= step
        stream.seek(position)
        data = stream.read(step) + data
    lines = data.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    return lines[-count:] if count else []
