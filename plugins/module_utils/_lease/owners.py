# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether somebody else could exchange what is in a directory of locks. PRIVATE to the collection."""

from __future__ import annotations

import os
import stat

from .interface import DriverRefused


def judge(directory: str) -> None:
    """Look at a directory and all above it. Raises DriverRefused, OSError."""
    path = os.path.realpath(directory)
    last = True
    while True:
        info = os.stat(path)
        if not stat.S_ISDIR(info.st_mode):
            raise DriverRefused(f"{path}: is not a directory")
        if info.st_uid not in (0, os.geteuid()):
            raise DriverRefused(f"{path}: belongs to user {info.st_uid}, who could exchange the locks")
        sticky = info.st_mode & stat.S_ISVTX and not last
        if info.st_mode & 0o022 and not sticky:
            raise DriverRefused(f"{path}: others may write to it and exchange the locks; chmod go-w cures it")
        if path == "/":
            return
        path, last = os.path.dirname(path), False
