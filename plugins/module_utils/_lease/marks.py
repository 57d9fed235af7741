# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The marks of hand-overs in the directory of the driver `file`: NAME.handover. PRIVATE to the collection.

A mark ends with its time, with the boot, and with the next grant, whose number is not the one that it names. Whoever
reads or writes one has the resource's counter locked.
"""

from __future__ import annotations

import os
import time

from .._lean import json
from . import trees
from .handover import Handover

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

#: Bytes that a mark may have.
_LIMIT = 4096
#: Seconds that it may keep others out.
LONGEST = 86400.0


def read(path: str, resource: str, counter: int) -> Handover | None:
    """Give the mark at *path* if it still means something. A damaged one means nothing. Raises OSError."""
    record = _record(path)
    if record is None:
        return None
    try:
        if record["boot"] != trees.boot() or record["token"] != counter or _now() >= record["until"]:
            return None
        tokens = {resource: int(record["token"])}
        return Handover(str(record["id"]), str(record["source"]), str(record["target"]), tokens, str(record["stage"]))
    except (LookupError, TypeError, ValueError):
        return None


def write(path: str, replace: Callable[[str, bytes], None], state: Handover, token: int, seconds: float | None) -> None:
    """Write the mark of one resource. seconds: None leaves the time of the mark that is there. Raises OSError."""
    old = _record(path) or {}
    until = old.get("until", 0.0) if seconds is None else _now() + min(seconds, LONGEST)
    record = {"id": state.id, "source": state.source, "target": state.target, "stage": state.stage, "token": token}
    replace(path, json.dumps({**record, "boot": trees.boot(), "until": until}).encode())


def _record(path: str) -> dict[str, Any] | None:
    try:
        with open(path, "rb") as file:
            record = json.loads(file.read(_LIMIT))
    except (FileNotFoundError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def drop(path: str) -> None:
    """Take the mark away if there is one. Raises OSError."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def _now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)
