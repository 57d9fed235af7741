# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which services have a guard, and what it needs to know. PRIVATE to the collection.

A guard is between the supervisor and the service. It is there for leases, for hooks, and for programs that go to the
background: its pid namespace keeps them, whatever they do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._definition.kinds import REPORT_FD

#: Seconds that a guard needs beyond its service's own end: to kill what is left and to give the leases back.
GUARD_TIME = 10.0
#: What the names of scripts begin with that the guard runs: under their plain names the supervisor would.
PREFIX = "guarded-"
#: What of the health settings the guard has to know.
HEALTH = ("heartbeat_fd", "interval", "timeout", "failures")

# Holds nothing, and so promises nothing that a hole could be in.
_NO_LEASE: dict[str, Any] = {
    "mode": "guard",
    "driver": "none",
    "ttl": None,
    "parameters": {},
    "resources": [],
    "keep": None,
    "on_lost": "kill",
    "containment": "pid_namespace",
    "safety": "standard",
}


def guarding(service: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the lease section that the service is guarded with, None if it has no guard."""
    if service["lease"]:
        lease: Mapping[str, Any] = service["lease"]
        return lease
    return _NO_LEASE if service["hooks"] or service["type"] == "forking" else None


def executes(service: Mapping[str, Any]) -> bool:
    """Return whether the service takes the place of what gets its lease, so that no guard stays."""
    return bool(service["lease"]) and service["lease"]["mode"] == "exec"


def beside(service: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the guard runs beside the service, as it stands in holdfast.json."""
    readiness, health = service["readiness"], service["health"]
    return {
        "hooks": service["hooks"],
        "pid_file": service["pid_file"],
        "finish_timeout": service["finish_timeout"] if service["finish"] else None,
        "readiness": {
            "notification_fd": readiness["notification_fd"],
            "check": readiness["check"] is not None,
            "interval": readiness["interval"],
            "grace": readiness["grace"],
        },
        "health": None if health is None else {key: health[key] for key in HEALTH},
    }


def stop_timeout(service: Mapping[str, Any]) -> float:
    """Return the seconds that the supervisor gives the guard, 0 for no end: more than the guard gives the service."""
    timeout: float = service["stop_timeout"]
    if not timeout:
        return timeout
    hooks = 2 * service["hooks"]["timeout"] if service["hooks"] else 0.0
    return timeout + hooks + (service["finish_timeout"] if service["finish"] else 0.0) + GUARD_TIME


def reports(service: Mapping[str, Any]) -> bool:
    """Return whether the supervisor hears from the guard when the service is ready.

    One that waits for a lease is up and ready as a standby, and says *active* elsewhere.
    """
    readiness = service["readiness"]
    asked = service["type"] == "forking" or readiness["notification_fd"] is not None or readiness["check"] is not None
    return asked and not service["lease"]


def without(service: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the supervisor must not do itself, as none of it: the guard does."""
    report = REPORT_FD if reports(service) else None
    return {
        "finish": None,
        "health": None,
        "readiness": {**service["readiness"], "notification_fd": report, "check": None},
    }
