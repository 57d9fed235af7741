# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The loggers' figures of logs.py, as rows of the table."""

from __future__ import annotations

import shutil
import statistics
import tempfile
from pathlib import Path

import collection
import logs
import procs
from report import HIGHER, OURS, Report, progress

TITLES = {logs.OURS: OURS, "multilog t": "daemontools", "svlogd -tt": "runit", "s6-log t": "s6"}
MEGABYTES = 200
RUNS = 3


def measure(report: Report) -> None:
    """Bulk speed and the price of single lines; Supervisor's logs can't be had without Supervisor."""
    top = Path(tempfile.mkdtemp(prefix="hf-bench-", dir=procs.workplace()))
    try:
        for length, limit in ((99, 100.0), (18, None)):
            progress(f"loggers: lines of {length} bytes")
            logs.sample(top / "sample", length, MEGABYTES)
            figures = logs.bulk(top, top / "sample", collection.PYTHON)
            report.add(f"log lines of {length} bytes", "MB/s", _titled(figures), limit, HIGHER)
        (top / "sample").unlink()
        progress("loggers: scattered lines")
        runs = [logs.scattered(top / f"r{run}", 100, 10_000, 5, collection.PYTHON) for run in range(RUNS)]
        medians = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
        report.add("CPU for a line, 10 000 a second in 100 logs", "µs", _titled(medians), 15)
    finally:
        shutil.rmtree(top)


def _titled(figures: dict[str, float]) -> dict[str, float]:
    return {TITLES[name]: value for name, value in figures.items()}
