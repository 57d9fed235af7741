# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One host of a lab: a process 1 with namespaces of its own over a root file system of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import typing as t
import uuid
from pathlib import Path

from . import network
from .system import HostsError, greets, run, share_mount, wait_until

if t.TYPE_CHECKING:
    from collections.abc import Sequence

    from .cgroup import Cgroup

INITS = ("systemd", "openrc", "sysvinit", "plain")
"""What can be process 1: systemd, an init of System V with OpenRC or without, or an ``sshd`` in the foreground (a
container without an init)."""

FORBIDDEN = "-sys_time,-sys_module,-sys_rawio"
"""Capabilities that nothing in a host may have: the clock, the modules and the hardware are the machine's."""

_BOOT = Path(__file__).with_name("boot.sh")
_ENVIRONMENT = {
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "LOGNAME": "root",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "USER": "root",
}


class Host:
    """A host by its directory ``LAB/hosts/NAME``; `settings` says what it is, the kernel whether it runs."""

    def __init__(self, lab: Path, name: str, cgroup: Cgroup) -> None:
        self.name = name
        self.directory = lab / "hosts" / name
        self.cgroup = cgroup
        self._lab = lab

    @property
    def exists(self) -> bool:
        """Whether it was made; it may be off."""
        return self._settings_file.is_file()

    @property
    def address(self) -> str:
        """Its IPv4 address."""
        return str(self._settings()["address"])

    @property
    def init(self) -> str:
        """One of `INITS`."""
        return str(self._settings()["init"])

    @property
    def state(self) -> str:
        """off, frozen, cut or on."""
        if self.pid() is None:
            return "off"
        if self.cgroup.is_frozen():
            return "frozen"
        return "on" if network.is_plugged(self._lab_network, self._number) else "cut"

    def create(self, number: int, address: str, init: str) -> None:
        """Make the host's empty disk; it is off then."""
        for part in ("upper/etc", "work", "root"):
            self.directory.joinpath(part).mkdir(parents=True)
        etc = self.directory / "upper" / "etc"
        etc.joinpath("hostname").write_text(f"{self.name}\n", encoding="ascii")
        etc.joinpath("machine-id").write_text(f"{uuid.uuid4().hex}\n", encoding="ascii")
        keys = etc / "ssh" / "lab_keys"
        keys.parent.mkdir()
        keys.write_bytes(self._lab.joinpath("key.pub").read_bytes())
        settings = {"number": number, "address": address, "init": init}
        # Last: a host without this file does not exist.
        self._settings_file.write_text(json.dumps(settings), encoding="utf-8")

    def start(self, tree: Path) -> None:
        """Switch on; returns when process 1 has been started, see `wait_ready`."""
        if self.pid() is not None:
            raise HostsError(f"{self.name} is on already")
        network.remove_host(self._lab_network, self._network, self._number)  # of a boot that failed half-way
        network.create_host(self._lab_network, self._network, self.address, self._number)
        for part in ("outside", "inside"):
            self.cgroup.child(part).create()
        settings = map(str, ("holder", self._lab, self.name, self.cgroup.path, tree, self.init, FORBIDDEN))
        with self._boot_log.open("wb") as log:
            holder = subprocess.Popen(
                ["sh", str(_BOOT), *settings],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=_ENVIRONMENT,
                start_new_session=True,
            )
        wait_until(lambda: self.pid() is not None or holder.poll() is not None, 120, f"{self.name} to start")
        # From here on the cgroup tells what is alive; the holder outlives us.
        holder.returncode = 0

    def wait_ready(self, timeout: float) -> None:
        """Return when ssh answers and, with systemd, all of the boot is over; HostsError with the reason."""
        deadline = time.monotonic() + timeout

        def left() -> float:
            return max(0.1, deadline - time.monotonic())

        def answers() -> bool:
            if self.pid() is None:
                raise HostsError(f"{self.name} ended during its boot: {self._boot_log.read_text('utf-8').strip()}")
            return greets(self._lab_network, self.address, 22)

        wait_until(answers, left(), f"ssh of {self.name}")
        if self.init == "systemd":
            # Prints "running", or "degraded" when some unit failed: the caller's to judge.
            run(self.command("systemctl", "is-system-running", "--wait"), timeout=left(), check=False)

    def kill(self) -> None:
        """Switch off as a power cut does: the others hear nothing of it, not even a reset connection."""
        if self.pid() is not None:
            network.plug(self._lab_network, self._number, plugged=False)
        pid = self.pid()
        if pid is not None:
            os.kill(pid, signal.SIGKILL)  # the kernel ends everything in the namespace with it
        self.cgroup.kill()
        network.remove_host(self._lab_network, self._network, self._number)
        self.cgroup.remove()

    def plug(self, plugged: bool) -> None:
        """Cut the host off the network, or heal that."""
        self._require_on()
        network.plug(self._lab_network, self._number, plugged)

    def freeze(self, frozen: bool) -> None:
        """Stop all its processes at once, or let them continue; the network stack goes on answering."""
        self._require_on()
        self.cgroup.freeze(frozen)

    def command(self, *words: str) -> list[str]:
        """The command that runs these words inside the host, as root, with a clean environment."""
        pid = self._require_on()
        namespaces = ["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"]
        clean = ["env", "-i", *(f"{name}={value}" for name, value in _ENVIRONMENT.items())]
        # nsenter changes no capability, so what process 1 gave up must be given up again.
        return ["nsenter", f"--target={pid}", *namespaces, "setpriv", f"--bounding-set={FORBIDDEN}", *clean, *words]

    def share(self, path: Path) -> None:
        """Let the host see a directory of the machine, at the same path, until it is switched off.

        This process is in the host's mount namespace afterwards.
        """
        share_mount(path, Path("/proc", str(self._require_on()), "ns", "mnt"))

    def become(self, words: Sequence[str]) -> t.NoReturn:
        """Replace this process by the command inside the host."""
        command = self.command(*words)
        self.cgroup.child("outside").join()
        os.execvp(command[0], command)

    def pid(self) -> int | None:
        """Process 1 of the host as the machine numbers it; None when the host is off."""
        depth = len(_numbers("self")) + 1
        for pid in self.cgroup.pids():
            numbers = _numbers(str(pid))
            if len(numbers) == depth and numbers[-1] == 1:
                return pid
        return None

    def _require_on(self) -> int:
        pid = self.pid()
        if pid is None:
            raise HostsError(f"{self.name} is off")
        return pid

    def _settings(self) -> dict[str, t.Any]:
        try:
            settings: dict[str, t.Any] = json.loads(self._settings_file.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise HostsError(f"there is no host {self.name}") from error
        return settings

    @property
    def _number(self) -> int:
        return int(self._settings()["number"])

    @property
    def _settings_file(self) -> Path:
        return self.directory / "host.json"

    @property
    def _boot_log(self) -> Path:
        return self.directory / "boot.log"

    @property
    def _network(self) -> Path:
        return self.directory / "net"

    @property
    def _lab_network(self) -> Path:
        return self._lab / "net"


def _numbers(pid: str) -> list[int]:
    """The numbers of a process in our and all inner pid namespaces; empty when it has gone."""
    try:
        status = Path("/proc", pid, "status").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return []
    for line in status.splitlines():
        if line.startswith("NSpid:"):
            return [int(number) for number in line.split()[1:]]
    return []
