# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What becomes of a service whose lease cannot be renewed in time: a hook hears of it, or it is paused."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import time
from collections.abc import Iterator

import procs
import pytest
from etcds import ETCD, Cluster, Proxy
from guarded import PYTHON, STUBBORN, Guards, overlaps
from waiting import wait_until

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="pid namespaces need root"),
    pytest.mark.skipif(not ETCD, reason="there is no etcd"),
]

LONG = 30


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """An etcd of the test's own, which may go down."""
    made = Cluster().start()
    yield made
    made.close()


def beating(guards: Guards, name: str, *words: str) -> subprocess.Popen[str]:
    """Start a guard whose service beats from a grandchild that has left its session."""
    history = guards.base / "history"
    history.touch()
    return guards.start(name, *words, command=(PYTHON, "-I", "-S", "-c", STUBBORN, str(history), name))


def beats(guards: Guards, name: str) -> int:
    return (guards.base / "history").read_text().count(f" {name} ")


def boottime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def paused_beyond_the_lease(guards: Guards, name: str) -> None:
    """Wait until the service is paused and its lease, as the guard knew it, is over."""
    guards.until(name, "paused")
    wait_until(lambda: guards.call(name, "Status")["valid_until"] < boottime(), LONG)


# -- paused


def test_a_paused_service_goes_on_when_a_store_that_was_away_is_back(guards: Guards, cluster: Cluster) -> None:
    guards.use_etcd(cluster.endpoints, ttl=2)
    beating(guards, "a", "--on-lost=pause")
    wait_until(lambda: beats(guards, "a") > 0, LONG)
    before = guards.report("a")
    cluster.members[0].kill()
    paused_beyond_the_lease(guards, "a")
    stood = beats(guards, "a")
    asked = guards.call("a", "Status")["renewals"]["failed"]
    wait_until(lambda: guards.call("a", "Status")["renewals"]["failed"] > asked, LONG)
    assert beats(guards, "a") == stood
    cluster.members[0].start()
    after = guards.until("a", "active")
    wait_until(lambda: beats(guards, "a") > stood, LONG)
    assert (after["tree"], after["resources"]) == (before["tree"], before["resources"])
    # And it is as safe as before: the kernel's timer is back.
    assert guards.call("a", "Status")["valid_until"] > boottime()


def test_nobody_finds_a_paused_service_ill(guards: Guards, cluster: Cluster) -> None:
    guards.use_etcd(cluster.endpoints, ttl=2)
    path = guards.base / "holdfast.json"
    health = {"heartbeat_fd": 4, "interval": 0.5, "timeout": 1, "failures": 1}
    path.write_text(json.dumps({"lease": {"process": {}, "readiness": {"grace": 0}, "health": health}}))
    beat = "while :; do echo >&4; sleep 0.05; done"
    guard = guards.start("a", "--on-lost=pause", f"--definition={path}", command=("/bin/sh", "-c", beat))
    before = guards.until("a", "active")
    cluster.members[0].kill()
    paused_beyond_the_lease(guards, "a")
    cluster.members[0].start()
    after = guards.until("a", "active")
    assert after["tree"] == before["tree"]
    # Now silence counts again.
    (shell,) = procs.children(before["tree"])
    procs.kill(shell, signal.SIGSTOP)
    assert guard.wait(LONG) == 69


def test_a_paused_service_never_goes_on_when_somebody_else_has_had_the_lease(
    guards: Guards, etcd: Cluster, proxy: Proxy
) -> None:
    guards.use_etcd(proxy.url, ttl=2)
    first = beating(guards, "a", "--on-lost=pause")
    wait_until(lambda: beats(guards, "a") > 0, LONG)
    guards.use_etcd(etcd.endpoints, ttl=2)
    second = beating(guards, "b")
    guards.until("b", "standby")
    proxy.mode = "hang"
    wait_until(lambda: beats(guards, "b") > 0, LONG)
    stood = beats(guards, "a")
    assert guards.report("a")["phase"] == "paused"
    # Whoever is back may be quick: the other one has given the lease back by then.
    second.terminate()
    second.wait(LONG)
    proxy.mode = "pass"
    assert first.wait(LONG) != 0
    assert beats(guards, "a") == stood
    assert overlaps(guards.base / "history") == (2, [])


def test_a_pause_has_an_end(guards: Guards, proxy: Proxy) -> None:
    guards.use_etcd(proxy.url, ttl=2)
    guard = beating(guards, "a", "--on-lost=pause", "--pause-timeout=0.5")
    wait_until(lambda: beats(guards, "a") > 0, LONG)
    tree = guards.report("a")["tree"]
    proxy.mode = "hang"
    guard.wait(LONG)
    # On a busy machine it may be the kernel that has done it, and the tree follows.
    wait_until(lambda: not procs.alive(tree), LONG)


