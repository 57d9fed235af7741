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
import select
import signal
import sys
import time

from .._varlink import sockets
from .agreed import ANY, POOLED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .._supervise._embedded.children import Children
    from .._supervise._embedded.loop import Loop
    from .operations import Operation
    from .secured import Tenure

#: Number of clone(2), where it is known; elsewhere the helper forks by itself.
CLONE = {"x86_64": 56, "aarch64": 220, "riscv64": 220, "ppc64le": 120}
#: Seconds that it may take to fork, while the helper waits, and to be there at all. One that takes longer gets killed.
PATIENCE, BIRTH = 2.0, 10.0
#: Signals that the helper handles.
_HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


class Born:
    """A worker on its way. pid: 0 until it is there, minus an error number where there is none."""

    __slots__ = ("control", "done", "outputs", "pid")

    def __init__(self, control: sockets.Socket, outputs: list[int], done: Callable[[Born], None] | None) -> None:
        #: Our ends: of its control socket, and of the pipes that it writes its outputs to.
        self.control = control
        self.outputs = outputs
        self.pid = 0
        #: Called when it is there, or is not going to be.
        self.done = done

    def close(self) -> None:
        """Let go of it: a worker whose control socket is closed before it had work goes."""
        self.control.close()
        for one in self.outputs:
            os.close(one)

    def arrive(self, pid: int) -> None:
        """Note what has become of it."""
        self.pid = pid
        if pid < 0:
            self.close()
        done, self.done = self.done, None
        if done is not None:
            done(self)


class Zygote:
    """Gives workers. Nothing is there before the first one."""

    def __init__(self, loop: Loop, family: Children, operations: dict[str, Operation]) -> None:
        self._loop = loop
        self._family = family
        self._operations = operations
        self._pid = 0
        self._end: sockets.Socket | None = None
        #: Those that were asked for, in the order in which they come.
        self._expected: list[Born] = []
        #: Whether it has forked anybody, and whether it is to do no more than that: one before it has kept us waiting.
        self._answered = self._plain = False
        self._alone = sys.maxsize < 2**32 or os.uname().machine not in CLONE

    def fork(self, name: str, kind: str = ANY, tenure: Tenure | None = None) -> Born:
        """Give a worker for the operation *name*, for its class, or for any call that will probably be one of it. Raises OSError.

        kind: which of these, see `agreed`; tenure: the lease below whose holder it is to be. A zygote that turns out to be dead
        is replaced, and done without for once if that dies as well: nobody's call fails by it.
        """
        for alone in (False, False, True):
            born = self.ask(name, None, kind, tenure, alone)
            deadline = time.monotonic() + (PATIENCE if self._answered else BIRTH)
            while not born.pid:
                self._wait(max(deadline - time.monotonic(), 0.0))
            if born.pid != -errno.EPIPE:
                break
        if born.pid > 0:
            return born
        raise OSError(-born.pid, os.strerror(-born.pid))

    def ask(
        self,
        name: str,
        done: Callable[[Born], None] | None,
        kind: str = ANY,
        tenure: Tenure | None = None,
        alone: bool = False,
    ) -> Born:
        """Ask for a worker, as `fork` does, without waiting: *done* is called with it. Raises OSError.

        alone: whether the helper is to fork it by itself if there is no zygote.
        """
        if self._end is None and not (alone or self._alone):
            self._start()
        outputs: list[int] = []
        passed: list[int] = []
        ours, theirs = sockets.pair()
        born = Born(ours, outputs, done)
        try:
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
            self._expect(born)
            if self._end is None:
                self._fork_here(work, descriptors)
            else:
                try:
                    sockets.send(self._end, work, descriptors)
                except OSError:
                    self._lose()
        except BaseException:
            if born in self._expected:
                self._expected.remove(born)
            born.close()
            raise
        finally:
            theirs.close()
            for one in passed:
                os.close(one)
        return born

    def _wait(self, seconds: float) -> None:
        """Take the next answer, for which we wait so long and no longer."""
        if self._end is not None:
            waiting = select.poll()
            waiting.register(self._end, select.POLLIN)
            if waiting.poll(int(seconds * 1000)):
                self._hear()
                return
            self._plain = True
        self._lose()

    def _hear(self) -> None:
        if self._end is None:
            return
        try:
            answer = self._end.recv(64)
        except BlockingIOError:
            return
        except OSError:
            answer = b""
        if answer and self._expected:
            self._answered = True
            self._arrived(int(answer))
        else:
            self._lose()

    def _start(self) -> None:
        ours, theirs = sockets.pair()
        parent = os.getpid()

        def live() -> None:
            from . import nursery

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
        self._loop.watch(ours.fileno(), lambda _events: self._hear())
        self._family.watch(pid, lambda _exit: self._died(pid))

    def _died(self, pid: int) -> None:
        if pid == self._pid:
            self._pid = 0
            self._lose()

    def _lose(self) -> None:
        """Do without it from now on; what it was asked for does not come."""
        if self._end is not None:
            self._loop.forget(self._end.fileno())
            self._end.close()
            self._end = None
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            self._pid = 0
        expected, self._expected = self._expected, []
        self._family.expected = 0
        for born in expected:
            born.arrive(-errno.EPIPE)

    def _expect(self, born: Born) -> None:
        self._expected.append(born)
        self._family.expected = len(self._expected)

    def _arrived(self, pid: int) -> None:
        born = self._expected.pop(0)
        self._family.expected = len(self._expected)
        born.arrive(pid)

    def _fork_here(self, work: bytes, descriptors: list[int]) -> None:
        from . import nursery

        pid = nursery.begin(work, descriptors, self._operations, fork)
        self._arrived(pid)


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
