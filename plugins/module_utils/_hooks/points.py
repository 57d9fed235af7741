# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where hooks run. Apart from what runs them, for which most guards have no use. PRIVATE to the collection."""

from __future__ import annotations

#: Around the start and the stop of a service.
BEFORE_START, AFTER_START, BEFORE_STOP, AFTER_STOP = "before_start", "after_start", "before_stop", "after_stop"
#: Before `before_stop`, when the service has to end since its lease could not be renewed; with `on_lost: hook`.
LEASE_LOST = "lease_lost"
POINTS = (BEFORE_START, AFTER_START, LEASE_LOST, BEFORE_STOP, AFTER_STOP)
