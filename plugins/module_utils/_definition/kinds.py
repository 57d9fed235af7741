# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The types oneshot and getty: what they are made of, and what does not fit them. PRIVATE to the collection.

To every supervisor both are a process that stays. A oneshot is the run script itself, which does the command, says by a
descriptor that it is ready, and stays until it is told to stop; so it is the same everywhere, is adopted, shown and
stopped as others are, and takes no feature of one init.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from .problem import Problem, shown

#: The descriptor by which a oneshot, or a guard without a lease, tells the supervisor that the service is ready.
REPORT_FD = 3
#: Seconds that the command of a oneshot has from TERM, at the end of its time, to KILL; and until that is known.
MERCY, PATIENCE = 5, 10.0

_AGETTY = "/sbin/agetty"
_CONSOLE = re.compile(r"/dev/tty[0-9]+").fullmatch
_PSEUDO = re.compile(r"/dev/pts/[0-9]+").fullmatch
# They open their terminal themselves: they know of lines on which nobody is yet.
_OPENERS = ("agetty", "getty", "mgetty", "mingetty")
_ROOT = ("root", "0")

# Keys, and what is said of them; a section's inner key after a dot.
_NOT_ONESHOT = {
    "health": ("a oneshot has no process that could be unwell", "let a periodic service look after what it has made"),
    "template": ("a oneshot has a run script of ours", "leave the template out"),
    "stop_signal": ("a oneshot is told to stop by TERM", "write what undoes it in stop_command"),
    "reload_signal": ("a oneshot has nothing to reload", "leave it out"),
}
_NOT_GETTY = {
    "health": ("a login can't be asked whether it is well", "leave it out"),
    "hooks": ("a getty needs a terminal, which a guard has not", "leave them out"),
    "lease": ("a getty needs a terminal, which a guard has not", "leave it out"),
    "template": ("a getty has a run script of ours", "say what is to run in command"),
    "group": ("who logs in is given his own groups", "leave it out"),
    "groups": ("who logs in is given his own groups", "leave it out"),
}


def as_processes(given: Mapping[str, Any], service: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a service of these types has instead of the usual defaults. given: the keys that were written."""
    if service["type"] == "oneshot":
        # With a lease it comes again, here or elsewhere: that is what a lease is for.
        restart = given.get("restart") or ("always" if service["lease"] else "never")
        return {"readiness": {**service["readiness"], "notification_fd": REPORT_FD}, "restart": restart}
    if service["type"] == "getty":
        log = {**service["log"], "to": "none"}
        return {"command": service["command"] or _agetty(service["tty"]), "log": log}
    return {}


def terminal(service: Mapping[str, Any]) -> str:
    """Return the terminal that the run script of a service has to open, "" for none."""
    if service["type"] != "getty" or service["command"][0].rpartition("/")[2] in _OPENERS:
        return ""
    device: str = service["tty"]
    return device


def problems(definition: Mapping[str, Any], given: Mapping[str, Any], where: str) -> Iterator[Problem]:
    """Find the keys that mean nothing to the type of a service. given: the canonical values of those that are right."""
    kind = given.get("type", "longrun")
    for key, only in (("stop_command", "oneshot"), ("tty", "getty")):
        if definition.get(key) is not None and kind != only and definition.get("type") != only:
            yield Problem(f"{where}.{key}", shown(definition[key]), f"only a {only} has one", f"add type: {only}")
    if kind == "oneshot":
        yield from _refused(given, _NOT_ONESHOT, kind, where)
        yield from _oneshot(given, where)
    elif kind == "getty":
        if definition.get("tty") is None:
            yield Problem(f"{where}.tty", "", "missing: a getty needs a terminal", "for example tty1 or ttyS0")
        yield from _refused(given, _NOT_GETTY, kind, where)
        yield from _getty(given, where)


def _refused(given: Mapping[str, Any], keys: Mapping[str, tuple[str, str]], kind: str, where: str) -> Iterator[Problem]:
    for key, (reason, advice) in keys.items():
        if key in given:
            yield Problem(f"{where}.{key}", "", f"is not possible with type {kind}: {reason}", advice)


def _oneshot(given: Mapping[str, Any], where: str) -> Iterator[Problem]:
    for key in given.get("readiness", {}):
        if key != "timeout":
            yield Problem(
                f"{where}.readiness.{key}",
                "",
                "is not possible with type oneshot: it is ready when its command has exited with 0",
                "leave it out",
            )
    for key, right, reason in (
        ("kill", "group", "what its command has left in its process group ends with it"),
        ("on_change", "restart", "a new definition is the old one undone and the new one done"),
    ):
        value = given.get(key, right)
        if value not in (right, "nothing"):
            yield Problem(f"{where}.{key}", value, f"is not possible with type oneshot: {reason}", f"write {right}")
    if given.get("state") == "once":
        yield Problem(f"{where}.state", "once", "a oneshot is up until it is stopped", "write started")


def _getty(given: Mapping[str, Any], where: str) -> Iterator[Problem]:
    for key in ("check", "notification_fd"):
        if key in given.get("readiness", {}):
            yield Problem(f"{where}.readiness.{key}", "", "is not possible with type getty", "leave it out")
    if given.get("log") is not None and given["log"].get("to") != "none":
        yield Problem(f"{where}.log", "", "a getty has its output on the terminal", "leave it out, or write log: false")
    if given.get("restart", "always") != "always":
        yield Problem(f"{where}.restart", given["restart"], "after a login comes the next one", "leave it out")
    if str(given.get("user", "root")) not in _ROOT:
        yield Problem(
            f"{where}.user",
            shown(given["user"]),
            "a getty asks for the user, as root",
            "for a login without a question put --autologin and the user into command",
        )


def _agetty(tty: str) -> list[str]:
    """Return the command for a terminal: a console, a pseudo terminal, or a line that has a speed."""
    speed = [] if _CONSOLE(tty) or _PSEUDO(tty) else ["--keep-baud", "115200,57600,38400,9600"]
    return [_AGETTY, "--noclear", *speed, tty[len("/dev/") :], "linux" if _CONSOLE(tty) else "vt220"]
