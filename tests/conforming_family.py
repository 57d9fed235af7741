# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The suites of the daemontools family for the conformance suite."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path
from typing import ClassVar

import procs
from conforming import Supervised
from converging import PYTHON
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._supervise.family_files import NoSupervisor, send


class FamilyHost(Supervised):
    """A suite with a scan directory of its own, below that of the portable directories."""

    adopts = False
    backoff: ClassVar = {"initial": "1s", "maximum": "5s"}
    defaults: ClassVar = {"stop_timeout": "5s"}
    #: The program of the root process, and of those that look after one service each.
    root: ClassVar[str]
    supervise: ClassVar[str]
    #: Where the suite's programs are, if not where all are.
    prefix: ClassVar[str] = "/usr/bin"

    def prepare(self) -> None:
        for folder in (self.scan, self.logs, self.scan / f".{self.backend}"):
            folder.mkdir()
            folder.chmod(0o755)
        # For the guards of leased services, as the role makes it.
        (self.scan / ".holdfast").symlink_to(self.base / "run")

    def command(self) -> list[str]:
        return [self.root, str(self.suite)]

    @property
    def suite(self) -> Path:
        return self.scan / f".{self.backend}"

    def start(self) -> None:
        environment = {
            "PATH": f"{self.prefix}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOLDFAST_PYTHON": PYTHON,
            "HOLDFAST_RUNTIME": str(self.runtime),
            "HOLDFAST_TEST": str(self.base),
        }
        with (self.base / "errors").open("ab") as errors:
            self.supervisor = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                env=environment,
                start_new_session=True,
            )
        wait_until(lambda: self.type().present(str(self.scan)))

    def look(self) -> None:
        """Have the root process look at its directory, if it can be told; the others do within five seconds."""

    def supervisors(self) -> list[int]:
        """The processes that look after one service each, and after one log each."""
        return [
            pid
            for pid in procs.pids()
            if procs.working_directory(pid).startswith(f"{self.suite}/")
            and [os.path.basename(word) for word in procs.arguments(pid)[:1]] == [self.supervise]
        ]

    def kill(self) -> None:
        """Kill the root process and every supervisor below it, as the kernel's out-of-memory killer might."""
        assert self.supervisor is not None
        root = self.supervisor.pid
        procs.kill(root, signal.SIGSTOP)
        wait_until(lambda: procs.state(root) == "T")
        # One that was only just forked is not to be told from the root yet.
        young = procs.children(root)
        super().kill()
        for pid in {*young, *self.supervisors()}:
            procs.kill(pid)
            procs.until_dead(pid)

    def stop(self) -> None:
        """As the unit does: the root ends, then the supervisors are told to, and what is left is killed."""
        assert self.supervisor is not None
        self.supervisor.send_signal(signal.SIGTERM)
        self.supervisor.wait(120)
        wait_until(lambda: not self.supervisors())


class S6Host(FamilyHost):
    """s6, whose root process stops everything in order when it is told to end."""

    backend = title = "s6"
    programs = ("s6-svscan", "s6-supervise", "s6-log")
    root, supervise = "s6-svscan", "s6-supervise"

    def look(self) -> None:
        (self.suite / ".s6-svscan" / "control").write_bytes(b"a")


class RunitHost(FamilyHost):
    """runit, whose root process is told to end everything by HUP."""

    backend = title = "runit"
    programs = ("runsvdir", "runsv", "svlogd", "chpst")
    root, supervise = "runsvdir", "runsv"

    def command(self) -> list[str]:
        return [self.root, "-P", str(self.suite)]

    def stop(self) -> None:
        assert self.supervisor is not None
        self.supervisor.send_signal(signal.SIGHUP)
        self.supervisor.wait(120)
        wait_until(lambda: not self.supervisors())


class DaemontoolsHost(FamilyHost):
    """daemontools, whose root process leaves everything behind that it has started."""

    backend = title = "daemontools"
    programs = ("svscan", "supervise", "multilog", "pgrphack")
    root, supervise = "svscan", "supervise"

    def stop(self) -> None:
        assert self.supervisor is not None
        self.supervisor.terminate()
        self.supervisor.wait(120)
        for part in ("*/supervise", "*/log/supervise"):
            for folder in self.suite.glob(part):
                with contextlib.suppress(OSError, NoSupervisor):
                    send(f"{folder}/control", b"dx")
        wait_until(lambda: not self.supervisors())


class EncoreHost(DaemontoolsHost):
    """daemontools-encore from the folder HOLDFAST_ENCORE, of which no package is known."""

    backend, title = "daemontools_encore", "daemontools-encore"
    by_hand = "by hand, with programs built from source; not in CI, where no package has them"
    prefix = os.environ.get("HOLDFAST_ENCORE", "")

    @classmethod
    def missing(cls) -> str:
        if not cls.prefix:
            return "HOLDFAST_ENCORE does not say where the programs of daemontools-encore are"
        absent = [one for one in ("svscan", "supervise", "multilog") if not os.access(f"{cls.prefix}/{one}", os.X_OK)]
        return f"not in {cls.prefix}: {', '.join(absent)}" if absent else ""

    def prepare(self) -> None:
        super().prepare()
        # As the role makes it.
        (self.suite / "+idle").mkdir()
        (self.suite / "+idle" / "down").touch()

    def command(self) -> list[str]:
        return [f"{self.prefix}/svscan", str(self.suite)]
