# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""systemd as a backend: one unit for each service directory. PRIVATE to the collection.

A service directory is the same as for any other backend; `rescan` makes units of all of them, with one daemon-reload.
What became of a unit is read from its properties, never from an exit code.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import time
from collections.abc import Mapping
from typing import Any

from . import active, holding, log_table
from ._systemd import files, state
from ._systemd.manager import READ, Manager, is_newer
from ._systemd.unit import GROWING_PAUSE, LOG_WRITER, SYSTEM, Place, is_attended, unit_name
from .interface import BACKOFF, DEATHS, FEATURES, Backend, BackendError, Service, Snapshot, Unanswered, Verdict, runs
from .labels import obstacle as label_obstacle
from .presence import lock_holder

#: Where an administrator's units are; a package's would be below /usr.
UNITS = "/etc/systemd/system"
ONCE = "holdfast-once.conf"
#: Seconds between two looks at what is not decided yet.
FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.25
_SIGNALS = frozenset(("hup", "int", "quit", "kill", "usr1", "usr2", "alrm", "term", "winch"))
_VERBS = {"start": "start", "once": "start", "stop": "stop", "remove": "stop", "restart": "restart", "reload": "reload"}
_CONTROLLERS = {"memory_max": "memory", "cpu_weight": "cpu", "cpu_max": "cpu", "io_max": "io", "pids_max": "pids"}


