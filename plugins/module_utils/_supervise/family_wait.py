# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Waiting for services of the daemontools family: verdicts, and the end of those that do not end. PRIVATE to the collection.

The suites tell nobody when something has happened (s6 could, but only its own programs know how to listen), so the
status files are looked at again and again; one look costs a tenth of a millisecond.
"""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

from . import former_start
from .attending import is_asked_to_run
from .family_directories import changed_at, note, words
from .family_files import NoSupervisor, Status, send, supervised
from .family_scripts import attended, stop_signal, stop_timeout
from .interface import DEATHS, Service, Verdict
from .portable import Portable
from .portable import read as read_portable

if TYPE_CHECKING:
    from .family import Family
    from .family_scripts import Dialect

#: Seconds between two looks, at first and later.
SHORT, LONG = 0.01, 0.05
#: Seconds that one run of a check may take.
CHECK_TIME = 30.0
#: Seconds in which a supervisor has read what was written to its control FIFO; daemontools sleeps for one after a start.
UNREAD = 3.0


class _Ending:
    """A process that was told to end: killed when it is late, and what it leaves of its group after it."""

    __slots__ = ("deadline", "group", "killed", "number", "pid", "stamp")

    def __init__(self, portable: Portable, dialect: Dialect, status: Status) -> None:
        timeout = stop_timeout(portable, dialect)
        self.pid = 0 if status.finishing else status.pid
        self.stamp = status.stamp
        # A parent of ours looks after it.
        self.group = portable.meta.get("kill") == "group" and not attended(portable, dialect)
        self.number = signal.Signals[f"SIG{stop_signal(portable, dialect)}"]
        self.deadline = time.monotonic() + timeout if timeout else float("inf")
        self.killed = False


class _Check:
    """A run of the script `check` of one process."""

    __slots__ = ("began", "process", "verified", "wait_until")

    def __init__(self) -> None:
        self.process = 0
        self.began = 0.0
        self.wait_until = 0.0
        self.verified = 0


class _Wish:
    """One wish under way. seen: whether a process ran, as its supervisor knew, at the last look, and the stamp of that."""

    __slots__ = ("check", "deaths", "former", "name", "portable", "seen", "state")

    def __init__(self, name: str, state: str, portable: Portable | None) -> None:
        self.name = name
        self.state = state
        self.portable = portable
        self.seen: tuple[bool, bytes] | None = None
        self.deaths = 0
        self.check = _Check()
        self.former: former_start.Ending | None = None

    def saw(self, status: Status) -> bool:
        """Note a status that is not that of `finish`. Gives whether it is a new one."""
        now = bool(status.pid) or status.unheard, status.stamp
        before, self.seen = self.seen, now
        if before is None or before == now:
            return before is None
        # Between two rests with different stamps there was a life too short to be seen.
        self.deaths += before[0] or not now[0]
        return True


class Waiting:
    """All waiting of one backend."""

    def __init__(self, backend: Family) -> None:
        self._backend = backend
        self._ending: dict[str, _Ending] = {}
        #: Process of each service before the last command that starts it, and when that was (monotonic).
        self._commanded: dict[str, tuple[int, float]] = {}

    def commanded(self, name: str, status: Status | None) -> None:
        """Note that a service is told to start; *status* is that before."""
        self._commanded[name] = 0 if status is None else status.pid, time.monotonic()

    def stopping(self, portable: Portable, status: Status) -> None:
        """Note that the running process of a service was told to end."""
        self._ending[portable.name] = _Ending(portable, self._backend.dialect, status)

    def wait(self, wishes: list[tuple[str, str]], timeout: float) -> dict[str, Verdict]:
        """Give a verdict for each wish within *timeout* seconds."""
        deadline = time.monotonic() + timeout
        verdicts: dict[str, Verdict] = {}
        pending = [_Wish(name, state, read_portable(self._backend.scan, name)) for name, state in wishes]
        pause = SHORT
        try:
            while True:
                for wish in pending:
                    verdict = self._look(wish)
                    if verdict is not None:
                        verdicts[wish.name] = verdict
                pending = [wish for wish in pending if wish.name not in verdicts]
                if not pending or time.monotonic() >= deadline:
                    break
                time.sleep(max(min(pause, deadline - time.monotonic()), 0.0))
                pause = min(pause * 1.2, LONG)
        finally:
            for wish in pending:
                _end_check(wish.check)
        for wish in pending:
            verdicts[wish.name] = Verdict(wish.name, "timeout", self._service(wish))
        return verdicts

    def _service(self, wish: _Wish, status: Status | None = None) -> Service | None:
        if wish.portable is None:
            return None
        service = self._backend.service(wish.portable, status)
        service.deaths = max(service.deaths, wish.deaths)
        return service

    def _look(self, wish: _Wish) -> Verdict | None:
        directory = self._backend.directory(wish.name)
        if wish.state == "gone":
            return None if os.path.isdir(directory) else Verdict(wish.name, "reached", None)
        status = (
            self._backend.status(wish.name) if wish.portable and supervised(directory, self._backend.form) else None
        )
        if status is None or wish.portable is None:
            return Verdict(wish.name, "failed", None)
        if self._still_ending(wish.name, status) or status.finishing or status.stopping:
            return None
        if wish.state == "down":
            if status.pid or status.unheard or status.want == "up" or self._is_left(wish, wish.portable, status):
                return None
            return Verdict(wish.name, "reached", self._service(wish, status))
        return self._look_for_ready(wish, wish.portable, status)

    def _look_for_ready(self, wish: _Wish, portable: Portable, status: Status) -> Verdict | None:
        if not status.pid and not status.unheard and status.want != "up":
            if self._may_be_unread(wish.name):
                return None
            return Verdict(wish.name, "failed", self._service(wish, status))
        if wish.saw(status):
            _end_check(wish.check)
            wish.check = _Check()
        if wish.deaths >= DEATHS:
            return Verdict(wish.name, "failed", self._service(wish, status))
        if not status.pid:
            return None
        if (portable.meta.get("readiness") or {}).get("check"):
            self._advance_check(wish, portable, status)
        service = self._service(wish, status)
        if service is None:
            return None
        if service.state == "scheduled":
            if is_asked_to_run(self._backend.directory(wish.name)):
                return None
            return Verdict(wish.name, "reached" if service.ready else "failed", service)
        if not service.ready and not (service.state == "waiting" and self._backend.stands_by(wish.name)):
            return None
        return Verdict(wish.name, "reached", service)

    def _may_be_unread(self, name: str) -> bool:
        """Tell whether a service that is down may still be about to obey the command to start."""
        before, when = self._commanded.get(name, (0, float("-inf")))
        passed = time.monotonic() - when
        if passed >= UNREAD:
            return False
        directory = self._backend.directory(name)
        ended = words(directory, "ended")
        # Another process than that before has run since, and has ended.
        is_later = changed_at(directory, "ended") >= time.time() - passed
        return not (is_later and len(ended) > 2 and ended[2] != str(before))

    # -- those that were told to end

    def _still_ending(self, name: str, status: Status) -> bool:
        """Tell whether the process that was told to end is still there; kill it when it is late."""
        ending = self._ending.get(name)
        if ending is None:
            return False
        if status.stamp == ending.stamp and (status.pid == ending.pid or status.unheard):
            if time.monotonic() >= ending.deadline and not ending.killed:
                ending.killed = True
                try:
                    send(f"{self._backend.directory(name)}/supervise/control", b"k")
                except (NoSupervisor, OSError):
                    return True
                if ending.group:
                    _signal_group(ending.pid, signal.SIGKILL)
            return True
        if ending.group and ending.pid and not self._backend.dialect.native_finish:
            _signal_group(ending.pid, signal.SIGKILL if ending.killed else ending.number)
        del self._ending[name]
        return False

    def _is_left(self, wish: _Wish, portable: Portable, status: Status) -> bool:
        """Tell whether something of former starts is there yet, and have it end: no supervisor knows of it."""
        directory = self._backend.directory(wish.name)
        left = former_start.of_suite(directory)
        again = self._backend.status(wish.name) if left else None
        if again is not None and again.stamp == status.stamp and not again.pid:
            # Nobody has started it meanwhile: that one would be no former one.
            if wish.former is None:
                dialect = self._backend.dialect
                group = portable.meta.get("kill") == "group"
                wish.former = former_start.Ending(
                    stop_signal(portable, dialect), stop_timeout(portable, dialect), group
                )
            wish.former.advance(left)
        return bool(left)

    # -- checks

    def _advance_check(self, wish: _Wish, portable: Portable, status: Status) -> None:
        check, now = wish.check, time.monotonic()
        if check.verified == status.pid:
            return
        if check.process:
            done, code = os.waitpid(check.process, os.WNOHANG)
            if done:
                check.process = 0
                check.wait_until = now + float((portable.meta.get("readiness") or {}).get("interval") or 0.5)
                if code == 0:
                    check.verified = status.pid
                    note(self._backend.directory(wish.name), "verified", f"{status.pid}\n")
            elif now - check.began > CHECK_TIME:
                _end_check(check)
                check.wait_until = now
            return
        if now >= check.wait_until:
            check.process, check.began = _start_check(portable.path), now


def _start_check(directory: str) -> int:
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    # As the suite would: nothing of the task that waits reaches it.
    environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    return os.posix_spawn(f"{directory}/check", ["./check"], environment, file_actions=actions, setsid=True)


def _end_check(check: _Check) -> None:
    if check.process:
        _signal_group(check.process, signal.SIGKILL)
        os.waitpid(check.process, 0)
        check.process = 0


def _signal_group(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except OSError:
        return
