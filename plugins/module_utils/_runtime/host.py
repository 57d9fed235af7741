# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The supervisor of one scan directory on this host: where it is, how it is started, what it says.

PRIVATE to the collection.
"""

from __future__ import annotations

import os
import signal

from . import detached, install
from .below import Below
from .directories import Place
from .files import read_text
from .initscripts import NAME, OpenRc, SysV
from .interpreter import Runner
from .systemd import Systemd
from .talk import Running, Supervisor
from .users_systemd import UsersSystemd, nobody_starts

#: The unit whose main process is the supervisor.
UNIT = "holdfast.service"
#: Programs that supervise services as process 1.
SUPERVISORS = frozenset(("s6-svscan", "runit", "runsvdir", "svscan"))
#: Seconds that an init gives our root process beyond the stop_timeout, in which it has its services stopped.
BEYOND = 10.0
#: In the run directory: what a supervisor says that no init listens to.
LOG = "supervisor.log"

# What the kernel adds to the name of a program that is not on the disk any more.
_DELETED = " (deleted)"


class Failed(Exception):
    """The supervisor is not as it was asked for. The text says how it is now, and what to do."""


class Wanted:
    """The supervisor of one scan directory, as it is to be. All paths absolute, times in seconds."""

    __slots__ = (
        "log_directory",
        "log_user",
        "prefix",
        "python",
        "remove_logs",
        "run_directory",
        "runtime_directory",
        "scan_directory",
        "script",
        "scripts",
        "stop_timeout",
        "timeout",
        "units",
        "version",
    )

    def __init__(
        self,
        scan_directory: str,
        run_directory: str,
        log_directory: str,
        runtime_directory: str,
        python: str,
        log_user: str | None = None,
        version: str | None = None,
        units: dict[str, str] | None = None,
        timeout: float = 10.0,
        stop_timeout: float = 120.0,
        remove_logs: bool = False,
        scripts: dict[str, str] | None = None,
        prefix: str | None = None,
        script: str = NAME,
    ) -> None:
        self.scan_directory = scan_directory
        self.run_directory = run_directory
        self.log_directory = log_directory
        self.runtime_directory = runtime_directory
        self.python = python
        self.log_user = log_user
        #: None is the one that the runtime directory names.
        self.version = version
        self.units = units or {}
        #: For an init that is not systemd: openrc, sysvinit and below (a supervisor as process 1), each to its script.
        self.scripts = scripts or {}
        #: The name of that script.
        self.script = script
        self.timeout = timeout
        self.stop_timeout = stop_timeout
        self.remove_logs = remove_logs
        #: Where the programs of a suite are that no distribution has.
        self.prefix = prefix

    def places(self) -> list[Place]:
        """Give the directories that the supervisor needs."""
        return [
            Place("scan directory", self.scan_directory, 0o755),
            Place("run directory", self.run_directory, 0o755),
            Place("log directory", self.log_directory, 0o750, self.log_user),
        ]

    def program(self, *arguments: str) -> list[str]:
        """Give the argv that runs a verb of the runtime that is current when it is run."""
        current = install.Layout(self.runtime_directory).current
        return [self.python, "-I", "-S", current, *arguments]

    def supervise(self) -> list[str]:
        """Give the argv of the supervisor."""
        user = ["--log-user", self.log_user] if self.log_user else []
        return self.program("supervise", *user, self.scan_directory)


class Host:
    """The supervisor of *wanted* on this host, and the means to change it: systemd where it is the init."""

    def __init__(self, wanted: Wanted, run: Runner, systemd: Systemd | None = None) -> None:
        self.wanted = wanted
        self.run = run
        self.layout = install.Layout(wanted.runtime_directory)
        self.supervisor = Supervisor(wanted.scan_directory)
        self.systemd = self._units(systemd, run) or self._scripts()
        version = wanted.version or self.layout.active()
        #: The program that `python` is in the end, None while that is not known.
        self.program = install.program_of(self.layout, version) if version else None

    def _units(self, systemd: Systemd | None, run: Runner) -> Systemd | None:
        """Give the systemd that has our units, None where there is none."""
        wanted = self.wanted
        if os.geteuid() != 0 and systemd is None:
            users = UsersSystemd(wanted.units, run, wanted.scan_directory)
            return users if wanted.units and users.is_used() else None
        units = systemd or Systemd(wanted.units, run)
        return units if wanted.units and units.is_init() else None

    def _scripts(self) -> Systemd | None:
        """Give the init of this host if it is one of those with scripts."""
        scripts, scan = self.wanted.scripts, self.wanted.scan_directory
        candidates: list[Systemd] = []
        if "openrc" in scripts:
            candidates.append(OpenRc(scripts["openrc"], scan, self.run, self.wanted.script))
        if "sysvinit" in scripts:
            candidates.append(SysV(scripts["sysvinit"], scan, self.run, self.wanted.script))
        if "below" in scripts:
            timeout = self.wanted.stop_timeout + BEYOND
            candidates.append(Below(scripts["below"], scan, self.run, self.wanted.script, timeout))
        return next((one for one in candidates if one.is_init()), None)

    def other_root(self) -> str | None:
        """Give the name of process 1 if that is a supervisor, and ours would be beside it instead of below it."""
        name = (read_text("/proc/1/comm") or "").strip()
        return name if name in SUPERVISORS and not isinstance(self.systemd, Below) else None

    def running(self) -> Running | None:
        """Give the supervisor that answers, None if there is none. Raises Failed if there is a mute one."""
        found = self.supervisor.ask()
        if found is not None or self.supervisor.holder() is None:
            return found
        # It may have been started a moment ago.
        found = self.supervisor.wait_for(self.wanted.timeout, lambda _found: True)
        holder = self.supervisor.holder()
        if found is None and holder is not None:
            raise Failed(
                f"process {holder} holds the lock of {self.wanted.scan_directory} and does not answer;"
                f" end it (kill -9 {holder}: the services go on running) and try again{self.said()}"
            )
        return found

    def start(self) -> None:
        """Start the supervisor that the runtime directory names. Raises OSError, UnitError."""
        if self.systemd is not None:
            self.systemd.start()
        else:
            detached.start(self.wanted.supervise(), os.path.join(self.wanted.run_directory, LOG))

    def succeed(self, running: Running) -> None:
        """End the supervisor without stopping anything, and start another that adopts what runs.

        Raises Failed, OSError, UnitError.
        """
        os.kill(running.pid, signal.SIGQUIT)
        if not self.supervisor.wait_until_gone(self.wanted.timeout):
            raise Failed(f"the supervisor (process {running.pid}) does not make way for another")
        self.start()

    def has_other_program(self, running: Running) -> bool:
        """Tell whether the supervisor is run by another interpreter than the wanted one."""
        program = running.program()
        return None not in (program, self.program) and str(program).removesuffix(_DELETED) != self.program

    def is_outdated(self, running: Running) -> bool:
        """Tell whether the supervisor is run by a build of the interpreter that has been replaced since."""
        program = running.program()
        return None not in (program, self.program) and program != self.program

    def boot(self) -> str:
        """Say in one line what starts the supervisor when the host boots."""
        if self.systemd is not None:
            return self.systemd.boots
        if os.geteuid() != 0:
            return nobody_starts()
        return "nothing will start it at boot: no known init"

    def said(self) -> str:
        """Give the last words of the supervisor, to be added to a message."""
        if self.systemd is not None and self.systemd.main == UNIT:
            # The supervisor's own, or the one of a suite.
            unit = UNIT if UNIT in self.systemd.texts else next(iter(self.systemd.texts), UNIT)
            return f"; see {self.systemd.journal} {unit}"
        try:
            with open(os.path.join(self.wanted.run_directory, LOG), "rb") as file:
                file.seek(max(os.fstat(file.fileno()).st_size - 2000, 0))
                text = file.read().decode("utf-8", "replace").strip()
        except OSError:
            return ""
        return f"; it said last: {text}" if text else ""
