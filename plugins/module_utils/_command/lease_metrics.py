# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is told of leases to programs that watch hosts, in the text format of Prometheus. PRIVATE to the collection."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_RENEWAL = "holdfast_lease_renewal_seconds"
#: By name: kind, and what it means.
_KINDS = {
    "holdfast_lease_active": ("gauge", "1 if the guard holds what its service needs and the service runs"),
    "holdfast_lease_answers": ("gauge", "1 if the guard has answered"),
    "holdfast_lease_since_seconds": ("gauge", "unix time of the last change of phase"),
    "holdfast_lease_token": ("gauge", "fencing token of what is held"),
    "holdfast_lease_valid_seconds": ("gauge", "seconds until what is held ends unless it is renewed"),
    "holdfast_lease_ttl_seconds": ("gauge", "seconds for which one renewal is good"),
    "holdfast_lease_open_holes": ("gauge", "open holes in the promise"),
    "holdfast_lease_renewals_failed_total": ("counter", "renewals that failed"),
    "holdfast_lease_renewals_slow_total": ("counter", "renewals that took more than a tenth of the ttl"),
    _RENEWAL: ("histogram", "how long renewals took, failed ones too"),
}


def text(guards: list[dict[str, Any]]) -> str:
    """Give everything about *guards*, as information.everything tells of them; each family of figures together."""
    found: dict[str, list[str]] = {name: [] for name in _KINDS}
    for guard in guards:
        for family, name, labels, value in _figures(guard):
            told = ",".join(f'{key}="{_quoted(word)}"' for key, word in labels.items())
            found[family].append(f"{name}{{{told}}} {value:.15g}")
    lines: list[str] = []
    for name, (kind, meaning) in _KINDS.items():
        if found[name]:
            lines += [f"# HELP {name} {meaning}", f"# TYPE {name} {kind}", *found[name]]
    return "\n".join(lines)


def _figures(guard: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, str], float]]:
    """Give family, name, labels and value of each figure."""
    who = {"name": guard["name"], "owner": guard["owner"], "driver": guard["driver"]}
    # A service without a guard answers nobody, and there is nothing wrong with that.
    alone = guard["mode"] == "exec"
    single = {
        "active": guard["phase"] == "active",
        "answers": guard["answers"] or alone,
        "since_seconds": guard["since"],
        "open_holes": len(guard["holes"]),
    }
    if guard["valid_until"]:
        single["valid_seconds"] = guard["valid_until"] - time.time()
    if guard["ttl"]:
        single["ttl_seconds"] = guard["ttl"]
    renewals = guard["renewals"] or {}
    if renewals:
        single["renewals_failed_total"], single["renewals_slow_total"] = renewals["failed"], renewals["slow"]
    for key, value in single.items():
        yield f"holdfast_lease_{key}", f"holdfast_lease_{key}", who, value
    for one in guard["resources"]:
        yield "holdfast_lease_token", "holdfast_lease_token", {**who, "resource": one["name"]}, one["token"]
    # A guard of an older version does not tell how long they took.
    for one in renewals.get("took", ()):
        yield _RENEWAL, f"{_RENEWAL}_bucket", {**who, "le": f"{one['le']:g}"}, one["count"]
    if "took" in renewals:
        yield _RENEWAL, f"{_RENEWAL}_bucket", {**who, "le": "+Inf"}, renewals["count"]
        yield _RENEWAL, f"{_RENEWAL}_sum", who, renewals["sum"]
        yield _RENEWAL, f"{_RENEWAL}_count", who, renewals["count"]


def _quoted(word: str) -> str:
    return word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
