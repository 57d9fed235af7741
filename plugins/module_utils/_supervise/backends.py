# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The backends, by name: the one list that is written down. PRIVATE to the collection."""

from __future__ import annotations

from .daemontools import Daemontools
from .daemontools_encore import DaemontoolsEncore
from .embedded import Embedded
from .interface import Backend, Unsupported
from .openrc import OpenRc
from .runit import Runit
from .s6 import S6
from .supervisord import Supervisord
from .systemd import Systemd

BACKENDS: dict[str, type[Backend]] = {
    one.name: one for one in (Embedded, S6, Runit, Daemontools, DaemontoolsEncore, Systemd, Supervisord, OpenRc)
}
#: Not a backend: whichever is there.
AUTO = "auto"


def choose(name: str, scan: str) -> Backend:
    """Give the backend *name* for a scan directory; with AUTO the one whose supervisor runs there, else embedded."""
    if name == AUTO:
        name = next((one.name for one in BACKENDS.values() if one.present(scan)), Embedded.name)
    return BACKENDS[name](scan)


def unsupported(feature: str, backend: Backend, reason: str = "") -> Unsupported:
    """Give the error for a feature that *backend* does not have, or (*reason*) not on this host."""
    others = [name for name, other in BACKENDS.items() if feature in other.capabilities and name != backend.name]
    return Unsupported(feature, backend.name, others, reason)
