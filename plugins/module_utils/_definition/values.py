# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading of single values: durations, sizes, permissions, signals. PRIVATE to the collection."""

from __future__ import annotations

import re
from typing import Any

from .schema import BYTES, SECONDS, SIGNALS

UNLIMITED = -1

_DURATION = re.compile(r"([0-9]{1,20}(?:\.[0-9]{1,20})?)\s*(ms|s|m|h|d|w)?").fullmatch
_DURATION_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, None: 1.0}
_SIZE = re.compile(r"([0-9]{1,20}(?:\.[0-9]{1,20})?)\s*([kKMGT]?)(?:i?B)?").fullmatch
_SIZE_UNITS = {"": 1, "k": 1024, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
#: More seconds than anybody means, and more bytes, or whatever else is counted, than the kernel takes.
LONGEST, MOST = 100 * 366 * 86400, 2**63 - 1
#: Bytes that an argument, or a variable with its name, may have: MAX_ARG_STRLEN of the kernel without its NUL.
WORD = 128 * 1024 - 1
_OCTAL = re.compile(r"[0-7]{3,4}").fullmatch
_USUAL_MASKS = (0, 0o2, 0o7, 0o22, 0o27, 0o37, 0o77)
_USUAL_MODES = (0o600, 0o640, 0o644, 0o660, 0o664, 0o700, 0o710, 0o711, 0o750, 0o755, 0o770, 0o775, 0o777)
_ACCOUNT = re.compile(r"[A-Za-z_][A-Za-z0-9_.@+-]{0,254}\$?").fullmatch
_NUMBER = re.compile(r"[0-9]{1,10}").fullmatch
_DECIMAL = re.compile(r"-?[0-9]{1,18}").fullmatch
_PERCENTAGE = re.compile(r"([0-9]+(?:\.[0-9]+)?)%").fullmatch


class Wrong(Exception):
    """A value that cannot be read. allowed says what can be, advice how to cure it."""

    def __init__(self, allowed: str, advice: str = "") -> None:
        super().__init__(allowed)
        self.allowed = allowed
        self.advice = advice


def is_integer(value: Any) -> bool:
    """Tell whole numbers from truth values, which Python takes for numbers too."""
    return isinstance(value, int) and not isinstance(value, bool)


def integer(value: Any) -> int:
    """Return a whole number, also from text."""
    whole = is_integer(value) or (isinstance(value, float) and value.is_integer())
    if (whole or (isinstance(value, str) and _DECIMAL(value))) and -MOST <= int(value) <= MOST:
        return int(value)
    raise Wrong("must be a whole number")


def duration(value: Any) -> float:
    """Return seconds from a number of seconds or text with a unit."""
    seconds = -1.0
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        seconds = value
    elif isinstance(value, str):
        found = _DURATION(value)
        if found:
            seconds = float(found[1]) * _DURATION_UNITS[found[2]]
    if 0 <= seconds <= LONGEST:
        return float(seconds)
    raise Wrong(
        f"must be a time of at most 100 years: {SECONDS}" if seconds > LONGEST else f"must be a time: {SECONDS}"
    )


def size(value: Any) -> int:
    """Return bytes from a number or text with a unit (powers of 1024)."""
    count: float = -1
    if is_integer(value):
        count = value
    elif isinstance(value, str):
        found = _SIZE(value)
        if found:
            count = (float(found[1]) if "." in found[1] else int(found[1])) * _SIZE_UNITS[found[2]]
    if 0 <= count <= MOST:
        return int(count)
    raise Wrong(f"must be a size: {BYTES}" + (", below 8 EiB" if count > MOST else ""))


def limit(value: Any) -> int:
    """Return a resource limit; UNLIMITED stands for none."""
    if isinstance(value, str) and value in ("unlimited", "infinity"):
        return UNLIMITED
    try:
        return size(value)
    except Wrong:
        raise Wrong("must be a number that is not negative, a size such as 64M, or 'unlimited'") from None


def octal(value: Any, name: str) -> int:
    """Return permission bits from octal text.

    A number is refused, because nobody can know what was meant: YAML reads 0027 as 23, and 27 as 27.
    """
    if isinstance(value, str) and _OCTAL(value):
        return int(value, 8)
    advice = ""
    if is_integer(value) and value >= 0:
        as_octal, as_written = f"{value:04o}", f"{value:04d}"
        meant = (
            as_written if value not in _USUAL_MASKS + _USUAL_MODES and set(as_written) <= set("01234567") else as_octal
        )
        advice = f'quote it, YAML has its own idea of numbers: {name}: "{meant}"'
    raise Wrong("must be octal text, such as '0027'", advice)


def account(value: Any) -> str:
    """Return a user or group: a name, or a number as text."""
    if isinstance(value, str) and _ACCOUNT(value):
        return value
    # The last number means "leave it as it is" to the kernel.
    if (is_integer(value) or (isinstance(value, str) and _NUMBER(value))) and 0 <= int(value) < 2**32 - 1:
        return str(int(value))
    raise Wrong("must be the name or the number of an account")


def signal(value: Any) -> str:
    """Return the name of a signal without SIG."""
    if isinstance(value, str):
        name = value.removeprefix("SIG")
        if name in SIGNALS:
            return name
        if name.upper() in SIGNALS or name.upper()[3:] in SIGNALS:
            upper = name.upper()
            raise Wrong("must be the name of a signal", f"write {upper if upper in SIGNALS else upper[3:]}")
        if name.isdigit():
            value = int(name)
    advice = "known: " + ", ".join(sorted(SIGNALS))
    for name, number in SIGNALS.items():
        if is_integer(value) and number == value:
            advice = f"write {name}"
    raise Wrong("must be the name of a signal", advice)


def path(value: Any) -> str:
    """Return an absolute path without '..'."""
    if isinstance(value, str) and value.startswith("/") and value.isprintable() and ".." not in value.split("/"):
        return value.rstrip("/") or "/"
    raise Wrong("must be an absolute path without '..' and control characters")


def terminal(value: Any) -> str:
    """Return the device of a terminal: /dev/tty1 from tty1."""
    try:
        found = path(value if isinstance(value, str) and value.startswith("/") else f"/dev/{value}")
    except Wrong:
        found = ""
    if isinstance(value, str) and value and found.startswith("/dev/") and " " not in found:
        return found
    raise Wrong("must be a terminal below /dev, such as tty1, ttyS0 or /dev/ttyUSB0")


def percentage(value: Any) -> float:
    """Return a share of one processor: 1.5 from 150%."""
    if isinstance(value, str):
        found = _PERCENTAGE(value)
        if found and float(found[1]) > 0:
            return float(found[1]) / 100
    raise Wrong("must be a share of one processor, such as '50%' or '200%'")


def boolean(value: Any) -> bool:
    """Return a truth value, also from the words that Ansible takes for one."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "yes", "on"):
        return True
    if isinstance(value, str) and value.lower() in ("false", "no", "off"):
        return False
    raise Wrong("must be true or false")


def text(value: Any) -> str:
    """Return text that a file can hold."""
    if not isinstance(value, str):
        raise Wrong("must be text")
    if "\0" in value:
        raise Wrong("must be text without NUL characters")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Wrong("must be text that UTF-8 can encode") from None
    return value


def line(value: Any) -> str:
    """Return text of one line that is not empty."""
    # What is printable has no lone surrogates either.
    if isinstance(value, str) and value.strip() and value.isprintable():
        return value
    raise Wrong("must be one line of text")


def word(value: Any, taken: int = 0) -> str:
    """Return one argument of a command: text, or a number as text. taken: bytes of it that are gone for something else."""
    if is_integer(value) and -MOST <= value <= MOST:
        return str(value)
    if isinstance(value, bool):
        raise Wrong("must be text", f"""write the word that the command expects, in quotes: "{str(value).lower()}\"""")
    if isinstance(value, float):
        raise Wrong("must be text", f'write it in quotes: "{value}"')
    if value is None:
        raise Wrong("must be text", 'write "" for an empty value')
    result = text(value)
    if len(result.encode()) + taken > WORD:
        raise Wrong("is longer than the 128 KiB that a program can be given in one piece", "put it into a file")
    return result
