# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether the service of a guard is ready, and whether it stays healthy. PRIVATE to the collection.

The supervisor sees the guard, which is up and ready while it stands in line. Only the guard knows when the service itself
is, and an unhealthy holder has to let others have a try.
"""

from __future__ import annotations

import os

from .descriptors import move

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..._supervise._embedded.children import Exited
    from ..._supervise._embedded.loop import Timer
    from ..._supervise._embedded.probe import Probe
    from .guard import Guard

#: The programs of the service directory.
CHECK, HEALTH = "./guarded-check", "./guarded-health"
#: Seconds that one run of the check may take.
_CHECK_TIMEOUT = 10.0


class Watching:
    """Looks after the service from its start to its end. readiness, health: as in holdfast.json, None for neither."""

    def __init__(self, guard: Guard, readiness: dict[str, Any] | None, health: dict[str, Any] | None) -> None:
        self._guard = guard
        self._readiness = readiness or {}
        self._health = health
        self.ready = False
        self._failures = 0
        self._heard = False
        self._notified = self._beating = self._arriving = -1
        self._theirs: list[int] = []
        self._probes: list[Probe] = []
        self._timers: list[Timer] = []

    def prepare(self) -> dict[int, int]:
        """Give the descriptors that the service is to have, by its own numbers. Raises LeaseError, OSError."""
        passed = {}
        number = self._readiness.get("notification_fd")
        if number is not None:
            self._notified, passed[number] = self._pipe()
        number = (self._health or {}).get("heartbeat_fd")
        if number is not None:
            self._beating, passed[number] = self._pipe()
        return passed

    def begin(self) -> None:
        """The service has been started: from now on its readiness and its health count."""
        loop = self._guard.loop
        for descriptor in self._theirs:
            os.close(descriptor)
        self._theirs = []
        tree = self._guard.tree
        if tree is not None and not tree.settled:
            self._arriving = tree.report
            loop.watch(tree.report, self._arrive)
        elif self._notified >= 0:
            loop.watch(self._notified, self._notice)
        else:
            self._await_readiness()

    def _await_readiness(self) -> None:
        loop, settings = self._guard.loop, self._readiness
        if settings.get("check"):
            self._probe(CHECK, settings["interval"], _CHECK_TIMEOUT, 0.0, self._checked)
        else:
            self._timers.append(loop.later(settings.get("grace") or 0.0, self._reached))

    def end(self) -> None:
        """The service is gone, or about to."""
        was, self.ready = self.ready, False
        self._leave_report()
        if was:
            self._guard.publish()
        for probe in self._probes:
            probe.stop()
        for timer in self._timers:
            timer.cancel()
        self._probes, self._timers = [], []
        for descriptor in (self._notified, self._beating):
            if descriptor >= 0:
                # One that ends before it was ready was not listened to in every way.
                if self._guard.loop.watches(descriptor):
                    self._guard.loop.forget(descriptor)
                os.close(descriptor)
        for descriptor in self._theirs:
            os.close(descriptor)
        self._notified = self._beating = -1
        self._theirs = []

    def suspend(self) -> None:
        """The service is being paused: nothing is asked of it, and its silence counts for nothing."""
        for probe in self._probes:
            probe.stop()
        for timer in self._timers:
            timer.cancel()
        self._probes, self._timers = [], []

    def resume(self) -> None:
        """The service goes on: what was begun begins anew."""
        if self.ready:
            self._look_after()
        elif self._arriving < 0 and self._readiness.get("notification_fd") is None:
            self._await_readiness()

    def watch(self, pid: int, exited: Exited, _dying: Callable[[], None] | None = None) -> None:
        """Have *exited* called when the child *pid* has ended."""
        self._guard.children[pid] = exited

    def _arrive(self, _events: int) -> None:
        """Hear of a service that goes to the background: not before it is there it can be ready."""
        tree = self._guard.tree
        more = tree is not None and tree.heed()
        if tree is None or tree.settled or not more:
            self._leave_report()
        if tree is not None and tree.settled:
            self.begin()

    def _leave_report(self) -> None:
        if self._arriving >= 0:
            self._guard.loop.forget(self._arriving)
            self._arriving = -1

    # -- readiness

    def _notice(self, _events: int) -> None:
        try:
            data = os.read(self._notified, 4096)
        except BlockingIOError:
            return
        if b"\n" in data:
            self._reached()
        if not data or b"\n" in data:
            # Closed without a word: it will not say anything any more.
            self._guard.loop.forget(self._notified)
            os.close(self._notified)
            self._notified = -1

    def _checked(self, good: bool) -> None:
        if good:
            self._probes.pop().stop()
            self._reached()

    def _reached(self) -> None:
        self.ready = True
        self._guard.ready()
        if self._beating >= 0 and self._health is not None:
            self._guard.loop.watch(self._beating, self._beat)
        self._look_after()

    def _look_after(self) -> None:
        guard, health = self._guard, self._health
        if health is None:
            return
        if self._beating >= 0:
            self._timers.append(guard.loop.later(health["interval"], self._look))
        else:
            self._probe(HEALTH, health["interval"], health["timeout"], health["interval"], self._examined)

    # -- health

    def _beat(self, _events: int) -> None:
        try:
            self._heard = bool(os.read(self._beating, 65536)) or self._heard
        except BlockingIOError:
            return

    def _look(self) -> None:
        heard, self._heard = self._heard, False
        self._timers = [self._guard.loop.later((self._health or {})["interval"], self._look)]
        self._examined(heard)

    def _examined(self, good: bool) -> None:
        self._failures = 0 if good else self._failures + 1
        if self._failures == (self._health or {})["failures"]:
            self._guard.unhealthy(self._failures)

    # -- small things

    def _pipe(self) -> tuple[int, int]:
        ours, theirs = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(theirs, True)
        numbers = (self._readiness.get("notification_fd"), (self._health or {}).get("heartbeat_fd"))
        try:
            lifted = move(theirs, max(number + 1 for number in numbers if number is not None))
        except BaseException:
            os.close(ours)
            raise
        self._theirs.append(lifted)
        return ours, lifted

    def _probe(
        self, program: str, interval: float, timeout: float, delay: float, verdict: Callable[[bool], None]
    ) -> None:
        # Only here: a guard whose service has no check does without.
        from ..._supervise._embedded.probe import Probe
        from ..._supervise._embedded.spawn import Start

        def make() -> Start:
            start = Start(program, os.getcwd(), dict(self._guard.command.environment))
            start.state = self._guard.command.state
            return start

        probe = Probe(self._guard.loop, self, make, interval, timeout, verdict)  # type: ignore[arg-type]
        self._probes.append(probe)
        probe.begin(delay)
