# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an operation may say, and everything that is wrong with a list of them. PRIVATE to the collection.

The same code judges on the controller's behalf (`holdfast helper --check`) and in the helper when it starts: what is
not understood is refused, never ignored, since each word here gives somebody root's power.
"""

from __future__ import annotations

import re

from .capabilities import NUMBERS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FORMAT = 1
IDEMPOTENCY = ("pure", "idempotent", "once")
ON_DISCONNECT = ("finish", "cancel")
TYPES = ("integer", "string", "boolean", "enum", "path")
#: Longest text of a parameter unless it says otherwise, and the longest it may say; in characters.
MAX_LENGTH, LONGEST = 256, 65536
TIMEOUT = 30.0

name = re.compile(r"[a-z][a-z0-9_]{0,63}").fullmatch
placeholder = re.compile(r"\{([a-z][a-z0-9_]{0,63})\}").fullmatch
_variable = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}").fullmatch
_any_placeholder = re.compile(r"\{[a-z][a-z0-9_]{0,63}\}").search

_DOCUMENT = {"format", "socket", "state_directory", "operations"}
_OPERATION = {
    "description",
    "argv",
    "parameters",
    "allow",
    "timeout",
    "user",
    "capabilities",
    "idempotency",
    "on_disconnect",
    "environment",
    "directory",
    "memory_max",
}
_COMMON = {"type", "description", "required", "default", "no_log"}
_OF_TYPE = {
    "integer": {"minimum", "maximum"},
    "string": {"pattern", "max_length"},
    "boolean": {"flag"},
    "enum": {"values"},
    "path": {"within", "exists"},
}


class _Reader:
    """Collects what is wrong."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def wrong(self, path: str, allowed: str, value: object = None) -> None:
        # Only short scalars are shown: a container may hold anything.
        shown = f"{value!r}: " if isinstance(value, (str, int, float)) and len(repr(value)) <= 80 else ""
        self.found.append(f"{path}: {shown}{allowed}")

    def keys(self, value: object, path: str, known: set[str]) -> bool:
        if not isinstance(value, dict):
            self.wrong(path, "is to be a dictionary", value)
            return False
        for key in value:
            if key not in known:
                self.wrong(f"{path}.{key}", f"there is no such key; known: {', '.join(sorted(known))}")
        return True

    def choice(self, section: dict[str, Any], key: str, path: str, choices: tuple[str, ...]) -> None:
        if key in section and section[key] not in choices:
            self.wrong(f"{path}.{key}", f"one of {', '.join(choices)}", section[key])

    def boolean(self, section: dict[str, Any], key: str, path: str) -> None:
        if key in section and not isinstance(section[key], bool):
            self.wrong(f"{path}.{key}", "true or false", section[key])

    def text(self, section: dict[str, Any], key: str, path: str) -> None:
        if key in section and not is_text(section[key]):
            self.wrong(f"{path}.{key}", "text without control characters", section[key])


def problems(document: object) -> list[str]:
    """Give all that is wrong with the content of helper.json, one line each; nothing when it can be used."""
    reader = _Reader()
    if not reader.keys(document, "helper", _DOCUMENT) or not isinstance(document, dict):
        return reader.found
    if document.get("format") != FORMAT:
        reader.wrong("helper.format", f"is to be {FORMAT}", document.get("format"))
    for key in ("socket", "state_directory"):
        if not is_absolute(document.get(key)):
            reader.wrong(f"helper.{key}", "an absolute path without '..'", document.get(key))
    operations = document.get("operations")
    if not isinstance(operations, dict):
        reader.wrong("operations", "is to be a dictionary, name to operation", operations)
        return reader.found
    for key, operation in operations.items():
        path = f"operations.{key}"
        if not (isinstance(key, str) and name(key)):
            reader.wrong(path, "a name is 1 to 64 small letters, digits and '_', the first one a letter")
        elif reader.keys(operation, path, _OPERATION):
            _operation(reader, operation, path)
    return reader.found


def _operation(reader: _Reader, operation: dict[str, Any], path: str) -> None:
    reader.text(operation, "description", path)
    reader.choice(operation, "idempotency", path, IDEMPOTENCY)
    reader.choice(operation, "on_disconnect", path, ON_DISCONNECT)
    timeout = operation.get("timeout", TIMEOUT)
    if not is_number(timeout) or not 0 < timeout <= 86400:
        reader.wrong(f"{path}.timeout", "seconds above 0, at most 86400", timeout)
    memory = operation.get("memory_max")
    if memory is not None and not (is_integer(memory) and memory >= 1048576):
        reader.wrong(f"{path}.memory_max", "bytes, at least 1048576", memory)
    user = operation.get("user", "root")
    if not _account(user):
        reader.wrong(f"{path}.user", "the name or number of a user", user)
    if "directory" in operation and not is_absolute(operation["directory"]):
        reader.wrong(f"{path}.directory", "an absolute path without '..'", operation["directory"])
    capabilities = operation.get("capabilities", [])
    if not isinstance(capabilities, list):
        reader.wrong(f"{path}.capabilities", "a list of names such as net_admin", capabilities)
    else:
        for one in capabilities:
            if not isinstance(one, str) or one not in NUMBERS:
                reader.wrong(f"{path}.capabilities", "no such capability; they are written like net_admin", one)
    _allow(reader, operation.get("allow"), f"{path}.allow")
    parameters = operation.get("parameters", {})
    if not isinstance(parameters, dict):
        reader.wrong(f"{path}.parameters", "is to be a dictionary, name to parameter", parameters)
        parameters = {}
    for key, parameter in parameters.items():
        below = f"{path}.parameters.{key}"
        if not (isinstance(key, str) and name(key)):
            reader.wrong(below, "a name is 1 to 64 small letters, digits and '_', the first one a letter")
        elif isinstance(parameter, dict) and parameter.get("type") in TYPES:
            if reader.keys(parameter, below, _COMMON | _OF_TYPE[parameter["type"]]):
                _parameter(reader, parameter, below)
        else:
            reader.wrong(f"{below}.type", f"one of {', '.join(TYPES)}")
    _templates(reader, operation, parameters, path)


