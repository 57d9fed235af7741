# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Guards with leases that run out, on real etcds: what befalls guard, service and store, and what becomes of the service."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import procs
import pytest
from etcds import ETCD, Cluster, Proxy, certificates, secured_cluster
from guarded import PYTHON, STUBBORN, Guards, overlaps
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._lease import moving
from ansible_collections.holdfast.supervision.plugins.module_utils._lease.handle import Handle

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="pid namespaces need root"),
    pytest.mark.skipif(not ETCD, reason="there is no etcd"),
]

LONG = 30


def stubborn(guards: Guards, name: str, *words: str) -> subprocess.Popen[str]:
    """Start a guard of a service that nobody gets rid of but by force, and that beats."""
    history = guards.base / "history"
    history.touch()
    return guards.start(name, *words, command=(PYTHON, "-I", "-S", "-c", STUBBORN, str(history), name))


def beats(guards: Guards, name: str) -> Callable[[], bool]:
    """Whether anybody of that name has beaten."""
    history = guards.base / "history"
    return lambda: f" {name} " in history.read_text()


def last_beat(guards: Guards) -> float:
    return int((guards.base / "history").read_text().splitlines()[-1].split()[2]) / 1e9


def now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


# -- the guard


def test_the_second_takes_over_after_a_clean_stop_long_before_the_lease_would_have_ended(
    remote: Guards, etcd: Cluster
) -> None:
    remote.use_etcd(etcd.endpoints, ttl=600)
    first = remote.start("a")
    remote.until("a", "active")
    remote.start("b")
    remote.until("b", "standby")
    token = remote.token("a")
    first.terminate()
    assert first.wait(LONG) == 0
    remote.until("b", "active")
    assert remote.token("b") > token


def test_a_killed_guard_takes_its_tree_along_and_the_next_comes_when_the_lease_has_ended(remote: Guards) -> None:
    first = stubborn(remote, "a")
    wait_until(beats(remote, "a"), LONG)
    stubborn(remote, "b")
    remote.until("b", "standby")
    first.kill()
    wait_until(beats(remote, "b"), LONG)
    assert overlaps(remote.base / "history") == (2, [])


def test_a_guard_that_is_stopped_dies_with_its_service_before_the_lease_has_ended(remote: Guards) -> None:
    first = stubborn(remote, "a")
    wait_until(beats(remote, "a"), LONG)
    stubborn(remote, "b")
    remote.until("b", "standby")
    status = remote.call("a", "Status")
    assert 0 < status["valid_for"] <= status["ttl"] == 3
    first.send_signal(signal.SIGSTOP)
    stopped = now()
    assert first.wait(LONG) == -signal.SIGKILL
    # One renewal may have been under way when it was stopped.
    assert last_beat(remote) < stopped + 3
    wait_until(beats(remote, "b"), LONG)
    assert overlaps(remote.base / "history") == (2, [])


def test_guard_init_and_service_stopped_are_no_different(remote: Guards) -> None:
    first = stubborn(remote, "a")
    wait_until(beats(remote, "a"), LONG)
    stubborn(remote, "b")
    init = remote.until("a", "active")["tree"]
    for pid in (first.pid, init, *procs.children(init)):
        procs.kill(pid, signal.SIGSTOP)
    assert first.wait(LONG) == -signal.SIGKILL
    wait_until(beats(remote, "b"), LONG)
    assert overlaps(remote.base / "history") == (2, [])


def test_a_deaf_service_is_killed_before_its_lease_is_given_back(remote: Guards) -> None:
    first = stubborn(remote, "a", "--stop-timeout=0.2")
    wait_until(beats(remote, "a"), LONG)
    stubborn(remote, "b")
    remote.until("b", "standby")
    first.terminate()
    first.wait(LONG)
    wait_until(beats(remote, "b"), LONG)
    assert overlaps(remote.base / "history") == (2, [])


def test_a_store_that_takes_its_time_for_each_answer_grants_all_the_same(guards: Guards, proxy: Proxy) -> None:
    guards.use_etcd(proxy.url, ttl=3)
    # Three answers for a grant: together more than what one call may take.
    proxy.delay = 0.3
    guards.start("a")
    guards.until("a", "active")


