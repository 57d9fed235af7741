# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all supervision suites have in common, as the benchmarks see them."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import tempfile
import time
from pathlib import Path

import procs

#: The services run the program of this name; everything else below a supervisor is the price of supervision.
PROGRAM = "sleep"
RUN = "#!/bin/sh\nexec 2>&1\nexec {loader}sleep 1000000\n"
#: What an init system hands to a supervisor: a longer search path or a locale would only slow the services' shells.
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
#: The process state of the services that have one.
USER, GROUP, GROUPS, DESCRIPTORS = "nobody", "nogroup", ("nogroup", "users"), 512


class Suite:
    """One supervision suite on service directories of its own.

    count: how many services. state: whether they run under another user, with groups and a limit, the way that the
    suite has for it. scan: the directory of the service directories.
    """

    #: How people call it.
    title = ""
    #: Programs without which it can't be measured.
    programs: tuple[str, ...] = ()
    #: What goes before the program in `run` to give it its process state.
    loader = ""
    #: Form and offset of the pid in `supervise/status`; all of the family but s6 share it.
    pid_field = ("<I", 12)
    #: How often a restart and an addition can be measured in reasonable time.
    restarts = 40
    additions = 10

    def __init__(self, count: int, state: bool = False) -> None:
        self.base = Path(tempfile.mkdtemp(prefix="hf-bench-", dir=procs.workplace()))
        self.base.chmod(0o755)
        self.scan = self.base / "services"
        self.scan.mkdir()
        self.state = state
        self.names = [f"s{number:04}" for number in range(count)]
        self.root: subprocess.Popen[bytes] | None = None
        self.started = 0.0

    @classmethod
    def available(cls) -> bool:
        """Whether the suite is installed."""
        return all(shutil.which(program) for program in cls.programs)

    # -- what differs

    def write(self, name: str, directory: Path, run: str | None = None) -> None:
        """Make the service directory of *name*, with a logger, at *directory*."""
        raise NotImplementedError

    def command(self) -> list[str]:
        """The supervisor's command line."""
        raise NotImplementedError

    def stop_all(self) -> None:
        """Have all services stopped, in the fastest way that the suite offers."""
        raise NotImplementedError

    def announce(self) -> None:
        """Tell the supervisor of a new service directory, where it wants to be told."""

    def logs(self, name: str) -> bool:
        """Whether the logger of service *name* is there."""
        return self._status(self.scan / name / "log") != 0

    # -- what does not

    def run_text(self) -> str:
        """The content of `run`."""
        return RUN.format(loader=self.loader if self.state else "")

    def script(self, path: Path, text: str) -> None:
        """Write an executable file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def prepare(self) -> None:
        """Write all service directories."""
        for name in self.names:
            self.write(name, self.scan / name)

    def start(self) -> None:
        """Start the supervisor."""
        command = self.command()
        with open(self.base / "messages", "ab") as messages:
            self.started = time.perf_counter()
            self.root = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=messages,
                stderr=messages,
                env=ENVIRONMENT,
                start_new_session=True,
            )

    def pid(self, name: str) -> int:
        """The pid of service *name*, 0 if it has none."""
        return self._status(self.scan / name)

    def _status(self, directory: Path) -> int:
        """The pid in the status file of a service directory, 0 if there is none."""
        try:
            descriptor = os.open(f"{directory}/supervise/status", os.O_RDONLY)
        except OSError:
            return 0
        try:
            data = os.read(descriptor, 64)
        finally:
            os.close(descriptor)
        form, offset = self.pid_field
        return int(struct.unpack_from(form, data, offset)[0]) if len(data) >= 18 else 0

    def up(self, name: str) -> bool:
        """Whether the program of service *name* itself runs."""
        pid = self.pid(name)
        return pid != 0 and procs.name(pid) == PROGRAM

    def wait_up(self, timeout: float = 120.0) -> float:
        """Wait until all services run their programs and all loggers are there: seconds since the start."""
        for name in self.names:
            procs.wait_until(lambda name=name: self.up(name), timeout, f"{self.title}: {name} up")  # type: ignore[misc]
        for name in self.names:
            procs.wait_until(lambda name=name: self.logs(name), timeout, f"{self.title}: {name} logged")  # type: ignore[misc]
        return time.perf_counter() - self.started

    def supervision(self) -> list[int]:
        """All processes that are there for the sake of supervision and logs."""
        assert self.root is not None
        found = [self.root.pid, *procs.descendants(self.root.pid)]
        return [pid for pid in found if procs.name(pid) != PROGRAM]

    def close(self, spare: tuple[str, ...] = ()) -> None:
        """End everything that the benchmark has started, except programs of these names, and remove the files."""
        procs.end_all(spare)
        self.root = None
        shutil.rmtree(self.base)
