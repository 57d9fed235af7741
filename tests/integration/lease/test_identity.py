# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two who are one by name, a store's daemon that comes back as who it was, and guards whose clocks begin elsewhere."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import procs
import pytest
from guarded import PYTHON, STUBBORN, Guards, overlaps
from sanlocks import SANLOCK, Host, Storage
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._lease.handle import Handle
from ansible_collections.holdfast.supervision.plugins.module_utils._lease.interface import LeaseError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="pid namespaces need root")

#: Seconds for one step.
LONG = 20.0


def stubborn(guards: Guards, name: str, *words: str, writes: str = "") -> subprocess.Popen[str]:
    """Start a guard whose service nobody gets rid of but by force; writes: the name in its beats, where it is another one."""
    history = guards.base / "history"
    history.touch()
    return guards.start(name, *words, command=(PYTHON, "-I", "-S", "-c", STUBBORN, str(history), writes or name))


def until_beating(guards: Guards, name: str) -> None:
    wait_until(lambda: f" {name} " in (guards.base / "history").read_text())


# -- guards of one name


def twin_of(guards: Guards) -> Guards:
    """Guards as on another host that has the same name: all that tells them apart is where their folders are."""
    made = Guards(guards.runtime, guards.base)
    made.state = guards.base / "other-guards"
    made.driver = guards.driver
    return made


@pytest.fixture(params=["etcd", "sanlock"])
def twins(request: pytest.FixtureRequest, guards: Guards) -> Iterator[tuple[Guards, Guards]]:
    """Guards of two hosts of one name. With sanlock, where the daemon's number tells hosts apart, of two services of one name besides."""
    if request.param == "etcd":
        guards.use_etcd(request.getfixturevalue("etcd").endpoints)
    else:
        guards.use_sanlock(request.getfixturevalue("hosts").hosts[0])
    other = twin_of(guards)
    if request.param == "sanlock":
        other.use_sanlock(request.getfixturevalue("hosts").hosts[1])
    yield guards, other
    other.close()


def test_two_of_one_name_exclude_each_other(twins: tuple[Guards, Guards]) -> None:
    one, other = twins
    first = stubborn(one, "a", "--stop-timeout=0.2", writes="one")
    one.until("a", "active")
    until_beating(one, "one")
    stubborn(other, "a", writes="other")
    other.until("a", "standby")
    first.terminate()
    other.until("a", "active")
    assert other.token("a") > 1
    until_beating(one, "other")
    assert overlaps(one.base / "history") == (2, [])


def test_what_is_kept_for_one_is_got_by_either_of_them_and_not_by_both(twins: tuple[Guards, Guards]) -> None:
    one, other = twins
    first = stubborn(one, "a", "--keep=600", writes="one")
    tree = one.until("a", "active")["tree"]
    until_beating(one, "one")
    stubborn(other, "a", writes="other")
    other.until("a", "standby")
    one.start("b")
    one.until("b", "standby")
    procs.kill(min(procs.children(tree)))
    first.wait(LONG)
    other.until("a", "active")
    until_beating(one, "other")
    stubborn(one, "a", writes="one")
    one.until("a", "standby")
    assert one.report("b")["phase"] == "standby"
    assert overlaps(one.base / "history") == (2, [])


def test_a_hand_over_to_a_name_that_two_have_ends_at_one_of_them(twins: tuple[Guards, Guards]) -> None:
    one, other = twins
    stubborn(one, "a", "--stop-timeout=0.2")
    one.until("a", "active")
    until_beating(one, "a")
    for guards, writes in ((one, "one"), (other, "other")):
        stubborn(guards, "b", writes=writes)
        guards.until("b", "standby")
    with (
        Handle.attach("a", str(one.state), LONG) as source,
        Handle.attach("b", str(one.state), LONG) as target,
        Handle.attach("b", str(other.state), LONG) as second,
        ThreadPoolExecutor() as pool,
    ):
        source.prepare_out("h", target.prepare_in("h"), 60)
        token = one.token("a")
        state = source.complete_out("h", LONG)

        def taken(by: Handle) -> bool:
            try:
                return by.complete_in(state) == {"r": token + 1}
            except LeaseError:
                return False

        assert sorted(pool.map(taken, (target, second))) == [False, True]
    wait_until(lambda: overlaps(one.base / "history")[0] == 2)
    assert overlaps(one.base / "history") == (2, [])


