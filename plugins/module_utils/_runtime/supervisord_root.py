# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A supervisord of our own for one scan directory: its configuration, and what runs it. PRIVATE to the collection.

A supervisord of the distribution is left alone: this one has another configuration and another socket.
"""

from __future__ import annotations

import os
import shlex
import shutil
import time
from typing import Any

from .._supervise._supervisord import program
from .._supervise._supervisord.program import FOLDER, Place
from .._supervise._supervisord.rpc import Fault, Rpc
from .._supervise.interface import BackendError, NotRunning
from . import beginning, control, detached
from .below import Below
from .files import MARKER, read_text, write_text
from .host import BEYOND, LOG, Failed, Host
from .initscripts import OpenRc, SysV
from .roots import Root
from .systemd import Systemd
from .users_systemd import UsersSystemd, nobody_starts

UNIT = "holdfast.supervisord.service"
#: What it says to all calls while it stops its services (SHUTDOWN_STATE).
SHUTTING_DOWN = 6
#: Run by the script of an init of System V, which says who supervisord is.
STOP = ".stop"
STOP_TEXT = f"""\
#!/bin/sh
{MARKER}
# supervisord stops all services before it ends.
[ -n "${{MAINPID-}}" ] && kill "$MAINPID" 2>/dev/null || exit 0
while kill -0 "$MAINPID" 2>/dev/null; do sleep 0.05; done
"""


class SupervisordRoot(Root):
    """Run by the init of the host, or by the supervisor that is process 1, else detached."""

    name = "supervisord"
    installed_before = True

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self.place = Place(self.wanted.scan_directory, self.wanted.run_directory)
        self.folder = os.path.join(self.wanted.scan_directory, FOLDER)
        self._rpc = Rpc(os.path.join(self.wanted.run_directory, program.SOCKET))
        self._systemd: Systemd | None
        if os.geteuid() != 0:
            users = UsersSystemd({UNIT: self._unit()}, host.run, self.wanted.scan_directory)
            self._systemd = users if users.is_used() else None
            return
        self._systemd = Systemd({UNIT: self._unit()}, host.run)
        if not self._systemd.is_init():
            self._systemd = host.systemd if isinstance(host.systemd, (OpenRc, SysV)) else self._below()

    def check(self) -> None:
        """Raise Failed unless the program is there."""
        other = self.host.other_root()
        if other is not None and os.geteuid() == 0 and self._systemd is None:
            raise Failed(control.beside(other))
        if self._program() is None:
            raise Failed(
                "supervisor_backend: supervisord: there is no supervisord on this host: install it "
                "(the package supervisor of most distributions)"
            )

    def differing(self, version: str | None) -> list[tuple[str, str, str]]:
        """Compare the files, and look whether it runs."""
        del version
        steps = []
        for path, text, _mode in self._files():
            before = read_text(path)
            if before != text:
                steps.append((f"write {path}", before or "", text))
        if self._systemd is not None:
            for name in self._systemd.differing():
                steps.append((f"write unit {name}", self._systemd.before(name) or "", self._systemd.texts[name]))
            steps += [(f"enable unit {name}", "", f"{name}\n") for name in self._systemd.disabled()]
        if self.running() is None:
            steps.append(("start supervisord", "not running\n", "running\n"))
        return steps

    def bring_into_line(self, version: str | None) -> None:
        """Write what differs and start it. A running one is not restarted: that would stop every service."""
        del version
        os.makedirs(os.path.join(self.folder, program.PROGRAMS), 0o700, exist_ok=True)
        os.chmod(self.folder, 0o700 if os.geteuid() else 0o711)
        for path, text, mode in self._files():
            if read_text(path) != text:
                write_text(path, text, mode)
        if self._systemd is not None:
            if self._systemd.differing():
                self._systemd.write(self._systemd.differing())
            if self._systemd.disabled():
                self._systemd.enable(self._systemd.disabled())
        if self.running() is not None:
            return
        if self._systemd is not None:
            self._systemd.start()
        else:
            detached.start(self._command(), os.path.join(self.wanted.run_directory, LOG))
        deadline = time.monotonic() + self.wanted.timeout
        while self.running() is None:
            if time.monotonic() >= deadline:
                raise Failed(f"supervisord does not answer {self.wanted.timeout:g} s after its start{self.host.said()}")
            time.sleep(0.05)

    def running(self) -> dict[str, Any] | None:
        """Give what answers on the socket."""
        try:
            pid = int(self._rpc.call("getPID"))
            return {"pid": pid, "version": str(self._rpc.call("getSupervisorVersion")), "since": None}
        except NotRunning:
            return None
        except (BackendError, Fault) as error:
            raise Failed(str(error)) from None
        finally:
            self._rpc.close()

    def stop(self) -> None:
        """Have it stop all services and end."""
        if self._systemd is not None and self._systemd.installed():
            self._systemd.stop()
        if self._has_ended():
            return
        try:
            self._rpc.call("shutdown")
        except (Fault, BackendError) as error:
            if not isinstance(error, Fault) or error.code != SHUTTING_DOWN:
                raise Failed(f"supervisord does not stop: {error}") from None
        deadline = time.monotonic() + self.wanted.stop_timeout
        while not self._has_ended():
            if time.monotonic() >= deadline:
                raise Failed(f"supervisord has not stopped all services within {self.wanted.stop_timeout:g} s")
            time.sleep(0.05)

    def _has_ended(self) -> bool:
        """Tell whether nobody answers. While it stops its services it answers that it does, and nothing else."""
        try:
            self._rpc.call("getState")
        except NotRunning:
            return True
        except (BackendError, Fault):
            return False
        finally:
            self._rpc.close()
        return False

    def traces(self) -> list[str]:
        """Give unit and configuration."""
        units = [f"unit {name}" for name in self._systemd.installed()] if self._systemd is not None else []
        return units + ([self.folder] if os.path.isdir(self.folder) else [])

    def remove(self) -> None:
        """Remove both, and what supervisord has left in the run directory."""
        if self._systemd is not None and self._systemd.installed():
            self._systemd.remove()
        if os.path.isdir(self.folder):
            shutil.rmtree(self.folder)

    def boot(self) -> str:
        """Say what starts it."""
        if self._systemd is not None:
            return self._systemd.boots.replace("starts it", "starts supervisord")
        if os.geteuid() != 0:
            return nobody_starts("supervisord")
        return "nothing will start supervisord at boot: this init is not known"

    def _below(self) -> Systemd | None:
        """Give the service of process 1 that it is where that is a supervisor, as on the hosts of `below`."""
        if "below" not in self.wanted.scripts:
            return None
        run = self.wanted.run_directory
        lines = [
            "#!/bin/sh",
            MARKER,
            "# A service of the supervisor that is process 1. TERM: it stops all services in order, then ends.",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "export PATH",
            f"mkdir -p {shlex.quote(run)} || exit 1",
            f"exec {shlex.join(self._command())} </dev/null >>{shlex.quote(f'{run}/{LOG}')} 2>&1",
        ]
        text = "\n".join(lines) + "\n"
        timeout = self.wanted.stop_timeout + BEYOND
        found = Below(text, self.wanted.scan_directory, self.host.run, self.script(), timeout)
        return found if found.is_init() else None

    def _program(self) -> str | None:
        return shutil.which("supervisord", path="/usr/local/bin:/usr/bin:/bin")

    def _command(self) -> list[str]:
        begin = os.path.join(self.folder, beginning.NAME)
        configuration = os.path.join(self.folder, program.CONFIGURATION)
        return [begin, self._program() or "/usr/bin/supervisord", "-n", "-c", configuration]

    def _files(self) -> list[tuple[str, str, int]]:
        return [
            (os.path.join(self.folder, program.CONFIGURATION), program.configuration(self.place), 0o600),
            (os.path.join(self.folder, program.START), program.START_TEXT, 0o755),
            (os.path.join(self.folder, beginning.NAME), beginning.script(self.host, self.name), 0o755),
            (os.path.join(self.folder, STOP), STOP_TEXT, 0o755),
        ]

    def _unit(self) -> str:
        lines = [
            MARKER,
            "[Unit]",
            f"Description=Supervisor of the services in {self.wanted.scan_directory}",
            *(
                (f"RequiresMountsFor={self.wanted.scan_directory} {self.wanted.log_directory}", "After=network.target")
                if os.geteuid() == 0
                else ()
            ),
            "StartLimitIntervalSec=0",
            "",
            "[Service]",
            f"ExecStart={' '.join(self._command())}",
            "Restart=always",
            "RestartSec=100ms",
            "# Asked alone, it stops all services in order. What it leaves when it dies would be started a second time: that goes.",
            "KillMode=mixed",
            f"TimeoutStopSec={self.wanted.stop_timeout + 10:g}",
            "Delegate=yes",
            "TasksMax=infinity",
            "LimitNOFILE=524288",
        ]
        run = self.wanted.run_directory
        if run.startswith("/run/"):
            lines += [f"RuntimeDirectory={run[len('/run/') :]}", "RuntimeDirectoryPreserve=yes"]
        target = Systemd.target if os.geteuid() == 0 else UsersSystemd.target
        return "\n".join([*lines, "", "[Install]", f"WantedBy={target}", ""])
