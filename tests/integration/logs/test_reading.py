# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A log is read while it is written and rotated: what is read has no gap."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from log_tables import Table
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._command.logfiles import newest_first

COUNT = """
import os, sys, time
out, number = os.open(sys.argv[1], os.O_WRONLY), 0
while True:
    number += 1
    os.write(out, b"run %d\\n" % number)
    time.sleep(0.0002)
"""


def by_the_command(checkout: Path, directory: Path) -> str:
    """As `holdfast logs` does; what is wrong."""
    text = b"".join(reversed([stream.read() for stream in newest_first(str(directory))]))
    numbers = [int(line.split()[-1]) for line in text[: text.rfind(b"\n") + 1].splitlines()]
    return "" if numbers == list(range(1, len(numbers) + 1)) else f"a gap in {len(numbers)} lines"


def by_the_scenarios(checkout: Path, directory: Path) -> str:
    """As the scenarios of molecule look for lost lines."""
    command = [sys.executable, str(checkout / "molecule" / "files" / "lines.py"), "1", str(directory)]
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False).stderr


@pytest.fixture
def busy(table: Table) -> Iterator[Path]:
    """The directory of a log into which a service writes all the time."""
    table.add("a", size=3000, count=100_000)
    table.start()
    service = subprocess.Popen([sys.executable, "-c", COUNT, str(table.fifos / "a")])
    try:
        yield table.log / "a"
    finally:
        service.kill()
        service.wait()


@pytest.mark.parametrize("read", [by_the_command, by_the_scenarios])
def test_a_log_that_is_rotated_while_it_is_read_has_no_gap(
    busy: Path, checkout: Path, read: Callable[[Path, Path], str]
) -> None:
    for round_ in range(1, 31):
        # Some rotations later.
        wait_until(lambda: len(os.listdir(busy)) > round_ * 3 if busy.exists() else False)  # noqa: B023 - called at once
        assert read(checkout, busy) == ""
