# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two guards, of which one hands over to the other, and what is done in a hand-over step by step."""

from __future__ import annotations

import subprocess

from guarded import PYTHON, STUBBORN, Guards
from sanlocks import Storage
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._lease import moving
from ansible_collections.holdfast.supervision.plugins.module_utils._lease.handle import Handle

#: Seconds for one step.
LONG = 20.0


class Pair:
    """Two guards of one service, which beats and can't be stopped but by force; whoever ends is started again."""

    def __init__(self, guards: Guards, storage: Storage | None = None) -> None:
        self.guards = guards
        #: Of sanlock: `a` is on one host of it, all others on the other.
        self.storage = storage
        self.history = guards.base / "history"
        self.running: dict[str, subprocess.Popen[str]] = {}

    def start(self, name: str) -> None:
        self.settle(name)
        command = (PYTHON, "-c", STUBBORN, str(self.history), name)
        self.running[name] = self.guards.start(name, "--stop-timeout=0.1", command=command)

    def settle(self, name: str) -> None:
        """Let the next guard that is started be where *name* is."""
        if self.storage is not None:
            self.guards.use_sanlock(self.storage.hosts[name != "a"])

    def supervise(self) -> None:
        """Do what a supervisor does: start again whoever has ended."""
        for name, guard in list(self.running.items()):
            if guard.poll() is not None:
                self.start(name)
                wait_until(lambda name=name: self.phase(name) in ("active", "standby"))  # type: ignore[misc]

    def kill(self, name: str) -> None:
        self.running[name].kill()
        self.running[name].wait()

    def phase(self, name: str) -> str:
        found = self.guards.report(name)
        return str(found.get("phase")) if found and found["pid"] == self.running[name].pid else ""

    def at(self, name: str) -> Handle:
        return Handle.attach(name, str(self.guards.state), LONG)

    def place(self, name: str) -> moving.Place:
        return moving.Place(name, str(self.guards.state))

    def move(self, number: str = "h") -> dict[str, int]:
        return moving.hand_over(self.place("a"), self.place("b"), number, 30, LONG)

    def beats(self, name: str) -> int:
        return self.history.read_text().count(f" {name} ") if self.history.exists() else 0


def started(guards: Guards, storage: Storage | None = None) -> Pair:
    """Give a pair of which `a` is active and beats, and `b` stands by."""
    made = Pair(guards, storage)
    made.start("a")
    guards.until("a", "active")
    made.start("b")
    guards.until("b", "standby")
    wait_until(lambda: made.beats("a") > 0)
    return made
