# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""OpenRC and sysvinit as what runs the supervisor: a script in /etc/init.d, and who respawns it. PRIVATE to the collection.

Both have the same face as `systemd.Systemd`, so that whoever converges the supervisor need not know which init it is.
Neither a restart by the init nor one by us stops a service: the supervisor that comes next adopts them.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterable

from .._supervise import _openrc_cache
from .._supervise.interface import BackendError
from .._supervise.presence import lock_holder
from .files import MARKER, read_text, write_text
from .interpreter import Runner
from .systemd import Systemd, UnitError

SCRIPTS = "/etc/init.d"
INITTAB = "/etc/inittab"
#: Seconds in which a supervisor that makes way for another has ended.
ENDED = 10.0
#: The script of the embedded supervisor, and for each script the id of its line in inittab (at most four characters).
NAME = "holdfast"
IDS = {
    NAME: "hf",
    "holdfast-s6": "hfs6",
    "holdfast-runit": "hfru",
    "holdfast-daemontools": "hfdt",
    "holdfast-daemontools-encore": "hfde",
    "holdfast-supervisord": "hfsd",
}


class OpenRc(Systemd):
    """One service of OpenRC, in the runlevel default; supervise-daemon starts the supervisor again when it dies."""

    boots = "OpenRC starts it at boot"
    remembers = False
    main = NAME

    def __init__(
        self,
        text: str,
        scan: str,
        run: Runner,
        script: str = NAME,
        units: str = SCRIPTS,
        running: str = "/run/openrc/softlevel",
    ) -> None:
        super().__init__({}, run, units, running)
        self._script = script
        self.texts = {script: text}
        self._scan = scan

    def is_init(self) -> bool:
        """Tell whether OpenRC runs this host."""
        return os.path.exists(self._running)

    def disabled(self) -> list[str]:
        """Give the script if it is in no runlevel."""
        return [] if os.path.islink(f"/etc/runlevels/default/{self._script}") else [self._script]

    def write(self, names: list[str]) -> None:
        """Write the script, and have OpenRC know it. Raises UnitError, OSError."""
        for name in names:
            write_text(self.path(name), self.texts[name], 0o755)
        self._renew(names)

    def enable(self, names: list[str]) -> None:
        """Put it into the runlevel default. Raises UnitError."""
        for name in names:
            self._must("rc-update", "add", name, "default")

    def start(self) -> None:
        """Start it; returns when the supervisor answers. Raises UnitError."""
        # Whoever wrote the script may have been interrupted.
        if _openrc_cache.lacking(self.texts):
            self._renew(self.texts)
        if self._status() in (32, 64):
            self._must("rc-service", self._script, "zap")
        self._must("rc-service", self._script, "start")

    def restart(self, name: str) -> None:
        """Have the supervisor replaced, and only it: restarting the service would stop all of ours. Raises UnitError, OSError."""
        del name
        replace(self._scan)

    def stop(self) -> None:
        """Stop all services, then the supervisor. Raises UnitError."""
        if self.installed() and self._status() != 3:
            self._must("rc-service", self._script, "stop")

    def inactive(self) -> list[str]:
        """Give the script unless its service runs."""
        return [] if self.installed() and self._status() == 0 else [self._script]

    def remove(self) -> None:
        """Take it out of its runlevel and remove it. Raises UnitError, OSError."""
        if not self.installed():
            return
        if not self.disabled():
            self._must("rc-update", "delete", self._script, "default")
        os.unlink(self.path(self._script))
        self._renew([])

    def _renew(self, names: Iterable[str]) -> None:
        """Have OpenRC look at the scripts that are there now, *names* among them. Raises UnitError."""
        try:
            _openrc_cache.renew(names, self._run)
        except BackendError as error:
            raise UnitError(str(error)) from None

    def _status(self) -> int:
        """Give the exit code of its status: 0 runs, 3 stopped, 32 crashed, 64 unsupervised."""
        return self._run(["rc-service", self._script, "status"])[0]

    def _must(self, *command: str) -> None:
        code, output, errors = self._run(list(command))
        if code != 0:
            detail = (errors.strip() or output.strip() or f"exit code {code}").splitlines()
            raise UnitError(f"{' '.join(command)}: {' '.join(detail)[-1000:]}")


