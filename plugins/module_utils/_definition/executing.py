# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a service can't have that is executed in the place of its guard (`lease.mode: exec`). PRIVATE to the collection."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .problem import Problem, shown

# Keys, and why not; a section's inner key after a dot.
_NOT = {
    "lease.containment": "nobody is there to end what the service leaves behind",
    "lease.keep": "nobody is there to keep it for",
    "lease.on_lost": "nobody is there to hear of it",
    "lease.pause_timeout": "nobody is there to hear of it",
    "hooks": "nobody is there to run them",
    "finish": "it would run when somebody else may have the lease already",
    "health": "nobody is there to judge it, and to hand over",
    "readiness.check": "a standby is ready already, and nobody is there to judge the service afterwards",
    "readiness.notification_fd": "a standby is ready already, and nobody is there to hear of the service afterwards",
}
_KINDS = {
    "forking": "what it leaves in the background would not be supervised",
    "oneshot": "nobody is there to hear when it is done",
}


def problems(given: Mapping[str, Any], where: str) -> Iterator[Problem]:
    """Find what does not go together with lease.mode exec. given: the canonical values of those keys that are right."""
    cure = "leave it out, or write lease.mode guard"
    for key, reason in _NOT.items():
        section, dot, inner = key.partition(".")
        value = given.get(section, {}).get(inner) if dot else given.get(section)
        if value is not None:
            yield Problem(
                f"{where}.{key}", shown(value) if dot else "", f"is not possible with lease.mode exec: {reason}", cure
            )
    kind = given.get("type")
    if kind in _KINDS:
        yield Problem(
            f"{where}.type", kind, f"is not possible with lease.mode exec: {_KINDS[kind]}", "write lease.mode guard"
        )
    if given["lease"].get("parameters", {}).get("scope") == "hosts":
        yield Problem(
            f"{where}.lease.parameters.scope",
            "hosts",
            "is not possible with lease.mode exec: nobody is there to renew the lease",
            "write lease.mode guard",
        )
    if given["lease"].get("safety", "strict") == "strict":
        yield Problem(
            f"{where}.lease.safety",
            "strict",
            "refuses mode exec: what the service leaves behind may run beside the next holder (see leases.md, Without a guard)",
            "write safety: standard, or mode: guard",
        )
