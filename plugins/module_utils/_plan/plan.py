# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What one run will do: made from the request, the directories and one answer of the supervisor. PRIVATE to the collection.

Everything that is wrong is found here, before anything is changed, and all of it is reported at once.
"""

from __future__ import annotations

import json
import os
from typing import Any

from .._lease import reports
from .._supervise import holding, personal
from .._supervise.interface import Backend, BackendError, NotRunning, Service, Snapshot, Unsupported, needed
from . import logdirs, verify
from .change import Change, Changes
from .directories import Actual, Wanted, compare, identity, removal
from .publish import is_ours
from .request import Request
from .scan import Scan

#: States from which a service that is wanted up gets ready, or fails.
_COMING = frozenset(("waiting", "starting", "up", "backoff", "finishing", "stopping"))


class Item:
    """One service in the plan.

    wanted: None for one that is removed. revision: that of its directory after the run. publish, remove: what happens to
    the directory. link: whether the directory gets the link `supervise`. command: what the supervisor is told, or "".
    wish: the state that is waited for, or "". was: the item of its former name, which it takes over. becomes: the item that takes
    this one over. restart_needed: the running process is of another definition and stays. attends: there is a parent of ours below
    the supervisor. guard: the folder of its guard, if it has one.
    """

    __slots__ = (
        "actual",
        "attends",
        "becomes",
        "command",
        "guard",
        "link",
        "name",
        "publish",
        "remove",
        "restart_needed",
        "revision",
        "status",
        "wanted",
        "was",
        "wish",
    )

    def __init__(self, name: str, wanted: Wanted | None, actual: Actual, status: Service | None) -> None:
        self.name = name
        self.wanted = wanted
        self.actual = actual
        self.status = status
        self.revision = actual.revision
        self.publish = False
        self.remove = False
        self.link = True
        self.command = ""
        self.wish = ""
        self.was: Item | None = None
        self.becomes: Item | None = None
        self.restart_needed = False
        self.attends = False
        self.guard = ""

    @property
    def meta(self) -> dict[str, Any]:
        """Give what holdfast.json says after the run, or said at last."""
        return self.actual.meta if self.wanted is None else self.wanted.meta

    @property
    def identity(self) -> str:
        """Give the identity that the directory has after the run."""
        return self.actual.identity if self.wanted is None else identity(self.wanted.meta, self.revision)


class Plan:
    """items: all services that the run is about. problems: why nothing may be done. unverified: what could not be checked.

    log_directories: those that have to be made, for log_owner (uid, gid).
    """

    def __init__(self) -> None:
        self.items: dict[str, Item] = {}
        self.changes = Changes()
        self.problems: list[str] = []
        self.unverified: list[str] = []
        self.snapshot: Snapshot | None = None
        self.log_directories: list[str] = []
        self.log_owner: tuple[int, int] | None = None


def make(request: Request, scan: Scan, backend: Backend) -> Plan:
    """Make the plan. Changes nothing; raises OSError when the scan directory cannot be read."""
    plan = Plan()
    _look_at_scan(plan, request, scan)
    answered = request.offline or _ask(plan, request, scan, backend)
    for wanted in request.services.values():
        _plan_wanted(plan, request, scan, wanted, backend)
    for name in _unwanted(request, scan):
        if name not in plan.items:
            _plan_removal(plan, request, scan, name)
    if not plan.problems and scan.exists and any(item.publish for item in plan.items.values()):
        plan.problems += verify.space(scan.path, scan.at, _sizes(plan))
    _check_host(plan, request)
    _check_features(plan, request, backend)
    metas = {wanted.name: wanted.meta for wanted in request.services.values()}
    plan.problems += backend.problems(metas) + personal.problems(metas)
    _check_logs(plan, request, backend)
    if scan.exists and answered:
        _check_supervisors(plan, scan, backend)
    return plan


def _look_at_scan(plan: Plan, request: Request, scan: Scan) -> None:
    if scan.exists:
        plan.problems += verify.scan_directory(scan.path, scan.at)
        plan.problems += [problem for problem in (holding.complaint(scan.path),) if problem]
    elif request.check_mode:
        plan.unverified.append(f"{scan.path} does not exist yet: everything is taken as new")
    else:
        plan.problems.append(f"{scan.path} does not exist: apply the role holdfast.supervision.supervisor first")


def _ask(plan: Plan, request: Request, scan: Scan, backend: Backend) -> bool:
    """Ask the supervisor for the state of the services; False if there is one that does not answer."""
    try:
        plan.snapshot = backend.snapshot()
    except NotRunning as error:
        if request.check_mode:
            plan.unverified.append(f"{error}: the state of the services is taken as down")
        elif scan.exists:
            by_hand = f", or start one with 'holdfast supervise {scan.path}'" if backend.name == "embedded" else ""
            plan.problems.append(
                f"{error}: apply the role holdfast.supervision.supervisor{by_hand}; offline: true prepares an image without one"
            )
    except BackendError as error:
        plan.problems.append(str(error))
        return False
    return True


def _status(plan: Plan, name: str) -> Service | None:
    return None if plan.snapshot is None else plan.snapshot.services.get(name)


def _plan_wanted(plan: Plan, request: Request, scan: Scan, wanted: Wanted, backend: Backend) -> None:
    name = wanted.name
    actual = scan.look(name, wanted) if scan.exists else Actual(name, "absent")
    item = Item(name, wanted, actual, _status(plan, name))
    plan.items[name] = item
    if actual.kind == "foreign":
        answered = " and a supervisor runs it" if verify.supervised(f"{scan.path}/{name}") else ""
        plan.problems.append(
            f"{name}: {scan.path}/{name} exists{answered}, and was not made by this collection: "
            "give the service another name, or move that directory away"
        )
        return
    if actual.kind == "broken":
        plan.problems.append(
            f"{name}: {scan.path}/{name}: {actual.problem}: set it right, or move the directory away and the next run makes it again"
        )
        return
    item.link = actual.link is not None
    item.guard = f"{scan.path}/.holdfast/guards/{name}"
    item.attends = backend.attends(wanted.meta)
    link = backend.link(name)
    difference = compare(wanted, actual, scan.path, link, os.geteuid(), with_files=request.with_diff)
    item.revision, item.publish = difference.revision, difference.publish
    if wanted.was:
        _plan_rename(plan, item, wanted, request, scan)
    if difference.publish:
        plan.changes.add(
            Change(
                name,
                "create" if actual.kind == "absent" else "update",
                files=difference.files,
                before=_state(item, before=True) if actual.kind == "absent" else None,
                after={"state": wanted.state},
            )
        )
    if request.offline:
        return
    if item.status is not None and item.status.stale and not difference.publish:
        plan.changes.add(Change(name, "register"))
    {"started": _plan_started, "stopped": _plan_stopped, "once": _plan_once}[wanted.state](item, wanted)
    if item.command:
        plan.changes.add(Change(name, item.command, before=_state(item, before=True), after=_state(item, before=False)))


def _plan_rename(plan: Plan, item: Item, wanted: Wanted, request: Request, scan: Scan) -> None:
    """Have the service of the former name become this one. There may be none, any more or at all."""
    former = scan.look(wanted.was) if scan.exists else Actual(wanted.was, "absent")
    if not is_ours(former):
        return
    old = Item(wanted.was, None, former, _status(plan, wanted.was))
    plan.items[old.name] = old
    if item.actual.kind != "absent":
        # It was taken over already, and has come back.
        _plan_to_remove(plan, old, request, scan)
        return
    old.becomes, item.was = item, old
    plan.changes.add(
        Change(old.name, "rename", before=_state(old, before=True), after={"state": "absent", "now": item.name})
    )
    if former.once == former.identity and former.meta.get("definition") == wanted.meta.get("definition"):
        # What was to run once has run, under the former name.
        item.actual.once = item.identity


def _plan_started(item: Item, wanted: Wanted) -> None:
    status = item.status
    if status is None or status.want != "up" or status.state == "failed" or _gave_up(status, wanted):
        item.command, item.wish = "start", "ready"
    elif is_outdated(item.status, item):
        on_change = when_changed(item.status, item, wanted)
        if on_change:
            item.command, item.wish = on_change, "ready"
        item.restart_needed = True
    elif status.paused:
        item.command = "continue"
    elif status.state in _COMING:
        item.wish = "ready"


def when_changed(status: Service | None, item: Item, wanted: Wanted) -> str:
    """Give the command for a running service whose definition has changed, "" if it is to go on."""
    on_change = str(wanted.meta.get("on_change") or "restart")
    if on_change not in ("restart", "reload"):
        return ""
    if _has_other_parent(status, item) or (on_change == "reload" and _needs_another_guard(item, wanted)):
        return "restart"
    return on_change


def _needs_another_guard(item: Item, wanted: Wanted) -> bool:
    """Tell whether a service's guard was started otherwise, or has no service to tell."""
    lease = wanted.meta.get("lease") or {}
    if "guard" not in lease:
        return False
    report = reports.of_living(item.guard)
    return report.get("phase") != reports.ACTIVE or report.get("definition") != lease["guard"]


