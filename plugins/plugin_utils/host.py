# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Looks at a host with nothing but its shell, and tells whether it can run the supervisor. PRIVATE to the collection."""

from __future__ import annotations

import re
import shlex
import typing as t

PYTHON_FLOOR = (3, 9)
LINUX_FLOOR = (5, 4)

# Answers with lines of the form key=value. It must work in any sh, and before there is a Python.
_SCRIPT = r"""
python=@PYTHON@
uid="$(id -u)"
home="$(getent passwd "$uid" 2>/dev/null | cut -d: -f6)"
echo system="$(uname -s)"
echo kernel="$(uname -r)"
echo uid="$uid"
echo home="${home:-$HOME}"
unsafe=
if [ "$uid" = 0 ]; then
    # Looked at before it is run: whoever may change it, or what leads to it, would be root.
    for path in "$python" "$(readlink -f "$python")"; do
        while [ -z "$unsafe" ] && [ -e "$path" ]; do
            unsafe="$(find "$path" -prune \( ! -uid 0 -o ! -type l ! -perm -1000 \( -perm -002 -o -perm -020 ! -gid 0 \) \) -print)"
            path="${path%/*}"
        done
    done
fi
echo unsafe="$unsafe"
[ -n "$unsafe" ] || echo python="$("$python" -I -S -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null)"
for user in @USERS@; do
    if id -u "$user" >/dev/null 2>&1; then echo user="$user"; fi
done
"""


class Found(t.NamedTuple):
    """What a host has answered; a version that it did not tell is empty."""

    system: str
    kernel: str
    uid: int | None
    home: str
    unsafe: str
    python: str
    users: tuple[str, ...]


def script(python: str, users: t.Sequence[str]) -> str:
    """Give the shell script that asks for all that `Found` holds."""
    words = {"@PYTHON@": shlex.quote(python), "@USERS@": " ".join(shlex.quote(user) for user in users)}
    return re.sub("@(PYTHON|USERS)@", lambda match: words[match[0]], _SCRIPT)


def read(output: str) -> Found:
    """Read the answer; lines that are none, such as a greeting, do not count."""
    values: dict[str, str] = {}
    users = []
    for line in output.splitlines():
        key, equals, value = line.strip().partition("=")
        if equals and key == "user":
            users.append(value)
        elif equals:
            values.setdefault(key, value)
    uid = values.get("uid", "")
    return Found(
        values.get("system", ""),
        values.get("kernel", ""),
        int(uid) if uid.isdigit() else None,
        values.get("home", ""),
        values.get("unsafe", ""),
        values.get("python", ""),
        tuple(users),
    )


def problem(found: Found, python: str, required: bool = True) -> str | None:
    """Say in one sentence why the host can't run the supervisor: what was found, and the cure. None if it can.

    That there is no Python yet is nothing wrong unless one is *required*.
    """
    python_floor = ".".join(map(str, PYTHON_FLOOR))
    linux_floor = ".".join(map(str, LINUX_FLOOR))
    if found.system != "Linux":
        return f"the operating system is {found.system or 'unknown'}, needed is Linux {linux_floor} or newer."
    if found.uid is None or not found.home:
        return "the host's shell does not tell user and home."
    if _version(found.kernel) < LINUX_FLOOR:
        return f"the kernel is Linux {found.kernel}, needed is {linux_floor} or newer: update the kernel and reboot."
    if found.unsafe:
        return (
            f"{python} can be changed by others than root (see {found.unsafe}):"
            " set supervisor_python to the system's own Python."
        )
    if not found.python:
        if not required:
            return None
        return f"there is no working Python at {python}: install python3, or set supervisor_python to where it is."
    if _version(found.python) < PYTHON_FLOOR:
        return (
            f"{python} is Python {found.python}, needed is {python_floor} or newer:"
            " install a newer one and set supervisor_python to it."
        )
    return None


def _version(text: str) -> tuple[int, ...]:
    match = re.match(r"(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else (0,)
