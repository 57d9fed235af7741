# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Workers: what runs for a call, in a fresh process or in one of the pool. PRIVATE to the collection.

A process hears by its control socket what it is to do, when the journal knows of it. Until then it waits, with nothing
that could be done; if the helper dies before that, it goes.
"""

from __future__ import annotations

import marshal
import os
import time

from .._lean import signal
from .._supervise._embedded import children, identity
from .._varlink import sockets
from .._varlink.codec import BadMessage, decode
from . import passing
from .agreed import ANNOUNCEMENT, MESSAGE, RESULT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .._supervise._embedded.children import Children, Exit
    from .._supervise._embedded.loop import Loop, Timer
    from .operations import Operation
    from .zygote import Born

#: Bytes of each output that are kept; the rest is read and thrown away.
OUTPUT = 65536
#: Seconds after SIGKILL in which a process is to be gone. One that is not hangs in the kernel.
GRACE = 5.0
#: Longest answer of a child, in bytes.
_ANSWER = RESULT + 16384

EXITED, TIMED_OUT, ABANDONED, CANNOT_START, CANCELLED = "exited", "timeout", "abandoned", "cannot_start", "cancelled"
#: Of functions: it raised an exception; its process died before it had an answer.
RAISED, DIED = "raised", "died"


class Sink:
    """Takes the output of a worker as it comes. gone: it is of no further use."""

    gone = False

    def take(self, number: int, data: bytes) -> None:
        """Take what was written to standard output (0) or error (1); may call `Run.hold`."""


class Run:
    """What one call has of a worker. *ended* is called once, with what `outcome` says then."""

    def __init__(
        self, operation: Operation, values: dict[str, Any], ended: Callable[[Run], None], pid: int, started: int
    ) -> None:
        self.pid = pid
        self.started = started
        self.timeout = operation.timeout
        self.outcome = ""
        #: Exit code, or minus the signal that ended it.
        self.exit = 0
        #: Why it could not start, or what its function raised; the type of that is in `kind`.
        self.message = ""
        self.kind = ""
        #: What its function returned.
        self.result: Any = None
        self.truncated = False
        #: Whether somebody else than us has killed it.
        self.killed = False
        self.began = time.monotonic()
        self.duration = 0.0
        #: Who takes the output as it comes, beside what is kept.
        self.sink: Sink | None = None
        #: The caller's connection and the length of the message in it, when descriptors came with that; and what those
        #: were, by the names of the parameters.
        self.connection: tuple[int, int] | None = None
        self.passed: dict[str, str] = {}
        #: The descriptor that its function returned, and whether it may return one.
        self.descriptor = -1
        self.returns = operation.returns is not None
        self._work = marshal.dumps((operation.name, values))
        self._ended: Callable[[Run], None] | None = ended

    def begin(self) -> None:
        """Let it begin; its time runs from now."""
        raise NotImplementedError

    def kill(self, why: str) -> None:
        """End it, and all of its group, because of *why* (TIMED_OUT or CANCELLED)."""
        raise NotImplementedError

    def hold(self) -> None:
        """Read no output until `read_on`: the program waits when its pipe is full."""

    def read_on(self) -> None:
        """Read what was held back."""

    def output(self, _number: int) -> str:
        """Give what it wrote to standard output (0) or error (1)."""
        return ""

    def send(self, control: sockets.Socket) -> None:
        """Tell a process what it is to do, and give it the descriptors for that."""
        try:
            control.send(self._work)
            if self.connection is not None:
                passing.hand_over(control, *self.connection)
        except OSError:
            pass  # It is dead, and about to be reaped.

    def receive(self, control: sockets.Socket) -> bytes:
        """Give what a process answered, b"" when it has ended. Raises BlockingIOError when it has not answered yet."""
        while True:
            try:
                if self.returns:
                    self.close()
                    answer, self.descriptor = passing.receive(control, _ANSWER)
                else:
                    answer = control.recv(_ANSWER)
            except BlockingIOError:
                raise
            except OSError:
                return b""
            if self.connection is None or not self._note(answer):
                return answer

    def _note(self, answer: bytes) -> bool:
        """Take what a process says of the descriptors that it was passed; False if this is something else."""
        try:
            passed = decode(answer)["passed"]
            self.passed = {str(key)[:64]: str(value)[:256] for key, value in passed.items()}
        except (BadMessage, LookupError, AttributeError):
            return False
        return True

    def close(self) -> None:
        """Let go of the descriptor that was returned."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def take(self, answer: bytes) -> bool:
        """Take what a child says of its work, believed no more than a caller; says whether the child is of further use."""
        try:
            content = decode(answer)
            if "cannot" in content:
                self.outcome, self.message = CANNOT_START, str(content["cannot"])[:4000]
            elif "raised" in content:
                self.kind, self.message = str(content["raised"][0])[:64], str(content["raised"][1])[:MESSAGE]
                self.outcome = RAISED
            else:
                self.result = content["result"]
                if self.returns and self.descriptor < 0:
                    raise LookupError("a descriptor")
                self.outcome = EXITED
            return not content.get("last")
        except (BadMessage, LookupError) as error:
            self.outcome, self.kind, self.message = RAISED, "ValueError", f"no result that can be passed on: {error}"
            return True

    def finish(self) -> None:
        """Tell whoever waits that it has ended."""
        self.duration = time.monotonic() - self.began
        ended, self._ended = self._ended, None
        if ended is not None:
            ended(self)


