# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What systemd says of a unit, in the words of our services. PRIVATE to the collection."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from typing import Any

from .. import active
from ..interface import ending_text
from .unit import ATTENDED, GIVES_UP

#: CLD_EXITED of waitid(2), as ExecMainCode has it.
_EXITED = "1"
#: There while a service is down because somebody has told it, by us, to stop.
ASKED = "asked"
_STARTING = {"condition": "starting", "start-pre": "starting", "start": "starting", "start-post": "up"}
#: Seconds of the units of systemd.time(7) that a time span is written with.
_UNITS = {
    "us": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "min": 60.0,
    "h": 3600.0,
    "d": 86400.0,
    "w": 604800.0,
    "month": 2629800.0,
    "y": 31557600.0,
}
_FINISHING = ("stop-post", "final-watchdog", "final-sigterm", "final-sigkill", "cleaning")


class Notes:
    """What a service's own steps have noted in its folder of the run directory.

    definition: what its last start, or reload, was of. attended: whether it was below a parent of ours. started: tells
    one start from another. ending: how the last process ended. asked: whether somebody has told it, by us, to stop.
    """

    __slots__ = ("asked", "attended", "definition", "ending", "started")

    def __init__(self, folder: str) -> None:
        definition, _blank, attended = (_target(f"{folder}/definition") or "").partition(" ")
        self.definition = definition or None
        self.attended = attended == ATTENDED
        self.started = _changed(f"{folder}/definition")
        self.ending = _noted_ending(f"{folder}/ended")
        self.asked = os.path.lexists(f"{folder}/{ASKED}")


def record(
    meta: Mapping[str, Any], unit: Mapping[str, str], timer: Mapping[str, str] | None, notes: Notes
) -> dict[str, Any]:
    """Give the record of a service (see interface.Service) from the properties of its unit.

    timer: those of the timer of a periodic service.
    """
    get = unit.get
    pid = int(get("MainPID") or 0)
    state = _state(meta, unit, timer)
    if state == "failed" and notes.asked:
        # Told to end: how it did is no failure.
        state = "down"
    running = bool(pid) and state in ("starting", "up", "ready", "stopping")
    return {
        "name": str(meta["name"]),
        "state": state,
        "pid": pid if running else None,
        "since": _wall(get("StateChangeTimestampMonotonic")),
        "ready": state == "ready" or (state == "scheduled" and _good(unit)),
        "want": _want(meta, unit, timer, state, notes),
        "deaths": int(get("NRestarts") or 0) + (1 if state in ("backoff", "failed") else 0),
        "exit": notes.ending,
        "definition": notes.definition if running else None,
        "attended": notes.attended if running else None,
        "next": _next(timer) if state == "scheduled" else None,
        "paused": running and _stopped(pid),
        "reason": _reason(meta, unit, state, notes),
    }


def _state(meta: Mapping[str, Any], unit: Mapping[str, str], timer: Mapping[str, str] | None) -> str:
    active, sub = unit.get("ActiveState"), unit.get("SubState", "")
    periodic = meta.get("type") == "periodic"
    if active in ("active", "reloading"):
        return "ready"
    if active == "activating":
        if pauses(unit):
            return "backoff"
        if sub == "start-pre" and meta.get("needs"):
            return "waiting"
        if periodic and sub == "start":
            return "ready" if age(unit) >= float((meta.get("readiness") or {}).get("grace") or 0.0) else "up"
        return _STARTING.get(sub, "starting")
    if active in ("inactive", "failed") and unit.get("Job") and meta.get("needs"):
        # Its start is queued behind that of another.
        return "waiting"
    if active == "deactivating":
        return "finishing" if sub in _FINISHING else "stopping"
    if periodic:
        return "scheduled" if timer is not None and timer.get("ActiveState") == "active" else "down"
    if active == "failed" and gave_up(unit):
        return "failed"
    return "down"


def pauses(unit: Mapping[str, str]) -> bool:
    """Tell whether systemd waits before it starts a unit again by itself."""
    return unit.get("ActiveState") == "activating" and unit.get("SubState", "").startswith("auto-restart")


def gave_up(unit: Mapping[str, str]) -> bool:
    """Tell whether systemd starts a failed unit no more, though it would have had to."""
    code = (unit.get("ExecMainCode"), unit.get("ExecMainStatus"))
    if unit.get("Result") == "start-limit-hit" or code == (_EXITED, str(GIVES_UP)):
        return True
    # Older versions keep the result of the last process. After its end the unit has left the inactive states once more,
    # to be started again, and was not.
    left, ended = (int(unit.get(f"{key}TimestampMonotonic") or 0) for key in ("InactiveExit", "ExecMainExit"))
    return bool(ended) and left >= ended and int(unit.get("NRestarts") or 0) > 0


