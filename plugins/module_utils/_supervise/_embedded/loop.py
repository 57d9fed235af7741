# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One event loop: descriptors, timers and signals; asleep when there is nothing to do. PRIVATE to the collection."""

from __future__ import annotations

import os
import select
import time
from _heapq import heappop, heappush

from ..._lean import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

READ = select.EPOLLIN
WRITE = select.EPOLLOUT

#: Seconds of the longest sleep: epoll counts milliseconds in 31 bits, which are over after 24 days. A job may come once a month.
LONGEST = 20 * 86400.0

#: Seconds for which who yields the processor is without it at most if nobody else has much to do, and how many times as long
#: as it was we just sleep if it was longer. Some kernels let others have their whole turn then, of 4 ms, whatever their priority;
#: so no more than a hundredth of the time is lost to that.
YIELDED, REST = 500e-6, 100


class Turns:
    """Looks again and again instead of sleeping, while that keeps nobody from working and so does not make us wait for him."""

    __slots__ = ("_rest", "_until")

    def __init__(self) -> None:
        #: Until when we look, 0 for not at all, and until when we do without that.
        self._until = 0.0
        self._rest = 0.0

    def begin(self, seconds: float) -> None:
        """Look for so long from now on, 0 for no longer."""
        now = time.monotonic() if seconds else 0.0
        self._until = now + seconds if now >= self._rest else 0.0

    def take(self) -> bool:
        """Let others have the processor for a moment; says whether it is time to look, and not to sleep."""
        if not self._until:
            return False
        now = time.monotonic()
        if now >= self._until:
            self._until = 0.0
            return False
        os.sched_yield()
        away = time.monotonic() - now
        if away > YIELDED:
            self._until, self._rest = 0.0, now + REST * away
        return True


class Timer:
    """Something to be called later, once. `cancel` may be called at any time, also afterwards."""

    __slots__ = ("callback", "when")

    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.when = when
        self.callback: Callable[[], None] | None = callback

    def __lt__(self, other: Timer) -> bool:
        return self.when < other.when

    def cancel(self) -> None:
        """See to it that nothing is called."""
        self.callback = None


class Loop:
    """The loop. Callbacks must not block; whatever they raise ends the program, whose start-up is its recovery."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callable[[int], None]] = {}
        self._timers: list[Timer] = []
        self._signals: dict[int, Callable[[], None]] = {}
        self._soon: list[Callable[[], None]] = []
        self._awake = Turns()
        self.running = False
        wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._wake = wake_read
        self.watch(wake_read, self._signalled)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)

    def watch(self, descriptor: int, callback: Callable[[int], None], events: int = READ) -> None:
        """Call *callback* with the events whenever *descriptor* is ready."""
        self._epoll.register(descriptor, events)
        self._callbacks[descriptor] = callback

    def change(self, descriptor: int, events: int) -> None:
        """Wait for other *events* of a watched descriptor."""
        self._epoll.modify(descriptor, events)

    def watches(self, descriptor: int) -> bool:
        """Say whether *descriptor* is watched."""
        return descriptor in self._callbacks

    def forget(self, descriptor: int) -> None:
        """Stop watching *descriptor*; to be called before it is closed."""
        del self._callbacks[descriptor]
        self._epoll.unregister(descriptor)

    def later(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Call *callback* in *delay* seconds."""
        timer = Timer(time.monotonic() + delay, callback)
        heappush(self._timers, timer)
        return timer

    def soon(self, callback: Callable[[], None]) -> None:
        """Call *callback* in the next turn, after the events that wait already."""
        self._soon.append(callback)

    def stay_awake(self, seconds: float) -> None:
        """Look again and again for so long before the next sleep, 0 for no longer: to be woken takes longer than a short wait.

        Whoever else wants the processor gets it meanwhile.
        """
        self._awake.begin(seconds)

    def on_signal(self, number: int, callback: Callable[[], None]) -> None:
        """Call *callback* from the loop after signal *number* has come, at least once for any number of them."""
        self._signals[number] = callback
        signal.signal(number, _ignore)

    def run(self) -> None:
        """Run until `running` is false."""
        self.running = True
        while self.running:
            for descriptor, events in self._epoll.poll(self._timeout()):
                callback = self._callbacks.get(descriptor)
                if callback is not None:
                    callback(events)
            self._expire()
            if self._soon:
                batch, self._soon = self._soon, []
                for call in batch:
                    call()

    def _timeout(self) -> float:
        if self._soon:
            return 0
        if self._awake.take():
            return 0
        timers = self._timers
        while timers and timers[0].callback is None:
            heappop(timers)
        if not timers:
            return -1
        return min(max(timers[0].when - time.monotonic(), 0), LONGEST)

    def _expire(self) -> None:
        timers = self._timers
        if not timers:
            return
        now = time.monotonic()
        while timers and timers[0].when <= now:
            callback = heappop(timers).callback
            if callback is not None:
                callback()

    def _signalled(self, _events: int) -> None:
        try:
            numbers = set(os.read(self._wake, 65536))
        except BlockingIOError:
            return
        # A full pipe may have swallowed a number: dead children are looked for after any signal.
        numbers.add(signal.SIGCHLD)
        # TERM before the CONT that supervisors send with it.
        for number in sorted(numbers):
            callback = self._signals.get(number)
            if callback is not None:
                callback()


def _ignore(_number: int, _frame: object) -> None:
    """Be a handler, so that the wake-up descriptor is written to; the work is done in the loop."""
