# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a service directory says about its service. PRIVATE to the collection.

`holdfast.json` says it for the directories that this collection writes; any other directory is one of the daemontools
family, whose small files (`down-signal`, `notification-fd`, `timeout-kill`, `timeout-finish`) count.
"""

from __future__ import annotations

import json
import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Bytes that a settings file may have.
LIMIT = 1024 * 1024

#: Every process state that was read, by its JSON text.
_PROCESSES: dict[str, dict[str, Any]] = {}

RESTARTS = ("always", "on_failure", "never")
KILLS = ("process", "group", "tree")


class BadSettings(ValueError):
    """The directory's settings can't be used; the text says which and why."""


class Settings:
    """The settings of one service. Times in seconds; `names` is what the directory held when they were read.

    log: the JSON text that the log writer is to get, or None; log_to: its destination. There may be thousands of these
    objects: what many have in common is shared.
    """

    __slots__ = (
        "backoff_initial",
        "backoff_maximum",
        "death_limit",
        "death_window",
        "finish_timeout",
        "grace",
        "health",
        "heartbeat_fd",
        "identity",
        "interval",
        "kill",
        "leased",
        "log",
        "log_to",
        "managed",
        "names",
        "needs",
        "needs_active",
        "notification_fd",
        "process",
        "ready_check",
        "ready_interval",
        "ready_timeout",
        "reload_signal",
        "resources",
        "restart",
        "secrets",
        "signature",
        "stop_signal",
        "stop_timeout",
    )

    def __init__(self) -> None:
        self.managed = False
        self.identity = ""
        self.names: frozenset[str] = frozenset()
        self.signature: tuple[object, ...] = ()
        self.process: dict[str, Any] = {}
        self.resources: dict[str, Any] = {}
        self.secrets = False
        self.interval: float | None = None
        self.restart = "always"
        self.backoff_initial = 1.0
        self.backoff_maximum = 30.0
        self.death_limit = 0
        self.death_window = 60.0
        self.stop_signal = signal.SIGTERM.value
        self.stop_timeout = 0.0
        self.finish_timeout = 5.0
        self.kill = "process"
        self.leased = False
        self.reload_signal = signal.SIGHUP.value
        self.notification_fd: int | None = None
        self.ready_check = False
        self.ready_interval = 0.5
        self.grace = 0.5
        self.ready_timeout = 30.0
        self.health: dict[str, float] | None = None
        self.heartbeat_fd: int | None = None
        self.needs: tuple[str, ...] = ()
        self.needs_active: tuple[str, ...] = ()
        self.log: str | None = None
        self.log_to = ""


def signature(directory: str) -> tuple[object, ...]:
    """Give what tells a changed directory from an unchanged one without reading it. Raises OSError."""
    folder = os.stat(directory)
    try:
        file = os.stat(directory + "/holdfast.json")
        return folder.st_ino, folder.st_mtime_ns, file.st_ino, file.st_mtime_ns, file.st_size
    except FileNotFoundError:
        return folder.st_ino, folder.st_mtime_ns


def load(directory: str) -> Settings:
    """Read the settings of *directory*. Raises BadSettings, OSError."""
    settings = Settings()
    settings.signature = signature(directory)
    settings.names = frozenset(os.listdir(directory))
    if "holdfast.json" in settings.names:
        _managed(settings, directory)
    else:
        _plain(settings, directory)
    return settings


def _managed(settings: Settings, directory: str) -> None:
    try:
        data = json.loads(_read(directory + "/holdfast.json", LIMIT))
    except (ValueError, RecursionError) as error:
        raise BadSettings(f"holdfast.json: not JSON: {error}") from None
    if not isinstance(data, dict) or data.get("format") != 1:
        raise BadSettings("holdfast.json: not of format 1; it was written by another version of the collection")
    settings.managed = True
    settings.identity = f"{data.get('definition', '')}.{data.get('revision', 1)}"
    settings.process = _shared(_object(data, "process") or {})
    settings.secrets = "env" in settings.names
    settings.interval = _number(data, "interval", None)
    settings.restart = _choice(data, "restart", RESTARTS)
    backoff = _object(data, "backoff") or {}
    settings.backoff_initial = _number(backoff, "initial", 1.0) or 0.0
    settings.backoff_maximum = _number(backoff, "maximum", 30.0) or 0.0
    limit = _object(data, "failure_limit") or {}
    settings.death_limit = int(_number(limit, "deaths", 0) or 0)
    settings.death_window = _number(limit, "within", 60.0) or 0.0
    settings.stop_signal = _signal(data.get("stop_signal", "TERM"), "stop_signal")
    settings.reload_signal = _signal(data.get("reload_signal", "HUP"), "reload_signal")
    settings.stop_timeout = _number(data, "stop_timeout", 10.0) or 0.0
    settings.finish_timeout = _number(data, "finish_timeout", 5.0) or 0.0
    settings.kill = _choice(data, "kill", KILLS)
    lease = _object(data, "lease")
    settings.leased = lease is not None
    # A guard has no limits itself: they are for the service that it starts.
    process = settings.process if lease is None else _object(lease, "process") or {}
    settings.resources = {
        key: value for key, value in (_object(process, "resources") or {}).items() if value is not None
    }
    readiness = _object(data, "readiness") or {}
    descriptor = _number(readiness, "notification_fd", None)
    settings.notification_fd = None if descriptor is None else int(descriptor)
    settings.ready_check = bool(readiness.get("check"))
    settings.ready_interval = _number(readiness, "interval", 0.5) or 0.5
    settings.grace = _number(readiness, "grace", 0.5) or 0.0
    settings.ready_timeout = _number(readiness, "timeout", 30.0) or 0.0
    health = _object(data, "health")
    if health is not None:
        heartbeat = _number(health, "heartbeat_fd", None)
        settings.heartbeat_fd = None if heartbeat is None else int(heartbeat)
        settings.health = {
            "interval": _number(health, "interval", 10.0) or 10.0,
            "timeout": _number(health, "timeout", 5.0) or 5.0,
            "failures": _number(health, "failures", 3) or 1,
        }
    settings.needs, settings.needs_active = _names(data, "needs"), _names(data, "needs_active")
    log = _object(data, "log")
    if log is not None:
        settings.log = json.dumps(log, sort_keys=True)
        settings.log_to = sys.intern(str(log.get("to", "directory")))


def _shared(process: dict[str, Any]) -> dict[str, Any]:
    """Give one and the same object for equal process states."""
    return _PROCESSES.setdefault(json.dumps(process, sort_keys=True), process)


def _plain(settings: Settings, directory: str) -> None:
    for name, attribute in (("timeout-kill", "stop_timeout"), ("timeout-finish", "finish_timeout")):
        if name in settings.names:
            setattr(settings, attribute, _integer(directory, name) / 1000)
    if "notification-fd" in settings.names:
        settings.notification_fd = _integer(directory, "notification-fd")
    if "down-signal" in settings.names:
        settings.stop_signal = _signal(
            _read(directory + "/down-signal", 64).decode("ascii", "replace").strip(), "down-signal"
        )
    settings.ready_check = "check" in settings.names


def _read(path: str, limit: int) -> bytes:
    with open(path, "rb", buffering=0) as file:
        data = file.read(limit + 1) or b""
    if len(data) > limit:
        raise BadSettings(f"{os.path.basename(path)}: more than {limit} bytes")
    return data


def _integer(directory: str, name: str) -> int:
    text = _read(f"{directory}/{name}", 64).decode("ascii", "replace").strip()
    if not text.isdigit():
        raise BadSettings(f"{name}: {text!r} is not a whole number")
    return int(text)


def _object(data: dict[str, Any], key: str) -> dict[str, Any] | None:
    value = data.get(key)
    if value is not None and not isinstance(value, dict):
        raise BadSettings(f"holdfast.json: {key}: not an object")
    return value


def _names(data: dict[str, Any], key: str) -> tuple[str, ...]:
    value = data.get(key) or []
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise BadSettings(f"holdfast.json: {key}: not a list of names")
    return tuple(value)


def _number(data: dict[str, Any], key: str, default: float | None) -> float | None:
    value = data.get(key, default)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
        raise BadSettings(f"holdfast.json: {key}: {value!r} is not a number from 0 on")
    return value


def _choice(data: dict[str, Any], key: str, choices: tuple[str, ...]) -> str:
    value = data.get(key, choices[0])
    if value not in choices:
        raise BadSettings(f"holdfast.json: {key}: {value!r} is none of {', '.join(choices)}")
    return str(value)


def _signal(value: object, key: str) -> int:
    text = str(value)
    if text.isdigit() and 1 <= int(text) <= 64:
        return int(text)
    number = getattr(signal, "SIG" + text.upper().removeprefix("SIG"), None)
    if not isinstance(number, signal.Signals):
        raise BadSettings(f"{key}: {text!r} is no signal")
    return number.value
