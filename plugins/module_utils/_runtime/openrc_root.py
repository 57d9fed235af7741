# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""OpenRC as what starts and stops services, and the embedded supervisor below it. PRIVATE to the collection."""

from __future__ import annotations

import json
import os
import shutil
from typing import Any, ClassVar

from .._supervise._openrc import FOLDER, SETTINGS
from .._supervise.openrc import OpenRc as Backend
from . import control
from .embedded_root import EmbeddedRoot
from .files import read_text, write_text
from .host import Failed
from .initscripts import OpenRc


class OpenRcRoot(EmbeddedRoot):
    """The supervisor with --openrc, and the folder of settings from which the backend makes init scripts."""

    name = "openrc"
    units: ClassVar[tuple[str, ...]] = ()

    @property
    def folder(self) -> str:
        """Give the folder that is this backend's alone."""
        return os.path.join(self.wanted.scan_directory, FOLDER)

    def check(self) -> None:
        """Raise Failed unless OpenRC runs this host and we may change its services."""
        if os.geteuid() != 0:
            raise Failed("supervisor_backend: openrc: an ordinary user has no init scripts")
        if not isinstance(self.host.systemd, OpenRc):
            raise Failed("supervisor_backend: openrc: OpenRC does not run this host")

    def left(self) -> bool:
        """Tell whether the scan directory is set up for it."""
        return os.path.isdir(self.folder)

    def traces(self) -> list[str]:
        """Give the folder, besides what the embedded supervisor has."""
        return super().traces() + ([self.folder] if self.left() else [])

    def remove(self) -> None:
        """Remove the scripts of the services, that of the supervisor, and the folder."""
        self.remove_scripts()
        super().remove()

    def remove_scripts(self) -> None:
        """Remove the scripts of the services, and the folder. Who runs goes on."""
        Backend(self.wanted.scan_directory).forget_all()
        if self.left():
            shutil.rmtree(self.folder)

    def started(self, check_mode: bool) -> dict[str, Any]:
        """Have the settings written and the supervisor run. Give the module's result."""
        self.check()
        path = os.path.join(self.folder, SETTINGS)
        settings = {"python": self.wanted.python, "runtime": self.host.layout.current}
        after = json.dumps(settings, indent=1, sort_keys=True) + "\n"
        before = read_text(path)

        def furnish() -> None:
            if before != after:
                os.makedirs(self.folder, 0o755, exist_ok=True)
                write_text(path, after, 0o644)

        result = control.started(self.host, check_mode, furnish)
        if before != after:
            header = {"before_header": path, "after_header": path}
            result["actions"].insert(0, f"write {path}")
            result["diff"].insert(0, {**header, "before": before or "", "after": after})
            result["changed"] = True
        return result

    def absent(self, check_mode: bool) -> dict[str, Any]:
        """Stop everything in order and remove it. Give the module's result."""
        found = [self.folder] if self.left() else []
        if found and not check_mode:
            self.stop()
            self.remove_scripts()
        result = control.absent(self.host, check_mode)
        result["actions"] = [f"remove {path}" for path in found] + result["actions"]
        result["changed"] = bool(result["actions"])
        return result
