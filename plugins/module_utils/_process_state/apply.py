# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Apply a process state (user, groups, limits, nice …) to the calling process, between fork and exec.

Order matters: what needs root comes before the identity, and whatever opens a file (names are looked up in files) comes
before the limits, since the caller still has more descriptors open than a limit may allow. Nothing here is undone after
an error: the caller is a forked child, which reports the error and exits. PRIVATE to the collection.
"""

from __future__ import annotations

import grp
import os
import pwd
import resource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Names of the schema's limits and the kernel's numbers for them.
LIMITS = {
    "as": resource.RLIMIT_AS,
    "core": resource.RLIMIT_CORE,
    "cpu": resource.RLIMIT_CPU,
    "data": resource.RLIMIT_DATA,
    "fsize": resource.RLIMIT_FSIZE,
    "memlock": resource.RLIMIT_MEMLOCK,
    "msgqueue": resource.RLIMIT_MSGQUEUE,
    "nice": resource.RLIMIT_NICE,
    "nofile": resource.RLIMIT_NOFILE,
    "nproc": resource.RLIMIT_NPROC,
    "rss": resource.RLIMIT_RSS,
    "rtprio": resource.RLIMIT_RTPRIO,
    "rttime": resource.RLIMIT_RTTIME,
    "sigpending": resource.RLIMIT_SIGPENDING,
    "stack": resource.RLIMIT_STACK,
}


_KEYS = (
    "user",
    "group",
    "groups",
    "umask",
    "nice",
    "limits",
    "oom_score_adjust",
    "security_context",
    "runtime_directories",
)


class StateError(Exception):
    """A part of the process state can't be had; the text names it."""


def needed(state: dict[str, Any]) -> bool:
    """Say whether *state* asks for anything, so that a fork is needed instead of a plain spawn."""
    return any(state.get(key) not in (None, {}, []) for key in _KEYS)


def apply(state: dict[str, Any], environment: dict[str, str], nofile: tuple[int, int] | None = None) -> None:
    """Make the calling process what *state* (the `process` object of holdfast.json) says.

    HOME, USER, LOGNAME and SHELL of the user are added to *environment*. nofile: soft and hard limit of descriptors where
    *state* has none; None leaves it. Raises StateError.
    """
    account = _account(state.get("user"))
    group = _group(state.get("group"), account)
    groups = _groups(state, account, group)
    if state.get("oom_score_adjust") is not None:
        _attempt("oom_score_adjust", _write, "/proc/self/oom_score_adj", str(state["oom_score_adjust"]))
    if state.get("nice") is not None:
        _attempt("nice", os.setpriority, os.PRIO_PROCESS, 0, state["nice"])
    _make_directories(state, account, group)
    if state.get("umask") is not None:
        os.umask(state["umask"])
    if account is not None:
        environment.update(HOME=account.pw_dir, USER=account.pw_name, LOGNAME=account.pw_name, SHELL=account.pw_shell)
    for module, label in (state.get("security_context") or {}).items():
        if label is not None:
            _attempt(f"security_context.{module}", _label_next_exec, module, label)
    limits = dict(state.get("limits") or {})
    if nofile is not None:
        limits.setdefault("nofile", nofile)
    for name, (soft, hard) in limits.items():
        try:
            resource.setrlimit(LIMITS[name], (soft, hard))
        except (OSError, ValueError) as error:
            raise StateError(f"limits.{name}: ({soft}, {hard}): {error}") from None
    if groups is not None:
        _attempt("groups", os.setgroups, groups)
    if os.geteuid() == 0:
        if group is not None:
            _attempt("group", os.setresgid, group, group, group)
        if account is not None:
            _attempt("user", os.setresuid, account.pw_uid, account.pw_uid, account.pw_uid)


