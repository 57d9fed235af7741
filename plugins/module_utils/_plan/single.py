# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One service that is there already: the body of the module service. PRIVATE to the collection.

Takes what ansible.builtin.service takes. Services of our scan directory are steered here; any other name belongs to the
host's own service manager and is handed to it.
"""

from __future__ import annotations

import os
import time
from typing import Any

from .._definition.names import is_name
from .._supervise import holding, hostmanager
from .._supervise.choosing import choose
from .._supervise.interface import Backend, BackendError, NotRunning, Service
from . import verify
from .directories import secrets_of
from .logtail import log_directory, settle, tail_of
from .mask import Mask
from .patience import complaint, patience
from .places import scan_directory
from .scan import Scan

#: What each state is called when it has been reached.
WORDS = {"started": "started", "restarted": "started", "reloaded": "started", "once": "started", "stopped": "stopped"}
RUNNING = frozenset(("starting", "up", "ready"))


def service(parameters: dict[str, Any], runner: hostmanager.Runner, *, check_mode: bool) -> dict[str, Any]:
    """Do the task of the module service. With `failed` the result says in `msg` what is wrong."""
    scan = scan_directory(parameters["scan_directory"])
    wrong = complaint(parameters["timeout"])
    if wrong:
        return {"failed": True, "msg": f"{wrong}; nothing was changed"}
    return steer(parameters, scan, choose(parameters["backend"], scan), runner, check_mode)


def steer(
    parameters: dict[str, Any], scan_path: str, backend: Backend, runner: hostmanager.Runner, check_mode: bool
) -> dict[str, Any]:
    """Bring one service into a state. With `failed` the result says in `msg` what is wrong."""
    name = parameters["name"]
    try:
        scan = Scan(scan_path)
    except OSError as error:
        return {"failed": True, "msg": f"{scan_path}: {error.strerror}"}
    try:
        if not (is_name(name) and name in scan.names):
            return _foreign(parameters, runner, check_mode)
        if parameters["enabled"] is not None and not check_mode and not scan.lock():
            return {"failed": True, "msg": f"{scan_path}: another run changes it: try again when that has ended"}
        return _Single(parameters, scan, backend, check_mode).run()
    except (BackendError, hostmanager.ManagerError) as error:
        return {"failed": True, "msg": str(error)}
    except OSError as error:
        return {"failed": True, "msg": f"{error.filename or scan_path}: {error.strerror}"}
    finally:
        backend.close()
        scan.close()


class _Single:
    """One service of the scan directory."""

    def __init__(self, parameters: dict[str, Any], scan: Scan, backend: Backend, check_mode: bool) -> None:
        self._name: str = parameters["name"]
        self._state: str | None = parameters["state"]
        self._enabled: bool | None = parameters["enabled"]
        self._timeout: float | None = parameters["timeout"]
        self._scan = scan
        self._backend = backend
        self._check_mode = check_mode
        self._actions: list[str] = []
        self._begun = time.time()
        self._actual = scan.look(self._name)

    def run(self) -> dict[str, Any]:
        problems = verify.scan_directory(self._scan.path, self._scan.at)
        problems += [problem for problem in (holding.complaint(self._scan.path),) if problem]
        if problems:
            return {"failed": True, "msg": "\n".join(problems)}
        status = self._status()
        command = "" if self._state is None else _command(self._state, status)
        now = self._is_enabled()
        if self._enabled is not None and self._enabled != now:
            self._actions.append("enable" if self._enabled else "disable")
        if command:
            self._actions.append(command)
        if not self._check_mode:
            self._enable()
            if self._enabled is not None and status is not None and self._enabled != now:
                # Where the supervisor has a copy of what says so.
                self._backend.rescan()
            if command:
                status, failure = self._do(command, status)
                if failure:
                    return self._result(status, failure)
        return self._result(status)

    def _status(self) -> Service | None:
        try:
            return self._backend.snapshot().services.get(self._name)
        except NotRunning as error:
            if self._state is None:
                return None
            raise NotRunning(f"{self._name}: {error}: apply the role holdfast.supervision.supervisor first") from None

    def _is_enabled(self) -> bool:
        return "down" not in self._actual.entries

    def _enable(self) -> None:
        """Make or remove the file `down`: one step, so that the directory need not be published anew."""
        if "enable" not in self._actions and "disable" not in self._actions:
            return
        flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
        if self._actual.kind != "foreign":
            flags |= os.O_NOFOLLOW
        folder = os.open(self._name, flags, dir_fd=self._scan.at)
        try:
            if self._enabled:
                os.unlink("down", dir_fd=folder)
            else:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                os.close(os.open("down", flags, 0o644, dir_fd=folder))
        finally:
            os.close(folder)

    def _do(self, command: str, status: Service | None) -> tuple[Service | None, str]:
        if status is None:
            self._backend.rescan()
        refused = self._backend.control([(self._name, command)]).get(self._name)
        if refused:
            self._actions.remove(command)
            return status, f"{command} was refused: {refused}"
        wish = "down" if command == "stop" else "ready"
        limit = patience(self._timeout, [(self._name, self._actual.meta, wish, command)])
        verdict = self._backend.wait([(self._name, wish)], limit).get(self._name)
        after = None if verdict is None else verdict.service
        if verdict is None or after is None:
            return status, "the supervisor does not know it"
        if verdict.outcome == "reached" or (command == "once" and after.state == "down" and after.succeeded):
            return after, ""
        if verdict.outcome == "timeout":
            what = "stopped" if wish == "down" else "ready"
            return after, f"not {what} within {limit:g} s ({after.trouble})"
        return after, after.trouble

    def _result(self, status: Service | None, failure: str = "") -> dict[str, Any]:
        enabled = self._is_enabled() if self._enabled is None else self._enabled
        result: dict[str, Any] = {
            "name": self._name,
            "changed": bool(self._actions),
            "actions": self._actions,
            "enabled": enabled,
            "manager": self._backend.name,
            "status": _record(status),
        }
        if self._state is not None:
            result["state"] = WORDS[self._state]
        elif status is not None:
            result["state"] = "started" if status.state in RUNNING else "stopped"
        if failure:
            directory = log_directory(self._actual.meta)
            if directory and status is not None and status.exit:
                ended = float(status.exit.get("at") or 0.0)
                settle([(directory, ended, lambda: self._backend.has_written(self._name))])
            mask = Mask(secrets_of(self._actual))
            found, before = tail_of(self._actual.meta, self._begun)
            lines = [mask.text(line) for line in found]
            text = "\n    ".join([f"{self._name}: {mask.text(failure)}", *before, *lines])
            result.update(failed=True, msg=text, log=lines)
        return result


def _command(state: str, status: Service | None) -> str:
    """Give what the supervisor has to be told, nothing if the state is there."""
    running = status is not None and status.state in RUNNING
    if state == "started":
        lasting = status is not None and status.want == "up" and status.state != "failed"
        resting = status is not None and status.state == "down" and not status.succeeded
        return "" if lasting and not resting else "start"
    if state == "stopped":
        return "" if status is None or (status.want == "down" and status.state in ("down", "failed")) else "stop"
    if state == "restarted":
        return "restart"
    if state == "reloaded":
        return "reload" if running else "start"
    return "" if running else "once"


def _record(status: Service | None) -> dict[str, Any]:
    """Give what the supervisor says of a service; the same keys without one."""
    if status is None:
        return {"state": "unknown", "pid": None, "since": None, "exit": None, "reason": ""}
    return {
        "state": status.state,
        "pid": status.pid,
        "since": status.since,
        "exit": status.exit,
        "reason": status.reason,
    }


def _foreign(parameters: dict[str, Any], runner: hostmanager.Runner, check_mode: bool) -> dict[str, Any]:
    """Let the host's own manager do it."""
    manager = hostmanager.find(
        runner, parameters["name"], parameters["runlevel"] or "default", parameters["arguments"] or ""
    )
    actions: list[str] = []
    if parameters["daemon_reload"] and not check_mode:
        manager.reload_manager()
    running = manager.running()
    enabled = manager.enabled()
    wanted, state = parameters["enabled"], parameters["state"]
    if wanted is not None and wanted != enabled:
        actions.append("enable" if wanted else "disable")
        if not check_mode:
            manager.enable(wanted)
    verb = {
        None: "",
        "started": "" if running else "start",
        "once": "" if running else "start",
        "stopped": "stop" if running else "",
        "restarted": "restart",
        "reloaded": "reload" if running else "start",
    }[state]
    if verb:
        actions.append(verb)
        if not check_mode:
            manager.act(verb)
    return {
        "name": parameters["name"],
        "changed": bool(actions),
        "actions": actions,
        "enabled": enabled if wanted is None else wanted,
        "manager": manager.kind,
        "state": WORDS[state] if state is not None else "started" if running else "stopped",
    }
