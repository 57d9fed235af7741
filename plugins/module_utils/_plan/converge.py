# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plan, apply, verdict: the body of the module services. PRIVATE to the collection."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from .._supervise.interface import Backend, BackendError, Service
from . import plan as planning
from . import verify
from .apply import Outcome, apply
from .directories import secrets_of
from .logtail import log_directory, settle, tail_of
from .plan import Item, Plan
from .request import Request
from .scan import Scan


def converge(request: Request, backend: Backend) -> dict[str, Any]:
    """Make the services of a host what the request says, and give the module's result.

    With `failed` the result says in `msg` what is wrong; `problems` are those for which nothing was changed at all.
    """
    try:
        scan = Scan(request.scan)
    except OSError as error:
        cure = verify.CURE_PERSON if isinstance(error, PermissionError) else ""
        return _refused([f"{request.scan}: {error.strerror}{cure}"], [])
    try:
        if scan.exists and not request.check_mode:
            if not scan.lock():
                return _refused([f"{request.scan}: another run changes it: try again when that has ended"], [])
            scan.list()
        return _converge(request, scan, backend)
    finally:
        backend.close()
        scan.close()


def _converge(request: Request, scan: Scan, backend: Backend) -> dict[str, Any]:
    begun = time.time()
    plan = planning.make(request, scan, backend)
    request.mask = request.mask.also(value for item in plan.items.values() for value in secrets_of(item.actual))
    if plan.problems:
        return _refused(plan.problems, plan.unverified)
    if request.check_mode:
        plan.changes.mark_all()
        return _result(request, plan, Outcome(), backend, begun)
    outcome = Outcome()
    fatal = ""
    try:
        apply(plan, request, scan, backend, outcome)
    except (OSError, BackendError) as error:
        fatal = str(error)
    result = _result(request, plan, outcome, backend, begun)
    if fatal:
        result.update(
            failed=True, msg=f"given up: {fatal}. What was done before is in actions; the next run goes on from there."
        )
    return result


def _refused(problems: list[str], unverified: list[str]) -> dict[str, Any]:
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    return {
        "failed": True,
        "changed": False,
        "msg": f"{count}, nothing was changed:\n" + "\n".join(problems),
        "problems": problems,
        "unverified": unverified,
        "services": {},
        "actions": [],
        "diff": [],
        "warnings": [],
    }


def _result(request: Request, plan: Plan, outcome: Outcome, backend: Backend, begun: float) -> dict[str, Any]:
    services = {name: _record(item, plan, outcome) for name, item in plan.items.items()}
    texts = []
    _settle_logs(plan, outcome, services, backend)
    for name, reason in outcome.failures.items():
        item = plan.items[name]
        found, before = tail_of(item.meta, begun)
        lines = [request.mask.text(line) for line in found]
        services[name].update(log=lines, reason=request.mask.text(reason))
        texts.append("\n    ".join([f"{name}: {services[name]['reason']}", *before, *lines]))
    result: dict[str, Any] = {
        "changed": plan.changes.changed,
        "services": services,
        "actions": plan.changes.actions(),
        "unverified": plan.unverified,
        "problems": [],
        "warnings": outcome.notes,
        "diff": plan.changes.diff(request.mask) if request.with_diff else [],
    }
    if texts:
        count = f"{len(texts)} of {len(services)} services"
        result.update(failed=True, msg=f"{count} did not get into the state asked for:\n" + "\n".join(texts))
    return result


def _settle_logs(plan: Plan, outcome: Outcome, services: dict[str, Any], backend: Backend) -> None:
    ended = []
    for name in outcome.failures:
        directory, ending = log_directory(plan.items[name].meta), services[name]["exit"]
        if directory and ending:
            ended.append((directory, float(ending.get("at") or 0.0), partial(backend.has_written, name)))
    settle(ended)


def _record(item: Item, plan: Plan, outcome: Outcome) -> dict[str, Any]:
    actions = plan.changes.actions_of(item.name)
    verdict = outcome.verdicts.get(item.name)
    status = item.status if verdict is None or verdict.service is None else verdict.service
    removed = "remove" in actions or "rename" in actions
    # In check mode the state is that before the run: what would be is in actions.
    state = "absent" if removed or (item.actual.kind == "absent" and status is None) else _state(status)
    record: dict[str, Any] = {
        "name": item.name,
        "changed": bool(actions),
        "actions": actions,
        "state": state,
        "pid": None,
        "since": None,
        "exit": None,
        "restart_needed": item.restart_needed,
    }
    if status is not None and not removed:
        record.update(pid=status.pid, since=status.since, exit=status.exit)
        if verdict is not None and verdict.service is not None:
            running = status.definition
            record["restart_needed"] = running is not None and running != item.identity
    return record


def _state(status: Service | None) -> str:
    return "unknown" if status is None else status.state
