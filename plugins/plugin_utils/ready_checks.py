# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What ready operations may be narrowed to. PRIVATE to the collection."""

from __future__ import annotations

import re
from typing import Any

LINK = r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,14}"
WORD = r"[a-z][a-z-]{0,30}"
SERVICE = r"[A-Za-z0-9][A-Za-z0-9_@-]{0,100}(\.service)?"
IDENTIFIER = r"[A-Za-z][A-Za-z0-9_]{0,30}"
OWNER = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,31})?|:[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}"
NUMBER = r"[0-9]{1,5}"
DEVICE = r"[A-Za-z][A-Za-z0-9_-]{0,30}"
_FILESYSTEM = r"[a-z][a-z0-9_.]{0,30}"
_OPTION = r"[a-z0-9_]+(=[A-Za-z0-9_.:/@+-]+)?"
_KEY = r"[a-z0-9_]+(\.[A-Za-z0-9_/-]+)+"

#: Options of a mount that give others power over it, or take back what is always set.
_REFUSED_OPTIONS = {"suid", "dev", "remount", "move", "bind", "rbind", "user", "users", "owner", "group", "defaults"}
#: Parameters of the kernel that run programs, or on whose default the safety of paths rests.
_REFUSED_KEYS = re.compile(
    r"kernel\.(core_pattern|core_pipe_limit|modprobe|hotplug|poweroff_cmd|usermodehelper\..*|sysrq)"
    r"|fs\.(binfmt_misc\..*|protected_.*|suid_dumpable)|.*/.*\.\..*"
).fullmatch


class Wrong(Exception):
    """A ready operation is not what it may be; `found` has a line for each point."""

    def __init__(self, found: list[str]) -> None:
        super().__init__("\n".join(found))
        self.found = found


