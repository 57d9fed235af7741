# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options that the modules have in common, and where things are on a host when the task does not say. PRIVATE to the collection."""

from __future__ import annotations

import os
from typing import Any

from .._supervise.presence import AUTO, NAMES

OPTIONS: dict[str, Any] = {
    "scan_directory": {"type": "path"},
    "backend": {"type": "str", "default": AUTO, "choices": [AUTO, *NAMES]},
}


def scan_directory(given: str | None) -> str:
    """Give the scan directory: *given*, else the one of root or of this ordinary user."""
    return os.path.abspath(given) if given else _default("/etc/holdfast/services", "services")


def log_directory(given: str | None) -> str:
    """Give the directory that has one directory of logs for each service."""
    return os.path.abspath(given) if given else _default("/var/log/holdfast", "log")


def runtime_directory(given: str | None) -> str:
    """Give the directory that the runtime is in."""
    return os.path.abspath(given) if given else _default("/usr/local/lib/holdfast", "lib")


def _default(system: str, personal: str) -> str:
    return system if os.geteuid() == 0 else os.path.expanduser(f"~/.holdfast/{personal}")