def _gave_up(status: Service, wanted: Wanted) -> bool:
    """Tell whether a service that is not restarted has ended badly; one that has done its work stays as it is.

    A oneshot is undone when it is down, however it got there.
    """
    return status.state == "down" and (not status.succeeded or wanted.meta.get("type") == "oneshot")


def is_outdated(status: Service | None, item: Item) -> bool:
    """Tell whether the running process was started with another definition than the directory will have."""
    return (
        status is not None
        and status.pid is not None
        and status.state in ("starting", "up", "ready")
        and status.definition is not None
        and (status.definition != item.identity or _has_other_parent(status, item))
    )


def _has_other_parent(status: Service | None, item: Item) -> bool:
    """Tell whether the running process has a parent of ours, or none, that the definition now has not, or has."""
    return status is not None and status.attended not in (None, item.attends)


def _plan_stopped(item: Item, wanted: Wanted) -> None:
    status = item.status
    if status is None:
        # Not known to the supervisor yet, and born down.
        return
    if status.want != "down":
        item.command, item.wish = "stop", "down"
    elif status.state not in ("down", "failed"):
        item.wish = "down"


def _plan_once(item: Item, wanted: Wanted) -> None:
    noted = item.actual.once
    status = item.status
    if noted != item.identity:
        if status is not None and status.pid is not None and status.state in ("starting", "up", "ready"):
            # The run before is not over. The one with the new definition is for a later run of the task.
            item.restart_needed = is_outdated(item.status, item)
            return
        item.command, item.wish = "once", "ready"
    elif status is not None and status.state in ("starting", "up", "waiting"):
        item.wish = "ready"


