# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What systemd says of a unit, in the words of our services. PRIVATE to the collection."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

from .unit import GIVES_UP

#: CLD_EXITED, CLD_KILLED and CLD_DUMPED of waitid(2), as ExecMainCode has them.
_EXITED, _KILLED, _DUMPED = "1", "2", "3"
_STARTING = {"condition": "starting", "start-pre": "starting", "start": "starting", "start-post": "up"}
_FINISHING = ("stop-post", "final-watchdog", "final-sigterm", "final-sigkill", "cleaning")


def record(
    meta: Mapping[str, Any], unit: Mapping[str, str], timer: Mapping[str, str] | None, definition: str | None
) -> dict[str, Any]:
    """Give the record of a service (see interface.Service) from the properties of its unit.

    timer: those of the timer of a periodic service. definition: what its process was started with.
    """
    get = unit.get
    pid = int(get("MainPID") or 0)
    state = _state(meta, unit, timer)
    ending = None if pid and state != "finishing" else _ending(unit)
    running = bool(pid) and state in ("starting", "up", "ready", "stopping")
    return {
        "name": str(meta["name"]),
        "state": state,
        "pid": pid if running else None,
        "since": _wall(get("StateChangeTimestampMonotonic")),
        "ready": state == "ready" or (state == "scheduled" and _good(unit)),
        "want": _want(meta, unit, timer, state),
        "deaths": int(get("NRestarts") or 0) + (1 if state in ("backoff", "failed") else 0),
        "exit": ending,
        "definition": definition if running else None,
        "paused": running and _stopped(pid),
        "reason": _reason(meta, unit, state),
    }


def _state(meta: Mapping[str, Any], unit: Mapping[str, str], timer: Mapping[str, str] | None) -> str:
    active, sub = unit.get("ActiveState"), unit.get("SubState", "")
    periodic = meta.get("type") == "periodic"
    if active in ("active", "reloading"):
        return "ready"
    if active == "activating":
        if sub.startswith("auto-restart"):
            return "backoff"
        if sub == "start-pre" and meta.get("needs"):
            return "waiting"
        if periodic and sub == "start":
            return "ready" if age(unit) >= float((meta.get("readiness") or {}).get("grace") or 0.0) else "up"
        return _STARTING.get(sub, "starting")
    if active == "deactivating":
        return "finishing" if sub in _FINISHING else "stopping"
    if periodic:
        return "scheduled" if timer is not None and timer.get("ActiveState") == "active" else "down"
    if active == "failed" and gave_up(unit):
        return "failed"
    return "down"


def gave_up(unit: Mapping[str, str]) -> bool:
    """Tell whether systemd starts a failed unit no more, though it would have had to."""
    code = (unit.get("ExecMainCode"), unit.get("ExecMainStatus"))
    return unit.get("Result") == "start-limit-hit" or code == (_EXITED, str(GIVES_UP))


def _want(meta: Mapping[str, Any], unit: Mapping[str, str], timer: Mapping[str, str] | None, state: str) -> str:
    if timer is not None:
        return "up" if timer.get("ActiveState") == "active" else "down"
    if state in ("waiting", "starting", "up", "ready", "backoff", "failed"):
        return "up"
    # At rest, and not for good: it has done its work, or has ended badly and is not to be started again.
    passing = meta.get("restart") in ("on_failure", "never") and meta.get("state") == "started"
    return "up" if state == "down" and passing and has_run(unit) else "down"


def has_run(unit: Mapping[str, str]) -> bool:
    """Tell whether the unit's process has run and ended."""
    return (unit.get("ExecMainExitTimestampMonotonic") or "0") != "0"


def start_of(unit: Mapping[str, str]) -> str:
    """Give the time of the last start, which tells one start from another."""
    return unit.get("ExecMainStartTimestampMonotonic") or "0"


def _good(unit: Mapping[str, str]) -> bool:
    return unit.get("Result") == "success" and has_run(unit)


def _ending(unit: Mapping[str, str]) -> dict[str, Any] | None:
    code, status = unit.get("ExecMainCode"), unit.get("ExecMainStatus") or "0"
    if code not in (_EXITED, _KILLED, _DUMPED) or not has_run(unit):
        return None
    return {
        "kind": "exit" if code == _EXITED else "signal",
        "code": int(status),
        "at": _wall(unit.get("ExecMainExitTimestampMonotonic")),
    }


def _reason(meta: Mapping[str, Any], unit: Mapping[str, str], state: str) -> str:
    result = unit.get("Result") or "success"
    if state == "waiting":
        return f"needs {', '.join(meta.get('needs') or ())}"
    if result == "start-limit-hit":
        limit = meta.get("failure_limit") or {}
        return f"died {limit.get('deaths')} times within {float(limit.get('within') or 0):g} s"
    if unit.get("LoadState") not in ("loaded", None):
        return f"systemd cannot read its unit ({unit.get('LoadState')})"
    if state in ("down", "failed", "backoff", "scheduled") and result not in ("success", "exit-code", "signal"):
        return f"systemd says {result}"
    return ""


def _wall(microseconds: str | None) -> float | None:
    """Turn a time of the monotonic clock into seconds since 1970; None for never."""
    value = int(microseconds or 0)
    return None if value == 0 else round(time.time() - (time.monotonic() - value / 1e6), 3)


def age(unit: Mapping[str, str]) -> float:
    """Give the seconds since the last start."""
    return time.monotonic() - int(unit.get("ExecMainStartTimestampMonotonic") or 0) / 1e6


def _stopped(pid: int) -> bool:
    """Tell whether a process is stopped by a signal."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] == "T"
    except (OSError, IndexError):
        return False


def definition_of(state: str) -> str | None:
    """Give the identity that the service's last start, or reload, has noted in its folder *state*."""
    try:
        return os.readlink(f"{state}/definition")
    except OSError:
        return None
