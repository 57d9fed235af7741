# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kill -9 of supervisor and log writer, alone and together, in any order and for any time, while services write.

The services notice nothing, no line is lost, none is doubled, and at the end nobody is left. ``HOLDFAST_CHAOS_KILLS`` is
twice the number of rounds (default 60).
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import procs
from supervised import Scan
from waiting import wait_until

ROUNDS = int(os.environ.get("HOLDFAST_CHAOS_KILLS", "60")) // 2
NAMES = ("steady", "bursts", "pieces")
# Writes numbered lines until a file tells it to end, then how many there were.
SERVICE = f"""#!{sys.executable} -ISu
import os, random, time
chance = random.Random({{seed}})
number, rest, most, pause = 0, b"", {{most}}, {{pause}}
while not os.path.exists("enough"):
    for _ in range(chance.randrange(1, most + 1)):
        rest += b"line %d %s\\n" % (number, b"x" * chance.randrange(80))
        number += 1
    view, rest = memoryview(rest), b""
    if {{torn}}:
        end = chance.randrange(len(view) + 1)
        view, rest = view[:end], bytes(view[end:])
    while view:
        view = view[os.write(1, view):]
    time.sleep(pause)
os.write(1, rest + b"end %d\\n" % number)
time.sleep(100000)
"""


class Daemons:
    """The supervisor and the log writer of a scan directory, and what may happen to them."""

    def __init__(self, scan: Scan, chance: random.Random) -> None:
        self.scan = scan
        self.chance = chance
        self.size = 65536

    def definition(self, name: str) -> dict[str, Any]:
        directory = str(self.scan.base / "log" / name)
        log = {"to": "directory", "directory": directory, "size": self.size, "count": 1_000_000, "format": "iso"}
        return {"log": log, "restart": "never"}

    def writer(self) -> int:
        return int(wait_until(lambda: self.scan.call("Status")["supervisor"]["log_writer_pid"], 30))

    def pause(self, longest: float) -> None:
        time.sleep(self.chance.uniform(0, longest))

    # -- what may happen; afterwards a supervisor answers

    def writer_dies(self) -> None:
        procs.kill(self.writer())

    def supervisor_dies(self) -> None:
        self.scan.kill_supervisor()
        self.pause(0.2)
        self.scan.start()

    def both_die(self) -> None:
        writer = self.writer()
        victims = [self.scan.kill_supervisor, lambda: procs.kill(writer)]
        self.chance.shuffle(victims)
        for kill in victims:
            kill()
            self.pause(self.chance.choice((0, 0.05)))
        # Long enough, sometimes, for the FIFOs to be full and the services to wait.
        self.pause(self.chance.choice((0, 0.5)))
        self.scan.start()

    def supervisors_die_while_they_start(self) -> None:
        writer = self.writer()
        self.scan.kill_supervisor()
        procs.kill(writer)
        for _unused in range(self.chance.randrange(1, 4)):
            self.scan.start(wait=False)
            self.pause(0.2)
            self.scan.kill_supervisor()
        self.scan.start()

    def writer_hangs_and_dies_later(self) -> None:
        writer = self.writer()
        procs.kill(writer, signal.SIGSTOP)
        self.scan.kill_supervisor()
        self.scan.start()
        self.pause(0.2)
        procs.kill(writer, self.chance.choice((signal.SIGCONT, signal.SIGKILL)))

    def settings_change(self) -> None:
        self.size = self.chance.choice((20_000, 65_536, 300_000))
        for name in NAMES:
            directory = self.scan.path / name
            beside = directory / "holdfast.json.new"
            beside.write_text(json.dumps(self.scan.definition(name, **self.definition(name))))
            beside.rename(directory / "holdfast.json")
        self.scan.call("Rescan")

    def supervisor_is_exchanged(self) -> None:
        self.scan.call("Reexec")
        self.scan.wait_answer()


def has_ended(scan: Scan, name: str) -> bool:
    try:
        return b" end " in (scan.base / "log" / name / "current").read_bytes()[-100:]
    except FileNotFoundError:
        # Between the two steps of a rotation.
        return False


def verify(scan: Scan, name: str) -> int:
    """Every number once, in order, on a line of its own. Gives how many there were."""
    directory = scan.base / "log" / name
    rotated = sorted(directory.glob("@*"))
    assert all(path.name.endswith(".s") for path in rotated), "an unsure file although the machine never went down"
    lines = [line.split() for path in (*rotated, directory / "current") for line in path.read_bytes().splitlines()]
    for expected, words in enumerate(lines[:-1]):
        assert words[1:3] == [b"line", b"%d" % expected], f"{name}: {words[1:3]} where {expected} should be"
    assert lines[-1][1:] == [b"end", b"%d" % (len(lines) - 1)], name
    return len(lines) - 1


def test_nothing_is_lost_or_doubled_whoever_is_killed(scan: Scan) -> None:
    chance = random.Random(ROUNDS)
    daemons = Daemons(scan, chance)
    (scan.base / "log").mkdir()
    for seed, (name, most, pause) in enumerate(zip(NAMES, (1, 3000, 40), (0.0002, 0.05, 0.001))):
        run = SERVICE.format(seed=seed, most=most, pause=pause, torn=name == "pieces")
        scan.add(name, run, **daemons.definition(name))
    scan.start()
    pids = {name: scan.until(name, "ready")["pid"] for name in NAMES}
    events: list[Callable[[], None]] = [
        daemons.writer_dies,
        daemons.supervisor_dies,
        daemons.both_die,
        daemons.supervisors_die_while_they_start,
        daemons.writer_hangs_and_dies_later,
        daemons.settings_change,
        daemons.supervisor_is_exchanged,
    ]
    for number in range(ROUNDS):
        # Each of them, in an order of their own.
        if number % len(events) == 0:
            chance.shuffle(events)
        events[number % len(events)]()
        daemons.pause(0.3)
    assert {name: scan.service(name)["pid"] for name in NAMES} == pids
    for name in NAMES:
        (scan.path / name / "enough").touch()
    wait_until(lambda: all(has_ended(scan, name) for name in NAMES), 60)
    daemons.writer()
    assert scan.stop_supervisor() == 0
    assert scan.processes() == []
    print(f"rounds {ROUNDS}, lines {sum(verify(scan, name) for name in NAMES)}, losses 0, duplicates 0")
