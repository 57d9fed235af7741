# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the driver can be told, and what is wrong with it. PRIVATE to the collection."""

from __future__ import annotations

import os

from .. import preferring
from ..given import number
from ..interface import DriverRefused
from . import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

NAMES = frozenset(("path", "lockspace", "host_id", "socket", "prefix", "poll")) | preferring.NAMES
#: Where the daemon listens if nobody says otherwise.
SOCKET = "/run/sanlock/sanlock.sock"
#: The record of the last host is nobody's: it keeps what the lockspace was made with.
WITNESS = 2000
MOST_HOSTS = WITNESS - 1
_LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")
_IN_SPACES, _IN_PREFIXES = _LETTERS.union(".-"), _LETTERS.union(".@+/-")


class Parameters:
    """The driver's parameters, checked as far as that is possible without opening anything.

    path: the file or block device that all hosts see. lockspace: its name. host_id: this host's number in it, 0 if
    somebody else joins. socket: the daemon's. prefix: stands before the names of resources. poll: seconds between two
    looks of one in line. preference: how this guard stands to others.
    """

    def __init__(self, given: Mapping[str, Any]) -> None:
        """Raises DriverRefused."""
        self.path = _path(given, "path", "")
        if not self.path:
            raise DriverRefused("driver sanlock: path: the file or block device that all hosts share is missing")
        self.socket = _path(given, "socket", SOCKET)
        self.lockspace = str(given.get("lockspace", "holdfast"))
        if not 0 < len(self.lockspace) <= 47 or self.lockspace[0] in ".-" or not _IN_SPACES.issuperset(self.lockspace):
            raise DriverRefused(f"driver sanlock: lockspace: {self.lockspace!r}: letters, digits and _.- (47 at most)")
        self.prefix = str(given.get("prefix", ""))
        if len(self.prefix) > 24 or not _IN_PREFIXES.issuperset(self.prefix):
            raise DriverRefused(f"driver sanlock: prefix: {self.prefix!r}: letters, digits and _.@+/- (24 at most)")
        if self.prefix and not self.prefix.endswith("/"):
            # No resource's name has one, so that nobody's names are another one's with a longer prefix.
            self.prefix += "/"
        self.host_id = int(number("sanlock", given, "host_id", 0, 0, MOST_HOSTS, whole=True))
        self.poll = number("sanlock", given, "poll", 1.0, 0.02, 60.0)
        self.preference = preferring.Preference("sanlock", given, self.poll)


def _path(given: Mapping[str, Any], name: str, default: str) -> str:
    value = given.get(name, default)
    if not isinstance(value, str) or (value and not os.path.isabs(value)):
        raise DriverRefused(f"driver sanlock: {name}: {value!r} is not an absolute path")
    # The daemon separates with these, and so do its tools.
    if wire.long_path(value) or any(letter in value for letter in " :\\"):
        raise DriverRefused(f"driver sanlock: {name}: {value!r} is too long, or has a space, a colon or a backslash")
    return value
