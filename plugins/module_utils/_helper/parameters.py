# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The types of parameters: what a value is to be. PRIVATE to the collection.

What a declaration may say is in `reading`, which the helper does not keep.
"""

from __future__ import annotations

from .._varlink import sockets
from .declared import member

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

#: Longest text of a parameter unless it says otherwise, and the longest it may say; in characters.
MAX_LENGTH, LONGEST = 256, 65536
#: Descriptors that may come with a call.
DESCRIPTORS = 8

#: What matches the patterns that were used.
_patterns: dict[str, Callable[[str], object]] = {}


class BadParameter(Exception):
    """A parameter is not what the operation declares. `parameter` names it; the text never repeats its value."""

    def __init__(self, message: str, parameter: str = "") -> None:
        super().__init__(message)
        self.parameter = parameter


def check(parameter: dict[str, Any], value: object) -> None:
    """Raise BadParameter if *value* is not what a parameter declares."""
    kind = parameter["type"]
    if kind == "integer":
        low, high = parameter["minimum"], parameter["maximum"]
        if not is_integer(value) or not low <= value <= high:
            # Quotes in an inventory are easily overlooked.
            text = ", and no text" if isinstance(value, str) else ""
            raise BadParameter(f"is to be a whole number from {low} to {high}{text}")
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
    if pattern and matcher(pattern)(value) is None:
        raise BadParameter(f"does not match {pattern}")


def matcher(pattern: str) -> Callable[[str], object]:
    """Give what matches texts as a whole. Raises re.error.

    Regular expressions are loaded by the first pattern: a helper without any does not need them, and they are a tenth of it.
    """
    found = _patterns.get(pattern)
    if found is None:
        import re

        found = _patterns[pattern] = re.compile(pattern).fullmatch
    return found


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
        if cut_to(bits, family, home[2]) == home[1]:
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


def cut_to(bits: int, family: int, length: int) -> int:
    """Give the bits of an address of which those behind the first *length* are 0."""
    rest = _width(family) - length
    return bits >> rest << rest


def described(parameter: dict[str, Any]) -> str:
    """Give the Varlink type of a parameter."""
    if parameter["type"] == "enum" and all(member(one) for one in parameter["values"]):
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
