# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kill -9 of the log writer at random while services write: no line is lost, none is doubled, none is torn.

``HOLDFAST_CHAOS_KILLS`` is the number of kills (default 60).
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from log_tables import Table

KILLS = int(os.environ.get("HOLDFAST_CHAOS_KILLS", "60"))
STAMP = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z ")
LIMIT = 400_000
LONGEST_LINE = 28 + 9 + 160 + 1

# Writes numbered lines in pieces that end anywhere, until its standard input is closed; tells then how many there were.
SERVICE = r"""
import os, random, select, sys, time
fifo, seed = sys.argv[1], int(sys.argv[2])
chance = random.Random(seed)
out = os.open(fifo, os.O_RDWR)
number = 0
rest = b""
poll = select.poll()
poll.register(0, select.POLLIN)
while not poll.poll(chance.choice((0, 1, 2, 5))):
    lines = []
    for _ in range(chance.choice((1, 1, 3, 30, 600))):
        lines.append(b"%08d %s\n" % (number, b"x" * chance.randrange(160)))
        number += 1
    rest += b"".join(lines)
    end = chance.randrange(len(rest) + 1)
    view, rest = memoryview(rest)[:end], rest[end:]
    while view:
        view = view[os.write(out, view):]
view = memoryview(rest)
while view:
    view = view[os.write(out, view):]
print(number)
"""


@pytest.fixture
def table(tmp_path: Path) -> Iterator[Table]:
    made = Table(tmp_path)
    yield made
    made.close()


def verify(table: Table, name: str, total: int) -> None:
    """Every number once, in order, on a line of its own with one stamp; no file over its limit or torn."""
    expected = 0
    *rotated, current = [*table.rotated(name), table.current(name)]
    assert all(file.name.endswith(".s") for file in rotated), "an unsure file although the machine never went down"
    for file in (*rotated, current):
        text = file.read_bytes()
        assert len(text) <= LIMIT + LONGEST_LINE
        assert text.endswith(b"\n")
        for line in text.splitlines():
            match = STAMP.match(line)
            assert match, line
            payload = line[match.end() :]
            assert int(payload[:8]) == expected, f"{payload[:20]!r} where {expected} should be"
            assert payload[8:9] == b" " and not payload[9:].strip(b"x"), payload
            expected += 1
    assert expected == total


def test_nothing_is_lost_or_doubled_when_the_log_writer_is_killed(table: Table) -> None:
    names = [f"service{number}" for number in range(5)]
    chance = random.Random(KILLS)
    for name in names:
        table.add(name, size=LIMIT, count=1_000_000)
    services = {
        name: subprocess.Popen(
            [sys.executable, "-c", SERVICE, str(table.fifos / name), str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for number, name in enumerate(names)
    }
    try:
        for _unused in range(KILLS):
            table.start()
            # Spread over start, replay and work.
            time.sleep(chance.uniform(0.01, 0.12))
            table.kill()
        table.start()
        totals = {name: int(service.communicate(timeout=60)[0]) for name, service in services.items()}
    finally:
        for service in services.values():
            service.kill()
            service.wait()
    assert table.stop() == 0
    for name in names:
        verify(table, name, totals[name])
    print(f"kills {KILLS}, lines {sum(totals.values())}, losses 0, duplicates 0")
