# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every lease driver has to do. Each behaviour runs on every store; tests/leasing.py says how to add one."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest
from leasing import Store
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._lease import handover, interface

Make = Callable[..., interface.Driver]

EXCLUSIVE, SHARED, READONLY = interface.MODES


def tokens(driver: interface.Driver) -> dict[str, int]:
    return {grant.resource: grant.token for grant in driver.held()}


def now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def waits(driver: interface.Driver) -> int:
    """Let a child stand in line for the driver, as a guard does; give its pid."""
    driver.prepare_line()
    pid = os.fork()
    if not pid:
        try:
            driver.line_up()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return pid


def ended(pid: int) -> bool:
    return os.waitpid(pid, os.WNOHANG)[0] == pid


# -- loading and parameters


def test_it_works_with_this_core_and_says_what_it_can(store: Store) -> None:
    driver = store.driver()
    assert driver.api <= interface.CORE_API
    assert driver.capabilities <= interface.CAPABILITIES
    assert interface.TOKEN in driver.capabilities


def test_it_refuses_a_core_of_another_kind(store: Store) -> None:
    with pytest.raises(interface.DriverNotLoaded):
        store.driver().load((interface.CORE_API[0] + 1, 0), interface.CORE_FEATURES)
    with pytest.raises(interface.DriverNotLoaded):
        store.driver().load(interface.CORE_API, frozenset())


def test_an_unknown_parameter_is_an_error_that_names_the_known_ones(store: Store) -> None:
    with pytest.raises(interface.DriverRefused, match="unknown parameter colour") as caught:
        store.driver()("t", {**store.parameters(), "colour": "blue"})
    for name in store.parameters():
        assert name in str(caught.value)


def test_probing_may_be_repeated_and_holds_nothing(make: Make) -> None:
    one = make("one", "r")
    assert [hole.name for hole in one.probe()] == [hole.name for hole in one.probe()]
    assert all(isinstance(value, str) for value in one.facts().values())
    assert one.held() == []
    assert make("other", "r").acquire()


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", "-a", "é", "a\n", "x" * 65])
def test_a_name_that_cannot_be_is_refused(make: Make, name: str) -> None:
    with pytest.raises(interface.DriverRefused):
        make("one").register(name, EXCLUSIVE)


def test_a_mode_that_is_none_and_a_name_given_twice_are_refused(make: Make) -> None:
    one = make("one", "r")
    with pytest.raises(interface.DriverRefused):
        one.register("s", "often")
    with pytest.raises(interface.DriverRefused):
        one.register("r", SHARED)
    one.acquire()
    assert list(tokens(one)) == ["r"]


# -- who excludes whom


def knows(store: Store, *modes: str) -> bool:
    """Say whether the driver has these modes; one that it has not it refuses."""
    capabilities = store.driver().capabilities
    return all(mode == EXCLUSIVE or mode in capabilities for mode in modes)


@pytest.mark.parametrize("mode", interface.MODES)
def test_a_mode_that_is_not_declared_is_refused(store: Store, make: Make, mode: str) -> None:
    if knows(store, mode):
        make("one", f"r:{mode}").acquire()
        return
    with pytest.raises(interface.DriverRefused, match=mode):
        make("one", f"r:{mode}")


@pytest.mark.parametrize("first", interface.MODES)
@pytest.mark.parametrize("second", interface.MODES)
def test_the_table_of_modes(store: Store, make: Make, first: str, second: str) -> None:
    if not knows(store, first, second):
        pytest.skip("not a mode of this driver")
    one, other = make("one", f"r:{first}"), make("other", f"r:{second}")
    one.acquire()
    if (first, second) in {(SHARED, SHARED), (READONLY, READONLY)}:
        assert tokens(other) == {}
        other.acquire()
        assert tokens(other)["r"] > tokens(one)["r"] - (not store.numbers_shares)
        return
    with pytest.raises(interface.Busy) as caught:
        other.acquire()
    assert caught.value.resource == "r"
    assert caught.value.holders
    assert any("one" in holder for holder in caught.value.holders) or not store.tells_names
    assert other.held() == []
    one.release()
    assert other.acquire()


