# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Supervisor for the conformance suite: Debian's, on this machine."""

from __future__ import annotations

import os
import subprocess
from typing import Any, ClassVar

from conforming import Supervised, sweep
from converging import PYTHON
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._supervise._supervisord import program
from ansible_collections.holdfast.supervision.plugins.module_utils._supervise._supervisord.rpc import Rpc
from ansible_collections.holdfast.supervision.plugins.module_utils._supervise.interface import NotRunning


class SupervisordHost(Supervised):
    """A supervisord of the test's own, set up as the role does."""

    backend = "supervisord"
    title = "supervisord"
    programs = ("supervisord",)
    defaults: ClassVar[dict[str, Any]] = {"backoff": {"initial": "50ms", "maximum": "100ms"}, "stop_timeout": "5s"}
    adopts = False
    old_logs = "current.*"
    log_buffer = 131072
    tells_last_end = False
    #: What is run.
    program: tuple[str, ...] = ("supervisord",)

    def prepare(self) -> None:
        super().prepare()
        place = program.Place(str(self.scan), str(self.base / "run"))
        folder = self.scan / program.FOLDER
        (folder / program.PROGRAMS).mkdir(parents=True)
        folder.chmod(0o700)
        (folder / program.CONFIGURATION).write_text(program.configuration(place))
        start = folder / program.START
        start.write_text(program.START_TEXT)
        start.chmod(0o755)

    def start(self) -> None:
        configuration = self.scan / program.FOLDER / program.CONFIGURATION
        with (self.base / "errors").open("ab") as errors:
            self.supervisor = subprocess.Popen(
                [*self.program, "-n", "-c", str(configuration)],
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                env={
                    **os.environ,
                    "HOLDFAST_PYTHON": PYTHON,
                    "HOLDFAST_RUNTIME": str(self.runtime),
                    "HOLDFAST_TEST": str(self.base),
                },
            )
        wait_until(self._answers)

    def close(self) -> None:
        """End all of it at once: an orderly end takes two of its turns, and has a behaviour of its own."""
        if self.supervisor is not None and self.supervisor.poll() is None:
            self.supervisor.kill()
            self.supervisor.wait()
        sweep(self.base)

    def _answers(self) -> bool:
        assert self.supervisor is not None
        assert self.supervisor.poll() is None, (self.base / "errors").read_text()
        rpc = Rpc(str(self.base / "run" / program.SOCKET))
        try:
            return bool(rpc.call("getPID"))
        except NotRunning:
            return False
        finally:
            rpc.close()
