# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Owners and modes of what lies below a folder. PRIVATE to the collection.

Whoever may write there is taken for an attacker. Each thing is held by a descriptor before it is judged, and changed by
that descriptor: no symbolic link is followed, no file with a second name is touched, no device, and no other mount unless
that is declared.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat

from .. import paths
from .program import Failed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_HELD = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
#: Folders in folders: each level holds descriptors.
_DEEPEST = 200


def chown(options: dict[str, Any], wanted: str, path: str) -> None:
    """Give *path*, and with `recursive` what lies below it, to USER, USER:GROUP or :GROUP."""
    user, _colon, group = wanted.partition(":")
    try:
        uid = pwd.getpwnam(user).pw_uid if user else -1
        gid = grp.getgrnam(group).gr_gid if group else -1
    except KeyError:
        raise Failed(f"{wanted}: this host knows no such user or group") from None

    def change(held: int, found: os.stat_result) -> bool:
        if uid in (-1, found.st_uid) and gid in (-1, found.st_gid):
            return False
        os.chown(f"/proc/self/fd/{held}", uid, gid)
        return True

    _Walk(options, change).start(path)


def chmod(options: dict[str, Any], wanted: str, path: str) -> None:
    """Give *path*, and with `recursive` what lies below it, a mode; folders can be searched by whom they can be read by."""
    mode = int(wanted, 8)

    def change(held: int, found: os.stat_result) -> bool:
        new = mode | (mode & 0o444) >> 2 if stat.S_ISDIR(found.st_mode) else mode
        if stat.S_IMODE(found.st_mode) == new:
            return False
        os.chmod(f"/proc/self/fd/{held}", new)
        return True

    _Walk(options, change).start(path)


class _Walk:
    def __init__(self, options: dict[str, Any], change: Callable[[int, os.stat_result], bool]) -> None:
        self._recursive = bool(options.get("recursive"))
        self._crossing = bool(options.get("cross_mounts"))
        self._change = change
        self._mount = -1
        self._skipped = 0
        self._changed = 0

    def start(self, path: str) -> None:
        """Begin at *path*, the name of a descriptor that the helper found, and say what came of it."""
        held = os.open(path, os.O_PATH | os.O_CLOEXEC)
        self._mount = paths.mount_of(held)
        self._one(held, 0)
        os.write(1, f"changed: {self._changed}, left out: {self._skipped}\n".encode())

    def _one(self, held: int, depth: int) -> None:
        """Change what is held, and what lies below; the descriptor is closed."""
        try:
            found = os.fstat(held)
            folder = stat.S_ISDIR(found.st_mode)
            plain = folder or (stat.S_ISREG(found.st_mode) and found.st_nlink == 1)
            if not plain or (not self._crossing and paths.mount_of(held) != self._mount):
                if depth == 0:
                    raise Failed("neither a folder nor a file with one name")
                self._skipped += 1
                return
            if folder and self._recursive:
                self._below(held, depth)
            self._changed += self._change(held, found)
        finally:
            os.close(held)

    def _below(self, held: int, depth: int) -> None:
        if depth >= _DEEPEST:
            raise Failed(f"folders lie more than {_DEEPEST} deep")
        # Read by a descriptor of its own, which is that of the held folder whatever it is called now.
        listed = os.open(f"/proc/self/fd/{held}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for name in os.listdir(listed):
                try:
                    below = os.open(name, _HELD, dir_fd=listed)
                except FileNotFoundError:
                    self._skipped += 1
                    continue
                self._one(below, depth + 1)
        finally:
            os.close(listed)
