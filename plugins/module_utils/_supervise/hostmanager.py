# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The host's own service manager, for services that are not ours. PRIVATE to the collection.

The module service is used in place of ansible.builtin.service, so that it meets services of the distribution too. A
module cannot call another one: this does what is needed with the manager's own commands.
"""

from __future__ import annotations

import glob
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Protocol


class Runner(Protocol):
    """What is used of AnsibleModule."""

    def run_command(self, args: Any) -> tuple[int, str, str]:
        """Run a command; gives return code, output and errors."""

    def get_bin_path(self, arg: str, required: bool = False, opt_dirs: Any = None) -> str | None:
        """Find a program."""


class ManagerError(Exception):
    """The host's manager does not know the service, or a command of it failed."""


class Manager(ABC):
    """One service of the host's manager."""

    kind: ClassVar[str]

    def __init__(self, runner: Runner, name: str, runlevel: str = "default", arguments: str = "") -> None:
        self.name = name
        self._runner = runner
        self._runlevel = runlevel
        self._arguments = arguments.split()

    @abstractmethod
    def running(self) -> bool:
        """Tell whether the service runs. Raises ManagerError for one that does not exist."""

    @abstractmethod
    def enabled(self) -> bool:
        """Tell whether the service is started at boot."""

    @abstractmethod
    def act(self, verb: str) -> None:
        """Carry out start, stop, restart or reload. Raises ManagerError."""

    @abstractmethod
    def enable(self, wanted: bool) -> None:
        """Have the service started at boot, or not. Raises ManagerError."""

    def reload_manager(self) -> None:  # noqa: B027 - most managers have nothing to do
        """Let the manager read its files again."""

    def _run(self, *command: str) -> tuple[int, str, str]:
        return self._runner.run_command(list(command))

    def _must(self, *command: str) -> None:
        code, output, errors = self._run(*command)
        if code:
            said = (errors or output).strip() or "no message"
            raise ManagerError(f"{self.name}: '{' '.join(command)}' failed with status {code}: {said}")

    def _program(self, *names: str) -> str | None:
        for name in names:
            path = self._runner.get_bin_path(name, opt_dirs=["/sbin", "/usr/sbin"])
            if path:
                return path
        return None


class Systemd(Manager):
    """systemctl."""

    kind = "systemd"
    SUFFIXES = (
        ".service",
        ".socket",
        ".target",
        ".timer",
        ".mount",
        ".path",
        ".slice",
        ".scope",
        ".swap",
        ".automount",
    )

    def __init__(self, runner: Runner, name: str, runlevel: str = "default", arguments: str = "") -> None:
        super().__init__(runner, name, runlevel, arguments)
        self.unit = name if name.endswith(self.SUFFIXES) else f"{name}.service"

    def running(self) -> bool:
        """Tell whether the unit is active or on its way."""
        code, output, errors = self._run("systemctl", "show", self.unit, "-p", "LoadState", "-p", "ActiveState")
        shown = dict(line.partition("=")[::2] for line in output.splitlines())
        if code:
            raise ManagerError(f"{self.name}: systemctl show: {errors.strip()}")
        if shown.get("LoadState") == "not-found":
            raise ManagerError(f"{self.name}: there is no such service here, and no unit {self.unit} of systemd")
        return shown.get("ActiveState") in ("active", "activating", "reloading")

    def enabled(self) -> bool:
        """Tell what systemctl is-enabled says."""
        return self._run("systemctl", "is-enabled", self.unit)[0] == 0

    def act(self, verb: str) -> None:
        """Give the verb to systemctl."""
        self._must("systemctl", verb, self.unit)

    def enable(self, wanted: bool) -> None:
        """Enable or disable the unit."""
        self._must("systemctl", "enable" if wanted else "disable", self.unit)

    def reload_manager(self) -> None:
        """Let systemd read its units again."""
        self._must("systemctl", "daemon-reload")


class OpenRC(Manager):
    """rc-service and rc-update."""

    kind = "openrc"

    def running(self) -> bool:
        """Tell what rc-service says."""
        if self._run("rc-service", "--exists", self.name)[0]:
            raise ManagerError(f"{self.name}: there is no such service here, and no init script of OpenRC")
        return self._run("rc-service", self.name, "status")[0] == 0

    def enabled(self) -> bool:
        """Tell whether the service is in the runlevel."""
        _code, output, _errors = self._run("rc-update", "show", self._runlevel)
        return any(line.partition("|")[0].strip() == self.name for line in output.splitlines())

    def act(self, verb: str) -> None:
        """Give the verb to rc-service."""
        self._must("rc-service", self.name, verb, *self._arguments)

    def enable(self, wanted: bool) -> None:
        """Add the service to the runlevel, or take it out."""
        self._must("rc-update", "add" if wanted else "delete", self.name, self._runlevel)


class SysV(Manager):
    """Init scripts, by `service` where there is one."""

    kind = "sysvinit"

    def running(self) -> bool:
        """Tell what the script's status says."""
        code = self._run(*self._command("status"))[0]
        if code not in (0, 1, 2, 3) or not os.path.exists(f"/etc/init.d/{self.name}"):
            raise ManagerError(f"{self.name}: there is no such service here, and no init script of that name")
        return code == 0

    def enabled(self) -> bool:
        """Tell whether there are links that start it."""
        return bool(glob.glob(f"/etc/rc[2-5].d/S[0-9][0-9]{glob.escape(self.name)}"))

    def act(self, verb: str) -> None:
        """Give the verb to the script."""
        self._must(*self._command(verb), *self._arguments)

    def enable(self, wanted: bool) -> None:
        """Make or remove the links."""
        tool = self._program("update-rc.d", "chkconfig")
        if tool is None:
            raise ManagerError(f"{self.name}: there is neither update-rc.d nor chkconfig to enable it with")
        if tool.endswith("chkconfig"):
            self._must(tool, self.name, "on" if wanted else "off")
        else:
            if wanted:
                self._must(tool, self.name, "defaults")
            self._must(tool, self.name, "enable" if wanted else "disable")

    def _command(self, verb: str) -> Sequence[str]:
        tool = self._program("service")
        return (tool, self.name, verb) if tool else (f"/etc/init.d/{self.name}", verb)


def find(runner: Runner, name: str, runlevel: str = "default", arguments: str = "", root: str = "/") -> Manager:
    """Give the service *name* of the manager that runs this host. Raises ManagerError when there is none we know."""
    kind: type[Manager]
    if os.path.isdir(os.path.join(root, "run/systemd/system")):
        kind = Systemd
    elif os.path.isdir(os.path.join(root, "run/openrc")):
        kind = OpenRC
    elif os.path.isdir(os.path.join(root, "etc/init.d")):
        kind = SysV
    else:
        raise ManagerError(f"{name}: there is no such service here, and no service manager of the host that is known")
    return kind(runner, name, runlevel, arguments)