def test_all_or_nothing(make: Make) -> None:
    holder, both = make("holder", "b"), make("both", "a", "b", "c")
    holder.acquire()
    with pytest.raises(interface.Busy):
        both.acquire()
    assert both.held() == []
    make("third", "a", "c").acquire()


def test_an_exclusive_one_waits_for_the_last_of_several_shared_ones(make: Make) -> None:
    sharers = [make(f"s{at}", "r:shared") for at in range(3)]
    alone = make("alone", "r")
    last = max(one.acquire()[0].token for one in sharers)
    for one in sharers:
        with pytest.raises(interface.Busy):
            alone.acquire()
        one.release()
    alone.acquire()
    assert tokens(alone)["r"] > last


def test_what_is_held_is_granted_again_to_its_holder_only(make: Make) -> None:
    one = make("one", "r", "s")
    first = [(grant.resource, grant.token) for grant in one.acquire()]
    assert [(grant.resource, grant.token) for grant in one.acquire()] == first
    with pytest.raises(interface.Busy):
        make("one", "r").acquire()


def test_many_resources_at_once(make: Make) -> None:
    names = [f"r{at}" for at in range(32)]
    one = make("one", *names)
    one.acquire()
    assert sorted(tokens(one)) == sorted(names)
    one.release()
    make("other", *names).acquire()


# -- limits


def test_as_many_resources_as_it_declares_and_not_one_more(store: Store, make: Make) -> None:
    most = store.driver().most_resources
    if most is None:
        pytest.skip(f"{store.name} declares no limit")
    names = [f"r{at}" for at in range(most)]
    one = make("one", *names, **store.patient)
    with pytest.raises(interface.DriverRefused, match=str(most)):
        one.register("more", EXCLUSIVE)
    assert [grant.resource for grant in one.acquire()] == names
    one.release(names[0])
    one.register("more", EXCLUSIVE)
    one.acquire()
    assert "more" in tokens(one)


def test_a_time_that_is_shorter_than_it_declares_is_refused_by_its_name(store: Store) -> None:
    driver = store.driver()
    shortest = driver.shortest_ttl
    if "ttl" not in driver.parameters:
        pytest.skip(f"{store.name} is told no time")
    assert shortest > 0
    assert driver("t", {**store.parameters(), "ttl": shortest}).ttl == shortest
    with pytest.raises(interface.DriverRefused, match="ttl"):
        driver("t", {**store.parameters(), "ttl": shortest * 0.99})


# -- tokens


def test_tokens_only_grow(make: Make) -> None:
    last = 0
    for at in range(6):
        one = make(f"t{at}", "r:shared" if at % 2 else "r")
        one.acquire()
        assert tokens(one)["r"] > last
        last = tokens(one)["r"]
        one.release()


def test_the_token_of_a_shared_holder_that_came_and_went_is_not_given_again(make: Make) -> None:
    stays, goes = make("stays", "r:shared"), make("goes", "r:shared")
    stays.acquire()
    goes.acquire()
    last = tokens(goes)["r"]
    goes.release()
    stays.release()
    after = make("after", "r")
    after.acquire()
    assert tokens(after)["r"] > last


def test_contenders_get_in_one_at_a_time_with_numbers_of_their_own(
    make: Make, tmp_path_factory: pytest.TempPathFactory
) -> None:
    inside = tmp_path_factory.mktemp("contenders")
    contenders = [make(f"c{at}") for at in range(4)]
    for one in contenders:
        one.free()
    children = []
    for at, one in enumerate(contenders):
        pid = os.fork()
        if not pid:
            try:
                _contend(one, inside, at, 8)
                os._exit(0)
            finally:
                os._exit(1)
        children.append(pid)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [0] * len(children)
    numbers = [int(line) for one in inside.glob("tokens.*") for line in one.read_text().split()]
    assert len(numbers) == len(set(numbers)) == 4 * 8


