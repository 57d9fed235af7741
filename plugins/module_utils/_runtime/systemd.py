# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The supervisor's systemd units: written, enabled, started, stopped, removed. PRIVATE to the collection."""

from __future__ import annotations

import os
import re

from .._supervise._systemd.manager import READ, is_newer
from .files import MARKER, read_text, write_text
from .interpreter import Runner

#: There exactly if systemd is the init of this host.
RUNNING = "/run/systemd/system"
#: Where an administrator's units are; a package's would be below /usr.
UNITS = "/etc/systemd/system"

_NAME = re.compile(r"[A-Za-z0-9_.@-]{1,200}\.service")


class UnitError(Exception):
    """A unit is not ours, or systemctl failed; the text says which and what it answered."""


class Systemd:
    """The units of *texts* (name to content) on this host; every change goes through *run*."""

    #: The unit whose main process is the supervisor, and what starts it at boot, in words.
    main = "holdfast.service"
    boots = "systemd starts it at boot"
    #: Whether the init keeps what it has read of a file until it is told to read it again.
    remembers = True
    #: What has units started at boot, and what shows their words.
    target = "multi-user.target"
    journal = "journalctl -u"

    def __init__(self, texts: dict[str, str], run: Runner, units: str = UNITS, running: str = RUNNING) -> None:
        for name in texts:
            if not _NAME.fullmatch(name):
                raise UnitError(f"{name!r} is no name of a service unit")
        self.texts = texts
        self._run = run
        self._units = units
        self._running = running

    def is_init(self) -> bool:
        """Tell whether systemd runs this host."""
        return os.path.isdir(self._running)

    def path(self, name: str) -> str:
        """Give the path of a unit's file."""
        return os.path.join(self._units, name)

    def before(self, name: str) -> str | None:
        """Give the text of a unit as it is now, None when there is none. Raises UnitError if it is not ours."""
        text = read_text(self.path(name))
        if text is not None and MARKER not in text.splitlines():
            raise UnitError(f"{self.path(name)} exists and was not made by holdfast.supervision: move it away")
        return text

    def differing(self) -> list[str]:
        """Give the names of the units whose files are not as they should be, or are and systemd has not read them."""
        found = [name for name, text in self.texts.items() if self.before(name) != text]
        found += self._unread(set(self.texts) - set(found))
        return [name for name in self.texts if name in found]

    def _unread(self, names: set[str]) -> set[str]:
        """Give those of *names* that were written by somebody who was interrupted before he could tell systemd."""
        if not names or not self.remembers or not self.is_init():
            return set()
        _code, output, _errors = self._run(self._command("show", "--property=Id,NeedDaemonReload", *sorted(names)))
        blocks = (set(block.splitlines()) for block in output.split("\n\n"))
        found = {line[3:] for lines in blocks if "NeedDaemonReload=yes" in lines for line in lines if line[:3] == "Id="}
        # Of a drop-in that an administrator has written, systemd says the same: when that counts is his business.
        read = self._run(self._command("show", f"--property={','.join(READ)}"))[1] if found else ""
        return {name for name in found if is_newer(self.path(name), read)}

    def disabled(self) -> list[str]:
        """Give the names of the units that are not started at boot."""
        return [name for name in self.texts if not os.path.islink(self._wanted(name))]

    def installed(self) -> list[str]:
        """Give the names of the units whose files are there."""
        return [name for name in self.texts if self.before(name) is not None]

    def write(self, names: list[str]) -> None:
        """Write the files of *names* and have systemd read them. Raises UnitError, OSError."""
        for name in names:
            write_text(self.path(name), self.texts[name], 0o644)
        self._systemctl("daemon-reload")

    def enable(self, names: list[str]) -> None:
        """Have systemd start *names* at boot. Raises UnitError."""
        self._systemctl("enable", *names)

    def start(self) -> None:
        """Start all units; returns when the supervisor has said that it is ready. Raises UnitError."""
        self._systemctl("reset-failed", *self.texts, check=False)
        self._systemctl("start", *self.texts)

    def restart(self, name: str) -> None:
        """Restart one unit. Raises UnitError."""
        self._systemctl("restart", name)

    def stop(self) -> None:
        """Stop all units, the last first; returns when they are down. Raises UnitError."""
        # One by one: systemctl asks for each by itself, and the first would be down before the second is heard.
        for name in reversed(self.installed()):
            self._systemctl("stop", name)

    def inactive(self) -> list[str]:
        """Give the names of the units that do not run and are not about to."""
        _code, output, _errors = self._run(self._command("is-active", *self.texts))
        states = output.split()
        return [
            name
            for name, state in zip(self.texts, states + [""] * len(self.texts))
            if state not in ("active", "activating", "reloading", "deactivating")
        ]

    def remove(self) -> None:
        """Disable the units and remove their files. Raises UnitError, OSError."""
        names = self.installed()
        if self.is_init():
            self._systemctl("disable", *names, check=False)
        for name in names:
            os.unlink(self.path(name))
            if os.path.islink(self._wanted(name)):
                os.unlink(self._wanted(name))
        if self.is_init():
            self._systemctl("daemon-reload")
            self._systemctl("reset-failed", *names, check=False)

    def _wanted(self, name: str) -> str:
        return os.path.join(self._units, f"{self.target}.wants", name)

    def _command(self, *arguments: str) -> list[str]:
        return ["systemctl", *arguments]

    def _systemctl(self, *arguments: str, check: bool = True) -> None:
        code, output, errors = self._run(self._command(*arguments))
        if check and code != 0:
            detail = (errors.strip() or output.strip() or f"exit code {code}").splitlines()
            raise UnitError(f"systemctl {' '.join(arguments)}: {' '.join(detail)[-1000:]}")
