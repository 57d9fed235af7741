# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A service's journal: what happened to it and why, one JSON object a line. PRIVATE to the collection.

It lies beside the status file (on a tmpfs on our hosts), so that writing it never waits for a disk, and is cut to its
newer half when it has grown past LIMIT.
"""

from __future__ import annotations

import json
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Bytes that the journal of one service may have before it is cut.
LIMIT = 32768


def append(path: str, entry: dict[str, Any]) -> None:
    """Add *entry*. A journal that can't be written is no reason to fail: the error is swallowed."""
    line = json.dumps(entry, separators=(",", ":")).encode() + b"\n"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.write(descriptor, line)
            size = os.lseek(descriptor, 0, os.SEEK_CUR)
        finally:
            os.close(descriptor)
        if size > LIMIT:
            _cut(path)
    except OSError:
        pass


def read(path: str, count: int) -> list[dict[str, Any]]:
    """Give the last *count* entries, oldest first; half a line that a crash left is passed over."""
    try:
        with open(path, "rb") as file:
            lines = file.read().splitlines()
    except OSError:
        return []
    entries = []
    for line in lines[-count:]:
        try:
            entries.append(json.loads(line))
        except ValueError:
            continue
    return entries


def _cut(path: str) -> None:
    with open(path, "rb") as file:
        data = file.read()
    keep = data.find(b"\n", len(data) // 2) + 1
    descriptor = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.write(descriptor, data[keep:])
    finally:
        os.close(descriptor)
    os.rename(path + ".new", path)
