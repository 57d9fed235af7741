# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A supervisor that is process 1: what supervises our services is one of its own. PRIVATE to the collection.

On such a host (s6-linux-init, runit, a container that has s6-svscan or runsvdir as its command) nothing else starts
again what has died, nor at boot, and a second root process beside it would be nobody's. So ours is a service directory,
DIRECTORY/below/NAME beside the scan directory, with a link to it where process 1 looks. Same face as `systemd.Systemd`.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable

from .._supervise.family_files import NoSupervisor, read, send, supervised
from .._supervise.runit import catches
from .cleanup import remove_own_parents
from .files import TEMPORARY, read_text, write_text
from .initscripts import replace
from .interpreter import Runner
from .systemd import Systemd, UnitError

#: What s6-linux-init fills the scan directory of process 1 from when the host boots.
IMAGE = "/etc/s6-linux-init/current/run-image/service"
#: Seconds in which process 1 notices a new service: runsvdir and svscan look every five seconds.
NOTICED = 15.0
_LOOK = 0.02


class Scanned:
    """The services of process 1. form: the suite, as in family_files; scanner: the process that looks at directory."""

    __slots__ = ("directory", "form", "scanner")

    def __init__(self, form: str, directory: str, scanner: int) -> None:
        self.form = form
        self.directory = directory
        self.scanner = scanner


def by_process_one(proc: str = "/proc") -> Scanned | None:
    """Give what process 1 supervises, None when it is no supervisor of the daemontools family, or does not tell."""
    name = _name(proc, "1")
    try:
        if name in ("s6-svscan", "svscan"):
            # Both work in the directory that they scan.
            return Scanned("s6" if name == "s6-svscan" else "daemontools", os.readlink(f"{proc}/1/cwd"), 1)
        if name == "runsvdir":
            return _runsvdir(proc, "1")
        if name == "runit":
            # Its second stage becomes runsvdir.
            with open(f"{proc}/1/task/1/children", encoding="ascii") as file:
                stages = file.read().split()
            return next((_runsvdir(proc, pid) for pid in stages if _name(proc, pid) == "runsvdir"), None)
    except OSError:
        return None
    return None


def _runsvdir(proc: str, pid: str) -> Scanned | None:
    with open(f"{proc}/{pid}/cmdline", "rb") as file:
        words = [os.fsdecode(word) for word in file.read().split(b"\0")[1:]]
    directory = next((word for word in words if word and not word.startswith("-")), "")
    return Scanned("runit", directory, int(pid)) if directory.startswith("/") else None


def _name(proc: str, pid: str) -> str:
    return (read_text(f"{proc}/{pid}/comm") or "").strip()


