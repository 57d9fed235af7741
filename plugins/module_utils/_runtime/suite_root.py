# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A suite of the daemontools family as what supervises a scan directory. PRIVATE to the collection.

The suite scans SCAN/.NAME, a directory of our own: what the distribution's packages scan (/etc/service and the like) is
not looked at. Its root process is run by systemd, or detached from us where there is none. When it dies and comes back
the services go on, with the supervisors that they had.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import time
from typing import Any, ClassVar

from .._supervise.daemontools import Daemontools
from .._supervise.daemontools_encore import DaemontoolsEncore
from .._supervise.family import Family, find_program
from .._supervise.family_directories import ours
from .._supervise.family_files import supervised
from .._supervise.presence import find_root
from .._supervise.runit import Runit
from .._supervise.s6 import S6
from . import beginning, control, detached
from .files import TEMPORARY, read_text, write_text
from .host import LOG, Failed
from .roots import Root

#: In the suite's directory: says whose the loggers are, and ends everything (for systemd; see the unit).
LOGGER, STOP = ".logger", ".stop"

STOP_SCRIPT = """\
#!/bin/sh
# Ends all services of this directory and their supervisors, then the loggers. Written by Ansible (holdfast.supervision).
cd "$(dirname "$0")" || exit 111
# First whoever would start them again; systemd says who that is.
if [ -n "${MAINPID-}" ]; then
    kill "$MAINPID"
    while kill -0 "$MAINPID" 2>/dev/null; do sleep 0.05; done
fi
tell() {
    for fifo in "$@"; do
        # Opened for both directions, so that one that nobody reads does not hold us up.
        if [ -p "$fifo" ]; then printf dx 1<>"$fifo"; fi
    done
}
gone() {
    tries=0
    for lock in "$@"; do
        [ -e "$lock" ] || continue
        until flock --nonblock "$lock" true || [ "$tries" -ge 600 ]; do
            tries=$((tries + 1))
            sleep 0.1
        done
    done
}
tell */supervise/control
gone */supervise/lock
tell */log/supervise/control
gone */log/supervise/lock
"""


