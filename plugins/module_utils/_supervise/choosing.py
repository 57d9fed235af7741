# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The backend of a scan directory, and the code of no other. PRIVATE to the collection."""

from __future__ import annotations

from .interface import Backend
from .presence import AUTO, which


def choose(name: str, scan: str) -> Backend:
    """Give the backend *name* for a scan directory; with AUTO the one whose supervisor runs there, else embedded."""
    return load(which(scan) if name == AUTO else name)(scan)


def load(name: str) -> type[Backend]:
    """Import one backend. A host compiles what a task brings along anew each time, and these are large."""
    if name == "s6":
        from .s6 import S6

        return S6
    if name == "runit":
        from .runit import Runit

        return Runit
    if name == "daemontools":
        from .daemontools import Daemontools

        return Daemontools
    if name == "daemontools_encore":
        from .daemontools_encore import DaemontoolsEncore

        return DaemontoolsEncore
    if name == "systemd":
        from .systemd import Systemd

        return Systemd
    if name == "supervisord":
        from .supervisord import Supervisord

        return Supervisord
    if name == "openrc":
        from .openrc import OpenRc

        return OpenRc
    from .embedded import Embedded

    return Embedded
