# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether another host has the name of this one. PRIVATE to the collection.

A server tells its clients apart by their names: two of one name are to it one that was started anew, and each time one of
them says a word it takes all locks of the other away. So each host says in the file `host.NAME` which boot of which machine
it is. Who finds another one there takes it for what is left of an earlier boot, and puts himself in its place. If that is
taken back the other one lives. It is taken back by those who hold something, with their next heartbeat.
"""

from __future__ import annotations

import os

from .. import trees
from ..interface import DriverRefused
from . import layout
from .lockfile import Page

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_FILE = "host."
_MACHINE = "/etc/machine-id"


class Name:
    """The name *host* in *directory*, for the time of one process. Everything may hang, and raises OSError."""

    def __init__(self, directory: str, host: str) -> None:
        self._host = host
        self._page = Page(os.path.join(directory, f"{_FILE}{host}"))
        self._own = layout.encode({"boot": trees.boot(), "machine": _machine()})
        self._said = False

    def claim(self) -> None:
        """Say that the name is ours. Raises DriverRefused if another host lives that says so, too."""
        if self.judge() is not None:
            self.keep()

    def judge(self) -> dict[str, Any] | None:
        """Raise DriverRefused if another host lives that says that the name is his. Says nothing; gives what `_other` does."""
        other = self._other()
        if self._said and other:
            raise DriverRefused(
                f"{self._page.path}: another host calls itself {self._host} as well, and uses this directory now (machine "
                f"{other.get('machine') or 'unknown'}, this is {_machine() or 'unknown'}). The server takes both for one, "
                "and the locks of one away for the other's sake: give each a name of its own with hostnamectl set-hostname, "
                "and mount the directory anew"
            )
        return other

    def keep(self) -> None:
        """Say so again if another host has put itself in our place."""
        if self._other() is not None:
            self._page.write(self._own)
        self._said = True

    def _other(self) -> dict[str, Any] | None:
        """Give who else says that it is his, {} if nobody legible, None if it is ours."""
        found = layout.decode(self._page.read()) or {}
        return None if found.get("boot") == trees.boot() else found


def _machine() -> str:
    try:
        with open(_MACHINE, encoding="ascii") as file:
            return file.read().strip()
    except (OSError, ValueError):
        return ""