class SuiteRoot(Root):
    """The root process of a suite on SCAN/.NAME."""

    backend: ClassVar[type[Family]]
    #: The package of the distribution, in words, and the programs that have to be there.
    package: ClassVar[str]
    programs: ClassVar[tuple[str, ...]]
    installed_before = True

    @property
    def folder(self) -> str:
        """Give the suite's scan directory."""
        return os.path.join(self.wanted.scan_directory, f".{self.name}")

    def check(self) -> None:
        """Raise Failed unless the programs are there."""
        other = self.host.other_root()
        if other is not None and os.geteuid() == 0 and not self._is_run_by_process_one():
            raise Failed(control.beside(other))
        missing = [program for program in self.programs if not self._find(program)]
        if missing:
            where = f"in {self.wanted.prefix}" if self.wanted.prefix else "on this host"
            raise Failed(
                f"supervisor_backend: {self.name}: there is no {', no '.join(missing)} {where}: {self.package}"
            )

    def differing(self, version: str | None) -> list[tuple[str, str, str]]:
        """Compare directory, owner of the loggers, unit and root process."""
        steps = []
        if not os.path.isdir(self.folder):
            steps.append((f"make {self.folder}", "", "directory, mode 0755\n"))
        if self._logger_differs():
            steps.append((f"make {self.folder}/{LOGGER}", "", f"owner {self.wanted.log_user or 'as deployed'}\n"))
        if self._idle and not os.path.exists(f"{self._idle}/down"):
            steps.append((f"make {self._idle}", "", "a service that is never started\n"))
        for name, text in self._scripts().items():
            before = read_text(os.path.join(self.folder, name))
            if before != text:
                steps.append((f"write {self.folder}/{name}", before or "", text))
        systemd = self.host.systemd
        if systemd is not None:
            steps += [
                (f"write unit {name}", systemd.before(name) or "", systemd.texts[name]) for name in systemd.differing()
            ]
            steps += [(f"enable unit {name}", "", f"{name}\n") for name in systemd.disabled()]
        if self.running() is None or (systemd is not None and systemd.inactive()):
            steps.append(("start the supervisor", "", f"{self.backend.scanner} {self.folder}\n"))
        return steps

    def bring_into_line(self, version: str | None) -> None:
        """Do all that is missing. A changed unit counts from the next start on: no service is touched for it."""
        if not os.path.isdir(self.folder):
            os.mkdir(self.folder, 0o755)
            os.chmod(self.folder, 0o755)
        logger = os.path.join(self.folder, LOGGER)
        if self._logger_differs():
            os.makedirs(logger, 0o755, exist_ok=True)
            uid, gid = self._log_owner()
            os.chown(logger, uid, gid)
        if self._idle:
            os.makedirs(self._idle, 0o755, exist_ok=True)
            write_text(f"{self._idle}/down", "", 0o644)
        for name, text in self._scripts().items():
            write_text(os.path.join(self.folder, name), text, 0o755)
        systemd = self.host.systemd
        if systemd is not None:
            if systemd.differing():
                systemd.write(systemd.differing())
            if systemd.disabled():
                systemd.enable(systemd.disabled())
        pid = find_root(self.backend.scanner, self.folder)
        if systemd is not None:
            if pid and systemd.inactive():
                # Started by hand, or detached: the one of the unit takes its place, the services go on.
                os.kill(pid, signal.SIGKILL)
            systemd.start()
        elif not pid:
            begin = [os.path.join(self.folder, beginning.NAME)]
            detached.start(begin + self._command(), os.path.join(self.wanted.run_directory, LOG))
        deadline = time.monotonic() + self.wanted.timeout
        while self.running() is None:
            if time.monotonic() >= deadline:
                raise Failed(
                    f"{self.backend.scanner} does not run {self.wanted.timeout:g} s after its start{self.host.said()}"
                )
            time.sleep(0.02)

    def running(self) -> dict[str, Any] | None:
        """Give the root process."""
        pid = find_root(self.backend.scanner, self.folder)
        if not pid:
            return None
        return {"pid": pid, "version": self.backend.scanner, "since": os.stat(f"/proc/{pid}").st_mtime}

    def stop(self) -> None:
        """Stop the services, their loggers, and the root process first, so that it starts none of them again."""
        if self.host.systemd is not None and self.host.systemd.installed():
            self.host.systemd.stop()
        deadline = time.monotonic() + self.wanted.stop_timeout
        pid = find_root(self.backend.scanner, self.folder)
        if pid:
            os.kill(pid, signal.SIGTERM)
        while pid and find_root(self.backend.scanner, self.folder) == pid and time.monotonic() < deadline:
            time.sleep(0.05)
        if not os.path.isdir(self.folder):
            return
        if not os.path.exists(os.path.join(self.folder, STOP)):
            # Its making was interrupted.
            write_text(os.path.join(self.folder, STOP), STOP_SCRIPT, 0o755)
        code, output, errors = self.host.run([os.path.join(self.folder, STOP)])
        if code != 0:
            raise Failed(f"{self.folder}/{STOP} failed: {(errors or output).strip()}")
        while self._left():
            if time.monotonic() >= deadline:
                raise Failed(f"not stopped within {self.wanted.stop_timeout:g} s: {', '.join(self._left())}")
            time.sleep(0.05)

    def traces(self) -> list[str]:
        """Give the units and the suite's directory."""
        units = self.host.systemd.installed() if self.host.systemd else []
        return [f"unit {name}" for name in units] + ([self.folder] if os.path.isdir(self.folder) else [])

    def remove(self) -> None:
        """Remove both. Directories in it that are not ours stay, and it with them."""
        if self.host.systemd is not None and self.host.systemd.installed():
            self.host.systemd.remove()
        for name in ours(self.folder) | self._unfinished():
            shutil.rmtree(os.path.join(self.folder, name))
        for name in (LOGGER, ".s6-svscan", *filter(None, [self.backend.idle])):
            shutil.rmtree(os.path.join(self.folder, name), ignore_errors=True)
        for name in (STOP, beginning.NAME, ".forced-rescan"):
            # The latter is what Debian's runsvdir makes when it is woken.
            if os.path.exists(os.path.join(self.folder, name)):
                os.unlink(os.path.join(self.folder, name))
        for name in os.listdir(self.folder) if os.path.isdir(self.folder) else ():
            # What an interrupted writing has left.
            if name.startswith(TEMPORARY):
                os.unlink(os.path.join(self.folder, name))
        if os.path.isdir(self.folder) and not os.listdir(self.folder):
            os.rmdir(self.folder)

    def left(self) -> bool:
        """Tell whether anything of ours is left: a suite that others use too stays."""
        return bool(ours(self.folder)) if self._foreign() else super().left()

    def keeps(self) -> list[str]:
        """Name a root process that is missing while there are services of others, whom nobody may stop."""
        if not self._foreign() or self.running() is not None:
            return []
        names = ", ".join(self._foreign())
        return [
            f"{self.folder} has services that are not ours ({names}), and no {self.backend.scanner}: start it, or move them away"
        ]

    def retire(self) -> None:
        """Stop and remove it, unless it has services of others."""
        deadline = time.monotonic() + self.wanted.timeout
        while os.path.isdir(self.folder) and not self._foreign():
            super().retire()
            if time.monotonic() >= deadline:
                return
            # An interrupted run may have started a root process that nobody could see until now.
            time.sleep(0.05)
        if not self._foreign():
            super().retire()

    def boot(self) -> str:
        """Say what starts the root process."""
        if self.host.systemd is not None:
            told = self.host.systemd.boots.replace("starts it", f"starts {self.backend.scanner}")
            return f"{told}, and that the services"
        return self.host.boot()

    @property
    def _idle(self) -> str:
        return os.path.join(self.folder, self.backend.idle) if self.backend.idle else ""

    def _is_run_by_process_one(self) -> bool:
        """Tell whether process 1 is the root process itself, as in a container that was made for this."""
        return find_root(self.backend.scanner, self.folder) == 1

    def _unfinished(self) -> set[str]:
        """Give the directories of services that an interrupted run had just begun to make, before their mark."""
        try:
            names = os.listdir(self.folder)
        except OSError:
            return set()
        return {
            name
            for name in names
            if name[0] == "." and name.endswith(".new") and os.path.isdir(f"{self.folder}/{name}")
        }

    def _foreign(self) -> list[str]:
        """Give the services in the suite's directory that somebody else has put there."""
        mine = ours(self.folder) | {self.backend.idle}
        try:
            names = sorted(os.listdir(self.folder))
        except OSError:
            return []
        return [
            name for name in names if name[0] != "." and name not in mine and os.path.isdir(f"{self.folder}/{name}")
        ]

    def _left(self) -> list[str]:
        root = find_root(self.backend.scanner, self.folder)
        left = [f"{self.backend.scanner} (process {root})"] if root else []
        names = sorted(ours(self.folder) | set(filter(None, [self.backend.idle])))
        return left + [name for name in names if supervised(f"{self.folder}/{name}", self.backend.form)]

    def _find(self, program: str) -> str:
        if self.wanted.prefix:
            path = os.path.join(self.wanted.prefix, program)
            return path if os.access(path, os.X_OK) else ""
        return find_program(program)

    def _command(self) -> list[str]:
        command = [self._find(self.backend.scanner), *self.arguments(), self.folder]
        if self.wanted.prefix:
            path = f"{self.wanted.prefix}:{detached.environment()['PATH']}"
            command = [find_program("env"), f"PATH={path}", *command]
        return command

    def arguments(self) -> list[str]:
        """Give the options of the root process."""
        return []

    def _scripts(self) -> dict[str, str]:
        """Give the scripts in the suite's directory that are for the init."""
        return {STOP: STOP_SCRIPT, beginning.NAME: beginning.script(self.host, self.name)}

    def _log_owner(self) -> tuple[int, int]:
        if self.wanted.log_user is None:
            return os.geteuid(), os.getegid()
        try:
            entry = pwd.getpwnam(self.wanted.log_user)
        except KeyError:
            raise Failed(f"the loggers are to run as {self.wanted.log_user}, a user that does not exist") from None
        return entry.pw_uid, entry.pw_gid

    def _logger_differs(self) -> bool:
        try:
            state = os.stat(os.path.join(self.folder, LOGGER))
        except OSError:
            return True
        try:
            return (state.st_uid, state.st_gid) != self._log_owner()
        except Failed:
            # In check mode the user may be one of those that are still to be made.
            return True


