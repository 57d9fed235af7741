# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Waits for what a service needs, where the supervisor has no word for it: before the service, in its place. PRIVATE to the collection."""

from __future__ import annotations

import os
import sys
import time

from . import holding
from .interface import BackendError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .interface import Backend

#: Seconds of one look, within which a check of readiness may end; and between two looks.
LOOK, PAUSE = 5.0, 0.2
OK, LEFT, USAGE = 0, 1, 100


def main(argv: list[str]) -> int:
    """Wait until the services `argv[2:]` of the backend `argv[0]` on the scan directory `argv[1]` are ready.

    There is no time limit: who waits is told to stop, and then its parent has gone. Returns 0 when all are ready, 1 when
    there is nobody any more to wait for, 100 for wrong arguments.
    """
    backend = _backend(argv[0], argv[1]) if len(argv) > 2 else None
    if backend is None:
        sys.stderr.write("holdfast: usage: await BACKEND SCAN NAME...\n")
        return USAGE
    parent = os.getppid()
    left = argv[2:]
    try:
        while os.getppid() == parent:
            try:
                verdicts = backend.wait([(name, "ready") for name in left], LOOK)
            except BackendError:
                # It is being started itself, or stopped.
                verdicts = {}
            left = [name for name in left if name not in verdicts or verdicts[name].outcome != "reached"]
            # While the host is switched, some are with another supervisor, whom nobody asks here.
            left = [name for name in left if not holding.elsewhere(argv[1], name, argv[0])]
            if not left:
                return OK
            time.sleep(PAUSE)
    finally:
        backend.close()
    return LEFT


def _backend(name: str, scan: str) -> Backend | None:
    """Give a backend whose supervisor has no word for needs. Only what this one takes is imported."""
    if name == "s6":
        from .s6 import S6

        return S6(scan)
    if name == "runit":
        from .runit import Runit

        return Runit(scan)
    if name == "daemontools":
        from .daemontools import Daemontools

        return Daemontools(scan)
    if name == "daemontools_encore":
        from .daemontools_encore import DaemontoolsEncore

        return DaemontoolsEncore(scan)
    if name == "supervisord":
        from .supervisord import Supervisord

        return Supervisord(scan)
    return None
