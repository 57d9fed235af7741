# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What has to be true on the host before anything is changed. PRIVATE to the collection.

Each function gives texts that name the service (or the path), what is wrong, and the cure. None changes anything.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
from collections.abc import Callable, Iterable

from .directories import Wanted

#: Where a command without a slash is looked for: what the supervisor gives to services.
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_CURE_COMMAND = "install it first, correct the definition, or say command_check: false if it is deployed later"
#: What follows when the task runs as somebody else than the owner of the scan directory.
CURE_PERSON = ": set become and become_user so that both are the same"


class Host:
    """Looks things up on the host, each once. runtime: the directory that the runtime is in."""

    def __init__(self, runtime: str = "") -> None:
        self._runtime = runtime
        self._known: dict[tuple[str, str], str] = {}

    def accounts(self, wanted: Wanted) -> list[str]:
        """Give the users and groups of a definition that do not exist."""
        missing = []
        for kind, key in (("user", "users"), ("group", "groups")):
            for name in wanted.verify.get(key) or ():
                reason = self._once(kind, str(name))
                if reason:
                    missing.append(f"{wanted.name}: {reason}")
        return missing

    def programs(self, wanted: Wanted) -> list[str]:
        """Give the commands and the working directory of a definition that are not there."""
        missing = []
        for key in ("command", "check", "health", "finish", "stop_command"):
            path = wanted.verify.get(key)
            reason = self._once("command", _with_search(path, wanted)) if path else ""
            if reason:
                missing.append(f"{wanted.name}: {key}: {reason}")
        directory = wanted.verify.get("directory")
        reason = self._once("directory", directory) if directory else ""
        if reason:
            missing.append(f"{wanted.name}: directory: {reason}")
        terminal = wanted.verify.get("tty")
        reason = self._once("terminal", terminal) if terminal else ""
        if reason:
            missing.append(f"{wanted.name}: tty: {reason}")
        return missing

    def lease_driver(self, wanted: Wanted) -> tuple[str, bool]:
        """Give what is wrong with a lease driver of another collection, "" if nothing is, and whether it may yet come.

        The guard would refuse to start without it; the service would be there then, and not run.
        """
        driver = wanted.verify.get("lease_driver")
        if not driver:
            return "", False
        name, shipped = driver["name"], driver.get("shipped")
        package = f"{self._runtime}/current/holdfast/_foreign/{name.replace('.', '/')}"
        if os.path.exists(f"{package}.py") or os.path.exists(f"{package}/__init__.py"):
            return "", False
        missing = f"{wanted.name}: {driver['variable']}: the lease driver {name} is not in the runtime of this host"
        if shipped is not None and name in shipped:
            return (
                f"{missing} ({self._runtime}) yet: apply the role holdfast.supervision.supervisor, which ships it",
                True,
            )
        cure = "install its collection on the controller, name it in supervisor_lease_drivers, and apply the role"
        text = f"{missing} ({self._runtime}): {cure} holdfast.supervision.supervisor, which ships it"
        return text, shipped is None and not os.path.exists(f"{self._runtime}/current")

    def _once(self, kind: str, name: str) -> str:
        key = (kind, name)
        if key not in self._known:
            self._known[key] = _LOOK[kind](name)
        return self._known[key]


def _user(name: str) -> str:
    # A number is no way around an account: group, groups and HOME of the service are the account's.
    return _account("user", name, lambda text: pwd.getpwuid(int(text)) if text.isdigit() else pwd.getpwnam(text))


def _group(name: str) -> str:
    # Of groups the kernel takes any number.
    return "" if name.isdigit() else _account("group", name, grp.getgrnam)


def _account(kind: str, name: str, find: Callable[[str], object]) -> str:
    try:
        find(name)
    except KeyError:
        return f"the {kind} {name!r} does not exist: create it first, or correct the definition"
    return ""


