# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The body of the module services, and of those that stand in for it: arguments in, result out. PRIVATE to the collection.

Each brings along some backends only, since a task sends to a host all the code that it may need.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable
from typing import Any

from .._supervise.interface import Backend
from .._supervise.presence import AUTO, which
from .converge import converge
from .mask import Mask
from .patience import complaint
from .places import OPTIONS, log_directory, runtime_directory, scan_directory
from .request import BadPayload, Request, read

#: What all these modules take; the action plugin has read some of it.
SPEC: dict[str, Any] = {
    "services": {"type": "dict"},
    "defaults": {"type": "dict"},
    "prune": {"type": "bool", "default": False},
    "log_directory": {"type": "path"},
    "runtime_directory": {"type": "path"},
    "timeout": {"type": "float"},
    "command_check": {"type": "bool", "default": True},
    "offline": {"type": "bool", "default": False},
    "payload": {"type": "str", "no_log": True},
    "secrets": {"type": "dict", "no_log": True},
    **OPTIONS,
}


def run(module: Any, backends: Iterable[type[Backend]]) -> None:
    """Do the task as *module* (an AnsibleModule) and end it."""
    # Results are masked where secrets can be; replaced everywhere, a short one would destroy names and states.
    module.no_log_values.clear()
    result = services(module.params, backends, check_mode=module.check_mode, with_diff=module._diff)
    for warning in result.pop("warnings", ()):
        module.warn(warning)
    if result.get("failed"):
        module.fail_json(**result)
    module.exit_json(**result)


def services(
    parameters: dict[str, Any], backends: Iterable[type[Backend]], *, check_mode: bool, with_diff: bool
) -> dict[str, Any]:
    """Do the task with one of *backends*. With `failed` in the result it is to fail.

    Where none of them supervises the scan directory, nothing is done, and `elsewhere` in the result names the one that does.
    """
    # Many small objects and no cycles: looking for garbage takes a fifth of the time with 2 000 services.
    collecting = gc.isenabled()
    gc.disable()
    try:
        return _services(parameters, backends, check_mode, with_diff)
    finally:
        if collecting:
            gc.enable()


def _services(
    parameters: dict[str, Any], backends: Iterable[type[Backend]], check_mode: bool, with_diff: bool
) -> dict[str, Any]:
    scan = scan_directory(parameters["scan_directory"])
    if parameters["payload"] is None:
        return {
            "failed": True,
            "msg": "there is no payload: this module is run by its action plugin, which makes one from the definitions",
        }
    wrong = complaint(parameters["timeout"])
    if wrong:
        return {"failed": True, "changed": False, "msg": f"{wrong}; nothing was changed"}
    name = which(scan) if parameters["backend"] == AUTO else parameters["backend"]
    backend = next((one(scan) for one in backends if one.name == name), None)
    if backend is None:
        return {"changed": False, "elsewhere": name, "invocation": {"module_args": {"scan_directory": scan}}}
    secrets = parameters["secrets"] or {}
    try:
        content = read(parameters["payload"], secrets, log_directory(parameters["log_directory"]))
    except BadPayload as error:
        return {"failed": True, "msg": str(error)}
    request = Request(
        scan,
        content.services,
        content.absent,
        prune=parameters["prune"],
        timeout=parameters["timeout"],
        command_check=parameters["command_check"],
        offline=parameters["offline"],
        check_mode=check_mode,
        with_diff=with_diff,
        mask=Mask(str(value) for value in secrets.values()),
        having=content.having,
        runtime=runtime_directory(parameters.get("runtime_directory")),
    )
    result = converge(request, backend)
    # Otherwise Ansible would send all arguments back, the payload among them.
    result["invocation"] = {
        "module_args": {"scan_directory": scan, "services": len(content.services), "prune": request.prune}
    }
    return result