class Below(Systemd):
    """One service of process 1. text: its run script; stop_timeout: seconds in which it must have ended when told to."""

    remembers = False

    def __init__(
        self,
        text: str,
        scan: str,
        run: Runner,
        script: str,
        stop_timeout: float = 120.0,
        scanned: Scanned | None = None,
    ) -> None:
        home = os.path.join(os.path.dirname(scan), "below")
        super().__init__({}, run, home)
        self.main = script
        self.texts = {script: text}
        self._scan = scan
        self._folder = os.path.join(home, script)
        self._stop_timeout = stop_timeout
        self._scanned = scanned or by_process_one()
        self.boots = self._boots()

    def is_init(self) -> bool:
        """Tell whether process 1 is such a supervisor, and not one of our own scan directory."""
        directory = self._scanned.directory if self._scanned else ""
        return bool(directory) and os.path.isdir(directory) and not f"{directory}/".startswith(f"{self._scan}/")

    def path(self, name: str) -> str:
        """Give the path of the run script."""
        return os.path.join(self._units, name, "run")

    def disabled(self) -> list[str]:
        """Give the service if process 1 does not see it, now or at boot. Raises UnitError if it sees another one."""
        return [self.main for link in self._links() if not self._is_ours(link)][:1]

    def write(self, names: list[str]) -> None:
        """Write the run script. Raises OSError."""
        for name in names:
            os.makedirs(self._folder, 0o755, exist_ok=True)
            write_text(self.path(name), self.texts[name], 0o755)

    def enable(self, names: list[str]) -> None:
        """Let process 1 see it; it is started by that. Raises UnitError, OSError."""
        for link in self._links() if names else ():
            if not self._is_ours(link):
                beside = os.path.join(os.path.dirname(link), f"{TEMPORARY}{self.main}")
                if os.path.lexists(beside):
                    os.unlink(beside)
                os.symlink(self._folder, beside)
                os.rename(beside, link)

    def start(self) -> None:
        """Start it; returns when process 1 has. Raises UnitError, OSError."""
        if self.disabled():
            self.enable([self.main])
        self._announce()
        self._until(lambda: supervised(self._folder, self._form), NOTICED, "process 1 has not noticed it")
        self._tell(b"u")

    def restart(self, name: str) -> None:
        """Have the supervisor replaced, and only it: restarting the service would stop all of ours. Raises UnitError, OSError."""
        del name
        replace(self._scan)

    def stop(self) -> None:
        """Stop all services, then what supervises them. Raises UnitError, OSError."""
        if supervised(self._folder, self._form):
            self._tell(b"d")
            self._until(lambda: not self._pid(), self._stop_timeout, "it has not stopped")

    def inactive(self) -> list[str]:
        """Give the service unless it runs, or is about to."""
        status = read(self._folder, self._form) if supervised(self._folder, self._form) else None
        return [] if status is not None and (status.pid or status.want == "up") else [self.main]

    def remove(self) -> None:
        """Stop it and take it away. Raises UnitError, OSError."""
        for link in self._links():
            if self._is_ours(link):
                os.unlink(link)
        if supervised(self._folder, self._form):
            self._tell(b"dx")
            self._until(lambda: not supervised(self._folder, self._form), self._stop_timeout, "it has not ended")
        self._announce()
        if os.path.isdir(self._folder):
            shutil.rmtree(self._folder)
        if os.path.isdir(self._units) and not os.listdir(self._units):
            os.rmdir(self._units)
            remove_own_parents(self._units)

    @property
    def _form(self) -> str:
        return self._scanned.form if self._scanned else ""

    def _links(self) -> list[str]:
        """Give where process 1 sees the service: in its directory, and in what that is filled from at boot."""
        folders = [self._scanned.directory] if self._scanned else []
        if self._form == "s6" and os.path.isdir(IMAGE):
            folders.append(IMAGE)
        return [os.path.join(folder, self.main) for folder in folders]

    def _is_ours(self, link: str) -> bool:
        try:
            target = os.readlink(link)
        except FileNotFoundError:
            return False
        except OSError:
            target = ""
        if target != self._folder:
            raise UnitError(f"{link} exists and was not made by holdfast.supervision: move it away")
        return True

    def _boots(self) -> str:
        if self._scanned is None:
            return ""
        directory = self._scanned.directory
        if _is_volatile(directory) and not (self._form == "s6" and os.path.isdir(IMAGE)):
            return f"process 1 starts it while the host runs, and nothing will at boot: {directory} is empty then"
        return "process 1 starts it at boot"

    def _announce(self) -> None:
        """Have process 1 look at its directory at once, if it can be told to."""
        if self._scanned is None:
            return
        if self._form == "s6":
            try:
                send(f"{self._scanned.directory}/.s6-svscan/control", b"a")
            except NoSupervisor:
                pass
        elif self._form == "runit" and catches(self._scanned.scanner, signal.SIGALRM):
            os.kill(self._scanned.scanner, signal.SIGALRM)

    def _tell(self, commands: bytes) -> None:
        try:
            send(f"{self._folder}/supervise/control", commands)
        except NoSupervisor as error:
            raise UnitError(str(error)) from None

    def _pid(self) -> int:
        status = read(self._folder, self._form)
        return status.pid if status is not None else 0

    def _until(self, so: Callable[[], bool], seconds: float, otherwise: str) -> None:
        deadline = time.monotonic() + seconds
        while not so():
            if time.monotonic() > deadline:
                raise UnitError(f"{self._folder}: {otherwise} within {seconds:g} s")
            time.sleep(_LOOK)


def _is_volatile(directory: str) -> bool:
    """Tell whether a directory is on a file system that is empty after a boot."""
    best, kind = "", ""
    for line in (read_text("/proc/self/mountinfo") or "").splitlines():
        fields = line.split()
        point = fields[4]
        if (directory == point or directory.startswith(point.rstrip("/") + "/")) and len(point) >= len(best):
            best, kind = point, fields[fields.index("-") + 1]
    return kind in ("tmpfs", "ramfs")