class SysV(Systemd):
    """A line of inittab: process 1 itself starts the supervisor again. A script starts and stops the services."""

    boots = "init starts it at boot"
    remembers = False
    main = INITTAB

    def __init__(
        self,
        text: str,
        scan: str,
        run: Runner,
        script: str = NAME,
        units: str = SCRIPTS,
        running: str = INITTAB,
        proc: str = "/proc",
    ) -> None:
        super().__init__({}, run, units, running)
        self._script = script
        self._id = IDS.get(script, "hf")
        # Our own has to be there when its script stops the services; a suite has to be gone then.
        levels = "0123456" if script == NAME else "2345"
        # The table takes 127 characters of a command: the script knows the rest.
        self.texts = {script: text, INITTAB: f"{self._id}:{levels}:respawn:{units}/{script} supervise\n"}
        self._scan = scan
        self._proc = proc

    def is_init(self) -> bool:
        """Tell whether an init of System V runs this host."""
        name = (read_text(f"{self._proc}/1/comm") or "").strip()
        return name == "init" and os.path.exists(self._running) and os.path.exists("/sbin/telinit")

    def path(self, name: str) -> str:
        """Give the path of the script, or of inittab."""
        return self._running if name == INITTAB else super().path(name)

    def before(self, name: str) -> str | None:
        """Give the script, or our line of inittab. Raises UnitError if it is not ours."""
        if name != INITTAB:
            return super().before(name)
        lines = [line for line in (read_text(self._running) or "").splitlines(True) if line.startswith(f"{self._id}:")]
        if lines and not any(line == MARKER for line in (read_text(self._running) or "").splitlines()):
            raise UnitError(f"{self._running} has a line {self._id}: that was not made by holdfast.supervision")
        return lines[0] if lines else None

    def disabled(self) -> list[str]:
        """Give the script if it is in no runlevel."""
        links = any(re.fullmatch(rf"S\d\d{self._script}", entry) for entry in _names("/etc/rc2.d"))
        return [] if links else [self._script]

    def write(self, names: list[str]) -> None:
        """Write script and line. Raises UnitError, OSError."""
        for name in names:
            if name == INITTAB:
                self._set_line(self.texts[INITTAB])
            else:
                write_text(self.path(name), self.texts[name], 0o755)

    def enable(self, names: list[str]) -> None:
        """Put the script into the runlevels. Raises UnitError."""
        for name in names:
            if name != INITTAB:
                self._must("update-rc.d", name, "defaults")

    def start(self) -> None:
        """Have init read its table; it starts the supervisor unless it runs. Raises UnitError."""
        if self.before(INITTAB) is None:
            self._set_line(self.texts[INITTAB])
        self._must("telinit", "q")
        self._must(self.path(self._script), "start")

    def restart(self, name: str) -> None:
        """Have init read its table, and the supervisor replaced without stopping anything. Raises UnitError, OSError."""
        del name
        self._must("telinit", "q")
        replace(self._scan)

    def stop(self) -> None:
        """Stop all services, then take the line away, so that init ends the supervisor. Raises UnitError."""
        if self._script in self.installed():
            self._must(self.path(self._script), "stop")
        if self.before(INITTAB) is not None:
            self._set_line(None)
            self._must("telinit", "q")

    def inactive(self) -> list[str]:
        """Give what is not there: init keeps what is in its table running."""
        return [name for name in self.texts if self.before(name) is None]

    def remove(self) -> None:
        """Remove script and line. Raises UnitError, OSError."""
        if self.before(INITTAB) is not None:
            self._set_line(None)
            self._must("telinit", "q")
        if super().before(self._script) is not None:
            os.unlink(self.path(self._script))
            self._must("update-rc.d", self._script, "remove")

    def _set_line(self, line: str | None) -> None:
        """Put our line at the end of inittab, after what boots the host, or take it out."""
        text = read_text(self._running) or ""
        kept: list[str] = []
        for one in text.splitlines(True):
            if not one.startswith(f"{self._id}:"):
                kept.append(one)
            elif kept and kept[-1].rstrip("\n") == MARKER:
                kept.pop()
        if kept and not kept[-1].endswith("\n"):
            kept[-1] += "\n"
        if line is not None:
            kept += [f"{MARKER}\n", line]
        write_text(self._running, "".join(kept), 0o644)

    def _must(self, *command: str) -> None:
        code, output, errors = self._run(list(command))
        if code != 0:
            detail = (errors.strip() or output.strip() or f"exit code {code}").splitlines()
            raise UnitError(f"{' '.join(command)}: {' '.join(detail)[-1000:]}")


def replace(scan: str) -> None:
    """Have the supervisor end without stopping anything; whoever started it starts the next one.

    It has ended when this returns: whoever waits for an answer gets none of his any more. Raises UnitError, OSError.
    """
    path = f"{scan}/.holdfast/lock"
    holder = lock_holder(path)
    if holder is None:
        return
    os.kill(holder, signal.SIGQUIT)
    deadline = time.monotonic() + ENDED
    while lock_holder(path) == holder:
        if time.monotonic() > deadline:
            raise UnitError(f"the supervisor (process {holder}) does not make way for another")
        time.sleep(0.02)


def _names(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:
        return []
