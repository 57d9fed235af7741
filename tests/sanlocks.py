# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real sanlock daemons, each of which is a host to the others, on one file; and what can befall them."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import procs
from faultyfs import Way
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._lease import interface
from ansible_collections.holdfast.supervision.plugins.module_utils._lease._sanlock import daemon, index, parameters
from ansible_collections.holdfast.supervision.plugins.module_utils._lease._sanlock.prepare import prepare

SANLOCK = shutil.which("sanlock", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


class Host:
    """One daemon. It needs no privilege, has its own directory, and no watchdog."""

    def __init__(self, storage: Storage, number: int, name: str = "") -> None:
        """Have its directory made; name: of it, where it is not that of the host's number."""
        self.storage = storage
        self.number = number
        #: Its own way to the storage, which may be lost; None for the file itself.
        self.way: Way | None = None
        self.base = storage.base / (name or f"host{number}")
        self.base.mkdir()
        self.socket = f"{self.base}/sanlock.sock"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> Host:
        """Start it, and wait until it can be asked."""
        with (self.base / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    str(SANLOCK),
                    "daemon",
                    "-D",
                    "-w",
                    "0",
                    "-l",
                    "0",
                    "-h",
                    "0",
                    "-U",
                    pwd.getpwuid(os.geteuid()).pw_name,
                ]
                + ["-G", grp.getgrgid(os.getegid()).gr_name, *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "SANLOCK_PRIVILEGED": "0", "SANLOCK_RUN_DIR": str(self.base)},
            )

        def answers() -> bool:
            with contextlib.suppress(Exception):
                return bool(self.daemon().version())
            return False

        try:
            wait_until(answers)
        except AssertionError:
            self.end()
            raise
        return self

    @property
    def path(self) -> Path:
        """The storage as this host sees it."""
        return self.way.file if self.way is not None else self.storage.path

    def parameters(self, **others: Any) -> dict[str, Any]:
        """What a driver on this host has to be told."""
        return {"path": str(self.path), "socket": self.socket, "host_id": self.number, "poll": 0.05, **others}

    def daemon(self) -> daemon.Daemon:
        return daemon.Daemon(parameters.Parameters(self.parameters()))

    def join(self) -> None:
        """Join the lockspace: two renewals and a second."""
        self.daemon().join(self.number, self.storage.io_timeout, 30.0)

    def until_renewed(self) -> None:
        """Wait for a renewal of the host's lease after now."""
        begin = time.monotonic()

        def renewed() -> bool:
            space = self.daemon().space()
            return space is not None and space.kept > begin

        wait_until(renewed)

    def knows_others(self) -> bool:
        """Say whether it has looked at the other hosts, which it does with its first renewal."""
        with contextlib.suppress(interface.StoreUnavailable):
            return bool(self.daemon().hosts())
        return False

    def client(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run sanlock's own client."""
        return subprocess.run(
            [str(SANLOCK), "client", *words],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            env={**os.environ, "SANLOCK_RUN_DIR": str(self.base)},
        )

    def signal(self, number: int) -> None:
        """Send it a signal; what is stopped does nothing more when this returns."""
        if self.process is not None and number == signal.SIGSTOP:
            procs.stop(self.process.pid)
        elif self.process is not None:
            self.process.send_signal(number)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def end(self) -> None:
        """End it, with everything that it started."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


class Storage:
    """A file with a lockspace, and the hosts that share it."""

    def __init__(
        self,
        hosts: int = 1,
        io_timeout: int = 1,
        prepared: bool = True,
        below: Path | None = None,
        ways: bool = False,
    ) -> None:
        """Prepare the lockspace if *prepared*. ways: each host has its own way to the storage, see faultyfs.py."""
        self.base = Path(tempfile.mkdtemp(prefix="hf-sanlock-"))
        self.path = (below or self.base) / "leases"
        self.io_timeout = io_timeout
        self.hosts = [Host(self, number + 1).start() for number in range(hosts)]
        if prepared:
            prepare(self.hosts[0].parameters(), io_timeout, resources=512)
        for host in self.hosts if ways else ():
            host.way = Way(self.path, host.base / "storage")

    def join(self) -> Storage:
        """Have all hosts join, at the same time."""
        with ThreadPoolExecutor(len(self.hosts)) as pool:
            list(pool.map(Host.join, self.hosts))
        for host in self.hosts:
            wait_until(host.knows_others)
        return self

    def close(self) -> None:
        for host in self.hosts:
            # First, so that nobody waits for it when he is to end.
            if host.way is not None:
                host.way.close()
            host.end()
        shutil.rmtree(self.base, ignore_errors=True)


@contextlib.contextmanager
def storage(hosts: int = 1, io_timeout: int = 1) -> Iterator[Storage]:
    """A storage whose hosts have joined."""
    made = Storage(hosts, io_timeout)
    try:
        yield made.join()
    finally:
        made.close()


def struck(host: Host, resource: str) -> int:
    """Take a resource away from whoever has it on this host, by sanlock's own means; gives the pid that had it."""
    found = host.daemon().clients(resource)
    for pid, _name, _number in found:
        space = host.daemon().space()
        assert space is not None
        offset = index.Index(host.daemon(), parameters.Parameters(host.parameters())).place(resource, space)
        host.client("release", "-r", f"holdfast:{resource}:{host.path}:{offset}", "-p", str(pid))
    return found[0][0]
