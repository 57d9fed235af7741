# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The backends, by name. Whoever needs one alone takes choosing.py, which loads no other. PRIVATE to the collection."""

from __future__ import annotations

from .choosing import load
from .interface import Backend, Unsupported
from .presence import NAMES

BACKENDS: dict[str, type[Backend]] = {name: load(name) for name in NAMES}


def having() -> dict[str, list[str]]:
    """Give for each feature the names of the backends that have it."""
    found: dict[str, list[str]] = {}
    for name, backend in BACKENDS.items():
        for feature in backend.capabilities:
            found.setdefault(feature, []).append(name)
    return found


def unsupported(feature: str, backend: Backend, reason: str = "") -> Unsupported:
    """Give the error for a feature that *backend* does not have, or (*reason*) not on this host."""
    return Unsupported(feature, backend.name, having().get(feature, ()), reason)
