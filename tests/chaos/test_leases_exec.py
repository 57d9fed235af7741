# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Services without a guard below two supervisors, of which one at a time may run: whoever is killed or stopped, never two.

The services are as stubborn as can be: what beats is a grandchild that has closed every descriptor and left session and
group, so that neither lock nor pid tells of it. HOLDFAST_CHAOS_SECONDS, _SEED and _REPORT are as in test_leases_etcd.py.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator

import procs
import pytest
from fenced import carried
from guarded import CLOSES, PYTHON, STUBBORN, Edits, make_runtime
from histories import Event, History, report, violations
from leased import add_leased
from leased import report as account
from supervised import Scan, make_base
from waiting import wait_until
from witnesses import FileWitness

SECONDS = float(os.environ.get("HOLDFAST_CHAOS_SECONDS", "15"))
SEED = int(os.environ.get("HOLDFAST_CHAOS_SEED", str(random.randrange(2**32))))
FAULTS = ("service", "stopped", "supervisor", "both supervisors", "grandchildren first", "the one in line")


class Pair:
    """Two supervisors, each with a copy of the service, and what both write."""

    def __init__(self, edits: Edits = ()) -> None:
        self.base = make_base()
        runtime = make_runtime(self.base, edits)
        self.bases = [make_base(), make_base()]
        self.scans = [Scan(runtime, base) for base in self.bases]
        self.history = History(self.base)
        self.witness = FileWitness(self.base / "leases", "billing", self.history.note)
        for scan in self.scans:
            scan.start()

    def begin(self, script: str, kill: str = "process") -> None:
        for name, scan in zip("ab", self.scans):
            command = [PYTHON, "-I", "-S", "-c", script, str(self.history.beats), name]
            lease = {"mode": "exec", "safety": "standard"}
            # A supervisor that ends the whole group would end what nobody is to find.
            add_leased(scan, self.base / "leases", command=command, lease=lease, kill=kill)
            wait_until(lambda scan=scan: account(scan).get("phase"))  # type: ignore[misc]

    def holder(self) -> Scan | None:
        active = [scan for scan in self.scans if account(scan).get("phase") == "active"]
        return active[0] if len(active) == 1 else None

    def until_beats(self, more: int = 2000) -> None:
        """Wait until there are some more beats, of whomever."""
        size = self.history.beats.stat().st_size
        wait_until(lambda: self.history.beats.stat().st_size > size + more, 60)

    def of_tenure(self, pid: int) -> list[int]:
        """The processes that come from that one, and itself, by their environment."""
        return [one for one in procs.pids() if procs.environment(one).get("HOLDFAST_TENURE", "").startswith(f"{pid}.")]

    def end(self) -> list[Event]:
        """Give everything that happened."""
        return self.history.end(self.witness)

    def close(self) -> None:
        self.witness.end()
        for scan in self.scans:
            scan.close()

        def nothing_left() -> bool:
            left = [pid for pid in procs.pids() if procs.alive(pid) and str(self.history.beats) in procs.arguments(pid)]
            for pid in left:
                procs.kill(pid)
            return not left

        wait_until(nothing_left)
        for base in (self.base, *self.bases):
            shutil.rmtree(base)


@pytest.fixture
def pair_of() -> Iterator[Callable[..., Pair]]:
    made: list[Pair] = []

    def one(edits: Edits = ()) -> Pair:
        made.append(Pair(edits))
        return made[0]

    yield one
    for pair in made:
        pair.close()


def _strike(pair: Pair, what: str, scan: Scan, pid: int, chance: random.Random) -> None:
    """Do one thing to the holder, and whatever lets somebody run again."""
    others = [one for one in pair.of_tenure(pid) if one != pid]
    pair.history.note("fault", what=what, whom=pid)
    if what == "stopped":
        for one in (pid, *others):
            procs.kill(one, signal.SIGSTOP)
        time.sleep(chance.uniform(0.05, 0.3))
        for one in (*others, pid):
            procs.kill(one, signal.SIGCONT)
        return
    if what == "the one in line":
        (other,) = [one for one in pair.scans if one is not scan]
        procs.kill(account(other).get("pid") or other.service("billing")["pid"])
        return
    supervisors = pair.scans if what == "both supervisors" else [scan] if what == "supervisor" else []
    for one in supervisors:
        one.kill_supervisor()
    if what == "grandchildren first":
        for one in others:
            procs.kill(one)
    procs.kill(pid)
    time.sleep(chance.uniform(0.0, 0.2))
    for one in supervisors:
        one.start()
    # Nobody may run before these are gone, and nobody ends them but whoever has left them behind.
    for one in others:
        procs.kill(one)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root sees what others have left behind")
def test_never_two_holders_and_always_one_again(pair_of: Callable[..., Pair]) -> None:
    chance = random.Random(SEED)
    pair = pair_of()
    pair.begin(STUBBORN)
    end = time.monotonic() + SECONDS
    number = 0
    while number < len(FAULTS) or time.monotonic() < end:
        pair.until_beats()
        scan = wait_until(pair.holder, 60)
        _strike(pair, FAULTS[number % len(FAULTS)], scan, account(scan)["pid"], chance)
        number += 1
    pair.history.note("healed")
    pair.until_beats()
    events = carried(pair.end(), SEED)
    found = violations(events)
    report("exec", events, found, seed=SEED, seconds=SECONDS)
    assert found == [], f"seed {SEED}"
    assert any(event["event"] == "granted" for event in events)
    # All but two of the faults end a tenure.
    assert len({event["token"] for event in events if event["event"] == "beat"}) > number // 2, f"seed {SEED}"


def _killed(pair: Pair, pid: int) -> None:
    procs.kill(pid)


def _left_alone(_pair: Pair, _pid: int) -> None:
    pass


TREES, LOCKFILE = "holdfast/_lease/trees.py", "holdfast/_lease/lockfile.py"
#: name: what is exchanged (file, text, instead), the service, and what then happens to the holder.
MUTANTS: dict[str, tuple[Edits, str, Callable[[Pair, int], None]]] = {
    "what is left behind is not looked for": (
        (
            (
                TREES,
                "    return _search(traces[1], lambda pid: pid not in ours and _has(traces, pid))",
                "    return []",
            ),
        ),
        STUBBORN,
        _killed,
    ),
    "the lock alone counts": (
        (
            (LOCKFILE, 'if not trees.outlast(record["guard"], None if patience is None else 0.0):', "if False:"),
            (LOCKFILE, "if tree is not None and not trees.end(tree, patience):", "if False:"),
        ),
        CLOSES,
        _left_alone,
    ),
}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root sees what others have left behind")
@pytest.mark.parametrize("real", [False, True], ids=["mutant", "real"])
@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_caught_and_the_real_one_is_not(name: str, real: bool, pair_of: Callable[..., Pair]) -> None:
    edits, script, fault = MUTANTS[name]
    pair = pair_of(() if real else edits)
    pair.begin(script)
    pair.until_beats()
    scan = wait_until(lambda: next((one for one in pair.scans if account(one).get("phase") == "active"), None))
    fault(pair, account(scan)["pid"])
    if real:
        # As long as this one beats nobody else does.
        for _unused in range(5):
            pair.until_beats()
    else:
        wait_until(
            lambda: {line.split()[0] for line in pair.history.beats.read_text().splitlines()[-200:]} >= {"1", "2"}
        )
        # The first one has to beat once more beside the second.
        pair.until_beats()
    assert (violations(pair.end()) == []) is real
