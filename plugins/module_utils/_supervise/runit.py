# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""runit as a backend. PRIVATE to the collection.

runsvdir looks at SCAN/.runit every five seconds, and Debian's at once when it gets ALRM. runsv has a `finish` and lets a script,
`control/t`, send another signal than TERM. See runsv(8), runsvdir(8), sv(8) and svlogd(8).
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Any

from .family import BY_FINISH, LOGS, SUPPLIED, Family, signal_process
from .family_scripts import BYTE, EXECUTABLE, Dialect, Files, check, stop_signal
from .portable import Portable
from .presence import SCANNERS


class Runit(Family):
    """runsvdir on SCAN/.runit."""

    name = "runit"
    form = "runit"
    scanner = SCANNERS[name]
    # runsv starts everything in the session of its own; chpst is a part of runit.
    dialect = Dialect(
        "runit",
        notification=False,
        session="chpst -P",
        finish=BYTE,
        # It wants the service down, or to exit itself; telling it d then would make it stay.
        asked=("read -r stat <supervise/stat", 'case $stat in *"want"*) exit 0 ;; esac'),
    )
    native = frozenset(("once", "finish", "stop_signal", "log.iso", "log.age")) | LOGS
    supplied = (SUPPLIED | BY_FINISH) - native

    def announce(self) -> None:
        """Wake runsvdir, if it is one that can be woken: ALRM would end others."""
        if catches(self.root_process(), signal.SIGALRM):
            signal_process(self.root_process(), signal.SIGALRM)

    def extra_files(self, portable: Portable) -> Files:
        """Give what runsv and sv read besides run and finish."""
        meta = portable.meta
        files: Files = {}
        if (meta.get("readiness") or {}).get("check"):
            files["check"] = check(portable), EXECUTABLE
        stop = stop_signal(portable, self.dialect)
        if stop != "TERM":
            # runsv sends no TERM when this succeeds.
            text = f'#!/bin/sh\nread -r pid rest <started && kill -s {stop} "$pid"\n'
            files["control/t"] = text, EXECUTABLE
        return files

    def logger(self, log: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
        """svlogd, which reads its settings from a file in the directory of the log, at its start and at each HUP."""
        stamp = {"tai64n": "-t ", "none": ""}.get(log.get("format") or "iso", "-ttt ")
        config = [f"s{log['size']}", f"n{log['count']}"]
        if log.get("age") is not None:
            config.append(f"t{max(round(float(log['age'])), 1)}")
        return f"svlogd {stamp}.", tuple(config)


def catches(pid: int, number: int) -> bool:
    """Tell whether a process has a handler for a signal."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith("SigCgt:"):
                    return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    except (OSError, ValueError):
        return False
    return False
