# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Gives leases back for the next guard of the same service on this host, which is about to be started.

It is a hand-over to oneself that was cancelled: from then on the store grants the resources to nobody but its source, for a
while, see ../handover.py. The next guard needs to know nothing of it, and gets tokens of its own. PRIVATE to the collection.
"""

from __future__ import annotations

import os

from ..handover import UnderWay
from ..interface import EXCLUSIVE_MODE, Driver

#: Where the supervisor says whether it wants the service up, from the service directory; the byte of it that says so.
_STATUS, _WANT = "supervise/status", 17


class Keeping:
    """What a guard does with its leases at its end. seconds: for how long they are kept, 0 for not at all."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._number = ""
        self._modes: dict[str, str] = {}

    def wanted(self, asked: bool) -> bool:
        """Say whether to keep them. asked: somebody wants the service to end, maybe only in order to start it again."""
        return self._seconds > 0 and (not asked or _wanted_up())

    def release(self, driver: Driver) -> None:
        """Give everything back and keep it for ourselves; may be repeated. Raises LeaseError as the driver's `release`."""
        if not self._number:
            self._number = os.urandom(16).hex()
            self._modes = {one.resource: one.mode for one in driver.held()}
        if driver.held():
            try:
                driver.prepare_out(self._number, driver.identity, self._seconds)
            except UnderWay:
                # Somebody hands it over. What he has begun is worth more than our wish.
                driver.release()
                return
            driver.complete_out(self._number)
        # Given back means forgotten.
        for resource, mode in self._modes.items():
            driver.forget(resource)
            if mode == EXCLUSIVE_MODE:
                driver.register(resource, mode)
        # Whoever is killed before this has kept it all the same: it is for drivers whose marks know nothing of that.
        driver.cancel(self._number)


def _wanted_up() -> bool:
    """Say whether the supervisor wants the service up, as it does during a restart; False where it does not say."""
    try:
        with open(_STATUS, "rb") as file:
            return file.read(20)[_WANT : _WANT + 1] == b"u"
    except OSError:
        return False
