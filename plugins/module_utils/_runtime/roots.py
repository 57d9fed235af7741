# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A scan directory whose services somebody else supervises: what has to be there for it. PRIVATE to the collection.

The directories and the link are the same as for the embedded supervisor; what each backend needs besides is its root.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from . import cleanup, directories
from .host import Failed, Host, Wanted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .interpreter import Runner


class Root(ABC):
    """What supervises the services of one scan directory. Making an instance changes nothing."""

    #: Of the backend, as in backends.BACKENDS.
    name: ClassVar[str]
    #: Whether a task of the role installs what it needs, which check mode cannot see.
    installed_before: ClassVar[bool] = False

    #: What has the services, by the marks of a switch; the name of the backend where none is said.
    engine: ClassVar[str] = ""
    #: The units that the role writes for it.
    units: ClassVar[tuple[str, ...]] = ()

    def __init__(self, host: Host) -> None:
        self.host = host
        self.wanted = host.wanted

    @classmethod
    def on(cls, options: Mapping[str, Any], run: Runner) -> Root:
        """Give the root that *options*, those of the module, ask for."""
        return cls(Host(Wanted(**{**options, "script": cls.script()}), run))

    @classmethod
    def beside(cls, options: Mapping[str, Any], run: Runner) -> Root:
        """Give the one that may be there from the time when another backend was asked for: to be ended and removed."""
        named: dict[str, Any] = {"units": dict.fromkeys(cls.units, ""), "scripts": {}, "script": cls.script()}
        if os.geteuid() == 0:
            named.update(scripts=dict.fromkeys(("openrc", "sysvinit", "below"), ""))
        return cls(Host(Wanted(**{**options, **named}), run))

    @classmethod
    def script(cls) -> str:
        """Give the name of the script in /etc/init.d that runs it."""
        return f"holdfast-{cls.name.replace('_', '-')}"

    @abstractmethod
    def check(self) -> None:
        """Raise Failed when this host cannot have it."""

    @abstractmethod
    def differing(self, version: str | None) -> list[tuple[str, str, str]]:
        """Give what has to be done, in words, each with the state before and after for a diff.

        version: that of the runtime. Raises OSError, UnitError.
        """

    @abstractmethod
    def bring_into_line(self, version: str | None) -> None:
        """Do what `differing` says. Raises Failed, OSError, UnitError."""

    @abstractmethod
    def running(self) -> dict[str, Any] | None:
        """Give pid, version and since of what supervises; None when nothing does."""

    @abstractmethod
    def stop(self) -> None:
        """Stop all services, those that need others first, and what supervises them. Raises Failed, UnitError."""

    @abstractmethod
    def traces(self) -> list[str]:
        """Give what of ours is outside of the directories, or only this root's, in words."""

    @abstractmethod
    def remove(self) -> None:
        """Remove that. Raises OSError, UnitError."""

    def is_process_one(self) -> bool:
        """Tell whether it is process 1 of this host: then it cannot be ended. Raises Failed."""
        running = self.running()
        return running is not None and running["pid"] == 1

    def left(self) -> bool:
        """Tell whether there is anything that keeps another backend from having the services to itself."""
        return bool(self.traces())

    def at_work(self) -> bool:
        """Tell whether there is anything to be stopped. Raises Failed."""
        return self.running() is not None

    def keeps(self) -> list[str]:
        """Say what is in the way of leaving this backend, one text for each problem."""
        return []

    def retire(self) -> None:
        """Stop and remove it after its services have moved away. Raises Failed, OSError, UnitError."""
        self.stop()
        self.remove()

    @abstractmethod
    def boot(self) -> str:
        """Say in one line what starts the services when the host boots."""


_STOPPED: dict[str, Any] = {"state": "stopped", "pid": None, "version": None, "since": None}


def process_one(name: str) -> str:
    """Give the message for a supervisor that cannot be ended, whatever for."""
    return (
        f"the supervisor of these services ({name}) is process 1 of this host: the host would end with it. "
        "Stop services with the module service, or end the host"
    )