def _contend(one: interface.Driver, inside: os.PathLike[str], at: int, rounds: int) -> None:
    with open(f"{inside}/tokens.{at}", "w") as mine:
        while rounds:
            one.register("r", EXCLUSIVE)
            try:
                grant = one.acquire()[0]
            except (interface.Busy, interface.StoreUnavailable):
                # Somebody has it, or the store had too much to do to say so in its time. Nothing is held.
                one.forget("r")
                time.sleep(0.001 * at)
                continue
            os.mkdir(f"{inside}/somebody")
            mine.write(f"{grant.token}\n")
            os.rmdir(f"{inside}/somebody")
            wait_until(lambda: _released(one))
            rounds -= 1


def _released(one: interface.Driver) -> bool:
    """Give everything back; False if the store had too much to do: it is held on then, and may be given back again."""
    try:
        one.release()
    except interface.StoreUnavailable:
        return False
    return True


# -- giving back


def test_what_is_not_held_cannot_be_given_back(make: Make) -> None:
    one = make("one", "r", "s")
    with pytest.raises(interface.NotHeld):
        one.release("r")
    one.acquire()
    with pytest.raises(interface.NotHeld):
        one.release("t")
    assert sorted(tokens(one)) == ["r", "s"]


def test_one_is_given_back_and_the_others_stay(make: Make) -> None:
    one, other = make("one", "r", "s"), make("other", "r")
    one.acquire()
    one.release("r")
    assert list(tokens(one)) == ["s"]
    other.acquire()
    with pytest.raises(interface.Busy):
        make("third", "s").acquire()
    with pytest.raises(interface.NotHeld):
        one.release("r")


def test_one_is_added_later_or_nothing_has_changed(make: Make) -> None:
    one, other = make("one", "r"), make("other", "t")
    one.acquire()
    other.acquire()
    before = tokens(one)["r"]
    one.register("s", EXCLUSIVE)
    one.acquire()
    assert tokens(one)["r"] == before
    one.register("t", EXCLUSIVE)
    with pytest.raises(interface.Busy):
        one.acquire()
    assert sorted(tokens(one)) == ["r", "s"]
    one.forget("t")
    one.acquire()
    other.release()
    make("third", "t").acquire()


def test_forgetting_leaves_alone_what_is_held(make: Make) -> None:
    one = make("one", "r")
    one.acquire()
    one.forget("r")
    one.forget("unheard of")
    assert list(tokens(one)) == ["r"]
    with pytest.raises(interface.Busy):
        make("other", "r").acquire()


def test_a_driver_that_gave_everything_back_can_begin_anew(make: Make) -> None:
    one = make("one", "r")
    one.acquire()
    first = tokens(one)["r"]
    one.release()
    assert one.held() == []
    one.register("r", EXCLUSIVE)
    one.acquire()
    assert tokens(one)["r"] > first


def test_freeing_may_be_repeated(make: Make) -> None:
    one = make("one", "r")
    one.acquire()
    one.release()
    one.free()
    one.free()


def test_the_owners_are_named(store: Store, make: Make) -> None:
    one, other = make("one", "r:shared"), make("other", "r:shared")
    assert one.owners("r") == []
    one.acquire()
    other.acquire()
    # A store that gives both the same token may name them in any order.
    owners = sorted(one.owners("r"), key=lambda owner: (owner.token, owner.name))
    assert {(owner.mode, owner.resource) for owner in owners} == {(SHARED, "r")}
    assert len(owners) == 2
    if store.tells_names:
        assert ["one" in owners[0].name, "other" in owners[1].name] == [True, True]
        assert [owner.token for owner in owners] == [tokens(one)["r"], tokens(other)["r"]]
        assert {owner.pid for owner in owners} == {os.getpid()}
    assert all(abs(owner.since - time.time()) < 60 or owner.since == 0 for owner in owners)


