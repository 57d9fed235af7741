# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading what the kernel tells in small files. PRIVATE to the collection."""

from __future__ import annotations

import os


class Look:
    """The files below *root*, which is / except in tests. What is not there, or not for us, is empty and no error."""

    def __init__(self, root: str = "/") -> None:
        self.root = root

    def path(self, *parts: str) -> str:
        """Give where a path of the host is."""
        return os.path.join(self.root, *(part.lstrip("/") for part in parts))

    def text(self, *parts: str) -> str:
        """Give a file's content without the white space around it."""
        try:
            with open(self.path(*parts), encoding="utf-8", errors="replace") as file:
                return file.read().strip("\0 \t\r\n")
        except OSError:
            return ""

    def words(self, *parts: str) -> list[str]:
        """Give the words of a file."""
        return self.text(*parts).split()

    def names(self, *parts: str) -> list[str]:
        """Give the names in a folder, sorted."""
        try:
            return sorted(os.listdir(self.path(*parts)))
        except OSError:
            return []

    def exists(self, *parts: str) -> bool:
        """Tell whether a path is there."""
        return os.path.exists(self.path(*parts))

    def link(self, *parts: str) -> str:
        """Give where a symbolic link leads."""
        try:
            return os.readlink(self.path(*parts))
        except OSError:
            return ""
