# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tables, and the clock that the times in them are of."""

from __future__ import annotations

import time

_COLUMNS = "resource TEXT, mode TEXT, owner TEXT, tenant TEXT, pid INTEGER, token INTEGER, since REAL, until REAL"
TABLES = (
    "CREATE TABLE IF NOT EXISTS tokens (resource TEXT PRIMARY KEY, token INTEGER)",
    f"CREATE TABLE IF NOT EXISTS held ({_COLUMNS})",
)


def now() -> float:
    """Give the time of the host's clock that counts suspension, as the core does. Put the database where a reboot empties it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