def _unwanted(request: Request, scan: Scan) -> list[str]:
    names = [name for name in request.absent if name not in request.services]
    if request.prune and scan.exists:
        listed = set(names) | set(request.services)
        aside = {entry[1:-4] for entry in scan.left if entry.endswith(".old")}
        names += sorted((scan.names | aside) - listed)
    return names


def _plan_removal(plan: Plan, request: Request, scan: Scan, name: str) -> None:
    actual = scan.look(name) if scan.exists else Actual(name, "absent")
    asked = name in request.absent
    status = _status(plan, name)
    if actual.kind == "absent":
        if asked:
            plan.items[name] = Item(name, None, actual, status)
        return
    if not is_ours(actual):
        if asked:
            why = actual.problem or "was not made by this collection"
            plan.problems.append(f"{name}: {scan.path}/{name}: {why}: remove it by hand if it shall go")
        return
    item = Item(name, None, actual, status)
    plan.items[name] = item
    _plan_to_remove(plan, item, request, scan)


def _plan_to_remove(plan: Plan, item: Item, request: Request, scan: Scan) -> None:
    item.remove = True
    if item.status is not None and not request.offline:
        item.command, item.wish = "remove", "down"
    plan.changes.add(
        Change(
            item.name,
            "remove",
            files=removal(item.actual, scan.path) if request.with_diff else (),
            before=_state(item, before=True),
            after={"state": "absent"},
        )
    )


