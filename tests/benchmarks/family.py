# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The C suites of the daemontools family."""

from __future__ import annotations

import grp
import pwd
import subprocess
from pathlib import Path

from suite import DESCRIPTORS, GROUP, GROUPS, USER, Suite

_LOG = "#!/bin/sh\nexec 2>&1\nexec {logger}\n"


class _Family(Suite):
    logger = ""

    def write(self, name: str, directory: Path, run: str | None = None) -> None:
        self.script(directory / "run", run or self.run_text())
        self.script(directory / "log" / "run", _LOG.format(logger=self.logger))
        (directory / "log" / "main").mkdir()

    def _directories(self) -> list[str]:
        return [str(self.scan / name) for name in self.names]


class Daemontools(_Family):
    """daemontools; its setuidgid gives the user's main group only."""

    title = "daemontools"
    programs = ("svscan", "supervise", "svc", "multilog")
    logger = "multilog t s1000000 n10 ./main"
    loader = f"softlimit -o {DESCRIPTORS} setuidgid {USER} "
    additions = 3

    def command(self) -> list[str]:
        return ["svscan", str(self.scan)]

    def stop_all(self) -> None:
        subprocess.run(["svc", "-d", *self._directories()], check=True)


class Runit(_Family):
    """runit."""

    title = "runit"
    programs = ("runsvdir", "runsv", "sv", "svlogd", "chpst")
    logger = "svlogd -tt ./main"
    loader = f"chpst -u {USER}:{':'.join((GROUP, *GROUPS[1:]))} -o {DESCRIPTORS} "
    additions = 3

    def command(self) -> list[str]:
        return ["runsvdir", str(self.scan)]

    def stop_all(self) -> None:
        for directory in self._directories():
            # What `sv down` does first of all; the command itself asks and waits once for every service.
            with open(f"{directory}/supervise/control", "wb", buffering=0) as control:
                control.write(b"d")


class S6(_Family):
    """s6; the services say that they are ready, otherwise it waits a second before each restart."""

    title = "s6"
    programs = ("s6-svscan", "s6-supervise", "s6-svc", "s6-svscanctl", "s6-log", "s6-applyuidgid", "s6-softlimit")
    logger = "s6-log t s1000000 n10 ./main"
    pid_field = (">Q", 24)

    def __init__(self, count: int, state: bool = False) -> None:
        super().__init__(count, state)
        numbers = ",".join(str(grp.getgrnam(name).gr_gid) for name in GROUPS)
        self.loader = (
            f"s6-softlimit -o {DESCRIPTORS} s6-applyuidgid -u {pwd.getpwnam(USER).pw_uid} "
            f"-g {grp.getgrnam(GROUP).gr_gid} -G {numbers} "
        )

    def run_text(self) -> str:
        return super().run_text().replace("\nexec 2>&1\n", "\nexec 2>&1\necho >&3\nexec 3>&-\n")

    def write(self, name: str, directory: Path, run: str | None = None) -> None:
        super().write(name, directory, run)
        (directory / "notification-fd").write_text("3\n")

    def command(self) -> list[str]:
        return ["s6-svscan", "-c", str(2 * len(self.names) + 100), str(self.scan)]

    def announce(self) -> None:
        subprocess.run(["s6-svscanctl", "-a", str(self.scan)], check=True)

    def stop_all(self) -> None:
        for directory in self._directories():
            with open(f"{directory}/supervise/control", "wb", buffering=0) as control:
                control.write(b"d")
