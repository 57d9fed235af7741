# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A lab: some hosts, the network between them, the key for them. Everything of it is in one directory."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
import typing as t
from pathlib import Path

from . import network
from .cgroup import Cgroup
from .host import INITS, Host
from .system import HostsError, enter_network, require_commands, require_root, run, unmount_below
from .tree import root_tree

if t.TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
BOOT_TIMEOUT = 300.0
"""Seconds that all hosts of one command may take to boot; a loaded machine takes a multiple of the usual second."""

_WRAPPER = """\
#!/bin/sh
echo 0 >{members}
exec nsenter --net={network} -- {program} -F {configuration} "$@"
"""
_SSH_CONFIGURATION = """\
Host *
  IdentityFile {directory}/key
  IdentitiesOnly yes
  StrictHostKeyChecking no
  UserKnownHostsFile /dev/null
  GlobalKnownHostsFile /dev/null
  LogLevel ERROR
  ControlPath {directory}/control/%C
  User root
"""


class Lab:
    """The lab of this name; it exists from its first `up` until its last `down`."""

    def __init__(self, name: str) -> None:
        require_root()
        check_name(name)
        self.name = name
        self.directory = labs_directory() / name
        self.cgroup = Cgroup.at(f"holdfast-hosts-{name}")

    def host(self, name: str) -> Host:
        """The host of this name, which need not exist."""
        check_name(name)
        return Host(self.directory, name, self._hosts_cgroup.child(name))

    def hosts(self) -> list[Host]:
        """All hosts that exist, on or off, in the order of their names."""
        names = sorted(path.parent.name for path in self.directory.glob("hosts/*/host.json"))
        return [self.host(name) for name in names]

    def up(self, names: Sequence[str], init: str) -> None:
        """Make these hosts and boot them, together. A failure leaves what there is, for `down`."""
        if init not in INITS:
            raise HostsError(f"init {init}: one of {', '.join(INITS)}")
        require_commands()
        root_tree(init)
        new = [self.host(name) for name in names]
        with self._locked():
            for host in new:
                if host.exists:
                    raise HostsError(f"{host.name} exists already")
            if not self._network.exists():
                self._create()
            for host in new:
                self._create_host(host, init)
            self._boot(new)

    def power_on(self, names: Sequence[str]) -> None:
        """Boot these hosts again, with the disks as they were left."""
        hosts = self.existing(names)
        with self._locked():
            self._boot(hosts)

    def power_off(self, names: Sequence[str]) -> None:
        """Switch these hosts off without any warning."""
        hosts = self.existing(names)
        with self._locked():
            for host in hosts:
                host.kill()

    def down(self, names: Sequence[str] = ()) -> None:
        """Remove these hosts, or the whole lab; also what a killed run of this tool has left of it."""
        if not names:
            self._remove()
            return
        hosts = [self.host(name) for name in names]
        with self._locked():
            for host in hosts:
                if host.directory.exists():
                    self._remove_host(host)
            self._write_names()

    def existing(self, names: Sequence[str]) -> list[Host]:
        """These hosts; HostsError when one does not exist."""
        hosts = [self.host(name) for name in names]
        for host in hosts:
            if not host.exists:
                raise HostsError(f"there is no host {host.name} in the lab {self.name}")
        return hosts

    def become(self, words: Sequence[str]) -> t.NoReturn:
        """Replace this process by a command in the lab's network; `down` ends what it leaves behind."""
        if not self._network.exists():
            raise HostsError(f"there is no lab {self.name}")
        command = [*enter_network(self._network), *words]
        self.cgroup.child("commands").join()
        os.execvp(command[0], command)

    def tool(self, name: str) -> Path:
        """The lab's own ssh, sftp or scp: runs in its network, with its key."""
        return self.directory / name

    def _create(self) -> None:
        self.directory.joinpath("hosts").mkdir()
        self.directory.joinpath("control").mkdir()
        self.directory.joinpath("hosts.txt").touch()
        self.cgroup.child("commands").create()
        key = self.directory / "key"
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"lab {self.name}", "-f", key])
        configuration = self.directory / "ssh_config"
        for program in ("ssh", "sftp", "scp"):
            wrapper = self.tool(program)
            wrapper.write_text(
                _WRAPPER.format(
                    members=self.cgroup.child("commands").members_file,
                    network=self._network,
                    program=shutil.which(program),
                    configuration=configuration,
                ),
                encoding="utf-8",
            )
            wrapper.chmod(0o755)
        configuration.write_text(_SSH_CONFIGURATION.format(directory=self.directory), encoding="utf-8")
        # Last: a lab without its network does not exist.
        network.create_lab(self._network, self.name)

    def _create_host(self, host: Host, init: str) -> None:
        taken = {other.address for other in self.hosts()}
        for number in range(network.FIRST_HOST, network.LAST_HOST + 1):
            address = f"{network.subnet(self.name)}.{number}"
            if address not in taken:
                break
        else:
            raise HostsError(f"the lab {self.name} is full")
        host.create(number, address, init)
        self._write_names()

    def _boot(self, hosts: Sequence[Host]) -> None:
        for host in hosts:
            host.start(root_tree(host.init))
        for host in hosts:
            host.wait_ready(BOOT_TIMEOUT)

    def _write_names(self) -> None:
        """Fill the hosts' common /etc/hosts in place: it is bind-mounted, so it must stay the same file."""
        if not self.directory.is_dir():
            return
        names = "127.0.0.1 localhost\n" + "".join(f"{host.address} {host.name}\n" for host in self.hosts())
        self.directory.joinpath("hosts.txt").write_text(names, encoding="ascii")
        with self.directory.joinpath("ssh_config").open("r+", encoding="utf-8") as file:
            file.truncate(0)
            for host in self.hosts():
                file.write(f"Host {host.name}\n  HostName {host.address}\n")
            file.write(_SSH_CONFIGURATION.format(directory=self.directory))

    def _remove_host(self, host: Host) -> None:
        if host.exists:
            host.kill()
        unmount_below(host.directory)
        shutil.rmtree(host.directory)

    def _remove(self) -> None:
        if not self.directory.is_dir():
            return
        with self._locked():
            self.cgroup.kill(spare=_ancestors())
            unmount_below(self.directory)
            self.cgroup.remove()
            shutil.rmtree(self.directory)
        with contextlib.suppress(OSError):  # another lab is there
            self.directory.parent.rmdir()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lab: one run at a time makes or removes things. Makes the lab's directory."""
        while True:
            self.directory.parent.mkdir(mode=0o700, exist_ok=True)
            if self.directory.parent.stat().st_uid != os.geteuid() or self.directory.parent.is_symlink():
                raise HostsError(f"{self.directory.parent} belongs to somebody else")
            with contextlib.suppress(FileNotFoundError):
                self.directory.mkdir(exist_ok=True)
                file = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
                try:
                    fcntl.flock(file, fcntl.LOCK_EX)
                    # Whoever had it before us may have removed it.
                    if os.path.samestat(os.fstat(file), self.directory.stat()):
                        yield
                        return
                finally:
                    os.close(file)

    @property
    def _network(self) -> Path:
        return self.directory / "net"

    @property
    def _hosts_cgroup(self) -> Cgroup:
        return self.cgroup.child("hosts")


def labs_directory() -> Path:
    """Where the directories of all labs are."""
    return Path(tempfile.gettempdir()) / "holdfast-hosts"


def check_name(name: str) -> None:
    """HostsError unless it can be the name of a lab or of a host."""
    if NAME.fullmatch(name) is None:
        raise HostsError(f"name {name!r}: a small letter, then up to 30 small letters, digits and hyphens")


def _ancestors() -> set[int]:
    """This process and those that wait for it: they may be members of the lab that they remove."""
    found = set()
    pid = os.getpid()
    while pid > 0:
        found.add(pid)
        stat = Path("/proc", str(pid), "stat").read_text(encoding="utf-8", errors="replace")
        pid = int(stat.rpartition(")")[2].split()[1])
    return found
