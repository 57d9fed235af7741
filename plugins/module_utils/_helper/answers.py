# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What callers are told of jobs. PRIVATE to the collection."""

from __future__ import annotations

from .._jobs import keeper, store
from . import interface
from .agreed import REFUSED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .._jobs.store import Job


def describe(job: Job, outputs: bool = True) -> dict[str, Any]:
    """Give a job as the type JobRecord of the interface."""
    record, state = job.record, job.state()
    return {
        "id": record["id"],
        "user": record["uid"],
        "operation": record["name"],
        "parameters": record["parameters"],
        "state": state["state"],
        "created": record["created"],
        "began": state.get("began"),
        "ended": state.get("ended"),
        "progress": state.get("progress"),
        "stdout": state.get("stdout", "") if outputs else None,
        "stderr": state.get("stderr", "") if outputs else None,
        "truncated": bool(state.get("truncated")),
        "exit": state.get("exit"),
        "result": state.get("result") if outputs else None,
        "error": state.get("why") or None,
        "message": state.get("message") or None,
    }


def call_answer(job: Job) -> tuple[str, dict[str, Any]]:
    """Give what the method Call answers when a job has ended: the error, or "", and the parameters."""
    name, state = job.record["name"], job.state()
    why, message = state.get("why", ""), str(state.get("message", ""))
    if not why:
        result = {key: state.get(key) for key in ("exit", "stdout", "stderr", "truncated", "duration", "result")}
        return "", result
    if why == keeper.CANNOT_START and message.startswith(REFUSED):
        parameter, _colon, text = message[len(REFUSED) :].partition(": ")
        return interface.BAD_PARAMETER, {"parameter": parameter, "message": text}
    if why == keeper.RAISED:
        return interface.FAILED, {"operation": name, "type": state.get("kind", ""), "message": message}
    if why in (keeper.TIMEOUT, keeper.ABANDONED):
        abandoned = why == keeper.ABANDONED
        return interface.TIMEOUT, {"operation": name, "seconds": state.get("duration", 0.0), "abandoned": abandoned}
    if why == store.CANCELLED:
        return interface.CANCELLED, {"operation": name, "id": job.record["id"]}
    if why == store.LOST:
        return interface.OUTCOME_UNKNOWN, {"operation": name, "id": job.record["id"]}
    return interface.CANNOT_START, {"operation": name, "message": message}
