# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What resources a directory of lock files has had. PRIVATE to the collection."""

from __future__ import annotations

import os


def resources(directory: str) -> list[str]:
    """Give their names; none where nobody has ever made the directory. Raises OSError."""
    try:
        there = os.listdir(directory)
    except FileNotFoundError:
        # Anything else is not known to be nothing: an error of the network, too.
        there = []
    return sorted(name[: -len(".lock")] for name in there if name.endswith(".lock"))
