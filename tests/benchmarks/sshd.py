# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A private sshd on the loopback address, for one user and one key, with nothing of the machine's own configuration."""

from __future__ import annotations

import getpass
import os
import socket
import subprocess
from pathlib import Path

import procs

_CONFIGURATION = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {base}/host
AuthorizedKeysFile {base}/user.pub
PidFile {base}/sshd.pid
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin yes
Subsystem sftp internal-sftp
SetEnv HOME={home}
"""


class Sshd:
    """The daemon, and what is needed to get in. base: a folder of its own, with a short path."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.key = base / "user"
        # A home of its own: a person's shell start-up files may take longer than what is measured.
        self.home = base / "home"
        self.home.mkdir(parents=True)
        for name in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(base / name)], check=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._separation = Path("/run/sshd")
        self._made = False

    def start(self) -> None:
        """Start listening."""
        if not self._separation.exists():
            self._separation.mkdir(mode=0o755)
            self._made = True
        configuration = self.base / "configuration"
        configuration.write_text(_CONFIGURATION.format(port=self.port, base=self.base, home=self.home))
        command = ["/usr/sbin/sshd", "-D", "-e", "-f", str(configuration)]
        with (self.base / "messages").open("wb") as messages:
            subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=messages, stderr=messages)
        procs.wait_until(self._listens, 10, "sshd", pause=0.01)

    def _listens(self) -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0

    def inventory(self) -> str:
        """An inventory of this one host."""
        variables = {
            "ansible_host": "127.0.0.1",
            "ansible_port": self.port,
            "ansible_user": getpass.getuser(),
            "ansible_ssh_private_key_file": self.key,
            "ansible_python_interpreter": "/usr/bin/python3",
            "ansible_ssh_common_args": "'-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR'",
        }
        return "target " + " ".join(f"{key}={value}" for key, value in variables.items()) + "\n"

    def close(self) -> None:
        """Take away what the machine did not have; processes are the caller's to end."""
        if self._made:
            os.rmdir(self._separation)
