# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One table of all figures: ours, every peer's of the same run, and the ratio."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

OURS = "embedded"
#: What nothing can be faster than; it is shown, and no peer.
FLOOR = "floor"
PEERS = ("s6", "runit", "daemontools", "Supervisor")
LOWER, HIGHER = "lower", "higher"


class Row:
    """A figure of all suites. values: by the suite's title. limit: what ours has to reach, None if nothing."""

    def __init__(
        self, figure: str, unit: str, values: dict[str, float], limit: float | None = None, better: str = LOWER
    ) -> None:
        self.figure = figure
        self.unit = unit
        self.values = values
        self.limit = limit
        self.better = better

    @property
    def ratio(self) -> float | None:
        """How many times better ours is than the best peer; None without a peer, or where ours is 0."""
        peers = [value for title, value in self.values.items() if title not in (OURS, FLOOR)]
        ours = self.values.get(OURS)
        if not peers or not ours:
            return None
        return min(peers) / ours if self.better == LOWER else ours / max(peers)

    @property
    def missed(self) -> bool:
        """Whether ours is beyond the limit."""
        ours = self.values.get(OURS)
        if ours is None or self.limit is None:
            return False
        return ours > self.limit if self.better == LOWER else ours < self.limit


class Report:
    """All rows, in the order in which they were measured. peers: the columns beside ours; ours: what that is called."""

    def __init__(self, peers: tuple[str, ...] = PEERS, ours: str = OURS) -> None:
        self.peers = peers
        self.ours = ours
        self.rows: list[Row] = []
        self.notes: list[str] = []

    def add(
        self, figure: str, unit: str, values: dict[str, float], limit: float | None = None, better: str = LOWER
    ) -> None:
        """Add a row; suites without a figure are left out of *values*."""
        self.rows.append(Row(figure, unit, values, limit, better))

    def note(self, text: str) -> None:
        """Add a sentence below the table."""
        self.notes.append(text)

    def table(self) -> str:
        """The table as text."""
        head = ["figure", "unit", "limit", self.ours, *self.peers, "gain"]
        lines = [head]
        for row in self.rows:
            shown = [_number(row.values.get(title)) for title in (OURS, *self.peers)]
            shown[0] += " !" if row.missed else ""
            ratio = row.ratio
            lines.append(
                [row.figure, row.unit, _limit(row), *shown, "" if ratio is None else f"x {_number(ratio)}"],
            )
        widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
        text = [
            "  ".join(
                cell.ljust(width) if column < 2 else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ]
        text.insert(1, "-" * len(text[0]))
        text += ["", "gain: the best peer's figure against ours, above 1 ours is better. !: beyond the limit."]
        text += [machine(), *self.notes]
        return "\n".join(text)

    def content(self) -> dict[str, Any]:
        """The table as data."""
        return {
            "machine": machine(),
            "notes": self.notes,
            "rows": [
                {
                    "figure": row.figure,
                    "unit": row.unit,
                    "limit": row.limit,
                    "better": row.better,
                    "values": row.values,
                    "gain": row.ratio,
                }
                for row in self.rows
            ],
        }

    def write(self, path: Path) -> None:
        """Write the data to *path* as JSON."""
        path.write_text(json.dumps(self.content(), indent=2) + "\n")


def machine() -> str:
    """The machine in general words."""
    system = "unknown system"
    try:
        for line in Path("/etc/os-release").read_text().splitlines():
            if line.startswith("PRETTY_NAME="):
                system = line.partition("=")[2].strip('"')
    except OSError:
        pass
    cores = len(os.sched_getaffinity(0))
    return f"Machine: {cores} cores, {platform.machine()}, {system}, Linux {platform.release().partition('-')[0]}."


def progress(text: str) -> None:
    """Say what is being done, beside the table."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, int) or value == 0:
        return str(int(value))
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:.{digits}f}"


def _limit(row: Row) -> str:
    if row.limit is None:
        return ""
    return ("<= " if row.better == LOWER else ">= ") + f"{row.limit:g}"
