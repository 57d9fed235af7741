# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two contenders for one lease, whoever is killed: never two trees at a time. HOLDFAST_CHAOS_KILLS scales the rounds."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import procs
import pytest
from guarded import PYTHON, STUBBORN, Guards, make_runtime, overlaps
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._supervise._embedded import identity

ROUNDS = max(int(os.environ.get("HOLDFAST_CHAOS_KILLS", "30")), 6)
#: Beats of a tenure before something happens to it.
BEATS = 50

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="pid namespaces need root")


@pytest.fixture
def guards() -> Iterator[Guards]:
    base = Path(tempfile.mkdtemp(prefix="hf-lease-chaos-"))
    made = Guards(make_runtime(base), base)
    yield made
    made.close()
    shutil.rmtree(base)


def _whole(pid: int) -> list[int]:
    found = [pid]
    for child in procs.children(pid):
        found.extend(_whole(child))
    return found


def test_no_beat_of_an_old_holder_after_the_first_of_a_new_one(guards: Guards) -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    history = guards.base / "history"
    history.touch()
    command = (PYTHON, "-I", "-S", "-c", STUBBORN, str(history))
    running = {name: guards.start(name, command=(*command, name)) for name in ("a", "b")}
    victims = ("guard", "init", "service", "guard and init", "init and guard", "all but the grandchild")

    def holders() -> dict[str, dict[str, Any]]:
        """Give what the guards say that say that they hold the lease."""
        # What a killed guard wrote stays until its successor writes: only the living ones count.
        reports = {name: guards.report(name) for name in running}
        return {
            name: report
            for name, report in reports.items()
            if report.get("phase") == "active" and report["pid"] == running[name].pid and report["tree"]
        }

    def beating() -> bool:
        """Tell whether one of them has a service that beats: the tree of a killed guard beats on until it has ended."""
        tokens = [line.split()[0] for line in history.read_text().splitlines()]
        return any(tokens.count(str(one["resources"][0]["token"])) > BEATS for one in holders().values())

    for number in range(ROUNDS):
        wait_until(beating, 60)
        found = holders()
        assert len(found) == 1, f"seed {seed}, round {number}: {found}"
        ((holder, report),) = found.items()
        guard, init = report["pid"], report["tree"]
        # The grandchild is one of its children as well, and pids begin anew.
        service = min(procs.children(init), key=identity.start_time)
        whom = victims[number % len(victims)]
        order = {
            "guard": [guard],
            "init": [init],
            "service": [service],
            "guard and init": [guard, init],
            "init and guard": [init, guard],
            "all but the grandchild": [service, init, guard],
        }[whom]
        waiting = next(name for name in running if name != holder)
        if chance.random() < 0.3:
            # What waits in line for it, or what it has at hand for its service.
            for pid in procs.children(running[waiting].pid):
                if chance.random() < 0.5:
                    procs.kill(pid)
        if whom != "service" and chance.random() < 0.3:
            # A stopped init dies as well; one that nobody kills would keep the lease, which is safe and takes forever.
            procs.kill(init, 19)
        for pid in order:
            procs.kill(pid)
        running[holder].wait(60)
        # The other one too may have ended: what it had at hand was killed when it was about to become its service.
        for name in [name for name in running if running[name].poll() is not None]:
            running[name] = guards.start(name, command=(*command, name))
    tenures, wrong = overlaps(history)
    assert wrong == [], f"seed {seed}"
    assert tenures >= ROUNDS


def test_the_judge_sees_an_overlap(tmp_path: Path) -> None:
    history = tmp_path / "history"
    history.write_text("1 a 10\n1 a 20\n2 b 15\n")
    assert overlaps(history)[1]
    history.write_text("1 a 10\n1 a 14\n2 b 15\n")
    assert overlaps(history) == (2, [])
