# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Start a process of a service. PRIVATE to the collection.

A service without a process state is started by posix_spawn, which does not copy the supervisor; one with user, limits
and the like is forked, applies its state itself and reports by a pipe when that fails, so that the supervisor waits for
nothing.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import signal

from ..._process_state.apply import StateError, apply
from . import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

#: Exit code of a child that could not become the program; its reason comes by the pipe.
CANNOT_START = 111

#: Variables of the supervisor's own start that mean nothing to a service, or lead it astray.
_DROPPED = (
    "HOLDFAST_LOCK_FD",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "LISTEN_FDNAMES",
    "LISTEN_FDS",
    "LISTEN_PID",
    "MANAGERPID",
    "NOTIFY_SOCKET",
    "OLDPWD",
    "PWD",
    "SHLVL",
    "SYSTEMD_EXEC_PID",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "_",
)
#: Signals that Python or whoever started us has us ignore: an exec keeps that, while handlers go by themselves.
_IGNORED = [number for number in signal.valid_signals() if signal.getsignal(number) == signal.SIG_IGN]
#: Signals that the supervisor handles and that a service may be sent as soon as it has a pid.
_HANDLED = [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP]

_OOM = "/proc/self/oom_score_adj"


class _Own:
    """What the supervisor has for itself and its children do not get.

    nofile: soft and hard limit of descriptors it was started with, if it has raised the soft one. oom: its adjustment
    for the kernel's out-of-memory killer, if it is not 0.
    """

    nofile: tuple[int, int] | None = None
    oom: str | None = None


