# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The keeper of a job: its resident parent, which nobody's restart touches. PRIVATE to the collection.

It is forked twice and has a session of its own, so it belongs to nobody's tree. It holds the job to its time, kills all of
it when asked to, and writes down how it ended: an exit code can be read by a parent alone. It is a copy of the process
that began the job, with whose memory it shares what neither writes to, and holds that runtime's version in use.
"""

from __future__ import annotations

import os
import signal
import sys
import time

from .._supervise._embedded import children, identity
from .._supervise._embedded.loop import Loop
from .._varlink import sockets
from .._varlink.codec import BadMessage, decode
from . import store, tree
from .progress import Progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .._supervise._embedded.children import Exit
    from .._supervise._embedded.loop import Timer
    from .store import Job

#: Bytes of each output that are kept, the last ones.
TAIL = 65536
#: Seconds from SIGTERM to SIGKILL of a cancelled job, and after which one that is still there hangs in the kernel.
MERCY, GRACE = 5.0, 5.0
#: Seconds between two looks at what is to die, between two writings of the status, and between two tries at the result.
LOOK, STATUS, AGAIN = 0.02, 0.5, 1.0
#: How often the result is tried to be written.
TRIES = 60
#: Longest answer of the worker, in bytes.
_ANSWER = 131072

TIMEOUT, CANNOT_START, RAISED, DIED, ABANDONED = "timeout", "cannot_start", "raised", "died", "abandoned"


class Task:
    """What is to be run.

    child: called in the worker's process with the descriptors of its two outputs, its control socket and its progress;
    it hears on the control socket what there is to do (*work*), answers there if it is no program, and does not return.
    timeout: seconds until all of it is killed. long_lived: what it leaves running when it ends is meant to go on.
    """

    __slots__ = ("child", "long_lived", "timeout", "work")

    def __init__(
        self, child: Callable[[int, int, int, int], None], work: bytes, timeout: float, long_lived: bool
    ) -> None:
        self.child = child
        self.work = work
        self.timeout = timeout
        self.long_lived = long_lived


def start(job: Job, lock: int, task: Task) -> tuple[int, int]:
    """Have *job*, whose lock is held, kept. Raises OSError when nothing was begun.

    Gives the pid of a process to be reaped at once, and a descriptor on which `+` comes when the job has begun, or a text
    why it could not, and then the end of file. The lock is the keeper's from now on; the caller's descriptor is closed.
    """
    ours, theirs = os.pipe2(os.O_CLOEXEC)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD))
    try:
        pid = os.fork()
    except OSError:
        os.close(ours)
        raise
    else:
        if pid == 0:
            try:
                os.setsid()
                if os.fork() == 0:
                    _main(job, lock, task, theirs)
            finally:
                os._exit(0)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.close(theirs)
        os.close(lock)
    return pid, ours


def cancel(job: Job) -> bool:
    """Ask the keeper of a job to end it; False if it has none."""
    pid, started = job.keeper()
    try:
        descriptor = os.pidfd_open(pid) if pid else -1
    except OSError:
        descriptor = -1
    if descriptor < 0:
        return False
    try:
        # The pid may have been somebody else's already when it was opened.
        if not identity.alive(pid, started):
            return False
        signal.pidfd_send_signal(descriptor, signal.SIGTERM)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def _main(job: Job, lock: int, task: Task, report: int) -> None:
    """Be the keeper; the signals of the process that we are a copy of are blocked still."""
    signal.set_wakeup_fd(-1)
    os.chdir("/")
    _descriptors({lock, report, getattr(sys.modules.get("__main__"), "IN_USE", -1)})
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with open("/proc/self/comm", "w", encoding="ascii") as file:
        file.write("holdfast-job")
    try:
        tree.adopt_orphans()
        keeper = Keeper(job, task)
    except OSError as error:
        os.write(report, f"{error.filename or job.folder}: {error.strerror}".encode()[:4000])
        return
    try:
        os.write(report, b"+")
    except OSError:
        pass  # Whoever asked for it is dead. It has begun, and goes on.
    os.close(report)
    keeper.run()


def _descriptors(kept: set[int]) -> None:
    """Have nothing open but the null device and *kept*."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for number in (0, 1, 2):
        os.dup2(null, number)
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) not in kept:
            try:
                os.close(int(name))
            except OSError:
                pass


