# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The body of the module services: arguments in, result out. PRIVATE to the collection."""

from __future__ import annotations

import gc
from typing import Any

from .._supervise.backends import choose
from .converge import converge
from .mask import Mask
from .places import log_directory, runtime_directory, scan_directory
from .request import BadPayload, Request, read


def services(parameters: dict[str, Any], *, check_mode: bool, with_diff: bool) -> dict[str, Any]:
    """Do the task of the module services; with `failed` in the result it is to fail."""
    # Many small objects and no cycles: looking for garbage takes a fifth of the time with 2 000 services.
    collecting = gc.isenabled()
    gc.disable()
    try:
        return _services(parameters, check_mode=check_mode, with_diff=with_diff)
    finally:
        if collecting:
            gc.enable()


def _services(parameters: dict[str, Any], *, check_mode: bool, with_diff: bool) -> dict[str, Any]:
    scan = scan_directory(parameters["scan_directory"])
    if parameters["payload"] is None:
        return {
            "failed": True,
            "msg": "there is no payload: this module is run by its action plugin, which makes one from the definitions",
        }
    secrets = parameters["secrets"] or {}
    try:
        wanted, absent = read(parameters["payload"], secrets, log_directory(parameters["log_directory"]))
    except BadPayload as error:
        return {"failed": True, "msg": str(error)}
    request = Request(
        scan,
        wanted,
        absent,
        prune=parameters["prune"],
        timeout=parameters["timeout"],
        command_check=parameters["command_check"],
        offline=parameters["offline"],
        check_mode=check_mode,
        with_diff=with_diff,
        mask=Mask(str(value) for value in secrets.values()),
        runtime=runtime_directory(parameters.get("runtime_directory")),
    )
    result = converge(request, choose(parameters["backend"], scan))
    # Otherwise Ansible would send all arguments back, the payload among them.
    result["invocation"] = {"module_args": {"scan_directory": scan, "services": len(wanted), "prune": request.prune}}
    return result
