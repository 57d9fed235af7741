# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Waits for what a service needs, where the supervisor has no word for it: before the service, in its place. PRIVATE to the collection."""

from __future__ import annotations

import os
import sys
import time

from . import active, holding
from .interface import BackendError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .interface import Backend, Verdict

#: Seconds of one look, within which a check of readiness may end; and between two looks.
LOOK, PAUSE = 5.0, 0.2
OK, LEFT, USAGE = 0, 1, 100


def main(argv: list[str]) -> int:
    """Wait until services of the backend `argv[0]` on the scan directory `argv[1]` are ready, and active; see `active.words`.

    There is no time limit: who waits is told to stop, and then its parent has gone. Returns 0 when all are as they have to
    be, 1 when there is nobody any more to wait for, 100 for wrong arguments.
    """
    left, awaited = active.parted(argv[2:])
    backend = _backend(argv[0], argv[1]) if left else None
    if backend is None and (left or not awaited):
        sys.stderr.write("holdfast: usage: await BACKEND SCAN NAME... [--active NAME...]\n")
        return USAGE
    parent = os.getppid()
    try:
        while os.getppid() == parent:
            if left and backend is not None:
                left = _still_missing(backend, argv[1], left)
            # Last, and all of them: one that is active now need not be in a moment.
            if not left and all(active.is_active(argv[1], name) for name in awaited):
                return OK
            time.sleep(PAUSE)
    finally:
        if backend is not None:
            backend.close()
    return LEFT


def _still_missing(backend: Backend, scan: str, names: list[str]) -> list[str]:
    """Wait a while for services to be ready, and give those that are not."""
    try:
        verdicts = backend.wait([(name, "ready") for name in names], LOOK)
    except BackendError:
        # It is being started itself, or stopped.
        verdicts = {}
    # Standing by, as one that waits for a lease itself, is not ready.
    names = [name for name in names if name not in verdicts or not _is_ready(verdicts[name])]
    # While the host is switched, some are with another supervisor, whom nobody asks here.
    return [name for name in names if not holding.elsewhere(scan, name, backend.name)]


def _is_ready(verdict: Verdict) -> bool:
    return verdict.outcome == "reached" and not (verdict.service is not None and verdict.service.state == "waiting")


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
