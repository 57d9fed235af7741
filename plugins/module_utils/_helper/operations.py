# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Operations: who may call one, and what a call's parameters make of its template. PRIVATE to the collection."""

from __future__ import annotations

import grp
import os
import pwd
import sys

from . import declared, generated, limits
from .capability_names import NUMBERS
from .parameters import BadParameter, check, matcher

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .connections import Client

#: The architectures whose system calls are known by their numbers (see `seccomp`).
FILTERED = ("x86_64", "aarch64")
#: What `seccomp` says of an operation that is not to be done without a filter.
REQUIRED = "required"
SECRET = "(secret)"
#: Characters of a value that are written down.
_SHOWN = 256
#: What every worker's environment begins with; nothing of the helper's own, and nothing of the caller's.
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/", "SHELL": "/bin/sh"}


class Path:
    """A path parameter of a call: its place in argv, its name, what was given, and what is declared of it."""

    __slots__ = ("declared", "index", "parameter", "value")

    def __init__(self, index: int, parameter: str, value: str, declared: dict[str, Any]) -> None:
        self.index = index
        self.parameter = parameter
        self.value = value
        self.declared = declared


class Work:
    """What a worker is to do; argv is empty for a function."""

    __slots__ = ("argv", "environment", "operation", "paths")

    def __init__(self, operation: Operation) -> None:
        self.operation = operation
        self.argv: list[str] = []
        self.environment: dict[str, str] = {}
        self.paths: list[Path] = []


