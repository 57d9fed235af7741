# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""daemontools as a backend. PRIVATE to the collection.

svscan looks at SCAN/.daemontools every five seconds and cannot be woken. supervise knows no `finish` and sends TERM alone: a
parent of ours has the rest. It sleeps for a second after each start: commands wait in its FIFO meanwhile. See the pages of svscan, supervise, svc and
multilog.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from .family import BY_FINISH, LOGS, SUPPLIED, Family
from .family_files import is_dead
from .family_scripts import ANSWERED, Dialect
from .presence import SCANNERS

#: Lines of `finish` that end it when nobody wants the service up: byte 17 of the status.
UNWANTED = ('[ "$(dd if=supervise/status bs=1 skip=17 count=1 2>/dev/null)" = u ] || exit 0',)
#: Seconds between two looks of svscan at its directory.
SCAN = 5.0


class Daemontools(Family):
    """svscan on SCAN/.daemontools."""

    name = "daemontools"
    form = "daemontools"
    scanner = SCANNERS[name]
    # pgrphack is a part of daemontools: a session of its own.
    dialect = Dialect("daemontools", notification=False, session="pgrphack", finish=ANSWERED, asked=UNWANTED)
    native = LOGS
    supplied = SUPPLIED | BY_FINISH | {"finish", "once", "stop_signal"}
    log_size_limit = 16777215

    def until_forgotten(self) -> None:
        """Wait until svscan has collected the dead.

        It knows a directory by its inode, which may be given to the next one; it drops what it knew when it scans.
        """
        root, deadline = self.root_process(), time.monotonic() + SCAN + 2.0
        while time.monotonic() < deadline and has_zombies(root):
            time.sleep(0.05)

    def logger(self, log: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
        """multilog, which counts the current file among those that it keeps, and stamps TAI64N labels or nothing."""
        stamp = "" if log.get("format") == "none" else "t "
        return f"multilog {stamp}s{log['size']} n{int(log['count']) + 1} .", ()


def has_zombies(parent: int) -> bool:
    """Tell whether a process has children that have died and that it has not heard of."""
    try:
        with open(f"/proc/{parent}/task/{parent}/children", encoding="ascii") as file:
            children = file.read().split()
    except OSError:
        return False
    return any(is_dead(int(child)) for child in children)
