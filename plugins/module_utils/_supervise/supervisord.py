# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Supervisor as a backend: a program for each service directory, steered by XML-RPC. PRIVATE to the collection.

Only the programs that a command names are touched: never `update`, which restarts whatever differs. A program whose
configuration has changed is taken out and put in again when it is started or restarted, and not before.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal as signals
import subprocess
import time
from collections.abc import Mapping
from typing import Any

from . import active, attending, former_start, holding
from ._supervisord import program
from ._supervisord.program import FOLDER, NEVER, SOCKET, Place
from ._supervisord.rpc import ALREADY_ADDED, ALREADY_STARTED, BAD_NAME, NOT_RUNNING, SPAWN_ERROR, Fault, Rpc
from .interface import DEATHS, Backend, BackendError, NotRunning, Service, Snapshot, Unanswered, Verdict, runs
from .labels import obstacle as label_obstacle
from .presence import lock_holder

#: Supervisor's states, and ours. What EXITED means depends on the restart policy.
_STATES = {0: "down", 10: "starting", 20: "up", 30: "backoff", 40: "stopping", 100: "backoff", 200: "failed"}
STOPPED, STOPPING, EXITED, FATAL = 0, 40, 100, 200
#: Seconds that one run of a readiness check may take, and between two looks, at first and later.
CHECK_TIMEOUT = 10.0
PAUSE, LONG_PAUSE = 0.05, 0.25
#: Programs that are asked for by their names rather than all together.
FEW = 5
#: Supervisor looks after what has ended once a second.
TURN = 5.0
_ELSEWHERE = (holding.PREPARED, holding.ABSENT)
_SIGNALS = {"pause": "STOP", "continue": "CONT"}
_SIGNALS.update(
    {name: name.upper() for name in ("hup", "int", "quit", "kill", "usr1", "usr2", "alrm", "term", "winch")}
)


