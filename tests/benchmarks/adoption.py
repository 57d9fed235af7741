# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A supervisor that takes over the services of a killed one. The peers start all services anew, so they have no figure."""

from __future__ import annotations

import statistics
import time

import procs
from embedded import Embedded
from report import OURS, Report, progress
from supervision import settle

RUNS = 5


def measure(report: Report, quick: bool) -> None:
    """Kill -9 of the supervisor; from the start of the next one until it has answered for every service."""
    count = 200 if quick else 1000
    progress(f"adoption of {count}")
    report.add(f"adopt {count} after kill -9", "s", {OURS: statistics.median(adoptions(count))}, limit=0.5)


def adoptions(count: int) -> list[float]:
    """Seconds, several times."""
    suite = Embedded(count)
    try:
        suite.prepare()
        suite.start()
        suite.wait_up()
        settle(suite)
        return [crash_and_adopt(suite) for _unused in range(RUNS)]
    finally:
        suite.close()


def crash_and_adopt(suite: Embedded) -> float:
    """Kill the supervisor and start it again: seconds until it has answered for every service."""
    assert suite.root is not None
    before = {name: suite.pid(name) for name in suite.names}
    suite.root.kill()
    suite.root.wait()
    suite.start()
    answer: dict[str, int] = {}

    def answered() -> bool:
        try:
            answer.update({one["name"]: one["pid"] for one in suite.call("Status")["services"] if one["adopted"]})
        except OSError:
            return False
        return True

    procs.wait_until(answered, 60, "embedded: adoption")
    seconds = time.perf_counter() - suite.started
    if answer != before:
        raise procs.TooLate("embedded: not all services were adopted")
    return seconds