def _want(
    meta: Mapping[str, Any], unit: Mapping[str, str], timer: Mapping[str, str] | None, state: str, notes: Notes
) -> str:
    if timer is not None:
        return "up" if timer.get("ActiveState") == "active" else "down"
    if state in ("waiting", "starting", "up", "ready", "backoff", "failed"):
        return "up"
    if state in ("stopping", "finishing") or unit.get("Job"):
        # Something is under way: a stop that was asked for, else what comes between a death and the next start.
        return "down" if notes.asked else "up"
    # At rest, and not for good: it has done its work, or has ended badly and is not to be started again.
    passing = meta.get("restart") in ("on_failure", "never") and meta.get("state") == "started"
    return "up" if state == "down" and passing and notes.ending and not notes.asked else "down"


def due(timer: Mapping[str, str]) -> bool:
    """Tell whether the first run of a periodic service is still to come: its timer is being started, or has yet to elapse."""
    if timer.get("Job"):
        return True
    elapses = timespan(timer.get("NextElapseUSecMonotonic") or "")
    waits = timer.get("ActiveState") == "active" and timer.get("SubState") == "waiting"
    return waits and elapses is not None and elapses <= time.monotonic()


def has_run(unit: Mapping[str, str]) -> bool:
    """Tell whether the unit's process has run and ended."""
    return (unit.get("ExecMainExitTimestampMonotonic") or "0") != "0"


def _good(unit: Mapping[str, str]) -> bool:
    return unit.get("Result") == "success" and has_run(unit)


def _noted_ending(path: str) -> dict[str, Any] | None:
    """Give how the last process ended, from EXIT_CODE and EXIT_STATUS of systemd.exec(5) in a file."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            kind, _blank, status = file.read().strip().partition(" ")
        at = os.stat(path).st_mtime
    except OSError:
        return None
    if kind == "exited" and status.isdigit():
        return {"kind": "exit", "code": int(status), "at": round(at, 3)}
    number = getattr(signal, f"SIG{status}", None)
    if kind not in ("killed", "dumped") or number is None:
        return None
    return {"kind": "signal", "code": int(number), "at": round(at, 3)}


def _reason(meta: Mapping[str, Any], unit: Mapping[str, str], state: str, notes: Notes) -> str:
    result = unit.get("Result") or "success"
    if state == "waiting":
        return f"needs {active.wished(active.words(meta))}"
    limit = meta.get("failure_limit") or {}
    gives_up = (unit.get("ExecMainCode"), unit.get("ExecMainStatus")) == (_EXITED, str(GIVES_UP))
    if state == "failed" and limit.get("deaths") and not gives_up:
        last = f", last with {ending_text(notes.ending)}" if notes.ending else ""
        return f"died {limit.get('deaths')} times within {float(limit.get('within') or 0):g} s{last}"
    if unit.get("LoadState") not in ("loaded", None):
        return f"systemd cannot read its unit ({unit.get('LoadState')})"
    if state in ("down", "failed", "backoff", "scheduled") and result not in ("success", "exit-code", "signal"):
        return f"systemd says {result}"
    return ""


def _next(timer: Mapping[str, str] | None) -> float | None:
    """Give the unix time at which the timer of a periodic service elapses, None if it does not say."""
    value = (timer or {}).get("NextElapseUSecMonotonic") or ""
    seconds = timespan(value)
    return None if seconds is None else round(time.time() + seconds - time.monotonic(), 3)


def timespan(text: str) -> float | None:
    """Give the seconds of a time span as systemd writes it, such as `1h 2min 3.5s`; None for anything else."""
    total = 0.0
    for word in text.split():
        number = word.rstrip("abcdefghijklmnopqrstuvwxyz")
        unit = _UNITS.get(word[len(number) :])
        if unit is None:
            return None
        try:
            total += float(number) * unit
        except ValueError:
            return None
    return total if text.strip() else None


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


def _target(path: str) -> str | None:
    try:
        return os.readlink(path)
    except OSError:
        return None


def _changed(path: str) -> int:
    try:
        return os.lstat(path).st_mtime_ns
    except OSError:
        return 0
