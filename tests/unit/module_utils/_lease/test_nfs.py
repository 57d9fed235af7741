# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The driver `file` with scope hosts, on a local directory that passes for one on NFS. On NFS: tests/machine."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._lease import (
    counting,
    drivers,
    execution,
    mounts,
    none,
    ofd,
    trees,
)
from ansible_collections.holdfast.supervision.plugins.module_utils._lease import nfs as nfs_driver
from ansible_collections.holdfast.supervision.plugins.module_utils._lease._nfs import judge, layout, lockfile, store
from ansible_collections.holdfast.supervision.plugins.module_utils._lease.interface import (
    Busy,
    DriverRefused,
    LeaseError,
    Lost,
    RunningOut,
    StoreUnavailable,
)
from ansible_collections.holdfast.supervision.plugins.module_utils._lease.nfs import Nfs
from ansible_collections.holdfast.supervision.plugins.module_utils._lease.preferring import Preference
from ansible_collections.holdfast.supervision.plugins.module_utils._supervise._embedded import identity

Make = Callable[..., Nfs]
FIRST = Preference("file", {}, 0.1)


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes drivers, each on the host that is named, for which the server's lease time is *seconds*."""
    made: list[Nfs] = []

    def one(tenant: str, *resources: str, host: str = "here", seconds: int = 60, **parameters: Any) -> Nfs:
        verdict = judge.Verdict(seconds, [], {})
        monkeypatch.setattr(store, "judge", lambda _directory, _host: verdict)
        driver = drivers.make("file", tenant, {"directory": str(tmp_path), "scope": "hosts", "poll": 0.1, **parameters})
        assert isinstance(driver, Nfs)
        driver.host = host
        made.append(driver)
        for resource in resources:
            name, _colon, mode = resource.partition(":")
            driver.register(name, mode or "exclusive")
        driver.probe()
        return driver

    yield one
    for driver in made:
        driver.free()


def hand_of(driver: Nfs) -> int:
    """The process that has the locks."""
    assert driver._hand is not None
    with open(f"/proc/self/fdinfo/{driver._hand._process}", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Pid:"))


def kill_hand(driver: Nfs) -> None:
    pid = hand_of(driver)
    started = identity.start_time(pid)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not identity.alive(pid, started), message="the end of the process with the locks")


def test_holders_of_two_hosts_exclude_each_other_and_tokens_rise(make: Make) -> None:
    one, two = make("one", "db", host="a"), make("two", "db", host="b")
    [first] = one.acquire()
    with pytest.raises(Busy, match=r"one@a \(process \d+, token 1\)"):
        two.acquire()
    one.renew()
    one.release()
    [second] = two.acquire()
    assert (first.token, second.token) == (1, 2)


def test_a_grant_is_good_from_before_its_first_heartbeat_and_later_with_each(make: Make) -> None:
    one = make("one", "db")
    one.acquire()
    begun = one.good_from
    one.renew()
    assert 0 < begun < one.good_from
    assert one.ttl == 60


def test_the_time_is_the_servers_or_less(make: Make) -> None:
    assert make("one", "db", seconds=30, ttl=20).ttl == 20
    assert make("two", "db", seconds=30, ttl=90).ttl == 30


def test_shared_ones_have_it_together_and_no_exclusive_one_beside_them(make: Make) -> None:
    one, two, three = make("one", "db:shared", host="a"), make("two", "db:shared", host="b"), make("three", "db")
    tokens = [one.acquire()[0].token, two.acquire()[0].token]
    assert tokens == [1, 2]
    with pytest.raises(Busy):
        three.acquire()
    one.renew()
    two.renew()
    one.release()
    with pytest.raises(Busy):
        three.acquire()
    two.release()
    assert three.acquire()[0].token == 3


def test_who_has_lost_his_lock_without_a_word_is_waited_for_from_another_host(make: Make) -> None:
    one, two = make("one", "db", host="a"), make("two", "db", host="b")
    one.acquire()
    kill_hand(one)
    with pytest.raises(Busy, match="who may still run: waited for"):
        two.acquire()