# -- daemons of one name and number


@pytest.fixture
def named() -> Iterator[Storage]:
    """One host of sanlock, whose daemon has a fixed name."""
    if not SANLOCK:
        pytest.skip("there is no sanlock")
    storage = Storage()
    try:
        (host,) = storage.hosts
        host.end()
        host.start("-e", "same")
        storage.join()
        yield storage
    finally:
        storage.close()


def held_on(guards: Guards, host: Host) -> int:
    """Have a service run there that needs ten seconds to be asked to end; gives its guard."""
    guards.use_sanlock(host)
    guard = stubborn(guards, "one").pid
    assert "fixed_name" in [hole["name"] for hole in guards.until("one", "active")["holes"]]
    until_beating(guards, "one")
    return guard


def test_a_second_host_of_that_name_and_number_gets_in_when_the_first_has_ended(named: Storage, guards: Guards) -> None:
    held_on(guards, named.hosts[0])
    twin = Host(named, 1, "twin").start("-e", "same")
    try:
        guards.use_sanlock(twin)
        stubborn(guards, "other")
        until_beating(guards, "other")
        assert overlaps(guards.base / "history") == (2, [])
        assert "gives up the lockspace" in guards.errors("one")
    finally:
        guards.close()
        twin.end()


def test_a_daemon_that_comes_back_as_who_it_was_finds_nothing_of_the_service(named: Storage, guards: Guards) -> None:
    (host,) = named.hosts
    guard = held_on(guards, host)
    host.kill()
    procs.until_dead(guard)
    # At once, and not when its time is over: what is left of that would be more than the next one needs.
    host.start("-e", "same")
    stubborn(guards, "other")
    until_beating(guards, "other")
    assert overlaps(guards.base / "history") == (2, [])
    assert guards.errors("one").count("has a fixed name") == 1


# -- clocks


def shift(guards: Guards, seconds: int) -> None:
    """Have guards start with monotonic clocks that are so many seconds off, as in a container with a time namespace of its own."""
    inside = ("unshare", "--time", f"--monotonic={seconds}", f"--boottime={seconds}", "--")
    if subprocess.run((*inside, "true"), check=False, capture_output=True).returncode:
        pytest.skip("there are no time namespaces")
    guards.inside = inside


@pytest.fixture(params=[-3000, 5000])
def shifted(request: pytest.FixtureRequest, guards: Guards) -> Guards:
    """Guards whose clocks go after, or before, those of all others."""
    shift(guards, request.param)
    return guards


def test_what_is_left_in_another_time_namespace_is_not_taken_for_gone(shifted: Guards) -> None:
    done = shifted.base / "done"
    closes = f"import os, time\nos.closerange(3, 4096)\nopen({str(done)!r}, 'w').close()\ntime.sleep(1000)"
    first = shifted.start("one", "--mode=exec", "--safety=standard", command=(PYTHON, "-I", "-S", "-c", closes))
    wait_until(done.exists)
    shifted.inside = ()
    assert shifted.start("other").wait(LONG) == 111
    assert "in another pid or time namespace" in shifted.errors("other")
    assert first.poll() is None


def test_a_guard_whose_clock_is_not_the_daemons_is_refused(shifted: Guards, hosts: Storage) -> None:
    shifted.use_sanlock(hosts.hosts[0])
    assert shifted.start("one").wait(LONG) == 111
    assert "have to run in the same time namespace" in shifted.errors("one")


def test_a_stopped_guard_of_another_clock_dies_in_time(remote: Guards) -> None:
    shift(remote, -3000)
    first = stubborn(remote, "one")
    remote.until("one", "active")
    until_beating(remote, "one")
    remote.inside = ()
    stubborn(remote, "other")
    remote.until("other", "standby")
    first.send_signal(signal.SIGSTOP)
    until_beating(remote, "other")
    assert first.wait(LONG) == -signal.SIGKILL
    # The times in their beats are not to be compared; their order is that in which they were written.
    whose = [line.split()[1] for line in (remote.base / "history").read_text().splitlines()]
    assert "one" not in whose[whose.index("other") :]
