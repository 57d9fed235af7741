# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The supervisor of a scan directory: its services, and what they need of one another. PRIVATE to the collection."""

from __future__ import annotations

import collections
import fcntl
import os
import signal
import sys
import time

from .. import holding
from . import files, identity, logs, record, recovery, service, spawn
from .children import EXITED, Children
from .loop import Loop
from .service import Service

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .api import Api
    from .groups import Groups
    from .guards import Guards

#: Starts in one turn of the loop: commands and deaths are heard in between.
BATCH = 8
#: Seconds after which a service directory that is not there any more counts as removed.
VANISHED = 0.2
#: The phase of a guard that holds its leases while its service is ready, see guards.py.
ACTIVE = "active"
#: Seconds that a logger gets to see the end of its input before it is stopped.
LOGGER_DRAIN = 5.0


class Host:
    """Owns the loop and all services. scan: the scan directory, None for the supervisor of a single service."""

    def __init__(self, scan: str | None, layout: str, log_user: str | None, version: str) -> None:
        self.scan = scan
        self.layout = layout
        self.version = version
        self.loop = Loop()
        self.children = Children(self.loop)
        self.boot = identity.boot_id()
        self.namespace = identity.pid_namespace()
        self.since = time.time()
        self.stopping = False
        self.exit_code = 0
        self.exit_with: str | None = None
        self.groups_unit: str | None = None
        self.openrc = False
        self.reexec_lock = -1
        self.services: dict[str, Service] = {}
        self.needed_by: dict[str, set[str]] = {}
        self.api: Api | None = None
        self.logs = logs.Logs(self, scan + "/.holdfast", log_user) if scan is not None else None
        self._groups: Groups | None = None
        self._guards: Guards | None = None
        self._base = spawn.base_environment()
        self._queue: collections.deque[Service] = collections.deque()
        self._launching = False
        self._step_due = False
        self._rescan_due = False
        self._folder = -1
        self._switching = scan is not None and holding.switching(scan)
        self._vanishing: set[str] = set()
        self._lost: set[str] = set()

    # -- the scan directory ----------------------------------------------------------------------------------------

    def open(self) -> None:
        """Take over whatever is there: services that run are adopted, the others started as wanted."""
        self.loop.on_signal(signal.SIGCHLD, self.children.reap)
        left = []
        tokens: set[bytes] = set()
        for name in self._names():
            added = self._attach(name)
            for one in (added, added.logger if added is not None else None):
                if one is None:
                    continue
                found = one.endpoint.read_record()
                left.append((one, found))
                if found is not None and found.phase == record.STARTING:
                    tokens.add(found.token.encode())
        marked = identity.marked(tokens) if tokens else {}
        for one, found in left:
            recovery.recover(one, found, marked)
            self.announce(one)
        if self.logs is not None:
            self.logs.recover()
            self.logs.tidy()

    def watch_directory(self) -> None:
        """Have the kernel tell of changes in the scan directory (dnotify); a Rescan call works without it."""
        self.loop.on_signal(signal.SIGRTMIN, self.rescan_soon)
        # Sent instead of that, and of the guards', when too many signals wait (RLIMIT_SIGPENDING); it would end us.
        self.loop.on_signal(signal.SIGIO, self._something_changed)
        self._folder = os.open(self.scan or "/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.fcntl(self._folder, fcntl.F_SETSIG, signal.SIGRTMIN)
            events = fcntl.DN_CREATE | fcntl.DN_DELETE | fcntl.DN_RENAME | fcntl.DN_MULTISHOT
            fcntl.fcntl(self._folder, fcntl.F_NOTIFY, events)
        except OSError:
            self.complain("the kernel does not tell of changes in directories: new services are seen on a rescan only")

    def rescan_soon(self) -> None:
        """Look for new and vanished names in the next turn, once for any number of requests.

        What a known service directory holds is looked at when its service is started, or by `rescan`.
        """
        if not self._rescan_due:
            self._rescan_due = True
            self.loop.soon(self._look)

    def _something_changed(self) -> None:
        """Hear that the kernel could not say which of the directories has changed."""
        self.rescan_soon()
        self.guards_changed()

    def _look(self) -> None:
        self._rescan_due = False
        if not self.stopping:
            self._compare(self._names())

    def rescan(self) -> tuple[list[str], list[str], list[str]]:
        """Read the scan directory and all that is in it: names added, removed (gone, or going now) and changed."""
        if self.stopping:
            return [], [], []
        names = self._names()
        changed = []
        for name in names:
            known = self.services.get(name)
            if known is None:
                continue
            # That of one on its way to another backend leads there, or has gone.
            for one in (known, known.logger) if self.standing(name) == holding.MINE else ():
                if one is not None:
                    one.renew()
            before = known.set.identity
            if known.load() and known.set.identity != before:
                changed.append(name)
        added, removed = self._compare(names)
        return added, removed, changed

    def _compare(self, names: list[str]) -> tuple[list[str], list[str]]:
        """Begin with what is new, end with what has gone."""
        present = set(names)
        added = []
        for name in names:
            if name not in self.services:
                one = self._attach(name)
                if one is not None:
                    added.append(name)
                    self._start_new(one)
        removed = [name for name in self.services if "/" not in name and name not in present]
        for name in removed:
            one = self.services[name]
            if one.removing:
                self._vanished(name)
            elif name not in self._vanishing:
                self._vanishing.add(name)
                self.loop.later(VANISHED, lambda name=name: self._vanished(name))  # type: ignore[misc]
        return added, removed

    def _names(self) -> list[str]:
        if self.scan is None:
            return []
        self._switching = holding.switching(self.scan)
        try:
            return sorted(
                name
                for name in os.listdir(self.scan)
                if not name.startswith(".")
                and self._is_there(name)
                and (name in self.services or ("\n" not in name and os.path.isdir(f"{self.scan}/{name}")))
            )
        except OSError as error:
            self.complain(f"{self.scan}: {error.strerror}")
            return [name for name in self.services if "/" not in name]

    def standing(self, name: str) -> str:
        """Say what a service is to us while the backend of the host is switched; holding.MINE on other days."""
        if self.scan is None or not self._switching:
            return holding.MINE
        return holding.standing(self.scan, name.partition("/")[0], "embedded")

    def _is_there(self, name: str) -> bool:
        """Say whether another backend has not got the service. One on its way counts where it was."""
        standing = self.standing(name)
        return standing == holding.MINE or (standing == holding.IDLE and name in self.services)

    def _attach(self, name: str) -> Service | None:
        try:
            one = Service(self, name, f"{self.scan}/{name}")
        except files.Busy:
            self.complain(f"{name}: another supervisor has it")
            return None
        except OSError as error:
            self.complain(f"{name}: {error.filename or ''}: {error.strerror}")
            return None
        self.services[name] = one
        one.load()
        return one

    def _start_new(self, one: Service) -> None:
        for each in (one.logger, one):
            if each is not None:
                recovery.recover(each, each.endpoint.read_record(), {})
                self.announce(each)
        if self.logs is not None:
            self.logs.need()

    def announce(self, one: Service) -> None:
        """Let the family's clients see *one*. A directory that has gone meanwhile is about to be noticed."""
        try:
            one.endpoint.open()
        except OSError as error:
            self.complain(f"{one.name}: ok: {error.strerror}")

    def _vanished(self, name: str) -> None:
        self._vanishing.discard(name)
        one = self.services.get(name)
        if one is None or (os.path.isdir(one.directory) and self._is_there(name)):
            return
        self._lost.add(name)
        one.removing = True
        one.down()

    def departed(self, one: Service) -> None:
        """Hear that a service which is to go (or all are) has come to rest."""
        if one.running_now or one.gone:
            return
        there = os.path.isdir(one.directory) and (one.parent is not None or self._is_there(one.name))
        if one.leaving or (one.removing and not there):
            self._drop(one)
        elif one.name in self._lost and there and not self.stopping:
            # Gone and back again while it was being stopped.
            self._lost.discard(one.name)
            one.removing = False
            if one.enabled:
                one.up()
        if self.stopping and not self._step_due:
            # Many end in the same turn: they are looked at together.
            self._step_due = True
            self.loop.soon(self._step)

    def _drop(self, one: Service) -> None:
        self.services.pop(one.name, None)
        self._lost.discard(one.name)
        for need in one.set.needs:
            self.needed_by.get(need, set()).discard(one.name)
        if self._guards is not None:
            self._guards.keep({need for other in self.services.values() for need in other.set.needs_active})
        if one.logger is not None:
            self._end_logger(one.logger)
        elif self.logs is not None and one.parent is None:
            self.logs.drop(one.name)
        one.close(forget=True)
        if self.api is not None:
            self.api.gone(one)
        if self.scan is None:
            self.finish()

    def _end_logger(self, logger: Service) -> None:
        """Let a logger read to the end of its input, then go."""
        logger.leaving = True
        logger.want = "d"
        if self.logs is not None and logger.parent is not None:
            self.logs.release(logger.parent.name)
            files.remove(self.logs.fifo(logger.parent.name))
        if logger.running_now:
            self.loop.later(LOGGER_DRAIN, lambda: None if logger.gone else logger.down())
        else:
            logger.down()

    # -- what services ask -----------------------------------------------------------------------------------------

    def queue(self, one: Service) -> None:
        """Let *one* launch in its turn."""
        self._queue.append(one)
        if not self._launching:
            self._launching = True
            self.loop.soon(self._launch)

    def _launch(self) -> None:
        for _turn in range(BATCH):
            if not self._queue:
                break
            one = self._queue.popleft()
            if not one.gone:
                one.launch()
        if self._queue:
            self.loop.soon(self._launch)
        else:
            self._launching = False

    def _ready(self, name: str) -> bool:
        """Say whether a service that others need is ready; what another backend has while the host is switched counts as such."""
        one = self.services.get(name)
        if one is not None and one.is_met:
            return True
        return self.scan is not None and self._switching and holding.elsewhere(self.scan, name, "embedded")

    def why_not_met(self, one: Service, need: str) -> str:
        """Say what *one*, which needs service *need*, still waits for; "" if it may start as far as that goes."""
        needed = self.services.get(need)
        ready = self._ready(need)
        state = needed.state if needed is not None else "no such service"
        if need not in one.set.needs_active:
            return "" if ready else f"{need} ({state})"
        phase = self.guards.phase(need) if ready else state
        return f"{need} to be active ({phase or state})" if phase != ACTIVE else ""

    def stands_by(self, one: Service) -> bool:
        """Say whether all that *one* waits for are leases that others hold."""
        return self._guards is not None and self._guards.stands_by(one.name, self._look_at)

    def _look_at(self, name: str) -> tuple[bool, tuple[str, ...] | None, tuple[str, ...]]:
        """Give whether a service is ready, what it needs if it waits for that, and which of those have to be active."""
        one = self.services.get(name)
        if one is None or one.state != service.WAITING:
            return self._ready(name), None, ()
        return False, one.set.needs, one.set.needs_active

    def loaded(self, one: Service) -> None:
        """Hear that the settings of *one* were read: its needs and its log may have changed."""
        for names in self.needed_by.values():
            names.discard(one.name)
        for need in one.set.needs:
            self.needed_by.setdefault(need, set()).add(one.name)
        for need in one.set.needs_active:
            self.guards.watch(need)
        if self.logs is None or one.parent is not None:
            return
        log = one.set.log
        if log is not None and one.set.log_to != "none":
            try:
                self.logs.add(one.name, log)
            except OSError as error:
                self.complain(f"{one.name}: log: {error.strerror}")
        elif (
            log is None and one.logger is None and "log" in one.set.names and os.path.exists(one.directory + "/log/run")
        ):
            self._add_logger(one)

    def _add_logger(self, one: Service) -> None:
        if self.logs is None:
            return
        name = one.name + "/log"
        try:
            fifo = self.logs.hold(one.name)
            logger = Service(self, name, one.directory + "/log", one)
        except files.Busy:
            self.complain(f"{name}: another supervisor has it")
            return
        except OSError as error:
            self.complain(f"{name}: {error.strerror}")
            return
        logger.stdin = fifo
        self.services[name] = one.logger = logger
        logger.load()
        if one.state != service.DOWN:
            # It appeared after its service had been started: from the next start on it gets the output.
            self._start_new(logger)

    def environment(self, one: Service) -> dict[str, str]:
        """Give the environment that *one* starts with. Secrets are read anew at each start."""
        environment = dict(self._base)
        if one.set.managed:
            environment["HOLDFAST_APPLIED"] = "1"
            if one.set.leased:
                # For the guard, which is of our runtime. The file in it: a directory takes Python some milliseconds more.
                environment.update(HOLDFAST_PYTHON=sys.executable, HOLDFAST_RUNTIME=f"{sys.path[0]}/__main__.py")
                if one.group is not None:
                    environment["HOLDFAST_GROUP"] = one.group.name
            if one.set.secrets:
                folder = one.directory + "/env"
                for name in os.listdir(folder):
                    with open(f"{folder}/{name}", encoding="utf-8", errors="surrogateescape", newline="") as file:
                        environment[name] = file.read()
        return environment

    @property
    def groups(self) -> Groups:
        """Where control groups are; only services with resources, and those who ask, need it."""
        if self._groups is None:
            from .groups import Groups

            self._groups = Groups(self.scan or next(iter(self.services.values())).directory, self.groups_unit)
        return self._groups

    @property
    def guards(self) -> Guards:
        """The guards of leased services that others need to be active."""
        if self._guards is None:
            from .guards import Guards

            self._guards = Guards(self)
        return self._guards

    def output(self, one: Service) -> str | None:
        """Give the path that stdout and stderr of *one* go to; None: where the supervisor's go."""
        if self.logs is None or one.parent is not None:
            return None
        if one.logger is not None:
            return self.logs.hold(one.name)
        if one.set.log is None or one.set.log_to == "none":
            if self.logs.has(one.name):
                self.logs.drop(one.name)
            return None if one.set.log is None else "/dev/null"
        return self.logs.hold(one.name)

    def log_ends(self, one: Service) -> None:
        """Hear that the process whose output goes to the log of *one* has ended."""
        if self.logs is not None and one.parent is None:
            self.logs.end(one.name)

    def open_signal(self, one: Service, name: str) -> int:
        """Open the FIFO *name* by which *one* tells us something; it outlives the supervisor, unlike a pipe."""
        descriptor = files.open_fifo(f"{one.endpoint.path}/{name}", 0o600)
        if not one.running_now:
            try:
                while os.read(descriptor, 4096):
                    pass
            except BlockingIOError:
                pass
        return descriptor

    def close_watched(self, descriptor: int) -> None:
        """Close a descriptor that the loop may be watching."""
        try:
            self.loop.forget(descriptor)
        except KeyError:
            pass
        os.close(descriptor)

    def changed(self, one: Service) -> None:
        """Hear that the state of *one* has changed."""
        for name in tuple(self.needed_by.get(one.name, ())):
            dependent = self.services.get(name)
            if dependent is None or dependent.state != service.WAITING:
                continue
            if one.is_met:
                dependent.begin()
            elif dependent.explain_waiting() and self.api is not None:
                self.api.changed(dependent)
        if self.api is not None:
            self.api.changed(one)
        if (
            one.name == self.exit_with
            and one.starts
            and one.state in (service.DOWN, service.FAILED)
            and not self.stopping
        ):
            if one.exit is not None:
                self.exit_code = one.exit.code if one.exit.kind == EXITED else 128 + one.exit.code
            self.loop.soon(self.stop)

    def guards_changed(self) -> None:
        """Hear that a guard has written its report anew: those that wait may go on, or have another reason now."""
        for one in list(self.services.values()):
            if one.state == service.WAITING:
                if one.set.needs_active:
                    one.begin()
                elif self.api is not None:
                    self.api.changed(one)

    def event(self, one: Service, entry: dict[str, Any]) -> None:
        """Pass on what a service wrote into its journal."""
        if self.api is not None:
            self.api.event(one, entry)

    def complain(self, text: str) -> None:
        """Tell the administrator, on stderr."""
        try:
            os.write(2, f"holdfast: {text}\n".encode())
        except OSError:
            pass

    @staticmethod
    def now() -> float:
        """Give the monotonic time in seconds."""
        return time.monotonic()

    # -- the end ---------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Stop all services, those that need others first, then the log writer, then end."""
        if self.stopping:
            return
        self.stopping = True
        self._queue.clear()
        self._step()

    def _step(self) -> None:
        """Stop whoever is needed by nobody that still runs."""
        self._step_due = False
        main = [one for one in self.services.values() if one.parent is None]
        busy = {one.name for one in main if one.running_now}
        for one in main:
            if one.want != "d" and not (self.needed_by.get(one.name, set()) & busy):
                one.down()
        if busy and not any(one.want == "d" for one in main if one.running_now):
            # A circle of needs: nobody may go first, so all go.
            for one in main:
                one.down()
        if any(one.running_now for one in main):
            return
        loggers = [one for one in self.services.values() if one.parent is not None]
        for logger in loggers:
            if not logger.leaving:
                self._end_logger(logger)
        if not any(logger.running_now for logger in loggers):
            if self.logs is not None:
                self.logs.stop()
            else:
                self.finish()

    def logs_ended(self) -> None:
        """Hear that the log writer has ended at our wish."""
        self.finish()

    def finish(self) -> None:
        """End the loop; what is left of the services' files is void, so that a next start obeys the `down` files."""
        for one in list(self.services.values()):
            one.close(forget=self.stopping)
        self.services.clear()
        if self.stopping and self._groups is not None:
            self._groups.tidy()
        self.loop.running = False

    def leave(self) -> None:
        """End without stopping anybody: a next supervisor adopts the services."""
        self.loop.running = False

    def wants_reexec(self) -> None:
        """Become the program that is installed now: same pid, same children, same lock; nobody stops."""
        if self.stopping:
            return
        for one in list(self.services.values()):
            one.obey()
        # Their handlers are gone with this program: what comes now waits for the next one's.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        os.set_inheritable(self.reexec_lock, True)
        os.environ["HOLDFAST_LOCK_FD"] = str(self.reexec_lock)
        os.execv(sys.executable, [sys.executable, "-I", "-S", *sys.argv])
