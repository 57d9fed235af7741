# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Find out when a started service is ready, and whether it stays healthy. PRIVATE to the collection."""

from __future__ import annotations

import os

from .probe import Probe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .children import Children
    from .loop import Loop, Timer
    from .service import Service
    from .spawn import Start

#: How long one run of `check` may take, in seconds.
CHECK_TIMEOUT = 10.0


class Readiness:
    """Waits for one start of a service to become ready.

    In order of strength: a newline on the notification FIFO (*descriptor*, which is closed afterwards), `check` ending
    with 0, or having lived for the time of grace. *ready* is called once, *late* when it takes too long (and waiting
    goes on).
    """

    __slots__ = ("_descriptor", "_late", "_one", "_probe", "_ready", "_timer")

    def __init__(self, one: Service, descriptor: int, ready: Callable[[], None], late: Callable[[], None]) -> None:
        self._one = one
        self._descriptor = descriptor
        self._ready = ready
        self._late = late
        self._probe: Probe | None = None
        self._timer: Timer | None = None

    def begin(self) -> None:
        """Begin to wait."""
        one, host = self._one, self._one.host
        if self._descriptor >= 0:
            host.loop.watch(self._descriptor, self._notified)
        elif one.set.ready_check:
            self._probe = Probe(
                host.loop,
                host.children,
                lambda: one.prepare("./check", []),
                one.set.ready_interval,
                CHECK_TIMEOUT,
                self._checked,
            )
            self._probe.begin(0.0)
        else:
            self._timer = host.loop.later(max(one.set.grace - one.lived, 0.0), self._reached)
            return
        if one.set.ready_timeout:
            self._timer = host.loop.later(one.set.ready_timeout, self._late)

    def stop(self) -> None:
        """Wait no more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._probe is not None:
            self._probe.stop()
        if self._descriptor >= 0:
            self._one.host.close_watched(self._descriptor)
            self._descriptor = -1

    def _notified(self, _events: int) -> None:
        try:
            data = os.read(self._descriptor, 4096)
        except BlockingIOError:
            return
        if b"\n" in data:
            self._reached()

    def _checked(self, good: bool) -> None:
        if good:
            self._reached()

    def _reached(self) -> None:
        self.stop()
        self._ready()


class Heartbeat:
    """Listens to the heartbeat of a service on *descriptor*; *verdict* is told every interval whether something came."""

    __slots__ = ("_descriptor", "_heard", "_interval", "_loop", "_timer", "_verdict")

    def __init__(self, loop: Loop, descriptor: int, interval: float, verdict: Callable[[bool], None]) -> None:
        self._loop = loop
        self._descriptor = descriptor
        self._interval = interval
        self._verdict = verdict
        self._heard = False
        self._timer: Timer | None = None

    def begin(self, delay: float) -> None:
        """Begin to listen; silence counts from now on."""
        self._loop.watch(self._descriptor, self._beat)
        self._timer = self._loop.later(delay, self._look)

    def stop(self) -> None:
        """Listen no more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._descriptor >= 0:
            self._loop.forget(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def _beat(self, _events: int) -> None:
        try:
            os.read(self._descriptor, 65536)
        except BlockingIOError:
            return
        self._heard = True

    def _look(self) -> None:
        heard, self._heard = self._heard, False
        self._timer = self._loop.later(self._interval, self._look)
        self._verdict(heard)


class Health:
    """Looks after a running service, by its `health` program (what *make* gives) or its heartbeat.

    settings: interval, timeout and failures. descriptor: of the heartbeat, closed afterwards, or -1. *unhealthy* is called
    after so many failures in a row.
    """

    __slots__ = ("_failures", "_limit", "_probe", "_unhealthy")

    def __init__(
        self,
        loop: Loop,
        children: Children,
        settings: dict[str, float],
        make: Callable[[], Start],
        descriptor: int,
        unhealthy: Callable[[int], None],
    ) -> None:
        self._failures = 0
        self._limit = settings["failures"]
        self._unhealthy = unhealthy
        self._probe: Probe | Heartbeat
        if descriptor >= 0:
            self._probe = Heartbeat(loop, descriptor, settings["interval"], self._examined)
        else:
            self._probe = Probe(loop, children, make, settings["interval"], settings["timeout"], self._examined)
        self._probe.begin(settings["interval"])

    def stop(self) -> None:
        """Ask no more."""
        self._probe.stop()

    def _examined(self, good: bool) -> None:
        self._failures = 0 if good else self._failures + 1
        if self._failures >= self._limit:
            self._unhealthy(self._failures)
