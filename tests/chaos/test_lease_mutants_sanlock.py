# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Guards and the driver `sanlock` with known faults: a check has to catch each. See test_lease_mutants.py."""

from __future__ import annotations

import ctypes
import os
import select
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import procs
import pytest
from contending import LONG, Scene
from guarded import Edits, Guards, make_runtime
from sanlocks import SANLOCK, Host, Storage
from waiting import wait_until
from witnesses import SanlockWitness

from ansible_collections.holdfast.supervision.plugins.module_utils._lease import drivers, handover, interface
from ansible_collections.holdfast.supervision.plugins.module_utils._lease._sanlock import handing, wire

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="pid namespaces need root"),
    pytest.mark.skipif(not SANLOCK, reason="there is no sanlock"),
]

GUARD = "holdfast/_lease/_guard/"
DRIVER = "holdfast/_lease/sanlock.py"
SceneOn = Callable[[Host, Edits], Scene]


@pytest.fixture(scope="module")
def storage() -> Iterator[Storage]:
    made = Storage(2)
    try:
        yield made.join()
    finally:
        made.close()


@pytest.fixture
def scene_on() -> Iterator[SceneOn]:
    """Gives scenes in which everybody is on one host."""
    made: list[Scene] = []

    def scene(host: Host, edits: Edits) -> Scene:
        base = Path(tempfile.mkdtemp(prefix="hf-mutant-"))
        guards = Guards(make_runtime(base, edits), base)
        guards.use_sanlock(host)
        storage = host.storage
        made.append(Scene(guards, lambda note: SanlockWitness(storage.path, guards.stored(), storage.io_timeout, note)))
        return made[-1]

    yield scene
    for one in made:
        one.close()
        shutil.rmtree(one.guards.base)


# -- released before the tree is gone

BEFORE: Edits = ((GUARD + "guard.py", "            self.tree.terminate()", "            self.driver.release()"),)


@pytest.mark.parametrize("edits", [BEFORE, ()], ids=["mutant", "real"])
def test_who_releases_before_the_tree_is_gone_is_caught(edits: Edits, storage: Storage, scene_on: SceneOn) -> None:
    scene = scene_on(storage.hosts[0], edits)
    scene.start("a", "--stop-timeout=1")
    scene.holder.terminate()
    found = scene.judge_alone(LONG)
    assert any("had it no more" in text for text in found) if edits else found == []


UNKEPT: Edits = (
    (
        DRIVER,
        "            self._keeper = Keeper()\n            for batch in self._batches:",
        "            for batch in ():",
    ),
)


@pytest.mark.parametrize("edits", [UNKEPT, ()], ids=["mutant", "real"])
def test_nobody_who_keeps_the_connection_until_the_tree_is_collected_is_caught(
    edits: Edits, storage: Storage, scene_on: SceneOn
) -> None:
    """One of its processes is not collected yet, since we trace it: the guard's death is no reason to give anything back."""
    scene = scene_on(storage.hosts[0], edits)
    scene.start("a")
    service = procs.children(scene.guards.until("a", "active")["tree"])[0]
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.ptrace(0x4206, service, 0, 0) == 0, os.strerror(ctypes.get_errno())
    scene.holder.kill()
    wait_until(lambda: not procs.alive(service))

    def given_back() -> bool:
        return any(event["event"] == "gone" for event in scene.history.last(50))

    try:
        if edits:
            wait_until(given_back, LONG)
        else:
            # Longer than a release takes.
            time.sleep(0.5)
            assert not given_back()
    finally:
        os.waitpid(service, 0)
    wait_until(given_back, LONG)


# -- how long a grant is good

#: From when the daemon is asked, and not from when it has renewed the lease of its host.
ASKED: Edits = (
    (DRIVER, "        if space.kept != self._kept:", "        if True:"),
    (DRIVER, "max(self.good_from, space.kept + self._ahead)", "time.clock_gettime(7)"),
    (DRIVER, "_LATE = 3.5", "_LATE = 1e9"),
)


@pytest.mark.skipif(not os.path.exists("/dev/fuse"), reason="a way to the storage that can be lost is one of FUSE")
def test_a_deadline_that_is_not_that_of_the_hosts_lease_is_caught(scene_on: SceneOn) -> None:
    """Mutant and real one at the same time, on two hosts whose ways to the storage break."""
    made = Storage(2, ways=True)
    try:
        made.join()
        scenes = [scene_on(host, edits) for host, edits in zip(made.hosts, (ASKED, ()))]
        for scene in scenes:
            scene.start("a", "--stop-timeout=4")
        for host in made.hosts:
            assert host.way is not None
            host.way.be("broken")
        # The daemon ends the one that goes on by itself, when its time is over.
        mutant, real = (scene.judge_alone(LONG) for scene in scenes)
    finally:
        made.close()
    assert any("was good until" in text for text in mutant)
    assert real == []


# -- faults of the driver, in this process


def _driver(host: Host, prefix: str) -> interface.Driver:
    one = drivers.make("sanlock", "billing", host.parameters(prefix=f"{prefix}/"))
    one.register("r", interface.EXCLUSIVE_MODE)
    return one


def _taken_over_though_somebody_was_between(storage: Storage, prefix: str, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether a hand-over comes to its end with what somebody else had between, who knows no marks."""
    source, other, target = (_driver(storage.hosts[at], prefix) for at in (0, 1, 1))
    source.acquire()
    state = source.prepare_out("h", target.identity, 60)
    source.release()
    # Nothing of ours is looked at before sanlock is asked.
    monkeypatch.setattr(handing, "permit", lambda *_words: None)
    other.acquire()
    other.release()
    try:
        target.complete_in(state)
    except handover.Overtaken:
        return False
    target.release()
    return True


def test_a_number_that_is_not_compared_at_a_hand_over_is_caught(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not _taken_over_though_somebody_was_between(storage, "real", monkeypatch)
    monkeypatch.setattr(wire, "LVER", 0)
    assert _taken_over_though_somebody_was_between(storage, "mutant", monkeypatch)


def _hears_of_the_daemons_end(one: interface.Driver) -> bool:
    """Whether somebody whose daemon has ended hears it at once, without having asked it anything."""
    poll = select.poll()
    poll.register(one.lost_fd(), select.POLLIN)
    assert poll.poll(10_000)
    try:
        one.look()
    except interface.RunningOut:
        return True
    return False


def test_an_end_of_the_daemon_that_is_not_heard_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Storage(1)
    try:
        made.join()
        one = _driver(made.hosts[0], "end")
        one.acquire()
        made.hosts[0].kill()
        assert _hears_of_the_daemons_end(one)
        monkeypatch.setattr(wire.Connection, "ended", lambda _self: False)
        assert not _hears_of_the_daemons_end(one)
        one.free()
    finally:
        made.close()