def test_one_in_line_is_seldom_woken_as_long_as_nothing_happens(remote: Guards, etcd: Cluster) -> None:
    """It looks each twelve seconds or so, which takes it some turns; whoever looks each second has more in three renewals of another."""
    remote.use_etcd(etcd.endpoints, ttl=7)
    remote.start("a")
    remote.until("a", "active")
    remote.start("b")
    before = remote.until_asleep("b")
    renewed = remote.call("a", "Status")["renewals"]["count"]
    wait_until(lambda: remote.call("a", "Status")["renewals"]["count"] > renewed + 3, LONG)
    assert remote.turns("b") - before <= 12
    assert remote.report("b")["phase"] == "standby"


def test_who_comes_first_gets_what_is_free(remote: Guards) -> None:
    first = remote.start("a")
    remote.until("a", "active")
    # Two seconds are more than a busy machine makes of no time at all.
    remote.start("later", "--parameter=preference=20")
    remote.start("sooner")
    for name in ("later", "sooner"):
        remote.until_in_line(name)
    first.terminate()
    remote.until("sooner", "active")
    assert remote.report("later")["phase"] == "standby"


def test_who_comes_first_gets_it_back_after_a_while(remote: Guards) -> None:
    later = stubborn(remote, "later", "--parameter=preference=1", "--stop-timeout=0.2")
    wait_until(beats(remote, "later"), LONG)
    stubborn(remote, "sooner", "--parameter=fail_back=0.5")
    assert later.wait(LONG) == 69
    assert "makes way for sooner@" in remote.complaints("later")
    wait_until(beats(remote, "sooner"), LONG)
    assert overlaps(remote.base / "history") == (2, [])
    # And there it stays.
    stubborn(remote, "later", "--parameter=preference=1", "--parameter=fail_back=0.1")
    remote.until("later", "standby")
    renewed = remote.call("sooner", "Status")["renewals"]["count"]
    wait_until(lambda: remote.call("sooner", "Status")["renewals"]["count"] > renewed + 2, LONG)
    assert remote.report("sooner")["phase"] == "active"


def test_status_tells_how_long_the_lease_is_good_and_how_renewing_goes(remote: Guards) -> None:
    remote.start("a")
    remote.until("a", "active")
    first = remote.call("a", "Status")["valid_until"]
    wait_until(lambda: remote.call("a", "Status")["valid_until"] > first, LONG)
    status = remote.call("a", "Status")
    assert status["renewals"]["count"] >= 1
    assert 0 < status["renewals"]["last"] <= status["renewals"]["worst"] <= status["renewals"]["sum"]
    assert status["facts"]["members"] == "1"


def test_resources_are_added_and_given_back_while_the_service_runs(remote: Guards) -> None:
    remote.start("a", "--resource=r")
    remote.until("a", "active")
    remote.start("b", "--resource=s")
    remote.until("b", "active")
    assert remote.call("a", "Acquire", resource="t")["token"] == 1
    remote.call("a", "Release", resource="r")
    remote.start("c", "--resource=r")
    remote.until("c", "active")
    assert [one["name"] for one in remote.report("a")["resources"]] == ["t"]


def test_a_service_is_handed_over_to_a_chosen_guard_and_to_no_other(remote: Guards) -> None:
    stubborn(remote, "a", "--stop-timeout=0.2")
    wait_until(beats(remote, "a"), LONG)
    for name in ("b", "c"):
        stubborn(remote, name)
        remote.until(name, "standby")
    token = remote.token("a")
    source, target = (Handle.attach(name, str(remote.state), LONG) for name in ("a", "b"))
    source.prepare_out("h", target.prepare_in("h"), 60)
    assert target.complete_in(source.complete_out("h", LONG)) == {"r": token + 1}
    wait_until(beats(remote, "b"), LONG)
    assert overlaps(remote.base / "history") == (2, [])
    assert remote.report("c")["phase"] == "standby"


