# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What converging needs of a supervisor, and what each supervisor can do. PRIVATE to the collection.

A backend is one class in one file that declares its features: those that its supervisor has, and those that we supply
around it. What it does not declare is refused before anything on the host is changed, with the names of the backends
that have it.

The scan directory holds portable service directories, the same for all backends: converging writes them and knows
nothing of the supervisor. A backend whose supervisor wants something else (a directory of its own form, a unit, a
section of a file) makes that from them in `rescan`, which brings everything into line whatever was there before.
"""

from __future__ import annotations

import itertools
import os
import signal
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

from .presence import present

#: Every feature that a definition can ask for, with the words for people.
FEATURES = {
    "readiness.notification_fd": "readiness by a file descriptor",
    "readiness.check": "readiness by a command",
    "health": "health checks",
    "lease": "leases",
    "hooks": "hooks around start and stop",
    "forking": "programs that go to the background",
    "needs": "services that need others",
    "needs.active": "services that need the active copy of a leased one",
    "oneshot": "commands that run once and count as up",
    "getty": "logins on a terminal",
    "periodic": "periodic services",
    "once": "services that run one time",
    "restart": "a restart policy",
    "backoff": "a back-off of the definition's choice",
    "failure_limit": "giving up after so many deaths",
    "finish": "a command after each end of the service",
    "stop_signal": "a stop signal of the definition's choice",
    "reload": "reloading",
    "kill.group": "stopping the whole process group",
    "kill.tree": "stopping all descendants",
    "process": "user, groups, limits and other process state",
    "resources": "limits of the control group",
    "security_context": "security labels",
    "log.directory": "log files",
    "log.syslog": "logging to syslog",
    "log.journald": "logging to the journal",
    "log.size": "rotating log files by size",
    "log.age": "rotating log files by age",
    "log.keep": "deleting old log files by age",
    "log.iso": "dates as time stamps in log files",
    "log.tai64n": "TAI64N labels as time stamps in log files",
    "log.none": "log files without time stamps",
    "identity": "telling which definition a process was started with",
}


#: What the definition says of the pauses between restarts when its author says nothing: no feature is asked for.
BACKOFF = {"initial": 1.0, "maximum": 30.0}
#: A service that died so often since one began to wait, without having been ready, has failed.
DEATHS = 3


class BackendError(Exception):
    """The supervisor cannot be asked or has refused; the text says what to do about it."""


class NotRunning(BackendError):
    """No supervisor of ours runs on the scan directory."""


class Unanswered(BackendError):
    """Something holds the scan directory and does not answer as our supervisor does."""


class Unsupported(BackendError):
    """A feature that the backend does not have."""

    def __init__(self, feature: str, backend: str, others: Iterable[str], reason: str = "") -> None:
        self.feature = feature
        self.backend = backend
        self.others = sorted({*others} - {backend})
        what = FEATURES.get(feature, feature)
        text = f"{feature} ({what}) is not supported by the backend {backend}"
        if reason:
            text = f"{feature} ({what}) is not possible here with the backend {backend}: {reason}"
        elif self.others:
            text += f"; these have it: {', '.join(self.others)}"
        else:
            text += "; no backend has it"
        super().__init__(text)


class Service:
    """What the supervisor says of one service. The names and units are those of the wire; see docs/converging.md."""

    __slots__ = (
        "adopted",
        "attended",
        "deaths",
        "definition",
        "enabled",
        "exit",
        "loaded",
        "name",
        "next",
        "paused",
        "pid",
        "ready",
        "reason",
        "since",
        "stale",
        "standby",
        "state",
        "want",
    )

    def __init__(self, record: Mapping[str, Any]) -> None:
        get = record.get
        self.name: str = str(get("name"))
        self.state: str = str(get("state") or "down")
        self.pid: int | None = get("pid") or None
        self.since: float | None = get("since")
        self.ready: bool = bool(get("ready"))
        self.want: str = str(get("want") or "down")
        self.enabled: bool = bool(get("enabled", True))
        self.deaths: int = int(get("deaths") or 0)
        self.exit: dict[str, Any] | None = get("exit")
        self.definition: str | None = get("definition")
        self.loaded: str | None = get("loaded")
        self.adopted: bool = bool(get("adopted"))
        self.reason: str = str(get("reason") or "")
        self.paused: bool = bool(get("paused"))
        #: All that it waits for are leases that others hold. For converging it is where it should be then.
        self.standby: bool = bool(get("standby"))
        #: Unix time of the next run of a periodic service, None where there is none to come or nobody knows it.
        self.next: float | None = get("next")
        #: Whether the running process is a parent of ours below the supervisor (see attending), None for who knows.
        self.attended: bool | None = get("attended")
        #: What the supervisor has been told of it (a unit file, say) is not what its directory says.
        self.stale = False

    @property
    def succeeded(self) -> bool:
        """Tell whether its last process ended well."""
        ending = self.exit or {}
        return ending.get("kind") == "exit" and ending.get("code") == 0

    @property
    def trouble(self) -> str:
        """Give why the service is not in the state that it was wanted in, with how its last process ended."""
        text = self.reason or f"it is {self.state}"
        how = ending_text(self.exit)
        if how and how not in text:
            text += f", last {how}"
        return text if self.deaths < 2 else f"{text}, {self.deaths} deaths"


def ending_text(ending: Mapping[str, Any] | None) -> str:
    """Give the words for how a process ended: `exit code 3`, `signal KILL`; nothing if that is not known."""
    kind, code = (ending or {}).get("kind"), (ending or {}).get("code")
    if kind == "exit":
        return f"exit code {code}"
    if kind != "signal":
        return ""
    try:
        return f"signal {signal.Signals(int(code or 0)).name}"
    except ValueError:
        return f"signal {code}"


class Snapshot:
    """All services at one moment. supervisor: pid, version, since, scan, log_writer_pid."""

    __slots__ = ("services", "supervisor")

    def __init__(self, supervisor: dict[str, Any], services: dict[str, Service]) -> None:
        self.supervisor = supervisor
        self.services = services


class Verdict:
    """What became of one wish. outcome: reached, failed or timeout. service: None when it is not there any more."""

    __slots__ = ("name", "outcome", "service")

    def __init__(self, name: str, outcome: str, service: Service | None) -> None:
        self.name = name
        self.outcome = outcome
        self.service = service


class Backend(ABC):
    """One supervisor on one scan directory. Making an instance touches nothing."""

    name: ClassVar[str]
    #: Features of FEATURES that the supervisor itself has, and those that we supply, on a host that allows them.
    native: ClassVar[frozenset[str]] = frozenset()
    supplied: ClassVar[frozenset[str]] = frozenset()
    #: Whether `rescan` starts what is enabled and new, so that a start told afterwards would be a second one.
    starts_new: ClassVar[bool] = False
    #: Both together.
    capabilities: ClassVar[frozenset[str]] = frozenset()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.capabilities = cls.native | cls.supplied

    def __init__(self, scan: str) -> None:
        self.scan = scan

    @classmethod
    def present(cls, scan: str) -> bool:
        """Tell whether this backend's supervisor runs on *scan*: so `auto` chooses. Changes nothing, never raises."""
        return present(cls.name, scan)

    @abstractmethod
    def snapshot(self) -> Snapshot:
        """Ask for everything, once. Raises NotRunning, Unanswered, BackendError."""

    @abstractmethod
    def rescan(self) -> None:
        """Let the supervisor see the scan directory as it is now; it has when this returns.

        Services whose directory has gone are stopped and forgotten, files of a running service are brought up to date
        without touching its process, and with `starts_new` those that are new and enabled (without `down`) are started.
        May be called as often as one likes, after any interruption. Raises BackendError.
        """

    def settle(self, name: str) -> None:
        """Do what `rescan` does, for one service at least, while the backend of the host is switched. Raises BackendError.

        What no start depends on may be left to `complete`.
        """
        del name
        self.rescan()

    def complete(self) -> None:  # noqa: B027 - most leave nothing
        """Do what `settle` has left, when all services are here. Raises BackendError, OSError."""

    def make_room(self) -> None:  # noqa: B027 - most have nothing where others are
        """Have nothing where another backend that is started beside this one keeps its own. Raises BackendError, OSError."""

    def let_go(self, name: str) -> bool:
        """Have the log of a service that has stopped, and is another backend's from now on, be written to its end.

        Gives whether the directory of the log is free for the other one: False when its logger still has it after as long
        as anybody waits, since a disk hangs. Raises BackendError, OSError.
        """
        self.settle(name)
        return True

    def has_written(self, name: str) -> bool | None:
        """Tell whether the log of a service has all that it has said so far; None where that can't be told. Never raises."""
        return None

    def take_up(self, name: str) -> None:  # noqa: B027 - with most of them the logger comes with the service
        """Have the log of a service that is started here next be written, once all others have let go. Raises OSError."""

    @abstractmethod
    def control(self, commands: list[tuple[str, str]]) -> dict[str, str]:
        """Give commands (name, action) in this order; the answer has a message for each name that refused.

        Actions: start, stop, once, restart, reload, pause, continue, remove (stop, and stay down until the directory
        goes). None is ever lost: a start right after a stop starts the service again, dying or not. After a reload the
        running process counts as one of the present definition.
        Raises BackendError; a part of the commands may have been carried out then, and giving them again is harmless.
        """

    @abstractmethod
    def wait(self, wishes: list[tuple[str, str]], timeout: float) -> dict[str, Verdict]:
        """Wait until each (name, ready|down|gone) has a verdict, at most *timeout* seconds.

        Where the supervisor cannot do it, this is what ends services that `control` has told to stop and that have
        outlived their stop_timeout. A service that dies DEATHS times before it is ready has failed.
        Raises BackendError.
        """

    @abstractmethod
    def close(self) -> None:
        """Let the supervisor go; may be called twice."""

    def link(self, name: str) -> str:
        """Give the target of the link `supervise` in the directory of a service, relative to it; "" for no link.

        Clients of the daemontools family find control and status of the service there.
        """
        # By the link that the supervisor itself uses: right in an image that is built elsewhere, and when the run
        # directory moves.
        return f"../.holdfast/supervise/{name}"

    def log_owner(self) -> tuple[int, int] | None:
        """Give uid and gid of whoever writes the log files; None where that is not known, or not ours to prepare."""
        try:
            state = os.stat(f"{self.scan}/.holdfast/logs")
        except OSError:
            return None
        return state.st_uid, state.st_gid

    def offline(self) -> None:  # noqa: B027 - most supervisors need only the directories
        """Tell a supervisor that does not run of the scan directory, in what it reads when it starts. Raises OSError."""

    def problems(self, metas: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """Say what is in the way of these definitions (name to holdfast.json) beside their features. Changes nothing."""
        return []

    def attends(self, meta: Mapping[str, Any]) -> bool:
        """Tell whether a service with this definition has a parent of ours below the supervisor, see attending."""
        return False

    def depends_on_host(self, feature: str) -> bool:
        """Tell whether only a running supervisor can say if a declared feature is possible."""
        return False

    def obstacle(self, feature: str, meta: Mapping[str, Any], snapshot: Snapshot) -> str:
        """Say why a declared feature is not possible on this host for this definition; nothing if it is."""
        return ""


def resources(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Give the limits of the control group that a definition (the content of holdfast.json) asks for."""
    lease = meta.get("lease")
    # A guard has none itself.
    process = (lease.get("process") if isinstance(lease, Mapping) else meta.get("process")) or {}
    return {key: value for key, value in (process.get("resources") or {}).items() if value is not None}


def is_guarded(meta: Mapping[str, Any]) -> bool:
    """Tell whether what the supervisor starts is a guard beside the service, by the content of holdfast.json."""
    lease = meta.get("lease") or {}
    return bool(lease) and lease.get("mode") != "exec"


def needed(meta: Mapping[str, Any]) -> list[str]:
    """Give the features that a definition (the content of holdfast.json) asks for, beyond what every backend has."""
    process = meta.get("process") or {}
    readiness = meta.get("readiness") or {}
    limit = meta.get("failure_limit") or {}
    log = meta.get("log") or {}
    asked = {
        "readiness.notification_fd": readiness.get("notification_fd") is not None,
        "readiness.check": bool(readiness.get("check")),
        "health": bool(meta.get("health")),
        "lease": (meta.get("lease") or {}).get("driver", "none") != "none",
        "hooks": bool((meta.get("lease") or {}).get("hooks")),
        "forking": meta.get("type") == "forking",
        "needs": bool(meta.get("needs")),
        "needs.active": bool(meta.get("needs_active")),
        "periodic": meta.get("type") == "periodic",
        "once": meta.get("state") == "once",
        "oneshot": meta.get("type") == "oneshot",
        "getty": meta.get("type") == "getty",
        # One that has failed stays down: part of what the type is.
        "restart": meta.get("restart", "always") != "always"
        and (meta.get("type"), meta.get("restart")) != ("oneshot", "never"),
        "failure_limit": bool(limit.get("deaths")),
        "backoff": (meta.get("backoff") or BACKOFF) != BACKOFF and meta.get("restart", "always") != "never",
        "finish": "finish" in (meta.get("files") or {}),
        "stop_signal": meta.get("stop_signal", "TERM") != "TERM",
        "reload": meta.get("on_change") == "reload",
        "kill.group": meta.get("kill") == "group",
        "kill.tree": meta.get("kill") == "tree",
        "resources": bool(resources(meta)),
        "security_context": bool(process.get("security_context")),
        "log.syslog": log.get("to") == "syslog",
        "log.journald": log.get("to") == "journald",
    }
    if log.get("to") == "directory":
        asked["log.directory"] = asked["log.size"] = True
        asked["log.age"] = log.get("age") is not None
        asked["log.keep"] = log.get("keep") is not None
        for form in ("iso", "tai64n", "none"):
            asked[f"log.{form}"] = log.get("format") == form
    return [feature for feature, wanted in asked.items() if wanted]


def runs(commands: Iterable[tuple[str, str]]) -> Iterator[tuple[str, list[str]]]:
    """Give action and names of all commands of the same kind that follow one another, in their order."""
    for action, run in itertools.groupby(commands, lambda command: command[1]):
        yield action, [name for name, _action in run]
