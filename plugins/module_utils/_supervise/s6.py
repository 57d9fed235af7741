# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""s6 as a backend. PRIVATE to the collection.

s6-svscan reads commands at SCAN/.s6/.s6-svscan/control, so that a new directory is noticed at once, and s6-supervise
reads the notification fd, knows a stop signal and kills after a time-out. See s6-svscan(8), s6-supervise(8) and the page
servicedir of s6.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .family import BY_FINISH, LOGS, SUPPLIED, Family
from .family_files import NoSupervisor, send
from .family_scripts import EXIT, PLAIN, Dialect, Files, stop_signal, stop_timeout
from .portable import Portable
from .presence import SCANNERS


class S6(Family):
    """s6-svscan on SCAN/.s6."""

    name = "s6"
    form = "s6"
    scanner = SCANNERS[name]
    dialect = Dialect("s6", notification=True, session="", finish=EXIT, signalled=256)
    native = frozenset(("readiness.notification_fd", "once", "finish", "stop_signal", "log.iso")) | LOGS
    supplied = (SUPPLIED | BY_FINISH) - native

    def announce(self) -> None:
        """Have s6-svscan scan now, and let go what is not there any more."""
        try:
            send(f"{self.root}/.s6-svscan/control", b"a")
        except (NoSupervisor, OSError):
            return

    def extra_files(self, portable: Portable) -> Files:
        """Give what s6-supervise reads besides run and finish."""
        meta = portable.meta
        # `finish` limits what the definition gives it to do, and its own pause has no limit.
        files = {
            "timeout-kill": (f"{round(stop_timeout(portable, self.dialect) * 1000)}\n", PLAIN),
            "timeout-finish": ("0\n", PLAIN),
        }
        number = (meta.get("readiness") or {}).get("notification_fd")
        if number is not None:
            files["notification-fd"] = f"{number}\n", PLAIN
        stop = stop_signal(portable, self.dialect)
        if stop != "TERM":
            files["down-signal"] = f"SIG{stop}\n", PLAIN
        return files

    def logger(self, log: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
        """s6-log; its dates are local time, so that UTC has to be said."""
        stamp = {"tai64n": "t ", "none": ""}.get(log.get("format") or "iso", "T ")
        # -b: what cannot be written yet waits in the pipe, not in the memory of the logger.
        return f"env TZ=UTC0 s6-log -b -- {stamp}n{log['count']} s{log['size']} .", ()