class Fresh(Run):
    """A process for one call. It is there before the call is, as a spare: `give` says what it is for."""

    def __init__(
        self, loop: Loop, family: Children, born: Born, gone: Callable[[Fresh], None], prepared: str = ""
    ) -> None:
        """Have a process that was forked for a call, and waits for its work; *gone* is called when it has ended.

        prepared: the name of the operation for which it was made ready, if it was for one.
        """
        self._loop = loop
        self._gone = gone
        self._timer: Timer | None = None
        self._output = [bytearray(), bytearray()]
        self._doomed = ""
        self._given = False
        self._held = self._exited = False
        self.outcome = ""
        #: The name of the only operation that it can do, "" if it can do any.
        self.prepared = prepared
        self._is_function = False
        self._listens = False
        self._answered = False
        self._control = born.control
        self._reading = {one: number for number, one in enumerate(born.outputs)}
        for one in born.outputs:
            loop.watch(one, self._reader(one))
        self.pid = born.pid
        self.started = identity.start_time(self.pid)
        family.watch(self.pid, self._died, self._dying)

    def give(self, operation: Operation, values: dict[str, Any], ended: Callable[[Run], None]) -> None:
        """Say what it is to do at `begin`."""
        super().__init__(operation, values, ended, self.pid, self.started)
        self._given = True
        self._is_function = operation.function is not None

    def announce(self) -> None:
        """Have it awake when its call comes, which may be at once."""
        _announce(self._control)

    def begin(self) -> None:
        self.began = time.monotonic()
        self._timer = self._loop.later(self.timeout, lambda: self.kill(TIMED_OUT))
        self.send(self._control)
        if self._is_function:
            # The call ends with the answer: nobody waits for the process, which has nothing more to do.
            self._listens = True
            self._loop.watch(self._control.fileno(), self._heard)

    def _heard(self, _events: int) -> None:
        try:
            answer = self.receive(self._control)
        except BlockingIOError:
            return
        self._listen_no_more()
        if not answer or self._doomed or self.outcome:
            return
        # What it has written came before the answer.
        for descriptor in tuple(self._reading):
            self._read(descriptor)
        if self._timer is not None:
            self._timer.cancel()
        # One that has answered is of no further use, whatever it thinks of that.
        self._timer = self._loop.later(GRACE, self._dying)
        self._answered = True
        self.take(answer)
        self.finish()
        # It waits for this: now it may go.
        self._control.close()

    def _listen_no_more(self) -> None:
        if self._listens:
            self._listens = False
            self._loop.forget(self._control.fileno())

    def kill(self, why: str) -> None:
        if self.outcome or self._doomed:
            return
        self._doomed = why
        self._dying()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.later(GRACE, self._abandon)

    def hold(self) -> None:
        if not self._held:
            self._held = True
            for descriptor in self._reading:
                self._loop.forget(descriptor)

    def read_on(self) -> None:
        self.sink = None if self.sink is not None and self.sink.gone else self.sink
        if self._held:
            self._held = False
            for descriptor in self._reading:
                self._loop.watch(descriptor, self._reader(descriptor))

    def dismiss(self) -> None:
        """Let a spare go that is not needed any more."""
        self._control.shutdown(sockets.SHUT_RDWR)

    def output(self, number: int) -> str:
        return self._output[number].decode("utf-8", "replace")

    def _dying(self) -> None:
        """Kill its group while the leader still keeps the number of it."""
        kill_group(self.pid)

    def _abandon(self) -> None:
        """Wait no longer for a process that even SIGKILL does not end; it is still reaped when it does end."""
        self.outcome = ABANDONED
        self.finish()

    def _died(self, exit_: Exit) -> None:
        self._exited = True
        for descriptor in tuple(self._reading):
            self._read(descriptor)
        self._listen_no_more()
        try:
            answer = self.receive(self._control) if self._given and not self._answered else b""
        except BlockingIOError:
            answer = b""
        if self._timer is not None:
            self._timer.cancel()
        if self.outcome == ABANDONED:
            self.outcome = EXITED
        elif self._given and not self._answered:
            self.exit = -exit_.code if exit_.kind == children.SIGNALLED else exit_.code
            self.killed = not self._doomed and self.exit == -signal.SIGKILL
            if self._doomed:
                self.outcome = self._doomed
            elif answer:
                self.take(answer)
                self.exit = 0
            elif self._is_function:
                self.outcome, self.message = DIED, str(exit_)
            else:
                self.outcome = EXITED
            self.finish()
        # Nobody waits for the rest.
        for descriptor in tuple(self._reading):
            self._close(descriptor)
        self._control.close()
        self._gone(self)

    def _read(self, descriptor: int) -> None:
        """Take in what it wrote; at most so much at a time, so that nobody else waits."""
        buffer = self._output[self._reading[descriptor]]
        for _turn in range(16):
            try:
                data = os.read(descriptor, 65536)
            except BlockingIOError:
                return
            if not data:
                self._close(descriptor)
                return
            room = OUTPUT - len(buffer)
            if len(data) > room:
                self.truncated = True
            buffer += data[:room]
            if self.sink is not None:
                self.sink.take(self._reading[descriptor], data)
                if self._held and not self._exited:
                    return

    def _reader(self, descriptor: int) -> Callable[[int], None]:
        return lambda _events: self._read(descriptor)

    def _close(self, descriptor: int) -> None:
        del self._reading[descriptor]
        if not self._held:
            self._loop.forget(descriptor)
        os.close(descriptor)


