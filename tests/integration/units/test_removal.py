# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts that OpenRC or an init of System V runs: after the removal each is what it was before, file by file.

Those of systemd are in molecule's scenarios, others of these inits in the tests beside this one.
"""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import hosted
import pytest
import untouched

#: The backends of the hosts of each init.
BACKENDS = {"openrc": ("openrc", "runit", "daemontools", "embedded"), "sysvinit": ("s6",)}
HOSTS = [f"{init}-{backend}" for init, backends in BACKENDS.items() for backend in backends]
SERVICES = {
    "web": {"command": ["/bin/sleep", "100000"], "needs": ["db"], "user": "ordinary"},
    "db": {"command": ["/bin/sh", "-c", "echo words; exec sleep 100000"]},
    "beat": {"command": ["/bin/true"], "type": "periodic", "interval": "1h"},
    "off": {"command": ["/bin/sleep", "100000"], "state": "stopped"},
}


class Lab:
    """Hosts that are all there at once."""

    def __init__(self, folder: Path) -> None:
        self.name = f"removal-{uuid.uuid4().hex[:10]}"
        self.folder = folder

    def tool(self, *words: str) -> str:
        command = [sys.executable, str(hosted.TOOL), "--lab", self.name, *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
        assert done.returncode == 0, f"{words[:3]}: {done.stdout}{done.stderr}"
        return done.stdout

    def on(self, host: str, *words: str) -> str:
        return self.tool("exec", host, "--", *words)

    def play(self, playbook: str) -> None:
        """Run a playbook of the collection on all hosts, which must succeed."""
        variables = {
            "services_definitions": SERVICES,
            "supervisor_backend": "{{ inventory_hostname.split('-')[1] }}",
            # The hosts have the suites, and no way to a package manager's servers.
            "supervisor_prefix": "/usr/bin",
        }
        hosted.play(self.folder, self.tool("inventory"), variables, playbook, f"--forks={len(HOSTS)}", timeout=600)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    reason = hosted.Machine.missing()
    if reason:
        pytest.skip(reason)
    one = Lab(tmp_path)
    try:
        for init, backends in BACKENDS.items():
            one.tool("up", "--init", init, *(f"{init}-{backend}" for backend in backends))
        yield one
    finally:
        one.tool("down")


def test_hosts_are_what_they_were_before(lab: Lab) -> None:
    for host in HOSTS:
        untouched.remember(lambda *words, host=host: lab.on(host, *words))
    lab.play("site")
    for host in HOSTS:
        assert "sleep 100000" in lab.on(host, "ps", "-eo", "args"), host
    lab.play("remove")
    for host in HOSTS:
        untouched.compare(lambda *words, host=host: lab.on(host, *words))