def test_a_destination_that_does_not_reach_its_store_is_refused_before_the_source_stops(
    remote: Guards, proxy: Proxy
) -> None:
    stubborn(remote, "a", "--stop-timeout=0.2")
    wait_until(beats(remote, "a"), LONG)
    before = remote.report("a")
    remote.driver = tuple(word.replace(before["parameters"]["endpoints"], proxy.url) for word in remote.driver)
    stubborn(remote, "b")
    remote.until_in_line("b")
    proxy.mode = "hang"
    source, target = (moving.Place(name, str(remote.state)) for name in ("a", "b"))
    with pytest.raises(moving.NotMoved, match=r"b could not take over: .*Now a is active, b is standby"):
        moving.hand_over(source, target, "h", 60, LONG)
    assert {**remote.report("a"), "since": 0} == {**before, "since": 0}
    # Nothing is left of it: when the store is there again it can be moved.
    proxy.mode = "pass"
    wait_until(lambda: _moved(source, target), LONG)
    wait_until(beats(remote, "b"), LONG)
    assert overlaps(remote.base / "history") == (2, [])


def _moved(source: moving.Place, target: moving.Place) -> bool:
    try:
        return bool(moving.hand_over(source, target, "h", 60, LONG))
    except moving.NotMoved:
        return False


# -- the store


def test_a_lease_that_is_revoked_behind_its_back_ends_the_service_at_once(remote: Guards, etcd: Cluster) -> None:
    # So long that no renewal would find out in time: it is the watch that tells.
    remote.use_etcd(etcd.endpoints, ttl=900)
    first = stubborn(remote, "a")
    wait_until(beats(remote, "a"), LONG)
    holder = _holder(remote, etcd)
    wait_until(lambda: remote.call("a", "Status")["renewals"]["count"] >= 1, LONG)
    etcd.post("/v3/lease/revoke", {"ID": holder["lease"]})
    assert first.wait(LONG) == 128 + signal.SIGKILL
    assert "revoked" in remote.complaints("a")


def _holder(guards: Guards, etcd: Cluster, resource: str = "r") -> dict[str, str]:
    import base64

    key = base64.b64encode(f"{guards.base}/{resource}/holder/exclusive".encode()).decode()
    return dict(etcd.post("/v3/kv/range", {"key": key})["kvs"][0])


def test_a_store_that_hangs_ends_the_service_before_the_lease_and_the_guard_says_so(
    remote: Guards, proxy: Proxy
) -> None:
    remote.use_etcd(proxy.url)
    first = stubborn(remote, "a")
    wait_until(beats(remote, "a"), LONG)
    valid = remote.call("a", "Status")["valid_until"]
    proxy.mode = "hang"
    wait_until(lambda: first.poll() is not None, LONG)
    # What was under way may have been renewed once more.
    assert last_beat(remote) < valid + 1.5
    assert "not renewed" in remote.complaints("a")


def test_a_store_whose_answers_are_lost_is_no_store(remote: Guards, proxy: Proxy) -> None:
    remote.use_etcd(proxy.url)
    first = stubborn(remote, "a")
    wait_until(beats(remote, "a"), LONG)
    proxy.mode = "cut"
    # By its guard, or on a busy machine by the kernel's timer.
    assert first.wait(LONG) in (128 + signal.SIGKILL, -signal.SIGKILL)


def test_a_store_that_is_away_for_a_moment_ends_nobody(remote: Guards, proxy: Proxy) -> None:
    remote.use_etcd(proxy.url, ttl=6)
    first = remote.start("a")
    remote.until("a", "active")
    proxy.mode = "cut"
    wait_until(lambda: remote.call("a", "Status")["renewals"]["failed"] > 0, LONG)
    proxy.mode = "pass"
    failed = remote.call("a", "Status")["valid_until"]
    wait_until(lambda: remote.call("a", "Status")["valid_until"] > failed, LONG)
    assert first.poll() is None


def test_a_single_answer_that_is_lost_ends_nobody_who_has_but_one_endpoint(remote: Guards, proxy: Proxy) -> None:
    remote.use_etcd(proxy.url, ttl=6)
    first = remote.start("a")
    remote.until("a", "active")
    wait_until(lambda: remote.call("a", "Status")["renewals"]["count"] > 1, LONG)
    before = remote.call("a", "Status")
    proxy.losing = 1
    wait_until(lambda: not proxy.losing, LONG)
    count = before["renewals"]["count"] + 1
    wait_until(lambda: remote.call("a", "Status")["renewals"]["count"] > count, LONG)
    after = remote.call("a", "Status")
    assert (after["phase"], after["resources"], after["renewals"]["failed"]) == ("active", before["resources"], 0)
    assert first.poll() is None


