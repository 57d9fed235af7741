# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The driver file: tokens, names, directories, damage. Real contention is in tests/integration/lease."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._lease import (
    counting,
    drivers,
    interface,
    lockfile,
    modes,
    mounts,
    ofd,
)
from ansible_collections.holdfast.supervision.plugins.module_utils._lease.file import File
from ansible_collections.holdfast.supervision.plugins.module_utils._lease.handover import Handover, Overtaken, UnderWay
from ansible_collections.holdfast.supervision.plugins.module_utils._lease.listing import resources


@pytest.fixture
def leases(tmp_path: Path) -> Path:
    folder = tmp_path / "leases"
    folder.mkdir(mode=0o700)
    return folder


def driver(leases: Path, *names: str, tenant: str = "a", mode: str = interface.EXCLUSIVE_MODE) -> File:
    made = File(tenant, {"directory": str(leases)})
    for name in names:
        made.register(name, mode)
    return made


def tokens(made: File) -> list[int]:
    return [grant.token for grant in made.held()]


def test_every_grant_has_a_greater_token(leases: Path) -> None:
    seen = []
    for _unused in range(20):
        made = driver(leases, "r")
        seen.append(made.acquire()[0].token)
        made.release()
    assert seen == sorted(set(seen))


def test_shared_holders_have_tokens_of_their_own(leases: Path) -> None:
    one, other = (driver(leases, "r", tenant=name, mode=modes.SHARED_MODE) for name in "ab")
    assert one.acquire()[0].token < other.acquire()[0].token
    with pytest.raises(interface.Busy):
        driver(leases, "r").acquire()


def test_of_a_reader_and_a_writer_who_come_at_once_one_is_refused(
    leases: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = (
        driver(leases, "r", tenant=name, mode=mode)
        for name, mode in (("a", modes.READONLY_MODE), ("b", modes.SHARED_MODE))
    )
    real = lockfile.Resource._outlive

    def late(resource: lockfile.Resource, patience: float | None) -> None:
        """Come between the reader's look at others and his entry."""
        real(resource, patience)
        if resource.tenant == "a" and not writer.held():
            writer.acquire()

    monkeypatch.setattr(lockfile.Resource, "_outlive", late)
    with pytest.raises(interface.Busy, match="r: held by b"):
        reader.acquire()
    assert writer.held() and not reader.held()
    writer.release()
    assert reader.acquire()


def test_a_lost_counter_does_not_bring_a_living_holders_token_again(leases: Path) -> None:
    one = driver(leases, "r", mode=modes.SHARED_MODE)
    one.acquire()
    (leases / "r.token").unlink()
    assert driver(leases, "r", mode=modes.SHARED_MODE).acquire()[0].token > tokens(one)[0]


def test_a_lock_file_that_is_exchanged_between_open_and_lock_is_not_the_one_that_is_held(
    leases: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, beside = leases / "r.lock", leases / "r.lock.new"
    real = ofd.lock

    def late(*arguments: Any, **named: Any) -> bool:
        if file.exists() and not beside.exists() and not moved:
            moved.append(file.stat().st_ino)
            beside.touch()
            beside.rename(file)
        return real(*arguments, **named)

    moved: list[int] = []
    monkeypatch.setattr(ofd, "lock", late)
    made = driver(leases, "r")
    made.acquire()
    assert moved != [file.stat().st_ino]
    # What others will lock is locked.
    with file.open("rb+") as named:
        assert not ofd.lockable(named.fileno(), 0)


def test_a_damaged_counter_lets_nobody_in(leases: Path) -> None:
    (leases / "r.token").write_text("many\n")
    made = driver(leases, "r")
    with pytest.raises(interface.LeaseError, match="is no number"):
        made.acquire()
    assert made.held() == []
    (leases / "r.token").write_text("41\n")
    assert made.acquire()[0].token == 42


def test_a_damaged_holder_file_lets_nobody_in(leases: Path) -> None:
    (leases / "r.holder.7").write_text("?")
    with pytest.raises(interface.LeaseError, match="is damaged"):
        driver(leases, "r").acquire()


def test_a_failed_acquire_leaves_nothing_held(leases: Path) -> None:
    holder = driver(leases, "b", tenant="holder")
    holder.acquire()
    both = driver(leases, "a", "b")
    with pytest.raises(interface.Busy, match=r"b: held by holder \(process"):
        both.acquire()
    assert both.held() == []
    driver(leases, "a", tenant="third").acquire()
    holder.release()
    with pytest.raises(interface.Busy):
        both.acquire()


def test_a_repeated_acquire_gives_the_same_grants(leases: Path) -> None:
    made = driver(leases, "r")
    first = made.acquire()[0].token
    assert [grant.token for grant in made.acquire()] == [first]


def test_one_resource_is_given_back_and_the_other_held(leases: Path) -> None:
    made = driver(leases, "a", "b")
    made.acquire()
    made.release("a")
    assert [grant.resource for grant in made.held()] == ["b"]
    driver(leases, "a", tenant="other").acquire()
    with pytest.raises(interface.NotHeld):
        made.release("a")
    assert [grant.resource for grant in made.held()] == ["b"]


def test_owners_are_told_and_go_with_the_release(leases: Path) -> None:
    made = driver(leases, "r", tenant="billing")
    made.acquire()
    (owner,) = made.owners("r")
    assert (owner.name, owner.pid, owner.alive, owner.token) == ("billing", os.getpid(), True, 1)
    made.release()
    assert made.owners("r") == []
    assert resources(str(leases)) == ["r"]


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "a b", "x" * 65, "ä"])
def test_a_name_that_is_no_file_name_is_refused(leases: Path, name: str) -> None:
    with pytest.raises(interface.DriverRefused):
        driver(leases, name)