def _with_search(program: str, wanted: Wanted) -> str:
    """Give a path as it is, and a mere name with the folders in which the service would look for it."""
    return program if "/" in program else f"{program}\0{wanted.verify.get('path') or SEARCH_PATH}"


def _command(name: str) -> str:
    program, searched, folders = name.partition("\0")
    if not searched:
        return _program(program)
    if any(not _program(f"{folder}/{program}") for folder in folders.split(":")):
        return ""
    return f"{program!r} is in none of {folders}: {_CURE_COMMAND}"


def _program(path: str) -> str:
    try:
        state = os.stat(path)
    except OSError as error:
        return f"{path}: {error.strerror}: {_CURE_COMMAND}"
    if not stat.S_ISREG(state.st_mode):
        return f"{path} is not a program: {_CURE_COMMAND}"
    if not state.st_mode & 0o111:
        return f"{path} is not executable: {_CURE_COMMAND}"
    return ""


def _directory(path: str) -> str:
    cure = "create it first, correct the definition, or say command_check: false if it is made later"
    try:
        state = os.stat(path)
    except OSError as error:
        return f"{path}: {error.strerror}: {cure}"
    return "" if stat.S_ISDIR(state.st_mode) else f"{path} is not a directory: {cure}"


def _terminal(path: str) -> str:
    cure = "correct the definition, or say command_check: false if it comes later"
    try:
        state = os.stat(path)
    except OSError as error:
        return f"{path}: {error.strerror}: {cure}"
    return "" if stat.S_ISCHR(state.st_mode) else f"{path} is not a terminal: {cure}"


_LOOK = {"user": _user, "group": _group, "command": _command, "directory": _directory, "terminal": _terminal}


def scan_directory(path: str, at: int) -> list[str]:
    """Say why the scan directory (open as *at*) cannot be trusted with programs that run as its supervisor does."""
    problems = []
    state = os.fstat(at)
    uid = os.geteuid()
    if state.st_uid != uid:
        problems.append(
            f"{path} belongs to the user {_person(state.st_uid)}, this task runs as {_person(uid)}{CURE_PERSON}"
        )
    if state.st_mode & 0o022:
        problems.append(
            f"{path} can be written by others (mode {stat.S_IMODE(state.st_mode):04o}): "
            "whoever can write there can run programs; take that right away (chmod go-w)"
        )
    parent = os.path.dirname(os.path.realpath(path))
    while True:
        try:
            mode = os.stat(parent).st_mode
        except OSError:
            break
        if mode & 0o002 and not mode & stat.S_ISVTX:
            problems.append(f"{parent}, above {path}, can be written by everybody: chmod o-w {parent}")
        if parent == "/":
            break
        parent = os.path.dirname(parent)
    return problems


def _person(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def space(path: str, at: int, new: Iterable[tuple[int, int]]) -> list[str]:
    """Say why the directories cannot be written. *new* has for each (number of files and folders, bytes)."""
    state = os.fstatvfs(at)
    if state.f_flag & os.ST_RDONLY:
        return [f"{path} is on a file system that is mounted read-only: mount it read-write"]
    files = size = 0
    for count, length in new:
        files += count
        # Every file and folder begins a block of its own.
        size += length + count * state.f_frsize
    free = (state.f_bfree if os.geteuid() == 0 else state.f_bavail) * state.f_frsize
    problems = []
    if state.f_blocks and size > free:
        problems.append(f"{path}: {size} bytes are needed and {free} are free: make room on that file system")
    inodes = state.f_ffree if os.geteuid() == 0 else state.f_favail
    # A file system without a fixed number of inodes reports none at all.
    if state.f_files and files > inodes:
        problems.append(f"{path}: {files} files are needed and {inodes} inodes are free: make room on that file system")
    return problems


def supervised(path: str) -> bool:
    """Tell whether some supervisor answers for the service directory *path* (what svok asks)."""
    try:
        os.close(os.open(f"{path}/supervise/ok", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError as error:
        # Of somebody else's supervisor, whose FIFO we may not open.
        return error.errno == errno.EACCES
    return True
