# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a definition to the full record: every key has its canonical value. PRIVATE to the collection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import validate
from .kinds import as_processes
from .schema import BY_NAME, KEYS, Key


def _defaults(keys: tuple[Key, ...]) -> dict[str, Any]:
    return {key.name: _default(key) for key in keys}


def _default(key: Key) -> Any:
    if key.kind in ("section", "log") and key.default is not None:
        return _defaults(key.keys)
    return key.default


_ALL = _defaults(KEYS)
_HEALTH = _defaults(BY_NAME["health"].keys)
_HOOKS = _defaults(BY_NAME["hooks"].keys)
_LEASE = _defaults(BY_NAME["lease"].keys)
_RUNTIME_DIRECTORY = _defaults(BY_NAME["runtime_directories"].keys)


def normalise(name: str, definition: Mapping[str, Any], context: Mapping[str, Any]) -> dict[str, Any]:
    """Return the normalised definition: canonical values, all keys of the schema, and the name.

    The definition must be free of problems; ValueError otherwise. context may have log_directory (absolute), under
    which the logs of services are, and lease, what all leases have in common. Without log_directory log.directory may
    be None, and the host decides.
    """
    given, problems = validate.read(name, definition, name)
    if problems:
        raise ValueError("; ".join(problem.text() for problem in problems))
    return complete(name, given, context)


def complete(name: str, given: Mapping[str, Any], context: Mapping[str, Any]) -> dict[str, Any]:
    """Return the normalised definition from the canonical values that validate.read gave."""
    result = {**_ALL, **given, "name": name}
    for section in ("backoff", "failure_limit", "readiness", "log"):
        if section in given:
            result[section] = {**_ALL[section], **given[section]}
    if "health" in given:
        result["health"] = {**_HEALTH, **given["health"]}
    if "hooks" in given:
        result["hooks"] = {**_HOOKS, **given["hooks"]}
    if "lease" in given:
        result["lease"] = _lease(given["lease"], context.get("lease") or {})
        result["lease"]["resources"] = result["lease"]["resources"] or [name]
    if "runtime_directories" in given:
        result["runtime_directories"] = [_runtime_directory(item, result) for item in given["runtime_directories"]]
    if not context.get("command_check", True):
        result["command_check"] = False
    result.update(as_processes(given, result))
    log_directory = context.get("log_directory")
    if result["log"]["to"] == "directory" and result["log"]["directory"] is None and log_directory:
        result["log"] = {**result["log"], "directory": f"{log_directory}/{name}"}
    return result


def _lease(given: Mapping[str, Any], common: Mapping[str, Any]) -> dict[str, Any]:
    usual = common.get("driver", _LEASE["driver"])
    if given.get("driver", usual) != usual:
        # Time and parameters are for the driver that the others have.
        common = {}
    parameters = {**common.get("parameters", {}), **given.get("parameters", {})}
    if "directory" in given and "directory" not in given.get("parameters", {}):
        # What a lease says itself is not told otherwise by the directory of all others.
        parameters.pop("directory", None)
    return {**_LEASE, **common, **given, "parameters": parameters}


def _runtime_directory(given: Mapping[str, Any], service: Mapping[str, Any]) -> dict[str, Any]:
    result = {**_RUNTIME_DIRECTORY, **given}
    if result["user"] is None:
        result["user"] = service["user"]
        if result["group"] is None:
            result["group"] = service["group"]
    return result
