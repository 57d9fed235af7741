# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Guards and drivers with known faults: the judge of the chaos tests has to catch each, or it judges nothing.

A mutant is the real runtime with some of its text exchanged. What the core does wrong is in tests/unit/…/test_core.py.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from contending import LONG, Scene
from etcds import ETCD, Cluster, Proxy
from guarded import STUBBORN, Edits, Guards, make_runtime
from waiting import wait_until
from witnesses import EtcdWitness

from ansible_collections.holdfast.supervision.plugins.module_utils._lease import interface
from ansible_collections.holdfast.supervision.plugins.module_utils._lease._etcd import store, tenure
from ansible_collections.holdfast.supervision.plugins.module_utils._lease.etcd import Etcd

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="pid namespaces need root"),
    pytest.mark.skipif(not ETCD, reason="there is no etcd"),
]


@pytest.fixture(scope="module")
def etcd() -> Iterator[Cluster]:
    made = Cluster().start()
    yield made
    made.close()


class EtcdScene(Scene):
    """a has a way to etcd of its own."""

    def __init__(self, guards: Guards, cluster: Cluster) -> None:
        super().__init__(guards, lambda note: EtcdWitness(cluster, str(guards.base), "r", note))
        self.cluster = cluster
        self.proxy = Proxy(cluster.members[0].url)
        self.ttl = 3.0

    def start(self, name: str, *words: str, script: str = STUBBORN) -> None:
        self.guards.use_etcd(self.proxy.url if name == "a" else self.cluster.endpoints, self.ttl)
        super().start(name, *words, script=script)

    def close(self) -> None:
        super().close()
        self.proxy.close()


def stopped(scene: EtcdScene) -> None:
    scene.holder.send_signal(signal.SIGSTOP)


def asked_to_stop(scene: EtcdScene) -> None:
    scene.holder.terminate()


def cut_off(scene: EtcdScene) -> None:
    scene.proxy.mode = "hang"


def killed(scene: EtcdScene) -> None:
    scene.holder.kill()


GUARD = "holdfast/_lease/_guard/"
ETCD_PARTS = "holdfast/_lease/_etcd/"

#: name: what is exchanged (file, text, instead), and what then happens to the holder.
MUTANTS: dict[str, tuple[Edits, Callable[[EtcdScene], None]]] = {
    "no kernel timer": (
        ((GUARD + "kernel.py", "divmod(int(when * 1e9), 10**9) if when is not None", "(0, 0) if False"),),
        stopped,
    ),
    "released before the tree is gone": (
        ((GUARD + "guard.py", "            self.tree.terminate()", "            self.driver.release()"),),
        asked_to_stop,
    ),
    "an unclear renewal counts": (
        (
            (
                GUARD + "renewals.py",
                "guard.event(core.UNCLEAR)",
                "guard.event(core.RENEWED, sent=time.clock_gettime(7))",
            ),
        ),
        cut_off,
    ),
    "init outlives the guard": (
        ((GUARD + "tree.py", "        kernel.die_with_parent()\n        os.setsid()", "        os.setsid()"),),
        killed,
    ),
}


#: The same of what the store says by itself: that a lease has ended, though nobody has failed to renew it.
UNHEARD: dict[str, Edits] = {
    "watch events are ignored": ((ETCD_PARTS + "watch.py", 'event.get("type") == "DELETE"', "False"),),
    "nothing that the store says is heard": (
        (ETCD_PARTS + "renewing.py", "    if ttl <= 0:", "    if False:"),
        (ETCD_PARTS + "tenure.py", "        if not done.succeeded:", "        if False:"),
        (ETCD_PARTS + "tenure.py", "float(done.ttl)", "2.0"),
        (ETCD_PARTS + "watch.py", 'event.get("type") == "DELETE"', "False"),
    ),
}


@pytest.fixture
def scene_of(etcd: Cluster) -> Iterator[Callable[[Edits], EtcdScene]]:
    base = Path(tempfile.mkdtemp(prefix="hf-mutant-"))
    made: list[EtcdScene] = []

    def scene(edits: Edits) -> EtcdScene:
        made.append(EtcdScene(Guards(make_runtime(base, edits), base), etcd))
        return made[0]

    yield scene
    for one in made:
        one.close()
    shutil.rmtree(base)


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_caught(name: str, scene_of: Callable[[Edits], EtcdScene]) -> None:
    edits, fault = MUTANTS[name]
    scene = scene_of(edits)
    scene.begin("--stop-timeout=4")
    fault(scene)
    assert scene.judge() != []


def test_a_pause_that_is_only_said_is_caught(scene_of: Callable[[Edits], EtcdScene]) -> None:
    edits = (
        (GUARD + "board.py", "self.wanted % 2 == 1 and self._page[_REACHED] == self.wanted", "self.wanted % 2 == 1"),
        (GUARD + "init.py", "self._send_all(signal.SIGSTOP)", "pass"),
    )
    scene = scene_of(edits)
    scene.begin("--on-lost=pause")
    cut_off(scene)
    assert any("that it stood still" in found for found in scene.judge())


