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
import subprocess
import time
from collections.abc import Mapping
from typing import Any

from ._supervisord import program
from ._supervisord.program import FOLDER, NEVER, SOCKET, Place
from ._supervisord.rpc import ALREADY_ADDED, ALREADY_STARTED, BAD_NAME, NOT_RUNNING, Fault, Rpc
from .embedded import lock_holder
from .interface import DEATHS, Backend, BackendError, NotRunning, Service, Snapshot, Unanswered, Verdict

#: Supervisor's states, and ours. What EXITED means depends on the restart policy.
_STATES = {0: "down", 10: "starting", 20: "up", 30: "backoff", 40: "stopping", 100: "backoff", 200: "failed"}
STOPPED, STOPPING, EXITED, FATAL = 0, 40, 100, 200
#: Seconds that one run of a readiness check may take, and between two looks.
CHECK_TIMEOUT = 10.0
PAUSE = 0.05
#: Supervisor looks after what has ended once a second.
TURN = 5.0
_SIGNALS = {"pause": "STOP", "continue": "CONT"}
_SIGNALS.update(
    {name: name.upper() for name in ("hup", "int", "quit", "kill", "usr1", "usr2", "alrm", "term", "winch")}
)


class Supervisord(Backend):
    """Talks to the supervisord that the role runs for one scan directory."""

    name = "supervisord"
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
    supplied = frozenset(("readiness.check", "lease", "process", "security_context", "identity"))

    def __init__(self, scan: str) -> None:
        super().__init__(scan)
        self._rpc = Rpc(f"{scan}/.holdfast/{SOCKET}")
        self._known: dict[str, tuple[dict[str, Any], str]] = {}

    @classmethod
    def present(cls, scan: str) -> bool:
        """Tell whether the role has set the scan directory up for Supervisor."""
        return os.path.exists(f"{scan}/{FOLDER}/{program.CONFIGURATION}")

    @property
    def place(self) -> Place:
        """Give where things are."""
        return Place(self.scan, os.path.realpath(f"{self.scan}/.holdfast"))

    def snapshot(self) -> Snapshot:
        """Ask for everything, once."""
        holder = lock_holder(f"{self.scan}/.holdfast/lock")
        if holder is not None:
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
            self._add(name)
        for name in gone:
            self._stop([name])
            self._remove(name)

    def offline(self) -> None:
        """Write the programs for a supervisord that is not running."""
        self._write()

    def control(self, commands: list[tuple[str, str]]) -> dict[str, str]:
        """Give the commands, those of the same kind together."""
        refused: dict[str, str] = {}
        self._known = self._directories()
        batch: list[str] = []
        previous = ""
        for name, action in [*commands, ("", "")]:
            if action != previous and batch:
                refused.update(self._command(previous, batch))
                batch = []
            if name:
                batch.append(name)
            previous = action
        return refused

    def wait(self, wishes: list[tuple[str, str]], timeout: float) -> dict[str, Verdict]:
        """Look at what is not decided until all is, or time is up."""
        verdicts: dict[str, Verdict] = {}
        open_ = dict(wishes)
        self._known = self._directories()
        deadline = time.monotonic() + timeout
        lives: dict[str, set[int]] = {}
        endings: dict[str, Any] = {}
        while open_:
            found = self._processes()
            for name, wish in list(open_.items()):
                if name not in found:
                    verdicts[name] = Verdict(name, "failed" if wish == "ready" else "reached", None)
                    del open_[name]
                    continue
                service = self._service(name, found[name])
                endings[name] = service.exit = service.exit or endings.get(name)
                seen = lives.setdefault(name, set())
                if service.pid:
                    seen.add(service.pid)
                service.deaths = max(len(seen) - (1 if service.pid else 0), 0)
                outcome = self._judge(wish, service, bool(seen), found[name])
                if outcome:
                    verdicts[name] = Verdict(name, outcome, service)
                    del open_[name]
                elif time.monotonic() >= deadline:
                    verdicts[name] = Verdict(name, "timeout", service)
                    del open_[name]
            if open_:
                time.sleep(PAUSE)
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

    def problems(self, metas: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """Find names that Supervisor does not take."""
        return [f"{name}: Supervisor takes no colon in a name: give it another one" for name in metas if ":" in name]

    # -- our files -------------------------------------------------------------------------------------------------

    def _directories(self) -> dict[str, tuple[dict[str, Any], str]]:
        found = {}
        for name in sorted(os.listdir(self.scan)):
            text = None if name.startswith(".") else _read(f"{self.scan}/{name}/holdfast.json")
            try:
                meta = json.loads(text or "null")
            except ValueError:
                continue
            if isinstance(meta, dict) and meta.get("name") == name:
                found[name] = meta, f"{meta.get('definition', '')}.{meta.get('revision', 1)}"
        return found

    def _is_down(self, name: str) -> bool:
        return os.path.lexists(f"{self.scan}/{name}/down")

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

    def _processes(self) -> dict[str, dict[str, Any]]:
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

    def _add(self, name: str) -> None:
        """Put a program in; an enabled one starts by that. Raises BackendError."""
        try:
            self._rpc.call("addProcessGroup", name)
        except Fault as fault:
            if fault.code != ALREADY_ADDED:
                raise BackendError(f"{name}: supervisord: {fault}") from None
        state = self.place.state(name)
        os.makedirs(state, 0o755, exist_ok=True)
        _replace(f"{state}/loaded", _digest(_read(self.place.program(name)) or ""))

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
        found = self._processes()
        refused = {name: "supervisord has no program for it" for name in names if name not in found}
        there = [name for name in names if name in found]
        if action in ("stop", "remove"):
            return {**refused, **self._stop(there, wait=False)}
        if action in ("start", "once", "restart"):
            for name in there:
                lasting = self._known[name][0].get("restart", "always") != "never"
                if action == "once" and lasting and self._known[name][0].get("state") != "once":
                    refused[name] = (
                        "Supervisor restarts it by its configuration: give it the state once, or restart: never"
                    )
            return {**refused, **self._start([name for name in there if name not in refused], action == "restart")}
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
                _link(identity, f"{self.place.state(name)}/definition")
        return refused

    def _stop(self, names: list[str], wait: bool = True) -> dict[str, str]:
        """Ask programs to stop, and see that they do."""
        refused: dict[str, str] = {}
        left = set(names)
        deadline = time.monotonic() + TURN
        while left and time.monotonic() < deadline:
            found = self._processes()
            for name in sorted(left):
                state = found[name]["state"] if name in found else STOPPED
                if state in (STOPPED, STOPPING, FATAL) or (state == EXITED and self._rests(name)):
                    left.discard(name)
                    continue
                calls: list[tuple[str, list[Any]]] = [("stopProcess", [name, False])]
                if state == EXITED:
                    # Nothing can be stopped between two lives, and it might never be met in one: it gets the next one
                    # now, and is stopped before supervisord can notice its death.
                    calls.insert(0, ("startProcess", [name, False]))
                answer = self._rpc.at_once(*calls)[-1]
                if isinstance(answer, Fault) and answer.code != NOT_RUNNING:
                    refused[name] = f"supervisord: {answer}"
                    left.discard(name)
            if left:
                time.sleep(PAUSE)
        refused.update(dict.fromkeys(left, f"supervisord did not stop it within {TURN:g} s"))
        if wait:
            self._until_stopped(names)
        return refused

    def _rests(self, name: str) -> bool:
        """Tell whether a program that has ended stays down."""
        meta = self._known[name][0] if name in self._known else {}
        return meta.get("restart", "always") != "always" or meta.get("state") == "once"

    def _until_stopped(self, names: list[str]) -> None:
        """Wait until nothing of *names* is stopping, for as long as they may take. Raises BackendError."""
        limits = [float((self._known.get(name) or ({}, ""))[0].get("stop_timeout") or NEVER) for name in names]
        deadline = time.monotonic() + min(max(limits, default=0.0), 300.0) + TURN
        while True:
            found = self._processes()
            left = [name for name in names if name in found and found[name]["state"] == STOPPING]
            if not left:
                return
            if time.monotonic() >= deadline:
                raise BackendError(f"{', '.join(left)}: does not stop")
            time.sleep(PAUSE)

    def _start(self, names: list[str], again: bool) -> dict[str, str]:
        """Start programs, with their present configuration; those that run only when they are to run *again*."""
        refused: dict[str, str] = {}
        found = self._processes()
        if again:
            running = [name for name in names if found[name]["state"] not in (STOPPED, FATAL)]
            refused = self._stop(running)
        else:
            self._until_stopped(names)
        found = self._processes()
        resting = (STOPPED, EXITED, FATAL)
        outdated = [name for name in names if found[name]["state"] in resting and not self._is_loaded(name)]
        if outdated:
            self._reload()
        for name in names:
            if name in refused:
                continue
            if name in outdated:
                self._remove(name)
                self._add(name)
            try:
                self._rpc.call("startProcess", name, False)
            except Fault as fault:
                if fault.code != ALREADY_STARTED:
                    refused[name] = f"supervisord: {fault}"
        return refused

    def _service(self, name: str, info: Mapping[str, Any]) -> Service:
        meta = self._known[name][0] if name in self._known else {"name": name}
        code, pid = int(info["state"]), int(info["pid"]) or None
        state = _STATES.get(code, "down")
        passing = self._rests(name)
        if code == EXITED and passing:
            state = "down"
        if state == "up" and pid is not None and self._is_ready(name, meta, pid):
            state = "ready"
        ended = info["stop"] and not pid
        status = int(info["exitstatus"])
        ending = {"kind": "exit" if status >= 0 else "unknown", "code": max(status, 0), "at": float(info["stop"])}
        want = "down" if code in (STOPPED, STOPPING) or (passing and meta.get("state") != "started") else "up"
        return Service(
            {
                "name": name,
                "state": state,
                "pid": pid,
                "since": float(info["start"] if pid else info["stop"]) or None,
                "ready": state == "ready",
                "want": want,
                "deaths": 0,
                "exit": ending if ended else None,
                "definition": _target(f"{self.place.state(name)}/definition") if pid else None,
                "paused": pid is not None and _stat(pid)[0] == "T",
                "reason": str(info["spawnerr"]) if state in ("failed", "backoff") else "",
            }
        )

    def _is_ready(self, name: str, meta: Mapping[str, Any], pid: int) -> bool:
        """Tell whether a process is ready, and keep in mind that it was once."""
        readiness = meta.get("readiness") or {}
        letter, began = _stat(pid)
        if not letter:
            return False
        if not readiness.get("check"):
            return time.clock_gettime(time.CLOCK_BOOTTIME) - began >= float(readiness.get("grace") or 0.0)
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

    def _judge(self, wish: str, service: Service, lived: bool, info: Mapping[str, Any]) -> str:
        if wish == "gone":
            return ""
        if wish == "down":
            return "reached" if not service.pid and service.state in ("down", "failed") else ""
        if service.ready:
            return "reached"
        if service.state == "failed" or service.deaths >= DEATHS:
            return "failed"
        if service.state == "down":
            return "reached" if (lived or info["stop"]) and service.succeeded else "failed"
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


def _target(path: str) -> str | None:
    try:
        return os.readlink(path)
    except OSError:
        return None


def _link(target: str, path: str) -> None:
    beside = f"{path}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(beside)
    os.symlink(target, beside)
    os.rename(beside, path)


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