class Keeper:
    """Runs a task to its end. Raises OSError when it could not be begun; nothing was done then."""

    def __init__(self, job: Job, task: Task) -> None:
        self._job = job
        self._task = task
        self._loop = Loop()
        self._family = children.Children(self._loop)
        self._loop.on_signal(signal.SIGCHLD, self._family.reap)
        self._loop.on_signal(signal.SIGTERM, lambda: self._end(store.CANCELLED))
        self._tails = [bytearray(), bytearray()]
        self._truncated = False
        self._progress = Progress()
        self._answer = b""
        self._takers: dict[int, Callable[[bytes], None]] = {}
        self._why = ""
        self._exit: Exit | None = None
        self._timer: Timer | None = None
        self._writing: Timer | None = None
        pipes = [os.pipe2(os.O_CLOEXEC) for _number in range(3)]
        control, theirs = sockets.pair()
        self._worker = os.fork()
        if self._worker == 0:
            try:
                task.child(pipes[0][1], pipes[1][1], theirs.fileno(), pipes[2][1])
            finally:
                os._exit(111)
        theirs.close()
        for pair in pipes:
            os.close(pair[1])
        self._family.watch(self._worker, self._died)
        try:
            self._began = time.time()
            begun: dict[str, Any] = {"pid": os.getpid(), "started": identity.start_time(os.getpid()), "at": self._began}
            begun.update(boot=identity.boot_id().hex(), worker=self._worker)
            job.sync()
            job.write("begun", begun)
        except OSError:
            os.kill(self._worker, signal.SIGKILL)
            raise
        try:
            os.unlink(f"{job.folder}/parameters.json")
        except FileNotFoundError:
            pass
        # From here on it has begun.
        self._since = time.monotonic()
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        self._control = control
        control.setblocking(False)
        try:
            control.send(task.work)
        except OSError:
            pass  # It has died, and is told of as such.
        self._watch(control.fileno(), self._heard)
        for pair, take in zip(pipes, (self._out, self._err, self._told)):
            os.set_blocking(pair[0], False)
            self._watch(pair[0], take)
        self._timer = self._loop.later(task.timeout, lambda: self._end(TIMEOUT))

    def run(self) -> None:
        """Keep it until it has ended and that is written down."""
        self._loop.run()

    # -- what it says ----------------------------------------------------------------------------------------------

    def _watch(self, descriptor: int, take: Callable[[bytes], None]) -> None:
        self._takers[descriptor] = take
        self._loop.watch(descriptor, lambda _events: self._ready(descriptor))

    def _ready(self, descriptor: int) -> None:
        self._read(descriptor)

    def _read(self, descriptor: int) -> bool:
        """Take what is there; False if there is no more for now."""
        try:
            data = os.read(descriptor, _ANSWER)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._loop.forget(descriptor)
            del self._takers[descriptor]
            return False
        self._takers[descriptor](data)
        return True

    def _out(self, data: bytes) -> None:
        self._keep(0, data)

    def _err(self, data: bytes) -> None:
        self._keep(1, data)

    def _keep(self, number: int, data: bytes) -> None:
        tail = self._tails[number]
        tail += data
        # Not with each piece: what is cut off at the front costs a copy of the rest.
        if len(tail) > 2 * TAIL:
            del tail[:-TAIL]
            self._truncated = True
        self._note()

    def _told(self, data: bytes) -> None:
        if self._progress.take(data):
            self._note()

    def _heard(self, data: bytes) -> None:
        self._answer = data

    def _note(self) -> None:
        """Write the status soon."""
        if self._writing is None:
            self._writing = self._loop.later(STATUS, self._write_status)

    def _write_status(self) -> None:
        self._writing = None
        try:
            self._job.write("status", self._said(), lasting=False)
        except OSError:
            pass  # It is for those who look on; the result matters.

    def _said(self) -> dict[str, Any]:
        texts = [bytes(tail[-TAIL:]).decode("utf-8", "replace") for tail in self._tails]
        truncated = self._truncated or any(len(tail) > TAIL for tail in self._tails)
        said = {"stdout": texts[0], "stderr": texts[1], "truncated": truncated, "progress": self._progress.last}
        return {"began": self._began, **said}

    # -- how it ends -----------------------------------------------------------------------------------------------

    def _end(self, why: str) -> None:
        """End it: a cancelled one is asked first."""
        if self._why or self._exit is not None:
            return
        self._why = why
        if self._timer is not None:
            self._timer.cancel()
        if why == store.CANCELLED:
            for kill in (os.killpg, os.kill):
                try:
                    kill(self._worker, signal.SIGTERM)
                except ProcessLookupError:
                    pass  # Not the leader of a group yet.
            self._timer = self._loop.later(MERCY, self._kill)
        else:
            self._kill()

    def _kill(self) -> None:
        tree.kill_below(os.getpid())
        self._timer = self._loop.later(GRACE, lambda: self._conclude(ABANDONED))

    def _died(self, exit_: Exit) -> None:
        self._exit = exit_
        if self._timer is not None:
            self._timer.cancel()
        if self._task.long_lived and not self._why:
            self._conclude("")
        else:
            self._timer = self._loop.later(GRACE, lambda: self._conclude(ABANDONED))
            self._clear()

    def _clear(self) -> None:
        """Kill what it left, until nothing is left."""
        if tree.kill_below(os.getpid()):
            self._loop.later(LOOK, self._clear)
        else:
            self._conclude("")

    def _conclude(self, hanging: str) -> None:
        if self._timer is None:
            return
        self._timer.cancel()
        self._timer = None
        for descriptor in tuple(self._takers):
            # What it said before it died, and not what somebody else who has the pipe goes on saying.
            for _turn in range(16):
                if not self._read(descriptor):
                    break
        result = {**self._said(), "ended": time.time(), "duration": round(time.monotonic() - self._since, 6)}
        result.update(self._verdict(hanging))
        self._write_result(result, 0)

    def _verdict(self, hanging: str) -> dict[str, Any]:
        """Say how it ended: state, and why if not by itself; exit of a program, result of a function."""
        if hanging:
            return {"state": store.FAILED, "why": ABANDONED, "message": "it hangs in the kernel"}
        if self._why:
            state = store.CANCELLED if self._why == store.CANCELLED else store.FAILED
            return {"state": state, "why": self._why, "message": ""}
        found = self._exit
        code = 0 if found is None else -found.code if found.kind == children.SIGNALLED else found.code
        if not self._answer:
            return {"state": store.DONE if code == 0 else store.FAILED, "why": "", "message": "", "exit": code}
        try:
            answer = decode(self._answer)
        except BadMessage as error:
            return {"state": store.FAILED, "why": RAISED, "kind": "ValueError", "message": str(error)}
        if "cannot" in answer:
            return {"state": store.FAILED, "why": CANNOT_START, "message": str(answer["cannot"])[:4000]}
        if "raised" in answer:
            kind, message = (str(one) for one in answer["raised"])
            return {"state": store.FAILED, "why": RAISED, "kind": kind[:64], "message": message[:4000]}
        return {"state": store.DONE, "why": "", "message": "", "exit": 0, "result": answer.get("result")}

    def _write_result(self, result: dict[str, Any], tries: int) -> None:
        try:
            self._job.write("result", result)
        except OSError:
            if tries < TRIES:
                self._loop.later(AGAIN, lambda: self._write_result(result, tries + 1))
                return
        self._loop.running = False