def test_a_real_pause_is_not(scene_of: Callable[[Edits], EtcdScene]) -> None:
    scene = scene_of(())
    scene.begin("--on-lost=pause")
    cut_off(scene)
    wait_until(lambda: scene.guards.report("a").get("phase") == "paused", LONG)
    assert scene.judge() == []
    assert any(event["event"] == "paused" for event in scene.history.end())


@pytest.mark.parametrize("fault", [stopped, asked_to_stop, cut_off, killed])
def test_the_real_one_is_not(fault: Callable[[EtcdScene], None], scene_of: Callable[[Edits], EtcdScene]) -> None:
    scene = scene_of(())
    scene.begin("--stop-timeout=1")
    fault(scene)
    assert scene.judge() == []


def _revoked_right_after_a_renewal(scene: EtcdScene) -> list[str]:
    """Nobody stands in line: he would be granted it before the holder can hear of it. The next renewal is 3 s away."""
    scene.ttl = 9.0
    scene.start("a")

    def renewals() -> int:
        return int(scene.guards.call("a", "Status")["renewals"]["count"])

    begun = renewals()
    wait_until(lambda: renewals() > begun, LONG)
    scene.cluster.revoke_all()
    # Moments are enough for the real one.
    return scene.judge_alone(2.5, early=1.5)


@pytest.mark.parametrize("name", UNHEARD)
def test_who_does_not_hear_the_store_is_caught(name: str, scene_of: Callable[[Edits], EtcdScene]) -> None:
    found = _revoked_right_after_a_renewal(scene_of(UNHEARD[name]))
    assert any("the store had it no more" in text for text in found)


def test_who_hears_it_is_not(scene_of: Callable[[Edits], EtcdScene]) -> None:
    scene = scene_of(())
    assert _revoked_right_after_a_renewal(scene) == []
    assert scene.holder.poll() is not None


# -- faults of the driver, in this process


@pytest.fixture
def make(etcd: Cluster) -> Iterator[Callable[..., Etcd]]:
    made: list[Etcd] = []
    prefix = f"/mutants/{time.monotonic_ns()}"

    def one(tenant: str, **parameters: Any) -> Etcd:
        driver = Etcd(tenant, {"endpoints": etcd.endpoints, "prefix": prefix, "ttl": 20, **parameters})
        driver.register("r", interface.EXCLUSIVE_MODE)
        driver.probe()
        made.append(driver)
        return driver

    yield one
    for driver in made:
        driver.free()


def _late_release(make: Callable[..., Etcd], etcd: Cluster) -> bool:
    """Whether a release that comes after the lease has gone to another one takes it away from that one."""
    one, other = make("one"), make("other")
    one.acquire()
    etcd.revoke_all()
    other.acquire()
    one.release()
    return other.owners("r") == []


def test_an_unguarded_delete_is_caught(
    make: Callable[..., Etcd], etcd: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not _late_release(make, etcd)
    etcd.revoke_all()
    original = tenure.Tenure._giving
    monkeypatch.setattr(tenure.Tenure, "_giving", lambda *words: ([], original(*words)[1]))
    assert _late_release(make, etcd)


def _two_grants(make: Callable[..., Etcd], monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The tokens of two grants, of which the second one was under way while the first came and went."""
    one, other = make("one"), make("other")
    tokens: list[int] = []
    reading = store.read

    def read_then_be_slow(*words: Any) -> list[store.View]:
        views = reading(*words)
        if not tokens:
            tokens.append(0)
            tokens[0] = other.acquire()[0].token
            other.release()
        return views

    monkeypatch.setattr(store, "read", read_then_be_slow)
    tokens.append(one.acquire()[0].token)
    one.release()
    return tokens


def test_an_epoch_that_is_not_compared_is_caught(make: Callable[..., Etcd], monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = _two_grants(make, monkeypatch)
    assert first < second
    monkeypatch.undo()
    monkeypatch.setattr(store, "unchanged", lambda key, _revision: store.created("never", 0))
    first, second = _two_grants(make, monkeypatch)
    assert first >= second


def _counted_from(make: Callable[..., Etcd], proxy: Proxy) -> float:
    """The seconds between the answer to a renewal and the time from which its grant counts."""
    one = make("one", endpoints=proxy.url)
    one.acquire()
    proxy.delay = 0.3
    one.renew()
    return time.clock_gettime(time.CLOCK_BOOTTIME) - one.good_from


def test_time_that_counts_from_the_answer_is_caught(
    make: Callable[..., Etcd], etcd: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxies = [Proxy(etcd.members[0].url) for _unused in range(2)]
    # A keepalive and a transaction, each of which is late.
    assert _counted_from(make, proxies[0]) >= 0.6
    etcd.revoke_all()
    renewing = tenure.Tenure.renew

    def renew(self: tenure.Tenure) -> int:
        revision = renewing(self)
        self.good_from = time.clock_gettime(time.CLOCK_BOOTTIME)
        return revision

    monkeypatch.setattr(tenure.Tenure, "renew", renew)
    assert _counted_from(make, proxies[1]) < 0.6
    for proxy in proxies:
        proxy.close()
