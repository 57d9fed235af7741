# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The types of parameters: what a declaration may say, and what a value is to be. PRIVATE to the collection."""

from __future__ import annotations

import re

from .._varlink import sockets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Longest text of a parameter unless it says otherwise, and the longest it may say; in characters.
MAX_LENGTH, LONGEST = 256, 65536
CREATE = ("file", "directory")
#: What a descriptor may be of, what it is to be open for, and as what a program finds it.
KINDS = ("file", "directory", "pipe", "socket", "character", "block")
ACCESS = ("read", "write", "read_write", "any")
FORM = ("path", "number", "input", "output")
#: Descriptors that may come with a call.
DESCRIPTORS = 8

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
#: Whether an address has a prefix length, as in 192.0.2.1/24.
PREFIX = ("none", "optional", "required")

#: A name that Varlink knows as one, too: https://varlink.org/Interface-Definition
name = re.compile(r"(?=.{1,64}\Z)[a-z](?:_?[a-z0-9])*").fullmatch
NAME = "a name is 1 to 64 small letters, digits and single '_' between them, the first one a letter"
_member = re.compile(r"[A-Za-z](?:_?[A-Za-z0-9])*").fullmatch


class BadParameter(Exception):
    """A parameter is not what the operation declares. `parameter` names it; the text never repeats its value."""

    def __init__(self, message: str, parameter: str = "") -> None:
        super().__init__(message)
        self.parameter = parameter


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
        elif parsed[1] != _cut_to(parsed[1], parsed[0], parsed[2]):
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


def check(parameter: dict[str, Any], value: object) -> None:
    """Raise BadParameter if *value* is not what a parameter declares."""
    kind = parameter["type"]
    if kind == "integer":
        low, high = parameter["minimum"], parameter["maximum"]
        if not is_integer(value) or not low <= value <= high:
            raise BadParameter(f"is to be a whole number from {low} to {high}")
        return
    if kind == "boolean":
        if not isinstance(value, bool):
            raise BadParameter("is to be true or false")
        return
    if kind == "descriptor":
        if not is_integer(value) or value not in range(DESCRIPTORS):
            raise BadParameter("is to be the number of a descriptor among those that come with the call, from 0")
        return
    if not isinstance(value, str) or len(value) > LONGEST or not is_text(value):
        raise BadParameter("is to be a text without control characters")
    if kind == "enum":
        if value not in parameter["values"]:
            raise BadParameter(f"is to be one of {', '.join(parameter['values'])}")
    elif kind == "path":
        within = parameter["within"].rstrip("/")
        if len(value) > 4095 or not is_absolute(value) or not value.startswith(within + "/"):
            raise BadParameter(f"is to be an absolute path below {within}, without '..'")
    elif kind == "address":
        _check_address(parameter, value)
    else:
        _check_string(parameter, value)


def _check_string(parameter: dict[str, Any], value: str) -> None:
    length = parameter.get("max_length", MAX_LENGTH)
    if len(value) > length:
        raise BadParameter(f"is longer than {length} characters")
    pattern: str = parameter.get("pattern", "")
    # A program would take it for an option. A pattern that just happens to match one was not meant to allow that.
    if value.startswith("-") and not pattern.lstrip("^(").startswith(("-", r"\-")):
        raise BadParameter("begins with '-', which the pattern does not ask for")
    if pattern and re.fullmatch(pattern, value) is None:
        raise BadParameter(f"does not match {pattern}")


def _check_address(parameter: dict[str, Any], value: str) -> None:
    parsed = network(value)
    prefix = parameter.get("prefix", "none")
    if parsed is None or (prefix == "none" and parsed[2] >= 0) or (prefix == "required" and parsed[2] < 0):
        form = {"none": "192.0.2.1", "optional": "192.0.2.1 or 192.0.2.1/24", "required": "192.0.2.1/24"}[prefix]
        raise BadParameter(f"is to be an address such as {form}")
    family, bits, length = parsed
    for one in parameter["within"]:
        home = network(one)
        # A shorter prefix would reach out of the network, though the address itself may lie in it.
        if home is None or home[0] != family or 0 <= length < home[2]:
            continue
        if _cut_to(bits, family, home[2]) == home[1]:
            return
    raise BadParameter(f"is not within {', '.join(parameter['within'])}")


def network(text: object) -> tuple[int, int, int] | None:
    """Give family, bits and prefix length (-1: none) of an address in its strict form; None if it is none."""
    if not isinstance(text, str) or "%" in text:
        return None
    host, slash, length = text.partition("/")
    family = sockets.AF_INET6 if ":" in host else sockets.AF_INET
    try:
        bits = int.from_bytes(sockets.inet_pton(family, host), "big")
    except (OSError, ValueError):
        return None
    if not slash:
        return family, bits, -1
    if not (length.isascii() and length.isdecimal()) or len(length) > 3 or str(int(length)) != length:
        return None
    return (family, bits, int(length)) if int(length) <= _width(family) else None


def _width(family: int) -> int:
    return 128 if family == sockets.AF_INET6 else 32


def _cut_to(bits: int, family: int, length: int) -> int:
    rest = _width(family) - length
    return bits >> rest << rest


def described(parameter: dict[str, Any]) -> str:
    """Give the Varlink type of a parameter."""
    if parameter["type"] == "enum" and all(_member(one) for one in parameter["values"]):
        return f"({', '.join(dict.fromkeys(parameter['values']))})"
    return {"integer": "int", "boolean": "bool", "descriptor": "int"}.get(parameter["type"], "string")


def is_text(value: object) -> bool:
    """Say whether *value* is a text without control characters that has a form in UTF-8."""
    if not isinstance(value, str):
        return False
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return not any(letter < " " or letter == "\x7f" for letter in value)


def is_integer(value: object) -> bool:
    """Say whether *value* is a whole number; true and false are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """Say whether *value* is a number."""
    return is_integer(value) or isinstance(value, float)


def is_absolute(value: object) -> bool:
    """Say whether *value* is an absolute path that goes nowhere up."""
    return is_text(value) and str(value).startswith("/") and ".." not in str(value).split("/")