def protect() -> None:
    """Let this process have as many descriptors as the hard limit allows, and see what children are to be spared."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        _Own.nofile = soft, hard
    files.close_on_exec()
    try:
        with open(_OOM, encoding="ascii") as file:
            value = file.read().strip()
    except OSError:
        return
    _Own.oom = value if value != "0" else None


def _adjust_oom(value: str) -> None:
    try:
        with open(_OOM, "w", encoding="ascii") as file:
            file.write(value)
    except OSError:
        pass


def base_environment() -> dict[str, str]:
    """Give the supervisor's environment as services are to see it."""
    environment = {key: value for key, value in os.environ.items() if key not in _DROPPED}
    environment.setdefault("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    return environment


class Start:
    """What is to be started.

    program: relative to *directory*. stdin, output: a path that the child opens itself, or a descriptor; output None
    leaves stdout and stderr as the supervisor's. passed: descriptors for the child by the number they get there. state:
    the process state to apply, or None. group: the control group to enter and its limits, or None. last: what the child
    does when it has its process state, or None. blocked: signals that wait until the program is ready for them and
    unblocks them.
    """

    __slots__ = (
        "arguments",
        "blocked",
        "directory",
        "environment",
        "group",
        "last",
        "output",
        "passed",
        "program",
        "state",
        "stdin",
    )

    def __init__(self, program: str, directory: str, environment: dict[str, str]) -> None:
        self.program = program
        self.arguments = [program]
        self.directory = directory
        self.environment = environment
        self.stdin: str | int = "/dev/null"
        self.output: str | int | None = None
        self.passed: dict[int, int] = {}
        self.state: dict[str, Any] | None = None
        self.group: tuple[str, dict[str, Any]] | None = None
        self.last: Callable[[], None] | None = None
        self.blocked: tuple[int, ...] = ()


def spawn(start: Start) -> tuple[int, int]:
    """Start a program as the leader of a new session.

    Returns its pid and a descriptor on which a text comes if a forked child fails, and end-of-file once it has become
    the program; -1 when the start is known to have succeeded. Raises OSError when nothing was started.
    """
    # Only the fork can sort out several descriptors whose numbers may be one another's.
    if start.state is not None or start.group is not None or start.last is not None or len(start.passed) > 1:
        return _fork(lambda: _become(start))
    return _spawn(start), -1


def _spawn(start: Start) -> int:
    actions: list[tuple[Any, ...]] = []
    if isinstance(start.stdin, str):
        actions.append((os.POSIX_SPAWN_OPEN, 0, start.stdin, os.O_RDONLY, 0))
    else:
        actions.append((os.POSIX_SPAWN_DUP2, start.stdin, 0))
    if isinstance(start.output, str):
        actions.append((os.POSIX_SPAWN_OPEN, 1, start.output, os.O_RDWR, 0))
        actions.append((os.POSIX_SPAWN_DUP2, 1, 2))
    elif start.output is not None:
        actions.append((os.POSIX_SPAWN_DUP2, start.output, 1))
        actions.append((os.POSIX_SPAWN_DUP2, start.output, 2))
    actions.extend((os.POSIX_SPAWN_DUP2, ours, theirs) for theirs, ours in start.passed.items())
    os.chdir(start.directory)
    # A spawned child begins with what the parent has at this moment.
    if _Own.nofile:
        resource.setrlimit(resource.RLIMIT_NOFILE, _Own.nofile)
    if _Own.oom:
        _adjust_oom("0")
    try:
        return os.posix_spawn(
            start.program,
            start.arguments,
            start.environment,
            file_actions=actions,
            setsid=True,
            setsigmask=start.blocked,
            setsigdef=_IGNORED,
        )
    finally:
        if _Own.nofile:
            resource.setrlimit(resource.RLIMIT_NOFILE, (_Own.nofile[1], _Own.nofile[1]))
        if _Own.oom:
            _adjust_oom(_Own.oom)
        os.chdir("/")


def limit(path: str, resources: dict[str, Any]) -> tuple[int, int]:
    """Set the limits of a running service's group, in a child: the kernel may take its time. Returns what `spawn` does.

    Nothing comes by the descriptor but its end if all is well. Raises OSError.
    """
    return _fork(lambda: _limit(path, resources))


def _limit(path: str, resources: dict[str, Any]) -> str:
    from ..._process_state import groups

    try:
        groups.limit(path, resources)
    except StateError as error:
        return str(error)
    return ""


def _fork(work: Callable[[], str]) -> tuple[int, int]:
    """Let a child do *work*, which gives the text that comes by the descriptor if it returns at all."""
    complaint, report = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    # The child has our handlers at first: what it is sent meanwhile must wait, not be swallowed by them.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
    try:
        pid = os.fork()
    except OSError:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.close(complaint)
        os.close(report)
        raise
    if pid:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.close(report)
        return pid, complaint
    try:
        os.write(report, work().encode("utf-8", "replace")[:4000])
    finally:
        os._exit(CANNOT_START)


def _become(start: Start) -> str:
    """Become the program; returns only to say why not."""
    try:
        signal.set_wakeup_fd(-1)
        for number in _IGNORED + _HANDLED:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, start.blocked)
        os.setsid()
        os.chdir(start.directory)
        _descriptors(start)
        if _Own.oom:
            _adjust_oom("0")
        if start.group is not None:
            from ..._process_state.groups import enter

            enter(*start.group)
        apply(start.state or {}, start.environment, _Own.nofile)
        if start.last is not None:
            start.last()
        os.execve(start.program, start.arguments, start.environment)
    except StateError as error:
        return str(error)
    except OSError as error:
        return f"{start.program}: {explain(error)}"
    except BaseException as error:  # nothing of the supervisor may go on in the child
        return f"{start.program}: {type(error).__name__}: {error}"


def _descriptors(start: Start) -> None:
    """Put stdin, output and what is passed where the program expects them."""
    wanted: dict[int, int] = dict(start.passed)
    wanted[0] = os.open(start.stdin, os.O_RDONLY | os.O_CLOEXEC) if isinstance(start.stdin, str) else start.stdin
    output = os.open(start.output, os.O_RDWR | os.O_CLOEXEC) if isinstance(start.output, str) else start.output
    if output is not None:
        wanted[1] = wanted[2] = output
    # First up and out of the way, then down: no number asked for may hit a descriptor that is still needed.
    above = max(256, *wanted) + 1
    lifted = {theirs: fcntl.fcntl(ours, fcntl.F_DUPFD_CLOEXEC, above) for theirs, ours in wanted.items()}
    for theirs, ours in lifted.items():
        os.dup2(ours, theirs)


def explain(error: OSError) -> str:
    """Say what an error of a start means."""
    text = error.strerror or str(error)
    if isinstance(error, FileNotFoundError):
        return f"{text} (the file, or the interpreter that its first line names)"
    if isinstance(error, PermissionError):
        return f"{text} (is it executable?)"
    if error.errno == errno.ENOEXEC:
        return f"{text} (does it begin with a line like #!/bin/sh?)"
    return text
