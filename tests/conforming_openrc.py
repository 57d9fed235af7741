# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""OpenRC for the conformance suite: it runs a test host, in which every test has a scan directory of its own."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from typing import Any, ClassVar

import hosted
import jinja2
from conforming_systemd import SystemdHost
from converging import PYTHON
from waiting import wait_until

TEMPLATES = Path(__file__).resolve().parents[1] / "roles" / "supervisor" / "templates"


class OpenRcHost(SystemdHost):
    """Init scripts, and our supervisor below them."""

    backend = "openrc"
    title = "openrc"
    lacks: ClassVar[dict[str, str]] = {}
    process_one = False
    defaults: ClassVar[dict[str, Any]] = {"backoff": {"initial": "10ms", "maximum": "50ms"}, "stop_timeout": "5s"}

    @property
    def machine(self) -> hosted.Machine:
        return hosted.Machines.get("openrc")

    def prepare(self) -> None:
        super(SystemdHost, self).prepare()
        folder = self.scan / ".openrc"
        folder.mkdir(0o755)
        (folder / "settings.json").write_text(json.dumps({"python": PYTHON, "runtime": str(self.runtime)}))
        command = self.base / "holdfast"
        command.write_text(f'#!/bin/sh\nexec {PYTHON} -I -S {self.runtime} --scan {self.scan} "$@"\n')
        command.chmod(0o755)
        (self.base / "current").symlink_to(self.runtime)
        (self.base / "script").write_text(self.script())
        (self.base / "script").chmod(0o755)

    def script(self) -> str:
        """What the role writes for the supervisor."""
        environment = jinja2.Environment(autoescape=False, keep_trailing_newline=True)
        environment.filters["quote"] = shlex.quote
        return environment.from_string((TEMPLATES / "holdfast.openrc.j2").read_text()).render(
            __supervisor_backend="openrc",
            supervisor_command=str(self.base / "holdfast"),
            supervisor_log_user="root",
            supervisor_python=PYTHON,
            supervisor_run_directory=str(self.base / "run"),
            supervisor_runtime_directory=str(self.base),
            supervisor_scan_directory=str(self.scan),
            supervisor_stop_timeout=20,
            supervisor_timeout=20,
        )

    def start(self) -> None:
        super().start()
        self.machine.do("cp", str(self.base / "script"), "/etc/init.d/holdfast")
        self.machine.do("rc-service", "--quiet", "holdfast", "start")
        # After a kill that is nothing to OpenRC, which has it started already: supervise-daemon is about to.
        wait_until(self._answers)

    def _answers(self) -> bool:
        try:
            self.snapshot()
        except AssertionError:
            return False
        return True

    def stop(self) -> None:
        """As at a shutdown: the services, which need it, are stopped before it."""
        self.machine.do("rc-service", "--quiet", "holdfast", "stop")

    def journal(self, name: str) -> str | None:
        """There is none without systemd."""
        return None

    def heard(self, name: str) -> str | None:
        """There is no syslog daemon."""
        return None

    def grows(self) -> bool:
        """The pauses are those of our supervisor."""
        return True

    def kill(self) -> None:
        """supervise-daemon starts it again."""
        self.machine.do("sh", "-c", 'kill -9 "$(cat "$1")"', "sh", str(self.scan / ".holdfast" / "lock"))

    def reboot(self) -> None:
        """Cut the power. OpenRC would start everything before the host sees the test's folder again."""
        folder = self.base / "links"
        folder.mkdir()
        self.machine.do("sh", "-c", 'mv /etc/runlevels/default/holdfast.* "$1"', "sh", str(folder))
        shutil.rmtree(self.base / "run")
        (self.base / "run").mkdir()
        self.machine.power_cycle()
        self.machine.do("sh", "-c", 'mv "$1"/* /etc/runlevels/default/; openrc default', "sh", str(folder))

    def close(self) -> None:
        """Stop everything in order and take away every script of this scan directory."""
        clean = (
            "rc-service --quiet holdfast stop; rm -f /etc/init.d/holdfast /etc/init.d/holdfast.* "
            "/etc/runlevels/default/holdfast.* /run/openrc/started/holdfast*; rm -rf /run/openrc/daemons/holdfast*; true"
        )
        self.machine.do("sh", "-c", clean)
        super().close()