class Systemd(Backend):
    """Talks to systemd by systemctl: process 1 when root deploys, else the user's own."""

    name = "systemd"
    native = frozenset(
        (
            "needs",
            "periodic",
            "once",
            "restart",
            "backoff",
            "failure_limit",
            "stop_signal",
            "reload",
            "kill.group",
            "kill.tree",
            "process",
            "resources",
            "security_context",
            "log.journald",
        )
    )
    # By our log writer, steps of our runtime beside the service, its parent, and the guard.
    supplied = frozenset(FEATURES) - native

    def __init__(self, scan: str, units: str | None = None) -> None:
        super().__init__(scan)
        user = os.geteuid() != 0
        self._units = units or (os.path.expanduser("~/.config/systemd/user") if user else UNITS)
        self._manager = Manager(user)
        self._version: int | None = None
        self._known: dict[str, tuple[dict[str, Any], str]] = {}
        self._before: dict[str, int] = {}

    def snapshot(self) -> Snapshot:
        """Ask for everything, once."""
        settings = files.read_settings(self.scan)
        self._manager.require()
        holder = lock_holder(f"{self.scan}/.holdfast/lock")
        if holder is not None and not holding.switching(self.scan):
            raise Unanswered(
                f"process {holder} holds {self.scan}/.holdfast/lock: the embedded supervisor runs these services; "
                "stop it first, or switch the backend"
            )
        ours = self._files(settings)
        self._known = self._directories()
        # With the units of those that are to come, as they are written: a text may depend on others.
        wanted, present = ours.wanted(self._directories(coming=True)), ours.present()
        boot = [ours.target(unit) for unit in (unit_name("x"), unit_name("x", "timer"))]
        shown = self._show(self._known, *([LOG_WRITER] if LOG_WRITER in wanted else []), *boot)
        services = {}
        for name, (meta, identity) in self._known.items():
            service = self._service(name, shown)
            service.loaded = identity
            service.enabled = "down" not in (meta.get("files") or {}) and not self._is_down(name)
            service.stale = self._is_stale(ours, name, wanted, present, shown)
            services[name] = service
            self._before[name] = self._notes(name).started
        supervisor = {
            "pid": 1,
            "version": str(ours.place.version),
            "since": None,
            "scan": self.scan,
            "log_writer_pid": None,
        }
        return Snapshot(supervisor, services)

    def rescan(self) -> None:
        """Bring the units in line with the service directories, with one daemon-reload if anything has changed."""
        settings = files.read_settings(self.scan)
        self._manager.require()
        ours = self._files(settings)
        former = files.FormerLogs(ours)
        moving = former.used()
        if moving:
            former.move()
        reload, logs, stale = self._write(ours)
        if reload or moving or self._is_behind(ours):
            self._manager.run("daemon-reload")
        if stale:
            self._manager.act("reset-failed", stale)
        if logs or (moving and os.path.exists(former.unit)):
            # Its step makes the FIFOs, which have to be there before a service opens its own.
            complaint = self._manager.act("reload-or-restart", [LOG_WRITER])
            if complaint:
                raise BackendError(f"the log writer: {complaint}; see journalctl -u {LOG_WRITER}")
        if moving:
            former.forget()

    def make_room(self) -> None:
        """Have table and FIFOs of the log writer be where no other backend has its own, and units that obey the marks."""
        self.rescan()

    def settle(self, name: str) -> None:
        """Have one service started at boot, or not. All else was done before the first one moved, or is when all have."""
        ours = self._files(files.read_settings(self.scan))
        self._known = self._directories()
        if name in self._known and not ours.has(unit_name(name)):
            # It was on its way from here to another backend, and comes back, or goes to a third one.
            self.rescan()
        elif name in self._known:
            ours.enable(self._boot_unit(name, self._known[name][0]), not self._is_down(name))
        else:
            for kind in ("service", "timer"):
                ours.enable(unit_name(name, kind), False)

    def complete(self) -> None:
        """Have systemd read all that was written since, once."""
        self.rescan()

    def let_go(self, name: str) -> bool:
        """Have the log writer end one log. Its FIFO and the unit stay until all services have gone."""
        place, log = self._files(files.read_settings(self.scan)).place, log_table.kept(self.scan, name)
        if log is None:
            return True

        def writer() -> int:
            pid = self._manager.run("show", "--property=MainPID", "--value", "--", LOG_WRITER).strip()
            # Told after that: one that began in between has read the table, and another pid is seen for it.
            log_table.tell(place.table, f"-{name}")
            return int(pid) if pid.isdigit() else 0

        if not log_table.until_let_go(log, place.table, place.fifo(name), writer):
            return False
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{place.table}/{name}.json")
        return True

    def has_written(self, name: str) -> bool | None:
        """Ask the FIFO and the log writer's spool."""
        try:
            place = self._files(files.read_settings(self.scan)).place
        except BackendError:
            return None
        return log_table.has_written(place.table, place.fifo(name))

    def take_up(self, name: str) -> None:
        """Put a log into the log writer's table; the FIFO is there since the service was on its way."""
        place, log = self._files(files.read_settings(self.scan)).place, log_table.kept(self.scan, name)
        if log is not None and os.path.exists(place.fifo(name)):
            log_table.put(place.table, name, place.fifo(name), log)
            log_table.tell(place.table, f"+{name}")

    def offline(self) -> None:
        """Write units and what enables them, for a systemd that is not running."""
        self._write(self._files(files.read_settings(self.scan)))

    def control(self, commands: list[tuple[str, str]]) -> dict[str, str]:
        """Queue jobs: each run of commands of the same kind is one call. systemd keeps their order."""
        refused: dict[str, str] = {}
        for action, names in runs(commands):
            refused.update(self._command(action, names))
        return refused

    def wait(self, wishes: list[tuple[str, str]], timeout: float) -> dict[str, Verdict]:
        """Look at what is not decided until all is, or time is up."""
        verdicts: dict[str, Verdict] = {}
        open_ = dict(wishes)
        if not open_:
            return verdicts
        self._known = self._directories()
        deadline = time.monotonic() + timeout
        first: dict[str, int] = {}
        endings: dict[str, Any] = {}
        pause = FIRST_PAUSE
        while True:
            shown = self._show({name: self._known[name] for name in open_ if name in self._known})
            for name in list(open_):
                if name not in self._known:
                    verdicts[name] = Verdict(name, "failed" if open_.pop(name) == "ready" else "reached", None)
                    continue
                service = self._service(name, shown)
                endings[name] = service.exit = service.exit or endings.get(name)
                outcome = self._judge(open_[name], service, shown, first)
                if outcome:
                    verdicts[name] = Verdict(name, outcome, service)
                    del open_[name]
            late = time.monotonic() >= deadline
            for name in list(open_) if late else ():
                verdicts[name] = Verdict(name, "timeout", self._service(name, shown))
                del open_[name]
            if not open_:
                return verdicts
            time.sleep(min(pause, max(deadline - time.monotonic(), 0.0)))
            pause = min(pause * 1.5, LONGEST_PAUSE)

    def close(self) -> None:
        """There is no connection."""

    def link(self, name: str) -> str:
        """Give nothing: systemd has no directory for clients of the daemontools family."""
        return ""

    def log_owner(self) -> tuple[int, int] | None:
        """Give uid and gid of the log writer."""
        try:
            user = files.read_settings(self.scan)["log_user"]
            account = pwd.getpwnam(user) if user else pwd.getpwuid(os.geteuid())
        except (BackendError, KeyError):
            return None
        return account.pw_uid, account.pw_gid

    def attends(self, meta: Mapping[str, Any]) -> bool:
        """Tell whether a service with this definition has a parent of ours."""
        return is_attended(meta)

    def depends_on_host(self, feature: str) -> bool:
        """Tell whether only the host can say."""
        return feature in ("resources", "security_context", "backoff")

    def obstacle(self, feature: str, meta: Mapping[str, Any], snapshot: Snapshot) -> str:
        """Say what this systemd, or this kernel, cannot do for this definition."""
        process = meta.get("process") or {}
        if feature == "security_context":
            return label_obstacle(process.get("security_context") or {})
        if feature == "resources" and meta.get("lease"):
            return "the limits of a unit would hit the guard too, who holds the lease; the backend embedded limits the service alone"
        if feature == "resources":
            return _missing_controllers(process.get("resources") or {})
        if feature == "finish":
            stop, finish = float(meta.get("stop_timeout") or 0), float(meta.get("finish_timeout") or 0)
            if stop and (not finish or finish > stop):
                return "systemd has one time limit for both, so finish_timeout must not exceed stop_timeout"
        backoff = meta.get("backoff") or BACKOFF
        version = int(snapshot.supervisor.get("version") or 0)
        if feature == "backoff" and backoff["initial"] != backoff["maximum"] and version < GROWING_PAUSE:
            return (
                f"the pause does not grow before systemd {GROWING_PAUSE}, and this is {version}: give backoff.initial and "
                "backoff.maximum the same value"
            )
        return ""

    def problems(self, metas: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """Find units that are in the way and not ours, and what an ordinary user cannot have."""
        try:
            ours = self._files(files.read_settings(self.scan))
        except BackendError:
            return []
        units = {unit_name(name, kind): name for name in metas for kind in ("service", "timer")}
        found = [
            f"{units[unit]}: the unit {unit} is there already and is not ours: move it away, or rename the service"
            for unit in ours.foreign(units)
        ]
        for name, meta in metas.items():
            process = meta.get("process") or {}
            if self._manager.user and any(process.get(key) is not None for key in ("user", "group", "groups")):
                found.append(f"{name}: user, group, groups: the systemd of an ordinary user cannot change them")
        return found

    # -- our files -------------------------------------------------------------------------------------------------

    def _files(self, settings: Mapping[str, str]) -> files.Units:
        target = "default.target" if self._manager.user else SYSTEM
        if self._version is None:
            try:
                self._version = self._manager.version()
            except BackendError:
                # An image that is prepared: what every version understands.
                self._version = GROWING_PAUSE - 1
        run, python, runtime = settings["run"], settings["python"], settings["runtime"]
        place = Place(self.scan, run, python, runtime, self._version, target, settings["log_user"])
        return files.Units(place, self._units)

    def _directories(self, *, coming: bool = False) -> dict[str, tuple[dict[str, Any], str]]:
        """Give holdfast.json and identity of each service directory of ours; coming: with those that are to be."""
        found = {}
        elsewhere = (holding.ABSENT,) if coming else (holding.PREPARED, holding.ABSENT)
        for name in sorted(os.listdir(self.scan)):
            if name.startswith(".") or holding.standing(self.scan, name, self.name) in elsewhere:
                continue
            try:
                with open(f"{self.scan}/{name}/holdfast.json", encoding="utf-8") as file:
                    meta = json.load(file)
            except (OSError, ValueError):
                continue
            if isinstance(meta, dict) and meta.get("name") == name:
                found[name] = meta, f"{meta.get('definition', '')}.{meta.get('revision', 1)}"
        return found

    def _write(self, ours: files.Units) -> tuple[bool, bool, list[str]]:
        """Write what differs. Gives whether systemd has to read it, whether the log writer has, and what has gone.

        Units of services that are to come are among them: the marks keep them from being started.
        """
        self._known = self._directories(coming=True)
        wanted, present = ours.wanted(self._known), ours.present()
        foreign = ours.foreign(wanted)
        if foreign:
            raise BackendError(f"{self._units}/{foreign[0]} exists and is not ours: move it away")
        changed = False
        for unit, text in wanted.items():
            if present.get(unit) != text:
                ours.write(unit, text)
                changed = True
        for name, (meta, _identity) in self._known.items():
            changed |= ours.enable(self._boot_unit(name, meta), not self._is_down(name))
        stale = [unit for unit in present if unit not in wanted]
        for unit in stale:
            if unit == LOG_WRITER:
                self._manager.act("stop", [unit])
            ours.remove(unit)
        logs = LOG_WRITER in wanted and (
            changed or bool(stale) or any(self._lacks_log(ours, name) for name in self._known)
        )
        return changed or bool(stale), logs, stale

    def _is_behind(self, ours: files.Units) -> bool:
        """Tell whether systemd has not read what somebody has written who was interrupted before he could tell it."""
        units = list(ours.wanted(self._known))
        shown = self._manager.show([*units, *map(ours.target, units)]) if units else {}
        return any(self._is_unread(unit, shown) or self._misses_link(ours, unit, shown) for unit in units)

    def _is_unread(self, unit: str, shown: Mapping[str, Mapping[str, str]]) -> bool:
        """Tell whether what is ours of a unit has changed since systemd has read it."""
        if shown.get(unit, {}).get("NeedDaemonReload") != "yes":
            return False
        read = self._manager.run("show", f"--property={','.join(READ)}")
        paths = (f"{self._units}/{unit}", f"{self._runtime_units()}/{unit}.d")
        return any(is_newer(path, read) for path in paths)

    def _misses_link(self, ours: files.Units, unit: str, shown: Mapping[str, Mapping[str, str]]) -> bool:
        """Tell whether systemd thinks otherwise than the disk of whether a unit is started at boot."""
        target = ours.target(unit)
        # One that is not loaded wants nothing.
        if unit not in shown or shown.get(target, {}).get("ActiveState") != "active":
            return False
        return ours.enabled(unit) != (target in shown[unit].get("WantedBy", "").split())

    def _lacks_log(self, ours: files.Units, name: str) -> bool:
        """Tell whether the log writer has not been told of the log of a service of ours as it is now."""
        log, fifo = self._known[name][0].get("log") or {}, ours.place.fifo(name)
        if log.get("to") not in log_table.KEPT:
            return False
        if not os.path.exists(fifo):
            # Also of one that is on its way here, or comes back: it could not be started.
            return True
        return holding.standing(self.scan, name, self.name) == holding.MINE and not log_table.has(
            ours.place.table, name, fifo, log
        )

    def _boot_unit(self, name: str, meta: Mapping[str, Any]) -> str:
        return unit_name(name, "timer" if meta.get("type") == "periodic" else "service")

    def _is_down(self, name: str) -> bool:
        return os.path.lexists(f"{self.scan}/{name}/down") or (
            holding.standing(self.scan, name, self.name) != holding.MINE
        )

    def _is_stale(
        self,
        ours: files.Units,
        name: str,
        wanted: Mapping[str, str],
        present: Mapping[str, str],
        shown: Mapping[str, Mapping[str, str]],
    ) -> bool:
        """Tell whether the units of a service have to be brought into line, or systemd and the log writer told of them."""
        meta = self._known[name][0]
        mine = [unit_name(name), unit_name(name, "timer"), *([LOG_WRITER] if LOG_WRITER in wanted else [])]
        if any(wanted.get(unit) != present.get(unit) or self._is_unread(unit, shown) for unit in mine):
            return True
        boot = self._boot_unit(name, meta)
        if ours.enabled(boot) == self._is_down(name) or self._misses_link(ours, boot, shown):
            return True
        # One that does not run reads everything when it starts.
        return shown.get(LOG_WRITER, {}).get("ActiveState") == "active" and self._lacks_log(ours, name)

    # -- systemd ---------------------------------------------------------------------------------------------------

    def _show(self, known: Mapping[str, tuple[dict[str, Any], str]], *others: str) -> dict[str, dict[str, str]]:
        units = list(others)
        for name, (meta, _identity) in known.items():
            if meta.get("type") == "periodic":
                # They are asked one after the other. Who sees that its time has come sees the run, or what came of it.
                units.append(unit_name(name, "timer"))
            units.append(unit_name(name))
        return self._manager.show(units) if units else {}

    def _service(self, name: str, shown: Mapping[str, Mapping[str, str]]) -> Service:
        meta = self._known[name][0]
        timer = shown.get(unit_name(name, "timer")) if meta.get("type") == "periodic" else None
        return Service(state.record(meta, shown.get(unit_name(name), {}), timer, self._notes(name)))

    def _folder(self, name: str) -> str:
        return f"{self.scan}/.holdfast/units/{name}"

    def _notes(self, name: str) -> state.Notes:
        return state.Notes(self._folder(name))

    def _ask(self, names: list[str], stop: bool) -> None:
        """Note that services were told to stop, or to start."""
        for name in names:
            path = f"{self._folder(name)}/{state.ASKED}"
            if not stop:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
            elif os.path.isdir(os.path.dirname(path)):
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644))

    def _judge(self, wish: str, service: Service, shown: Mapping[str, Mapping[str, str]], first: dict[str, int]) -> str:
        """Judge whether a service has reached *wish*: reached, failed, or "" while that is open."""
        unit = shown.get(unit_name(service.name), {})
        if wish == "gone":
            return ""
        begun = first.setdefault(service.name, service.deaths)
        # The job of a run goes on as long as the run.
        runs = service.state == "ready" and self._known[service.name][0].get("type") == "periodic"
        if unit.get("Job") and not runs:
            # What the last command asked for has not been done yet. One that fails takes its job along.
            waiting = wish == "ready" and service.state == "waiting"
            hopeless = waiting and self._is_hopeless(service.name)
            if waiting and not hopeless and active.stands_by(self.scan, service.name, self._look_at):
                return "reached"
            return "failed" if hopeless or (wish == "ready" and self._is_late(service, unit)) else ""
        if wish == "down":
            return "reached" if service.state in ("down", "failed") and not service.pid else ""
        if service.ready:
            return "reached"
        if service.state == "failed" or service.deaths - begun >= DEATHS or self._is_late(service, unit):
            return "failed"
        if service.state in ("down", "scheduled"):
            if state.due(shown.get(unit_name(service.name, "timer"), {})):
                return ""
            started = self._notes(service.name).started != self._before.get(service.name, 0)
            if not started and not service.reason:
                service.reason = f"systemd did not start it; see systemctl status {unit_name(service.name)}"
            return "reached" if started and service.succeeded and service.state == "down" else "failed"
        return ""

    def _look_at(self, name: str) -> tuple[bool, list[str] | None, list[str]]:
        """Give whether a service is ready, what it needs if it waits for that, and which of those have to be active."""
        if name not in self._known:
            return False, None, []
        meta = self._known[name][0]
        service = self._service(name, self._show({name: self._known[name]}))
        if service.state != "waiting":
            return service.ready, None, []
        return False, meta.get("needs") or [], meta.get("needs_active") or []

    def _is_late(self, service: Service, unit: Mapping[str, str]) -> bool:
        """Tell whether a running service has not become ready in its own time."""
        limit = float((self._known[service.name][0].get("readiness") or {}).get("timeout") or 0)
        if service.state != "up" or not limit or state.age(unit) < limit:
            return False
        service.reason = f"not ready within {limit:g} s"
        return True

    def _is_hopeless(self, name: str) -> bool:
        """Tell whether something that a waiting service needs will not come by itself."""
        needs = list(self._known[name][0].get("needs") or ())
        if any(need not in self._known for need in needs):
            return True
        shown = self._show({need: self._known[need] for need in needs})
        return any(
            not shown[unit_name(need)].get("Job") and self._service(need, shown).state in ("failed", "down")
            for need in needs
        )

    def _command(self, action: str, names: list[str]) -> dict[str, str]:
        """Give one command to some services; the answer has a message for each that refused."""
        if set(names) - set(self._known):
            self._known = self._directories()
        known = [name for name in names if name in self._known]
        refused = dict.fromkeys(set(names) - set(known), "systemd has no unit for it")
        if not known:
            return refused
        units = [self._steered(name, action) for name in known]
        if action in ("pause", "continue"):
            leased = [name for name in known if action == "pause" and self._known[name][0].get("lease")]
            refused.update(dict.fromkeys(leased, "a leased service is not paused"))
            units = [unit_name(name) for name in known if name not in leased]
            signal = "SIGSTOP" if action == "pause" else "SIGCONT"
            below = [unit_name(name) for name in known if is_attended(self._known[name][0])]
            complaint = ""
            for who, some in (("main", [unit for unit in units if unit not in below]), ("all", below)):
                # A parent of ours cannot hear of it; below it is the service.
                complaint += self._manager.act("kill", some, f"--signal={signal}", f"--kill-who={who}") if some else ""
        elif action in _SIGNALS:
            complaint = self._manager.act("kill", units, f"--signal=SIG{action.upper()}", "--kill-who=main")
        elif action in _VERBS:
            self._once(known, wanted=action == "once")
            anew = self._to_be_started_anew(known) if action in ("start", "once") else []
            if action != "reload":
                self._ask(known, stop=action in ("stop", "remove"))
            if action in ("start", "once", "restart"):
                # Deaths of the past do not count, and a unit that was given up is tried again.
                self._manager.act("reset-failed", units)
            complaint = self._do(action, [name for name in known if unit_name(name) not in anew])
            complaint = complaint or self._manager.act("restart", anew, "--no-block")
        else:
            complaint = f"there is no action {action!r}"
        if complaint:
            refused.update(dict.fromkeys(known, complaint))
        return refused

    def _to_be_started_anew(self, names: list[str]) -> list[str]:
        """Give the units among these whose start has to be a restart, or it would never come.

        In the pause between two restarts systemd keeps a start back until the pause is over. If that came to its end while a
        stop was queued, nothing ends it any more, and a start that takes the place of this stop waits for good (systemd
        252). A restart ends the pause at once, which is what a start is to do here anyway, and it does what stop and start
        would have done to a unit whose stop is still under way. So it does to one whose run was too short for its start to be
        over before `finish` runs: another start would be taken for that one.
        """
        notes = {name: self._notes(name) for name in names}
        begun = [name for name in names if notes[name].definition and self._known[name][0].get("type") != "periodic"]
        shown = self._manager.show([unit_name(name) for name in begun]) if begun else {}
        found = []
        for name in begun:
            unit = shown.get(unit_name(name), {})
            leaves = notes[name].asked or unit.get("ActiveState") == "deactivating"
            if state.pauses(unit) or (leaves and unit.get("Job")):
                found.append(unit_name(name))
        return found

    def _do(self, action: str, names: list[str]) -> str:
        """Start, stop, restart or reload; gives what systemd complained of, "" if it did not."""
        units = {name: self._steered(name, action) for name in names}
        # The timer knows nothing of a run that is under way, and the end of the timer is not that of the run.
        runs = [unit_name(name) for name, unit in units.items() if unit == unit_name(name, "timer")]
        if runs and action == "restart":
            shown = self._show({name: self._known[name] for name in names})
            for name, unit in units.items():
                if unit_name(name) in runs and shown.get(unit, {}).get("ActiveState") == "active":
                    # It keeps the time: the next run comes one interval after this one.
                    units[name] = unit_name(name)
        complaints = [self._manager.act(_VERBS[action], units.values(), "--no-block")]
        if runs and action in ("stop", "remove"):
            complaints.append(self._manager.act("stop", runs, "--no-block"))
        return "; ".join(complaint for complaint in complaints if complaint)

    def _steered(self, name: str, action: str) -> str:
        """Give the unit that an action is for: a periodic service is started and stopped by its timer."""
        meta = self._known[name][0]
        return self._boot_unit(name, meta) if action in ("start", "stop", "remove", "restart") else unit_name(name)

    def _once(self, names: list[str], *, wanted: bool) -> None:
        """Have services not restarted after their next end, or as their definitions say again."""
        changed = False
        for name in names:
            folder = f"{self._runtime_units()}/{unit_name(name)}.d"
            path = f"{folder}/{ONCE}"
            if wanted and not os.path.exists(path):
                os.makedirs(folder, 0o755, exist_ok=True)
                with open(path, "w", encoding="ascii") as file:
                    file.write("[Service]\nRestart=no\n")
                changed = True
            elif not wanted and os.path.exists(path):
                os.unlink(path)
                changed = True
        if changed:
            self._manager.run("daemon-reload")

    def _runtime_units(self) -> str:
        return f"/run/user/{os.geteuid()}/systemd/user" if self._manager.user else "/run/systemd/system"


def _missing_controllers(resources: Mapping[str, Any], root: str = "/sys/fs/cgroup") -> str:
    """Say which limit the control groups of this host cannot set; nothing if they can set all."""
    try:
        with open(f"{root}/cgroup.controllers", encoding="ascii") as file:
            there = set(file.read().split())
    except OSError:
        # The first version: each controller has a hierarchy of its own.
        there = {name.replace("blkio", "io") for name in os.listdir(root)} if os.path.isdir(root) else set()
    for key, value in resources.items():
        if value is not None and _CONTROLLERS.get(key) not in there:
            return f"resources.{key}: the control groups of this host have no controller {_CONTROLLERS.get(key)}"
    return ""
