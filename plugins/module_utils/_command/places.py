# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where things are: the scan directory that is meant and the files in it. PRIVATE to the collection."""

from __future__ import annotations

import json
import os

from .exits import USAGE, CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ENVIRONMENT = "HOLDFAST_SCAN"
SYSTEM = "/etc/holdfast/services"
PERSONAL = "~/.holdfast/services"


def scan_directory(given: str | None) -> str:
    """Give the absolute path of the scan directory: *given*, else the environment's, else the default of this user.

    Raises CommandError when it is not a directory.
    """
    if given:
        path, origin = given, "--scan"
    elif os.environ.get(ENVIRONMENT):
        path, origin = os.environ[ENVIRONMENT], ENVIRONMENT
    elif os.geteuid() == 0:
        path, origin = SYSTEM, "the default for root"
    else:
        path, origin = os.path.expanduser(PERSONAL), "the default for an ordinary user"
    if not os.path.isdir(path):
        raise CommandError(USAGE, f"{path}: not a scan directory ({origin}); name one with --scan or {ENVIRONMENT}")
    return os.path.abspath(path)


def own(scan: str, name: str) -> str:
    """Give the path of one of the supervisor's own files."""
    return os.path.join(scan, ".holdfast", name)


def service_names(scan: str) -> list[str]:
    """Give the names of all service directories of *scan*, sorted."""
    return sorted(
        entry for entry in os.listdir(scan) if not entry.startswith(".") and os.path.isdir(os.path.join(scan, entry))
    )


def definition(scan: str, name: str) -> dict[str, Any]:
    """Give what holdfast.json of a service says; nothing for a plain directory or an unreadable file."""
    try:
        with open(os.path.join(scan, name, "holdfast.json"), encoding="utf-8") as stream:
            content = json.load(stream)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def layers(scan: str, names: list[str]) -> list[list[str]]:
    """Give *names* in the order of an orderly stop: nothing in a layer is needed by anything in a later one.

    Services that need each other in a circle end up together in the last layer.
    """
    left = set(names)
    needs = {name: {str(need) for need in definition(scan, name).get("needs") or ()} for name in names}
    result = []
    while left:
        needed = {need for name in left for need in needs[name] if need != name}
        free = left - needed or set(left)
        result.append(sorted(free))
        left -= free
    return result
