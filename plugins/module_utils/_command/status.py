# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`holdfast status`. PRIVATE to the collection."""

from __future__ import annotations

import json
import time

from .exits import NO_SERVICE, NO_SUPERVISOR, OK, CommandError
from .places import scan_directory, service_names
from .supervisor import Supervisor, elsewhere
from .terminal import LOOKS, coloured, complain, duration, ending, harmless, paint, table, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from typing import Any

HEAD = ["NAME", "STATE", "PID", "FOR", "READY", "DEATHS", "REASON"]


def status(options: Namespace) -> int:
    """Show the services as a table, or as JSON. Without a supervisor: what its records say, and exit code 3.

    Below a supervisor of another kind there are no records, and nothing is shown.
    """
    scan = scan_directory(options.scan)
    try:
        with Supervisor(scan) as supervisor:
            answer = supervisor.status(options.names)
        problem = None
    except CommandError as error:
        if error.code != NO_SUPERVISOR or elsewhere(scan):
            raise
        problem = error
        answer = {"supervisor": None, "services": _recorded(scan, options.names)}
    if not options.names:
        # The supervisor has them in the order in which they came.
        answer["services"].sort(key=lambda service: service["name"])
    if options.json:
        write(json.dumps(answer, indent=2, sort_keys=True))
    else:
        _show(answer)
    if problem is None:
        return OK
    complain(f"holdfast: {problem.message}")
    return problem.code


def _show(answer: dict[str, Any]) -> None:
    now = time.time()
    services = answer["services"]
    if services:
        rows = [row(service, now) for service in services]
        looks = [LOOKS.get(service["state"], "") for service in services]
        for line in table(HEAD, rows, looks):
            write(line)
    else:
        write("no services")
    supervisor = answer["supervisor"]
    if supervisor:
        text = (
            f"{supervisor['scan']}: supervisor {supervisor['pid']}, up {duration(now - supervisor['since'])}, "
            f"version {supervisor['version']}"
        )
        write(paint(text, "dull") if coloured() else text)


def row(service: dict[str, Any], now: float) -> list[str]:
    """Give one service's line of the table."""
    state = service["state"] + (" (paused)" if service.get("paused") else "")
    since = service.get("since")
    return [
        harmless(service["name"]),
        state,
        str(service.get("pid") or "-"),
        duration(now - since) if since else "-",
        "yes" if service.get("ready") else "no",
        str(service.get("deaths", 0)),
        harmless(reason(service)),
    ]


def reason(service: dict[str, Any]) -> str:
    """Say why a service is as it is: the supervisor's reason, how it last ended, and what is unusual about it."""
    # What the supervisor says includes how the service ended, where that matters.
    parts = [str(service.get("reason") or "")]
    if not parts[0]:
        last = ending(service.get("exit"))
        parts = [f"last {last}" if service.get("pid") else last] if last else []
    if service.get("next") is not None:
        parts.insert(0, f"next run in {duration(service['next'] - time.time())}")
    running = service.get("definition")
    if running and service.get("loaded") and running != service["loaded"]:
        parts.append("runs an older definition")
    if service.get("enabled") is False and service["state"] not in ("down", "failed"):
        parts.append("not enabled")
    return "; ".join(parts)


def _recorded(scan: str, names: list[str]) -> list[dict[str, Any]]:
    from .orphans import recorded

    known = service_names(scan)
    for name in names:
        if name not in known:
            raise CommandError(NO_SERVICE, f"{name}: no such service")
    services = []
    for name in names or known:
        service: dict[str, Any] = {
            "name": name,
            "state": "down",
            "pid": 0,
            "since": None,
            "ready": False,
            "reason": "",
        }
        try:
            orphan = recorded(scan, name)
        except ValueError as error:
            service.update(state="unknown", reason=str(error))
        else:
            if orphan:
                service.update(state="orphan", pid=orphan.pid, since=orphan.since, reason="runs without a supervisor")
        services.append(service)
    return services