# -- the line


@pytest.mark.parametrize(("first", "second"), [(SHARED, READONLY), (READONLY, SHARED)])
def test_who_reads_waits_for_the_last_who_writes_and_the_other_way_round(
    store: Store, make: Make, first: str, second: str
) -> None:
    if not knows(store, first, second):
        pytest.skip("not modes of this driver")
    one, two, other, third = (make(name, f"r:{mode}") for name, mode in zip("abcd", (first, first, second, second)))
    one.acquire()
    two.acquire()
    waiter = waits(other)
    one.release()
    assert not ended(waiter)
    with pytest.raises(interface.Busy):
        other.acquire()
    two.release()
    wait_until(lambda: ended(waiter))
    assert other.acquire()
    assert third.acquire()


def test_one_in_line_is_told_when_it_is_free(make: Make) -> None:
    one, other = make("one", "r"), make("other", "r")
    one.acquire()
    with pytest.raises(interface.Busy):
        other.acquire()
    waiter = waits(other)
    assert not ended(waiter)
    one.release()
    wait_until(lambda: ended(waiter))
    assert other.acquire()


def test_one_that_leaves_the_line_holds_nothing(make: Make) -> None:
    one, other, third = make("one", "r"), make("other", "r"), make("third", "r")
    one.acquire()
    with pytest.raises(interface.Busy):
        other.acquire()
    waiter = waits(other)
    os.kill(waiter, signal.SIGKILL)
    os.waitpid(waiter, 0)
    other.leave_line()
    one.release()
    other.free()
    third.acquire()


def test_a_line_for_what_is_free_is_none(make: Make) -> None:
    one = make("one", "r")
    waiter = waits(one)
    wait_until(lambda: ended(waiter))
    assert one.acquire()


# -- who comes first in line


@pytest.fixture
def standing(store: Store, make: Make) -> Make:
    """Makes drivers of which some come first, with grants that are good for a while."""
    if not {"preference", "fail_back"} <= store.driver().parameters:
        pytest.skip(f"{store.name} knows nobody who comes first")
    return lambda *words, **parameters: make(*words, **store.patient, **parameters)


def leaves(driver: interface.Driver, waiter: int) -> None:
    """Kill one in line, with all that works for it."""
    os.kill(waiter, signal.SIGKILL)
    os.waitpid(waiter, 0)
    driver.leave_line()
    driver.free()


def wished_by(holder: interface.Driver, *others: interface.Driver) -> str:
    """Name who is to have what *holder* holds, by another look. The others are kept alive."""
    for one in (holder, *others):
        one.renew()
    return holder.preferred()


def undisturbed(holder: interface.Driver, *others: interface.Driver) -> bool:
    """Say whether nobody wishes for what *holder* holds, by some looks: whoever wishes says so again and again."""
    for _unused in range(8):
        if wished_by(holder, *others):
            return False
        time.sleep(0.05)
    return True


def test_of_those_in_line_the_one_that_comes_first_gets_it(standing: Make) -> None:
    holder = standing("holder", "r")
    later, first = standing("later", "r", preference=20), standing("first", "r")
    holder.acquire()
    last = waits(later)
    begun = waits(first)
    holder.release()
    wait_until(lambda: ended(begun))
    assert first.acquire()
    assert not ended(last)
    leaves(later, last)


def test_nobody_waits_for_one_that_comes_first_and_has_died(standing: Make) -> None:
    holder = standing("holder", "r")
    later, first = standing("later", "r", preference=1), standing("first", "r")
    holder.acquire()
    last = waits(later)
    leaves(first, waits(first))
    holder.release()
    wait_until(lambda: ended(last))
    assert later.acquire()


