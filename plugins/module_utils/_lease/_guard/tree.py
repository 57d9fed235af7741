# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The service's process tree, started below the guard so that it cannot outlive it. PRIVATE to the collection.

With a pid namespace, the guard's child is the namespace's init, see init.py: the kernel kills it when the guard ends, and
everything else in the namespace when init ends. Without one, the service itself is the guard's child; then that process is
sure to die with the guard, and with it what has stayed in its process group, as long as somebody there keeps the
descriptor by which the kernel is told.

Either child waits for a word before it does anything: by then the guard has tied the leases to it.
"""

from __future__ import annotations

import os
import select

from ..._lean import signal
from ..._process_state.apply import StateError, apply
from ..._supervise._embedded import identity
from .. import trees
from . import kernel
from .board import LOOK
from .descriptors import lift
from .init import CANNOT_START, READY, SETTLED, Init

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .board import Board

#: Signals that the guard passes on to the service. TERM is an ordered stop, see `Tree.terminate`.
FORWARDED = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGALRM,
    signal.SIGWINCH,
)
#: The end of the guard's word. What comes before it is never empty.
_GO = b"\0go"
_OURS = (*FORWARDED, signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE, READY, LOOK)


class Command:
    """What is to be run. state: the process state to apply. stop: the signal that asks it to end. scope: whom that reaches.

    group: the control group that the service enters, or "". passed: descriptors for the service alone, by the number that
    they get there; token_fd: which of them has the tokens, 0 for none. Only with a pid namespace: finish, the
    program that is run after the service; pid_file, where a service that goes to the background says which process it is;
    hooks, their directory and the seconds that those of one point have; told: what hooks are told in their environment;
    board, where the guard says that the service is to be paused, or that its lease ends, None if it never does.
    All time-outs in seconds, stop_timeout 0 is none.
    """

    __slots__ = (
        "arguments",
        "board",
        "environment",
        "finish",
        "finish_timeout",
        "group",
        "hook_state",
        "hooks",
        "name",
        "passed",
        "pid_file",
        "scope",
        "state",
        "stop",
        "stop_timeout",
        "token_fd",
        "told",
    )

    def __init__(self, arguments: list[str], environment: dict[str, str], name: str = "") -> None:
        self.name = name
        self.arguments = arguments
        self.environment = environment
        self.state: dict[str, Any] = {}
        self.group = ""
        self.stop = int(signal.SIGTERM)
        self.stop_timeout = 10.0
        self.scope = "group"
        self.passed: dict[int, int] = {}
        self.pid_file = ""
        self.token_fd = 0
        self.finish = ""
        self.finish_timeout = 5.0
        self.hooks: dict[str, Any] | None = None
        self.hook_state = ""
        self.told: dict[str, str] = {}
        self.board: Board | None = None

    @property
    def grace(self) -> float:
        """Give the seconds from an ordered stop to the time at which nothing of it may be left, 0 for no end."""
        if not self.stop_timeout:
            return 0.0
        beside = 2 * self.hooks["timeout"] if self.hooks else 0.0
        return self.stop_timeout + beside + (self.finish_timeout if self.finish else 0.0)


class Tree:
    """One started tree.

    pid, started: its first process, as seen by the guard. report: tells of the service's end, and of its way to the
    background. settled: whether the service is the process that it is going to be.
    """

    __slots__ = ("_command", "_go", "_text", "containment", "pid", "report", "settled", "started")

    def __init__(self, command: Command, containment: str, drop: Callable[[], None] | None = None) -> None:
        """Make the first process, which waits for `go`. Raises OSError; nothing is left then.

        drop: what the first process is to do in order to close what it must not keep.
        """
        self._command = command
        self.containment = containment
        self._text = b""
        self.settled = not command.pid_file
        told, self._go = os.pipe2(os.O_CLOEXEC)
        self.report, tell = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.report, False)
        # Signals that come before the child is ready for them wait.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, _OURS)
        try:
            if containment == trees.NAMESPACE:
                kernel.next_child_in_new_pid_namespace()
            else:
                kernel.adopt_orphans()
            self.pid = os.fork()
        except OSError:
            for descriptor in (told, self._go, self.report, tell):
                os.close(descriptor)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            raise
        if not self.pid:
            try:
                os.close(self._go)
                os.close(self.report)
                if command.passed:
                    # Out of the way of the numbers that the service is to have its own descriptors under.
                    told, tell = (lift(one, max(command.passed) + 1) for one in (told, tell))
                if drop is not None:
                    drop()
                complaint = (_init if containment == trees.NAMESPACE else _serve)(command, told, tell)
                os.write(tell, b"!" + complaint.encode("utf-8", "replace")[:2000])
            finally:
                os._exit(CANNOT_START)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.close(told)
        os.close(tell)
        self.started = identity.start_time(self.pid)

    def go(self, told: dict[str, str]) -> None:
        """Let it become the service, which is *told* more in its environment. Raises OSError.

        The descriptor stays open: its end tells the child that the guard is dead.
        """
        left = b"".join(os.fsencode(f"{name}={value}") + b"\0" for name, value in told.items()) + _GO
        while left:
            left = left[os.write(self._go, left) :]

    def drop(self) -> None:
        """In another child of the guard: close what tells that the guard is dead when nobody has it any more."""
        os.close(self._go)

    def ready(self) -> None:
        """Say that the service is ready, for whoever has waited for that."""
        if self.containment == trees.NAMESPACE and self._command.hooks:
            self._kill(READY)

    def forward(self, number: int) -> None:
        """Send a signal to the service's main process."""
        self._kill(number)

    def terminate(self) -> None:
        """Ask the service to end."""
        if self.containment == trees.NAMESPACE:
            self._kill(signal.SIGTERM)
        elif self._command.scope == "process":
            self._kill(self._command.stop)
        elif self.pid:
            try:
                os.killpg(self.pid, self._command.stop)
            except OSError:
                self._kill(self._command.stop)

    def kill(self) -> None:
        """Kill everything that can be found of it; with a pid namespace that is everything."""
        self._kill(signal.SIGKILL)
        if self.containment != trees.NAMESPACE:
            for pid in identity.below(os.getpid()):
                try:
                    os.kill(pid, signal.SIGKILL)
                except OSError:
                    continue

    def warn(self, seconds: float) -> None:
        """Say that the service is about to be asked to end, as its lease ends, and is killed in so many seconds."""
        if self._command.board is not None:
            self._command.board.warn(seconds)

    def pause(self) -> None:
        """Have every process of the tree stopped; `still` says when they are."""
        self._want(True)

    def resume(self) -> None:
        """Let the processes go on."""
        self._want(False)

    def _want(self, stopped: bool) -> None:
        if self._command.board is not None:
            self._command.board.want(stopped)
            self._kill(LOOK)

    @property
    def still(self) -> bool:
        """Say whether every process of the tree is stopped, and stays so until `resume`."""
        return self._command.board is not None and self._command.board.still

    def heed(self) -> bool:
        """Read what the first process has to tell; False when it is not going to tell any more."""
        try:
            text = os.read(self.report, 4096)
        except BlockingIOError:
            return True
        self._text += text
        if self._text.startswith(SETTLED):
            self._text = self._text[len(SETTLED) :]
            self.settled = True
        return bool(text)

    def ending(self, status: int) -> tuple[int, str]:
        """Give the service's wait status, from that of the first process, and why it could not be started, if so."""
        self.heed()
        if self._text.startswith(b"!"):
            return CANNOT_START << 8, self._text[1:].decode("utf-8", "replace")
        if self.containment == trees.NAMESPACE and self._text.startswith(b"="):
            return int(self._text[1:]), ""
        return status, ""

    def close(self) -> None:
        """Close the pipes, after the tree is gone."""
        os.close(self._go)
        os.close(self.report)

    def _kill(self, number: int) -> None:
        # Not collected yet, so that the pid is still its own; 0 after that.
        try:
            if self.pid:
                os.kill(self.pid, number)
        except ProcessLookupError:
            pass


