# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two guards that contend for one lease, of which something befalls the holder; for the tests of the judge by mutants."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable

import procs
from guarded import PYTHON, STUBBORN, Guards
from histories import Event, History, Pauses, violations
from waiting import wait_until
from witnesses import Note, Witness

LONG = 60


class Scene:
    """a, who holds, and b, who stands in line. witness: makes the one of the store."""

    def __init__(self, guards: Guards, witness: Callable[[Note], Witness]) -> None:
        self.guards = guards
        self.history = History(guards.base)
        self.witness = witness(self.history.note)
        self.pauses = Pauses(lambda: [guards.report(name) for name in "ab"], self.history)

    def start(self, name: str, *words: str, script: str = STUBBORN) -> None:
        """Start one and wait until it beats, or stands in line as b does."""
        command = (PYTHON, "-I", "-S", "-c", script, str(self.history.beats), name)
        self.guards.start(name, *words, command=command)
        wait_until(lambda: self.stands_by(name) if name == "b" else self.beats(name), LONG)

    def begin(self, *words: str) -> None:
        for name in "ab":
            self.start(name, *words)

    def beats(self, name: str) -> int:
        return self.history.beats.read_text().count(f" {name} ")

    def until_beats(self, name: str, more: int = 20) -> None:
        before = self.beats(name)
        wait_until(lambda: self.beats(name) >= before + more, LONG)

    def stands_by(self, name: str) -> bool:
        return bool(self.guards.report(name).get("phase") == "standby")

    @property
    def holder(self) -> subprocess.Popen[str]:
        return self.guards.started[0]

    def judge(self) -> list[str]:
        """Let both beat if both can, and judge."""
        wait_until(lambda: self.beats("b"), LONG)
        for name in "ab":
            before = self.beats(name)
            end = time.monotonic() + 0.5
            while self.beats(name) < before + 20 and time.monotonic() < end:
                time.sleep(0.01)
        return violations(self.end())

    def judge_alone(self, seconds: float, early: float = 0.0) -> list[str]:
        """Let a beat on for so long if it can, and judge."""
        end = time.monotonic() + seconds
        while self.holder.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        return violations(self.end(), early)

    def end(self) -> list[Event]:
        return self.history.end(self.witness, self.pauses)

    def close(self) -> None:
        self.witness.end()
        self.pauses.end()
        for one in self.guards.started[:1]:
            procs.kill(one.pid, signal.SIGCONT)
        self.guards.close()
