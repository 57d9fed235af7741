# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Labs of several test hosts for a test, by their command line; and packages of the distribution for hosts that have no way out."""

from __future__ import annotations

import ctypes
import hashlib
import os
import subprocess
import sys
import tempfile
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

Value = TypeVar("Value")

HOSTS = Path(__file__).resolve().parent / "hosts" / "hosts.py"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "holdfast-supervision" / "packages"


class Lab:
    """A lab with a name of its own; skips the test where there can be none."""

    def __init__(self, kind: str) -> None:
        self.name = f"{kind}-{uuid.uuid4().hex[:8]}"
        possible = subprocess.run(
            [sys.executable, HOSTS, "check"], capture_output=True, text=True, timeout=300, check=False
        )
        if possible.returncode != 0:
            pytest.skip(possible.stderr)

    def command(self, *words: str) -> list[str]:
        return [sys.executable, os.fspath(HOSTS), "--lab", self.name, *words]

    def do(self, *words: str, stdin: bytes = b"") -> str:
        """Run a command of the tool that must succeed; what it printed."""
        done = subprocess.run(self.command(*words), input=stdin, capture_output=True, timeout=900, check=False)
        assert done.returncode == 0, f"{words}: {done.stderr.decode()}"
        return done.stdout.decode().strip()

    def shell(self, host: str, script: str, stdin: bytes = b"") -> str:
        return self.do("exec", host, "--", "sh", "-ec", script, stdin=stdin)

    def enter_network(self) -> None:
        """Let the calling thread, and no other, have the lab's network: sockets that it makes reach the hosts."""
        namespace = os.open(Path(tempfile.gettempdir()) / "holdfast-hosts" / self.name / "net", os.O_RDONLY)
        try:
            if ctypes.CDLL(None, use_errno=True).setns(namespace, 0x40000000) != 0:
                raise OSError(ctypes.get_errno(), "setns")
        finally:
            os.close(namespace)

    def within(self, work: Callable[[], Value]) -> Value:
        """Do something in the lab's network."""
        with ThreadPoolExecutor(1, initializer=self.enter_network) as one:
            return one.submit(work).result()

    def put_packages(self, host: str, folder: str, *names: str) -> None:
        """Make a repository of these packages in a folder of the host."""
        packages = [_package(name) for name in names]
        archive = ["tar", "-C", CACHE, "-c", *(deb.name for deb in packages)]
        content = subprocess.run(archive, capture_output=True, check=True).stdout
        self.shell(host, f"mkdir -p {folder}; tar -C {folder} -x", content)
        self.shell(host, f"cat >{folder}/Packages", "".join(map(_stanza, packages)).encode())


def _package(name: str) -> Path:
    """A package of this machine's distribution, from the cache if it is there."""
    CACHE.mkdir(parents=True, exist_ok=True)
    for update in (False, True):
        if update:
            subprocess.run(["apt-get", "update", "-qq"], capture_output=True, timeout=300, check=False)
        found = sorted(CACHE.glob(f"{name}_*.deb"))
        if found:
            return found[-1]
        subprocess.run(["apt-get", "download", "-qq", name], cwd=CACHE, capture_output=True, timeout=300, check=False)
    found = sorted(CACHE.glob(f"{name}_*.deb"))
    assert found, f"apt-get can't download {name}"
    return found[-1]


def _stanza(deb: Path) -> str:
    control = subprocess.run(["dpkg-deb", "-f", deb], capture_output=True, text=True, check=True).stdout.strip()
    content = deb.read_bytes()
    return f"{control}\nFilename: ./{deb.name}\nSize: {len(content)}\nSHA256: {hashlib.sha256(content).hexdigest()}\n\n"