def _state(item: Item, *, before: bool) -> dict[str, Any]:
    """Give the entry of a service in the diff of the states."""
    if before:
        if item.actual.kind == "absent":
            return {"state": "absent"}
        if item.status is None:
            return {"state": "unknown"}
        state: dict[str, Any] = {"state": item.status.state}
        if item.status.definition:
            state["definition"] = _short(item.status.definition)
        return state
    if item.command == "stop":
        return {"state": "down"}
    return {"state": item.wish or "up", "definition": _short(item.identity)}


def _short(text: str) -> str:
    definition, dot, revision = text.rpartition(".")
    return f"{definition[:12]}{dot}{revision}"


def _sizes(plan: Plan) -> list[tuple[int, int]]:
    sizes = []
    for item in plan.items.values():
        if item.publish and item.wanted is not None:
            files = item.wanted.files
            folders = {path.partition("/")[0] for path in files if "/" in path}
            length = sum(len(content) for content, _mode in files.values()) + 2 * len(json.dumps(item.wanted.meta))
            # The directory itself, holdfast.json and the link besides.
            sizes.append((len(files) + len(folders) + 3, length))
    return sizes


def _check_host(plan: Plan, request: Request) -> None:
    host = verify.Host(request.runtime)
    found = plan.unverified if request.check_mode else plan.problems
    for wanted in request.services.values():
        found += host.accounts(wanted)
        driver, may_come = host.lease_driver(wanted)
        if driver:
            # What no role is going to ship is missing in the real run, too.
            (plan.unverified if may_come and request.check_mode else plan.problems).append(driver)
        (found if request.command_check else plan.unverified).extend(host.programs(wanted))
        if "command" in wanted.verify and wanted.verify["command"] is None:
            plan.unverified.append(f"{wanted.name}: whether its command is there (command_check: false, or a template)")


def _unsupported(request: Request, feature: str, backend: Backend, reason: str = "") -> Unsupported:
    return Unsupported(feature, backend.name, request.having.get(feature, ()), reason)


def _check_features(plan: Plan, request: Request, backend: Backend) -> None:
    for wanted in request.services.values():
        for feature in needed(wanted.meta):
            if feature not in backend.capabilities:
                plan.problems.append(f"{wanted.name}: {_unsupported(request, feature, backend)}")
            elif plan.snapshot is not None:
                reason = backend.obstacle(feature, wanted.meta, plan.snapshot)
                if reason:
                    plan.problems.append(f"{wanted.name}: {_unsupported(request, feature, backend, reason)}")
            elif backend.depends_on_host(feature):
                plan.unverified.append(f"{wanted.name}: whether {feature} is possible here")


def _check_logs(plan: Plan, request: Request, backend: Backend) -> None:
    plan.log_owner = backend.log_owner()
    if plan.log_owner is None:
        return
    for wanted in request.services.values():
        log = wanted.meta.get("log") or {}
        path = log.get("directory") if log.get("to") == "directory" else None
        if not path:
            continue
        problem, missing = logdirs.check(path, plan.log_owner[0])
        if problem:
            (plan.unverified if request.check_mode else plan.problems).append(f"{wanted.name}: {problem}")
        elif missing:
            plan.log_directories.append(path)


def _check_supervisors(plan: Plan, scan: Scan, backend: Backend) -> None:
    """Find supervisors that are not ours: they would run every service a second time."""
    known = set() if plan.snapshot is None else set(plan.snapshot.services)
    foreign = sorted(name for name in scan.names - known if verify.supervised(f"{scan.path}/{name}"))
    if foreign and plan.snapshot is None:
        # Nobody was asked yet, since this run is to do without a supervisor.
        try:
            known = set(backend.snapshot().services)
        except NotRunning:
            known = set()
        except BackendError as error:
            # Ours, or what is in its place.
            plan.problems.append(str(error))
            return
        foreign = [name for name in foreign if name not in known]
    already = {name for name in foreign if name in plan.items and plan.items[name].actual.kind == "foreign"}
    names = [name for name in foreign if name not in already]
    if names:
        shown = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
        plan.problems.append(
            f"{scan.path}: another supervisor runs on this directory (it answers for {shown}): "
            "stop it first, or choose another scan directory"
        )