def test_a_holder_hears_of_one_in_line_that_comes_first_as_long_as_that_is_there(standing: Make) -> None:
    holder = standing("holder", "r", "s", preference=2)
    after = standing("after", "r", preference=3, fail_back=0.1)
    first = standing("first", "r", preference=1, fail_back=0.1)
    holder.acquire()
    assert wished_by(holder) == ""
    second = waits(after)
    waiter = waits(first)
    wait_until(lambda: wished_by(holder) != "")
    assert holder.preferred().startswith("first")
    leaves(first, waiter)
    # Who comes after it goes on wishing in vain.
    wait_until(lambda: undisturbed(holder))
    assert not ended(second)
    leaves(after, second)


def test_nothing_is_wished_for_that_could_not_be_used_as_somebody_else_holds_the_rest(standing: Make) -> None:
    first, last = standing("first", "r"), standing("last", "s", preference=2)
    both = standing("both", "r", "s", preference=1, fail_back=0.1)
    alone = standing("alone", "s", preference=1, fail_back=0.1)
    first.acquire()
    last.acquire()
    last.renew()
    waiter, other = waits(both), waits(alone)
    wait_until(lambda: wished_by(last, first) != "")
    assert last.preferred().startswith("alone")
    leaves(alone, other)
    wait_until(lambda: undisturbed(last, first))
    assert undisturbed(first, last)
    leaves(both, waiter)


# -- a process that holds by itself what the service it becomes needs


@pytest.fixture
def executing(store: Store) -> Store:
    if interface.EXEC not in store.driver().capabilities:
        pytest.skip(f"{store.name} needs a guard beside the service")
    return store


def executed(driver: interface.Driver) -> int:
    """Let a child get what *driver* has registered, and become another program; give its pid when it is that."""
    begun, begin = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            driver.acquire()
            for descriptor in driver.become():
                os.set_inheritable(descriptor, True)
            # The end of this one says that the program runs: nothing else of ours goes on in it.
            os.execv("/bin/sleep", ["sleep", "1000"])
        finally:
            os._exit(1)
    os.close(begin)
    assert os.read(begun, 1) == b""
    os.close(begun)
    return pid


def test_what_a_process_has_taken_with_it_is_held_until_it_ends(executing: Store, make: Make) -> None:
    one, other, sharer = make("one", "r", "s:shared"), make("other", "r"), make("sharer", "s:shared")
    pid = executed(one)
    one.free()
    try:
        for _unused in range(2):
            with pytest.raises(interface.Busy):
                other.acquire()
        sharer.acquire()
        owners = other.owners("r")
        assert [owner.pid for owner in owners] == [pid] or not executing.tells_names
        waiter = waits(other)
        assert not ended(waiter)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    wait_until(lambda: ended(waiter))
    other.acquire()
    assert tokens(other)["r"] > owners[0].token


def test_what_is_open_without_a_guard_is_named(executing: Store, make: Make) -> None:
    one = make("one", "r")
    assert one.exec_holes()
    assert all(hole.name and hole.text for hole in one.exec_holes())
    assert not {hole.name for hole in one.exec_holes()} & {hole.name for hole in one.probe()}
    assert one.held() == []


def test_a_driver_that_needs_a_guard_says_so(store: Store, make: Make) -> None:
    if interface.EXEC in store.driver().capabilities:
        pytest.skip(f"{store.name} needs none")
    one = make("one", "r")
    one.acquire()
    with pytest.raises(interface.LeaseError, match="needs a guard"):
        one.become()
    assert list(tokens(one)) == ["r"]


# -- grants that run out


@pytest.fixture
def renewing(store: Store) -> Store:
    if interface.RENEWS not in store.driver().capabilities:
        pytest.skip(f"grants of {store.name} don't run out")
    return store


def test_a_grant_counts_from_before_it_was_asked_for(renewing: Store, make: Make) -> None:
    one = make("one", "r")
    before = now()
    one.acquire()
    first = one.good_from
    assert one.ttl
    assert before <= first <= now()
    before = now()
    one.renew()
    assert before <= one.good_from <= now()


