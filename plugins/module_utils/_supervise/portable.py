# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Portable service directories, as a backend reads them that makes something else of them. PRIVATE to the collection."""

from __future__ import annotations

import json
import os
import re
from typing import Any

from .._definition.names import is_name
from . import holding

META = "holdfast.json"

_SAFE = re.compile(r"[A-Za-z0-9_@%+=:,./-]+", re.ASCII).fullmatch


class Portable:
    """One service directory of ours.

    path: absolute. enabled: whether it is started at boot. meta: its holdfast.json. idle: another backend has it, or none,
    while the backend of the host is switched: it is not started then, nor its logger.
    """

    __slots__ = ("enabled", "entries", "idle", "meta", "name", "path")

    def __init__(self, name: str, path: str, entries: frozenset[str], meta: dict[str, Any]) -> None:
        self.name = name
        self.path = path
        self.entries = entries
        self.meta = meta
        self.enabled = "down" not in entries
        self.idle = False

    @property
    def identity(self) -> str:
        """Give definition and revision, by which a running process is compared with its directory."""
        return f"{self.meta.get('definition', '')}.{self.meta.get('revision', 1)}"


def read(scan: str, name: str) -> Portable | None:
    """Read the service directory *name*; None if there is none, it is not ours, or it is damaged."""
    path = f"{scan}/{name}"
    try:
        if os.path.islink(path):
            return None
        entries = frozenset(os.listdir(path))
        if META not in entries:
            return None
        with open(f"{path}/{META}", "rb") as file:
            meta = json.loads(file.read())
    except (OSError, ValueError):
        return None
    return Portable(name, path, entries, meta) if isinstance(meta, dict) and meta.get("format") == 1 else None


def read_all(scan: str, backend: str) -> dict[str, Portable]:
    """Read all service directories of ours that are there for a backend, by name.

    Raises OSError when the scan directory cannot be read.
    """
    found = (read(scan, name) for name in sorted(os.listdir(scan)) if is_name(name))
    services = {one.name: one for one in found if one is not None}
    return {name: one for name, one in services.items() if _is_there(one, scan, backend)}


def read_for(scan: str, name: str, backend: str) -> Portable | None:
    """Read one, as `read_all` does."""
    one = read(scan, name)
    return one if one is not None and _is_there(one, scan, backend) else None


def _is_there(one: Portable, scan: str, backend: str) -> bool:
    standing = holding.standing(scan, one.name, backend)
    one.idle = standing != holding.MINE
    one.enabled = one.enabled and not one.idle
    return standing != holding.ABSENT


def word(text: str) -> str:
    """Give *text* as one literal word of sh."""
    return text if _SAFE(text) else "'" + text.replace("'", "'\\''") + "'"
