# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Python that runs the runtime: new enough, and in nobody else's hands. PRIVATE to the collection."""

from __future__ import annotations

import json
import os
import platform
import re
import stat
from collections.abc import Callable

#: The oldest Python and the oldest Linux that the runtime works on (pidfd, F_OFD locks, send_fds).
PYTHON_FLOOR = (3, 9)
LINUX_FLOOR = (5, 4)

#: Runs an argv and gives (exit code, standard output, standard error); it never raises for a failing command.
Runner = Callable[[list[str]], "tuple[int, str, str]"]

_PROBE = (
    "import json,os,sys;print(json.dumps({'version':list(sys.version_info[:3]),"
    "'tag':sys.implementation.cache_tag,'name':sys.implementation.name,'program':os.readlink('/proc/self/exe')}))"
)


class Unfit(Exception):
    """This host or this interpreter can not run the runtime; the text says what was found and what cures it."""


class Interpreter:
    """An interpreter that was found fit: its path as given, its version, and the program that it is in the end."""

    __slots__ = ("path", "program", "version")

    def __init__(self, path: str, version: tuple[int, ...], program: str) -> None:
        self.path = path
        self.version = version
        self.program = program

    def command(self, *arguments: str) -> list[str]:
        """Give the argv that runs *arguments* without environment, site packages and the current directory."""
        return [self.path, "-I", "-S", *arguments]


def identity(path: str) -> dict[str, object]:
    """Give what tells one build of the interpreter at *path* from another without running it. Raises Unfit."""
    try:
        found = os.stat(path)
    except OSError as error:
        raise Unfit(f"no Python at {path} ({error.strerror}); install python3 or set supervisor_python") from None
    return {"path": path, "file": os.path.realpath(path), "size": found.st_size, "changed": found.st_mtime_ns}


def probe(path: str, run: Runner) -> Interpreter:
    """Ask the interpreter at *path* what it is. Raises Unfit when it is none, or too old."""
    code, output, errors = run([path, "-I", "-S", "-c", _PROBE])
    floor = ".".join(map(str, PYTHON_FLOOR))
    if code != 0:
        detail = (errors or output).strip().splitlines()
        raise Unfit(f"{path} is no working Python (exit code {code}: {detail[-1] if detail else 'no message'})")
    try:
        answer = json.loads(output)
        version = tuple(int(part) for part in answer["version"])
        tag = answer["tag"]
        name = answer["name"]
        program = str(answer["program"])
    except (ValueError, KeyError, TypeError):
        raise Unfit(f"{path} is no working Python: it answered {output.strip()[:80]!r}") from None
    if version < PYTHON_FLOOR:
        found = ".".join(map(str, version))
        raise Unfit(f"{path} is Python {found}, needed is {floor} or newer; install one and set supervisor_python")
    if name != "cpython" or not tag:
        raise Unfit(f"{path} is {name}, needed is CPython {floor} or newer; set supervisor_python")
    return Interpreter(path, version, program)


def check_kernel(system: str | None = None, release: str | None = None) -> None:
    """Raise Unfit unless this is a Linux that is new enough. The arguments stand for what uname(2) says."""
    system = platform.system() if system is None else system
    release = platform.release() if release is None else release
    floor = ".".join(map(str, LINUX_FLOOR))
    if system != "Linux":
        raise Unfit(f"the operating system is {system}, needed is Linux {floor} or newer")
    match = re.match(r"(\d+)\.(\d+)", release)
    if match and (int(match.group(1)), int(match.group(2))) < LINUX_FLOOR:
        raise Unfit(f"the kernel is Linux {release}, needed is {floor} or newer; update the kernel and reboot")


def check_path(path: str, owner: int = 0) -> None:
    """Raise Unfit if anybody but *owner* could put another program in the place of *path*.

    Every component is looked at, those that symbolic links lead over included: each must belong to *owner* and be
    writable by him alone (a group that may write is somebody else, unless it is the group of root).
    """
    if not os.path.isabs(path):
        raise Unfit(f"supervisor_python must be an absolute path, not {path!r}")
    pending = [part for part in path.split("/") if part]
    here = "/"
    _check_component(here, owner)
    links = 0
    while pending:
        part = pending.pop(0)
        if part == ".":
            continue
        if part == "..":
            here = os.path.dirname(here)
            continue
        step = os.path.join(here, part)
        found = _check_component(step, owner)
        if not stat.S_ISLNK(found.st_mode):
            here = step
            continue
        links += 1
        if links > 40:
            raise Unfit(f"too many symbolic links in {path}")
        target = os.readlink(step)
        if target.startswith("/"):
            here = "/"
        pending[:0] = [piece for piece in target.split("/") if piece]


def _check_component(path: str, owner: int) -> os.stat_result:
    try:
        found = os.lstat(path)
    except OSError as error:
        raise Unfit(f"no Python at {path} ({error.strerror}); install python3 or set supervisor_python") from None
    advice = "the runtime must not depend on it; set supervisor_python to the system's own Python"
    if found.st_uid != owner:
        raise Unfit(f"{path} belongs to uid {found.st_uid}, not to uid {owner}; {advice}")
    if not stat.S_ISLNK(found.st_mode):
        sticky = stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX
        others = found.st_mode & stat.S_IWOTH and not sticky
        group = found.st_mode & stat.S_IWGRP and found.st_gid != 0 and not sticky
        if others or group:
            raise Unfit(f"{path} (mode {stat.S_IMODE(found.st_mode):04o}) can be changed by others; {advice}")
    return found
