# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the declaration of a parameter may say. PRIVATE to the collection."""

from __future__ import annotations

import re

from .declared import name
from .parameters import (
    DESCRIPTORS,
    LONGEST,
    MAX_LENGTH,
    BadParameter,
    check,
    cut_to,
    is_absolute,
    is_integer,
    is_number,
    is_text,
    network,
)

__all__ = ("DESCRIPTORS", "NAME", "Reader", "is_absolute", "is_integer", "is_number", "is_text", "name", "read")

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CREATE = ("file", "directory")
#: What a descriptor may be of, what it is to be open for, and as what a program finds it.
KINDS = ("file", "directory", "pipe", "socket", "character", "block")
ACCESS = ("read", "write", "read_write", "any")
FORM = ("path", "number", "input", "output")
#: Whether an address has a prefix length, as in 192.0.2.1/24.
PREFIX = ("none", "optional", "required")

_COMMON = {"type", "description", "required", "default", "no_log"}
_OF_TYPE = {
    "integer": {"minimum", "maximum"},
    "string": {"pattern", "max_length"},
    "boolean": {"flag"},
    "enum": {"values"},
    "path": {"within", "exists", "create", "cross_mounts"},
    "address": {"within", "prefix"},
    "descriptor": {"kinds", "access", "form"},
}
TYPES = tuple(_OF_TYPE)

NAME = "a name is 1 to 64 small letters, digits and single '_' between them, the first one a letter"


class Reader:
    """Collects what is wrong."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def wrong(self, path: str, allowed: str, value: object = None) -> None:
        """Note that what is at *path* is not what is *allowed*."""
        # Only short scalars are shown: a container may hold anything.
        shown = f"{value!r}: " if isinstance(value, (str, int, float)) and len(repr(value)) <= 80 else ""
        self.found.append(f"{path}: {shown}{allowed}")

    def keys(self, value: object, path: str, known: set[str]) -> bool:
        """Say whether *value* is a dictionary; keys that are not *known* are noted."""
        if not isinstance(value, dict):
            self.wrong(path, "is to be a dictionary", value)
            return False
        for key in value:
            if key not in known:
                self.wrong(f"{path}.{key}", f"there is no such key; known: {', '.join(sorted(known))}")
        return True

    def choice(self, section: dict[str, Any], key: str, path: str, choices: tuple[str, ...]) -> None:
        """Expect one of *choices*, if it is there."""
        if key in section and section[key] not in choices:
            self.wrong(f"{path}.{key}", f"one of {', '.join(choices)}", section[key])

    def boolean(self, section: dict[str, Any], key: str, path: str) -> None:
        """Expect true or false, if it is there."""
        if key in section and not isinstance(section[key], bool):
            self.wrong(f"{path}.{key}", "true or false", section[key])

    def text(self, section: dict[str, Any], key: str, path: str) -> None:
        """Expect a text, if it is there."""
        if key in section and not is_text(section[key]):
            self.wrong(f"{path}.{key}", "text without control characters", section[key])


def read(reader: Reader, parameter: object, path: str) -> None:
    """Note all that is wrong with the declaration of a parameter."""
    if not (isinstance(parameter, dict) and parameter.get("type") in TYPES):
        reader.wrong(f"{path}.type", f"one of {', '.join(TYPES)}")
        return
    reader.keys(parameter, path, _COMMON | _OF_TYPE[parameter["type"]])
    before = len(reader.found)
    reader.text(parameter, "description", path)
    reader.boolean(parameter, "required", path)
    reader.boolean(parameter, "no_log", path)
    _READERS[parameter["type"]](reader, parameter, path)
    if "default" in parameter and len(reader.found) == before:
        try:
            check(parameter, parameter["default"])
        except BadParameter as error:
            reader.wrong(f"{path}.default", str(error))


def _read_integer(reader: Reader, parameter: dict[str, Any], path: str) -> None:
    bounds = [parameter.get(key) for key in ("minimum", "maximum")]
    for key, bound in zip(("minimum", "maximum"), bounds):
        if not is_integer(bound):
            reader.wrong(f"{path}.{key}", "a whole number; both bounds are needed", bound)
    if all(is_integer(bound) for bound in bounds) and bounds[0] > bounds[1]:  # type: ignore[operator]
        reader.wrong(f"{path}.minimum", "is above the maximum", bounds[0])


def _read_string(reader: Reader, parameter: dict[str, Any], path: str) -> None:
    length = parameter.get("max_length", MAX_LENGTH)
    if not is_integer(length) or not 0 < length <= LONGEST:
        reader.wrong(f"{path}.max_length", f"1 to {LONGEST}", length)
    if "pattern" in parameter:
        try:
            re.compile(parameter["pattern"])
        except (TypeError, re.error) as error:
            reader.wrong(f"{path}.pattern", f"no regular expression: {error}", parameter["pattern"])


def _read_boolean(reader: Reader, parameter: dict[str, Any], path: str) -> None:
    if "flag" in parameter and not (is_text(parameter["flag"]) and parameter["flag"]):
        reader.wrong(f"{path}.flag", "the argument that stands for true", parameter["flag"])


def _read_enum(reader: Reader, parameter: dict[str, Any], path: str) -> None:
    values = parameter.get("values")
    if not (isinstance(values, list) and values and all(is_text(one) for one in values)):
        reader.wrong(f"{path}.values", "a list of texts", values)


def _read_path(reader: Reader, parameter: dict[str, Any], path: str) -> None:
    reader.boolean(parameter, "exists", path)
    reader.boolean(parameter, "cross_mounts", path)
    reader.choice(parameter, "create", path, CREATE)
    if "create" in parameter and "exists" in parameter:
        reader.wrong(f"{path}.create", "is made by the call, so that `exists` has no meaning", parameter["create"])
    if not is_absolute(parameter.get("within")) or parameter.get("within") == "/":
        reader.wrong(f"{path}.within", "an absolute path without '..', not '/'", parameter.get("within"))


def _read_address(reader: Reader, parameter: dict[str, Any], path: str) -> None:
    reader.choice(parameter, "prefix", path, PREFIX)
    networks = parameter.get("within")
    if not isinstance(networks, list) or not networks:
        reader.wrong(f"{path}.within", "a list of networks such as 192.0.2.0/24 or 2001:db8::/32", networks)
        return
    for number, one in enumerate(networks):
        parsed = network(one)
        if parsed is None or parsed[2] < 0:
            reader.wrong(f"{path}.within[{number}]", "no network such as 192.0.2.0/24 or 2001:db8::/32", one)
        elif parsed[1] != cut_to(parsed[1], parsed[0], parsed[2]):
            reader.wrong(f"{path}.within[{number}]", "has bits behind its prefix", one)


def _read_descriptor(reader: Reader, parameter: dict[str, Any], path: str) -> None:
    reader.choice(parameter, "access", path, ACCESS)
    reader.choice(parameter, "form", path, FORM)
    kinds = parameter.get("kinds", ["file"])
    if not (isinstance(kinds, list) and kinds and all(isinstance(one, str) and one in KINDS for one in kinds)):
        reader.wrong(f"{path}.kinds", f"a list of {', '.join(KINDS)}", kinds)
    if "default" in parameter:
        reader.wrong(f"{path}.default", "a descriptor comes with the call, or not at all", parameter["default"])


_READERS = {
    "integer": _read_integer,
    "string": _read_string,
    "boolean": _read_boolean,
    "enum": _read_enum,
    "path": _read_path,
    "address": _read_address,
    "descriptor": _read_descriptor,
}