class Supervisord(Backend):
    """Talks to the supervisord that the role runs for one scan directory."""

    name = "supervisord"
    starts_new = True
    native = frozenset(
        (
            "once",
            "restart",
            "stop_signal",
            "reload",
            "kill.group",
            "log.directory",
            "log.size",
            "log.none",
            "log.syslog",
        )
    )
    # By the run script and the start script, the guard, and this class.
    supplied = frozenset(
        (
            "readiness.notification_fd",
            "readiness.check",
            "lease",
            "forking",
            "hooks",
            "backoff",
            "failure_limit",
            "needs",
            "needs.active",
            "oneshot",
            "getty",
            "health",
            "periodic",
            "finish",
            "kill.tree",
            "process",
            "security_context",
            "identity",
        )
    )

    def __init__(self, scan: str) -> None:
        super().__init__(scan)
        self._rpc = Rpc(f"{scan}/.holdfast/{SOCKET}")
        self._known: dict[str, tuple[dict[str, Any], str]] = {}
        #: Starts of each service before those whose deaths count: before the last that we asked for, or the first look.
        self._births: dict[str, int] = {}

    @property
    def place(self) -> Place:
        """Give where things are."""
        return Place(self.scan, os.path.realpath(f"{self.scan}/.holdfast"))

    def snapshot(self) -> Snapshot:
        """Ask for everything, once."""
        holder = lock_holder(f"{self.scan}/.holdfast/lock")
        if holder is not None and not holding.switching(self.scan):
            raise Unanswered(
                f"process {holder} holds {self.scan}/.holdfast/lock: the embedded supervisor runs these services; "
                "stop it first, or switch the backend"
            )
        if not self.present(self.scan):
            raise NotRunning(f"{self.scan} is not set up for the backend supervisord")
        found = self._processes()
        self._known = self._directories()
        services = {}
        for name, (meta, identity) in self._known.items():
            if name not in found:
                continue
            service = self._service(name, found[name])
            service.loaded = identity
            service.enabled = not self._is_down(name)
            service.stale = _read(self.place.program(name)) != self._text(name, meta, identity)
            services[name] = service
        pid = int(self._rpc.call("getPID"))
        version = str(self._rpc.call("getSupervisorVersion"))
        supervisor = {"pid": pid, "version": version, "since": None, "scan": self.scan, "log_writer_pid": None}
        return Snapshot(supervisor, services)

    def rescan(self) -> None:
        """Write the programs; put those in that are new, take those out that have gone, and touch no other."""
        self._write()
        found = self._processes()
        new = [name for name in self._known if name not in found]
        gone = [name for name in found if name not in self._known]
        if new or gone:
            self._reload()
        for name in new:
            self._forget(name)
            self._add(name, start=not self._is_down(name))
        refused = self._stop(gone, found)
        if refused:
            raise BackendError("; ".join(f"{name}: {why}" for name, why in refused.items()))
        self._until_stopped(gone, {})
        for name in gone:
            self._remove(name)
            shutil.rmtree(self.place.state(name), ignore_errors=True)

    def offline(self) -> None:
        """Write the programs for a supervisord that is not running."""
        self._write()

    def control(self, commands: list[tuple[str, str]]) -> dict[str, str]:
        """Give the commands, those of the same kind together."""
        refused: dict[str, str] = {}
        self._known = self._directories()
        for action, names in runs(commands):
            refused.update(self._command(action, names))
        return refused

    def wait(self, wishes: list[tuple[str, str]], timeout: float) -> dict[str, Verdict]:
        """Look at what is not decided until all is, or time is up."""
        verdicts: dict[str, Verdict] = {}
        open_ = dict(wishes)
        self._known = self._directories()
        deadline = time.monotonic() + timeout
        endings: dict[str, Any] = {}
        formers: dict[str, former_start.Ending] = {}
        pause = PAUSE
        while open_:
            found = self._processes()
            for name, wish in list(open_.items()):
                if name not in found:
                    verdicts[name] = Verdict(name, "failed" if wish == "ready" else "reached", None)
                    del open_[name]
                    continue
                service = self._service(name, found[name])
                endings[name] = service.exit = service.exit or endings.get(name)
                outcome = self._judge(wish, service, found[name])
                if outcome:
                    verdicts[name] = Verdict(name, outcome, service)
                    del open_[name]
                elif time.monotonic() >= deadline:
                    verdicts[name] = Verdict(name, "timeout", service)
                    del open_[name]
                elif wish == "down" and not int(found[name]["pid"]):
                    self._end_former(name, formers)
            if open_:
                # Whoever waits long, as a service for another, asks less often: supervisord does one thing at a time.
                pause = min(pause * 1.2, LONG_PAUSE)
                time.sleep(pause)
        return verdicts

    def close(self) -> None:
        """Close the connection."""
        self._rpc.close()

    def link(self, name: str) -> str:
        """Give nothing: Supervisor has no directory for clients of the daemontools family."""
        return ""

    def log_owner(self) -> tuple[int, int] | None:
        """Supervisor writes the logs itself, as who runs it."""
        return os.geteuid(), os.getegid()

    def attends(self, meta: Mapping[str, Any]) -> bool:
        """Tell whether a service with this definition has a parent of ours."""
        return program.attended(meta)

    def problems(self, metas: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """Find names that Supervisor does not take."""
        return [f"{name}: Supervisor takes no colon in a name: give it another one" for name in metas if ":" in name]

    def obstacle(self, feature: str, meta: Mapping[str, Any], snapshot: Snapshot) -> str:
        """Say what the start script, or this kernel, cannot do for this definition."""
        if feature == "security_context":
            return label_obstacle((meta.get("process") or {}).get("security_context") or {})
        number = int((meta.get("readiness") or {}).get("notification_fd") or 0)
        if feature == "readiness.notification_fd" and number > 9:
            return f"the start script is one of sh, which opens no descriptor above 9, not {number}"
        return ""

    # -- our files -------------------------------------------------------------------------------------------------

    def _directories(self) -> dict[str, tuple[dict[str, Any], str]]:
        found = {}
        for name in sorted(os.listdir(self.scan)):
            if name.startswith(".") or holding.standing(self.scan, name, self.name) in _ELSEWHERE:
                continue
            text = _read(f"{self.scan}/{name}/holdfast.json")
            try:
                meta = json.loads(text or "null")
            except ValueError:
                continue
            if isinstance(meta, dict) and meta.get("name") == name:
                found[name] = meta, f"{meta.get('definition', '')}.{meta.get('revision', 1)}"
        return found

    def _is_down(self, name: str) -> bool:
        return os.path.lexists(f"{self.scan}/{name}/down") or (
            holding.standing(self.scan, name, self.name) != holding.MINE
        )

    def _text(self, name: str, meta: Mapping[str, Any], identity: str) -> str:
        return program.program(meta, identity, not self._is_down(name), self.place)

    def _write(self) -> None:
        self._known = self._directories()
        folder = f"{self.scan}/{FOLDER}/{program.PROGRAMS}"
        os.makedirs(folder, 0o700, exist_ok=True)
        for name, (meta, identity) in self._known.items():
            log = meta.get("log") or {}
            if log.get("to") == "directory":
                # Supervisor refuses its whole configuration for one that is missing.
                os.makedirs(log["directory"], 0o755, exist_ok=True)
            text = self._text(name, meta, identity)
            if _read(self.place.program(name)) != text:
                _replace(self.place.program(name), text)
        for entry in os.listdir(folder):
            if entry.endswith(".conf") and entry[: -len(".conf")] not in self._known:
                os.unlink(f"{folder}/{entry}")

    # -- supervisord -----------------------------------------------------------------------------------------------

    def _processes(self, names: list[str] | None = None) -> dict[str, dict[str, Any]]:
        """Give what supervisord says of its programs, or of *names* alone: few are asked for one by one.

        Raises BackendError.
        """
        if names is not None and len(names) <= FEW:
            answers = self._rpc.at_once(*[("getProcessInfo", [name]) for name in names]) if names else []
            for name, answer in zip(names, answers):
                # Any other than that it does not know the name tells nothing of the program.
                if isinstance(answer, Fault) and answer.code != BAD_NAME:
                    raise BackendError(f"{name}: supervisord: {answer}")
            return {name: answer for name, answer in zip(names, answers) if not isinstance(answer, Fault)}
        try:
            return {str(one["name"]): one for one in self._rpc.call("getAllProcessInfo")}
        except Fault as fault:
            raise BackendError(f"supervisord: {fault}") from None

    def _reload(self) -> None:
        """Have supervisord read its files; it goes on with the programs that it has."""
        try:
            self._rpc.call("reloadConfig")
        except Fault as fault:
            raise BackendError(f"supervisord cannot read its configuration: {fault}") from None

    def _add(self, name: str, *, start: bool) -> None:
        """Put a program in, and start it before supervisord's next turn would. Raises BackendError.

        How it does, once it was tried, is for `wait` to tell.
        """
        calls: list[tuple[str, list[Any]]] = [("addProcessGroup", [name])]
        if start:
            calls.append(("startProcess", [name, False]))
        for answer in self._rpc.at_once(*calls):
            if isinstance(answer, Fault) and answer.code not in (ALREADY_ADDED, ALREADY_STARTED, SPAWN_ERROR):
                raise BackendError(f"{name}: supervisord: {answer}")
        state = self.place.state(name)
        os.makedirs(state, 0o755, exist_ok=True)
        _replace(f"{state}/loaded", _digest(_read(self.place.program(name)) or ""))

    def _forget(self, name: str) -> None:
        """Have deaths of the past not count, and no pause before the next start."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{self.place.state(name)}/past")
        words = self._note(name, "process").split()
        self._births[name] = int(words[3]) if len(words) > 3 and words[3].isdigit() else 0

    def _remove(self, name: str) -> None:
        try:
            self._rpc.call("removeProcessGroup", name)
        except Fault as fault:
            if fault.code != BAD_NAME:
                raise BackendError(f"{name}: supervisord: {fault}") from None

    def _is_loaded(self, name: str) -> bool:
        """Tell whether supervisord has the present configuration of a program."""
        return _read(f"{self.place.state(name)}/loaded") == _digest(_read(self.place.program(name)) or "")

    def _command(self, action: str, names: list[str]) -> dict[str, str]:
        found = self._processes(names)
        refused = {name: "supervisord has no program for it" for name in names if name not in found}
        there = [name for name in names if name in found]
        if action in ("stop", "remove"):
            return {**refused, **self._stop(there, found)}
        if action in ("start", "once", "restart"):
            for name in there:
                lasting = self._known[name][0].get("restart", "always") != "never"
                if action == "once" and lasting and self._known[name][0].get("state") != "once":
                    refused[name] = (
                        "Supervisor restarts it by its configuration: give it the state once, or restart: never"
                    )
            told = [name for name in there if name not in refused]
            if action == "restart":
                refused.update(self._stop(told, found))
                told = [name for name in told if name not in refused]
                found = {}
            return {**refused, **self._start(told, found)}
        if action != "reload" and action not in _SIGNALS:
            return {**refused, **dict.fromkeys(there, f"there is no action {action!r}")}
        for name in there:
            meta, identity = self._known[name]
            if action == "pause" and meta.get("lease"):
                refused[name] = "a leased service is not paused"
                continue
            signal = str(meta.get("reload_signal") or "HUP") if action == "reload" else _SIGNALS[action]
            try:
                self._rpc.call("signalProcess", name, signal)
            except Fault as fault:
                refused[name] = f"supervisord: {fault}"
                continue
            if action == "reload":
                self._renote(name, identity)
            elif action in ("pause", "continue"):
                self._pass_on(name, found[name], signal)
        return refused

    def _pass_on(self, name: str, info: Mapping[str, Any], signal: str) -> None:
        """Have a service below a parent of ours do what its parent cannot have it do."""
        note = attending.of(self.place.state(name), int(info["pid"]))
        if note is not None and note.child:
            with contextlib.suppress(OSError):
                os.kill(note.child, signals.Signals[f"SIG{signal}"])

    def _order(self, name: str, what: str) -> None:
        """Note that a periodic service is to run now ("now"), or that it is not ("")."""
        if name in self._known and self._known[name][0].get("type") == "periodic":
            os.makedirs(self.place.state(name), 0o755, exist_ok=True)
            _replace(f"{self.place.state(name)}/{attending.NOW}", what)

    def _stop(self, names: list[str], found: dict[str, dict[str, Any]]) -> dict[str, str]:
        """Ask programs to stop, and see that they will. found: what supervisord last said of them."""
        refused: dict[str, str] = {}
        left = list(names)
        for name in names:
            self._order(name, "")
        deadline = time.monotonic() + TURN
        while True:
            left = [name for name in left if name in found and not self._is_at_rest(name, found[name])]
            calls: list[tuple[str, list[Any]]] = []
            for name in left:
                if self._comes_again(name, found[name]):
                    # Nothing can be stopped between two lives, and it might never be met in one: it gets the next one
                    # now, and is stopped before supervisord can notice its death. Refused if it lives.
                    calls.append(("startProcess", [name, False]))
                calls.append(("stopProcess", [name, False]))
            answers = self._rpc.at_once(*calls) if calls else []
            faults = {
                parameters[0]: answer
                for (method, parameters), answer in zip(calls, answers)
                if method == "stopProcess" and isinstance(answer, Fault)
            }
            refused.update(
                {name: f"supervisord: {fault}" for name, fault in faults.items() if fault.code != NOT_RUNNING}
            )
            left = [name for name in faults if name not in refused]
            if not left:
                return refused
            if time.monotonic() >= deadline:
                return {**refused, **dict.fromkeys(left, f"supervisord did not stop it within {TURN:g} s")}
            time.sleep(PAUSE)
            found = self._processes(left)

    def _is_at_rest(self, name: str, info: Mapping[str, Any]) -> bool:
        """Tell whether a program is down, or will be without another word."""
        state = info["state"]
        return state in (STOPPED, STOPPING, FATAL) or (state == EXITED and not self._comes_again(name, info))

    def _comes_again(self, name: str, info: Mapping[str, Any]) -> bool:
        """Tell whether supervisord starts a program again when it has ended as it last did."""
        meta = self._known[name][0] if name in self._known else {}
        restart = attending.restart(meta)
        if meta.get("state") == "once" or restart == "never":
            return False
        # While it runs, nobody knows how it will end.
        good = (program.GIVES_UP,) if restart == "always" else (0, program.GIVES_UP)
        return info["state"] != EXITED or int(info["exitstatus"]) not in good

    def _end_former(self, name: str, formers: dict[str, former_start.Ending]) -> None:
        """Have what former starts of a stopped program have left end: supervisord does not know of it."""
        left = former_start.of_program(self.place.state(name))
        if left and name in self._known and self._processes([name])[name]["state"] == STOPPED:
            # Nobody has started it meanwhile: that one would be no former one.
            if name not in formers:
                stop_signal, timeout = program.stopping(self._known[name][0])
                formers[name] = former_start.Ending(stop_signal, timeout, True)
            formers[name].advance(left)

    def _passes(self, name: str) -> bool:
        """Tell whether a program may end for good by itself."""
        meta = self._known[name][0] if name in self._known else {}
        return attending.restart(meta) != "always" or meta.get("state") == "once"

    def _until_stopped(self, names: list[str], found: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """Wait until nothing of *names* is on its way out, for as long as they may take; gives what is said of them then.

        found: what was said of them before, nothing if that may have changed. Raises BackendError.
        """
        metas = [(self._known.get(name) or ({}, ""))[0] for name in names]
        limits = [float(meta.get("stop_timeout") or NEVER) + float(meta.get("finish_timeout") or 0) for meta in metas]
        deadline = time.monotonic() + min(max(limits, default=0.0), 300.0) + TURN
        found = found or self._processes(names)
        while True:
            left = [name for name in names if name in found and self._leaves(name, found[name])]
            if not left:
                return found
            if time.monotonic() >= deadline:
                raise BackendError(f"{', '.join(left)}: does not stop")
            time.sleep(PAUSE / 5)
            found = self._processes(names)

    def _leaves(self, name: str, info: Mapping[str, Any]) -> bool:
        """Tell whether a program is about to end: supervisord does not start it until it has, and keeps no start for later."""
        if info["state"] == STOPPING:
            return True
        note = attending.of(self.place.state(name), int(info["pid"])) if info["pid"] else None
        # The parent of a periodic one stays.
        periodic = name in self._known and self._known[name][0].get("type") == "periodic"
        return note is not None and not periodic and note.state in (attending.FINISHING, attending.ENDED)

    def _start(self, names: list[str], found: dict[str, dict[str, Any]]) -> dict[str, str]:
        """Start programs that do not run, with their present configuration. found: see `_until_stopped`."""
        refused: dict[str, str] = {}
        found = self._until_stopped(names, found)
        for name in names:
            self._forget(name)
            self._order(name, "now")
        resting = (STOPPED, EXITED, FATAL)
        outdated = [
            name for name in names if name in found and found[name]["state"] in resting and not self._is_loaded(name)
        ]
        if outdated:
            self._reload()
        for name in outdated:
            self._remove(name)
            self._add(name, start=True)
        others = [name for name in names if name not in outdated]
        answers = self._rpc.at_once(*[("startProcess", [name, False]) for name in others]) if others else []
        for name, answer in zip(others, answers):
            if not isinstance(answer, Fault) or answer.code == SPAWN_ERROR:
                continue
            if answer.code != ALREADY_STARTED:
                refused[name] = f"supervisord: {answer}"
            elif self._note(name, "pausing") or self._known[name][0].get("type") == "periodic":
                # It waits between two lives, or two runs. May be gone by now.
                self._rpc.at_once(("signalProcess", [name, "CONT"]))
        return refused

    def _service(self, name: str, info: Mapping[str, Any]) -> Service:
        meta = self._known[name][0] if name in self._known else {"name": name}
        code, pid = int(info["state"]), int(info["pid"]) or None
        state = _STATES.get(code, "down")
        passing = self._passes(name)
        reason = ""
        if code == EXITED and not self._comes_again(name, info):
            gave_up = int(info["exitstatus"]) == program.GIVES_UP
            state = "failed" if gave_up else "down"
            reason = self._note(name, "failed") or "run gave up: exit code 100" if gave_up else ""
        words = self._note(name, "process").split()
        definition = words[2] if words[:1] == [str(pid)] and len(words) > 3 else ""
        births, alive = int(words[3]) if len(words) > 3 and words[3].isdigit() else 0, 1 if definition else 0
        parent = bool(definition) and len(words) > 5
        note = attending.of(self.place.state(name), pid) if parent and pid is not None else None
        if parent and pid is not None:
            # Not begun before it has noted something.
            definition = (attending.definition(self.place.state(name), pid) or definition) if note else ""
        if state == "up" and not definition:
            # The start script waits, for a former copy or between two lives.
            pausing = self._note(name, "pausing") == str(pid)
            waits = self._note(name, "waiting").split()
            if waits[:1] == [str(pid)]:
                state, pid, reason = "waiting", None, f"waits for {active.wished(waits[1:])}"
            else:
                state, pid = ("backoff", None) if pausing else ("starting", pid)
                left = former_start.of_program(self.place.state(name), pid) if pid is not None else []
                reason = former_start.text(left) if left else ""
        if state == "up" and pid is not None and self._is_ready(name, meta, pid):
            state = "ready"
        ended = info["stop"] and not pid
        left = former_start.of_program(self.place.state(name)) if code == STOPPED else []
        if left:
            state, pid, reason = "stopping", left[0], former_start.ending_text(left)
        status = int(info["exitstatus"])
        if state == "failed" or state == "backoff":
            # That of the start script, which has not started it.
            ended = None
        ending = {"kind": "exit" if status >= 0 else "unknown", "code": max(status, 0), "at": float(info["stop"])}
        want = "down" if code in (STOPPED, STOPPING) or (passing and meta.get("state") != "started") else "up"
        record: dict[str, Any] = {"attended": parent if definition else None}
        record.update(
            {
                "name": name,
                "state": state,
                "pid": pid,
                "since": float(info["start"] if pid else info["stop"]) or None,
                "ready": state == "ready",
                "want": want,
                "deaths": max(births - self._births.setdefault(name, births - alive) - alive, 0),
                "exit": ending if ended else None,
                "definition": definition or None,
                "paused": pid is not None and _stat(pid)[0] == "T",
                "reason": reason or (str(info["spawnerr"]) if state in ("failed", "backoff") else ""),
            }
        )
        if note is not None:
            attending.overlay(record, note, meta)
        return Service(record)

    def _look_at(self, name: str) -> tuple[bool, list[str] | None, list[str]]:
        """Give whether a service is ready, what it needs if it waits for that, and which of those have to be active."""
        found = self._processes([name]).get(name)
        service = None if found is None else self._service(name, found)
        if service is None or service.state != "waiting":
            return service is not None and service.ready, None, []
        meta = self._known[name][0]
        return False, meta.get("needs") or [], meta.get("needs_active") or []

    def _note(self, name: str, file: str) -> str:
        """Give what the start script of a service has noted in a file, "" if nothing."""
        return (_read(f"{self.place.state(name)}/{file}") or "").strip()

    def _renote(self, name: str, identity: str) -> None:
        """Note that the running process is one of the present definition."""
        words = self._note(name, "process").split()
        if len(words) > 3:
            _replace(f"{self.place.state(name)}/process", " ".join([*words[:2], identity, *words[3:]]) + "\n")
        if len(words) > 5:
            _replace(f"{self.place.state(name)}/{attending.DEFINITION}", f"{words[0]} {identity}\n")

    def _is_ready(self, name: str, meta: Mapping[str, Any], pid: int) -> bool:
        """Tell whether a process is ready, and keep in mind that it was once."""
        readiness = meta.get("readiness") or {}
        letter, began = _stat(pid)
        if not letter:
            return False
        if readiness.get("notification_fd") is not None:
            return bool(_read(f"{self.place.state(name)}/ready"))
        if not readiness.get("check"):
            note = attending.of(self.place.state(name), pid)
            if note is not None:
                return time.time() - note.since >= float(readiness.get("grace") or 0.0)
            # Not from the start of the start script, which may have waited.
            words = self._note(name, "process").split()
            start = int(words[4]) / os.sysconf("SC_CLK_TCK") if len(words) > 4 and words[4].isdigit() else began
            return time.clock_gettime(time.CLOCK_BOOTTIME) - start >= float(readiness.get("grace") or 0.0)
        noted, life = f"{self.place.state(name)}/ready", f"{pid} {began}"
        if _read(noted) == life:
            return True
        try:
            done = subprocess.run(
                [f"{self.scan}/{name}/check"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=CHECK_TIMEOUT,
                check=False,
                start_new_session=True,
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
        if done.returncode == 0:
            _replace(noted, life)
        return done.returncode == 0

    def _judge(self, wish: str, service: Service, info: Mapping[str, Any]) -> str:
        if wish == "gone":
            return ""
        if wish == "down":
            return "reached" if not service.pid and service.state in ("down", "failed") else ""
        if service.state == "scheduled":
            if attending.is_asked_to_run(self.place.state(service.name)):
                return ""
            return "reached" if service.ready else "failed"
        if service.ready:
            return "reached"
        if service.state == "failed" or service.deaths >= DEATHS:
            return "failed"
        if service.state == "waiting":
            return "reached" if active.stands_by(self.scan, service.name, self._look_at) else ""
        if service.state == "down":
            kind = self._known[service.name][0].get("type")
            return "reached" if info["stop"] and service.succeeded and kind != "oneshot" else "failed"
        limit = float((self._known[service.name][0].get("readiness") or {}).get("timeout") or 0)
        if service.state == "up" and limit and service.since and time.time() - service.since > limit + 1.0:
            service.reason = f"not ready within {limit:g} s"
            return "failed"
        return ""


def _stat(pid: int) -> tuple[str, float]:
    """Give the state letter of a process and its start in seconds since the boot; "" and 0 when there is none."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return "", 0.0
    return fields[0], int(fields[19]) / os.sysconf("SC_CLK_TCK")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return None


def _replace(path: str, text: str) -> None:
    beside = f"{path}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(beside)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    os.rename(beside, path)
