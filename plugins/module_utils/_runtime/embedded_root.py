# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The embedded supervisor as one side of a switch; `control` is what runs it on other days. PRIVATE to the collection."""

from __future__ import annotations

import os
from typing import Any, ClassVar

from .._supervise import portable
from .._supervise._openrc import FOLDER
from . import control
from .host import Failed
from .initscripts import NAME
from .roots import Root


class EmbeddedRoot(Root):
    """The supervisor of the scan directory itself, with its units or its script."""

    name = "embedded"
    # In this order, as the role has them: what needs another comes after it.
    units: ClassVar[tuple[str, ...]] = ("holdfast-groups.service", "holdfast.service", "holdfast-services.service")

    #: Who has the services on its marks while a backend is switched: one supervisor, whoever tells it what to do.
    engine: ClassVar[str] = "embedded"

    @classmethod
    def script(cls) -> str:
        """Give the name that it had before there were other backends."""
        return NAME

    def check(self) -> None:
        """Raise Failed when process 1 is a supervisor of its own."""
        other = self.host.other_root()
        if other is not None and os.geteuid() == 0:
            raise Failed(control.beside(other))

    def differing(self, version: str | None) -> list[tuple[str, str, str]]:
        """Give nothing: `control.started` finds that out."""
        del version
        return []

    def bring_into_line(self, version: str | None) -> None:
        """Do nothing: `control.started` does."""
        del version

    def running(self) -> dict[str, Any] | None:
        """Give the supervisor that answers. Raises Failed for one that does not."""
        found = self.host.running()
        return None if found is None else {"pid": found.pid, "version": found.version, "since": found.since}

    def stop(self) -> None:
        """Stop it, and what a dead one has left running."""
        control.stopped(self.host, check_mode=False)

    def traces(self) -> list[str]:
        """Give units and scripts, a supervisor that runs, and services that one has left."""
        systemd = self.host.systemd
        found = [f"unit {name}" for name in systemd.installed()] if systemd is not None else []
        holder = self.host.supervisor.holder()
        if holder is not None:
            found.append(f"supervisor (process {holder})")
        elif self._has_orphans():
            found.append("services without a supervisor")
        return found

    def remove(self) -> None:
        """Remove units and scripts. The run directory is the next backend's."""
        if self.host.systemd is not None and self.host.systemd.installed():
            self.host.systemd.remove()

    def keeps(self) -> list[str]:
        """Name the service directories that are not ours: no other backend would run them."""
        scan = self.wanted.scan_directory
        return [
            f"{scan}/{name} was not made by this collection, and nothing would run it without the embedded supervisor: "
            "move it to another scan directory first"
            for name in sorted(os.listdir(scan))
            if not name.startswith(".") and os.path.exists(f"{scan}/{name}/run") and portable.read(scan, name) is None
        ]

    def left(self) -> bool:
        """Tell whether anything is left that is not the backend openrc's."""
        return not os.path.isdir(os.path.join(self.wanted.scan_directory, FOLDER)) and super().left()

    def started(self, check_mode: bool) -> dict[str, Any]:
        """Have the supervisor run. Give the module's result. Raises what `control.started` raises."""
        return control.started(self.host, check_mode)

    def absent(self, check_mode: bool) -> dict[str, Any]:
        """Stop everything and remove it. Give the module's result."""
        return control.absent(self.host, check_mode)

    def boot(self) -> str:
        """Say what starts it."""
        return self.host.boot()

    def _has_orphans(self) -> bool:
        try:
            return bool(os.listdir(os.path.join(self.wanted.scan_directory, ".holdfast", "supervise")))
        except OSError:
            return False
