# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the backends of the daemontools family have in common. PRIVATE to the collection.

The suite has a scan directory of its own, `SCAN/.NAME`, with one directory for each portable one; `rescan` brings it
into line. Commands are bytes that are written to the control FIFOs: none can be lost while the supervisor lives, since
they wait there in their order. What became of a service is judged by its status file and by what its own scripts note,
never by the exit code of a client.
"""

from __future__ import annotations

import os
import signal
import time
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from . import active, attending, former_start, holding
from . import family_directories as directories
from . import family_scripts as scripts
from .family_files import NoSupervisor, Status, is_dead, read, send, supervised
from .family_wait import Waiting
from .interface import (
    BACKOFF,
    Backend,
    BackendError,
    NotRunning,
    Service,
    Snapshot,
    Verdict,
)
from .labels import obstacle as label_obstacle
from .log_table import waiting
from .portable import Portable, read_all, read_for
from .portable import read as read_portable
from .presence import find_root

#: Seconds in which a suite must have noticed a new directory; runsvdir and svscan look every five seconds.
NOTICE = 15.0
#: Seconds in which a supervisor must have ended after its service has.
LEAVE = 15.0
#: Seconds in which a logger has read what a service has left in its pipe.
READ = 5.0
#: Seconds in which `run` has noted its process, on a busy machine too; it takes a few milliseconds.
NOTING = 1.0
#: What the suites have in common: supplied by the scripts and by waiting, unless the suite itself has it.
SUPPLIED = frozenset(
    (
        "readiness.notification_fd",
        "readiness.check",
        "lease",
        "forking",
        "hooks",
        "reload",
        "kill.group",
        "needs",
        "needs.active",
        "oneshot",
        "getty",
        "health",
        "periodic",
        "kill.tree",
        "process",
        "security_context",
        "log.syslog",
        "log.journald",
        "identity",
    )
)
#: What `finish` supplies.
BY_FINISH = frozenset(("restart", "failure_limit", "backoff"))
LOGS = frozenset(("log.directory", "log.size", "log.tai64n", "log.none"))

_LOG_DOWN = "log/down"
_LOG_CONFIG = "log/config"
_TOOLS = {"log.syslog": "logger", "log.journald": "systemd-cat", "process": "setpriv"}
_SEARCH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class _Unfinished(Exception):
    """The `finish` of a service goes on and on."""


class Family(Backend):
    """One suite on SCAN/.NAME."""

    starts_new = True
    #: The layout of its status files, see family_files.
    form: ClassVar[str]
    dialect: ClassVar[scripts.Dialect]
    #: The name of its root process, and of the programs that it needs to be of use.
    scanner: ClassVar[str]
    #: A directory that is always there for it, "" if it needs none. No service can have the name.
    idle: ClassVar[str] = ""
    #: What tells it to keep a service up.
    up: ClassVar[bytes] = b"u"
    #: Largest size of a log file that its logger can be told.
    log_size_limit: ClassVar[int] = 2**28 - 1

    def __init__(self, scan: str) -> None:
        super().__init__(scan)
        self.root = f"{scan}/.{self.name}"
        self._pid = 0
        self._waiting = Waiting(self)

    # -- the interface

    def snapshot(self) -> Snapshot:
        """Read the status of every service."""
        pid = self.root_process()
        services = {}
        portables = read_all(self.scan, self.name)
        settled = self._settled([name for name in portables if supervised(self.directory(name), self.form)])
        for name, status in settled.items():
            services[name] = self.service(portables[name], status)
            services[name].stale = not directories.same(self.directory(name), self.files(portables[name]))
        since = os.stat(f"/proc/{pid}").st_mtime
        return Snapshot({"pid": pid, "version": self.scanner, "since": since, "scan": self.root}, services)

    def rescan(self) -> None:
        """Bring the suite's directories into line with the portable ones."""
        self._align(read_all(self.scan, self.name), directories.ours(self.root))

    def settle(self, name: str) -> None:
        """Bring the directory of one service into line."""
        portable = read_for(self.scan, name, self.name)
        names = {name, f".{name}.gone", f".{name}.new"}
        self._align({} if portable is None else {name: portable}, directories.ours(self.root) & names)

    def _align(self, wanted: dict[str, Portable], present: set[str]) -> None:
        self.root_process()
        for entry in sorted(entry for entry in present if entry.startswith(".")):
            # Left by an interrupted run, which may have come to the point where the suite had forgotten it.
            self._part_with(entry)
            directories.destroy(f"{self.root}/{entry}")
        present -= {entry for entry in present if entry.startswith(".")}
        leaving = {name for name in present if name not in wanted or self._needs_another(wanted[name])}
        for name in leaving:
            os.rename(f"{self.root}/{name}", f"{self.root}/.{name}.gone")
        if leaving:
            self.announce()
        for name in leaving:
            self._part_with(f".{name}.gone")
        if leaving and not holding.switching(self.scan):
            self.until_forgotten()
        for name in leaving:
            directories.destroy(f"{self.root}/.{name}.gone")
        added = [name for name in wanted if name not in present or name in leaving]
        for name, portable in wanted.items():
            files = self.files(portable)
            if name in added:
                # Born down: the first start is ours, after the supervisors of the service and of its log are there.
                directories.build(self.root, name, {**files, "down": ("", scripts.PLAIN)})
            else:
                self._refresh(portable, directories.update(self.directory(name), files))
        self._until_noticed([name for name in wanted if not self._noticed(name)])
        for name in added:
            if wanted[name].enabled:
                self._command(wanted[name], "start")
                os.unlink(f"{self.directory(name)}/down")

    def control(self, commands: list[tuple[str, str]]) -> dict[str, str]:
        """Write the bytes for the commands."""
        refused = {}
        for name, action in commands:
            portable = read_portable(self.scan, name)
            if portable is None:
                refused[name] = "there is no such service"
                continue
            try:
                self._command(portable, action)
            except (NoSupervisor, _Unfinished) as error:
                refused[name] = str(error)
            except OSError as error:
                raise BackendError(f"{name}: {action}: {error}") from None
        return refused

    def wait(self, wishes: list[tuple[str, str]], timeout: float) -> dict[str, Verdict]:
        """Watch the status files until all wishes have a verdict."""
        return self._waiting.wait(wishes, timeout)

    def close(self) -> None:
        """There is nothing to let go."""

    def link(self, name: str) -> str:
        """Lead clients of the family to the suite's own files."""
        return f"../.{self.name}/{name}/supervise"

    def log_owner(self) -> tuple[int, int] | None:
        """Give the owner of the suite's mark for loggers, which the role makes; None for the user of the suite."""
        try:
            state = os.stat(f"{self.root}/.logger")
        except OSError:
            return None
        return state.st_uid, state.st_gid

    def problems(self, metas: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """Find names that somebody else has in the suite's directory."""
        own = directories.ours(self.root)
        return [
            f"{name}: {self.directory(name)} was not made by this collection: give the service another name, or move it away"
            for name in metas
            if name not in own and os.path.lexists(self.directory(name))
        ]

    def obstacle(self, feature: str, meta: Mapping[str, Any], snapshot: Snapshot) -> str:
        """Say what the suite or the host lacks for this definition."""
        if feature == "security_context":
            return label_obstacle((meta.get("process") or {}).get("security_context") or {})
        if feature == "readiness.notification_fd" and not self.dialect.notification:
            number = int((meta.get("readiness") or {}).get("notification_fd") or 0)
            return "" if number < 10 else f"run is a sh script, which opens no descriptor above 9, not {number}"
        if feature == "backoff":
            initial = float((meta.get("backoff") or BACKOFF)["initial"])
            return "" if initial >= 1 else f"it waits for a second before it starts a service again, not {initial:g}"
        if feature == "log.size":
            size = int((meta.get("log") or {}).get("size") or 0)
            limit = self.log_size_limit
            return "" if size <= limit else f"its logger rotates at {limit} bytes at the latest, not {size}"
        if feature in _TOOLS and not find_program(_TOOLS[feature]):
            return f"there is no program {_TOOLS[feature]} on this host"
        return ""

    # -- what a suite brings

    @abstractmethod
    def logger(self, log: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
        """Give the command of the suite's logger for a log directory, which is its working directory, and its config."""

    def announce(self) -> None:
        """Have the root process look at its directory now, as far as it lets itself be told."""

    def until_forgotten(self) -> None:
        """Wait until the root process knows nothing more of directories that were taken away, for a while."""

    def extra_files(self, portable: Portable) -> scripts.Files:
        """Give the files that only this suite has."""
        return {}

    # -- what they share

    def directory(self, name: str) -> str:
        """Give the suite's own directory of a service."""
        return f"{self.root}/{name}"

    def root_process(self) -> int:
        """Give the pid of the root process. Raises NotRunning."""
        if not self._pid or not os.path.exists(f"/proc/{self._pid}"):
            self._pid = find_root(self.scanner, self.root)
        if not self._pid:
            raise NotRunning(f"no {self.scanner} runs on {self.root}")
        return self._pid

    def files(self, portable: Portable) -> scripts.Files:
        """Give the files of the suite's own directory for a service."""
        meta = portable.meta
        files = {"run": (scripts.run(portable, self.dialect), scripts.EXECUTABLE), **self.extra_files(portable)}
        if self.dialect.native_finish or scripts.attended(portable, self.dialect):
            files["finish"] = scripts.finish(portable, self.dialect), scripts.EXECUTABLE
        if scripts.stays(portable, self.dialect):
            files["attend"] = scripts.attend(portable, self.dialect), scripts.EXECUTABLE
        if not portable.enabled:
            files["down"] = "", scripts.PLAIN
        if portable.idle and (meta.get("log") or {}).get("to", "none") != "none":
            # Another logger has the directory of the log.
            files[_LOG_DOWN] = "", scripts.PLAIN
        log = meta.get("log") or {}
        if log.get("to", "none") != "none":
            owner = self.log_owner()
            own = owner is None or owner[0] == os.geteuid()
            files["log/run"] = scripts.log_run(portable, None if own else owner), scripts.EXECUTABLE
            command, config = self._logger(portable.name, log)
            path = f"{self.directory(portable.name)}/{_LOG_CONFIG}" if config else ""
            files["log/logger"] = scripts.logger(portable, command, path), scripts.EXECUTABLE
            if config:
                files[_LOG_CONFIG] = "".join(f"{line}\n" for line in config), scripts.PLAIN
        return files

    def _logger(self, name: str, log: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
        if log["to"] == "syslog":
            return f"logger -t {name} -p daemon.info", ()
        if log["to"] == "journald":
            return f"systemd-cat -t {name} -p info", ()
        return self.logger(log)

    def status(self, name: str) -> Status | None:
        """Give what the status file of a service says now, None while there is none."""
        found = read(self.directory(name), self.form)
        if found is not None and found.pid and is_dead(found.pid):
            # daemontools sleeps for a second after each start and hears of no death meanwhile.
            found.pid, found.unheard = 0, True
            # Where the suite runs `finish`, that comes once it hears of it.
            found.finishing = self.dialect.native_finish
        if found is not None and found.pid and not self.dialect.native_finish:
            note = attending.of(self.directory(name), found.pid)
            # The parent has become `finish`.
            found.finishing = found.finishing or (note is not None and note.state == attending.ENDED)
        return found

    def _settled(self, names: list[str]) -> dict[str, Status | None]:
        """Give the status of each service, once processes that have just been started have noted of which definition they are.

        Whoever publishes another definition before that could not tell whether the process has read the old one.
        """
        deadline = time.monotonic() + NOTING
        found, open_ = {name: self.status(name) for name in names}, names
        while True:
            open_ = [name for name in open_ if not self._is_settled(name, found[name])]
            if not open_ or time.monotonic() >= deadline:
                return found
            time.sleep(0.01)
            found.update((name, self.status(name)) for name in open_)

    def _is_settled(self, name: str, status: Status | None) -> bool:
        if status is None or not status.pid or status.finishing or self._noted(name, status.pid):
            return True
        return bool(self._waits(name, status.pid))

    def attends(self, meta: Mapping[str, Any]) -> bool:
        """Tell whether a service with this definition has a parent of ours."""
        entries = frozenset(meta.get("files") or ())
        return scripts.attended(Portable(str(meta.get("name")), "", entries, dict(meta)), self.dialect)

    def _noted(self, name: str, pid: int) -> bool:
        """Tell whether `run` has come to its end, which is where the service's own program begins."""
        directory = self.directory(name)
        started = directories.words(directory, "started")
        if started[:1] != [str(pid)]:
            return False
        return started[4:] != [scripts.ATTENDED] or attending.of(directory, pid) is not None

    def _waits(self, name: str, pid: int) -> list[str]:
        """Give what `run` waits for before it becomes the service, as `active.words`."""
        waiting = directories.words(self.directory(name), "waiting")
        return waiting[1:] if waiting[:1] == [str(pid)] else []

    def stands_by(self, name: str) -> bool:
        """Tell whether all that a service waits for are leases that others hold."""
        return active.stands_by(self.scan, name, self._look_at)

    def _look_at(self, name: str) -> tuple[bool, list[str] | None, list[str]]:
        """Give whether a service is ready, what it needs if it waits for that, and which of those have to be active."""
        portable = read_portable(self.scan, name)
        service = None if portable is None else self.service(portable)
        if portable is None or service is None or service.state != "waiting":
            return service is not None and service.ready, None, []
        return False, portable.meta.get("needs") or [], portable.meta.get("needs_active") or []

    def service(self, portable: Portable, status: Status | None = None) -> Service:
        """Give what is known of a service."""
        directory = self.directory(portable.name)
        status = status or self.status(portable.name)
        record: dict[str, Any] = {"name": portable.name, "enabled": portable.enabled, "loaded": portable.identity}
        if status is None:
            return Service(record)
        started = directories.words(directory, "started")
        running = bool(status.pid) and not status.finishing
        ready = running and not status.stopping and self.is_ready(portable, status)
        reason = directories.text(directory, "failed") if not status.pid and status.want != "up" else ""
        state = "finishing" if status.finishing else "ready" if ready else "up" if running else ""
        state = "stopping" if status.stopping and running else state
        if not state:
            # Who was told to end has not failed, whatever encore makes of his exit code.
            failed = status.failed and not directories.size(directory, "asked")
            state = "backoff" if status.want == "up" else "failed" if reason or failed else "down"
        waits = self._waits(portable.name, status.pid) if running else []
        if waits:
            state, running, reason = "waiting", False, f"waits for {active.wished(waits)}"
        pid = status.pid if running else None
        if status.pid == 0 and state in ("down", "failed"):
            left = former_start.of_suite(directory)
            if left:
                state, pid, reason = "stopping", left[0], former_start.ending_text(left)
        elif running and not ready and not self._noted(portable.name, status.pid):
            left = former_start.of_suite(directory, status.pid)
            if left:
                state, reason = "starting", former_start.text(left)
        record.update(
            state=state,
            pid=pid,
            since=status.since,
            ready=ready,
            want=status.want,
            paused=status.paused,
            reason=reason,
            exit=self.ending(directory),
        )
        if running and len(started) > 3 and started[0] == str(status.pid):
            record["definition"] = started[3]
            record["attended"] = started[4:] == [scripts.ATTENDED]
            if record["attended"]:
                record["definition"] = attending.definition(directory, status.pid) or None
                attending.overlay(record, attending.of(directory, status.pid), portable.meta)
        return Service(record)

    def is_ready(self, portable: Portable, status: Status) -> bool:
        """Tell whether a running service is known to be ready."""
        if not self._noted(portable.name, status.pid):
            return False
        readiness = portable.meta.get("readiness") or {}
        directory = self.directory(portable.name)
        if readiness.get("notification_fd") is not None:
            if self.dialect.notification:
                return status.ready
            # `run` empties the file before it notes its pid.
            return bool(directories.size(directory, "ready"))
        if readiness.get("check"):
            return directories.text(directory, "verified") == str(status.pid)
        note = attending.of(directory, status.pid)
        if note is not None:
            return time.time() - note.since >= float(readiness.get("grace") or 0.0)
        # `run` may have waited, or have been kept waiting by a busy host, before it became the service.
        since = max(status.since, directories.changed_at(directory, "started"))
        return time.time() - since >= float(readiness.get("grace") or 0.0)

    def ending(self, directory: str) -> dict[str, Any] | None:
        """Give how the last process of a service ended, as `finish` has noted it; None where nobody did."""
        words = directories.words(directory, "ended")
        if len(words) < 2:
            return None
        at = directories.changed_at(directory, "ended")
        if words[0] == "-1":
            return {"kind": "signal", "code": int(words[1]), "at": at}
        return {"kind": "exit", "code": int(words[0]), "at": at}

    def _command(self, portable: Portable, action: str) -> None:
        name, directory = portable.name, self.directory(portable.name)
        fifo = f"{directory}/supervise/control"
        status = self.status(name)
        if action == "once" and status is not None and status.finishing:
            # Whoever is told so while `finish` runs starts nothing, then or later.
            status = self._until_finished(portable, status)
        running = status is not None and bool(status.pid)
        if action in ("start", "once", "restart"):
            for file in ("failed", "deaths", "pause"):
                directories.note(directory, file, "")
            self._waiting.commanded(name, status)
        if action == "reload" and status is not None and running and not status.finishing:
            self._reload(portable, status.pid)
            return
        periodic = portable.meta.get("type") == "periodic"
        if periodic and action in ("start", "once", "restart", "stop", "remove"):
            # Before the byte, which may start it.
            directories.note(
                directory, attending.NOW, {"start": "now\n", "restart": "now\n", "once": "once\n"}.get(action, "")
            )
        asked = action in ("restart", "stop", "remove") and running
        if asked and status is not None:
            directories.note(directory, "asked", "yes\n")
            self._waiting.stopping(portable, status)
        send(fifo, (_BYTES[action] if action != "restart" or running else b"u").replace(b"u", self.up))
        note = attending.of(directory, status.pid) if status is not None and running else None
        if note is not None and note.child and action in ("pause", "continue"):
            # The suite has done it to the parent alone.
            signal_process(note.child, signal.SIGSTOP if action == "pause" else signal.SIGCONT)
        elif note is not None and periodic and action in ("start", "once"):
            # A parent that waits for the next run looks for an order then.
            send(fifo, b"c")
        if action in ("start", "once", "restart") and status is not None and status.finishing:
            self._end_pause(status.pid)

    def _until_finished(self, portable: Portable, status: Status) -> Status | None:
        """Wait until `finish` has ended, and give the status then. Raises _Unfinished."""
        directory = self.directory(portable.name)
        found: Status | None = status
        limit = float(portable.meta.get("finish_timeout") or 0.0) + LEAVE
        deadline = time.monotonic() + limit
        while found is not None and found.finishing and supervised(directory, self.form):
            if time.monotonic() >= deadline:
                raise _Unfinished(f"its finish has not ended within {limit:g} s")
            self._end_pause(found.pid)
            time.sleep(0.01)
            found = self.status(portable.name)
        return found

    def _end_pause(self, pid: int) -> None:
        """End the pause that `finish` makes before a service starts again."""
        try:
            with open(f"/proc/{pid}/comm", encoding="ascii") as file:
                if file.read().strip() == "sleep":
                    signal_process(pid, signal.SIGTERM)
        except OSError:
            return

    def _reload(self, portable: Portable, pid: int) -> None:
        directory = self.directory(portable.name)
        signal_process(pid, signal.Signals[f"SIG{portable.meta.get('reload_signal') or 'HUP'}"])
        started = directories.words(directory, "started")
        if len(started) > 3 and started[0] == str(pid):
            line = " ".join([*started[:3], portable.identity, *started[4:]])
            directories.note(directory, "started", f"{line}\n")
        if started[4:] == [scripts.ATTENDED]:
            directories.note(directory, attending.DEFINITION, f"{pid} {portable.identity}\n")

    def _needs_another(self, portable: Portable) -> bool:
        """Tell whether a service has come by a logger, or lost it, which the suites see in a new directory only."""
        return ("log/run" in self.files(portable)) != directories.has_log(self.directory(portable.name))

    def _refresh(self, portable: Portable, changed: set[str]) -> None:
        """Have the logger of a service read its new settings, or start anew if they are in its command.

        The service does not notice. svlogd must not be told to end without need: the last line that it reads then is lost.
        """
        parts = {path for path in changed if path.startswith("log/")} - {_LOG_DOWN}
        told = b"" if not parts else b"h" if parts == {_LOG_CONFIG} else b"t"
        if _LOG_DOWN in changed and not portable.idle:
            told = self.up
        if told:
            try:
                send(f"{self.directory(portable.name)}/log/supervise/control", told)
            except NoSupervisor:
                return

    def _until_noticed(self, names: list[str]) -> None:
        """Wait until the suite has noticed all of *names*. Raises BackendError when it does not."""
        deadline = time.monotonic() + NOTICE
        waiting = list(names)
        told = 0.0
        while waiting:
            if time.monotonic() >= told + 0.5:
                self.announce()
                told = time.monotonic()
            time.sleep(0.01)
            waiting = [name for name in waiting if not self._noticed(name)]
            if waiting and time.monotonic() >= deadline:
                raise BackendError(
                    f"{self.scanner} (process {self.root_process()}) has not noticed {self.directory(waiting[0])}"
                    f" within {NOTICE:g} s: see what it says"
                )

    def _noticed(self, name: str) -> bool:
        """Tell whether the suite has noticed a service, with its logger."""
        directory = self.directory(name)
        parts = [directory, f"{directory}/log"] if directories.has_log(directory) else [directory]
        return all(supervised(part, self.form) for part in parts)

    def _part_with(self, entry: str) -> None:
        """Stop what still runs in a directory that the root process has lost sight of."""
        directory = f"{self.root}/{entry}"
        for part in (directory, f"{directory}/log"):
            deadline = time.monotonic() + LEAVE
            sent = killed = False
            while supervised(part, self.form):
                if not sent:
                    if part != directory:
                        # Told to end, it would leave what it has not read.
                        self._until_read(part)
                    try:
                        send(f"{part}/supervise/control", b"dx")
                    except NoSupervisor:
                        break
                    sent = True
                if time.monotonic() >= deadline:
                    if killed:
                        raise BackendError(f"{part}: its supervisor does not end")
                    # It is of a service that nobody told to stop, or that does not.
                    send(f"{part}/supervise/control", b"k")
                    killed, deadline = True, time.monotonic() + LEAVE
                time.sleep(0.01)

    def _until_read(self, part: str) -> None:
        """Wait until a logger has read what is in its pipe; not for long where somebody writes on and on."""
        status, deadline = read(part, self.form), time.monotonic() + READ
        while status is not None and status.pid and waiting(f"/proc/{status.pid}/fd/0"):
            if time.monotonic() >= deadline:
                return
            time.sleep(0.005)


_BYTES = {
    "start": b"u",
    "stop": b"d",
    "remove": b"d",
    "once": b"o",
    # In one write: the supervisor wants it down, then up again, whenever it reads them.
    "restart": b"du",
    "reload": b"u",
    "pause": b"p",
    "continue": b"c",
}


def find_program(name: str) -> str:
    """Give the path of a program that services find, "" if there is none."""
    for folder in _SEARCH.split(":"):
        if os.access(f"{folder}/{name}", os.X_OK):
            return f"{folder}/{name}"
    return ""


def signal_process(pid: int, number: int) -> None:
    """Send a signal to a process; one that has ended gets none."""
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return
    try:
        signal.pidfd_send_signal(handle, number)
    except OSError:
        return
    finally:
        os.close(handle)
