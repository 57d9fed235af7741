# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Carry a plan out: publish all, tell the supervisor once, wait once, then remove. PRIVATE to the collection."""

from __future__ import annotations

import os

from .._supervise.interface import Backend, Service, Verdict
from . import logdirs
from .change import Change
from .directories import ONCE
from .logtail import log_directory
from .patience import patience
from .plan import Item, Plan, is_outdated, when_changed
from .publish import Publisher
from .request import Request
from .scan import Scan


class Outcome:
    """failures: what went wrong, by service. verdicts: what the supervisor said. notes: what a person should know."""

    def __init__(self) -> None:
        self.failures: dict[str, str] = {}
        self.verdicts: dict[str, Verdict] = {}
        self.notes: list[str] = []


def apply(plan: Plan, request: Request, scan: Scan, backend: Backend, outcome: Outcome) -> None:
    """Do what the plan says. A service that fails stays as it is and does not keep the others back.

    Raises OSError and BackendError when nothing more can be done; `plan.changes` and *outcome* then tell what was done.
    """
    publisher = Publisher(scan.at)
    moving = {log_directory(item.meta) for item in plan.items.values() if item.was is not None}
    if plan.log_owner is not None:
        for path in plan.log_directories:
            if path not in moving:
                logdirs.make(path, *plan.log_owner)
    restored = publisher.recover(scan.left)
    published = _publish(plan, request, backend, publisher, scan, outcome)
    if not request.offline:
        if published or restored or any(_is_unknown(item) for item in plan.items.values()):
            backend.rescan()
            for item in plan.items.values():
                plan.changes.mark(item.name, "register")
        _command(plan, backend, outcome)
        # While the services start there is time for the disk.
        publisher.clean()
        _wait(plan, request, backend, scan, outcome)
        _catch_up(plan, request, backend, outcome)
    _remove(plan, request, publisher, backend, outcome)
    publisher.clean()
    if request.offline:
        backend.offline()
    outcome.notes += [f"what was not ours was kept in {scan.path}/{entry}" for entry in publisher.kept]


def _is_unknown(item: Item) -> bool:
    """Tell whether the supervisor has to be told of a service that was there before."""
    return not item.remove and (item.status is None or item.status.stale)


def _publish(
    plan: Plan, request: Request, backend: Backend, publisher: Publisher, scan: Scan, outcome: Outcome
) -> bool:
    """Build everything, then put everything into place. Nothing is in place if one cannot be built."""
    items = [item for item in plan.items.values() if item.publish]
    try:
        for item in items:
            if item.wanted is not None:
                publisher.build(item.wanted, item.revision, (backend.link(item.name) or None) if item.link else None)
        publisher.settle()
    except OSError:
        publisher.abandon()
        raise
    _take_over(plan, request, backend, publisher, outcome)
    for item in items:
        if item.name in outcome.failures:
            continue
        try:
            publisher.swap(item.name)
            if item.was is not None and item.actual.once == item.identity:
                _note_once(item, scan)
        except OSError as error:
            outcome.failures[item.name] = f"its directory could not be put into place: {error}"
            continue
        plan.changes.mark(item.name, "create", "update")
    publisher.abandon()
    return bool(items)


def _take_over(plan: Plan, request: Request, backend: Backend, publisher: Publisher, outcome: Outcome) -> None:
    """Stop what gets another name, and take its directory and its logs away for it: there are never two of them."""
    olds = [item for item in plan.items.values() if item.becomes is not None]
    running = [old for old in olds if old.status is not None] if not request.offline else []
    if running:
        refused = backend.control([(old.name, "remove") for old in running])
        stopping = [old for old in running if old.name not in refused]
        verdicts = backend.wait([(old.name, "down") for old in stopping], _patience(request, stopping, "down"))
        for old in running:
            verdict = verdicts.get(old.name)
            if old.becomes is not None and (verdict is None or verdict.outcome != "reached"):
                why = refused.get(old.name) or _why(verdict.service if verdict else None)
                outcome.failures[old.becomes.name] = f"{old.name}, which it was, has not stopped: {why}"
    taken = [old for old in olds if old.becomes is not None and old.becomes.name not in outcome.failures]
    for old in taken:
        if old.becomes is not None:
            publisher.take(old.name, old.becomes.name)
            plan.changes.mark(old.name, "rename")
    known = [old for old in taken if old.status is not None and not request.offline]
    if known:
        backend.rescan()
        backend.wait([(old.name, "gone") for old in known], _patience(request, known, "gone"))
    for old in taken:
        if old.becomes is not None:
            _take_logs(plan, old, old.becomes, outcome)


def _take_logs(plan: Plan, old: Item, item: Item, outcome: Outcome) -> None:
    former, path = log_directory(old.meta), log_directory(item.meta)
    if former == path or not os.path.isdir(former):
        moved = True
    else:
        moved = bool(path) and logdirs.move(former, path)
    if not moved:
        outcome.notes.append(f"the logs of {old.name}, now {item.name}, are still in {former}")
    if plan.log_owner is not None and path in plan.log_directories:
        # It is there already if it was moved.
        logdirs.make(path, *plan.log_owner)