def test_a_slow_store_is_told_of(remote: Guards, proxy: Proxy) -> None:
    remote.use_etcd(proxy.url, ttl=4)
    remote.start("a")
    remote.until("a", "active")
    # The connection for renewals is there: what is late in making one has failed.
    wait_until(lambda: remote.call("a", "Status")["renewals"]["count"] > 0, LONG)
    proxy.delay = 0.3
    wait_until(lambda: remote.call("a", "Status")["renewals"]["slow"] > 0, LONG)
    assert "a renewal took" in remote.complaints("a")
    assert remote.report("a")["phase"] == "active"


def test_how_long_renewals_took_is_told_as_a_histogram(remote: Guards, proxy: Proxy) -> None:
    """Fast ones and slow ones are counted apart, each bound with all that took no longer, for people and for programs."""

    def renewals() -> dict[str, Any]:
        return dict(remote.call("a", "Status")["renewals"])

    def within(seconds: float) -> int:
        return int(next(one["count"] for one in renewals()["took"] if one["le"] == seconds))

    remote.use_etcd(proxy.url, ttl=4)
    remote.start("a")
    remote.until("a", "active")
    # The connection for renewals is there: what is late in making one has failed.
    wait_until(lambda: renewals()["count"] > 1, LONG)
    proxy.delay = 0.21
    slow = renewals()["count"] - within(0.2)
    wait_until(lambda: renewals()["count"] - within(0.2) > slow, LONG)
    told = renewals()
    counts = [one["count"] for one in told["took"]]
    assert counts == sorted(counts) and counts[-1] == told["count"]
    assert [one["le"] for one in told["took"]] == sorted(one["le"] for one in told["took"])
    assert told["sum"] >= 0.2

    scan = remote.base / "scan"
    (scan / ".holdfast").mkdir(parents=True)
    (scan / ".holdfast" / "guards").symlink_to(remote.state)

    def says(*words: str) -> str:
        asked = [PYTHON, "-I", "-S", str(remote.runtime), "lease", *words, "--scan", str(scan)]
        return subprocess.run(asked, capture_output=True, text=True, check=True, timeout=LONG).stdout

    text = says("metrics")
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    who = 'name="a",owner="",driver="etcd"'
    assert lines[f"holdfast_lease_active{{{who}}}"] == "1"
    assert lines[f'holdfast_lease_token{{{who},resource="r"}}'] == str(remote.token("a"))
    assert 0 < float(lines[f"holdfast_lease_valid_seconds{{{who}}}"]) <= 4
    buckets = [int(value) for name, value in lines.items() if name.startswith("holdfast_lease_renewal_seconds_bucket")]
    assert buckets == sorted(buckets) and len(buckets) == len(told["took"]) + 1
    assert buckets[-1] == int(lines[f"holdfast_lease_renewal_seconds_count{{{who}}}"]) >= told["count"]
    assert re.search(
        r" \d+ renewals, \d+ failed, \d+ slow, 50% within \S+ s, 99% within \S+ s, the longest ", says("status", "a")
    )


def test_that_a_renewal_failed_is_told_also_right_after_one_that_was_slow(remote: Guards, proxy: Proxy) -> None:
    remote.use_etcd(proxy.url, ttl=4)
    remote.start("a")
    remote.until("a", "active")
    # The connection for renewals is there: what is late in making one has failed.
    wait_until(lambda: remote.call("a", "Status")["renewals"]["count"] > 0, LONG)
    proxy.delay = 0.3
    wait_until(lambda: "a renewal took" in remote.complaints("a"), LONG)
    proxy.mode = "hang"
    wait_until(lambda: "not renewed" in remote.complaints("a"), LONG)


def test_a_store_that_was_stopped_for_longer_than_its_leases_are_good_finds_nothing_of_the_service(
    guards: Guards,
) -> None:
    cluster = Cluster().start()
    try:
        guards.use_etcd(cluster.endpoints)
        first = stubborn(guards, "a", "--stop-timeout=0.2")
        wait_until(beats(guards, "a"), LONG)
        stubborn(guards, "b")
        guards.until("b", "standby")
        with cluster.members[0].frozen():
            first.wait(LONG)
            until = last_beat(guards) + 3
            wait_until(lambda: now() > until, LONG)
        wait_until(beats(guards, "b"), LONG)
        assert overlaps(guards.base / "history") == (2, [])
    finally:
        cluster.close()


