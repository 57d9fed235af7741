# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The bodies of the modules helper_call and job_info. PRIVATE to the collection."""

from __future__ import annotations

from .._plan.patience import refusal
from .client import Helper, HelperError, HelperGone, OutcomeUnknown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def call(options: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Do the task. With `failed` the result says in `msg` what is wrong.

    In check mode only pure operations are called; of the others nothing is known but that they would be.
    """
    wrong = refusal("wait", options["wait"])
    if wrong:
        return {"failed": True, "msg": wrong}
    helper = Helper(options["socket"], first_launch=options["wait"])
    parameters = {**(options["parameters"] or {}), **(options["secret_parameters"] or {})}
    try:
        known = {one["name"]: one for one in helper.operations()}
        operation = known.get(options["operation"])
        if operation is None:
            allowed = ", ".join(sorted(known)) or "none"
            return {
                "failed": True,
                "msg": f"{options['operation']}: not an operation for this user; those are: {allowed}",
            }
        pure = operation["idempotency"] == "pure"
        if check_mode and not pure:
            return {"changed": True, "skipped": True, "msg": f"{operation['name']} would be called"}
        if options["asynchronous"]:
            job = helper.start(operation["name"], parameters, options["id"] or "")
            return {"changed": not pure, "job": job}
        result = helper.call(operation["name"], parameters, options["id"] or "")
    except OutcomeUnknown as error:
        return {"failed": True, "changed": True, "msg": str(error), "error": error.name, "id": error.id}
    except HelperError as error:
        return _refused(error, options["operation"])
    done = {
        "changed": not pure,
        "rc": result["exit"],
        "stdout": result["stdout"],
        "stderr": result["stderr"],
        "truncated": result["truncated"],
        "duration": result["duration"],
    }
    if result.get("result") is not None:
        done["result"] = result["result"]
    if result["exit"] != 0:
        done.update(failed=True, msg=f"{operation['name']}: {_ending(result['exit'])}")
    return done


def jobs(options: dict[str, Any]) -> dict[str, Any]:
    """Do the task of job_info: give the jobs, or the one that is asked for."""
    wrong = refusal("wait", options["wait"]) or refusal("timeout", options["timeout"])
    if wrong:
        return {"failed": True, "msg": wrong}
    helper = Helper(options["socket"], first_launch=options["wait"], answer=options["timeout"])
    try:
        if options["id"] is None:
            return {"changed": False, "jobs": helper.jobs()}
        try:
            job = helper.job(options["id"], wait=options["until_ended"], user=options["user"])
        except HelperGone:
            # Told apart from a helper that is not there: the job goes on.
            job = helper.job(options["id"], user=options["user"])
            if job["state"] not in ("queued", "running"):
                return {"changed": False, "jobs": [job]}
            text = f"{options['id']}: still {job['state']} after {options['timeout']:g} s"
            return {"failed": True, "msg": text, "jobs": [job]}
    except HelperError as error:
        return _refused(error, "")
    return {"changed": False, "jobs": [job]}


def _refused(error: HelperError, operation: str) -> dict[str, Any]:
    """Give the result of a call that was not made, or failed: with the operation, which not every error names."""
    text = str(error)
    if isinstance(error, HelperGone):
        text += "; the role holdfast.supervision.helper puts one there, where helper_operations has any"
    elif operation and not text.startswith(f"{operation}:"):
        text = f"{operation}: {text}"
    return {"failed": True, "msg": text, "error": error.name}


def _ending(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"ended by signal {-code}"
