# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading of what a lease is for: a name or a disk, and how it is held. PRIVATE to the collection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._lease.modes import DISK, EXCLUSIVE_MODE, MODES, disk, split
from . import values
from .names import NAME_RULE, is_name
from .problem import Problem, nearest, shown
from .values import Wrong

#: What names a resource of a type.
_NAMED_BY = {"name": "name", "disk": "path"}
_KEYS = ("type", "name", "path", "mode")


def resource(item: Any, where: str, found: list[Problem]) -> tuple[str, str]:
    """Return name and mode; the name of a disk is disk:PATH. Of one that is wrong the name is its place, as no other has it."""
    before = len(found)
    name, mode = _section(item, where, found) if isinstance(item, Mapping) else _text(item, where, found)
    return (name, mode) if len(found) == before else (where, "")


def _text(item: Any, where: str, found: list[Problem]) -> tuple[str, str]:
    name, mode = split(item) if isinstance(item, str) else ("", "")
    path = disk(name)
    if path:
        return _disk(path, where, found), mode
    if not is_name(name):
        advice = f"for a disk: {DISK}{item}" if isinstance(item, str) and item.startswith("/") else ""
        allowed = f"must be a name or disk:PATH, and :shared or :readonly behind it: {NAME_RULE}"
        found.append(Problem(where, shown(item), allowed, advice))
    return name, mode


def _section(item: Mapping[Any, Any], where: str, found: list[Problem]) -> tuple[str, str]:
    for key in item:
        if key not in _KEYS:
            found.append(Problem(f"{where}.{key}", "", "unknown key", nearest(str(key), _KEYS)))
    mode = _one_of(item.get("mode", EXCLUSIVE_MODE), MODES, f"{where}.mode", found)
    kind = _one_of(item.get("type", "name"), tuple(_NAMED_BY), f"{where}.type", found)
    for key in _NAMED_BY.values():
        if kind and (key in item) != (_NAMED_BY[kind] == key):
            allowed = f"is not of type {kind}" if key in item else f"is missing: a resource of type {kind} has it"
            found.append(Problem(f"{where}.{key}", shown(item.get(key, "")), allowed))
            kind = ""
    if kind == "disk":
        return _disk(item["path"], f"{where}.path", found), mode
    if kind and not is_name(item["name"]):
        found.append(Problem(f"{where}.name", shown(item["name"]), f"must be a name: {NAME_RULE}"))
    return str(item.get("name")), mode


def _one_of(value: Any, choices: Sequence[str], where: str, found: list[Problem]) -> str:
    if isinstance(value, str) and value in choices:
        return value
    found.append(Problem(where, shown(value), "must be one of " + ", ".join(choices), nearest(str(value), choices)))
    return ""


def _disk(path: Any, where: str, found: list[Problem]) -> str:
    try:
        return DISK + values.path(path)
    except Wrong as wrong:
        found.append(Problem(where, shown(path), wrong.allowed, wrong.advice))
        return ""