class Operation:
    """One operation, checked. Made from what `schema.problems` found nothing wrong with."""

    __slots__ = (
        "_argv",
        "_environment",
        "account",
        "asynchronous",
        "capabilities",
        "class_",
        "coalesce",
        "description",
        "descriptors",
        "directory",
        "filtered",
        "forbid",
        "function",
        "gids",
        "has_paths",
        "has_secrets",
        "idempotency",
        "long_lived",
        "makes",
        "memory_max",
        "name",
        "on_disconnect",
        "parameters",
        "pooled",
        "rate",
        "returns",
        "secured_by",
        "services",
        "stream",
        "timeout",
        "uids",
        "unknown",
        "user",
    )

    def __init__(self, name: str, definition: dict[str, Any]) -> None:
        #: Names that this host does not know.
        self.unknown: list[str] = []
        #: Shared resources that it makes.
        self.makes: list[str] = []
        self.name = name
        self.description: str = definition.get("description", "")
        self.timeout = float(definition.get("timeout", declared.TIMEOUT))
        self.idempotency: str = definition.get("idempotency", "once")
        #: Whether it can be, or always is, a job.
        self.asynchronous: str = definition.get("asynchronous", "never")
        #: Whether identical calls share a run, and whether its output can be read as it comes.
        self.coalesce: bool = definition.get("coalesce", False)
        self.stream: bool = definition.get("stream", False)
        #: Whether what it leaves running when it ends is meant to go on.
        self.long_lived: bool = definition.get("long_lived", False)
        self.on_disconnect: str = definition.get("on_disconnect", "finish")
        self.capabilities = sorted({NUMBERS[one] for one in definition.get("capabilities", [])})
        self.user = str(definition.get("user", "root"))
        #: uid, gid and groups of the user. Looked up once: a name service takes longer than all the rest of a call.
        self.account = _user(self.user)
        if self.account is None:
            self.unknown.append(f"user: {self.user}")
        self.directory: str = definition.get("directory", "/")
        self.memory_max: int | None = definition.get("memory_max")
        self._argv: list[str] = definition.get("argv", [])
        function = definition.get("function")
        #: File and name of the function, where it is no program.
        self.function: tuple[str, str] | None = (function["file"], function["name"]) if function else None
        #: Whether a process of the pool does it.
        self.pooled: bool = definition.get("isolation", "pooled" if function else "fresh") == "pooled"
        #: The resource that this host has to hold meanwhile, "" for none.
        self.secured_by: str = definition.get("secured_by", "")
        if self.secured_by:
            self.pooled = False
        self._environment = {key: str(value) for key, value in definition.get("environment", {}).items()}
        self.parameters: dict[str, dict[str, Any]] = definition.get("parameters", {})
        for one in self.parameters.values():
            if one.get("pattern"):
                # Now, and not with the first call: what that needs might not be there any more.
                matcher(one["pattern"])
        self.has_paths = any(one["type"] == "path" for one in self.parameters.values())
        #: The parameters that are descriptors, and what is declared of the one that its function returns.
        self.descriptors = tuple(key for key, one in self.parameters.items() if one["type"] == "descriptor")
        self.returns: dict[str, Any] | None = definition.get("returns")
        self.has_secrets = any(one.get("no_log") for one in self.parameters.values())
        filtered = definition.get("seccomp", True)
        #: Whether there is a filter of system calls, which there is not where the inventory or this host has none, unless it is
        #: required: then nothing is done without it. And what it closes beside what all do.
        self.filtered: bool = filtered == REQUIRED or (filtered and has_filters())
        self.forbid: tuple[str, ...] = tuple(definition.get("forbid", ()))
        #: Operations that agree in all of this may share a process: none has more there than it declares itself.
        self.class_ = (
            function["file"] if function else "",
            self.user,
            tuple(self.capabilities),
            self.memory_max,
            self.directory,
            tuple(sorted(self._environment.items())),
            self.filtered,
            tuple(sorted(self.forbid)),
        )
        self.uids: set[int] = {0}
        self.gids: set[int] = set()
        #: Names of supervised services.
        self.services: list[str] = []
        rate = definition.get("rate")
        self.rate = limits.Limit(rate["calls"], float(rate["seconds"])) if rate else None
        overflow = _overflow()
        for one in definition["allow"]:
            ((kind, value),) = one.items()
            if kind == "service":
                self.services.append(value)
                continue
            found = number(kind, str(value))
            # The kernel shows everybody whom it can't name here as this one: to allow him is to allow all of them.
            if found is None or found == overflow[kind]:
                self.unknown.append(f"{kind} {value}")
            else:
                (self.uids if kind == "user" else self.gids).add(found)

    @property
    def preparable(self) -> bool:
        """Say whether a process can be made ready for it: a program for which nothing has to be opened as root before."""
        return self.function is None and not self.has_paths and not self.descriptors

    def allows(self, client: Client) -> bool:
        """Say whether a client may call. Root may: he could do the same without us."""
        if client.peer.uid in self.uids or not self.gids.isdisjoint(client.gids):
            return True
        return any(client.belongs_to(one) for one in self.services)

    def describe(self) -> dict[str, Any]:
        """Give what callers are told."""
        parameters = [
            {
                "name": name,
                "type": one["type"],
                "required": generated.required(one),
                "description": one.get("description", ""),
            }
            for name, one in self.parameters.items()
        ]
        return {
            "name": self.name,
            "description": self.description,
            "idempotency": self.idempotency,
            "on_disconnect": self.on_disconnect,
            "timeout": self.timeout,
            "isolation": "pooled" if self.pooled else "fresh",
            "asynchronous": self.asynchronous,
            "seccomp": self.filtered,
            "secured_by": self.secured_by or None,
            "stream": self.stream,
            "returns_descriptor": self.returns is not None,
            "makes": self.makes,
            "parameters": parameters,
        }

    def masked(self, given: dict[str, Any]) -> dict[str, Any]:
        """Give checked parameters as they may be written down."""
        return {key: SECRET if self.is_secret(key) else _cut(value) for key, value in given.items()}

    def is_secret(self, parameter: str) -> bool:
        """Say whether a parameter must not be written down."""
        return bool(self.parameters[parameter].get("no_log"))

    def complete(self, given: dict[str, Any], passed: bool = False) -> dict[str, Any]:
        """Check what a caller gave, and add the defaults. Raises BadParameter.

        passed: descriptors came with it. How many, and what they are, is seen by the worker alone.
        """
        for key in given:
            if key not in self.parameters:
                raise BadParameter("there is no such parameter", key[:64])
        values = {}
        for key, one in self.parameters.items():
            value = given.get(key)
            if value is None:
                value = one.get("default")
            if value is None:
                if one.get("required", True):
                    raise BadParameter("is missing", key)
                continue
            try:
                check(one, value)
            except BadParameter as error:
                raise BadParameter(str(error), key) from None
            values[key] = value
        if passed or self.descriptors:
            self._expect_descriptors(values, passed)
        return values

    def _expect_descriptors(self, values: dict[str, Any], passed: bool) -> None:
        named = [key for key in self.descriptors if key in values]
        if passed and not named:
            raise BadParameter("came with the call, and no parameter names one", "descriptors")
        if named and not passed:
            raise BadParameter("no descriptor came with the call", named[0])
        if sorted(values[key] for key in named) != list(range(len(named))):
            raise BadParameter("are to be numbered from 0, and each is for one parameter", "descriptors")

    def work(self, values: dict[str, Any]) -> Work:
        """Give what the worker is to do with checked *values*; descriptors are by their numbers in the worker."""
        work = Work(self)
        if self.function is not None:
            for name, one in self.parameters.items():
                if one["type"] == "path" and name in values:
                    work.paths.append(Path(-1, name, values[name], one))
        for word in self._argv:
            found = declared.placeholder(word)
            if not found:
                work.argv.append(word)
                continue
            if found not in values:
                continue
            one, value = self.parameters[found], values[found]
            if one["type"] == "path":
                work.paths.append(Path(len(work.argv), found, value, one))
                work.argv.append(value)
            elif "flag" in one:
                if value:
                    work.argv.append(one["flag"])
            else:
                work.argv.append(_word(value, one))
        work.environment.update(ENVIRONMENT)
        for key, text in self._environment.items():
            found = declared.placeholder(text)
            if not found:
                work.environment[key] = text
            elif found in values:
                work.environment[key] = _word(values[found], self.parameters[found])
        return work