class S6Root(SuiteRoot):
    """s6-svscan."""

    name = "s6"
    units = ("holdfast.s6.service",)
    backend = S6
    package = "install the package s6"
    programs = ("s6-svscan", "s6-supervise", "s6-log")


class RunitRoot(SuiteRoot):
    """runsvdir, with a session for each runsv."""

    name = "runit"
    units = ("holdfast.runit.service",)
    backend = Runit
    package = "install the package runit"
    programs = ("runsvdir", "runsv", "svlogd", "chpst")

    def arguments(self) -> list[str]:
        """Give each runsv a session of its own."""
        return ["-P"]


class DaemontoolsRoot(SuiteRoot):
    """svscan."""

    name = "daemontools"
    units = ("holdfast.daemontools.service",)
    backend = Daemontools
    package = "install the package daemontools"
    programs = ("svscan", "supervise", "multilog", "pgrphack")


class EncoreRoot(SuiteRoot):
    """svscan of daemontools-encore, which no distribution has: supervisor_prefix says where it is."""

    name = "daemontools_encore"
    units = ("holdfast.daemontools_encore.service",)
    backend = DaemontoolsEncore
    package = "build daemontools-encore and say with supervisor_prefix where its programs are"
    programs = ("svscan", "supervise", "multilog")

    def check(self) -> None:
        """Raise Failed unless there is a prefix with the programs: those of daemontools have the same names."""
        if not self.wanted.prefix:
            raise Failed(f"supervisor_backend: {self.name}: {self.package}")
        super().check()


SUITES = (S6Root, RunitRoot, DaemontoolsRoot, EncoreRoot)
