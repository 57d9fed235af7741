# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What guards tell people, where the service's output goes. PRIVATE to the collection."""

from __future__ import annotations

import sys


def say(name: str, text: str) -> None:
    """Say *text* of the service *name*; whether anybody hears it is no matter of ours."""
    try:
        sys.stderr.write(f"holdfast guard: {name}: {text}\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        pass