def test_a_guard_waits_for_a_store_that_is_not_there_yet(guards: Guards) -> None:
    cluster = Cluster()
    try:
        guards.use_etcd(cluster.endpoints)
        guards.start("a")
        wait_until(lambda: "no answer" in guards.errors("a") or "refused" in guards.errors("a"), LONG)
        assert guards.report("a")["phase"] == "standby"
        assert guards.start("b", "--no-wait").wait(LONG) == 111
        cluster.start()
        guards.until("a", "active")
    finally:
        cluster.close()


def test_a_full_store_keeps_holders_and_says_why_nobody_starts(guards: Guards) -> None:
    cluster = Cluster(options={"quota-backend-bytes": str(300_000)}).start()
    try:
        guards.use_etcd(cluster.endpoints)
        first = guards.start("a")
        guards.until("a", "active")
        _fill(cluster)
        valid = guards.call("a", "Status")["valid_until"]
        wait_until(lambda: guards.call("a", "Status")["valid_until"] > valid, LONG)
        assert guards.start("b", "--resource=s", "--no-wait").wait(LONG) == 111
        assert "NOSPACE" in guards.complaints("b")
        first.terminate()
        assert first.wait(LONG) == 0
        assert cluster.post("/v3/kv/range", {"key": "AA==", "range_end": "AA=="}).get("kvs") is not None
        assert not cluster.leases()
    finally:
        cluster.close()


def _fill(cluster: Cluster) -> None:
    import base64
    import urllib.error

    value = base64.b64encode(b"x" * 100_000).decode()

    def full() -> bool:
        try:
            cluster.post("/v3/kv/put", {"key": "Zg==", "value": value})
        except urllib.error.HTTPError:
            return True
        return False

    wait_until(full, LONG)


# -- several members


@pytest.fixture(scope="module")
def three() -> Iterator[Cluster]:
    made = Cluster(3).start()
    yield made
    made.close()


@pytest.mark.parametrize("fault", ["killed", "frozen"])
def test_the_loss_of_the_leader_ends_no_service(guards: Guards, three: Cluster, fault: str) -> None:
    guards.use_etcd(three.endpoints, ttl=8)
    first = guards.start("a")
    guards.until("a", "active")
    leader = three.leader()
    valid = guards.call("a", "Status")["valid_until"]
    if fault == "killed":
        leader.kill()
    else:
        leader.signal(signal.SIGSTOP)
    try:
        # Well beyond the end that the grant had before: it was renewed elsewhere.
        wait_until(lambda: guards.call("a", "Status")["valid_until"] > valid + 8, 60)
        assert first.poll() is None
        assert len(guards.call("a", "Status")["facts"]) > 3
    finally:
        if fault == "killed":
            leader.start()
        leader.signal(signal.SIGCONT)
        three.until_serving()


def test_who_vanished_under_a_store_that_ends_leases_early_is_waited_for_once_more(
    guards: Guards, three: Cluster
) -> None:
    version = three.post("/v3/maintenance/status", {})["version"].split(".")
    if not (version[:2] == ["3", "4"] and int(version[2]) < 31):
        pytest.skip("this etcd does not end leases early")
    guards.use_etcd(three.endpoints)
    first = guards.start("a")
    guards.until("a", "active")
    assert "waited for" in guards.call("a", "Status")["facts"]["early_revoke"]
    guards.start("b")
    guards.until("b", "standby")
    valid = guards.call("a", "Status")["valid_until"]
    first.kill()
    guards.until("b", "active")
    assert now() > valid + 3
    guards.driver = (*guards.driver, "--parameter=early_revoke=ignore")
    assert guards.start("c").wait(LONG) == 111
    assert "early_revoke" in guards.complaints("c")


# -- TLS, users, and what is refused


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, Path]]:
    """An etcd that wants certificates and passwords, with a user who may touch /ours only."""
    folder = tmp_path_factory.mktemp("pki")
    cluster = secured_cluster(folder, "/ours")
    yield cluster, folder
    cluster.close()