def account_of(state: dict[str, Any]) -> tuple[int, int]:
    """Give uid and gid of the process that *state* describes; -1 where that is the caller's. Raises StateError."""
    account = _account(state.get("user"))
    group = _group(state.get("group"), account)
    return account.pw_uid if account else -1, group if group is not None else -1


def make_directories(state: dict[str, Any]) -> None:
    """Make the runtime directories of *state*, and nothing else. Raises StateError."""
    account = _account(state.get("user"))
    _make_directories(state, account, _group(state.get("group"), account))


def _make_directories(state: dict[str, Any], account: pwd.struct_passwd | None, group: int | None) -> None:
    for folder in state.get("runtime_directories") or ():
        _attempt(f"runtime_directories: {folder['path']}", _runtime_directory, folder, account, group)


def _account(user: str | None) -> pwd.struct_passwd | None:
    if user is None:
        return None
    try:
        return pwd.getpwuid(int(user)) if user.isdigit() else pwd.getpwnam(user)
    except KeyError:
        raise StateError(f"user: there is no user {user!r}") from None


def _group(group: str | None, account: pwd.struct_passwd | None) -> int | None:
    if group is None:
        return account.pw_gid if account else None
    try:
        return int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
    except KeyError:
        raise StateError(f"group: there is no group {group!r}") from None


def _groups(state: dict[str, Any], account: pwd.struct_passwd | None, group: int | None) -> list[int] | None:
    """Give the supplementary groups to set, None to leave them as they are."""
    names = state.get("groups")
    if os.geteuid() != 0:
        wrong = (account is not None and account.pw_uid != os.geteuid()) or (
            group is not None and group != os.getegid()
        )
        if wrong or names:
            raise StateError("user, group, groups: only a supervisor that runs as root can change them")
        return None
    if names is not None:
        return [_group(name, None) or 0 for name in names]
    if account is not None and group is not None:
        return os.getgrouplist(account.pw_name, group)
    return [] if group is not None else None


def _runtime_directory(folder: dict[str, Any], account: pwd.struct_passwd | None, group: int | None) -> None:
    owner = _account(folder.get("user")) or account
    gid = _group(folder.get("group"), owner if folder.get("user") else None)
    if gid is None:
        gid = group if group is not None else -1
    descriptor = _open_directory(folder["path"])
    try:
        if os.geteuid() == 0:
            os.fchown(descriptor, owner.pw_uid if owner else -1, gid)
        os.fchmod(descriptor, folder.get("mode", 0o755))
    finally:
        os.close(descriptor)


def _open_directory(path: str) -> int:
    """Open the directory *path*, making it and its parents as they are missing.

    Component by component: below a directory that somebody else may write to, no link is followed, for he could have
    put it there.
    """
    descriptor = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    parts = [part for part in path.split("/") if part not in ("", ".")]
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        parent = os.fstat(descriptor)
        trusted = parent.st_uid in (0, os.geteuid()) and not parent.st_mode & 0o022 and not last
        flags = (os.O_RDONLY if last else os.O_PATH) | os.O_DIRECTORY | os.O_CLOEXEC
        try:
            try:
                os.mkdir(part, 0o700 if last else 0o755, dir_fd=descriptor)
            except FileExistsError:
                pass
            below = os.open(part, flags | (0 if trusted else os.O_NOFOLLOW), dir_fd=descriptor)
        finally:
            os.close(descriptor)
        descriptor = below
    return descriptor


def _label_next_exec(module: str, label: str) -> None:
    """Have the kernel give *label* to the program that is executed next (see proc_pid_attr(5))."""
    if module == "selinux":
        _write("/proc/thread-self/attr/exec", label)
    else:
        own = "/proc/thread-self/attr/apparmor/exec"
        _write(own if os.path.exists(own) else "/proc/thread-self/attr/exec", f"exec {label}")


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def _attempt(what: str, function: Any, *arguments: Any) -> None:
    try:
        function(*arguments)
    except OSError as error:
        raise StateError(f"{what}: {error.strerror or error}") from None
