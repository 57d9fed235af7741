# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SIGKILL to the supervisor, to the log writer, to both; each time wait until both are there again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import typing as t

ROUNDS = 4
TIMEOUT = 30.0


def supervisor() -> dict[str, t.Any] | None:
    """What the supervisor says of itself; None when there is none."""
    done = subprocess.run(["holdfast", "status", "--json"], capture_output=True, text=True, check=False)
    answer: dict[str, t.Any] | None = json.loads(done.stdout)["supervisor"] if done.returncode == 0 else None
    return answer


def running() -> tuple[int, int]:
    """The processes of the supervisor and of the log writer, as soon as there are both."""
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        answer = supervisor()
        if answer and answer["log_writer_pid"]:
            return answer["pid"], answer["log_writer_pid"]
        time.sleep(0.02)
    sys.exit(f"no supervisor with a log writer within {TIMEOUT} s")


def kill(pids: list[int]) -> None:
    """Kill these, and wait until others do their work."""
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + TIMEOUT
    while set(running()) & set(pids):
        if time.monotonic() > deadline:
            sys.exit(f"{pids} were killed, and are still said to run")
        time.sleep(0.02)


def main() -> None:
    """Kill in all ways, some rounds of it."""
    for _unused in range(ROUNDS):
        manager, writer = running()
        kill([manager])
        manager, writer = running()
        kill([writer])
        manager, writer = running()
        kill([writer, manager])


if __name__ == "__main__":
    main()
