# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table of logs: one ``NAME.json`` per log, written by the supervisor."""

from __future__ import annotations

import os

from ..._lean import json
from .stamps import FORMATS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SUFFIX = ".json"
DESTINATIONS = ("directory", "syslog", "journald")
DEFAULT_SIZE = 1_000_000
DEFAULT_COUNT = 10
LONGEST_NAME = 64
_NAME_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.@:+-")


class Settings:
    """What the supervisor wants of one log.

    ``size`` (bytes) and ``age`` (seconds) rotate, ``count`` (files) and ``keep`` (seconds) prune; None switches one off.
    ``socket`` replaces the usual address of syslog or journald.
    """

    __slots__ = ("age", "count", "directory", "format", "keep", "name", "size", "socket", "to")

    def __init__(self, name: str, log: dict[str, Any]) -> None:
        """Check and take over ``log``; ValueError names the key that is wrong."""
        self.name = name
        self.to: str = log.get("to") or "directory"
        if self.to not in DESTINATIONS:
            raise ValueError(f"to: {self.to!r} is none of {', '.join(DESTINATIONS)}")
        self.directory: str = log.get("directory") or ""
        if self.to == "directory" and (not isinstance(self.directory, str) or not self.directory.startswith("/")):
            raise ValueError(f"directory: {self.directory!r} is not an absolute path")
        self.format: str = log.get("format") or "iso"
        if self.format not in FORMATS:
            raise ValueError(f"format: {self.format!r} is none of {', '.join(FORMATS)}")
        self.socket: str | None = log.get("socket")
        if self.socket is not None and not isinstance(self.socket, str):
            raise ValueError(f"socket: {self.socket!r} is not a path")
        self.size = _number(log, "size", DEFAULT_SIZE)
        self.count = _number(log, "count", DEFAULT_COUNT)
        self.age = _number(log, "age", None)
        self.keep = _number(log, "keep", None)

    def record(self) -> bytes:
        """The settings as JSON that ``from_record`` reads: kept in the spool, so that a chunk needs no table."""
        values: dict[str, str | int | float | None] = {key: getattr(self, key) for key in self.__slots__}
        return json.dumps(values).encode("ascii")

    def same_place(self, other: Settings) -> bool:
        """Whether both write to the same destination, so that a change needs no new output."""
        return (self.to, self.directory, self.socket) == (other.to, other.directory, other.socket)


def _number(log: dict[str, Any], key: str, default: float | None) -> float | None:
    if key not in log:
        return default
    value = log[key]
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
        raise ValueError(f"{key}: {value!r} is not a number of at least 0")
    return value


def from_record(record: bytes) -> Settings:
    """The settings that ``Settings.record`` wrote; ValueError if they are damaged."""
    values = json.loads(record.decode("ascii"))
    if not isinstance(values, dict) or not isinstance(values.get("name"), str):
        raise ValueError("damaged record")
    return Settings(values["name"], values)


def valid(name: str) -> bool:
    """Whether ``name`` may be the name of a log: it becomes a part of paths."""
    return 0 < len(name) <= LONGEST_NAME and name[0] not in ".@:+-" and _NAME_CHARACTERS.issuperset(name)


def names(directory: int) -> list[str]:
    """The names of all logs in the table (a directory's descriptor), sorted."""
    found = (entry[: -len(SUFFIX)] for entry in os.listdir(directory) if entry.endswith(SUFFIX))
    return sorted(name for name in found if valid(name))


def read(directory: int, name: str) -> tuple[str, Settings]:
    """FIFO and settings of the log ``name``.

    FileNotFoundError if the table has none, ValueError if the entry says something impossible.
    """
    descriptor = os.open(name + SUFFIX, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=directory)
    try:
        parts = []
        while part := os.read(descriptor, 65536):
            parts.append(part)
    finally:
        os.close(descriptor)
    entry = json.loads(b"".join(parts).decode("utf-8"))
    if not isinstance(entry, dict) or not isinstance(entry.get("log"), dict):
        raise ValueError("log: a mapping is missing")
    fifo = entry.get("fifo")
    if not isinstance(fifo, str) or not fifo.startswith("/"):
        raise ValueError(f"fifo: {fifo!r} is not an absolute path")
    return fifo, Settings(name, entry["log"])
