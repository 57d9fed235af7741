# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`holdfast attend`: the parent of one service below a supervisor that is not ours. PRIVATE to the collection.

It supplies what that supervisor has no word for: runs at their time, health, the end of all descendants, the stop signal,
and a command after the end. To the supervisor it is the service: it ends as the service does, and is then started again or
not. The kernel kills the service with it, and it starts nothing while anything of a former one is left.

    ──▶ SCHEDULED ──time, or told──▶ RUN ──TERM, unhealthy──▶ STOPPING
             ▲                        │ death                    │ death
             └──── periodic ────── FINISHING ◀───────────────────┘
                                      └── not periodic, or told to end ──▶ ENDED
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time

from ..._process_state.apply import needed
from .. import attending, former_start, schedule
from .._embedded import files, identity, signals, spawn
from .._embedded.children import EXITED, KINDS, SIGNALLED, Children, Exit
from .._embedded.loop import Loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .._embedded.loop import Timer
    from .._embedded.readiness import Health

#: What is passed on to the service. TERM is an ordered stop, ALRM a run before its time, CONT what follows a pause.
FORWARDED = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGWINCH,
)
#: The exit code after a service that was ended because it was not well, and had nothing to say about it.
UNHEALTHY = 69
#: The exit codes of run and of finish that give up for good.
RUN_GIVES_UP, FINISH_GIVES_UP = 100, 125
CANNOT_START, USAGE = 111, 100
#: Seconds between two looks at what is left of the service, at first and later, and after which it is told of.
_LOOK, _LONG_LOOK, _PATIENCE = 0.01, 1.0, 5.0


def main(argv: list[str]) -> int:
    """Attend the service directory `argv[0]`, with notes in the folder `argv[1]` (`-`: none); `argv[2]`: what comes after.

    Ends as the service did, by the same signal if it was one; 100 for wrong arguments, 111 when it can't be started.
    """
    if len(argv) != 3 or argv[2] not in (attending.NOTHING, attending.FINISH, attending.BECOME):
        sys.stderr.write("holdfast: usage: attend SERVICE_DIRECTORY NOTES|- nothing|finish|become\n")
        return USAGE
    notes = "" if argv[1] == "-" else os.path.abspath(argv[1])
    try:
        return Attend(os.path.abspath(argv[0]), notes, argv[2]).run()
    except (OSError, ValueError) as error:
        sys.stderr.write(f"holdfast attend: {argv[0]}: {error}\n")
        return CANNOT_START


