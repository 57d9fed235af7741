# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a normalised definition and its scripts to the files of a service directory. PRIVATE to the collection."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from .._definition.kinds import PATIENCE
from .._definition.schema import ACTIVE
from .guarding import HEALTH, PREFIX, beside, executes, guarding, stop_timeout, without

FORMAT = 1
EXECUTABLE = 0o755
PLAIN = 0o644

# What a running process is made of. A change of anything else takes effect without a new process, so that a service
# is not restarted for a better description or a longer time-out.
_OF_THE_PROCESS = (
    "command",
    "directory",
    "environment",
    "group",
    "groups",
    "kill",
    "limits",
    "nice",
    "oom_score_adjust",
    "runtime_directories",
    "security_context",
    "umask",
    "user",
)
_PROCESS_STATE = (
    "user",
    "group",
    "groups",
    "umask",
    "nice",
    "limits",
    "oom_score_adjust",
    "resources",
    "security_context",
    "runtime_directories",
)
_SUPERVISION = (
    "state",
    "type",
    "interval",
    "restart",
    "backoff",
    "failure_limit",
    "stop_signal",
    "stop_timeout",
    "finish_timeout",
    "kill",
    "reload_signal",
    "on_change",
)


def build(service: Mapping[str, Any], run_text: str, scripts: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return one entry of payload.services.

    service is the normalised definition, run_text the content of run; scripts has the content of finish, check and
    health where the definition asks for them, and of the run of the user's template where a guard comes before that.
    Nothing in the entry holds the value of a secret.
    """
    inner, service = service, _seen_by_the_supervisor(service)
    files = {"run": _script(run_text)}
    prefix = PREFIX if guarding(inner) else ""
    for name, text in (scripts or {}).items():
        files[prefix + name] = _script(text)
    if service["state"] in ("stopped", "once"):
        files["down"] = _file("")
    readiness = service["readiness"]
    if readiness["notification_fd"] is not None:
        files["notification-fd"] = _line(readiness["notification_fd"])
    files["timeout-kill"] = _line(_milliseconds(service["stop_timeout"]))
    if service["finish"]:
        files["timeout-finish"] = _line(_milliseconds(service["finish_timeout"]))
    if service["stop_signal"] != "TERM":
        files["down-signal"] = _line(service["stop_signal"])
    secrets = sorted(service["secret_environment"])
    name = service["name"]
    return {
        "holdfast": _record(service, inner, (scripts or {}).get("run", run_text), files, secrets),
        "files": files,
        "secret_files": {f"env/{secret}": f"{name}/{secret}" for secret in secrets},
        "verify": _verify(inner),
        "timeout": _timeout(service),
    }


def definition_hash(service: Mapping[str, Any], run_text: str) -> str:
    """Return the hash of what the running process depends on: equal hashes need no new process.

    Names of secrets count, their values do not. The text of run counts only if it came from the user's template.
    """
    content: dict[str, Any] = {key: service[key] for key in _OF_THE_PROCESS}
    # Other limits are given to the running process; only whether it is in a control group is decided at its start.
    content["resources"] = "limited" if _resources(service) else None
    content["secret_environment"] = sorted(service["secret_environment"])
    content["notification_fd"] = service["readiness"]["notification_fd"]
    if service["health"] and service["health"]["heartbeat_fd"] is not None:
        content["heartbeat_fd"] = service["health"]["heartbeat_fd"]
    content["output"] = service["log"]["to"] != "none"
    if guarding(service):
        content.update(_of_the_guard(service))
    if service["type"] == "oneshot":
        content["oneshot"] = service["stop_command"]
    elif service["type"] == "getty":
        content["getty"] = service["tty"]
    if service["template"]:
        content["run"] = _hash(run_text)
    return _hash(json.dumps(content, sort_keys=True, separators=(",", ":")))


def _of_the_guard(service: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the guard reads once, when it is started."""
    return {"lease": [service[key] for key in ("lease", "stop_signal", "stop_timeout")], "beside": beside(service)}


def _seen_by_the_supervisor(service: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the definition of the process that the supervisor starts: the service, or its guard.

    What gets the lease and then becomes the service applies its process state itself, and is stopped as the service is. A guard
    keeps the supervisor's privileges and gives them up for the service. It needs some time after the
    service's own end, and nobody but it may kill the service: that would leave the lease for others to find.
    """
    if not guarding(service):
        return service
    stateless = {**service, **dict.fromkeys(_PROCESS_STATE), "limits": {}, "runtime_directories": []}
    if executes(service):
        return stateless
    return {
        **stateless,
        **without(service),
        "stop_signal": "TERM",
        "stop_timeout": stop_timeout(service),
        "kill": "group",
    }


def _record(
    service: Mapping[str, Any], inner: Mapping[str, Any], run_text: str, files: Mapping[str, Any], secrets: list[str]
) -> dict[str, Any]:
    """Return holdfast.json, but for the revision, which only the host knows."""
    readiness = service["readiness"]
    health = service["health"]
    record = {
        "format": FORMAT,
        "owner": "services",
        "name": service["name"],
        "description": service["description"],
        "definition": definition_hash(inner, run_text),
        "files": {name: _hash(file["content"]) for name, file in files.items()},
        "secrets": secrets,
        "process": {**{key: service[key] for key in _PROCESS_STATE}, "resources": _resources(service)},
        "readiness": {
            "notification_fd": readiness["notification_fd"],
            "check": readiness["check"] is not None,
            "interval": readiness["interval"],
            "grace": readiness["grace"],
            "timeout": _timeout(service),
        },
        "health": None if health is None else {key: health[key] for key in HEALTH},
        "needs": list(service["needs"]),
        "log": service["log"],
    }
    active = [name for name, wanted in service["needs"].items() if wanted == ACTIVE]
    if active:
        record["needs_active"] = active
    for key in _SUPERVISION:
        record[key] = service[key]
    lease = guarding(inner)
    if lease:
        process = {**{key: inner[key] for key in _PROCESS_STATE}, "resources": _resources(inner)}
        record["lease"] = {**lease, **beside(inner), "process": process}
        if inner["on_change"] == "reload":
            # The guard tells it, so that nobody takes for reloaded what needs another guard.
            record["lease"]["guard"] = _hash(json.dumps(_of_the_guard(inner), sort_keys=True))
    return record


def _timeout(service: Mapping[str, Any]) -> float:
    """Return how long the service may take until it is ready; the command of a oneshot is ended in time to be heard of."""
    timeout: float = service["readiness"]["timeout"]
    return timeout + PATIENCE if service["type"] == "oneshot" else timeout


def _resources(service: Mapping[str, Any]) -> dict[str, Any]:
    """Return the limits of the control group that are asked for."""
    return {key: value for key, value in (service["resources"] or {}).items() if value is not None}


def _verify(service: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the host has to have before anything is changed."""
    directories = service["runtime_directories"]
    health = service["health"]
    checked = service["command_check"]
    return {
        "command": _program(service, service["command"]) if checked else None,
        "check": _program(service, service["readiness"]["check"]) if checked else None,
        "health": _program(service, health["check"] if health else None) if checked else None,
        "finish": _program(service, service["finish"]) if checked else None,
        "stop_command": _program(service, service["stop_command"]) if checked else None,
        "tty": service["tty"] if checked else None,
        "path": service["environment"].get("PATH"),
        "users": _accounts(service["user"], *(item["user"] for item in directories)),
        "groups": _accounts(service["group"], *(service["groups"] or ()), *(item["group"] for item in directories)),
        "directory": service["directory"] if checked else None,
    }


def _program(service: Mapping[str, Any], argv: list[str] | None) -> str | None:
    """Return the program of a command: an absolute path, or a name to look for in PATH."""
    if not argv:
        return None
    program = argv[0]
    if "/" in program and not program.startswith("/"):
        return f"{service['directory']}/{program}"
    return program


def _accounts(*names: str | None) -> list[str]:
    return sorted({name for name in names if name is not None})


def _script(text: str) -> dict[str, Any]:
    return {"content": text, "mode": EXECUTABLE}


def _file(text: str) -> dict[str, Any]:
    return {"content": text, "mode": PLAIN}


def _line(value: object) -> dict[str, Any]:
    return _file(f"{value}\n")


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
