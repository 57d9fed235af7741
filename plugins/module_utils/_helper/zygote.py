# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who forks the workers: a small process below the helper, which does nothing else. PRIVATE to the collection.

A fork has both sides copy each page that either of them touches next, which in the helper itself took a good part of the
calls that follow. So the helper forks once, when the first worker is needed, and that child, the zygote, forks all workers
from then on (see `nursery`); it also is the one that loads what only workers need, and it never sees what a caller sends.

The workers are the helper's own children all the same (CLONE_PARENT): it watches, kills and reaps them, and they die with
it. So the zygote is of no importance: if it is killed, those that it has forked go on, and the next worker has another one.
Where that dies too before it has forked, the helper forks that worker by itself.
"""

from __future__ import annotations

import errno
import marshal
import os
import sys

from .._lean import signal
from .._varlink import sockets
from . import audit
from .agreed import ANY, POOLED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .._supervise._embedded.children import Children
    from .._supervise._embedded.loop import Loop, Timer
    from .operations import Operation
    from .secured import Tenure

#: Number of clone(2), where it is known; elsewhere the helper forks by itself.
CLONE = {"x86_64": 56, "aarch64": 220, "riscv64": 220, "ppc64le": 120}
#: Seconds that it may take to fork, and to be there at all. One that takes longer gets killed. Only who needs a new process
#: waits for it.
PATIENCE, BIRTH = 1.0, 10.0
#: How often another one is tried before the helper forks by itself.
_TRIES = 2
#: What its last answer begins with when it fails, and the longest answer, in bytes.
FAILURE, _ANSWER = b"!", 512
#: Signals that the helper handles.
_HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


class Born:
    """A worker on its way. pid: 0 until it is there, minus an error number where there is none; reason: why that is so."""

    __slots__ = ("control", "done", "outputs", "pid", "reason")

    def __init__(self, control: sockets.Socket, outputs: list[int], done: Callable[[Born], None]) -> None:
        #: Our ends: of its control socket, and of the pipes that it writes its outputs to.
        self.control = control
        self.outputs = outputs
        self.pid = 0
        self.reason = ""
        #: Called when it is there, or is not going to be.
        self.done = done

    def close(self) -> None:
        """Let go of it: a worker whose control socket is closed before it had work goes."""
        self.control.close()
        for one in self.outputs:
            os.close(one)

    def arrive(self, pid: int, reason: str = "") -> None:
        """Note what has become of it."""
        self.pid = pid
        if pid < 0:
            self.reason = reason or os.strerror(-pid)
            self.close()
        self.done(self)


class Zygote:
    """Gives workers. Nothing is there before the first one, and nothing here waits for one."""

    def __init__(self, loop: Loop, family: Children, operations: dict[str, Operation]) -> None:
        self._loop = loop
        self._family = family
        self._operations = operations
        self._pid = 0
        self._end: sockets.Socket | None = None
        #: Those that were asked for, in the order in which they come, and when the first of them is late.
        self._expected: list[Born] = []
        self._late: Timer | None = None
        #: Whether it has forked anybody, and whether it is to do no more than that: one before it has kept us waiting.
        self._answered = self._plain = False
        self._alone = sys.maxsize < 2**32 or os.uname().machine not in CLONE
        #: How many were lost.
        self._lost = 0

    def give(
        self, name: str, done: Callable[[Born], None], kind: str = ANY, tenure: Tenure | None = None, tries: int = 0
    ) -> None:
        """Have *done* called with a worker for the operation *name*, for its class, or for any call that will probably be one of it.

        It may be called at once, and with one that is not going to be there. kind: which of these, see `agreed`; tenure: the lease
        below whose holder the worker is to be. A zygote that turns out to be dead, or does not answer, is replaced, and done
        without for once if that one is no better: nobody's call fails by it.
        """

        def arrived(born: Born) -> None:
            if born.pid == -errno.EPIPE and tries < _TRIES:
                self._loop.soon(lambda: self.give(name, done, kind, tenure, tries + 1))
            else:
                done(born)

        self._ask(name, arrived, kind, tenure, tries == _TRIES)

    def _ask(self, name: str, done: Callable[[Born], None], kind: str, tenure: Tenure | None, alone: bool) -> None:
        """Ask for a worker. alone: whether the helper is to fork it by itself."""
        alone = alone or self._alone
        outputs: list[int] = []
        passed: list[int] = []
        pid, reason = 0, ""
        ours, theirs = sockets.pair()
        born = Born(ours, outputs, done)
        try:
            if self._end is None and not alone:
                self._start()
            for _number in range(0 if kind == POOLED else 2):
                read, write = os.pipe2(os.O_CLOEXEC)
                outputs.append(read)
                passed.append(write)
            for one in (ours.fileno(), *outputs):
                os.set_blocking(one, False)
            # Seen from another pid namespace, a parent outside of it has the number 0.
            parent = os.getpid() if tenure is None else 0
            work = marshal.dumps((kind, name, parent, None if tenure is None else tenure.environment))
            descriptors = [theirs.fileno(), *passed] + ([] if tenure is None else [tenure.namespace])
            if alone or self._end is None:
                pid, reason = self._fork_here(work, descriptors)
            else:
                try:
                    sockets.send(self._end, work, descriptors)
                    self._expect(born)
                except OSError:
                    pid = -errno.EPIPE
        except OSError as error:
            pid = -(error.errno or errno.EIO)
        finally:
            theirs.close()
            for one in passed:
                os.close(one)
        if pid == -errno.EPIPE:
            self._lose("it takes no work")
        if pid:
            born.arrive(pid, reason)

    def _hear(self) -> bool:
        """Take an answer; says whether there was one."""
        if self._end is None:
            return False
        answer = b""
        for _try in range(2):
            try:
                answer = self._end.recv(_ANSWER)
                break
            except BlockingIOError:
                return False
            except OSError:
                continue  # It is dead, with work that it had not taken. That is told first, and then what it had said before.
        if answer[:1] == FAILURE:
            self._lose(answer[1:].decode("utf-8", "replace"))
        elif answer and self._expected:
            self._answered = True
            self._arrived(int(answer))
        else:
            self._lose("it was killed")
        return True

    def _heard(self) -> None:
        self._hear()

    def _start(self) -> None:
        ours, theirs = sockets.pair()
        parent = os.getpid()

        def live() -> None:
            try:
                from . import nursery
            except BaseException as error:
                tell(theirs.fileno(), error)
                raise
            nursery.serve(theirs.fileno(), self._operations, parent, not self._plain)

        try:
            pid = fork(live)
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        ours.setblocking(False)
        self._answered = False
        self._pid, self._end = pid, ours
        self._loop.watch(ours.fileno(), lambda _events: self._heard())
        self._family.watch(pid, lambda _exit: self._died(pid))

    def _died(self, pid: int) -> None:
        if pid == self._pid:
            self._pid = 0
            # What it had said before counts.
            while self._end is not None and self._hear():
                pass
            if self._end is not None:
                self._lose("it was killed")

    def _lose(self, reason: str) -> None:
        """Do without it from now on; what it was asked for does not come."""
        pid, self._pid = self._pid, 0
        if self._end is not None:
            self._loop.forget(self._end.fileno())
            self._end.close()
            self._end = None
        if pid:
            os.kill(pid, signal.SIGKILL)
        self._lost += 1
        audit.record("zygote", outcome="lost", message=reason, lost=self._lost, asked=len(self._expected))
        expected, self._expected = self._expected, []
        self._expectation()
        for born in expected:
            born.arrive(-errno.EPIPE, f"the zygote: {reason}")

    def _expect(self, born: Born) -> None:
        self._expected.append(born)
        self._expectation()

    def _arrived(self, pid: int) -> None:
        born = self._expected.pop(0)
        self._expectation()
        born.arrive(pid)

    def _expectation(self) -> None:
        """Have the first of those that are expected be late in time; to be called when there is another first one, or none."""
        self._family.expected = len(self._expected)
        if self._late is not None:
            self._late.cancel()
            self._late = None
        if self._expected:
            self._late = self._loop.later(PATIENCE if self._answered else BIRTH, self._give_up)

    def _give_up(self) -> None:
        self._late = None
        self._plain = True
        self._lose("it does not answer")

    def _fork_here(self, work: bytes, descriptors: list[int]) -> tuple[int, str]:
        """Fork a worker; gives its pid, or minus an error number and why. Raises OSError."""
        try:
            from . import nursery
        except Exception as error:
            return -errno.EIO, f"{type(error).__name__}: {error}"
        return nursery.begin(work, descriptors, self._operations, fork), ""


def tell(descriptor: int, error: BaseException) -> None:
    """Tell the helper why there is no zygote any more."""
    try:
        os.write(descriptor, FAILURE + f"{type(error).__name__}: {error}".encode("utf-8", "replace")[: _ANSWER - 1])
    except OSError:
        pass


def fork(live: Callable[[], None]) -> int:
    """Start a child that lives so and never returns; gives its pid. Raises OSError."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
    try:
        pid = os.fork()
        if pid == 0:
            try:
                live()
                os._exit(0)
            finally:
                os._exit(111)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return pid