class Section:
    """One ready operation of inventory; what nobody has taken from it is in `rest`."""

    def __init__(self, path: str, values: dict[str, Any]) -> None:
        self.path = path
        self.rest = values
        self.found: list[str] = []

    def wrong(self, key: str, allowed: str, value: object = None) -> None:
        """Note that a key is not what is allowed."""
        shown = f"{value!r}: " if isinstance(value, (str, int)) and len(repr(value)) <= 80 else ""
        self.found.append(f"{self.path}.{key}: {shown}{allowed}")

    def take(self, key: str, default: Any) -> Any:
        """Give a value that somebody else judges."""
        return self.rest.pop(key, default)

    def names(self, key: str, pattern: str, single: bool = False) -> list[str]:
        """Give a list of names, which must not be empty; *single*: it is one name in inventory."""
        values = self.rest.pop(key, None)
        if single:
            values = [values]
        if not isinstance(values, list) or not values:
            self.wrong(key, "is to be a list of names: this operation has to be narrowed", values)
            return []
        names = [str(one) if isinstance(one, int) and not isinstance(one, bool) else one for one in values]
        for one in names:
            if not isinstance(one, str) or not re.fullmatch(pattern, one):
                self.wrong(key, f"is to match {pattern}", one)
        return [one for one in names if isinstance(one, str)]

    def integer(self, key: str, low: int, high: int, default: int) -> int:
        """Give a whole number."""
        value = self.rest.pop(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            self.wrong(key, f"a whole number from {low} to {high}", value)
            return default
        return value

    def choice(self, key: str, choices: tuple[str, ...], default: str) -> str:
        """Give one of *choices*."""
        value = self.rest.pop(key, default)
        if value not in choices:
            self.wrong(key, f"one of {', '.join(choices)}", value)
        return str(value)

    def boolean(self, key: str) -> bool:
        """Give true or false; false without it."""
        value = self.rest.pop(key, False)
        if not isinstance(value, bool):
            self.wrong(key, "true or false", value)
        return bool(value)

    def program(self, default: str) -> str:
        """Give the program that does it."""
        return str(self.rest.pop("program", default))


def _is_path(value: object) -> bool:
    if not isinstance(value, str) or not value.startswith("/") or value == "/":
        return False
    parts = value[1:].split("/")
    return not any(part in ("", ".", "..") or not part.isprintable() for part in parts)


def mounts(section: Section) -> dict[str, dict[str, Any]]:
    """Give the mounts that may be made, by name."""
    table = section.take("mounts", None)
    if not isinstance(table, dict) or not table:
        section.wrong("mounts", "is to be a dictionary: name to source, target and type", table)
        return {}
    made = {}
    for name, one in table.items():
        key = f"mounts.{name}"
        if not isinstance(one, dict) or not set(one) <= {"source", "target", "type", "options"}:
            section.wrong(key, "is to have source, target, type, and may have options")
            continue
        source, options = one.get("source"), one.get("options", [])
        if not isinstance(source, str) or not source.isprintable() or source[:1] in ("", "-"):
            section.wrong(f"{key}.source", "a device, a folder or what the file system has as its source", source)
        if not _is_path(one.get("target")):
            section.wrong(f"{key}.target", "an absolute path in its shortest form, not '/'", one.get("target"))
        if not isinstance(one.get("type"), str) or not re.fullmatch(_FILESYSTEM, one["type"]):
            section.wrong(f"{key}.type", "a type of file system, or bind", one.get("type"))
        elif one["type"] == "bind" and not _is_path(source):
            section.wrong(f"{key}.source", "an absolute path in its shortest form", source)
        if not isinstance(options, list):
            section.wrong(f"{key}.options", "a list", options)
            options = []
        if one.get("type") == "bind" and not set(map(str, options)) <= {"ro", "noexec"}:
            section.wrong(
                f"{key}.options", "a bind mount has ro and noexec, beside nosuid and nodev, which are always set"
            )
        for option in options:
            word = str(option).partition("=")[0]
            if not isinstance(option, str) or not re.fullmatch(_OPTION, option) or word in _REFUSED_OPTIONS:
                section.wrong(f"{key}.options", "is not allowed; nosuid and nodev are always set", option)
        made[str(name)] = {"source": source, "target": one.get("target"), "type": one.get("type"), "options": options}
    return made


def modes(section: Section) -> list[str]:
    """Give the modes that files may get."""
    found = section.names("modes", r"0?[0-7]{3}")
    for one in found:
        if int(one, 8) & 0o002 if re.fullmatch("[0-7]+", one) else False:
            section.wrong("modes", "lets everybody write", one)
    return found


def kernel_parameters(section: Section) -> dict[str, Any]:
    """Give the keys that may be set, and to what: a pattern, or a range."""
    table = section.take("keys", None)
    if not isinstance(table, dict) or not table:
        section.wrong("keys", "is to be a dictionary: key to pattern, or to {minimum, maximum}", table)
        return {}
    for key, allowed in table.items():
        if not isinstance(key, str) or not re.fullmatch(_KEY, key):
            section.wrong(f"keys.{key}", "no name of a kernel parameter")
        elif _REFUSED_KEYS(key):
            section.wrong(f"keys.{key}", "is refused: it makes the kernel run programs, or takes a protection away")
        if isinstance(allowed, dict):
            if set(allowed) != {"minimum", "maximum"} or not all(isinstance(one, int) for one in allowed.values()):
                section.wrong(f"keys.{key}", "is to have minimum and maximum, whole numbers")
            continue
        try:
            re.compile(allowed)
        except (TypeError, re.error):
            section.wrong(f"keys.{key}", "is to be a pattern, or {minimum, maximum}", allowed)
    return table


def fence_nodes(section: Section) -> dict[str, dict[str, Any]]:
    """Give the nodes that may be fenced, each with agent, parameters and the file of the password."""
    agent = section.take("agent", None)
    if not _is_path(agent):
        section.wrong("agent", "the program, by its absolute path", agent)
    common, nodes = section.take("options", {}), section.take("nodes", None)
    secret = section.take("password_file", "")
    if secret and not _is_path(secret):
        section.wrong("password_file", "an absolute path", secret)
    if not isinstance(nodes, dict) or not nodes or not isinstance(common, dict):
        section.wrong("nodes", "is to be a dictionary: node to the agent's options for it, beside those in `options`")
        return {}
    made = {}
    for name, one in nodes.items():
        if not isinstance(one, dict):
            section.wrong(f"nodes.{name}", "is to be a dictionary: option to value")
            continue
        parameters = {str(key): str(value) for key, value in {**common, **one}.items()}
        for key, value in parameters.items():
            if not re.fullmatch(r"[a-z][a-z0-9_-]*", key) or key in ("action", "option", "password", "passwd"):
                section.wrong(f"nodes.{name}.{key}", "is not for here; a password is in a file: password_file")
            if not value.isprintable():
                section.wrong(f"nodes.{name}.{key}", "text without control characters")
        made[str(name)] = {"agent": agent, "parameters": parameters, "password_file": secret}
    return made