class Turn(Run):
    """One call of a function in a process of the pool."""

    def __init__(
        self, pooled: Pooled, operation: Operation, values: dict[str, Any], ended: Callable[[Run], None]
    ) -> None:
        super().__init__(operation, values, ended, pooled.pid, pooled.started)
        self._pooled = pooled

    def begin(self) -> None:
        self.began = time.monotonic()
        self._pooled.begin(self)

    def kill(self, why: str) -> None:
        self._pooled.kill(self, why)

    def end(self, outcome: str, message: str = "") -> None:
        """Have it end without an answer."""
        self.outcome, self.message = outcome, message
        self.finish()


class Pooled:
    """A process that does one call after the other, all with the same privileges.

    idle is called when it has done one, with whether it can do more; gone when the process has ended or is waited for no longer.
    """

    def __init__(
        self,
        loop: Loop,
        family: Children,
        born: Born,
        operation: Operation,
        idle: Callable[[Pooled, bool], None],
        gone: Callable[[Pooled], None],
    ) -> None:
        """Have a process that was forked for the class of *operation*."""
        self._loop = loop
        self._idle = idle
        self._gone = gone
        self._turn: Turn | None = None
        self._hanging: Turn | None = None
        self._doomed = ""
        self._open = True
        self._grace: Timer | None = None
        #: Until when one that was let go has to be gone.
        self._leaving: Timer | None = None
        self.class_ = operation.class_
        #: How many calls it was given, when the present one is out of time, and since when it has none.
        self.calls = 0
        self.deadline = 0.0
        self.since = time.monotonic()
        self._control = born.control
        loop.watch(self._control.fileno(), self._ready)
        self.pid = born.pid
        self.started = identity.start_time(self.pid)
        family.watch(self.pid, self._died, self._dying)

    @property
    def usable(self) -> bool:
        """Say whether it can be given a call."""
        return self._open and not self._doomed and self._turn is None

    @property
    def working(self) -> bool:
        """Say whether it has a call that is not out of time."""
        return self._turn is not None and not self._doomed

    def announce(self) -> None:
        """Have it awake when its next call comes, which may be at once."""
        _announce(self._control)

    def reserve(self, turn: Turn) -> None:
        """Have it for nobody else."""
        self._turn = turn
        self.calls += 1

    def begin(self, turn: Turn) -> None:
        """Do a call."""
        self.deadline = turn.began + turn.timeout
        turn.send(self._control)

    def expired(self) -> None:
        """End a call that is out of time, and the process with it."""
        if self._turn is not None:
            self.kill(self._turn, TIMED_OUT)

    def kill(self, turn: Turn, why: str) -> None:
        """End the process if *turn* is what it does."""
        if turn is not self._turn or self._doomed:
            return
        self._doomed = why
        self._dying()
        self._grace = self._loop.later(GRACE, self._abandon)

    def dismiss(self) -> None:
        """Let it go: its calls were enough, or it has had none for long."""
        if self._open:
            self._open = False
            self._loop.forget(self._control.fileno())
            self._control.close()
            self._leaving = self._loop.later(GRACE, self._dying)

    def _dying(self) -> None:
        kill_group(self.pid)

    def _abandon(self) -> None:
        self._hanging, self._turn = self._turn, None
        self._gone(self)
        if self._hanging is not None:
            self._hanging.end(ABANDONED)

    def _ready(self, _events: int) -> None:
        turn = self._turn
        try:
            answer = turn.receive(self._control) if turn is not None else self._control.recv(_ANSWER)
        except BlockingIOError:
            return
        except OSError:
            answer = b""
        if not answer:
            self.dismiss()
            return
        if turn is None or self._doomed:
            return
        self._turn = None
        self.since = time.monotonic()
        useful = turn.take(answer)
        # First, so that what begins when the call has ended finds it.
        self._idle(self, useful)
        turn.finish()

    def _died(self, exit_: Exit) -> None:
        self.dismiss()
        for timer in (self._grace, self._leaving):
            if timer is not None:
                timer.cancel()
        if self._hanging is not None:
            self._hanging.outcome = EXITED
        turn, self._turn = self._turn, None
        self._gone(self)
        if turn is not None:
            turn.end(self._doomed or DIED, "" if self._doomed else str(exit_))


def _announce(control: sockets.Socket) -> None:
    try:
        control.send(ANNOUNCEMENT)
    except OSError:
        pass  # It is dead, or does not read.


def kill_group(pid: int) -> None:
    """Kill a process and its group; nothing happens when it is not there."""
    for kill in (os.killpg, os.kill):
        try:
            kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # Not the leader of a group yet.
