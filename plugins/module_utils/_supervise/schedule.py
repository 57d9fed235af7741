# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When a periodic service runs: the one rule, whoever keeps to it. PRIVATE to the collection."""

from __future__ import annotations


def pause(interval: float, since_start: float) -> float:
    """Give the seconds until the next run, *since_start* seconds after the start of the last one.

    One interval after the last start; at once if that is over, since runs never overlap and none is made up for.
    """
    return max(interval - since_start, 0.0)
