# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The init of a service's pid namespace: everything that the service's definition has run, one after the other.

    hooks before_start ▶ the service ▶ finish ▶ hooks after_stop

All of it is below the guard, so that the tenure encloses it: whatever runs here is dead before the leases are anybody
else's. Init stays root, so that nobody in the service can stop it, collects the dead, and passes signals on. Its own end
is the end of all the others. PRIVATE to the collection.
"""

from __future__ import annotations

import os
import time

from ..._hooks import points
from ..._lean import signal
from ..._process_state.apply import StateError, apply
from . import background
from .board import LOOK, all_stopped
from .speech import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .tree import Command

CANNOT_START = 111
#: To the guard: a service that goes to the background has arrived there.
SETTLED = b"&"
#: Seconds that such a service has for its pid_file after its command has ended, and between two looks.
_ARRIVAL, _LOOK = 5.0, 0.02
#: From the guard: the service is ready.
READY = signal.SIGRTMIN + 1
#: Seconds in which what was killed is to be gone.
_PATIENCE = 5.0
#: Bytes of a hook's complaint that are told.
_COMPLAINT = 1000


class Init:
    """Runs *command* and what belongs to it. tell: the pipe on which the guard hears of the service's end."""

    def __init__(self, command: Command, signals: tuple[int, ...], tell: int) -> None:
        self._command = command
        self._signals = signals
        self._tell = tell
        self._told = dict(command.told)
        self._service = 0
        #: Children whose end somebody asks for, and the wait status of those that have ended.
        self._known: set[int] = set()
        self._ended: dict[int, int] = {}
        self._asked = False
        self._ready = False
        #: Whether the service is the process that it is going to be.
        self._settled = not command.pid_file

    def run(self, become: Callable[[], None]) -> None:
        """Do it all, and end; *become* makes a child the service, or says on the pipe why not. Raises OSError."""
        command = self._command
        complaint = ""
        if command.hooks:
            complaint = self._make_state() or self._hooks(points.BEFORE_START)
        if complaint:
            os.write(self._tell, b"!" + complaint.encode("utf-8", "replace")[:2000])
        elif self._asked:
            os.write(self._tell, b"=0")
        else:
            self._service = self._fork(become)
            for descriptor in command.passed.values():
                os.close(descriptor)
            status = self._attend()
            # Told before anything else is done: that may be cut short.
            os.write(self._tell, b"=%d" % status)
            self._finish(status)
        if command.hooks:
            self._hooks(points.AFTER_STOP)
            self._remove_state()
        os._exit(0)

    # -- the service

    def _attend(self) -> int:
        """Wait until the service has ended, and give its wait status."""
        deadline = None
        stopping = told = False
        while self._service not in self._ended or self._goes_to_background():
            if self._ready and not told and not stopping:
                told = True
                self._hooks(points.AFTER_START, lambda: self._asked or self._service in self._ended)
            if self._asked and not stopping:
                stopping = True
                self._warn()
                self._hooks(points.BEFORE_STOP, lambda: self._service in self._ended)
                self._stop()
                # With nothing to be done afterwards, the guard's own deadline is all that is needed.
                if self._command.stop_timeout and (self._command.finish or self._command.hooks):
                    deadline = time.monotonic() + self._command.stop_timeout
            elif self._settled:
                if not self._next(deadline):
                    self._clear()
                    deadline = None
            elif not self._next(min(time.monotonic() + _LOOK, deadline or float("inf"))):
                self._look_at_home()
                if deadline is not None and time.monotonic() >= deadline:
                    self._clear()
                    deadline = None
        service, self._service = self._service, 0
        return self._ended.pop(service)

    def _warn(self) -> None:
        """Have a hook hear that the lease ends. The service gets the other half of the time that is left."""
        board = self._command.board
        seconds = board.warning if board is not None else 0.0
        if seconds > 0:
            self._told["HOLDFAST_SECONDS"] = f"{seconds:.1f}"
            self._hooks(points.LEASE_LOST, lambda: self._service in self._ended, seconds / 2)

    def _look_at_home(self) -> None:
        """Take the command itself as the service if it says so: some don't fork when their parent is an init, as ours is."""
        if background.read(self._command.pid_file) == self._service:
            self._settle(self._service)

    def _settle(self, pid: int) -> None:
        self._settled = True
        self._service = pid
        self._known.add(pid)
        os.write(self._tell, SETTLED)

    def _goes_to_background(self) -> bool:
        """Take the process that the command has left behind as the service from now on; False if there is none."""
        command = self._command
        if self._settled or self._ended[self._service] or self._asked:
            return False
        deadline = time.monotonic() + _ARRIVAL
        while True:
            # Nobody but what the command has started is in this namespace, whatever the file says.
            pid = background.read(command.pid_file)
            if pid is not None and background.is_child(pid):
                break
            if self._asked:
                return False
            if not self._collect() or time.monotonic() >= deadline:
                self._say(
                    f"its command has ended, and {command.pid_file} names no process that it left in the background"
                )
                self._ended[self._service] = CANNOT_START << 8
                self._settled = True
                return False
            self._next(min(time.monotonic() + _LOOK, deadline))
        del self._ended[self._service]
        self._settle(pid)
        return True

    def _stop(self) -> None:
        command = self._command
        try:
            # One that has gone to the background need not lead its group.
            group = os.getpgid(self._service)
        except OSError:
            group = self._service
        target = {"process": self._service, "group": -group, "tree": -1}[command.scope]
        for pid in (target, self._service):
            try:
                os.kill(pid, command.stop)
                return
            except OSError:
                continue

    def _clear(self) -> None:
        """Kill everything in the namespace but ourselves."""
        self._send_all(signal.SIGKILL)

    def _finish(self, status: int) -> None:
        """Run `finish`, as the service's user, when nothing of the service is left."""
        command = self._command
        if not command.finish and not command.hooks:
            return
        code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -1
        self._told.update(HOLDFAST_EXIT_CODE=str(code), HOLDFAST_EXIT_SIGNAL=str(status & 0x7F))
        self._clear()
        self._wait_for_all(time.monotonic() + _PATIENCE)
        if not command.finish:
            return
        words = [command.finish, str(code), str(status & 0xFF)]
        pid = self._fork(lambda: _execute(words, dict(command.environment), command.state))
        if self._wait(pid, time.monotonic() + command.finish_timeout) is None:
            self._say(f"finish was killed, as it ran for {command.finish_timeout:g} s")
        self._clear()
        self._wait_for_all(time.monotonic() + _PATIENCE)

    # -- hooks

    def _hooks(self, point: str, enough: Callable[[], bool] | None = None, most: float = float("inf")) -> str:
        """Run the hooks of *point* until one says stop, or it is *enough*. Gives why nothing may go on, "" if it may.

        most: the seconds that they have, if that is less than what is configured.
        """
        command = self._command
        settings = command.hooks
        if not settings:
            return ""
        # Loaded by the guard already: it has looked at them all.
        from ..._hooks import hooks

        try:
            found = hooks.find(settings["directory"], point)
        except hooks.BadHook as error:
            self._say(str(error))
            return str(error)
        own = {"HOLDFAST_SERVICE": command.name}
        environment = hooks.environment(own, point, command.hook_state, self._told)
        deadline = time.monotonic() + min(settings["timeout"], most)
        for path in found:
            if (enough is not None and enough()) or (self._asked and point == points.BEFORE_START):
                break
            failure, stop = self._hook(path, point, environment, deadline)
            if failure:
                self._say(failure)
            if stop:
                return failure
        return ""

    def _hook(self, path: str, point: str, environment: dict[str, str], deadline: float) -> tuple[str, bool]:
        """Run one hook. Gives what went wrong and whether nothing may follow."""
        complaint = os.memfd_create("complaint", os.MFD_CLOEXEC)
        try:
            pid = self._fork(lambda: _execute([path, point, self._command.name], environment, {}, complaint))
            status = self._wait(pid, deadline)
            if status is None:
                for target in (-pid, pid):
                    try:
                        os.kill(target, signal.SIGKILL)
                    except OSError:
                        continue
                self._wait(pid, time.monotonic() + _PATIENCE)
            text = os.pread(complaint, _COMPLAINT, max(os.fstat(complaint).st_size - _COMPLAINT, 0))
        finally:
            os.close(complaint)
        said = text.decode("utf-8", "replace").strip()
        from ..._hooks import hooks

        failure, stop = hooks.judge(path, status, said)
        if said and not failure:
            self._say(f"hook {path}: {said}")
        return failure, stop

    def _make_state(self) -> str:
        """Make the folder that the hooks of one life of the service share; gives why not."""
        self._remove_state()
        try:
            os.mkdir(self._command.hook_state, 0o700)
        except OSError as error:
            return f"{self._command.hook_state}: {error.strerror}"
        return ""

    def _remove_state(self) -> None:
        import shutil

        shutil.rmtree(self._command.hook_state, ignore_errors=True)

    # -- children and signals

    def _fork(self, body: Callable[[], None]) -> int:
        """Start a child that does *body*, which does not return unless it has failed."""
        pid = os.fork()
        if pid:
            self._known.add(pid)
            return pid
        try:
            body()
        finally:
            os._exit(CANNOT_START)

    def _wait(self, pid: int, deadline: float) -> int | None:
        """Give the wait status of a child, None if it still runs at the deadline."""
        while pid not in self._ended:
            if not self._next(deadline) and pid not in self._ended:
                return None
        return self._ended.pop(pid)

    def _wait_for_all(self, deadline: float) -> None:
        """Wait until no child is left, or the deadline."""
        while self._collect() and self._next(deadline):
            pass

    def _next(self, deadline: float | None) -> bool:
        """Heed the next signal; False if there was none before the deadline."""
        if deadline is None:
            asked: int = signal.sigwait(self._signals)
        else:
            found = signal.sigtimedwait(self._signals, max(deadline - time.monotonic(), 0.0))
            if found is None:
                return False
            asked = found.si_signo
        if asked == LOOK:
            self._stand_still()
        else:
            self._heed(asked)
        return True

    def _heed(self, asked: int) -> None:
        if asked == signal.SIGCHLD:
            self._collect()
        elif asked == signal.SIGTERM:
            self._asked = True
        elif asked == READY:
            self._ready = True
        elif asked != signal.SIGPIPE and self._service and self._service not in self._ended:
            try:
                os.kill(self._service, asked)
            except OSError:
                pass

    def _stand_still(self) -> None:
        """Keep everything stopped, and do nothing ourselves, for as long as the guard wants that."""
        board = self._command.board
        if board is None:
            return
        while True:
            wanted = board.wanted
            if wanted % 2 == 0:
                break
            if not board.still:
                # The kernel sees to it that nobody forks out of this: a fork that is interrupted makes no child.
                self._send_all(signal.SIGSTOP)
                if all_stopped():
                    board.reach(wanted)
            found = signal.sigtimedwait(self._signals, 3600.0 if board.still else _LOOK)
            if found is not None and found.si_signo != LOOK:
                self._heed(found.si_signo)
        self._send_all(signal.SIGCONT)
        board.reach(wanted)

    def _send_all(self, number: int) -> None:
        try:
            os.kill(-1, number)
        except OSError:
            pass  # There is nobody.

    def _collect(self) -> bool:
        """Collect the dead, orphans of the service too; False when no child is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid in self._known:
                self._known.discard(pid)
                self._ended[pid] = status

    def _say(self, text: str) -> None:
        """Tell people, where the service's output goes."""
        say(self._command.name, text)


def _execute(words: list[str], environment: dict[str, str], state: dict[str, Any], errors: int = -1) -> None:
    """Become a program beside the service, or say why not. errors: where its standard error goes, if not where ours does."""
    complaint = ""
    try:
        os.setsid()
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_DFL)
        if errors >= 0:
            os.dup2(errors, 2)
        apply(state, environment)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.execve(words[0], words, environment)
    except StateError as error:
        complaint = str(error)
    except OSError as error:
        complaint = f"{words[0]}: {error.strerror or error}"
    os.write(2, f"{complaint}\n".encode("utf-8", "replace"))
