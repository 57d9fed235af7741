# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which process does a call: one of the pool, a spare, or a new one. PRIVATE to the collection.

Processes are forked by the zygote, which has loaded all that they need, has its memory frozen for the collector and so shares
it with them. Nothing is there before the first call, and nothing but zygote and one spare long after the last.

A process of the pool belongs to a class: one file of functions, one user, one set of capabilities, filter and limits. It
never holds more than the operations of its class declare.
"""

from __future__ import annotations

import os
import time

from .._supervise._embedded import files, identity
from .agreed import ANY, POOLED, PREPARED
from .worker import Fresh, Pooled, Turn, kill_group
from .zygote import Zygote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .._supervise._embedded.children import Children
    from .._supervise._embedded.loop import Loop, Timer
    from .operations import Operation
    from .secured import Tenure
    from .worker import Run
    from .zygote import Born

#: Processes of one class, and calls that one process does.
OF_CLASS, CALLS = 4, 5000
#: Seconds after which a process takes the place of one that was given a call.
REFILL = 0.008
#: Seconds after which a process that nobody needed goes; one spare stays.
IDLE = 60.0


class Pool:
    """All processes that work, or wait for work. *folder* holds a file for each, named by its pid."""

    def __init__(self, loop: Loop, family: Children, operations: dict[str, Operation], folder: str) -> None:
        self._loop = loop
        self._family = family
        self._zygote = Zygote(loop, family, operations)
        self._folder = folder
        os.makedirs(folder, 0o700, exist_ok=True)
        self._spares: list[Fresh] = []
        self._idle: dict[tuple[object, ...], list[Pooled]] = {}
        self._counts: dict[tuple[object, ...], int] = {}
        self._members: set[Pooled] = set()
        self._alarm: Timer | None = None
        #: How many spares in a row were killed while they waited.
        self._killed = 0
        #: When another spare is asked for, whether one was, for which operation, and what to call if a call has it first.
        self._refilling: Timer | None = None
        self._asked = False
        self._asking = ""
        self._claim: Callable[[Born], None] | None = None
        #: When a single call was the last one, and of what: the next one will probably be like it.
        self._used = 0.0
        self._last: Operation | None = None
        self._stopped = False

    def has_room(self, operation: Operation) -> bool:
        """Say whether a call need not wait for another one of its class."""
        if not operation.pooled:
            return True
        return bool(self._idle.get(operation.class_)) or self._counts.get(operation.class_, 0) < OF_CLASS

    def announce(self, last: Operation) -> None:
        """Wake the process that the next call will be given if it is like the *last* one, if there is one."""
        if not last.pooled:
            # While another one is forked the processors have enough to do.
            spare = None if self._asked else self._find(last)
            if spare is not None:
                spare.announce()
            return
        idle = self._idle.get(last.class_)
        if idle and idle[-1].usable:
            idle[-1].announce()

    def take(self, operation: Operation, values: dict[str, Any], ended: Callable[[Run], None]) -> Run | None:
        """Give a process that is there for a call, which is to be told to begin; None where one has to be forked."""
        if operation.pooled:
            idle = self._idle.get(operation.class_)
            while idle:
                # The one that was used last: its memory is warm, and those that are too many get old.
                found = idle.pop()
                if found.usable:
                    return self._turn(found, operation, values, ended)
            return None
        spare = self._find(operation)
        if spare is None:
            return None
        self._spares.remove(spare)
        self._killed = 0
        spare.give(operation, values, ended)
        self._taken(operation)
        return spare

    def fork(
        self,
        operation: Operation,
        values: dict[str, Any],
        ended: Callable[[Run], None],
        ready: Callable[[Run | None, str], None],
        tenure: Tenure | None = None,
    ) -> None:
        """Have a new process for a call: *ready* is called with it, as `take` gives one, or with None and why there is none.

        It may be called at once. tenure: the lease below whose holder the process is to be, which is closed.
        """

        def born(one: Born) -> None:
            if tenure is not None:
                tenure.close()
            try:
                fresh = self._fresh(one)
            except OSError as error:
                ready(None, one.reason or str(error.strerror))
                return
            fresh.give(operation, values, ended)
            ready(fresh, "")

        if tenure is not None:
            self._zygote.give(operation.name, born, tenure=tenure)
        elif operation.pooled:
            self._fork_pooled(operation, values, ended, ready)
        else:
            if self._asked and self._claim is None and self._asking in ("", operation.name):
                # One is on its way. This call comes first.
                self._claim = born
            else:
                self._zygote.give(operation.name, born)
            self._taken(operation)

    def _taken(self, operation: Operation) -> None:
        """Have another process for the next call, when there is time for that."""
        self._used, self._last = time.monotonic(), operation
        if not self._spares:
            self._refill()
        elif self._refilling is None:
            # Not beside this call, as long as there is another one for the next.
            self._refilling = self._loop.later(REFILL, self._refill)

    def stop(self) -> None:
        """Let go of whoever has no work."""
        self._stopped = True
        for spare in self._spares:
            spare.dismiss()
        self._spares.clear()
        for idle in self._idle.values():
            for pooled in idle:
                pooled.dismiss()
            idle.clear()
        if self._alarm is not None:
            self._alarm.cancel()

    # -- spares ----------------------------------------------------------------------------------------------------

    def _find(self, operation: Operation) -> Fresh | None:
        """Give the spare that was made ready for an operation, or one that can do any."""
        for prepared in (operation.name, ""):
            for spare in self._spares:
                if spare.prepared == prepared:
                    return spare
        return None

    def _missing(self) -> str | None:
        """Give for which operation there is to be another spare, "" for any, None if all are there.

        Two are to be there: one that was made ready for the operation of the last call, if that is possible, and one for any.
        Others go.
        """
        wanted = [self._last.name if self._last is not None and self._last.preparable else "", ""]
        for spare in tuple(self._spares):
            if spare.prepared in wanted:
                wanted.remove(spare.prepared)
            else:
                self._spares.remove(spare)
                spare.dismiss()
        return wanted[0] if wanted else None

    def _fresh(self, born: Born, prepared: str = "") -> Fresh:
        """Have a process that was forked. Raises OSError."""
        if born.pid < 0:
            raise OSError(-born.pid, born.reason)
        fresh = Fresh(self._loop, self._family, born, self._fresh_gone, prepared)
        self._note(fresh.pid, fresh.started)
        return fresh

    def _fresh_gone(self, fresh: Fresh) -> None:
        if fresh in self._spares:
            # Nothing of ours ends one that waits. Whatever does may do so again.
            self._spares.remove(fresh)
            self._killed += 1
        self._forget(fresh.pid)

    def _refill(self) -> None:
        """Ask for another spare, one at a time."""
        if self._refilling is not None:
            self._refilling.cancel()
            self._refilling = None
        if self._stopped or self._asked or self._last is None:
            return
        missing = self._missing()
        if missing is None:
            return
        self._asked, self._asking = True, missing
        kind, name = (PREPARED, missing) if missing else (ANY, self._last.name)
        self._zygote.give(name, lambda born: self._refilled(born, missing), kind)

    def _refilled(self, born: Born, prepared: str) -> None:
        self._asked = False
        claim, self._claim = self._claim, None
        if claim is not None:
            claim(born)
            self._refill()
            return
        try:
            fresh = self._fresh(born, prepared)
        except OSError:
            return  # The next call tries for itself, and says so.
        if self._stopped:
            fresh.dismiss()
            return
        self._spares.append(fresh)
        if self._refilling is None:
            # Between two there is time for calls, and more and more where they are killed before they have one.
            pause = min(REFILL * 2 ** min(self._killed, 16), IDLE)
            self._refilling = self._loop.later(pause, self._refill)
        self._wake_at(time.monotonic() + IDLE)

    # -- pool ------------------------------------------------------------------------------------------------------

    def _turn(self, pooled: Pooled, operation: Operation, values: dict[str, Any], ended: Callable[[Run], None]) -> Turn:
        """Have a process of the pool for a call."""
        turn = Turn(pooled, operation, values, ended)
        pooled.reserve(turn)
        self._wake_at(turn.began + operation.timeout)
        return turn

    def _fork_pooled(
        self,
        operation: Operation,
        values: dict[str, Any],
        ended: Callable[[Run], None],
        ready: Callable[[Run | None, str], None],
    ) -> None:
        class_ = operation.class_

        def born(new: Born) -> None:
            if new.pid < 0:
                self._counts[class_] -= 1
                ready(None, new.reason)
                return
            one = Pooled(self._loop, self._family, new, operation, self._done, self._pooled_gone)
            self._members.add(one)
            try:
                self._note(one.pid, one.started)
            except OSError as error:
                self._leave(one)
                ready(None, str(error.strerror))
                return
            ready(self._turn(one, operation, values, ended), "")

        # It has its place in the class from now on.
        self._counts[class_] = self._counts.get(class_, 0) + 1
        self._zygote.give(operation.name, born, POOLED)

    def _done(self, pooled: Pooled, useful: bool) -> None:
        if self._stopped or not useful or pooled.calls >= CALLS:
            self._leave(pooled)
            pooled.dismiss()
        else:
            self._idle.setdefault(pooled.class_, []).append(pooled)

    def _pooled_gone(self, pooled: Pooled) -> None:
        self._forget(pooled.pid)
        self._leave(pooled)

    def _leave(self, pooled: Pooled) -> None:
        """Count a process no more: another one of its class may take its place."""
        if pooled in self._members:
            self._members.remove(pooled)
            self._counts[pooled.class_] -= 1
            idle = self._idle.get(pooled.class_, [])
            if pooled in idle:
                idle.remove(pooled)

    # -- time ------------------------------------------------------------------------------------------------------

    def _wake_at(self, when: float) -> None:
        """Look after everybody at *when* or before: one timer for all, since one for each call would cost each call."""
        if self._alarm is None or self._alarm.when > when:
            if self._alarm is not None:
                self._alarm.cancel()
            self._alarm = self._loop.later(when - time.monotonic(), self._look)

    def _look(self) -> None:
        self._alarm = None
        now = time.monotonic()
        next_ = []
        for pooled in tuple(self._members):
            if pooled.working:
                if pooled.deadline > now:
                    next_.append(pooled.deadline)
                else:
                    pooled.expired()
            elif pooled.usable:
                if pooled.since + IDLE > now:
                    next_.append(pooled.since + IDLE)
                else:
                    self._leave(pooled)
                    pooled.dismiss()
        if len(self._spares) > 1:
            if self._used + IDLE > now:
                next_.append(self._used + IDLE)
            else:
                while len(self._spares) > 1:
                    self._spares.pop().dismiss()
        if next_:
            self._wake_at(min(next_))

    # -- what is left when the helper dies -------------------------------------------------------------------------

    def _note(self, pid: int, started: int) -> None:
        """Write down a process before it has any work."""
        try:
            files.replace(f"{self._folder}/{pid}", str(started).encode(), 0o600)
        except OSError:
            kill_group(pid)
            raise

    def _forget(self, pid: int) -> None:
        files.remove(f"{self._folder}/{pid}")


def end_leftovers(folder: str) -> list[int]:
    """Kill what an earlier helper left at work; gives the pids of those."""
    killed = []
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    for name in names:
        path = f"{folder}/{name}"
        try:
            with open(path, encoding="ascii") as file:
                started = int(file.read())
        except (OSError, ValueError):
            started = 0
        if name.isdecimal() and started and identity.alive(int(name), started):
            kill_group(int(name))
            killed.append(int(name))
        files.remove(path)
    return killed
