# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""systemd for the conformance suite: process 1 of a test host, in which every test has a scan directory of its own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, ClassVar

import hosted
from conforming import Supervised, sweep
from converging import PYTHON, sent

from ansible_collections.holdfast.supervision.plugins.module_utils._supervise._systemd.unit import GROWING_PAUSE
from ansible_collections.holdfast.supervision.plugins.module_utils._supervise.interface import Backend

INIT = "systemd"


class SystemdHost(Supervised):
    """Units of process 1."""

    backend = "systemd"
    title = "systemd"
    process_one = True
    defaults: ClassVar[dict[str, Any]] = {
        "backoff": {"initial": "50ms", "maximum": "50ms"},
        "stop_timeout": "5s",
    }

    @classmethod
    def missing(cls) -> str:
        return hosted.Machine.missing()

    @property
    def machine(self) -> hosted.Machine:
        return hosted.Machines.get(INIT)

    def prepare(self) -> None:
        super().prepare()
        folder = self.scan / ".systemd"
        folder.mkdir(0o700)
        settings = {"python": PYTHON, "runtime": str(self.runtime), "run": str(self.base / "run"), "log_user": ""}
        (folder / "settings.json").write_text(json.dumps(settings))

    def start(self) -> None:
        self.machine.share(self.base)
        self.machine.share(self.runtime)

    def share(self, folder: Path) -> None:
        self.machine.share(folder)

    def inventory(self) -> str:
        return self.machine.tool("inventory")

    def kill(self) -> None:
        raise NotImplementedError("process 1 is not killed")

    def stop(self) -> None:
        """Leave it to `reboot`: the host is one for all tests."""

    def reboot(self) -> None:
        """Cut the power: the run directory, which is on a tmpfs on a host, is empty afterwards."""
        shutil.rmtree(self.base / "run")
        (self.base / "run").mkdir()
        self.machine.power_cycle()
        # The units were not to be started before the host sees the test's folder.
        self.machine.do("sh", "-c", "systemctl daemon-reload && systemctl start multi-user.target timers.target")

    def number(self, pid: int) -> int:
        return self.machine.numbers()[pid]

    def top(self) -> str:
        return f"/proc/{self.machine.process_one()}/root"

    def journal(self, name: str) -> str | None:
        return self.machine.do("journalctl", "--quiet", "--identifier", name)

    def heard(self, name: str) -> str | None:
        """The journal has the socket of syslog too."""
        return self.machine.do("journalctl", "--quiet", "--identifier", name, "_TRANSPORT=syslog")

    def grows(self) -> bool:
        return int(self.snapshot().supervisor["version"]) >= GROWING_PAUSE

    def task(self, definitions: dict[str, Any], **options: Any) -> dict[str, Any]:
        options = {"check": False, "diff": True, **options}
        check, diff = options.pop("check"), options.pop("diff")
        return hosted.task(self.machine, self._sent(definitions, options), check, diff)

    def killed_at(self, word: str, definitions: dict[str, Any], **options: Any) -> None:
        """Run the task in a process that is killed when it is about to run a command with this word."""
        self.machine.killed_at(word, "task", self._sent(definitions, options), False, True)

    def _sent(self, definitions: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
        options = {"defaults": self.defaults, **options}
        definitions = {name: {"readiness": {"grace": "20ms"}, **value} for name, value in definitions.items()}
        defaults = options.pop("defaults")
        return sent(definitions, defaults, self.scan, self.logs, backend=self.backend, **options)

    def client(self) -> Backend:
        return hosted.Remote(self.machine, self.backend, str(self.scan))

    def close(self) -> None:
        """Take away every unit of this scan directory."""
        clean = (
            'cd /etc/systemd/system && units=$(grep -lF "$1" holdfast* 2>/dev/null); [ -z "$units" ] && exit 0; '
            "systemctl kill -s KILL $units 2>/dev/null; systemctl stop $units; "
            "rm -f $units; for unit in $units; do rm -rf *.wants/$unit /run/systemd/system/$unit.d; done; "
            "systemctl daemon-reload; systemctl reset-failed $units 2>/dev/null; true"
        )
        self.machine.do("sh", "-c", clean, "sh", str(self.base))
        sweep(self.base)
