# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The scan directory of a run: opened once, read once, locked while it is changed. PRIVATE to the collection."""

from __future__ import annotations

import fcntl
import os
import time

from .._definition.names import is_name
from .directories import Actual, Wanted, look
from .handles import DIRECTORY
from .publish import leftover

#: Seconds that a run waits for another one on the same scan directory.
LOCK_TIMEOUT = 30.0


class Scan:
    """path: as given. at: its descriptor, -1 when there is no such directory. names: the service directories in it.

    left: entries of an interrupted run.
    """

    def __init__(self, path: str) -> None:
        """Open and list the directory. Raises OSError for anything but its absence."""
        self.path = path
        self.names: frozenset[str] = frozenset()
        self.left: list[str] = []
        try:
            # The directory itself may be reached by a link: who owns it is checked on what was opened.
            self.at = os.open(path, DIRECTORY & ~os.O_NOFOLLOW)
        except FileNotFoundError:
            self.at = -1
            return
        self.list()

    @property
    def exists(self) -> bool:
        """Tell whether the directory is there."""
        return self.at >= 0

    def list(self) -> None:
        """Read the names again."""
        entries = os.listdir(self.at)
        self.left = [entry for entry in entries if leftover(entry) is not None]
        self.names = frozenset(entry for entry in entries if is_name(entry))

    def look(self, name: str, wanted: Wanted | None = None) -> Actual:
        """Read one service directory; one that an interrupted run has moved aside is found there."""
        aside = f".{name}.old"
        try:
            if name in self.names:
                return look(name, self.at, wanted)
            if aside in self.left:
                found = look(name, self.at, wanted, aside)
                if found.kind == "ours":
                    return found
        except OSError as error:
            found = Actual(name, "broken")
            found.problem = f"cannot be read ({error.filename}: {error.strerror})"
            return found
        return Actual(name, "absent")

    def lock(self, timeout: float = LOCK_TIMEOUT) -> bool:
        """Keep other runs out until `close`. Gives whether that could be done in time."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                fcntl.flock(self.at, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    return False
                time.sleep(0.05)

    def close(self) -> None:
        """Close the directory, and let the next run in."""
        if self.at >= 0:
            os.close(self.at)
            self.at = -1
