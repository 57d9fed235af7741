# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long a task waits for services when nobody says. PRIVATE to the collection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

#: Seconds that a task waits at least.
USUAL = 60.0
#: Seconds that a task waits at most, and that a supervisor may be asked to.
MOST = 86400.0
#: Seconds that the end of a service takes beyond its own time: it is killed, `finish` has run, the supervisor has looked.
KILLED = 5.0


def refusal(name: str, given: float | None) -> str:
    """Say what is wrong with the time that a task was given as *name*, "" if nothing is."""
    # Written so that what is no number is refused too.
    if given is None or given >= 0:
        return ""
    return f"{name}: {given:g}: must be a number of seconds that is not negative"


def complaint(given: float | None) -> str:
    """Say what is wrong with the time that a task is to wait, and what to do about it, "" if nothing is."""
    wrong = refusal("timeout", given)
    return wrong and f"{wrong}; leave it out for the usual time"


def patience(given: float | None, waiting: Iterable[tuple[str, Mapping[str, Any], str, str]]) -> float:
    """Give the seconds to wait for services: *given*, else what their definitions allow them, but not less than the usual time.

    waiting: name, holdfast.json, wish (ready, down or gone) and command of each, in an order in which what is needed
    comes first.
    """
    if given is not None:
        return given
    until: dict[str, float] = {}
    for name, meta, wish, command in waiting:
        time = _to_stop(meta) if wish != "ready" or command == "restart" else 0.0
        if wish == "ready":
            time += _number(_object(meta, "readiness"), "timeout", 30.0)
            time += max((until.get(str(need), 0.0) for need in _names(meta)), default=0.0)
        until[name] = time
    return min(max(USUAL, *until.values()), MOST) if until else USUAL


def _names(meta: Mapping[str, Any]) -> list[Any]:
    needs = meta.get("needs")
    return needs if isinstance(needs, list) else []


def _to_stop(meta: Mapping[str, Any]) -> float:
    """Give the time that a definition allows the end of its service; one that is never killed has no such time."""
    return _number(meta, "stop_timeout", 10.0) + _number(meta, "finish_timeout", 5.0) + KILLED


def _object(meta: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = meta.get(key)
    return value if isinstance(value, Mapping) else {}


def _number(meta: Mapping[str, Any], key: str, usual: float) -> float:
    value = meta.get(key, usual)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else usual