class Attend:
    """The parent of the service in *directory*. notes: the folder for what it is at, "" for none. after: see `main`."""

    def __init__(self, directory: str, notes: str, after: str) -> None:
        self._directory = directory
        self._notes = notes
        self._after = after
        self._loop = Loop()
        self._children = Children(self._loop)
        self._meta: dict[str, Any] = {}
        self._boot = identity.boot_id().hex()
        self._note = attending.Note()
        self._note.boot, self._note.token = self._boot, os.urandom(16).hex()
        self._note.pid = self._pid = os.getpid()
        self._supervisor = os.getppid()
        self._applied = "HOLDFAST_APPLIED" in os.environ
        self._timer: Timer | None = None
        self._health: Health | None = None
        self._heart: tuple[int, ...] = ()
        self._notifying = self._complaint = -1
        self._once = self._sick = self._leaving = self._clearing = self._begun = False
        #: The processes of a former service that people were told of, and when it is time for that.
        self._told: list[int] = []
        self._patient = time.monotonic() + _PATIENCE
        self._exit = Exit(0)

    def run(self) -> int:
        """Attend until the end. Raises OSError, ValueError before the service was started."""
        self._load()
        for number in FORWARDED:
            self._loop.on_signal(number, lambda number=number: self._forward(number))  # type: ignore[misc]
        for number, handle in (
            (signal.SIGTERM, self._stop),
            (signal.SIGALRM, self._alarm),
            (signal.SIGCONT, self._continue),
            (signal.SIGCHLD, self._children.reap),
        ):
            self._loop.on_signal(number, handle)
        notified = (self._meta.get("readiness") or {}).get("notification_fd")
        if notified is not None:
            # The service's, not that of a health check.
            self._notifying = int(notified)
            os.set_inheritable(self._notifying, False)
        if self._scope == "tree":
            from ..._lease._guard.kernel import adopt_orphans

            adopt_orphans()
        self._loop.soon(self._begin)
        self._loop.run()
        return self._leave()

    # -- what is to be done

    def _load(self) -> None:
        """Read what the directory says now. Raises OSError, ValueError."""
        with open(f"{self._directory}/holdfast.json", encoding="utf-8") as file:
            self._meta = json.load(file)

    @property
    def _scope(self) -> str:
        return str(self._meta.get("kill") or "process")

    @property
    def _interval(self) -> float | None:
        """Give the time between two runs; None where there are no more, or the supervisor keeps the time and not we."""
        periodic = self._notes and self._meta.get("type") == "periodic"
        return float(self._meta["interval"]) if periodic else None

    def _begin(self) -> None:
        """End what a killed parent has left; then run, or wait for the time that it had waited for."""
        former = attending.read(self._notes) if self._notes else None
        if former is None or former.boot != self._boot:
            former = None
        elif former.state != attending.ENDED:
            left = self._left(former)
            if left:
                late = time.monotonic() >= self._patient
                if late and left != self._told:
                    self._told = left
                    self._write(attending.LEFT, former_start.line(self._boot, self._pid, left))
                    self._complain(former_start.text(left))
                # The note stays the former's: whoever comes after us finds the same.
                self._timer = self._loop.later(_LONG_LOOK if late else _LOOK, self._begin)
                return
        if self._told:
            self._complain("nothing is left of the former one")
            files.remove(f"{self._notes}/{attending.LEFT}")
        self._begun = True
        if self._leaving:
            self._end()
            return
        if former is None:
            self._launch()
            return
        self._note.kind, self._note.code, self._note.at = former.kind, former.code, former.at
        ran = former.state not in (attending.SCHEDULED, attending.ENDED)
        if former.state == attending.RUN and self._interval is None and self._after != attending.NOTHING:
            # It was killed with its parent, and nobody has done what comes after it.
            self._ended(Exit(signal.SIGKILL))
            self._finish()
            return
        if self._interval is None or former.state == attending.ENDED or self._order():
            self._launch()
            return
        self._note.started, self._note.deaths = former.started, former.deaths + ran
        if ran:
            self._ended(Exit(signal.SIGKILL))
        self._schedule()

    def _left(self, former: attending.Note) -> list[int]:
        """Give what is still there of a former service, and have it gone."""
        left = []
        if former.child and identity.alive(former.child, former.child_started):
            left = [former.child]
        elif self._scope != "process" and former.child:
            left = [pid for pid in signals.carriers(former.token) if self._belongs(pid, former)]
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                continue
        return left

    def _belongs(self, pid: int, former: attending.Note) -> bool:
        """Tell whether a process that carries the mark of a former service ends with it."""
        try:
            return self._scope == "tree" or os.getpgid(pid) == former.child
        except OSError:
            return False

    def _schedule(self) -> None:
        """Wait for the next run of a periodic service."""
        pause = schedule.pause(self._interval or 0.0, time.monotonic() - self._note.started)
        if pause:
            self._tell(attending.SCHEDULED, time.time() + pause)
        self._timer = self._loop.later(pause, self._launch)

    def _launch(self) -> None:
        """Start the service."""
        self._cancel()
        try:
            self._load()
            order = self._order()
            self._note.child, self._complaint = spawn.spawn(self._prepare_run())
        except (OSError, ValueError) as error:
            self._complain(f"cannot start: {error}")
            self._note.started = time.monotonic()
            self._note.deaths += 1
            self._ended(Exit(CANNOT_START << 8))
            self._next()
            return
        self._sick = False
        self._once = order == "once" or self._meta.get("state") == "once"
        self._note.child_started = identity.start_time(self._note.child)
        self._note.started = time.monotonic()
        self._children.watch(self._note.child, self._died, self._dying)
        self._write(attending.DEFINITION, f"{self._pid} {self._definition()}\n")
        self._tell(attending.RUN)
        if order:
            files.remove(f"{self._notes}/{attending.NOW}")
        if self._notifying >= 0 and self._interval is None:
            os.close(self._notifying)
            self._notifying = -1
        self._loop.watch(self._complaint, self._complained)

    def _order(self) -> str:
        """Give what somebody has ordered a periodic service to do now, "" for nothing."""
        try:
            with open(f"{self._notes}/{attending.NOW}", encoding="ascii", errors="replace") as file:
                return file.read(64).strip()
        except OSError:
            return ""

    def _definition(self) -> str:
        return f"{self._meta.get('definition', '')}.{self._meta.get('revision', 1)}"

    def _prepare_run(self) -> spawn.Start:
        start = self._prepare("./run")
        if self._notifying >= 0:
            start.passed[self._notifying] = self._notifying
        number = (self._meta.get("health") or {}).get("heartbeat_fd")
        if number is not None:
            if not self._heart:
                # Held at both ends, for good: nobody who closes it wakes us.
                ours, theirs = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
                os.set_blocking(theirs, True)
                self._heart = ours, theirs
            start.passed[number] = self._heart[1]
        start.last = self._die_together
        return start

    def _prepare(self, program: str, *arguments: str) -> spawn.Start:
        """Say how a program of the service directory is started. Raises OSError."""
        environment = spawn.base_environment()
        environment["HOLDFAST_SPAWN"] = self._note.token
        start = spawn.Start(program, self._directory, environment)
        start.arguments = [program, *arguments]
        if not self._applied:
            environment["HOLDFAST_APPLIED"] = "1"
            for name in self._meta.get("secrets") or ():
                with open(
                    f"{self._directory}/env/{name}", encoding="utf-8", errors="surrogateescape", newline=""
                ) as file:
                    environment[name] = file.read()
            process = self._meta.get("process") or {}
            if needed(process):
                start.state = process
        return start

    def _die_together(self) -> None:
        """In the child, as the service: have the kernel kill it with us."""
        from ..._lease._guard.kernel import die_with_parent

        die_with_parent()
        if os.getppid() != self._pid:
            os._exit(CANNOT_START)

    def _complained(self, _events: int) -> None:
        """Hear why the child can't become the program, or (end-of-file) that it has."""
        try:
            text = os.read(self._complaint, 4096).decode("utf-8", "replace")
        except BlockingIOError:
            return
        self._loop.forget(self._complaint)
        os.close(self._complaint)
        self._complaint = -1
        if text:
            self._complain(f"cannot start: {text}")
        elif self._note.state == attending.RUN:
            self._look_after()

    # -- health

    def _look_after(self) -> None:
        """Look after the health of the service from now on."""
        settings = self._meta.get("health")
        if settings:
            from .._embedded.readiness import Health

            self._health = Health(
                self._loop,
                self._children,
                settings,
                lambda: self._prepare("./health"),
                os.dup(self._heart[0]) if self._heart else -1,
                self._unhealthy,
            )

    def _unhealthy(self, failures: int) -> None:
        self._complain(f"health failed {failures} times in a row")
        self._sick = True
        self._terminate()

    # -- signals

    def _forward(self, number: int) -> None:
        if self._note.child:
            signals.send(self._note.child, number, "process")

    def _alarm(self) -> None:
        """Run a periodic service before its time; for whatever runs the signal is its own."""
        if self._note.child:
            self._forward(signal.SIGALRM)
        elif self._note.state == attending.SCHEDULED:
            self._launch()

    def _continue(self) -> None:
        """Go on after a pause, in which nobody was asked; or hear that there is an order."""
        if self._note.state == attending.SCHEDULED and self._order():
            self._launch()
        elif self._note.state == attending.RUN and self._health is not None:
            self._health.stop()
            self._look_after()

    def _stop(self) -> None:
        """Have the service end in order, and this process after it."""
        if self._leaving:
            return
        self._leaving = True
        if self._note.state == attending.FINISHING or self._clearing or not self._begun:
            # What is left of a former service is the service: it is not down before that has gone.
            return
        if not self._note.child:
            self._exit = Exit(0)
            self._end()
        elif self._note.state != attending.STOPPING:
            self._terminate()

    def _terminate(self) -> None:
        """Have the service end; KILL comes when it is late."""
        self._cancel()
        try:
            # Time-outs hold without a new process.
            self._load()
        except (OSError, ValueError):
            pass
        self._tell(attending.STOPPING)
        number = signal.Signals[f"SIG{self._meta.get('stop_signal') or 'TERM'}"]
        self._send(number)
        self._send(signal.SIGCONT)
        timeout = float(self._meta.get("stop_timeout") or 0.0)
        if timeout:
            self._timer = self._loop.later(timeout, lambda: self._send(signal.SIGKILL))

    def _send(self, number: int) -> None:
        """Signal the service: its process, group or tree, as the definition says."""
        if self._scope == "tree":
            for pid in identity.below(self._pid):
                signals.send(pid, number, "process")
        elif self._note.child:
            signals.send(self._note.child, number, self._scope)

    # -- the end

    def _dying(self) -> None:
        """Clear away what the dead service leaves, while its group can't be anybody else's."""
        if self._scope == "group":
            signals.sweep(self._note.child, "group")

    def _died(self, exit_: Exit) -> None:
        if self._complaint >= 0:
            self._complained(0)
        self._cancel()
        self._ended(exit_)
        self._note.child = self._note.child_started = 0
        self._clear(time.monotonic() + _PATIENCE)

    def _ended(self, exit_: Exit) -> None:
        self._exit = exit_
        self._note.kind, self._note.code, self._note.at = KINDS[exit_.kind], exit_.code, time.time()

    def _clear(self, deadline: float) -> None:
        """Go on when nothing is left of the tree; what can't be killed is left after a while."""
        left = identity.below(self._pid) if self._scope == "tree" else []
        self._clearing = bool(left) and time.monotonic() < deadline
        if self._clearing:
            self._send(signal.SIGKILL)
            self._timer = self._loop.later(_LOOK, lambda: self._clear(deadline))
            return
        if left:
            self._complain(f"cannot be killed: {', '.join(str(pid) for pid in left)}")
        self._note.deaths += not self._exit.success and not self._leaving
        self._finish()

    def _finish(self) -> None:
        """Run the command that comes after the service, if nobody else does; then go on."""
        ours = self._after == attending.FINISH or self._interval is not None
        if not ours or "finish" not in (self._meta.get("files") or {}):
            self._next()
            return
        code, number = self._ending()
        self._tell(attending.FINISHING)
        try:
            pid, complaint = spawn.spawn(self._prepare("./finish", str(code), str(number)))
        except (OSError, ValueError) as error:
            self._complain(f"finish: {error}")
            self._next()
            return
        if complaint >= 0:
            os.close(complaint)
        self._children.watch(pid, self._finished)
        timeout = float(self._meta.get("finish_timeout") or 0.0)
        if timeout:
            self._timer = self._loop.later(timeout, lambda: signals.send(pid, signal.SIGKILL, "group"))

    def _finished(self, exit_: Exit) -> None:
        self._cancel()
        if exit_.kind == EXITED and exit_.code == FINISH_GIVES_UP:
            self._complain("finish gave up")
            self._exit = Exit(RUN_GIVES_UP << 8)
        self._next()

    def _next(self) -> None:
        """The service has ended: what comes now?"""
        gives_up = self._exit.kind == EXITED and self._exit.code == RUN_GIVES_UP
        # An order that came while it ran: it has.
        once = self._once or self._order() == "once"
        if self._interval is None or self._leaving or gives_up or once:
            self._end()
            return
        files.remove(f"{self._notes}/{attending.NOW}")
        self._schedule()

    def _end(self) -> None:
        """All is over."""
        self._cancel()
        self._tell(attending.ENDED)
        self._loop.running = False

    def _ending(self) -> tuple[int, int]:
        """Give the exit code, -1 after a signal, and the signal of the service."""
        if self._exit.kind == SIGNALLED:
            return -1, self._exit.code
        return UNHEALTHY if self._sick and self._exit.success else self._exit.code, 0

    def _leave(self) -> int:
        """Give the exit code; does not return after a signal, or when another program takes this one's place."""
        code, number = self._ending()
        if self._after == attending.BECOME and os.getppid() == self._supervisor:
            os.chdir(self._notes)
            os.execv("./finish", ["./finish", str(code), str(number)])
        if number:
            # As the service, but without a second core.
            import resource

            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            if number not in (signal.SIGKILL, signal.SIGSTOP):
                signal.signal(number, signal.SIG_DFL)
            os.kill(self._pid, number)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, (number,))
        return code if code >= 0 else 128 + number

    # -- small things

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._health is not None:
            self._health.stop()
            self._health = None

    def _tell(self, state: str, following: float = 0.0) -> None:
        """Note what we are at. following: unix time of the next run, 0 for none."""
        self._note.state, self._note.since, self._note.next = state, time.time(), following
        self._write(attending.ATTENDED, self._note.line())

    def _write(self, name: str, text: str) -> None:
        """Write a note; one that can't be written costs nobody the service."""
        if self._notes:
            try:
                files.replace(f"{self._notes}/{name}", text.encode())
            except OSError as error:
                self._complain(f"{self._notes}/{name}: {error.strerror}")

    def _complain(self, text: str) -> None:
        """Tell people, where the service's output goes."""
        try:
            sys.stderr.write(f"holdfast attend: {self._meta.get('name')}: {text}\n")
            sys.stderr.flush()
        except (OSError, ValueError):
            pass
