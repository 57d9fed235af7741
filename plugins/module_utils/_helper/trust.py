# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether root may run, or heed, a file. PRIVATE to the collection."""

from __future__ import annotations

import os
import stat


def untrusted(path: str, user: int | None = None) -> str:
    """Say why root should not run, or heed, the file *path*; "" if he may. Every folder on the way counts.

    user: who we are in this, if that is not the process's effective user any more.
    """
    trusted = (0, os.geteuid() if user is None else user)
    real = os.path.realpath(path)
    while True:
        try:
            found = os.stat(real)
        except OSError as error:
            return f"{path}: {error.strerror}"
        if found.st_uid not in trusted:
            return f"{path}: {real} belongs to uid {found.st_uid}, who may change it"
        # In a folder like /tmp nobody can take away what is not his.
        shared = stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX
        if found.st_mode & 0o022 and not shared:
            return f"{path}: others may write to {real}"
        if real == "/":
            return ""
        real = os.path.dirname(real)
