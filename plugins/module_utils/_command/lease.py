# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`holdfast lease list`. PRIVATE to the collection."""

from __future__ import annotations

import json
import os
import time

from .._supervise._embedded import identity
from .exits import OK
from .places import own, scan_directory
from .terminal import duration, harmless, table, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from typing import Any

HEAD = ["NAME", "PHASE", "GUARD", "FOR", "HOLDS", "OPEN HOLES"]
_LOOKS = {"active": "good", "standby": "dull"}


def lease(options: Namespace) -> int:
    """Show the living guards of a scan directory and what they hold."""
    guards = living(own(scan_directory(options.scan), "guards"))
    if options.json:
        write(json.dumps({"guards": guards}, indent=2, sort_keys=True))
        return OK
    if not guards:
        write("no guards")
        return OK
    for line in table(HEAD, [_row(guard) for guard in guards], [_LOOKS.get(guard["phase"], "") for guard in guards]):
        write(line)
    return OK


def living(folder: str) -> list[dict[str, Any]]:
    """Give what the guards below *folder* have written about themselves, those that have died left out."""
    found = []
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        try:
            with open(os.path.join(folder, name, "state.json"), encoding="utf-8") as file:
                guard = json.load(file)
            if identity.alive(guard["pid"], guard["started"]):
                found.append(guard)
        except (OSError, ValueError, LookupError, TypeError):
            continue
    return found


def _row(guard: dict[str, Any]) -> list[str]:
    held = [
        f"{one['name']}{':shared' if one['mode'] == 'shared' else ''} ({one['token']})" for one in guard["resources"]
    ]
    return [
        harmless(guard["name"]),
        guard["phase"],
        str(guard["pid"]),
        duration(time.time() - guard["since"]),
        harmless(", ".join(held)) or "-",
        ", ".join(hole["name"] for hole in guard["holes"]),
    ]