def test_what_is_renewed_is_kept_and_what_is_not_runs_out(renewing: Store, make: Make) -> None:
    one, other = make("one", "r"), make("other", "r")
    one.acquire()
    waiter = waits(other)
    end = now() + 2 * (one.ttl or 0)
    while now() < end:
        one.renew()
        assert not ended(waiter)
        time.sleep(0.1)
    kept = one.good_from
    wait_until(lambda: ended(waiter))
    assert now() > kept + (one.ttl or 0)
    other.acquire()
    assert tokens(other)["r"] > tokens(one)["r"]
    with pytest.raises(interface.Lost):
        one.renew()


def test_what_somebody_else_has_had_meanwhile_is_lost_for_good(renewing: Store, make: Make) -> None:
    one, other = make("one", "r"), make("other", "r")
    one.acquire()
    renewing.take_away(one)
    other.acquire()
    other.release()
    with pytest.raises(interface.Lost):
        one.renew()


def test_a_late_release_does_not_touch_the_next_holder(renewing: Store, make: Make) -> None:
    one, other = make("one", "r"), make("other", "r")
    one.acquire()
    renewing.take_away(one)
    other.acquire()
    one.release()
    other.renew()
    assert [owner.token for owner in other.owners("r")] == [tokens(other)["r"]]
    with pytest.raises(interface.Busy):
        make("third", "r").acquire()


def test_what_was_taken_away_is_lost_and_the_store_tells(renewing: Store, make: Make) -> None:
    one = make("one", "r", "s:shared")
    one.acquire()
    one.renew()
    renewing.take_away(one)
    if one.lost_fd() >= 0 and renewing.announces:

        def told() -> bool:
            try:
                one.look()
            except interface.Lost:
                return True
            return False

        wait_until(told)
    with pytest.raises(interface.Lost):
        one.renew()
    one.register("t", EXCLUSIVE)
    with pytest.raises(interface.LeaseError):
        one.acquire()


# -- a store that does not answer


@pytest.fixture
def silent(store: Store) -> Store:
    if not store.breakable:
        pytest.skip(f"{store.name} answers or is not there")
    return store


def test_a_silent_store_grants_nothing_in_bounded_time(silent: Store, make: Make) -> None:
    one = make("one", "r")
    silent.silence()
    try:
        with pytest.raises(interface.StoreUnavailable):
            one.acquire()
        assert one.held() == []
    finally:
        silent.heal()
    one.acquire()
    assert list(tokens(one)) == ["r"]


def test_a_renewal_without_an_answer_is_none(silent: Store, make: Make) -> None:
    one = make("one", "r", **silent.patient)
    one.acquire()
    before = one.good_from
    silent.silence()
    try:
        with pytest.raises(interface.StoreUnavailable):
            one.renew()
        assert one.good_from == before
        assert list(tokens(one)) == ["r"]
    finally:
        silent.heal()
    one.renew()
    assert one.good_from > before


def test_what_could_not_be_given_back_counts_as_held(silent: Store, make: Make) -> None:
    one = make("one", "r", **silent.patient)
    one.acquire()
    silent.silence()
    try:
        with pytest.raises(interface.StoreUnavailable):
            one.release()
        assert list(tokens(one)) == ["r"]
    finally:
        silent.heal()
    one.release()
    make("other", "r").acquire()


# -- handing over, and notes


@pytest.fixture
def handing(store: Store) -> Store:
    if interface.HANDOVER not in store.driver().capabilities:
        pytest.skip(f"{store.name} cannot hand over")
    return store


def test_what_is_handed_over_is_granted_to_nobody_else_and_with_the_next_token(handing: Store, make: Make) -> None:
    source, target, third = make("s", "r", "x:shared"), make("t", "r"), make("x", "r")
    source.acquire()
    token = tokens(source)["r"]
    state = source.prepare_out("h", target.identity, 60)
    assert (state.tokens, state.stage) == ({"r": token}, handover.PREPARED)
    with pytest.raises(interface.Busy):
        target.complete_in(state)
    state = source.complete_out("h")
    assert source.held() == []
    for other in (third, make("s", "r"), target):
        with pytest.raises(interface.Busy, match="kept for"):
            other.acquire()
    with pytest.raises(interface.Busy):
        third.complete_in(handover.Handover("another", "s", third.identity, {"r": token}, handover.OUT))
    assert [grant.token for grant in target.complete_in(state)] == [token + 1]
    assert target.handed_over("r") is None


