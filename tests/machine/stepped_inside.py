# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs inside an emulated machine: one guard, and a wall clock that is stepped under it. It judges nothing: test_paused.py does."""

from __future__ import annotations

import json
import signal
import time
from typing import Any

import outside

from ansible_collections.holdfast.supervision.plugins.module_utils._varlink.client import Connection, ConnectionLost

DAY = 86400.0


def status() -> dict[str, Any]:
    with Connection("/run/guards/a/socket", 20) as connection:
        return connection.call("io.holdfast.Guard.Status", {})


def until_renewed() -> dict[str, Any]:
    """Wait for two renewals after now; gives the status then."""
    count = status()["renewals"]["count"]
    while True:
        found = status()
        if found["renewals"]["count"] > count + 1:
            return found
        time.sleep(0.1)


def active() -> bool:
    try:
        return status()["phase"] == "active"
    except (ConnectionLost, OSError):
        return False


def say(step: str, **seen: Any) -> None:
    print(json.dumps({"step": step, **seen}), flush=True)


def main() -> None:
    outside.connect()
    guard = outside.guard()
    while not active():
        time.sleep(0.1)
    say("before", pid=status()["pid"], resources=status()["resources"])
    for step in (DAY, -2 * DAY, 30 * 365 * DAY):
        time.clock_settime(time.CLOCK_REALTIME, time.time() + step)
        found = until_renewed()
        say("stepped", phase=found["phase"], valid_for=found["valid_for"], resources=found["resources"])
    guard.send_signal(signal.SIGSTOP)
    time.clock_settime(time.CLOCK_REALTIME, time.time() - 20 * 365 * DAY)
    say("stopped", code=guard.wait())


main()