def test_a_resource_named_twice_is_refused(leases: Path) -> None:
    with pytest.raises(interface.DriverRefused, match="twice"):
        driver(leases, "r", "r")


def test_an_unknown_parameter_is_refused(leases: Path) -> None:
    with pytest.raises(interface.DriverRefused, match="speed"):
        File("a", {"directory": str(leases), "speed": 9})


def test_a_directory_that_others_may_write_to_is_refused(leases: Path) -> None:
    leases.chmod(0o770)
    with pytest.raises(interface.DriverRefused, match="chmod go-w"):
        driver(leases).probe()


def test_a_link_in_place_of_a_lock_is_not_followed(leases: Path, tmp_path: Path) -> None:
    (leases / "r.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(interface.LeaseError):
        driver(leases, "r").acquire()
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("kind", ["nfs4", "ceph", "fuse.sshfs"])
def test_a_network_file_system_is_refused(leases: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(mounts, "filesystem", lambda _path: kind)
    with pytest.raises(interface.DriverRefused, match=kind):
        driver(leases).probe()


def test_an_unknown_file_system_is_a_hole(leases: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mounts, "filesystem", lambda _path: "newfs")
    assert [hole.name for hole in driver(leases).probe()] == ["filesystem"]


def test_where_a_directory_is_is_told_by_the_mounts() -> None:
    assert mounts.filesystem("/proc/sys") == "proc"


@pytest.fixture
def other() -> Iterator[type[Any]]:
    class Other(File):
        name = "other"

    yield Other


def test_there_is_no_such_driver() -> None:
    with pytest.raises(interface.DriverNotFound, match="there are: etcd, file"):
        drivers.load("nowhere")


@pytest.mark.parametrize("api", [(2, 0), (0, 9), (1, interface.CORE_API[1] + 1)])
def test_a_driver_for_another_interface_is_not_loaded(other: type[Any], api: tuple[int, int]) -> None:
    other.api = api
    with pytest.raises(interface.DriverNotLoaded, match="version"):
        drivers.load("other", {"other": lambda: other})


def test_a_driver_may_refuse_the_core() -> None:
    with pytest.raises(interface.DriverNotLoaded, match="bind"):
        File.load((1, 0), frozenset({"line_up"}))
    with pytest.raises(interface.DriverNotLoaded):
        File.load((2, 0), interface.CORE_FEATURES)


def test_a_driver_that_fails_to_load_is_told_apart(other: type[Any]) -> None:
    def load(_cls: object, _api: object, _features: object) -> None:
        raise FileNotFoundError("no such program")

    other.load = classmethod(load)
    with pytest.raises(interface.DriverNotLoaded, match="no such program"):
        drivers.load("other", {"other": lambda: other})


def test_a_driver_that_declares_what_nobody_knows_is_not_loaded(other: type[Any]) -> None:
    other.capabilities = frozenset({"teleport"})
    with pytest.raises(interface.DriverNotLoaded, match="teleport"):
        drivers.load("other", {"other": lambda: other})


def test_what_is_handed_over_is_granted_to_nobody_else_and_with_the_very_next_token(leases: Path) -> None:
    source, target, third = (driver(leases, "r", tenant=name) for name in "stx")
    token = source.acquire()[0].token
    assert source.prepare_out("h", "t", 60).tokens == {"r": token}
    with pytest.raises(interface.Busy, match="held by s"):
        target.complete_in(source.prepare_out("h", "t", 60))
    state = source.complete_out("h")
    for other in (third, driver(leases, "r", tenant="s"), target):
        with pytest.raises(interface.Busy, match="kept for hand-over h from s to t"):
            other.acquire()
    with pytest.raises(interface.Busy):
        third.complete_in(state)
    assert [grant.token for grant in target.complete_in(state)] == [token + 1]
    assert target.handed_over("r") is None


def test_a_hand_over_in_which_somebody_got_in_between_is_refused(leases: Path) -> None:
    source, target, third = (driver(leases, "r", tenant=name) for name in "stx")
    source.acquire()
    source.prepare_out("h", "t", 0)
    state = Handover("h", "s", "t", {"r": tokens(source)[0]}, "out")
    source.release()
    third.acquire()
    third.release()
    with pytest.raises(Overtaken, match="has been granted since"):
        target.complete_in(state)
    assert tokens(target) == []


def test_a_mark_ends_with_its_time(leases: Path) -> None:
    source, third = driver(leases, "r", tenant="s"), driver(leases, "r", tenant="x")
    source.acquire()
    source.prepare_out("h", "t", 0.05)
    source.release()
    wait_until(lambda: third.handed_over("r") is None)
    third.acquire()


def test_a_second_hand_over_is_refused_until_the_first_was_cancelled(leases: Path) -> None:
    source = driver(leases, "r", tenant="s")
    source.acquire()
    source.prepare_out("h", "t", 60)
    with pytest.raises(UnderWay, match="hand-over h from s to t"):
        source.prepare_out("other", "t", 60)
    assert source.cancel("h") == "dropped"
    assert source.cancel("h") == "unknown"
    source.prepare_out("other", "t", 60)


def test_a_cancelled_hand_over_gives_the_resource_back_to_its_source_alone(leases: Path) -> None:
    source = driver(leases, "r", tenant="s")
    token = source.acquire()[0].token
    source.prepare_out("h", "t", 60)
    state = source.complete_out("h")
    again = driver(leases, "r", tenant="s")
    assert again.cancel("h") == "returning"
    target = driver(leases, "r", tenant="t")
    with pytest.raises(interface.Busy):
        target.complete_in(state)
    assert again.acquire()[0].token == token + 1


def test_a_source_that_ends_without_handing_over_leaves_the_resource_to_anybody(leases: Path) -> None:
    source = driver(leases, "r", tenant="s")
    source.acquire()
    source.prepare_out("h", "t", 60)
    source.release()
    driver(leases, "r", tenant="x").acquire()


def test_a_restarted_source_goes_on_and_ends_the_hand_over(leases: Path) -> None:
    source = driver(leases, "r", tenant="s")
    source.acquire()
    state = source.prepare_out("h", "t", 60)
    # Its guard was killed: the kernel has unlocked, nobody has given anything back.
    source.free()
    for holder in leases.glob("r.holder.*"):
        holder.unlink()
    restarted = driver(leases, "r", tenant="s")
    restarted.acquire()
    restarted.release()
    with pytest.raises(Overtaken):
        driver(leases, "r", tenant="t").complete_in(state)


def test_a_resource_that_the_destination_did_not_expect_comes_along(leases: Path) -> None:
    source, target = driver(leases, "r", "added", tenant="s"), driver(leases, "r", tenant="t")
    source.acquire()
    source.prepare_out("h", "t", 60)
    state = source.complete_out("h")
    assert sorted(grant.resource for grant in target.complete_in(state)) == ["added", "r"]
    with pytest.raises(interface.LeaseError, match="not about more"):
        driver(leases, "more", tenant="t").complete_in(state)


def test_a_note_stands_beside_what_is_held(leases: Path) -> None:
    one = driver(leases, "r")
    one.note = {"until": 5}
    one.acquire()
    assert one.owners("r")[0].note == {"until": 5}
    one.annotate({"until": 6})
    assert driver(leases, "r", tenant="b").owners("r")[0].note == {"until": 6}
    with pytest.raises(interface.LeaseError, match="at most"):
        one.annotate({"text": "x" * 9000})


def test_a_holder_that_locks_the_counter_too_keeps_nobody_waiting_for_ever(leases: Path) -> None:
    one, other = (driver(leases, "r", tenant=name, mode=modes.SHARED_MODE) for name in "ab")
    one.acquire()
    # As a service without a guard can, which has the descriptor.
    (descriptor,) = one.become()
    assert ofd.lock(descriptor, counting.COUNTER)
    with pytest.raises(interface.StoreUnavailable, match="does not let go"):
        other.acquire()
    assert other.held() == []
    ofd.unlock(descriptor, counting.COUNTER)
    other.acquire()
    # What is given back does not hang by it either.
    assert ofd.lock(descriptor, counting.COUNTER)
    other.release()


def test_a_directory_that_cannot_be_read_is_not_an_empty_one(tmp_path: Path) -> None:
    assert resources(str(tmp_path / "missing")) == []
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        resources(str(tmp_path / "file"))
    with pytest.raises(interface.LeaseError, match="Not a directory"):
        File("a", {"directory": str(tmp_path / "file")}).all_owners()
