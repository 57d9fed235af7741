# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`holdfast logs`. PRIVATE to the collection."""

from __future__ import annotations

import os
import sys
import time

from .exits import FAILED, NO_SERVICE, OK, CommandError
from .logfiles import LogError, log_directory, tail
from .places import scan_directory, service_names
from .terminal import complain, harmless

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from typing import BinaryIO

#: Seconds between two looks at a log that is followed: only a person waits for it.
LOOK = 0.2


def logs(options: Namespace) -> int:
    """Show the last lines of a service's log; with --follow, go on until interrupted. Needs no supervisor."""
    scan = scan_directory(options.scan)
    if options.name not in service_names(scan):
        raise CommandError(NO_SERVICE, f"{options.name}: no such service")
    try:
        directory = log_directory(scan, options.name)
        follower = Follower(os.path.join(directory, "current")) if options.follow else None
        lines = tail(scan, options.name, options.lines, follower.position() if follower else None)
    except LogError as error:
        complain(f"holdfast: {error}")
        return FAILED
    except FileNotFoundError as error:
        complain(f"holdfast: {error.filename}: nothing has been logged yet")
        return FAILED
    _show(b"".join(line + b"\n" for line in lines))
    while follower is not None:
        data = follower.read()
        if data:
            _show(data)
        else:
            time.sleep(LOOK)
    return OK


class Follower:
    """Reads what is added to the file at *path* from now on, also over the file's rotation."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._stream: BinaryIO | None = None
        self._open()
        if self._stream is not None:
            self._stream.seek(0, os.SEEK_END)

    def position(self) -> tuple[int, int] | None:
        """Give inode and offset from where it reads on, None if there is no file yet."""
        if self._stream is None:
            return None
        return os.fstat(self._stream.fileno()).st_ino, self._stream.tell()

    def read(self) -> bytes:
        """Give what is new, perhaps nothing."""
        # Whether the name leads elsewhere is asked before the read: what was written to the old file until then is in it.
        moved = self._moved()
        data = self._stream.read() if self._stream is not None else b""
        if moved and not data:
            self._open()
            data = self._stream.read() if self._stream is not None else b""
        return data

    def _open(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        try:
            self._stream = open(self._path, "rb")  # noqa: SIM115 - kept open until the file is rotated away
        except FileNotFoundError:
            # Between the two renames of a rotation.
            pass

    def _moved(self) -> bool:
        if self._stream is None:
            return True
        try:
            now = os.stat(self._path)
        except FileNotFoundError:
            return False
        mine = os.fstat(self._stream.fileno())
        if (now.st_dev, now.st_ino) != (mine.st_dev, mine.st_ino):
            return True
        if now.st_size < self._stream.tell():
            self._stream.seek(0)
        return False


def _show(data: bytes) -> None:
    if sys.stdout.isatty():
        # A service must not be able to steer the terminal of the person who reads its log.
        text = data.decode("utf-8", "replace")
        sys.stdout.write(harmless(text, keep="\t\n"))
    else:
        sys.stdout.buffer.write(data)
    sys.stdout.flush()
