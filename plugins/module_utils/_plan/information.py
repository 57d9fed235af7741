# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is known of services: the body of the module service_info. Reads only. PRIVATE to the collection."""

from __future__ import annotations

from typing import Any

from .._definition.names import is_name
from .._hooks.hooks import DAEMON_POINTS, describe, directory_of
from .._hooks.points import POINTS
from .._supervise.choosing import choose
from .._supervise.interface import Backend, BackendError, Service, Snapshot
from .directories import Actual
from .places import scan_directory
from .scan import Scan


def service_info(parameters: dict[str, Any]) -> dict[str, Any]:
    """Do the task of the module service_info."""
    scan = scan_directory(parameters["scan_directory"])
    return information(parameters["names"], scan, choose(parameters["backend"], scan))


def information(names: list[str] | None, scan_path: str, backend: Backend) -> dict[str, Any]:
    """Give a record for each of *names*, or for every service of the scan directory, and what supervises them.

    What is not there is told, not an error.
    """
    warnings: list[str] = []
    snapshot: Snapshot | None = None
    try:
        scan = Scan(scan_path)
    except OSError as error:
        scan = None
        warnings.append(f"{scan_path}: {error.strerror}")
    try:
        snapshot = backend.snapshot()
    except BackendError as error:
        if scan is not None and scan.exists:
            warnings.append(str(error))
    finally:
        backend.close()
    known = {} if snapshot is None else snapshot.services
    wanted = sorted(scan.names if scan is not None else ()) if names is None else names
    try:
        records = [_record(name, _look(scan, name), known.get(name)) for name in wanted]
    finally:
        if scan is not None:
            scan.close()
    return {
        "backend": backend.name,
        "changed": False,
        "hooks": describe(directory_of(scan_path), DAEMON_POINTS),
        "services": records,
        "supervisor": None if snapshot is None else snapshot.supervisor,
        "warnings": warnings,
    }


def _look(scan: Scan | None, name: str) -> Actual:
    if scan is None or not scan.exists or not is_name(name):
        return Actual(name, "absent")
    try:
        return scan.look(name)
    except OSError:
        # A directory that this user may not read is there all the same.
        return Actual(name, "foreign")


def _record(name: str, actual: Actual, status: Service | None) -> dict[str, Any]:
    meta = actual.meta
    log = meta.get("log") if isinstance(meta.get("log"), dict) else None
    record: dict[str, Any] = {
        "name": name,
        "exists": actual.kind != "absent",
        "foreign": actual.kind == "foreign",
        "owner": meta.get("owner"),
        "definition": meta or None,
        "identity": actual.identity if meta else None,
        "enabled": actual.kind != "absent" and "down" not in actual.entries,
        "hooks": _hooks(meta),
        "log_directory": log.get("directory") if log and log.get("to") == "directory" else None,
        "state": "absent" if actual.kind == "absent" else "unknown",
        "pid": None,
        "since": None,
        "ready": False,
        "want": None,
        "deaths": None,
        "exit": None,
        "next": None,
        "reason": actual.problem,
        "restart_needed": False,
    }
    if status is not None:
        record.update(
            state=status.state,
            pid=status.pid,
            since=status.since,
            ready=status.ready,
            want=status.want,
            deaths=status.deaths,
            exit=status.exit,
            next=status.next,
            reason=actual.problem or status.reason,
            restart_needed=bool(meta) and status.definition is not None and status.definition != actual.identity,
        )
    return record


def _hooks(meta: dict[str, Any]) -> dict[str, Any] | None:
    """Give the hooks around a service, by point; None if its definition asks for none."""
    lease = meta.get("lease")
    settings = lease.get("hooks") if isinstance(lease, dict) else None
    directory = settings.get("directory") if isinstance(settings, dict) else None
    return describe(directory, POINTS) if isinstance(directory, str) else None
