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

import procs
import pytest
from etcds import ETCD, Cluster, Proxy
from guarded import PYTHON, STUBBORN, Edits, Guards, make_runtime
from histories import History, Pauses, violations
from waiting import wait_until
from witnesses import EtcdWitness

from ansible_collections.holdfast.supervision.plugins.module_utils._lease import interface
from ansible_collections.holdfast.supervision.plugins.module_utils._lease._etcd import store, tenure
from ansible_collections.holdfast.supervision.plugins.module_utils._lease.etcd import Etcd

LONG = 60

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="pid namespaces need root"),
    pytest.mark.skipif(not ETCD, reason="there is no etcd"),
]


@pytest.fixture(scope="module")
def etcd() -> Iterator[Cluster]:
    made = Cluster().start()
    yield made
    made.close()


class Scene:
    """Two contenders: a, who holds, with a way to etcd of its own, and b, who stands in line."""

    def __init__(self, guards: Guards, cluster: Cluster) -> None:
        self.guards = guards
        self.cluster = cluster
        self.history = History(guards.base)
        self.witness = EtcdWitness(cluster, str(guards.base), "r", self.history.note)
        self.pauses = Pauses(lambda: [guards.report(name) for name in "ab"], self.history)
        self.proxy = Proxy(cluster.members[0].url)

    def begin(self, *words: str) -> None:
        for name, endpoint in (("a", self.proxy.url), ("b", self.cluster.endpoints)):
            self.guards.use_etcd(endpoint)
            command = (PYTHON, "-I", "-S", "-c", STUBBORN, str(self.history.beats), name)
            self.guards.start(name, *words, command=command)
            wait_until(lambda name=name: self.beats(name) if name == "a" else self.stands_by(name), LONG)  # type: ignore[misc]

    def beats(self, name: str) -> int:
        return self.history.beats.read_text().count(f" {name} ")

    def stands_by(self, name: str) -> bool:
        return bool(self.guards.report(name).get("phase") == "standby")

    @property
    def holder(self) -> Any:
        return self.guards.started[0]

    def judge(self) -> list[str]:
        """Let both beat if both can, and judge."""
        wait_until(lambda: self.beats("b"), LONG)
        for name in "ab":
            before = self.beats(name)
            end = time.monotonic() + 0.5
            while self.beats(name) < before + 20 and time.monotonic() < end:
                time.sleep(0.01)
        self.witness.end()
        self.pauses.end()
        return violations(self.history.end())

    def close(self) -> None:
        self.witness.end()
        self.pauses.end()
        procs.kill(self.holder.pid, signal.SIGCONT)
        self.proxy.close()


def stopped(scene: Scene) -> None:
    scene.holder.send_signal(signal.SIGSTOP)


def asked_to_stop(scene: Scene) -> None:
    scene.holder.terminate()


def cut_off(scene: Scene) -> None:
    scene.proxy.mode = "hang"


def revoked(scene: Scene) -> None:
    """Only for mutants: the real one ends, but the store has given the lease away already."""
    scene.cluster.revoke_all()


def killed(scene: Scene) -> None:
    scene.holder.kill()


GUARD = "holdfast/_lease/_guard/"
ETCD_PARTS = "holdfast/_lease/_etcd/"

#: name: what is exchanged (file, text, instead), and what then happens to the holder.
MUTANTS: dict[str, tuple[Edits, Callable[[Scene], None]]] = {
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
    "nothing that the store says is heard": (
        (
            (ETCD_PARTS + "renewing.py", "    if ttl <= 0:", "    if False:"),
            (ETCD_PARTS + "tenure.py", "        if not done.succeeded:", "        if False:"),
            (ETCD_PARTS + "tenure.py", "float(done.ttl)", "2.0"),
            (ETCD_PARTS + "watch.py", 'event.get("type") == "DELETE"', "False"),
        ),
        revoked,
    ),
    "init outlives the guard": (
        ((GUARD + "tree.py", "        kernel.die_with_parent()\n        os.setsid()", "        os.setsid()"),),
        killed,
    ),
}


@pytest.fixture
def scene_of(etcd: Cluster) -> Iterator[Callable[[Edits], Scene]]:
    base = Path(tempfile.mkdtemp(prefix="hf-mutant-"))
    made: list[Scene] = []

    def scene(edits: Edits) -> Scene:
        made.append(Scene(Guards(make_runtime(base, edits), base), etcd))
        return made[0]

    yield scene
    for one in made:
        one.close()
        one.guards.close()
    shutil.rmtree(base)


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_caught(name: str, scene_of: Callable[[Edits], Scene]) -> None:
    edits, fault = MUTANTS[name]
    scene = scene_of(edits)
    scene.begin("--stop-timeout=4")
    fault(scene)
    assert scene.judge() != []


def test_a_pause_that_is_only_said_is_caught(scene_of: Callable[[Edits], Scene]) -> None:
    edits = (
        (GUARD + "board.py", "self.wanted % 2 == 1 and self._page[_REACHED] == self.wanted", "self.wanted % 2 == 1"),
        (GUARD + "init.py", "self._send_all(signal.SIGSTOP)", "pass"),
    )
    scene = scene_of(edits)
    scene.begin("--on-lost=pause")
    cut_off(scene)
    assert any("that it stood still" in found for found in scene.judge())


def test_a_real_pause_is_not(scene_of: Callable[[Edits], Scene]) -> None:
    scene = scene_of(())
    scene.begin("--on-lost=pause")
    cut_off(scene)
    wait_until(lambda: scene.guards.report("a").get("phase") == "paused", LONG)
    assert scene.judge() == []
    assert any(event["event"] == "paused" for event in scene.history.end())


@pytest.mark.parametrize("fault", [stopped, asked_to_stop, cut_off, killed])
def test_the_real_one_is_not(fault: Callable[[Scene], None], scene_of: Callable[[Edits], Scene]) -> None:
    scene = scene_of(())
    scene.begin("--stop-timeout=1")
    fault(scene)
    assert scene.judge() == []


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