def started(root: Root, check_mode: bool, *, switching: bool = False) -> dict[str, Any]:
    """Have the scan directory set up and supervised. Give the module's result.

    switching: the services have marks, so that another supervisor may run beside.

    Raises Failed, directories.Unsafe, systemd.UnitError, OSError; what was done before stays, the next run goes on.
    """
    host, wanted = root.host, root.wanted
    version = wanted.version or host.layout.active()
    if version is None and not check_mode:
        raise Failed(f"there is no runtime in {wanted.runtime_directory}: install it first")
    if not (check_mode and root.installed_before):
        root.check()
    holder = host.supervisor.holder()
    if holder is not None and not switching:
        raise Failed(
            f"the embedded supervisor (process {holder}) runs on {wanted.scan_directory}: stop it first "
            "(supervisor_state: stopped), or each service would run twice"
        )
    missing = [place for place in wanted.places() if directories.is_missing(place)]
    link = directories.link_before(wanted.scan_directory)
    link_differs = link not in ("", wanted.run_directory)
    steps = root.differing(version)
    result = _result(root, [f"make {place.path}" for place in missing])
    for place in missing:
        owner = place.user or "as deployed"
        result["diff"].append(_diff(place.path, "", f"directory, mode {place.mode:04o}, owner {owner}\n"))
    if link_differs:
        path = f"{wanted.scan_directory}/{directories.LINK}"
        result["actions"].append(f"link {path} to {wanted.run_directory}")
        result["diff"].append(_diff(path, f"link to {link}\n" if link else "", f"link to {wanted.run_directory}\n"))
    for told, before, after in steps:
        result["actions"].append(told)
        result["diff"].append(_diff(told, before, after))
    result["changed"] = bool(result["actions"])
    if check_mode:
        result.update(state="running", version=version)
        return result
    for place in missing:
        directories.make(place)
    if link_differs:
        directories.make_link(wanted.scan_directory, wanted.run_directory)
    if steps:
        root.bring_into_line(version)
    return {**result, **_state(root)}


def stopped(root: Root, check_mode: bool) -> dict[str, Any]:
    """Stop all services and what supervises them. Give the module's result. Raises Failed, UnitError, OSError."""
    running = root.running()
    if running is not None and root.is_process_one():
        raise Failed(process_one(root.name))
    at_work = root.at_work()
    result = _result(root, ["stop all services"] if at_work else [])
    result["diff"] = [_diff("services", "supervised\n" if at_work else "", "")]
    if at_work and check_mode:
        return {**result, "state": "stopped"}
    if at_work:
        root.stop()
    return {**result, **(_state(root) if root.at_work() else _STOPPED)}


def absent(root: Root, check_mode: bool) -> dict[str, Any]:
    """Stop everything, then remove what is ours. Give the module's result. Raises what `stopped` raises."""
    result = stopped(root, check_mode)
    wanted = root.wanted
    traces = root.traces()
    actions = result["actions"]
    actions += [f"remove {trace}" for trace in traces]
    if not check_mode and traces:
        root.remove()
    doomed = cleanup.find(wanted.scan_directory, wanted.run_directory, wanted.log_directory, wanted.remove_logs)
    actions += [f"remove {path}" for path in doomed.shown()]
    result["changed"] = bool(actions)
    result["diff"] += [_diff(path, "present\n", "") for path in [*traces, *doomed.shown()]]
    if not check_mode:
        doomed.remove()
    result.update(state="stopped", boot="nothing will start them at boot: they are removed")
    return result


def _result(root: Root, actions: list[str]) -> dict[str, Any]:
    return {
        "changed": bool(actions),
        "actions": actions,
        "boot": root.boot(),
        "deployed": os.path.isdir(root.wanted.scan_directory),
        "diff": [],
        **_state(root),
    }


def _state(root: Root) -> dict[str, Any]:
    found = root.running()
    if found is None:
        return _STOPPED
    return {"state": "running", **found}


def _diff(name: str, before: str, after: str) -> dict[str, str]:
    return {"before_header": name, "after_header": name, "before": before, "after": after}
