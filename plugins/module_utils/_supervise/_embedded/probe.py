# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run a service's `check` or `health` program again and again. PRIVATE to the collection."""

from __future__ import annotations

import os
import signal

from . import spawn as spawning

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .children import Children, Exit
    from .loop import Loop, Timer


class Probe:
    """One program of the service directory, run every *interval* seconds, killed after *timeout*.

    Calls *verdict* with True or False after each run, until `stop`. Only one runs at a time.
    """

    __slots__ = ("_children", "_interval", "_loop", "_make", "_pid", "_stopped", "_timeout", "_timer", "_verdict")

    def __init__(
        self,
        loop: Loop,
        children: Children,
        make: Callable[[], spawning.Start],
        interval: float,
        timeout: float,
        verdict: Callable[[bool], None],
    ) -> None:
        self._loop = loop
        self._children = children
        self._make = make
        self._interval = interval
        self._timeout = timeout
        self._verdict = verdict
        self._pid = 0
        self._stopped = False
        self._timer: Timer | None = None

    def begin(self, delay: float) -> None:
        """Run it for the first time in *delay* seconds."""
        self._timer = self._loop.later(delay, self._run)

    def stop(self) -> None:
        """Run it no more; a run under way is killed and its result forgotten."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
        if self._pid:
            self._kill()

    def _run(self) -> None:
        try:
            self._pid, complaint = spawning.spawn(self._make())
        except OSError:
            self._pid = 0
            self._done(False)
            return
        if complaint >= 0:
            os.close(complaint)
        self._children.watch(self._pid, self._exited)
        self._timer = self._loop.later(self._timeout, self._kill)

    def _kill(self) -> None:
        for send in (os.killpg, os.kill):
            try:
                send(self._pid, signal.SIGKILL)
            except OSError:
                continue

    def _exited(self, exit_: Exit) -> None:
        self._pid = 0
        if self._timer is not None:
            self._timer.cancel()
        self._done(exit_.success)

    def _done(self, good: bool) -> None:
        if self._stopped:
            return
        self._timer = self._loop.later(self._interval, self._run)
        self._verdict(good)
