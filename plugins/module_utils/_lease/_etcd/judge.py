# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is to be known of an etcd before a service depends on it. PRIVATE to the collection.

The faults are those of etcd's changelogs, https://github.com/etcd-io/etcd/tree/main/CHANGELOG, that touch leases.
"""

from __future__ import annotations

from ..interface import DriverNotLoaded, DriverRefused, Hole, StoreUnavailable
from . import http
from .client import Client, EtcdError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .parameters import Parameters

_DIGITS = "0123456789"
Version = tuple

_OLDEST = (3, 4, 0)
#: What is wrong, from which version of each line on it is not, and what is done about it here.
_EARLY_REVOKE = ("early revoke (#15247)", {(3, 4): 31, (3, 5): 13})
_KEEPALIVE = ("keepalive of a revoked lease succeeds", {(3, 4): 38, (3, 5): 23, (3, 6): 5})
_STALE = ("stale reads after a pause", {(3, 4): 42, (3, 5): 28})


class Verdict:
    """What was found. early_revoke: a leader that was stuck may end leases too early, and there may be another leader."""

    def __init__(self) -> None:
        self.holes: list[Hole] = []
        self.facts: dict[str, str] = {}
        self.early_revoke = True


def judge(client: Client, parameters: Parameters, patience: float) -> Verdict:
    """Ask the members. patience: seconds for each. Raises DriverNotLoaded, DriverRefused, StoreUnavailable."""
    verdict = Verdict()
    versions = _versions(client, parameters, patience)
    facts = verdict.facts
    facts["versions"] = ", ".join(sorted({".".join(map(str, version)) for version in versions}))
    if min(versions) < _OLDEST:
        raise DriverNotLoaded(f"etcd {facts['versions']}: too old, at least {'.'.join(map(str, _OLDEST))} is needed")
    members = _members(client, patience)
    facts["members"] = str(members)
    if members == 1:
        facts["availability"] = "one member: while it is down nothing is renewed, and the services end"
    faults = [name for name, fixed in (_EARLY_REVOKE, _KEEPALIVE, _STALE) if any(_has(one, fixed) for one in versions)]
    if faults:
        facts["faults"] = ", ".join(faults)
    # It takes a second member that became leader meanwhile.
    verdict.early_revoke = members > 1 and _EARLY_REVOKE[0] in faults
    if verdict.early_revoke and parameters.early_revoke == "ignore":
        verdict.holes.append(
            Hole(
                "early_revoke",
                f"etcd {facts['versions']}: a leader that was stuck may end leases that were renewed; etcd 3.4.31, "
                "3.5.13 or newer closes it, or the parameter early_revoke: wait",
            )
        )
    elif verdict.early_revoke:
        facts["early_revoke"] = "a lease that vanished is waited for once more before the next holder gets in"
    open_ones = [str(one) for one in parameters.endpoints if not one.tls and not one.loopback]
    if open_ones:
        verdict.holes.append(
            Hole("plaintext", f"{', '.join(open_ones)}: anybody on the way can read and change leases; https closes it")
        )
    facts.update(_clock())
    return verdict


def _versions(client: Client, parameters: Parameters, patience: float) -> list[Version]:
    found, complaints = [], []
    for number, endpoint in enumerate(parameters.endpoints):
        try:
            reply = client.call_one(number, "/v3/maintenance/status", {}, http.now() + patience)
            found.append(_version(str(reply.get("version", ""))))
            if "NOSPACE" in str(reply.get("errors", "")):
                complaints.append(f"{endpoint}: has no room left (alarm NOSPACE)")
        except EtcdError as error:
            raise DriverRefused(f"etcd: {endpoint}: {error}") from None
        except StoreUnavailable as error:
            complaints.append(str(error))
    if not found:
        raise StoreUnavailable("; ".join(complaints))
    return found


def _members(client: Client, patience: float) -> int:
    try:
        return len(client.call("/v3/cluster/member/list", {}, http.now() + patience).get("members") or ())
    except EtcdError as error:
        raise DriverRefused(f"etcd: {error}") from None


def _version(text: str) -> Version:
    words = text.split(".", 2)
    if len(words) == 3:
        # What follows the third number is no part of it: 3.6.0-rc.1.
        words[2] = words[2][: len(words[2]) - len(words[2].lstrip(_DIGITS))]
    if len(words) != 3 or not all(word and not word.strip(_DIGITS) for word in words):
        raise DriverNotLoaded(f"etcd: {text!r} is no version of etcd")
    return tuple(map(int, words))


def _has(version: Version, fixed: dict[tuple[int, int], int]) -> bool:
    """Say whether this version has a fault that the lines of *fixed* lost with that number; newer lines never had it."""
    line = version[:2]
    return version[2] < fixed[line] if line in fixed else line < min(fixed)


def _clock() -> dict[str, str]:
    try:
        with open("/sys/devices/system/clocksource/clocksource0/current_clocksource", encoding="utf-8") as file:
            return {"clock": f"CLOCK_BOOTTIME, {file.read().strip()}"}
    except (OSError, ValueError):
        return {"clock": "CLOCK_BOOTTIME"}
