# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the module `supervisor` does: one supervisor of one scan directory, running, stopped or gone.

PRIVATE to the collection.
"""

from __future__ import annotations

import os
import signal

from . import cleanup, detached, directories, install
from .directories import Place
from .interpreter import Runner
from .systemd import Systemd
from .talk import Running, Supervisor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: The unit whose main process is the supervisor.
UNIT = "holdfast.service"
#: In the run directory: what a supervisor says that no init listens to.
LOG = "supervisor.log"


class Failed(Exception):
    """The supervisor is not as it was asked for. The text says how it is now, and what to do."""


class Wanted:
    """The supervisor of one scan directory, as it is to be. All paths absolute, times in seconds."""

    __slots__ = (
        "log_directory",
        "log_user",
        "python",
        "remove_logs",
        "run_directory",
        "runtime_directory",
        "scan_directory",
        "stop_timeout",
        "timeout",
        "units",
        "version",
    )

    def __init__(
        self,
        scan_directory: str,
        run_directory: str,
        log_directory: str,
        runtime_directory: str,
        python: str,
        log_user: str | None = None,
        version: str | None = None,
        units: dict[str, str] | None = None,
        timeout: float = 10.0,
        stop_timeout: float = 120.0,
        remove_logs: bool = False,
    ) -> None:
        self.scan_directory = scan_directory
        self.run_directory = run_directory
        self.log_directory = log_directory
        self.runtime_directory = runtime_directory
        self.python = python
        self.log_user = log_user
        #: None is the one that the runtime directory names.
        self.version = version
        self.units = units or {}
        self.timeout = timeout
        self.stop_timeout = stop_timeout
        self.remove_logs = remove_logs

    def places(self) -> list[Place]:
        """Give the directories that the supervisor needs."""
        return [
            Place("scan directory", self.scan_directory, 0o755),
            Place("run directory", self.run_directory, 0o755),
            Place("log directory", self.log_directory, 0o750, self.log_user),
        ]

    def program(self, *arguments: str) -> list[str]:
        """Give the argv that runs a verb of the runtime that is current when it is run."""
        current = install.Layout(self.runtime_directory).current
        return [self.python, "-I", "-S", current, *arguments]

    def supervise(self) -> list[str]:
        """Give the argv of the supervisor."""
        user = ["--log-user", self.log_user] if self.log_user else []
        return self.program("supervise", *user, self.scan_directory)


class Host:
    """The supervisor of *wanted* on this host, and the means to change it: systemd where it is the init."""

    def __init__(self, wanted: Wanted, run: Runner, systemd: Systemd | None = None) -> None:
        self.wanted = wanted
        self.run = run
        self.layout = install.Layout(wanted.runtime_directory)
        self.supervisor = Supervisor(wanted.scan_directory)
        units = systemd or Systemd(wanted.units, run)
        self.systemd = units if wanted.units and units.is_init() else None

    def running(self) -> Running | None:
        """Give the supervisor that answers, None if there is none. Raises Failed if there is a mute one."""
        found = self.supervisor.ask()
        if found is not None or self.supervisor.holder() is None:
            return found
        # It may have been started a moment ago.
        found = self.supervisor.wait_for_any(self.wanted.timeout)
        holder = self.supervisor.holder()
        if found is None and holder is not None:
            raise Failed(
                f"process {holder} holds the lock of {self.wanted.scan_directory} and does not answer;"
                f" end it (kill -9 {holder}: the services go on running) and try again{self.said()}"
            )
        return found

    def start(self) -> None:
        """Start the supervisor that the runtime directory names. Raises OSError, UnitError."""
        if self.systemd is not None:
            self.systemd.start()
        else:
            detached.start(self.wanted.supervise(), os.path.join(self.wanted.run_directory, LOG))

    def boot(self) -> str:
        """Say in one line what starts the supervisor when the host boots."""
        if self.systemd is not None:
            return "systemd starts it at boot"
        if os.geteuid() != 0:
            return "nothing will start it at boot: it belongs to an ordinary user"
        return "nothing will start it at boot: no known init"

    def said(self) -> str:
        """Give the last words of the supervisor, to be added to a message."""
        if self.systemd is not None:
            return f"; see journalctl -u {UNIT}"
        try:
            with open(os.path.join(self.wanted.run_directory, LOG), "rb") as file:
                file.seek(max(os.fstat(file.fileno()).st_size - 2000, 0))
                text = file.read().decode("utf-8", "replace").strip()
        except OSError:
            return ""
        return f"; it said last: {text}" if text else ""


def started(host: Host, check_mode: bool) -> dict[str, Any]:
    """Have the supervisor run with the wanted version of the runtime. Give the module's result.

    A running one of another version becomes the wanted one without its services noticing. If that does not succeed
    in time, the version that ran before is made current again, runs again, and Failed is raised.
    Raises Failed, directories.Unsafe, systemd.UnitError, talk.TalkError, OSError.
    """
    wanted = host.wanted
    version = wanted.version or host.layout.active()
    if version is None and not check_mode:
        raise Failed(f"there is no runtime in {wanted.runtime_directory}: install it first")
    missing = [place for place in wanted.places() if directories.is_missing(place)]
    link = directories.link_before(wanted.scan_directory)
    link_differs = link not in ("", wanted.run_directory)
    differing = host.systemd.differing() if host.systemd else []
    disabled = host.systemd.disabled() if host.systemd else []
    texts = {name: host.systemd.before(name) for name in differing} if host.systemd else {}
    running = host.running()
    if running is not None and link_differs:
        raise Failed(
            f"a supervisor (process {running.pid}) runs with {link} as its run directory, not {wanted.run_directory};"
            " stop it first"
        )

    actions = [f"make {place.path}" for place in missing]
    if link_differs:
        actions.append(f"link {wanted.scan_directory}/{directories.LINK} to {wanted.run_directory}")
    actions += [f"write unit {name}" for name in differing]
    actions += [f"enable unit {name}" for name in disabled]
    restart = running is not None and bool(texts.get(UNIT))
    if running is None:
        actions.append("start the supervisor")
    elif restart:
        actions.append("restart the supervisor")
    elif running.version != version:
        actions.append(f"exchange the supervisor, runtime {running.version}, for runtime {version}")

    result = _result(host, actions, running)
    result["diff"] = [_diff("supervisor", _process(running), f"running with runtime {version}\n")]
    result["diff"] += [
        _diff(place.path, "", f"directory, mode {place.mode:04o}, owner {place.user or 'as deployed'}\n")
        for place in missing
    ]
    if link_differs:
        after = f"link to {wanted.run_directory}\n"
        result["diff"].append(
            _diff(f"{wanted.scan_directory}/{directories.LINK}", f"link to {link}\n" if link else "", after)
        )
    result["diff"] += [_diff(name, texts[name] or "", wanted.units[name]) for name in differing]
    if disabled:
        result["diff"].append(_diff("started at boot", "", "".join(f"{name}\n" for name in disabled)))
    if check_mode:
        result.update(state="running", version=version)
        return result

    for place in missing:
        directories.make(place)
    if link_differs:
        directories.make_link(wanted.scan_directory, wanted.run_directory)
    if host.systemd is not None:
        if differing:
            host.systemd.write(differing)
        if disabled:
            host.systemd.enable(disabled)
    if running is None:
        host.start()
    elif restart and host.systemd is not None:
        host.systemd.restart(UNIT)
    elif running.version != version:
        host.supervisor.replace_itself()
    else:
        return result
    found = host.supervisor.wait_for(version or "", wanted.timeout)
    if found is None:
        if running is None or running.version == version:
            raise Failed(f"the supervisor does not answer {wanted.timeout:g} s after its start{host.said()}")
        raise Failed(_back_to(host, running, version or ""))
    return _result(host, actions, found, result["diff"])


def stopped(host: Host, check_mode: bool) -> dict[str, Any]:
    """Stop all services in order, then the supervisor. Give the module's result.

    Services that a dead supervisor has left running are stopped too. Raises Failed, UnitError, TalkError, OSError.
    """
    wanted = host.wanted
    running = host.running()
    actions = ["stop all services and the supervisor"] if running is not None else []
    result = _result(host, actions, running)
    result["diff"] = [_diff("supervisor", _process(running), "not running\n")]
    if check_mode:
        result["state"] = "stopped"
        return result
    if host.systemd is not None and any(host.systemd.is_active(name) for name in host.systemd.installed()):
        host.systemd.stop()
    if host.supervisor.holder() is not None:
        host.supervisor.stop(wanted.stop_timeout)
        if not host.supervisor.wait_until_gone(wanted.stop_timeout):
            raise Failed(f"the supervisor has not stopped all services within {wanted.stop_timeout:g} s")
    actions += _stop_orphans(host)
    return _result(host, actions, None, result["diff"])


def absent(host: Host, check_mode: bool) -> dict[str, Any]:
    """Stop everything, then remove units and directories that are ours. Give the module's result.

    What is not ours stays, and the directories that it is in. Raises what `stopped` raises.
    """
    result = stopped(host, check_mode)
    wanted = host.wanted
    actions = result["actions"]
    units = host.systemd.installed() if host.systemd else []
    texts = {name: host.systemd.before(name) for name in units} if host.systemd else {}
    doomed = cleanup.find(wanted.scan_directory, wanted.run_directory, wanted.log_directory, wanted.remove_logs)
    actions += [f"remove unit {name}" for name in units]
    actions += [f"remove {path}" for path in doomed.shown()]
    result["changed"] = bool(actions)
    result["diff"] += [_diff(name, text or "", "") for name, text in texts.items()]
    result["diff"] += [_diff(path, "present\n", "") for path in doomed.shown()]
    if not check_mode:
        if host.systemd is not None and units:
            host.systemd.remove()
        doomed.remove()
    result["boot"] = "nothing will start it at boot: it is removed"
    return result


def _back_to(host: Host, before: Running, version: str) -> str:
    """Have the version that ran before run again; give the message of the failure."""
    said = host.said()
    message = f"runtime {version} did not take over within {host.wanted.timeout:g} s"
    install.roll_back(host.layout, before.version)
    found = host.supervisor.ask()
    if found is None or found.version != before.version:
        holder = host.supervisor.holder()
        if holder is not None:
            # Neither the old one nor a working new one. Its services do not notice: the next supervisor adopts them.
            os.kill(holder, signal.SIGKILL)
            host.supervisor.wait_until_gone(host.wanted.timeout)
        host.start()
        found = host.supervisor.wait_for(before.version, host.wanted.timeout)
    if found is None:
        return f"{message}; the previous runtime {before.version} is current again but does not answer either{said}"
    return f"{message}; the previous runtime {before.version} runs again (process {found.pid}){said}"


def _stop_orphans(host: Host) -> list[str]:
    if host.layout.active() is None or not os.path.isdir(host.wanted.scan_directory):
        return []
    command = host.wanted.program("stop", "--orphans", "--scan", host.wanted.scan_directory)
    code, output, errors = host.run(command)
    if code != 0:
        raise Failed(f"services without a supervisor could not be stopped: {errors.strip() or output.strip()}")
    return [f"stop {line}" for line in output.splitlines() if ": " in line]


def _result(
    host: Host, actions: list[str], running: Running | None, diff: list[dict[str, str]] | None = None
) -> dict[str, Any]:
    return {
        "changed": bool(actions),
        "actions": actions,
        "state": "running" if running else "stopped",
        "pid": running.pid if running else None,
        "version": running.version if running else None,
        "since": running.since if running else None,
        "boot": host.boot(),
        "deployed": os.path.isdir(host.wanted.scan_directory),
        "diff": diff or [],
    }


def _process(running: Running | None) -> str:
    return f"running with runtime {running.version}\n" if running else "not running\n"


def _diff(name: str, before: str, after: str) -> dict[str, str]:
    return {"before_header": name, "after_header": name, "before": before, "after": after}
