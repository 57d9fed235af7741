# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether services that write as fast as they can disturb the others: restarts of a quiet service meanwhile."""

from __future__ import annotations

import statistics
import time

import procs
from report import Report, progress
from suite import Suite
from supervision import restart

QUIET, LOUD = 20, 4
FLOOD = "#!/bin/sh\nexec 2>&1\nexec yes 'a line that is as long as the lines of many a program are'\n"


def measure(report: Report, suites: list[type[Suite]]) -> None:
    """Median restart of a quiet service while others flood their logs."""
    values = {}
    for kind in suites:
        progress(f"{kind.title}: restart under flood")
        values[kind.title] = statistics.median(restarts(kind(QUIET))) * 1000
    report.add(f"restart while {LOUD} others flood their logs", "ms", values, limit=20)


def restarts(suite: Suite) -> list[float]:
    """Seconds of each restart."""
    try:
        suite.prepare()
        quiet = list(suite.names)
        for number in range(LOUD):
            name = f"x{number}"
            suite.write(name, suite.scan / name, FLOOD)
            suite.names.append(name)
        suite.start()
        for name in quiet:
            procs.wait_until(lambda name=name: suite.up(name), 60, f"{suite.title}: {name} up")  # type: ignore[misc]
        # No earlier than a second after its start a service is restarted at once.
        time.sleep(2)
        return [restart(suite, name) for name in quiet[: max(suite.restarts, 6)]]
    finally:
        suite.close()