def test_and_has_no_successor_while_his_heartbeat_changes(make: Make) -> None:
    watched = layout.Watched()
    first, second = layout.encode({"beat": 1}), layout.encode({"beat": 2})
    assert watched.until("db", 1, first, 10.0, 100.0) == 110.0
    assert watched.until("db", 1, first, 10.0, 105.0) == 110.0
    assert watched.until("db", 1, second, 10.0, 106.0) == 116.0
    # Of two resources, and of two holders, each has a time of its own.
    assert watched.until("other", 1, second, 10.0, 107.0) == 117.0
    assert watched.until("db", 2, second, 10.0, 108.0) == 118.0


def test_but_is_followed_when_his_time_is_over(make: Make) -> None:
    one, two = make("one", "db", host="a", seconds=1), make("two", "db", host="b", seconds=1)
    one.acquire()
    kill_hand(one)
    with pytest.raises(Busy):
        two.acquire()
    two.line_up()
    assert two.acquire()[0].token == 2


def test_an_answer_that_was_long_on_its_way_says_nothing_of_now(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    one = make("one", "db", host="a")
    one.acquire()
    kill_hand(one)
    clock, late = [1000.0], [0.0]
    read = lockfile.LockFile.blocks

    def answered(file: lockfile.LockFile) -> list[bytes]:
        found = read(file)
        clock[0] += late[0]
        return found

    monkeypatch.setattr(store, "_now", lambda: clock[0])
    monkeypatch.setattr(lockfile.LockFile, "blocks", answered)
    two = store.Store(one.directory, "two", "b", None, os.getpid(), FIRST)
    wanted = [("db", "exclusive")]
    assert not two.may_have(wanted, 0.0)
    # The holder's time is over when the answer is there; what he has written meanwhile is not in it.
    late[0] = 100.0
    assert not two.may_have(wanted, 0.0)
    clock[0] = 1001.0
    with pytest.raises(Busy, match=r"waited for 59\.0 s more"):
        two.acquire(wanted, {}, 9999.0)
    late[0] = 0.0
    assert two.acquire(wanted, {}, 9999.0)["tokens"] == {"db": 2}
    two.release(None)


def test_a_dead_holder_of_this_host_is_followed_at_once(make: Make) -> None:
    one, two = make("one", "db"), make("two", "db")
    one.acquire()
    dead = subprocess.Popen([sys.executable, "-c", "pass"])
    record = {**trees.describe(dead.pid, identity.start_time(dead.pid), trees.PROCESS)}
    dead.wait()
    assert one._hand is not None
    # As if the guard had been another process, which is dead, too.
    one._hand.ask("tie", 10, tree=record)
    path = Path(one.directory) / "db.lock"
    number, found = next(
        (number, layout.decode(block)) for number, block in enumerate(blocks(path)) if number and block != layout.EMPTY
    )
    assert found is not None
    kill_hand(one)
    with path.open("r+b") as file:
        file.seek(number * layout.BLOCK)
        file.write(layout.encode({**found, "guard": record}))
    assert two.acquire()[0].token == 2


def test_an_attempt_of_ones_own_that_was_given_up_is_in_nobodys_way(make: Make) -> None:
    one = make("one", "db")
    one.acquire()
    kill_hand(one)
    again = make("one", "db")
    assert again.acquire()[0].token == 2


def test_what_was_got_and_nobody_heard_of_is_got_again(make: Make) -> None:
    one = make("one", "db")
    one.acquire()
    one.register("web", "exclusive")
    # As if the answer had come too late.
    one._ask("acquire", wanted=[("web", "exclusive")], note={}, deadline=float("inf"))
    assert [(grant.resource, grant.token) for grant in one.acquire()] == [("db", 1), ("web", 2)]
    one.renew()


def blocks(path: Path) -> list[bytes]:
    data = path.read_bytes()
    return [data[at : at + layout.BLOCK] for at in range(0, len(data), layout.BLOCK)]


def test_a_damaged_place_counts_as_a_holder_until_its_time_is_over(make: Make) -> None:
    one, two = make("one", "db", host="a"), make("two", "db", host="b")
    one.acquire()
    slot = next(number for number, block in enumerate(blocks(Path(one.directory) / "db.lock")) if number and any(block))
    kill_hand(one)
    with (Path(one.directory) / "db.lock").open("r+b") as file:
        file.seek(slot * layout.BLOCK)
        file.write(b"x" * 100)
    with pytest.raises(Busy, match="somebody whose block is damaged, who may still run"):
        two.acquire()


def test_and_for_as_long_as_any_holder_may_have_been_granted_it_though_the_servers_time_is_less_now(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = make("one", "db", host="a", seconds=90)
    one.acquire()
    slot = next(number for number, block in enumerate(blocks(Path(one.directory) / "db.lock")) if number and any(block))
    kill_hand(one)
    with (Path(one.directory) / "db.lock").open("r+b") as file:
        file.seek(slot * layout.BLOCK)
        file.write(b"x" * 100)
    two = make("two", "db", host="b", seconds=20)
    with pytest.raises(Busy, match=r"whose block is damaged, who may still run: waited for (89|90)\.\d s more"):
        two.acquire()


def test_the_time_of_who_has_it_beside_others_is_kept_until_they_are_gone(make: Make) -> None:
    def longest() -> tuple[float, float]:
        path = Path(one.directory) / "db.lock"
        found = [layout.decode(blocks(path)[0]), layout.decode((path.parent / "db.token").read_bytes())]
        return tuple(float((record or {})["ttl"]) for record in found)  # type: ignore[return-value]

    one = make("one", "db:shared", host="a", seconds=90)
    one.acquire()
    two = make("two", "db:shared", host="b", seconds=20)
    two.acquire()
    assert longest() == (90, 90)
    one.release()
    two.release()
    three = make("three", "db", host="c", seconds=20)
    three.acquire()
    assert longest() == (20, 20)


def test_of_whose_time_nothing_is_known_the_longest_is_taken(make: Make) -> None:
    one = make("one", "db", host="a", seconds=20)
    one.acquire()
    path = Path(one.directory) / "db.lock"
    slot = next(number for number, block in enumerate(blocks(path)) if number and any(block))
    kill_hand(one)
    (path.parent / "db.token").write_bytes(layout.encode({"token": 1}))
    with path.open("r+b") as file:
        file.write(layout.encode({"token": 1}))
        file.seek(slot * layout.BLOCK)
        file.write(b"x" * 100)
    two = make("two", "db", host="b", seconds=20)
    with pytest.raises(Busy, match=r"waited for (3600|3599)\.\d s more"):
        two.acquire()


@pytest.mark.parametrize("how", ["removed", "exchanged"])
def test_a_lock_file_that_goes_is_a_lost_lease_and_lets_nobody_in_before_its_time(make: Make, how: str) -> None:
    one, two = make("one", "db", host="a"), make("two", "db", host="b")
    one.acquire()
    path = Path(one.directory) / "db.lock"
    if how == "removed":
        path.unlink()
    else:
        (path.parent / "new").write_bytes(b"")
        (path.parent / "new").rename(path)
    with pytest.raises(Busy, match="whoever has the lock file that was here before"):
        two.acquire()
    with pytest.raises(Lost, match="was removed or exchanged"):
        one.renew()


def test_what_is_lost_is_lost_for_ever(make: Make) -> None:
    one = make("one", "db")
    one.acquire()
    path = Path(one.directory) / "db.lock"
    path.rename(path.parent / "aside")
    with pytest.raises(Lost):
        one.renew()
    (path.parent / "aside").rename(path)
    for again in (one.renew, one.release):
        with pytest.raises(Lost):
            again()
    one.register("more", "exclusive")
    with pytest.raises(Lost):
        one.acquire()


def test_who_finds_a_later_token_has_lost_it(make: Make) -> None:
    one = make("one", "db")
    one.acquire()
    with (Path(one.directory) / "db.lock").open("r+b") as file:
        file.write(layout.encode({"token": 7}))
    with pytest.raises(Lost, match="somebody else has been granted it, with token 7"):
        one.renew()


def test_tokens_go_on_after_the_lock_file_was_lost(make: Make) -> None:
    one = make("one", "db", seconds=1)
    one.acquire()
    one.release()
    (Path(one.directory) / "db.lock").unlink()
    two = make("two", "db", seconds=1)
    with pytest.raises(Busy, match="who may still run"):
        two.acquire()
    two.line_up()
    assert two.acquire()[0].token == 2


def test_a_guard_whose_locks_are_gone_hears_of_it_and_runs_out(make: Make) -> None:
    one = make("one", "db")
    one.acquire()
    one.look()
    kill_hand(one)
    with pytest.raises(RunningOut):
        one.look()
    with pytest.raises(RunningOut):
        one.renew()
    # Nobody can give it back any more: that is no reason to try again.
    with pytest.raises(Lost):
        one.release()


def test_one_that_holds_nothing_gets_another_process(make: Make) -> None:
    one = make("one", "db")
    kill_hand(one)
    with pytest.raises(LeaseError):
        one.acquire()
    assert one.acquire()[0].token == 1


def test_somebody_who_stays_at_the_counter_is_no_reason_to_end(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = make("one", "db:shared", host="a"), make("two", "db:shared", host="b")
    one.acquire()
    two._give_up()
    monkeypatch.setattr(lockfile, "_LIMIT", 0.05)
    with open(Path(one.directory) / "db.lock", "r+b") as file:
        assert ofd.lock(file.fileno(), counting.COUNTER)
        with pytest.raises(StoreUnavailable, match="the counter of the resource is locked"):
            two.acquire()
    assert two.acquire()[0].token == 2


@pytest.mark.parametrize("number", [errno.EIO, errno.ETIMEDOUT])
def test_what_a_soft_mount_says_of_a_silent_server_is_no_refusal(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def silent(path: object, *_rest: object, **_more: object) -> Any:
        raise OSError(number, os.strerror(number), path)

    one = make("one", "db")
    one._give_up()
    with monkeypatch.context() as patched:
        patched.setattr(lockfile, "_read", lambda *_: silent(str(tmp_path)))
        with pytest.raises(StoreUnavailable) as raised:
            one.acquire()
    assert str(raised.value) == f"{tmp_path}: {os.strerror(number)}"
    assert one.acquire()[0].token == 1
    with monkeypatch.context() as patched:
        patched.setattr(judge.os, "stat", silent)
        with pytest.raises(StoreUnavailable, match=os.strerror(number)):
            judge.judge(str(tmp_path), "a")


def test_a_process_that_hangs_is_given_up_and_renews_nothing(make: Make) -> None:
    one = make("one", "db", seconds=1)
    one.acquire()
    good = one.good_from
    os.kill(hand_of(one), signal.SIGSTOP)
    with pytest.raises(LeaseError, match="does not answer"):
        one.renew()
    assert one.good_from == good
    os.kill(hand_of(one), signal.SIGCONT)
    one.renew()
    assert one.good_from > good


def test_one_that_is_stopped_is_killed_at_the_end_and_is_in_nobodys_way_for_longer_than_the_time(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nfs_driver, "_FAREWELL", 0.1)
    one, two = make("one", "db", host="a", seconds=1), make("two", "db", host="b", seconds=1)
    one.acquire()
    pid = hand_of(one)
    started = identity.start_time(pid)
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(StoreUnavailable):
            one.release()
        one.free()
        wait_until(lambda: not identity.alive(pid, started), message="the end of the process with the locks")
    finally:
        if identity.alive(pid, started):
            os.kill(pid, signal.SIGKILL)
    two.line_up()
    assert two.acquire()[0].token == 2


def test_one_that_is_stopped_while_the_tree_lives_keeps_what_it_has(make: Make) -> None:
    one, two = make("one", "db", host="a"), make("two", "db", host="b")
    one.acquire()
    tree = subprocess.Popen(["sleep", "1000"])
    try:
        one.bind(tree.pid, identity.start_time(tree.pid))
        one.renew()
        pid = hand_of(one)
        started = identity.start_time(pid)
        os.kill(pid, signal.SIGSTOP)
        one.free()
        with pytest.raises(Busy):
            two.acquire()
        assert identity.alive(pid, started)
        os.kill(pid, signal.SIGCONT)
    finally:
        tree.kill()
        tree.wait()
    wait_until(lambda: not identity.alive(pid, started), message="the end of the process with the locks")
    assert two.acquire()[0].token == 2


def test_an_answer_may_be_longer_than_a_socket_has_room(make: Make, tmp_path: Path) -> None:
    names = [f"resource-{number}-{'x' * 40}" for number in range(20000)]
    for name in names:
        (tmp_path / f"{name}.lock").touch()
    one = make("one")
    assert one._ask("names")["result"] == sorted(names)
    # An answer that nobody has waited for is in no later one's way.
    one._hand.tell("names", id="nobody")  # type: ignore[union-attr]
    assert one._ask("owners", resource=names[0])["result"] == []


@pytest.mark.parametrize("closed", [(0,), (0, 1, 2), (1, 2)])
def test_a_guard_without_the_standard_descriptors_has_a_hand_all_the_same(
    tmp_path: Path, closed: tuple[int, ...]
) -> None:
    said = tmp_path / "said"
    text = BARE.format(tests=Path(__file__).parents[3], directory=tmp_path, said=said, closed=closed)
    done = subprocess.run([sys.executable, "-c", text], check=False, capture_output=True, text=True)
    assert (done.returncode, said.read_text() if said.exists() else done.stderr) == (0, "[1]")


BARE = """
import os, sys
sys.path.insert(0, "{tests}")
import conftest
from ansible_collections.holdfast.supervision.plugins.module_utils._lease import nfs, trees
from ansible_collections.holdfast.supervision.plugins.module_utils._lease._nfs import judge, store
store.judge = lambda _directory, _host: judge.Verdict(60, [], {{}})
for number in {closed}:
    os.close(number)
driver = nfs.Nfs("one", {{"directory": "{directory}", "containment": trees.GROUP}})
driver.register("db", "exclusive")
tokens = [grant.token for grant in driver.acquire()]
driver.renew()
with open("{said}", "w") as file:
    file.write(str(tokens))
driver.free()
"""


# -- whose name it is


@pytest.fixture
def boots(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Has stores that are made from then on think that they are of another boot."""
    return lambda number: monkeypatch.setattr(trees, "boot", lambda: number)


def stored(directory: Path, host: str = "here") -> store.Store:
    return store.Store(str(directory), "one", host, None, os.getpid(), FIRST)


def test_two_living_hosts_of_one_name_are_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, boots: Callable[[str], None]
) -> None:
    monkeypatch.setattr(store, "judge", lambda _directory, _host: judge.Verdict(60, [], {}))
    wanted = [("db", "exclusive")]
    boots("first")
    first = stored(tmp_path)
    first.acquire(wanted, {}, float("inf"))
    boots("second")
    second = stored(tmp_path)
    # It may be the same host, started anew.
    second.probe()
    assert not second.may_have(wanted, 0.0)
    boots("first")
    first.renew()
    boots("second")
    for again in (lambda: second.may_have(wanted, 0.0), second.probe, lambda: second.acquire(wanted, {}, float("inf"))):
        with pytest.raises(DriverRefused, match="another host calls itself here as well"):
            again()
    boots("first")
    first.renew()
    first.release(None)


def test_a_host_that_was_started_anew_and_others_of_another_name_are_nobodys_rivals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, boots: Callable[[str], None]
) -> None:
    monkeypatch.setattr(store, "judge", lambda _directory, _host: judge.Verdict(60, [], {}))
    boots("first")
    stored(tmp_path).probe()
    other = stored(tmp_path, "other")
    other.acquire([("web", "exclusive")], {}, float("inf"))
    boots("second")
    for one in (stored(tmp_path), stored(tmp_path)):
        for _twice in range(2):
            one.probe()
    boots("first")
    other.renew()
    boots("second")
    one.probe()


def test_who_only_asks_about_the_store_takes_the_name_from_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, boots: Callable[[str], None]
) -> None:
    monkeypatch.setattr(store, "judge", lambda _directory, _host: judge.Verdict(60, [], {}))
    stored(tmp_path, "other").acquire([("db", "exclusive")], {}, float("inf"))
    boots("first")
    standby = stored(tmp_path)
    assert not standby.may_have([("db", "exclusive")], 0.0)
    # As lease_info does on another host of that name.
    boots("second")
    stored(tmp_path).probe()
    boots("first")
    assert not standby.may_have([("db", "exclusive")], 0.0)


def test_one_in_line_hears_that_another_host_has_its_name(
    make: Make, tmp_path: Path, boots: Callable[[str], None]
) -> None:
    one, two = make("one", "db", host="a"), make("two", "db", host="b")
    one.acquire()
    with pytest.raises(Busy):
        two.acquire()
    page = tmp_path / "host.b"
    page.write_bytes(layout.encode({"boot": "another", "machine": "4711"}))
    with pytest.raises(DriverRefused, match="machine 4711"):
        two.line_up()


def test_one_in_line_goes_on_waiting_while_its_guard_asks_for_other_things(make: Make) -> None:
    one, two = make("one", "db", host="a"), make("two", "db", host="b")
    one.acquire()
    two.prepare_line()
    waiter = os.fork()
    if not waiter:
        try:
            two.line_up()
            os._exit(0)
        finally:
            os._exit(1)
    # Many, so that whoever waits beside would get some of the answers.
    assert [two.cancel("h") for _unused in range(200)] == ["unknown"] * 200
    one.release()
    ended: list[tuple[int, int]] = []

    def has_ended() -> bool:
        ended.append(os.waitpid(waiter, os.WNOHANG))
        return ended[-1][0] == waiter

    try:
        wait_until(has_ended, message="the end of the one in line")
    finally:
        if ended[-1][0] != waiter:
            os.kill(waiter, signal.SIGKILL)
            os.waitpid(waiter, 0)
    assert os.waitstatus_to_exitcode(ended[-1][1]) == 0
    assert two.acquire()[0].token == 2


def test_what_a_dead_guard_held_is_given_back_after_the_end_of_its_tree(make: Make, tmp_path: Path) -> None:
    two = make("two", "db", host="b")
    guard = subprocess.Popen(
        [sys.executable, "-c", GUARD.format(tests=Path(__file__).parents[3], directory=tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert guard.stdout is not None
    first, left = map(int, guard.stdout.readline().split())
    started = identity.start_time(first)
    try:
        guard.kill()
        guard.wait()
        # The first process is ended in the guard's place. The other one does not show whose it is, so that it is waited for.
        wait_until(lambda: not identity.alive(first, started), message="the end of the tree's first process")
        with pytest.raises(Busy, match="one@a"):
            two.acquire()
    finally:
        os.kill(left, signal.SIGKILL)
    two.line_up()
    # Not waited for by the time: it was given back.
    assert two.acquire()[0].token == 2


GUARD = """
import subprocess, sys, time
sys.path.insert(0, "{tests}")
import conftest
from ansible_collections.holdfast.supervision.plugins.module_utils._lease import nfs, trees
from ansible_collections.holdfast.supervision.plugins.module_utils._lease._nfs import judge, store
from ansible_collections.holdfast.supervision.plugins.module_utils._supervise._embedded import identity
store.judge = lambda _directory, _host: judge.Verdict(60, [], {{}})
driver = nfs.Nfs("one", {{"directory": "{directory}", "containment": trees.GROUP}})
driver.host = "a"
driver.register("db", "exclusive")
driver.acquire()
script = "sleep 1000 >/dev/null & echo $!; wait"
tree = subprocess.Popen(["sh", "-c", script], start_new_session=True, stdout=subprocess.PIPE, text=True)
left = tree.stdout.readline().strip()
driver.bind(tree.pid, identity.start_time(tree.pid))
driver.renew()
print(tree.pid, left, flush=True)
time.sleep(1000)
"""


def test_holders_are_told_with_their_hosts_and_notes(make: Make) -> None:
    one = make("one", "db", "web", host="a")
    one.note = {"owner": "me"}
    one.acquire()
    one.annotate({"owner": "you"})
    two = make("two", host="b")
    [holder] = two.owners("db")
    assert (holder.name, holder.host, holder.token, holder.alive) == ("one", "a", 1, None)
    assert holder.note == {"owner": "you"}
    assert [(one.resource, one.host) for one in two.all_owners()] == [("db", "a"), ("web", "a")]
    with pytest.raises(LeaseError, match="more than the 4096"):
        one.annotate({"owner": "x" * 4000})
    assert two.owners("nothing") == []
    kill_hand(one)
    # Who may still run is told of, and is nobody to count on.
    assert [one.name for one in two.owners("db")] == ["one"]
    assert two.all_owners() == []


# -- where it is


def nfs(**options: str) -> mounts.Mount:
    given = {"vers": "4.2", "local_lock": "none", **options}
    text = ",".join(f"{name}={value}" if value else name for name, value in given.items())
    return mounts.Mount("/srv", given.pop("kind", "nfs4"), "server:/leases", f"rw,hard,{text}")


@pytest.mark.parametrize(
    ("mount", "said"),
    [
        (mounts.Mount("/", "ext4", "/dev/vda1", "rw"), "is on ext4 of this host, and scope is hosts"),
        (
            mounts.Mount("/srv", "nfs", "server:/leases", "rw,vers=3,local_lock=none"),
            "NFS 3, whose locks never run out",
        ),
        (mounts.Mount("/srv", "nfs4", "server:/leases", "rw,vers=4.0,local_lock=none"), "NFS 4.0; 4.1 is the least"),
        (nfs(local_lock="all"), "local_lock=all: its locks"),
        (nfs(local_lock="posix"), "local_lock=posix"),
        (nfs(nolock=""), "nolock"),
        (mounts.Mount("/srv", "cifs", "//server/leases", "rw,vers=3.1.1"), "is on cifs. Of file systems"),
        (mounts.Mount("/srv", "gfs2", "/dev/sdb", "rw"), "is on gfs2"),
        (mounts.Mount("/srv", "fuse.sshfs", "server:", "rw"), "is on fuse.sshfs"),
        (mounts.Mount("/srv", "", "", ""), "an unknown file system"),
    ],
)
def test_what_keeps_no_lease_between_hosts_is_refused(mount: mounts.Mount, said: str) -> None:
    with pytest.raises(DriverRefused) as raised:
        judge._judge_mount("/srv/leases", mount)
    assert said in str(raised.value)


@pytest.mark.parametrize("version", ["4.1", "4.2"])
def test_newer_nfs_is_taken(version: str) -> None:
    judge._judge_mount("/srv/leases", nfs(vers=version))


def test_nothing_is_made_where_the_mount_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DriverRefused, match="of this host"):
        judge.judge(str(tmp_path / "leases"), "a")
    assert not (tmp_path / "leases").exists()


# A mount point of autofs, which mounts a tmpfs when somebody looks, in a mount namespace of its own.
AUTOMOUNTED = """\
import ctypes, fcntl, os, select, struct, sys
point, tests = sys.argv[1:]
mount = ctypes.CDLL(None).mount
ask, asked = os.pipe()
os.setpgid(0, 0)
options = f"fd={asked},pgrp={os.getpgrp()},minproto=5,maxproto=5,direct"
assert mount(b"auto", point.encode(), b"autofs", 0, options.encode()) == 0
looker = os.fork()
if not looker:
    os.setpgid(0, 0)
    sys.path.insert(0, tests)
    import conftest
    from ansible_collections.holdfast.supervision.plugins.module_utils._lease._nfs import judge
    try:
        judge.judge(point, "a")
    except judge.DriverRefused as error:
        print(error, flush=True)
    os._exit(0)
os.close(asked)
root = os.open(point, os.O_RDONLY)
while not os.waitpid(looker, os.WNOHANG)[0]:
    if not select.select([ask], [], [], 0.05)[0]:
        continue
    packet = os.read(ask, 4096)
    assert mount(b"auto", point.encode(), b"tmpfs", 0, None) == 0
    fcntl.ioctl(root, 0x9360, struct.unpack_from("I", packet, 8)[0])
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts")
@pytest.mark.skipif("autofs" not in Path("/proc/filesystems").read_text(), reason="this kernel has no autofs")
def test_what_is_mounted_when_somebody_looks_is_looked_at(tmp_path: Path) -> None:
    script = (sys.executable, "-c", AUTOMOUNTED, str(tmp_path), str(Path(__file__).parents[3]))
    command = ("unshare", "--mount", "--propagation=private", *script)
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert "is on tmpfs of this host" in done.stdout, done


def test_a_directory_is_proved_for_each_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mounts, "mount", lambda _path: nfs())
    monkeypatch.setattr(judge.owners, "judge", lambda _path: None)
    monkeypatch.setattr(mounts, "lease_time", lambda _point, _statistics: 90)
    assert [hole.name for hole in judge.judge(str(tmp_path), "a").holes] == ["unproved"]
    (tmp_path / "proved.a").touch()
    assert judge.judge(str(tmp_path), "a").holes == []
    assert [hole.name for hole in judge.judge(str(tmp_path), "b").holes] == ["unproved"]


STATISTICS = """\
device sysfs mounted on /sys with fstype sysfs
device server:/one mounted on /srv with fstype nfs4 statvers=1.1
\topts:\trw,vers=4.2
\tnfsv4:\tbm0=0xfdffbfff,acl=0x3,sessions,pnfs=not configured,lease_time=90,lease_expired=0
device server:/with\\040blank mounted on /srv/a\\040b with fstype nfs4 statvers=1.1
\tnfsv4:\tbm0=0xfdffbfff,acl=0x3,sessions,pnfs=not configured,lease_time=10,lease_expired=3
device server:/old mounted on /old with fstype nfs4 statvers=1.1
\tnfsv4:\tbm0=0xfdffbfff,acl=0x3,sessions,pnfs=not configured
device tmpfs mounted on /over with fstype tmpfs
"""


@pytest.mark.parametrize(
    ("point", "seconds"), [("/srv", 90), ("/srv/a b", 10), ("/old", None), ("/over", None), ("/none", None)]
)
def test_the_servers_time_is_read_from_the_mounts_statistics(point: str, seconds: int | None) -> None:
    assert mounts.lease_time(point, STATISTICS) == seconds
    assert (
        mounts.lease_time(point, STATISTICS + f"device tmpfs mounted on {point.replace(' ', chr(92) + '040')} with\n")
        is None
    )


# -- what is said


def test_it_cannot_do_without_a_guard() -> None:
    assert none.Nothing.name in drivers.DRIVERS
    assert "driver file with scope hosts needs a guard beside the service" in execution.refusal(Nfs)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"scope": "world"}, "neither host nor hosts"),
        ({"scope": "hosts", "directory": "leases"}, "is not an absolute path"),
        ({"scope": "hosts", "ttl": "1"}, "ttl: '1' is no number of seconds from 5 to 3600"),
        ({"scope": "hosts", "poll": "often"}, "poll: 'often' is no number"),
        ({"scope": "hosts", "proof": "none"}, "proof: 'none' is not pending"),
        ({"scope": "hosts", "colour": "red"}, "unknown parameter colour"),
        ({"scope": "host", "ttl": "10"}, "unknown parameter ttl"),
    ],
)
def test_wrong_parameters_are_refused(parameters: dict[str, str], said: str) -> None:
    with pytest.raises(DriverRefused, match=said):
        drivers.make("file", "one", {"directory": "/srv/leases", **parameters})