def _allow(reader: _Reader, allow: object, path: str) -> None:
    if not isinstance(allow, list):
        reader.wrong(path, "is to be a list of {user: NAME} and {group: NAME}; [] allows root alone", allow)
        return
    for number, one in enumerate(allow):
        if not (isinstance(one, dict) and len(one) == 1 and set(one) <= {"user", "group"}):
            reader.wrong(f"{path}[{number}]", "is to be {user: NAME} or {group: NAME}")
        elif not _account(next(iter(one.values()))):
            reader.wrong(f"{path}[{number}]", "a name or a number", next(iter(one.values())))


def _parameter(reader: _Reader, parameter: dict[str, Any], path: str) -> None:
    before = len(reader.found)
    reader.text(parameter, "description", path)
    reader.boolean(parameter, "required", path)
    reader.boolean(parameter, "no_log", path)
    kind = parameter["type"]
    if kind == "integer":
        for key in ("minimum", "maximum"):
            if not is_integer(parameter.get(key)):
                reader.wrong(f"{path}.{key}", "a whole number; both bounds are needed", parameter.get(key))
        if len(reader.found) == before and parameter["minimum"] > parameter["maximum"]:
            reader.wrong(f"{path}.minimum", "is above the maximum", parameter["minimum"])
    elif kind == "string":
        length = parameter.get("max_length", MAX_LENGTH)
        if not is_integer(length) or not 0 < length <= LONGEST:
            reader.wrong(f"{path}.max_length", f"1 to {LONGEST}", length)
        if "pattern" in parameter:
            try:
                re.compile(parameter["pattern"])
            except (TypeError, re.error) as error:
                reader.wrong(f"{path}.pattern", f"no regular expression: {error}", parameter["pattern"])
    elif kind == "boolean":
        if "flag" in parameter and not (is_text(parameter["flag"]) and parameter["flag"]):
            reader.wrong(f"{path}.flag", "the argument that stands for true", parameter["flag"])
    elif kind == "enum":
        values = parameter.get("values")
        if not (isinstance(values, list) and values and all(is_text(one) for one in values)):
            reader.wrong(f"{path}.values", "a list of texts", values)
    else:
        reader.boolean(parameter, "exists", path)
        if not is_absolute(parameter.get("within")) or parameter.get("within") == "/":
            reader.wrong(f"{path}.within", "an absolute path without '..', not '/'", parameter.get("within"))
    if "default" in parameter and len(reader.found) == before:
        from .operations import BadParameter, check

        try:
            check(parameter, parameter["default"])
        except BadParameter as error:
            reader.wrong(f"{path}.default", str(error))


def _templates(reader: _Reader, operation: dict[str, Any], parameters: dict[str, Any], path: str) -> None:
    argv = operation.get("argv")
    if not (isinstance(argv, list) and argv and all(is_text(word) for word in argv)):
        reader.wrong(f"{path}.argv", "is to be a list of texts: the program and its arguments", argv)
        argv = ["/"]
    if not is_absolute(argv[0]):
        reader.wrong(f"{path}.argv[0]", "the program is to be an absolute path, and no placeholder", argv[0])
    used = set()
    for number, word in enumerate(argv[1:], 1):
        used |= _placeholder(reader, word, parameters, f"{path}.argv[{number}]")
        key = word[1:-1]
        if placeholder(word) and isinstance(parameters.get(key), dict) and parameters[key].get("no_log"):
            reader.wrong(f"{path}.argv[{number}]", "all users see arguments: pass a secret in the environment", word)
    environment = operation.get("environment", {})
    if not isinstance(environment, dict):
        reader.wrong(f"{path}.environment", "is to be a dictionary, NAME to text", environment)
        environment = {}
    for key, value in environment.items():
        below = f"{path}.environment.{key}"
        if not (isinstance(key, str) and _variable(key)):
            reader.wrong(below, "no name of a variable")
        if is_integer(value):
            continue
        if not is_text(value):
            reader.wrong(below, "text or a whole number; quote anything else", value)
            continue
        used |= _placeholder(reader, value, parameters, below)
        one = parameters.get(value[1:-1]) if placeholder(value) else None
        if isinstance(one, dict) and (one.get("type") == "path" or "flag" in one):
            reader.wrong(below, "a path or a flag can be an argument only", value)
    for key in parameters:
        if isinstance(key, str) and key not in used:
            reader.wrong(f"{path}.parameters.{key}", f"is used nowhere: write '{{{key}}}' as an argument")


def _placeholder(reader: _Reader, word: str, parameters: dict[str, Any], path: str) -> set[str]:
    """Judge one word of a template; gives the parameters that it uses."""
    found = placeholder(word)
    if found is None:
        if _any_placeholder(word):
            reader.wrong(path, "a placeholder is a whole argument: nothing may stand beside it", word)
        return set()
    if found[1] not in parameters:
        reader.wrong(path, "there is no such parameter", word)
    return {found[1]}


def _account(value: object) -> bool:
    return (is_text(value) and bool(value)) or (is_integer(value) and 0 <= value < 2**32 - 1)  # type: ignore[operator]


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
