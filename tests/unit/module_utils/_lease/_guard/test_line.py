# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A guard in line: when it asks its store, whatever kernel and store do meanwhile."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# A guard whose driver says what it is asked. The first grant is refused, and as many more as the first argument says; each
# of those is only answered when the one who has stood in line has been collected. The second argument: how often fork fails;
# the third one: seconds for which a grant is good, 0 for ever, as the driver is asked then without a thread. The fourth one:
# whether the one who stands in line is killed when he has said that it is his turn.
GUARD = """
import os, sys, time
sys.path.insert(0, "{tests}")
import conftest
from ansible_collections.holdfast.supervision.plugins.module_utils._lease import interface, trees
from ansible_collections.holdfast.supervision.plugins.module_utils._lease._guard.guard import Guard
from ansible_collections.holdfast.supervision.plugins.module_utils._lease._guard.tree import Command

refusals, failures, seconds, killed = map(int, sys.argv[1:])

def say(word):
    os.write(1, word.encode() + b" ")

class Scripted(interface.Driver):
    name, api, ttl = "scripted", interface.CORE_API, seconds or None
    capabilities = frozenset({{interface.TOKEN, interface.RENEWS, interface.LINE_UP}})
    asked, grants = 0, []

    def nothing(self, *_arguments):
        pass

    load = bind = register = forget = prepare_line = free = nothing

    def probe(self):
        return []

    def held(self):
        return self.grants

    owners = held

    def acquire(self):
        say("acquire")
        self.asked += 1
        while seconds and self.asked > 1 and guard._waiter:
            time.sleep(0.01)
        if self.asked <= 1 + refusals:
            raise interface.Busy("db")
        self.renew()
        self.grants = [interface.Grant("db", "exclusive", 1)]
        return self.grants

    def line_up(self):
        say("line")
        if killed:
            os._exit = lambda code: os.kill(os.getpid(), 9)

    def leave_line(self):
        say("leave")

    def renew(self):
        self.good_from = time.clock_gettime(time.CLOCK_BOOTTIME)

    def release(self, resource=None):
        self.grants = []

fork = os.fork
def failing():
    global failures
    failures -= 1
    if failures < 0:
        return fork()
    raise BlockingIOError(11, "no room for another process")
os.fork = failing

guard = Guard("a", "{folder}", Scripted("a", {{}}), Command(["true"], dict(os.environ), "a"), trees.GROUP)
code = guard.run(5.0)
say("end")
sys.exit(code)
"""


def said(folder: Path, refusals: int, failures: int = 0, seconds: int = 60, killed: bool = False) -> str:
    script = GUARD.format(tests=Path(__file__).parents[4], folder=folder)
    command = [sys.executable, "-c", script, *map(str, (refusals, failures, seconds, int(killed)))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_store_is_asked_once_for_each_turn_in_line(tmp_path: Path) -> None:
    assert said(tmp_path, 0) == "acquire line acquire end "
    assert said(tmp_path, 2) == "acquire line acquire line acquire line acquire end "


@pytest.mark.parametrize("seconds", [0, 60])
def test_who_is_killed_when_he_has_said_that_it_is_his_turn_has_not_lost_it(tmp_path: Path, seconds: int) -> None:
    assert said(tmp_path, 0, seconds=seconds, killed=True) == "acquire line acquire end "


def test_a_guard_that_could_not_stand_in_line_still_hears_of_the_end_of_its_service(tmp_path: Path) -> None:
    assert said(tmp_path, 0, failures=1, seconds=0) == "acquire acquire end "