def _words(cluster: Cluster, folder: Path, prefix: str = "/ours/x") -> tuple[str, ...]:
    files = {"ca_file": "ca.pem", "cert_file": "client.pem", "key_file": "client.key", "password_file": "password"}
    return (
        "--driver=etcd",
        "--ttl=3",
        f"--parameter=endpoints={cluster.endpoints}",
        f"--parameter=prefix={prefix}",
        "--parameter=user=guard",
        *(f"--parameter={name}={folder / file}" for name, file in files.items()),
    )


def test_certificates_and_a_password_are_enough_and_a_forgotten_token_is_no_harm(
    guards: Guards, secured: tuple[Cluster, Path]
) -> None:
    cluster, folder = secured
    guards.driver = _words(cluster, folder)
    first = guards.start("a")
    guards.until("a", "active")
    assert not any("geheim" in word for word in procs.arguments(first.pid))
    # Tokens are in the member's memory.
    cluster.members[0].kill()
    cluster.members[0].start()
    valid = guards.call("a", "Status")["valid_until"]
    wait_until(lambda: guards.call("a", "Status")["valid_until"] > valid + 1, LONG)
    guards.start("b")
    guards.until("b", "standby")
    first.terminate()
    guards.until("b", "active")


def test_what_a_user_may_not_and_who_is_no_user_are_told(guards: Guards, secured: tuple[Cluster, Path]) -> None:
    cluster, folder = secured
    guards.driver = _words(cluster, folder, "/theirs")
    assert guards.start("a").wait(LONG) == 111
    assert "permission denied" in guards.complaints("a")
    other = folder / "wrong"
    other.write_text("falsch")
    other.chmod(0o600)
    guards.driver = (*_words(cluster, folder), f"--parameter=password_file={other}")
    assert guards.start("b").wait(LONG) == 111
    assert "user guard is refused" in guards.complaints("b")
    other.chmod(0o644)
    assert guards.start("c").wait(LONG) == 111
    assert "chmod 0600" in guards.complaints("c")


def test_a_server_that_the_ca_does_not_know_gets_nothing(guards: Guards, secured: tuple[Cluster, Path]) -> None:
    cluster, folder = secured
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    certificates(elsewhere)
    guards.driver = (*_words(cluster, folder), f"--parameter=ca_file={elsewhere / 'ca.pem'}")
    assert guards.start("a", "--no-wait").wait(LONG) == 111
    assert "CERTIFICATE_VERIFY_FAILED" in guards.complaints("a")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--parameter=colour=blue",), "unknown parameter colour"),
        (("--parameter=endpoints=ftp://x",), "not like https://"),
        (("--ttl=1",), "not between 2 and 3600"),
        (("--parameter=cert_file=/x",), "belong together"),
        (("--parameter=user=x",), "belong together"),
        (("--parameter=ca_file=/x",), "no endpoint begins with https"),
        (("--parameter=ca_file=x",), "not an absolute path"),
        (("--parameter=early_revoke=maybe",), "is none of"),
        (("--parameter=fail_back=-1",), "not between 0 and 86400"),
    ],
)
def test_wrong_parameters_are_refused_with_their_names(remote: Guards, words: tuple[str, ...], text: str) -> None:
    assert remote.start("a", *words).wait(LONG) == 111
    assert text in remote.complaints("a")


def test_a_password_has_no_place_on_the_command_line(remote: Guards) -> None:
    assert remote.start("a", "--parameter=password=geheim").wait(LONG) == 2
    assert "geheim" not in remote.complaints("a")


def test_plain_text_over_a_network_is_a_hole(guards: Guards, etcd: Cluster) -> None:
    address = subprocess.run(["hostname", "-I"], check=True, capture_output=True, text=True).stdout.split()
    if not address:
        pytest.skip("there is no address but loopback")
    proxy = Proxy(etcd.members[0].url, address[0])
    try:
        guards.use_etcd(proxy.url)
        assert guards.start("a").wait(LONG) == 111
        assert "plaintext" in guards.complaints("a")
        guards.start("b", "--safety=standard")
        assert [hole["name"] for hole in guards.until("b", "active")["holes"]] == ["plaintext"]
    finally:
        proxy.close()
