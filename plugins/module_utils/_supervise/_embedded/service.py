# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One supervised service: an explicit state machine. PRIVATE to the collection.

    DOWN ──want up──▶ WAITING (needs) ──▶ STARTING ──spawned──▶ UP ──readiness──▶ READY
      ▲                                      ▲                   │ stop             │
      │                                      │ back-off          ▼                  ▼
      └───────────── FINISHING ◀──death── STOPPING ◀─────────────┴──────────────────┘
                        │
                        └──▶ BACKOFF | SCHEDULED (periodic) | FAILED (permanent) | DOWN

Nothing here blocks. Whatever must be found again after the supervisor's death is in the record before it is done.
"""

from __future__ import annotations

import errno
import os
import time
from signal import (
    SIGALRM,
    SIGCONT,
    SIGHUP,
    SIGINT,
    SIGKILL,
    SIGQUIT,
    SIGSTOP,
    SIGTERM,
    SIGUSR1,
    SIGUSR2,
    SIGWINCH,
)

from ..._process_state.apply import needed
from .. import holding, schedule
from . import endpoint, files, identity, journal, record, settings, signals, spawn, status
from .children import EXITED, KINDS, UNKNOWN, Exit
from .readiness import Health, Readiness

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .groups import Group
    from .host import Host
    from .loop import Timer

DOWN = "down"
WAITING = "waiting"
STARTING = "starting"
UP = "up"
READY = "ready"
STOPPING = "stopping"
FINISHING = "finishing"
BACKOFF = "backoff"
SCHEDULED = "scheduled"
FAILED = "failed"

_STATUS = {
    STARTING: status.STARTING,
    UP: status.RUNNING,
    READY: status.RUNNING,
    STOPPING: status.RUNNING,
    FINISHING: status.FINISHING,
    FAILED: status.FAILED,
}
_AT_REST = (DOWN, BACKOFF, SCHEDULED, FAILED)
#: Seconds until a control group that could not be removed is looked at again: its processes are dying.
GROUP_PATIENCE = 1.0
#: A service that has lived this long, in seconds, is restarted at once after its death.
STEADY = 1.0
#: Seconds in which what a command leaves behind ends if it is none that stays: a logger at the other end of its pipe, say.
LINGERING = 1.0
#: `run` with this exit code gives up for good (daemontools-encore), `finish` with that one (s6).
RUN_GIVES_UP = 100
FINISH_GIVES_UP = 125

#: Signals that clients may have sent, by name, and the control bytes for them (w is encore's, y s6's).
ACTION_SIGNALS = {
    "hup": SIGHUP,
    "int": SIGINT,
    "quit": SIGQUIT,
    "kill": SIGKILL,
    "usr1": SIGUSR1,
    "usr2": SIGUSR2,
    "alrm": SIGALRM,
    "term": SIGTERM,
    "winch": SIGWINCH,
}
CONTROL_SIGNALS = {
    "h": SIGHUP,
    "i": SIGINT,
    "q": SIGQUIT,
    "k": SIGKILL,
    "1": SIGUSR1,
    "2": SIGUSR2,
    "a": SIGALRM,
    "t": SIGTERM,
    "w": SIGWINCH,
    "y": SIGWINCH,
}


class Service:
    """The service of one service directory.

    name: as in the scan directory, `NAME/log` for a logger. want: status.WANT_*. pid: of `run` or, while FINISHING, of
    `finish`; 0 if none. group: the control group of a service with resources, or None. since: unix ns of the last change
    of pid. up_since: monotonic ns of the last start. next: unix time of the next run, while SCHEDULED. reason: a sentence
    for people, "" if all is well.
    """

    __slots__ = (
        "_cause",
        "_child_started",
        "_complaint",
        "_first",
        "_health",
        "_heartbeat",
        "_lived",
        "_notify",
        "_readiness",
        "_spawn_error",
        "_stays",
        "_stray",
        "_timer",
        "_token",
        "_unswept",
        "adopted",
        "again",
        "deaths",
        "directory",
        "endpoint",
        "exit",
        "exit_at",
        "gone",
        "group",
        "host",
        "late",
        "leaving",
        "logger",
        "name",
        "next",
        "parent",
        "paused",
        "pid",
        "reason",
        "recent",
        "removing",
        "running",
        "set",
        "since",
        "starts",
        "state",
        "stdin",
        "step",
        "terminated",
        "up_since",
        "want",
    )

    def __init__(self, host: Host, name: str, directory: str, parent: Service | None = None) -> None:
        """Take the directory. Raises files.Busy, OSError."""
        self.host = host
        self.name = name
        self.directory = directory
        self.parent = parent
        self.logger: Service | None = None
        self.endpoint = endpoint.Endpoint(directory, host.layout)
        self.set = settings.Settings()
        self.state = DOWN
        self.want = status.WANT_DOWN
        self.pid = 0
        self.since = time.time_ns()
        self.up_since = 0
        self.deaths = 0
        self.starts = 0
        self.step = 0
        self.recent: list[float] = []
        self.exit: Exit | None = None
        self.exit_at = 0
        self.next = 0.0
        self.reason = ""
        self.running = ""
        self.paused = False
        self.terminated = False
        self.adopted = False
        self.late = False
        self.again = False
        self.removing = False
        self.leaving = False
        self.gone = False
        self.stdin: str | int = "/dev/null"
        self.group: Group | None = None
        self._token = ""
        self._child_started = 0
        self._complaint = -1
        self._first = True
        self._spawn_error = ""
        self._lived = 0.0
        self._stays = False
        self._stray = 0
        self._unswept = False
        self._notify = -1
        self._heartbeat = -1
        self._cause = ""
        self._timer: Timer | None = None
        self._readiness: Readiness | None = None
        self._health: Health | None = None
        host.loop.watch(self.endpoint.control, self.obey)

    # -- what others ask -------------------------------------------------------------------------------------------

    @property
    def running_now(self) -> bool:
        """Say whether a process of ours is there."""
        return self.pid != 0

    @property
    def is_ready(self) -> bool:
        """Say whether it does what it is there for."""
        return self.state == READY or (self.state == SCHEDULED and self.exit is not None and self.exit.success)

    @property
    def is_met(self) -> bool:
        """Say whether those that need this service may start: a periodic one, as soon as its last run went well."""
        if self.set.interval is None:
            return self.is_ready
        return self.exit is not None and self.exit.success and self.state not in (DOWN, FAILED)

    @property
    def lived(self) -> float:
        """Give the seconds since the last start of `run`."""
        return (time.monotonic_ns() - self.up_since) / 1e9

    @property
    def enabled(self) -> bool:
        """Say whether the service is normally up: no `down` file, and no other backend that has it."""
        return not os.path.lexists(self.directory + "/down") and self.host.standing(self.name) == holding.MINE

    # -- commands --------------------------------------------------------------------------------------------------

    def up(self) -> None:
        """Want the service up; a service in back-off or failed for good is tried at once."""
        self.want = status.WANT_UP
        self.removing = False
        self._go()

    def once(self) -> None:
        """Have it run, but not again after it has ended."""
        self.want = status.WANT_ONCE
        self.removing = False
        self._go()

    def down(self) -> None:
        """Want the service down and stop it."""
        self.want = status.WANT_DOWN
        self.again = False
        if self.state in (STARTING, UP, READY):
            self._stop("stop")
        elif self.state in (WAITING, BACKOFF, SCHEDULED, FAILED):
            self._cancel()
            self._settle(DOWN, "")
        else:
            self._keep()
        if self.state == DOWN and (self.leaving or self.removing):
            self.host.departed(self)

    def restart(self) -> None:
        """Stop the service and start it again, once it has gone; start it if it is down."""
        if self.state in (STARTING, UP, READY):
            self.want = status.WANT_UP
            self.again = True
            self._stop("restart")
        else:
            self.up()

    def reload(self) -> str:
        """Have the service read its configuration again (its reload signal). Returns why not, "" if all is well."""
        if not self.pid or self.state == FINISHING:
            return "the service is not running"
        self.load()
        if self.set.reload_signal:
            self._signal(self.set.reload_signal)
        self.running = self.set.identity
        self.note("reload", f"signal {self.set.reload_signal}")
        self._keep()
        return ""

    def pause(self, stop: bool) -> str:
        """Suspend or continue the processes. Returns why not, "" if all is well."""
        if stop and self.set.leased:
            return "a leased service is not paused: it is its guard that would stop, and keep the lease"
        if self.pid and self.state != FINISHING:
            self._signal(SIGSTOP if stop else SIGCONT)
            self.paused = stop
            self._keep()
        return ""

    def signal(self, number: int) -> None:
        """Send a signal to the main process."""
        if self.pid and self.state != FINISHING:
            if number == SIGTERM:
                self.terminated = True
            self._signal(number)
            self._keep()

    def remove(self) -> None:
        """Stop the service; it is forgotten when its directory has gone."""
        self.removing = True
        self.note("remove", "stopped for good")
        self.down()

    def leave(self) -> None:
        """Give the directory back once the service is down (the control byte x)."""
        self.leaving = True
        if not self.pid:
            self.down()

    def obey(self, _events: int = 0) -> None:
        """Obey the bytes in the control FIFO, one after the other; unknown ones are ignored."""
        for byte in self.endpoint.read_control().decode("latin-1"):
            if self.gone:
                return
            if byte == "u":
                self.up()
            elif byte == "d":
                self.down()
            elif byte == "o":
                self.once()
            elif byte == "x":
                self.leave()
            elif byte == "p" or byte == "c":
                self.pause(byte == "p")
            elif byte == "r":
                self.restart()
            elif byte in CONTROL_SIGNALS:
                self.signal(CONTROL_SIGNALS[byte])

    # -- start -----------------------------------------------------------------------------------------------------

    def load(self) -> bool:
        """Read the directory's settings if they have changed; False (and the reason set) if they can't be used."""
        try:
            if self.set.signature and settings.signature(self.directory) == self.set.signature:
                return True
            before = self.set
            self.set = settings.load(self.directory)
            if self.group is not None and self.set.resources and self.set.resources != before.resources:
                self._limit()
            if self.set.health != before.health and self.state in (UP, READY) and self._complaint < 0:
                self._look_after()
        except (settings.BadSettings, OSError) as error:
            self.reason = f"{self.directory}: {error}" if isinstance(error, OSError) else str(error)
            self.set.signature = ()
            return False
        self.host.loaded(self)
        return True

    def _go(self) -> None:
        """Start now unless it runs; what is stopping or finishing starts afterwards."""
        if self.state in (STOPPING, FINISHING):
            self.again = True
            self._keep()
        elif self.pid or self.state == STARTING:
            self._keep()
        else:
            self.step = 0
            self.recent.clear()
            self._first = True
            self.begin()

    def begin(self) -> None:
        """Start as soon as what it needs is ready."""
        self._cancel()
        if self.host.stopping:
            return
        self.renew()
        if not self.load():
            self._cannot_start(self.reason)
            return
        missing = self._missing()
        if missing:
            self._settle(WAITING, missing)
            return
        self._settle(STARTING, "")
        self.host.queue(self)

    def _missing(self) -> str:
        """Say which needs are not met, and why; "" if all are."""
        missing = [why for why in (self.host.why_not_met(self, need) for need in self.set.needs) if why]
        return "needs " + ", ".join(missing) if missing else ""

    def explain_waiting(self) -> bool:
        """Bring the reason up to date when a need has changed; says whether it is another one now."""
        before = self.reason
        self.reason = self._missing()
        return self.reason != before

    def _limit(self) -> None:
        """Give the running service its new limits."""
        if not self.pid or self.group is None or not self.group.exists():
            return
        try:
            _pid, complaint = spawn.limit(self.group.path, self.set.resources)
        except OSError as error:
            self.note("resources", f"the new limits could not be set: {error.strerror}")
            return

        def limited(_events: int) -> None:
            try:
                text = os.read(complaint, 4096).decode("utf-8", "replace")
            except BlockingIOError:
                return
            self.host.close_watched(complaint)
            self.note("resources", f"the new limits could not be set: {text}" if text else "new limits are in effect")

        self.host.loop.watch(complaint, limited)

    def launch(self) -> None:
        """Start the process; called by the host in its turn."""
        if self.state != STARTING or self.pid:
            return
        if self._first and "start" in self.set.names:
            self._script("start", [], self._started, 0.0)
            return
        self._run()

    def _started(self, exit_: Exit) -> None:
        """Hear that `start` has ended."""
        self._cancel()
        self.pid = 0
        if self.state == STOPPING:
            self._dead()
        elif not exit_.success:
            self.exit, self.exit_at = exit_, time.time_ns()
            self.give_up(f"start failed: {exit_}")
        else:
            self._run()

    def _run(self) -> None:
        self._first = False
        try:
            start = self.prepare("./run", [])
            start.stdin = self.stdin
            self._open_signals()
        except OSError as error:
            self._cancel()
            self._cannot_start(f"{error.filename}: {error.strerror}")
            return
        for theirs, ours in ((self.set.notification_fd, self._notify), (self.set.heartbeat_fd, self._heartbeat)):
            if theirs is not None:
                start.passed[theirs] = ours
        if not self._spawn(start):
            return
        self.starts += 1
        self.up_since = time.monotonic_ns()
        self.running = self.set.identity
        self.adopted = False
        self.late = False
        self.terminated = False
        self.host.children.watch(self.pid, self.died, self._dying)
        self._settle(UP, "")
        self.note("start", f"pid {self.pid}")
        if self._complaint < 0:
            self._watch()
        self._notify_script("start")

    def _open_signals(self) -> None:
        """Open the FIFOs by which the process tells of its readiness, unless it has, and its health. Raises OSError."""
        if self.set.notification_fd is not None and self.state != READY:
            self._notify = self.host.open_signal(self, "notify")
        if self.set.heartbeat_fd is not None:
            self._heartbeat = self.host.open_signal(self, "heartbeat")

    def _spawn(self, start: spawn.Start) -> bool:
        """Start *start* under a record; on failure the service is on its way to the next attempt."""
        self._token = os.urandom(16).hex()
        start.environment["HOLDFAST_SPAWN"] = self._token
        try:
            self._record(record.STARTING)
            self.pid, complaint = spawn.spawn(start)
        except OSError as error:
            self._cancel()
            self._cannot_start(f"{start.program}: {spawn.explain(error)}")
            return False
        self._child_started = identity.start_time(self.pid)
        self.since = time.time_ns()
        self._spawn_error = ""
        if complaint >= 0:
            self._complaint = complaint
            self.host.loop.watch(complaint, self._complained)
        return True

    def prepare(self, program: str, arguments: list[str]) -> spawn.Start:
        """Say how a program of the service directory is started. Raises OSError."""
        if self.set.resources:
            self._find_group()
        start = spawn.Start(program, self.directory, self.host.environment(self))
        start.arguments = [program, *arguments]
        start.output = self.host.output(self)
        if self.set.managed and needed(self.set.process):
            start.state = self.set.process
        if self.set.resources and self.group is not None and not self.set.leased:
            start.group = self.group.name, self.set.resources
        return start

    def _find_group(self) -> None:
        """Know the group of the service: nothing of it is started without its limits. Raises OSError."""
        self.group = self.host.groups.of(self.name, self.group)
        if self.group is None:
            raise OSError(errno.ENOTSUP, self.host.groups.problem, "resources")

    def _complained(self, _events: int) -> None:
        """Hear from the forked child: why it can't become the program, or (end-of-file) that it has."""
        try:
            text = os.read(self._complaint, 4096)
        except BlockingIOError:
            return
        self._spawn_error = text.decode("utf-8", "replace")
        self._close_complaint()
        if not text and self.state == UP:
            self._watch()

    def _cannot_start(self, reason: str) -> None:
        """Nothing was started: counts as a death, so that back-off and limits apply."""
        self.note("cannot start", reason)
        self.exit, self.exit_at = Exit(spawn.CANNOT_START << 8), time.time_ns()
        self.deaths += 1
        self.pid = 0
        self.since = time.time_ns()
        self._next(0.0, reason)

    # -- readiness and health --------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Wait for readiness unless it is ready already, and look after its health."""
        if self.state == UP:
            self._readiness = Readiness(self, self._notify, self._became_ready, self._not_ready_in_time)
            self._notify = -1
            self._readiness.begin()
        self._look_after()

    def _look_after(self) -> None:
        """Look after the health of the running process, by what is said of it now."""
        if self._heartbeat < 0 and self.set.heartbeat_fd is not None:
            # It is listened to already, or the process has no such descriptor: its next start brings that.
            return
        if self._health is not None:
            self._health.stop()
            self._health = None
        if self.set.health is not None:
            self._health = Health(
                self.host.loop,
                self.host.children,
                self.set.health,
                lambda: self.prepare("./health", []),
                self._heartbeat,
                self._unhealthy,
            )
            self._heartbeat = -1

    def _became_ready(self) -> None:
        self._readiness = None
        if self.state == UP:
            self.note("ready", "")
            self._settle(READY, "")

    def _not_ready_in_time(self) -> None:
        """Say so, and go on waiting: what is slow today is not killed in the middle of its recovery."""
        self.late = True
        self.reason = f"not ready within {self.set.ready_timeout:g} s"
        self.note("not ready", self.reason)
        self.host.changed(self)

    def _unhealthy(self, failures: int) -> None:
        if self.state in (UP, READY):
            self.note("unhealthy", f"health failed {failures} times in a row")
            self._stop("unhealthy")

    # -- stop and death --------------------------------------------------------------------------------------------

    def _stop(self, why: str) -> None:
        """Send the stop signal and arm the kill; nothing runs yet if the start waits in the queue."""
        self._cancel()
        if not self.pid:
            if self.want == status.WANT_DOWN:
                self._settle(DOWN, "")
            else:
                self.begin()
            return
        self.note("stopping", why)
        self.terminated = True
        self._signal(self.set.stop_signal)
        self._signal(SIGCONT)
        self.paused = False
        self._settle(STOPPING, "" if why in ("stop", "restart") else why)
        self._arm(self.set.stop_timeout, self._kill)

    def _kill(self) -> None:
        if self.state == STOPPING and self.pid:
            self.note("killing", f"still there {self.set.stop_timeout:g} s after the stop signal")
            self._signal(SIGKILL)

    def _signal(self, number: int) -> None:
        if self.set.kill == "tree" and self.group is not None and self.group.send(number):
            return
        signals.send(self.pid, number, self.set.kill, self._token)

    def _dying(self) -> None:
        """Clear away what the dead main process leaves, while its group can't be anybody else's."""
        # Of one that nobody wanted to end it is looked at first: what dies is not to be told from what was never there.
        well = self._is_sudden() and identity.zombie_status(self.pid, self._child_started) == 0
        self._unswept = well and self.want == status.WANT_UP
        # One that is becoming another program at this moment has no mark that could be read.
        self._stray = identity.in_session(self.pid) if self._unswept else 0
        if not self._unswept:
            self._sweep(self.pid)

    def _sweep(self, leader: int) -> None:
        """Kill what *leader* has left behind, as the definition says."""
        self._unswept = False
        if self.set.kill != "process" and self.state != FINISHING:
            if self.set.kill == "tree" and self.group is not None:
                self.group.send(SIGKILL)
            signals.sweep(leader, self.set.kill, self._token)

    def died(self, exit_: Exit) -> None:
        """Hear that `run` has ended."""
        if self._complaint >= 0:
            self._complained(0)
        self._close_complaint()
        self._cancel()
        lived = self.lived
        sudden = self._unswept or (exit_.success and self._is_sudden())
        if sudden and self._linger(exit_, lived, self.pid, self._stray):
            self._arm(LINGERING, self._stay)
            self._keep()
        else:
            self._over(exit_, lived, self.pid)

    def _is_sudden(self) -> bool:
        """Say whether a command that ends now, and well, may be one that goes to the background."""
        return (
            self.state in (UP, READY)
            and self.lived < STEADY
            and self.set.restart == "always"
            and self.set.interval is None
        )

    def _linger(self, exit_: Exit, lived: float, leader: int, stray: int = 0) -> bool:
        """Wait for the end of a process that *leader* has left behind, the service's pid meanwhile; False if there is none.

        stray: one that is known.
        """
        token = self._token.encode()
        stray = stray or identity.marked({token}).get(token, 0)

        def ended(_exit: Exit) -> None:
            if self.state == STOPPING or self._stays or not self._linger(exit_, lived, leader):
                self._cancel()
                self._over(exit_, lived, leader)

        started = identity.start_time(stray) if stray else 0
        if not started or not self.host.children.adopt(stray, started, ended):
            return False
        self.pid, self._child_started = stray, started
        return True

    def _stay(self) -> None:
        """What was left behind has not ended by itself."""
        self._stays = True
        signals.send(self.pid, SIGKILL, "tree", self._token)

    def _over(self, exit_: Exit, lived: float, leader: int) -> None:
        """Draw the conclusions from the end of `run`, whose process was *leader*."""
        # It is reaped, and its group still its own unless the number is in use again.
        if self._unswept and not identity.start_time(leader):
            self._sweep(leader)
        stays, self._stays = self._stays, False
        self.pid = leader
        self.exit, self.exit_at = exit_, time.time_ns()
        reason = self._out_of_memory(exit_) or str(exit_)
        # An end that was asked for is no death, nor is a run of a periodic service that went well.
        asked = self.state == STOPPING and (self.again or self.want != status.WANT_UP)
        if not asked and not (self.set.interval is not None and exit_.success):
            self.deaths += 1
        if exit_.kind == EXITED and exit_.code == spawn.CANNOT_START and self._spawn_error:
            reason = self._spawn_error
            self.note("cannot start", reason)
        wanted = self.state == STOPPING
        self.note("exit", reason if not wanted else f"{reason}, as asked")
        self._notify_script("killed" if exit_.kind != EXITED else "exit")
        self.host.log_ends(self)
        self.pid = 0
        self.since = time.time_ns()
        self.paused = False
        self._lived, self._cause = lived, reason
        if stays and not wanted:
            self.give_up(
                "the command goes to the background, where nobody can supervise it: use its foreground option, or, if it has "
                "none, type: forking"
            )
            return
        if "finish" in self.set.names and os.path.exists(self.directory + "/finish"):
            code = exit_.code if exit_.kind == EXITED else -1
            self._settle(FINISHING, "")
            self._script("finish", [str(code), str((exit_.status or 0) & 0xFF)], self.finished, self.set.finish_timeout)
        else:
            self._dead()

    def _out_of_memory(self, exit_: Exit) -> str:
        """Say so if the kernel has killed processes of the service because it has used up its memory_max."""
        kills = self.group.killed() if self.group is not None else 0
        limit = self.set.resources.get("memory_max")
        if not kills or limit is None:
            return ""
        # A guard ends with 128 + 9 for its service; how an adopted process ended may be unknown.
        if exit_.kind == UNKNOWN or exit_.code == (128 + SIGKILL if exit_.kind == EXITED else SIGKILL):
            return f"killed by the kernel: memory_max reached ({limit} bytes)"
        return f"{exit_}, after the kernel had killed {kills} of its processes: memory_max reached ({limit} bytes)"

    def _leave_group(self, last: bool = False) -> None:
        """Remove the control group of a service at rest; one in which somebody is left stays, for the next attempt."""
        if self.group is None or self.pid or self.state not in _AT_REST:
            return
        if not self.group.remove() and not last:
            self.host.loop.later(GROUP_PATIENCE, lambda: self._leave_group(last=True))

    def finished(self, exit_: Exit) -> None:
        """Hear that `finish` has ended."""
        self._cancel()
        self.pid = 0
        if exit_.kind == EXITED and exit_.code == FINISH_GIVES_UP:
            self.give_up(f"finish gave up after {self._cause}")
        else:
            self._dead()

    def _finish_late(self) -> None:
        self.note("killing", f"finish still runs after {self.set.finish_timeout:g} s")
        signals.send(self.pid, SIGKILL, "group")

    def _script(self, name: str, arguments: list[str], ended: Callable[[Exit], None], timeout: float) -> None:
        """Run a script of the service directory, its pid being the service's meanwhile.

        In a managed directory it has the service's process state, elsewhere it runs as the supervisor itself.
        """
        self._token = os.urandom(16).hex()
        try:
            start = self.prepare("./" + name, arguments)
            start.environment["HOLDFAST_SPAWN"] = self._token
            self._record(record.STARTING)
            self.pid, complaint = spawn.spawn(start)
            if complaint >= 0:
                os.close(complaint)
        except OSError as error:
            self.pid = 0
            self.note("cannot start", f"{name}: {spawn.explain(error)}")
            ended(Exit(spawn.CANNOT_START << 8))
            return
        self._child_started = identity.start_time(self.pid)
        self.since = time.time_ns()
        self._keep()
        self.host.children.watch(self.pid, ended)
        self._arm(timeout, self._finish_late)

    def _dead(self) -> None:
        """Everything of this life is over: what comes next?"""
        self.since = time.time_ns()
        given_up = self.exit is not None and self.exit.kind == EXITED and self.exit.code == RUN_GIVES_UP
        if given_up and self.want == status.WANT_UP and not self.again:
            self.give_up("run gave up: exit code 100")
        else:
            self._next(self._lived, self._cause)

    def _next(self, lived: float, reason: str) -> None:
        if self.leaving:
            self.again = False
            self._stop_script(reason)
            return
        if self.want == status.WANT_UP and self.again:
            self.again = False
            self.step = 0
            self.begin()
            return
        good = self.exit is not None and self.exit.success
        if self.want != status.WANT_UP:
            if self.again:
                self.again = False
                self.begin()
                return
            self._stop_script()
            return
        if self.set.interval is not None:
            self._schedule(reason, good)
            return
        if self.set.restart == "never" or (self.set.restart == "on_failure" and good):
            self._stop_script("" if good else reason)
            return
        self._retry(lived, reason)

    def _retry(self, lived: float, reason: str) -> None:
        now = time.monotonic()
        if self.set.death_limit:
            self.recent = [at for at in self.recent if now - at < self.set.death_window]
            self.recent.append(now)
            if len(self.recent) >= self.set.death_limit:
                self.give_up(f"died {len(self.recent)} times within {self.set.death_window:g} s, last with {reason}")
                return
        if lived >= STEADY:
            self.step = 0
            self.begin()
            return
        delay = min(self.set.backoff_initial * 2.0 ** min(self.step, 30), self.set.backoff_maximum)
        self.step += 1
        self._settle(BACKOFF, f"{reason}; next start in {delay:g} s")
        self._timer = self.host.loop.later(delay, self.begin)

    def _schedule(self, reason: str, good: bool) -> None:
        """Run a periodic service again one interval after its last start, at once if that is over."""
        delay = schedule.pause(self.set.interval or 0.0, self.lived)
        self.next = time.time() + delay
        self._settle(SCHEDULED, "" if good else f"last run: {reason}")
        self._timer = self.host.loop.later(delay, self.begin)

    def give_up(self, reason: str) -> None:
        """Fail for good: only a command starts it again."""
        self.note("failed", reason)
        self.again = False
        self._settle(FAILED, reason)
        self._maybe_leave()

    def _stop_script(self, reason: str = "") -> None:
        """Run encore's `stop` if there is one, then be down."""
        if "stop" in self.set.names and not self._first:
            self._first = True
            self._settle(FINISHING, reason)
            self._cause = reason
            self._script("stop", [], self._stopped, self.set.finish_timeout)
        else:
            self._at_rest(reason)

    def _stopped(self, _exit: Exit) -> None:
        """Hear that `stop` has ended."""
        self._cancel()
        self.pid = 0
        self.since = time.time_ns()
        self._at_rest(self._cause)

    def _at_rest(self, reason: str) -> None:
        if self.again:
            self.again = False
            self.begin()
            return
        self._settle(DOWN, reason)
        self._maybe_leave()

    def _maybe_leave(self) -> None:
        if self.leaving or self.removing or self.host.stopping:
            self.host.departed(self)

    def _notify_script(self, event: str) -> None:
        """Tell encore's `notify`, without waiting for it: notify SCRIPT start|exit|killed PID CODE."""
        if "notify" not in self.set.names:
            return
        code = self.exit.code if self.exit is not None and event != "start" else 0
        try:
            start = self.prepare("./notify", ["run", event, str(self.pid), str(code)])
            _pid, complaint = spawn.spawn(start)
            if complaint >= 0:
                os.close(complaint)
        except OSError as error:
            self.note("cannot start", f"notify: {spawn.explain(error)}")

    # -- recovery --------------------------------------------------------------------------------------------------

    def resume(self) -> None:
        """Be started as if the earlier supervisor were still there: a periodic service keeps its time."""
        if self.set.interval is not None and self.exit is not None and self.up_since:
            self._schedule(str(self.exit), self.exit.success)
        else:
            self.begin()

    def adopt(self, left: record.Record) -> bool:
        """Go on with the process that *left* names; False if it is not there any more."""
        finishing = left.phase == record.FINISHING
        exited, dying = (self.finished, None) if finishing else (self.died, self._dying)
        if not self.host.children.adopt(left.pid, left.started, exited, dying):
            return False
        self.adopted = True
        if self.set.resources:
            self.group = self.host.groups.of(self.name)
        self._token, self.running = left.token, left.identity
        self.pid, self._child_started = left.pid, left.started
        if finishing:
            self.state = FINISHING
            self._arm(self.set.finish_timeout, self._finish_late)
        elif left.flags & record.STOPPING:
            self.state = STOPPING
            self.again = self.want == status.WANT_UP
            self._arm(self.set.stop_timeout, self._kill)
        else:
            self.state = READY if left.flags & record.READY else UP
            try:
                self._open_signals()
            except OSError as error:
                self.note("deaf", f"{error.filename}: {error.strerror}")
            self._watch()
        self.note("adopted", f"pid {self.pid}")
        if left.phase == record.RUNNING and self.endpoint.has_status():
            # Record and status say this already; the pid is there only if OpenRC had the services then too.
            self._tell_pid()
            self.host.changed(self)
        else:
            self._keep()
        return True

    # -- bookkeeping -----------------------------------------------------------------------------------------------

    def renew(self) -> None:
        """Take the directory again if another one has got its name, or its `supervise/` was lost; the process goes on."""
        if self.endpoint.intact(self.directory) or not os.path.isdir(self.directory):
            return
        try:
            new = endpoint.Endpoint(self.directory, self.host.layout)
        except files.Busy:
            self.host.complain(f"{self.name}: another supervisor has its new directory")
            return
        except OSError as error:
            self.host.complain(f"{self.name}: {error.filename or ''}: {error.strerror}")
            return
        self.host.loop.forget(self.endpoint.control)
        self.endpoint.close(forget=False)
        self.endpoint = new
        self.host.loop.watch(new.control, self.obey)
        self._keep()
        self.host.announce(self)

    def close(self, forget: bool) -> None:
        """Let go of everything; the service must have no process. *forget* removes `supervise/`'s content."""
        self.gone = True
        self._cancel()
        self._close_complaint()
        self.host.loop.forget(self.endpoint.control)
        self.endpoint.close(forget)

    def note(self, event: str, message: str) -> None:
        """Write down what happened, for `why` and whoever listens to the events."""
        entry: dict[str, Any] = {"at": time.time(), "event": event, "pid": self.pid, "message": message}
        if event == "exit" and self.exit is not None:
            entry["exit"] = {"kind": KINDS[self.exit.kind], "code": self.exit.code}
        self.endpoint.note(entry)
        self.host.event(self, entry)

    def history(self, count: int) -> list[dict[str, Any]]:
        """Give the last entries of the journal."""
        return journal.read(self.endpoint.path + "/journal", count)

    def rest(self, reason: str) -> None:
        """Be down."""
        self._settle(DOWN, reason)

    def _settle(self, state: str, reason: str) -> None:
        self.state = state
        self.reason = reason
        self._leave_group()
        self._keep()

    def _keep(self) -> None:
        """Publish the present state: record, status, and whoever waits for it."""
        phase = record.IDLE
        if self.pid:
            phase = (
                record.FINISHING
                if self.state == FINISHING or ("start" in self.set.names and self.state == STARTING)
                else record.RUNNING
            )
        try:
            self._record(phase)
        except OSError as error:
            self.reason = f"record: {error.strerror}"
        terminated = self.terminated and self.state in (UP, READY, STOPPING)
        self.endpoint.write_status(
            self.since, self.pid, self.want, _STATUS.get(self.state, status.DOWN), self.paused, terminated
        )
        self._tell_pid()
        self.host.changed(self)

    def _tell_pid(self) -> None:
        if self.host.openrc and self.parent is None:
            self.endpoint.write_pid(self.pid if self.state in (UP, READY, STOPPING) else 0)

    def _record(self, phase: int) -> None:
        kept = record.Record()
        kept.boot, kept.namespace = self.host.boot, self.host.namespace
        kept.phase = phase
        kept.want = self.want
        kept.flags = (
            (record.PAUSED if self.paused else 0)
            | (record.READY if self.state == READY else 0)
            | (record.STOPPING if self.state == STOPPING else 0)
            | (record.FAILED if self.state == FAILED else 0)
            | (record.REMOVING if self.removing else 0)
        )
        kept.pid, kept.started = self.pid, self._child_started
        kept.since, kept.up = self.since, self.up_since
        kept.deaths, kept.step = self.deaths, self.step
        if self.exit is not None:
            kept.kind, kept.code = self.exit.kind, self.exit.code
        kept.token, kept.identity = self._token, self.running
        self.endpoint.write_record(kept)

    def _arm(self, timeout: float, late: Callable[[], None]) -> None:
        """Call *late* in *timeout* seconds; 0 means never."""
        if timeout:
            self._timer = self.host.loop.later(timeout, late)

    def _cancel(self) -> None:
        """Wait for nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._readiness is not None:
            self._readiness.stop()
            self._readiness = None
        if self._health is not None:
            self._health.stop()
            self._health = None
        for descriptor in (self._notify, self._heartbeat):
            if descriptor >= 0:
                os.close(descriptor)
        self._notify = self._heartbeat = -1

    def _close_complaint(self) -> None:
        if self._complaint >= 0:
            self.host.close_watched(self._complaint)
            self._complaint = -1