def test_a_guard_that_dies_takes_a_paused_service_along(guards: Guards, proxy: Proxy) -> None:
    guards.use_etcd(proxy.url, ttl=2)
    guard = beating(guards, "a", "--on-lost=pause")
    wait_until(lambda: beats(guards, "a") > 0, LONG)
    proxy.mode = "hang"
    paused_beyond_the_lease(guards, "a")
    tree = guards.report("a")["tree"]
    guard.kill()
    wait_until(lambda: not procs.alive(tree), LONG)


def test_a_guard_that_is_stopped_while_paused_is_killed_by_the_kernel_at_the_end_of_the_pause(
    guards: Guards, proxy: Proxy
) -> None:
    guards.use_etcd(proxy.url, ttl=2)
    guard = beating(guards, "a", "--on-lost=pause", "--pause-timeout=1")
    wait_until(lambda: beats(guards, "a") > 0, LONG)
    proxy.mode = "hang"
    guards.until("a", "paused")
    guard.send_signal(signal.SIGSTOP)
    assert guard.wait(LONG) == -signal.SIGKILL


def test_a_paused_service_is_stopped_by_a_kill(guards: Guards, proxy: Proxy) -> None:
    guards.use_etcd(proxy.url, ttl=2)
    guard = beating(guards, "a", "--on-lost=pause")
    wait_until(lambda: beats(guards, "a") > 0, LONG)
    proxy.mode = "hang"
    paused_beyond_the_lease(guards, "a")
    guard.terminate()
    guard.wait(LONG)


def test_an_init_that_is_stopped_cannot_pause_and_everything_is_killed_in_time(guards: Guards, proxy: Proxy) -> None:
    guards.use_etcd(proxy.url, ttl=3)
    guard = beating(guards, "a", "--on-lost=pause")
    wait_until(lambda: beats(guards, "a") > 0, LONG)
    tree = guards.report("a")["tree"]
    proxy.mode = "hang"
    valid = guards.call("a", "Status")["valid_until"]
    procs.kill(tree, signal.SIGSTOP)
    guard.wait(LONG)
    last = int((guards.base / "history").read_text().splitlines()[-1].split()[2]) / 1e9
    # One renewal may have been under way.
    assert last < valid + 3


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--driver=file", "--on-lost=pause"), "cannot say after the end"),
        (("--on-lost=hook",), "put an executable in lease_lost"),
        (("--on-lost=pause", "--containment=process_group", "--safety=standard"), "needs containment pid_namespace"),
    ],
)
def test_what_cannot_be_done_on_a_loss_is_refused_before_anything_is_held(
    guards: Guards, etcd: Cluster, words: tuple[str, ...], text: str
) -> None:
    if "--driver=file" not in words:
        guards.use_etcd(etcd.endpoints)
    assert guards.start("a", *words).wait(LONG) == 111
    assert text in guards.complaints("a")


# -- a hook first


def _definition(guards: Guards, hook: str) -> str:
    """Make a definition with one hook of lease_lost, and one of before_stop that says that it came."""
    folder = guards.base / "hooks.d"
    for point, text in (("lease_lost", hook), ("before_stop", "echo stop >>$BASE/told")):
        path = folder / point / "10-test"
        path.parent.mkdir(parents=True)
        path.write_text(f"#!/bin/sh\nBASE={guards.base}\n{text}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    path = guards.base / "holdfast.json"
    path.write_text(json.dumps({"lease": {"hooks": {"directory": str(folder), "timeout": 30}, "process": {}}}))
    return f"--definition={path}"


def test_a_hook_hears_how_much_time_there_is_before_the_service_is_asked_to_end(guards: Guards, proxy: Proxy) -> None:
    guards.use_etcd(proxy.url, ttl=3)
    guard = guards.start(
        "a", "--on-lost=hook", _definition(guards, 'echo "$HOLDFAST_POINT $HOLDFAST_SECONDS" >$BASE/told')
    )
    guards.until("a", "active")
    proxy.mode = "hang"
    guard.wait(LONG)
    point, seconds, stop = (guards.base / "told").read_text().split()
    assert (point, stop) == ("lease_lost", "stop")
    assert 0 < float(seconds) <= 0.6


def test_a_hook_that_hangs_keeps_nothing_alive_beyond_the_lease(guards: Guards, proxy: Proxy) -> None:
    guards.use_etcd(proxy.url, ttl=3)
    guard = guards.start("a", "--on-lost=hook", _definition(guards, "sleep 1000"))
    valid = guards.until("a", "active") and guards.call("a", "Status")["valid_until"]
    proxy.mode = "hang"
    guard.wait(LONG)
    assert boottime() < valid + 3


def test_a_hook_of_an_ordered_stop_hears_nothing_of_a_loss(guards: Guards, etcd: Cluster) -> None:
    guards.use_etcd(etcd.endpoints, ttl=60)
    guard = guards.start("a", "--on-lost=hook", _definition(guards, "echo lost >>$BASE/told"))
    guards.until("a", "active")
    guard.terminate()
    guard.wait(LONG)
    assert (guards.base / "told").read_text() == "stop\n"