def _wait_for_go(command: Command, told: int) -> None:
    """Wait for the guard's word, and note what it says besides; end if the guard has died, whenever that was."""
    word = b""
    while not word.endswith(_GO):
        piece = os.read(told, 65536)
        if not piece:
            os._exit(CANNOT_START)
        word += piece
    _end_without_guard(told)
    for one in os.fsdecode(word[: -len(_GO)]).split("\0"):
        name, equals, value = one.partition("=")
        if equals:
            command.told[name] = command.environment[name] = value


def _end_without_guard(told: int) -> None:
    poll = select.poll()
    poll.register(told, select.POLLHUP)
    if poll.poll(0):
        os._exit(CANNOT_START)


def _init(command: Command, told: int, tell: int) -> str:
    """Be the init of the new pid namespace. Returns only to say why not."""
    try:
        signal.set_wakeup_fd(-1)
        # Blocked and with no handler of Python's: they are taken one by one below.
        for number in _OURS:
            signal.signal(number, signal.SIG_DFL)
        kernel.die_with_parent()
        os.setsid()
        _wait_for_go(command, told)
        kernel.own_proc()

        def become() -> None:
            os.close(told)
            os.write(tell, b"!" + _become(command, None).encode("utf-8", "replace")[:2000])

        Init(command, _OURS, tell).run(become)
        return ""
    except OSError as error:
        return f"{error.strerror or error}"


def _serve(command: Command, told: int, _tell: int) -> str:
    """Become the service as the guard's own child. Returns only to say why not."""
    signal.set_wakeup_fd(-1)
    _wait_for_go(command, told)
    command.environment.update(trees.own_mark())
    return _become(command, told)


def _become(command: Command, told: int | None) -> str:
    """Be the service, in a session of its own. told: where the guard's death shows, if we must die with it."""

    def tie() -> None:
        if told is not None:
            # After the change of user, which would take it back.
            kernel.die_with_parent()
            kernel.kill_group_at_end_of(lift(told, inheritable=True))
            _end_without_guard(told)

    try:
        os.setsid()
    except OSError as error:
        return f"{command.arguments[0]}: {error.strerror or error}"
    return become(command, tie)


def become(command: Command, last: Callable[[], None]) -> str:
    """Apply the process state, do *last*, and execute the command. Returns only to say why not."""
    try:
        for number in (*_OURS, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        for number, descriptor in command.passed.items():
            os.dup2(descriptor, number)
        if command.token_fd:
            command.environment["HOLDFAST_TOKEN_FD"] = str(command.token_fd)
        if command.group:
            # Neither the guard nor the namespace's init is in it: the service's limits must not hit who holds its lease.
            from ..._process_state.groups import enter

            enter(command.group, command.state.get("resources") or {})
        apply(command.state, command.environment)
        if command.pid_file:
            _forget(command.pid_file)
        last()
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.execvpe(command.arguments[0], command.arguments, command.environment)
    except StateError as error:
        return str(error)
    except OSError as error:
        return f"{command.arguments[0]}: {error.strerror or error}"
    except BaseException as error:  # nothing of the guard may go on in the child
        return f"{command.arguments[0]}: {type(error).__name__}: {error}"


def _forget(pid_file: str) -> None:
    """Remove what the last process wrote, with no more rights than the service has: the number may be another's now."""
    try:
        os.unlink(pid_file)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise StateError(f"pid_file {pid_file}: cannot be removed before the start: {error.strerror}") from None
