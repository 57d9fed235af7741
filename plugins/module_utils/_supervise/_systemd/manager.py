# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is asked of systemd, by its own command. PRIVATE to the collection.

Exit codes of systemctl say little: what became of a unit is read from its properties, all units with one call.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable

from .. import programs
from ..interface import BackendError, NotRunning

#: There exactly if systemd is the init of this host.
RUNNING = "/run/systemd/system"
PROPERTIES = (
    "Id",
    "LoadState",
    "ActiveState",
    "SubState",
    "Result",
    "Job",
    "MainPID",
    "NeedDaemonReload",
    "WantedBy",
    "NRestarts",
    "ConditionResult",
    "ExecMainCode",
    "ExecMainStatus",
    "ExecMainStartTimestampMonotonic",
    "ExecMainExitTimestampMonotonic",
    "InactiveExitTimestampMonotonic",
    "StateChangeTimestampMonotonic",
    # Of a timer.
    "NextElapseUSecMonotonic",
)
#: When systemd has read its units, at boot and for the last time.
READ = ("UnitsLoadFinishTimestampMonotonic", "UnitsLoadTimestampMonotonic")
#: Units of one command line, far below what the kernel takes.
BATCH = 500
#: Seconds for which a user's systemd may have a socket and not listen there.
DEAF = 10.0


def listens(path: str) -> bool:
    """Tell whether the systemd whose socket is *path* runs."""
    deadline = time.monotonic() + DEAF
    while os.path.exists(path):
        with socket.socket(socket.AF_UNIX) as one:
            one.setblocking(False)
            try:
                one.connect(path)
                return True
            except BlockingIOError:
                return True  # many others talk to it
            except OSError:
                # Either it has ended, then the socket goes too, or it executes itself anew, then it is back soon.
                if time.monotonic() >= deadline:
                    return False
        time.sleep(0.05)
    return False


def is_newer(path: str, shown: str) -> bool:
    """Tell whether *path* has changed since systemd has read its units. shown: what systemd says of READ.

    systemd says of a unit that it should be read again, not why: it may be a drop-in that somebody else has in hand. One that
    does not say when it has read (before 246) is believed.
    """
    times = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    if not times.get(READ[1], "").isdigit():
        return True
    try:
        age = time.time() - os.stat(path).st_ctime
    except FileNotFoundError:
        return False
    return time.monotonic() - age > max(int(text) for text in times.values() if text.isdigit()) / 1e6


class Manager:
    """systemd as process 1, or that of an ordinary user."""

    def __init__(self, user: bool) -> None:
        self._prefix = ["systemctl", "--user"] if user else ["systemctl"]
        self._environment = {**os.environ, "LC_ALL": "C", "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": ""}
        if user:
            # A task comes over ssh without a session of its own.
            self._environment.setdefault("XDG_RUNTIME_DIR", f"/run/user/{os.geteuid()}")
        self.user = user

    def require(self) -> None:
        """Raise NotRunning unless this manager runs."""
        if not os.path.isdir(RUNNING):
            raise NotRunning("systemd is not the init of this host")
        if self.user and not listens(f"{self._environment['XDG_RUNTIME_DIR']}/systemd/private"):
            raise NotRunning(
                "systemd does not run for this user: have somebody enable lingering (loginctl enable-linger), "
                "so that his services live without a session"
            )

    def version(self) -> int:
        """Give the number of systemd's version, 0 if it does not say."""
        text = self.run("show", "--property=Version", "--value")
        digits = text.strip().split(".")[0].split("-")[0].split("~")[0]
        return int(digits) if digits.isdigit() else 0

    def show(self, units: Iterable[str]) -> dict[str, dict[str, str]]:
        """Give the properties of these units, all with one call. Raises BackendError."""
        found: dict[str, dict[str, str]] = {}
        names = list(units)
        for start in range(0, len(names), BATCH):
            text = self.run("show", f"--property={','.join(PROPERTIES)}", "--", *names[start : start + BATCH])
            for block in text.split("\n\n"):
                pairs = (line.partition("=") for line in block.splitlines())
                properties = {key: value for key, _unused, value in pairs}
                if "Id" in properties:
                    found[properties["Id"]] = properties
        return found

    def act(self, verb: str, units: Iterable[str], *options: str) -> str:
        """Have systemd do something to these units; gives what it complained of, "" if it did not."""
        names, complaints = list(units), []
        for start in range(0, len(names), BATCH):
            try:
                self.run(verb, *options, "--", *names[start : start + BATCH])
            except BackendError as error:
                complaints.append(str(error))
        return "; ".join(complaints)

    def run(self, *arguments: str) -> str:
        """Run systemctl and give its output. Raises BackendError with what it said."""
        command = [*self._prefix, *arguments]
        try:
            code, output, errors = programs.run(command, self._environment)
        except FileNotFoundError:
            raise NotRunning("there is no systemctl on this host") from None
        except OSError as error:
            raise BackendError(f"systemctl {arguments[0]}: {error.strerror or error}") from None
        if code != 0:
            said = " ".join((errors or output).split()) or f"exit code {code}"
            raise BackendError(f"systemctl {arguments[0]}: {said[-1000:]}")
        return output
