# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`holdfast helper`: the privileged helper as a program. PRIVATE to the collection.

    holdfast helper [--check] [--notify-fd N] FILE

It stays in the foreground and writes its audit log to standard output. TERM and INT: finish what is at work, then end.
--check only says what is wrong with FILE. Exit codes: 0 ended as asked, 1 FILE is wrong, 2 wrong usage, 100 another
helper has the directory, 111 something can't be used.
"""

from __future__ import annotations

import gc
import os
import resource
import stat
import sys
import time

from .._lean import json, signal
from .._supervise._embedded import children, files, loop
from . import audit, declared, down, journal, judging, operations, pool, services
from .limits import Limit
from .operations import Operation
from .parameters import is_absolute
from .server import Api
from .services import Services
from .trust import untrusted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

USAGE = "usage: holdfast helper [--check] [--notify-fd N] FILE\n"
#: Descriptors that it may have: those of its connections, and some for each worker.
DESCRIPTORS = 4096
WRONG, WRONG_USAGE, LOCKED, UNUSABLE = 1, 2, 100, 111
#: Seconds that the children of a killed helper have to let go of its lock.
ORPHANED_LOCK = 10.0


class _Fatal(Exception):
    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def main(arguments: list[str]) -> int:
    """Run the helper; returns its exit code."""
    check, notify, names = False, -1, []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word == "--check":
            check = True
        elif word == "--notify-fd" and rest and rest[0].isdecimal():
            notify = int(rest.pop(0))
        else:
            names.append(word)
    if len(names) != 1 or names[0].startswith("-"):
        _say(USAGE)
        return WRONG_USAGE
    document: dict[str, Any] = {}
    try:
        document = _read(names[0], check)
        _judge(names[0], document)
        return 0 if check else _serve(document, notify)
    except _Fatal as error:
        code, text = error.code, str(error)
    except OSError as error:
        code, text = UNUSABLE, f"{error.filename or ''}: {error.strerror}"
    _say(f"holdfast helper: {text}\n")
    if not check and code != LOCKED and is_absolute(document.get("socket")):
        # The first line names no operation.
        down.leave(document["socket"], down.FAILED, text.partition("\n")[0])
    return code


def _read(path: str, check: bool) -> dict[str, Any]:
    """Give the content of FILE. Only root's word, or our own, says what root does."""
    reason = "" if check else untrusted(path)
    if reason:
        raise _Fatal(UNUSABLE, reason)
    try:
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
    except ValueError as error:
        raise _Fatal(WRONG, f"{path}: {error}") from None
    return document if isinstance(document, dict) else {}


def _judge(path: str, document: dict[str, Any]) -> None:
    """Raise _Fatal unless the content of FILE is right."""
    problems = judging.problems(document)
    if problems:
        raise _Fatal(WRONG, "\n".join([f"{path}: {len(problems)} problems", *problems]))


def _serve(document: dict[str, Any], notify: int) -> int:
    os.umask(0o022)
    path, state = str(document["socket"]), str(document["state_directory"])
    for folder in (os.path.dirname(path), state):
        _make(folder)
    # Held for life; nobody else is the helper of this directory.
    try:
        lock = files.lock_after(state + "/lock", ORPHANED_LOCK)
    except files.Busy:
        raise _Fatal(LOCKED, f"{state}: another helper runs here") from None
    # What the last one left does not hold any more: whoever looks for a helper may wait for this one.
    down.clear(path)
    definitions = document["operations"]
    known = {
        name: Operation(name, {**one, "secured_by": declared.secured_by(document, one)})
        for name, one in definitions.items()
    }
    files.close_on_exec()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    most = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    log = journal.Journal(state + "/journal")
    _recover(log, state + "/workers")
    told = _services(document)
    for one in known.values():
        one.unknown += [f"service {name}: {why}" for name in one.services if (why := told.problem(name))]
        if one.unknown:
            audit.record("operation", operation=one.name, outcome="unknown names", unknown=one.unknown)
    turns = loop.Loop()
    family = children.Children(turns)
    turns.on_signal(signal.SIGCHLD, family.reap)
    workers = pool.Pool(turns, family, known, state + "/workers")
    jobs = str(document.get("jobs_directory", state + "/jobs"))
    _make(os.path.dirname(jobs))
    if all(one.asynchronous == "never" for one in known.values()) and not _is_used(jobs):
        jobs = ""
    version = os.path.basename(os.path.realpath(sys.argv[0]))
    rate = document.get("rate")
    limit = Limit(rate["calls"], float(rate["seconds"])) if rate else None
    resources = document.get("resources", {}), state + "/resources"
    guards = document.get("guards", ())
    api = Api(turns, family, workers, known, log, jobs, path, version, told, resources, limit, guards)
    deadly = document.get("failure_limit")
    if deadly:
        _count_deaths(turns, path, state, int(deadly["deaths"]), float(deadly["within"]))
    for number in (signal.SIGTERM, signal.SIGINT):
        turns.on_signal(number, api.stop)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # What is there now stays: the collector need not write to it, which after every fork would copy its pages.
    gc.collect()
    gc.freeze()
    details: dict[str, Any] = {"operations": sorted(known), "seccomp": operations.has_filters(), "services_by": told.by}
    audit.record("start", pid=os.getpid(), **details)
    if notify >= 0:
        os.write(notify, b"\n")
        os.close(notify)
    turns.run()
    down.end_life(state)
    down.leave(path, down.STOPPED)
    audit.record("stop", pid=os.getpid())
    os.close(lock)
    return 0


def _count_deaths(turns: loop.Loop, path: str, state: str, limit: int, within: float) -> None:
    """Foretell that there will be no next helper, as long as the next death is the one after which it is given up."""
    deaths = down.begin_life(state, within)
    if len(deaths) + 1 >= limit:
        reason = f"the helper was killed {limit} times within {within:g} s, and its supervisor has given it up"
        down.foretell(path, reason)
        if limit > 1:
            # The one that has to be forgotten before another death is one too few.
            over = deaths[-(limit - 1)] + within - time.clock_gettime(time.CLOCK_BOOTTIME)
            turns.later(max(over, 0.0), lambda: down.clear(path))


def _services(document: dict[str, Any]) -> Services:
    section = document.get("services", {})
    users = {name: operations.number("user", str(user)) for name, user in section.get("users", {}).items()}
    return Services(
        section.get("manager", ""),
        section.get("scan_directory", ""),
        section.get("identity", services.AUTO),
        {name: uid for name, uid in users.items() if uid is not None},
    )


def _make(folder: str) -> None:
    """Have a directory that nobody else may write to: whoever can rename a socket is the helper."""
    os.makedirs(folder, 0o755, exist_ok=True)
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise _Fatal(UNUSABLE, f"{folder}: is to be a directory of our own that nobody else may write to")


def _is_used(folder: str) -> bool:
    try:
        return bool(os.listdir(folder))
    except FileNotFoundError:
        return False


def _recover(log: journal.Journal, workers: str) -> None:
    """End what an earlier helper left at work: its result can't reach anybody, and it must not go on beside another."""
    for pid in pool.end_leftovers(workers):
        audit.record("recovery", worker=pid, outcome="killed")
    for uid, id_, pid in log.unfinished():
        log.lost(uid, id_)
        audit.record("recovery", caller=uid, id=id_, worker=pid, outcome="outcome unknown")


def _say(text: str) -> None:
    os.write(2, text.encode("utf-8", "replace"))
