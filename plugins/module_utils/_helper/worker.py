# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Workers: each call runs in a fresh process, with only the privileges that its operation declares. PRIVATE to the collection.

The child prepares itself, then waits for leave to begin, which comes when the journal knows of it. If the helper dies
before that, the child goes without having done anything.
"""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import time

from .._supervise._embedded import children
from . import capabilities, paths
from .operations import untrusted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .._supervise._embedded.children import Children, Exit
    from .._supervise._embedded.loop import Loop, Timer
    from .operations import Operation

#: Bytes of each output that are kept; the rest is read and thrown away.
OUTPUT = 65536
#: Seconds after SIGKILL in which a process is to be gone. One that is not hangs in the kernel.
GRACE = 5.0
#: First descriptor of the files that a worker gets for its path parameters.
_PATHS = 10
#: Descriptors of our own in a worker until it becomes the program.
_COMPLAINT, _LEAVE = 3, 4
_DESCRIPTORS = 1024
#: What a complaint about a parameter, and so about the caller, begins with.
REFUSED = "refused: "
_HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
_DEFAULTS = (signal.SIGPIPE, signal.SIGXFSZ, *_HANDLED)

EXITED, TIMED_OUT, ABANDONED, CANNOT_START, CANCELLED = "exited", "timeout", "abandoned", "cannot_start", "cancelled"


class Work:
    """What a worker is to do. paths: index in argv, parameter, path, and what is declared of it."""

    __slots__ = ("argv", "environment", "operation", "paths")

    def __init__(self, operation: Operation) -> None:
        self.operation = operation
        self.argv: list[str] = []
        self.environment: dict[str, str] = {}
        self.paths: list[tuple[int, str, str, dict[str, Any]]] = []


class Refused(Exception):
    """A path parameter leads elsewhere."""


class Worker:
    """A process at work; *ended* is called once, with what `outcome` says then."""

    def __init__(self, loop: Loop, family: Children, work: Work, ended: Callable[[Worker], None]) -> None:
        """Start a process that waits for `begin`. Raises OSError when there is none."""
        self._loop = loop
        self._ended: Callable[[Worker], None] | None = ended
        self._timer: Timer | None = None
        self.timeout = work.operation.timeout
        self.outcome = ""
        #: Exit code, or minus the signal that ended it.
        self.exit = 0
        #: Why it could not start.
        self.message = ""
        self.truncated = False
        self.began = time.monotonic()
        self.duration = 0.0
        self._output = [bytearray(), bytearray()]
        self._reading: dict[int, int] = {}
        self._doomed = ""
        ends = _pipes(4)
        out, err, complaint, leave = ends[0], ends[1], ends[2], ends[3]
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
        try:
            self.pid = os.fork()
        except OSError:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            for pair in ends:
                os.close(pair[0])
                os.close(pair[1])
            raise
        if self.pid == 0:
            try:
                _descriptors(out[1], err[1], complaint[1], leave[0])
                os.write(_COMPLAINT, _become(work).encode("utf-8", "replace")[:4000])
            finally:
                os._exit(111)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for descriptor in (out[1], err[1], complaint[1], leave[0]):
            os.close(descriptor)
        self._complaint, self._leave = complaint[0], leave[1]
        for number, descriptor in enumerate((out[0], err[0])):
            os.set_blocking(descriptor, False)
            self._reading[descriptor] = number
            loop.watch(descriptor, self._reader(descriptor))
        os.set_blocking(self._complaint, False)
        family.watch(self.pid, self._died, self._dying)

    def begin(self) -> None:
        """Let it begin; its time runs from now."""
        try:
            os.write(self._leave, b"!")
        except OSError:
            pass  # It has failed already, and says why.
        os.close(self._leave)
        self._leave = -1
        self.began = time.monotonic()
        self._timer = self._loop.later(self.timeout, lambda: self.kill(TIMED_OUT))

    def kill(self, why: str) -> None:
        """End it, and all of its group, because of *why* (TIMED_OUT or CANCELLED)."""
        if self.outcome or self._doomed:
            return
        self._doomed = why
        self._dying()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.later(GRACE, self._abandon)

    def output(self, number: int) -> str:
        """Give what it wrote to standard output (0) or error (1)."""
        return self._output[number].decode("utf-8", "replace")

    def _dying(self) -> None:
        """Kill its group while the leader still keeps the number of it."""
        for kill in (os.killpg, os.kill):
            try:
                kill(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # Not the leader of a group yet.

    def _abandon(self) -> None:
        """Wait no longer for a process that even SIGKILL does not end; it is still reaped when it does end."""
        self.outcome = ABANDONED
        self._finish()

    def _died(self, exit_: Exit) -> None:
        if self._leave >= 0:
            os.close(self._leave)
            self._leave = -1
        try:
            self.message = os.read(self._complaint, 4096).decode("utf-8", "replace")
        except BlockingIOError:
            pass
        os.close(self._complaint)
        for descriptor in tuple(self._reading):
            self._read(descriptor)
        for descriptor in tuple(self._reading):
            self._close(descriptor)
        if self.outcome == ABANDONED:
            self.outcome = EXITED
            return
        self.exit = -exit_.code if exit_.kind == children.SIGNALLED else exit_.code
        self.outcome = self._doomed or (CANNOT_START if self.message else EXITED)
        self._finish()

    def _finish(self) -> None:
        self.duration = time.monotonic() - self.began
        if self._timer is not None:
            self._timer.cancel()
        ended, self._ended = self._ended, None
        if ended is not None:
            ended(self)

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

    def _reader(self, descriptor: int) -> Callable[[int], None]:
        return lambda _events: self._read(descriptor)

    def _close(self, descriptor: int) -> None:
        del self._reading[descriptor]
        self._loop.forget(descriptor)
        os.close(descriptor)


def _pipes(count: int) -> list[tuple[int, int]]:
    """Give so many pipes, or none. Raises OSError."""
    made: list[tuple[int, int]] = []
    try:
        for _number in range(count):
            made.append(os.pipe2(os.O_CLOEXEC))
    except OSError:
        for pair in made:
            os.close(pair[0])
            os.close(pair[1])
        raise
    return made


def _become(work: Work) -> str:
    """Become the program; returns only to say why not."""
    try:
        signal.set_wakeup_fd(-1)
        for number in _DEFAULTS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.setsid()
        os.umask(0o077)
        opened = [_open(work, *path) for path in work.paths]
        reason = untrusted(work.argv[0])
        if reason:
            return reason
        _privileges(work.operation)
        os.chdir(work.operation.directory)
        if os.read(_LEAVE, 1) != b"!":
            os._exit(111)
        for descriptor in opened:
            os.set_inheritable(descriptor, True)
        os.execve(work.argv[0], work.argv, work.environment)
    except Refused as error:
        return f"{REFUSED}{error}"
    except OSError as error:
        return f"{work.argv[0]}: {error.strerror or error}"
    except BaseException as error:  # nothing of the helper may go on in the child
        return f"{work.argv[0]}: {type(error).__name__}"


def _descriptors(out: int, err: int, complaint: int, leave: int) -> None:
    """Have standard input, the outputs and our two pipes, and nothing else open."""
    lifted = [fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, 64) for one in (out, err, complaint, leave)]
    lifted.insert(0, fcntl.fcntl(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC), fcntl.F_DUPFD_CLOEXEC, 64))
    for number, descriptor in zip((0, 1, 2, _COMPLAINT, _LEAVE), lifted):
        # Our pipes end with the exec: the program has its outputs and the paths.
        os.dup2(descriptor, number, inheritable=number <= 2)
    os.closerange(_LEAVE + 1, max(map(int, os.listdir("/proc/self/fd"))) + 1)


def _open(work: Work, index: int, parameter: str, path: str, declared: dict[str, Any]) -> int:
    """Hold what a path parameter names, and have the program get that and not the name."""
    account = work.operation.account
    try:
        held, rest = paths.hold(
            declared["within"],
            path,
            exists=declared.get("exists", True),
            create=declared.get("create", ""),
            crossing=declared.get("cross_mounts", False),
            owner=account[:2] if account else (0, 0),
        )
    except paths.Refused as error:
        raise Refused(f"{parameter}: {error}") from None
    except OSError as error:
        raise Refused(f"{parameter}: {error.strerror}") from None
    descriptor = fcntl.fcntl(held, fcntl.F_DUPFD_CLOEXEC, _PATHS)
    os.close(held)
    work.argv[index] = f"/proc/self/fd/{descriptor}{rest}"
    return descriptor


def _privileges(operation: Operation) -> None:
    """Give up, for good, all that the operation does not declare."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _lower(resource.RLIMIT_NOFILE, _DESCRIPTORS)
    if os.geteuid() == 0:
        if operation.account is None:
            raise Refused(f"there is no user {operation.user}")
        capabilities.bound(operation.capabilities)
        capabilities.become(*operation.account, operation.capabilities)
    elif operation.capabilities or operation.user not in ("root", str(os.geteuid())):
        raise Refused("only a helper that runs as root can give capabilities or be another user")
    capabilities.no_new_privileges()
    if operation.memory_max is not None:
        _lower(resource.RLIMIT_AS, operation.memory_max)


def _lower(limit: int, value: int) -> None:
    hard = resource.getrlimit(limit)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(limit, (value, value))