def test_that_a_destination_could_take_over_is_seen_without_holding_anything(handing: Store, make: Make) -> None:
    source, target = make("s", "r"), make("t", "r")
    source.acquire()
    for _unused in range(2):
        target.prepare_in("h")
    assert target.held() == [] and target.handed_over("r") is None
    assert [owner.token for owner in source.owners("r")] == [tokens(source)["r"]]
    source.release()
    make("x", "r").acquire()


def test_a_hand_over_in_which_somebody_got_in_between_is_refused(handing: Store, make: Make) -> None:
    source, target, third = make("s", "r"), make("t", "r"), make("x", "r")
    source.acquire()
    state = source.prepare_out("h", target.identity, 60)
    source.release()
    third.acquire()
    third.release()
    with pytest.raises(handover.Overtaken):
        target.complete_in(state)
    assert target.held() == []


def test_a_second_hand_over_is_refused_until_the_first_was_cancelled(handing: Store, make: Make) -> None:
    source = make("s", "r")
    source.acquire()
    source.prepare_out("h", "t", 60)
    source.prepare_out("h", "t", 60)
    with pytest.raises(handover.UnderWay, match="hand-over h"):
        source.prepare_out("other", "t", 60)
    assert source.cancel("h") == handover.DROPPED
    assert source.cancel("h") == handover.UNKNOWN
    source.prepare_out("other", "t", 60)


def test_a_cancelled_hand_over_gives_the_resource_back_to_its_source_alone(handing: Store, make: Make) -> None:
    source, target, again = make("s", "r"), make("t", "r"), make("s", "r")
    source.acquire()
    token = tokens(source)["r"]
    source.prepare_out("h", target.identity, 60)
    state = source.complete_out("h")
    assert again.cancel("h") == handover.RETURNING
    with pytest.raises(interface.Busy):
        target.complete_in(state)
    assert [grant.token for grant in again.acquire()] == [token + 1]


def test_the_next_guard_of_a_source_finishes_what_the_last_one_had_prepared(handing: Store, make: Make) -> None:
    source, again, target = make("s", "r"), make("s", "r"), make("t", "r")
    source.acquire()
    token = tokens(source)["r"]
    source.prepare_out("h", target.identity, 60)
    with pytest.raises(interface.Busy):
        again.complete_out("h")
    done = source.complete_out("h")
    state = again.complete_out("h")
    assert (state.tokens, state.stage, state.target) == (done.tokens, handover.OUT, target.identity)
    assert [grant.token for grant in target.complete_in(state)] == [token + 1]


def test_a_mark_ends_with_its_time(handing: Store, make: Make) -> None:
    source, third = make("s", "r"), make("x", "r")
    source.acquire()
    source.prepare_out("h", "t", 1)
    source.complete_out("h")
    with pytest.raises(interface.Busy):
        third.acquire()
    wait_until(lambda: third.handed_over("r") is None)
    third.acquire()


def test_a_note_stands_beside_what_is_held(store: Store, make: Make) -> None:
    if interface.NOTE not in store.driver().capabilities:
        pytest.skip(f"{store.name} keeps no notes")
    one = make("one", "r")
    one.annotate({"place": "first"})
    one.acquire()
    assert [owner.note for owner in one.owners("r")] == [{"place": "first"}]
    one.annotate({"place": "second"})
    assert [owner.note for owner in one.owners("r")] == [{"place": "second"}]
    with pytest.raises(interface.LeaseError):
        one.annotate({"much": "x" * 100_000})
    one.release()
    assert one.owners("r") == []