def _command(plan: Plan, backend: Backend, outcome: Outcome) -> None:
    commanded = [item for item in plan.items.values() if item.command and item.name not in outcome.failures]
    # What `rescan` has started may have done its work by now: a second start would do it twice.
    told = [item for item in commanded if not (backend.starts_new and item.status is None and item.command == "start")]
    refused = backend.control([(item.name, item.command) for item in told])
    for item in commanded:
        if item.name in refused:
            outcome.failures[item.name] = f"{item.command} was refused: {refused[item.name]}"
        elif not item.remove:
            plan.changes.mark(item.name, item.command)


def _wait(plan: Plan, request: Request, backend: Backend, scan: Scan, outcome: Outcome) -> None:
    waiting = [item for item in plan.items.values() if item.wish and item.name not in outcome.failures]
    limit = _patience(request, waiting)
    outcome.verdicts = backend.wait([(item.name, item.wish) for item in waiting], limit)
    for item in waiting:
        verdict = outcome.verdicts.get(item.name)
        if verdict is None:
            outcome.failures[item.name] = "the supervisor gave no verdict"
        elif verdict.outcome == "reached" or _is_done(item, verdict):
            if item.command == "once":
                _note_once(item, scan)
        elif verdict.outcome == "timeout":
            what = "stopped" if item.wish == "down" else "ready"
            outcome.failures[item.name] = f"not {what} within {limit:g} s ({_why(verdict.service)})"
        else:
            outcome.failures[item.name] = _why(verdict.service)


def _catch_up(plan: Plan, request: Request, backend: Backend, outcome: Outcome) -> None:
    """Restart what was on its way down when we looked, and came up again before its new definition was in place.

    It was told so by somebody else, or by a run that was interrupted.
    """
    late = []
    for item in plan.items.values():
        verdict = outcome.verdicts.get(item.name)
        if item.wanted is None or item.wish != "ready" or item.command:
            continue
        if verdict is None or verdict.outcome != "reached" or not is_outdated(verdict.service, item):
            continue
        item.command = when_changed(verdict.service, item, item.wanted)
        if item.command:
            plan.changes.add(Change(item.name, item.command))
            late.append(item)
    if not late:
        return
    refused = backend.control([(item.name, item.command) for item in late])
    told = [item for item in late if item.name not in refused]
    verdicts = backend.wait([(item.name, item.wish) for item in told], _patience(request, told))
    for item in late:
        verdict = verdicts.get(item.name)
        if item.name in refused:
            outcome.failures[item.name] = f"{item.command} was refused: {refused[item.name]}"
            continue
        plan.changes.mark(item.name, item.command)
        if verdict is None or verdict.outcome != "reached":
            outcome.failures[item.name] = _why(verdict.service if verdict else None)
        else:
            outcome.verdicts[item.name] = verdict


def _patience(request: Request, items: list[Item], wish: str = "") -> float:
    return patience(request.timeout, ((item.name, item.meta, wish or item.wish, item.command) for item in items))


def _is_done(item: Item, verdict: Verdict) -> bool:
    """Tell whether a service that need not stay up has done its work."""
    service = verdict.service
    if item.wish != "ready" or item.wanted is None or service is None or item.wanted.meta.get("type") == "oneshot":
        return False
    passing = item.wanted.state == "once" or item.wanted.meta.get("restart") in ("on_failure", "never")
    return passing and service.state == "down" and service.succeeded


def _why(service: Service | None) -> str:
    return "the supervisor does not know it" if service is None else service.trouble


def _note_once(item: Item, scan: Scan) -> None:
    """Note that this definition was started: it is not started again by a later run."""
    folder = os.open(item.name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=scan.at)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.open(ONCE, flags, 0o644, dir_fd=folder)
        try:
            os.write(file, item.identity.encode())
        finally:
            os.close(file)
    finally:
        os.close(folder)


def _remove(plan: Plan, request: Request, publisher: Publisher, backend: Backend, outcome: Outcome) -> None:
    """Take away what shall go and has stopped. What has not stopped keeps its directory."""
    gone = []
    for item in plan.items.values():
        if not item.remove or item.name in outcome.failures:
            continue
        try:
            publisher.retire(item.name)
        except OSError as error:
            outcome.failures[item.name] = f"its directory could not be removed: {error}"
            continue
        plan.changes.mark(item.name, "remove")
        gone.append(item)
    if gone and not request.offline:
        backend.rescan()
        known = [item for item in gone if item.status is not None]
        verdicts = backend.wait([(item.name, "gone") for item in known], _patience(request, known, "gone"))
        for name, verdict in verdicts.items():
            if verdict.outcome != "reached":
                outcome.failures[name] = f"the supervisor still has it: {_why(verdict.service)}"
