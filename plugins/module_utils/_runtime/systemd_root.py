# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""systemd as what supervises a scan directory: the folder of settings that its backend reads. PRIVATE to the collection."""

from __future__ import annotations

import json
import os
import shutil
from typing import Any

from .._supervise._systemd.files import FOLDER, SETTINGS
from .._supervise._systemd.manager import Manager
from .._supervise._systemd.unit import LOG_WRITER, LOGS, heading
from .._supervise.interface import BackendError, NotRunning
from .files import read_text, write_text
from .host import Failed
from .interpreter import Runner
from .roots import Root
from .systemd import RUNNING, UNITS, UnitError
from .users_systemd import NEEDLESS, remove_empty, starts, words


class SystemdRoot(Root):
    """Process 1, or the systemd of an ordinary user."""

    name = "systemd"

    @property
    def folder(self) -> str:
        """Give the folder that is this backend's alone."""
        return os.path.join(self.wanted.scan_directory, FOLDER)

    def check(self) -> None:
        """Raise Failed unless systemd is the init, and for an ordinary user one of his own runs."""
        try:
            Manager(os.geteuid() != 0).require()
        except NotRunning as error:
            raise Failed(f"supervisor_backend: systemd: {error}") from None

    def differing(self, version: str | None) -> list[tuple[str, str, str]]:
        """Compare the settings."""
        before = read_text(os.path.join(self.folder, SETTINGS)) or ""
        after = self._text(version)
        steps = []
        if before != after:
            steps.append((f"write {self.folder}/{SETTINGS}", before, after))
            if self._logs_with_another(version):
                steps.append(("restart the log writer", "", f"running with runtime {version}\n"))
        return steps

    def bring_into_line(self, version: str | None) -> None:
        """Write the settings, and have the log writer be of this version. No service notices."""
        restart = self._logs_with_another(version)
        os.makedirs(self.folder, 0o700, exist_ok=True)
        os.chmod(self.folder, 0o700)
        write_text(os.path.join(self.folder, SETTINGS), self._text(version), 0o644)
        if restart:
            # Its FIFOs are in systemd's keeping meanwhile.
            self._systemctl("try-restart", LOG_WRITER)

    def running(self) -> dict[str, Any] | None:
        """Process 1 runs as long as the host does; nothing is supervised before the settings are there."""
        settings = self._settings()
        if not settings or not os.path.isdir(RUNNING):
            return None
        return {"pid": 1, "version": settings.get("version"), "since": None}

    def is_process_one(self) -> bool:
        """It is, and goes on without our services."""
        return False

    def at_work(self) -> bool:
        """Tell whether systemd, which goes on, has any unit of ours at work."""
        units = self._units()
        if not units or not self._is_there():
            return False
        try:
            shown = Manager(os.geteuid() != 0).show(units)
        except BackendError as error:
            raise Failed(str(error)) from None
        return any(one.get("ActiveState") not in ("inactive", "failed") for one in shown.values())

    def stop(self) -> None:
        """Stop the units; systemd keeps their order."""
        if not self._is_there():
            # That of an ordinary user has ended with his last session, and all that it ran.
            return
        units = [name for name in self._units() if name != LOG_WRITER]
        if units:
            self._systemctl("stop", *units)
        if os.path.exists(os.path.join(self._unit_folder(), LOG_WRITER)):
            self._systemctl("stop", LOG_WRITER)

    def traces(self) -> list[str]:
        """Give the units that are left, and the folder of settings."""
        found = [f"unit {name}" for name in self._units()]
        return found + ([self.folder] if os.path.isdir(self.folder) else [])

    def remove(self) -> None:
        """Remove both."""
        units = self._units()
        folders = ("multi-user.target.wants", "default.target.wants", "timers.target.wants", "")
        for name in units:
            for folder in folders:
                path = os.path.join(self._unit_folder(), folder, name)
                if os.path.lexists(path):
                    os.unlink(path)
        # As systemctl does: without a link in it such a folder is nothing. That of the units is a user's own.
        for folder in folders[:-1] if os.geteuid() == 0 else folders:
            remove_empty(os.path.join(self._unit_folder(), folder))
        if self._is_there():
            # Without units too: who removed them may have been interrupted before he could tell systemd.
            self._systemctl("daemon-reload")
            if units:
                self._systemctl("reset-failed", *units, check=False)
        for folder in (os.path.join(self.wanted.run_directory, LOGS), self.folder):
            if os.path.isdir(folder) and not os.path.islink(folder):
                shutil.rmtree(folder)

    def _is_there(self) -> bool:
        """Tell whether there is a systemd that could be told anything."""
        try:
            Manager(os.geteuid() != 0).require()
        except NotRunning:
            return False
        return True

    def boot(self) -> str:
        """Say what starts the services."""
        if os.geteuid() == 0:
            return "systemd starts the services at boot"
        return starts("the services")

    def _settings(self) -> dict[str, Any]:
        try:
            settings = json.loads(read_text(os.path.join(self.folder, SETTINGS)) or "{}")
        except ValueError:
            return {}
        return settings if isinstance(settings, dict) else {}

    def _text(self, version: str | None) -> str:
        settings = {
            "log_user": self.wanted.log_user or "",
            "python": self.wanted.python,
            "run": self.wanted.run_directory,
            "runtime": self.host.layout.current,
            "version": version or "",
        }
        return json.dumps(settings, indent=1, sort_keys=True) + "\n"

    def _logs_with_another(self, version: str | None) -> bool:
        settings = self._settings()
        return bool(settings) and settings.get("version") != version and LOG_WRITER in self._units()

    def _unit_folder(self) -> str:
        return UNITS if os.geteuid() == 0 else os.path.expanduser("~/.config/systemd/user")

    def _units(self) -> list[str]:
        """Give the units that were made from this scan directory."""
        start = heading(self.wanted.scan_directory).partition(";")[0]
        found = []
        for name in sorted(os.listdir(self._unit_folder())) if os.path.isdir(self._unit_folder()) else ():
            if name.startswith(("holdfast-", "holdfast.")) and name.endswith((".service", ".timer")):
                first = (read_text(os.path.join(self._unit_folder(), name)) or "").partition("\n")[0].partition(";")[0]
                if first == start or first.startswith(start + "/"):
                    found.append(name)
        return found

    def _systemctl(self, *arguments: str, check: bool = True) -> None:
        run: Runner = self.host.run
        command = words(*arguments) if os.geteuid() != 0 else ["systemctl", *arguments]
        code, output, errors = run(command)
        if check and code != 0 and (arguments[0] not in NEEDLESS or self._is_there()):
            raise UnitError(f"{' '.join(command)[:200]}: {' '.join((errors or output).split())[-1000:]}")
