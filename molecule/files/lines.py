# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look for gaps and doubles in the log of the service counter: lines.py RUNS [DIRECTORY].

Every run of the service has a word of its own, and numbers its lines from 1. All runs are complete up to their last
line that is there; the last one is known to go on. Exit code 1 with what is wrong.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path


def texts(log: Path) -> Iterator[tuple[Path, str]]:
    """All files of the log in their order, while it goes on to be written.

    `current` is opened before the others are looked for: if it is rotated meanwhile, it is one of them, and what came
    after it is left out.
    """
    with contextlib.ExitStack() as stack:
        newest = None
        # It is not there between the two renames of a rotation.
        with contextlib.suppress(FileNotFoundError):
            newest = stack.enter_context((log / "current").open(encoding="ascii"))
        for path in sorted(log.glob("@*")):
            if newest is not None and os.path.samestat(path.stat(), os.fstat(newest.fileno())):
                break
            yield path, path.read_text(encoding="ascii")
        if newest is not None:
            yield log / "current", newest.read()


def main(runs: int, log: Path) -> str:
    """Text that says what is wrong; empty when all is well."""
    last: dict[str, int] = {}
    for path, text in texts(log):
        # The log writer may be in the middle of a line.
        for line in text[: text.rfind("\n") + 1].splitlines():
            run, number = line.split()[-2:]
            if int(number) != last.get(run, 0) + 1:
                return f"{path}: after line {last.get(run, 0)} of run {run} comes line {number}"
            last[run] = int(number)
    print(*(f"run {run}: {number} lines" for run, number in last.items()), sep="\n")
    return "" if len(last) == runs else f"{len(last)} runs of the service instead of {runs}"


if __name__ == "__main__":
    directory = Path(sys.argv[2] if len(sys.argv) > 2 else "/var/log/holdfast/counter")
    sys.exit(main(int(sys.argv[1]), directory) or 0)