def _cut(value: object) -> object:
    return f"{value[:_SHOWN]}…" if isinstance(value, str) and len(value) > _SHOWN else value


def _word(value: object, declared: dict[str, Any]) -> str:
    if declared["type"] == "descriptor" and declared.get("form", "path") == "path":
        return f"/proc/self/fd/{value}"
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def number(kind: str, value: str) -> int | None:
    """Give the number of a user or group by its name or number, None if there is none."""
    if value.isdecimal():
        return int(value)
    try:
        return pwd.getpwnam(value).pw_uid if kind == "user" else grp.getgrnam(value).gr_gid
    except KeyError:
        return None


def has_filters() -> bool:
    """Say whether system calls are filtered: on an architecture whose numbers are known, unless the kernel says that it can't.

    Where /proc is hidden and nobody says anything, they are: a worker that can't have its filter does nothing.
    """
    if os.uname().machine not in FILTERED or sys.byteorder != "little" or sys.maxsize < 2**32:
        return False
    if os.path.exists("/proc/sys/kernel/seccomp/actions_avail"):
        return True
    try:
        with open("/proc/self/status", "rb") as file:
            status = file.read()
    except OSError:
        return True
    if b"\nSeccomp:" not in status:
        return False
    # Linux 5.9 says more; an older one that has filters would have had the file above.
    return b"\nSeccomp_filters:" in status or not os.path.isdir("/proc/sys/kernel")


def _user(user: str) -> tuple[int, int, list[int]] | None:
    try:
        account = pwd.getpwuid(int(user)) if user.isdecimal() else pwd.getpwnam(user)
    except KeyError:
        return None
    groups = os.getgrouplist(account.pw_name, account.pw_gid) if account.pw_uid else [0]
    return account.pw_uid, account.pw_gid, groups


def _overflow() -> dict[str, int]:
    found = {}
    for kind, path in (("user", "/proc/sys/kernel/overflowuid"), ("group", "/proc/sys/kernel/overflowgid")):
        try:
            with open(path, encoding="ascii") as file:
                found[kind] = int(file.read())
        except OSError:
            found[kind] = 65534
    return found
