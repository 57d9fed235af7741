# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Grants and renewals over gRPC with real etcds: that they go that way, what they say, and what is done where they can't."""

from __future__ import annotations

import base64
import contextlib
import itertools
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from etcds import ETCD, Cluster, Proxy, secured_cluster

from ansible_collections.holdfast.supervision.plugins.module_utils._lease._etcd import channels, messages, store
from ansible_collections.holdfast.supervision.plugins.module_utils._lease._etcd.client import text64
from ansible_collections.holdfast.supervision.plugins.module_utils._lease.etcd import Etcd
from ansible_collections.holdfast.supervision.plugins.module_utils._lease.interface import (
    EXCLUSIVE_MODE,
    Busy,
    Lost,
    StoreUnavailable,
)

pytestmark = pytest.mark.skipif(not ETCD, reason="there is no etcd")

_NUMBERS = itertools.count()
#: What is read of a pair of key and value.
_NAMES = ("key", "value", "create_revision", "mod_revision", "lease")


@pytest.fixture
def prefix() -> str:
    return f"/channel/{next(_NUMBERS)}"


@pytest.fixture
def make(prefix: str) -> Iterator[Callable[..., Etcd]]:
    made: list[Etcd] = []

    def one(endpoints: str, resources: int = 1, **parameters: Any) -> Etcd:
        driver = Etcd("a", {"endpoints": endpoints, "prefix": prefix, "ttl": 20, **parameters})
        for at in range(resources):
            driver.register(f"r{at}", EXCLUSIVE_MODE)
        made.append(driver)
        return driver

    yield one
    for driver in made:
        driver.free()


def held(driver: Etcd) -> Etcd:
    """One that has what it wants, and a channel."""
    driver.acquire()
    assert over_grpc(driver)
    driver.renew()
    return driver


def over_grpc(driver: Etcd) -> bool:
    """Whether the last thing that was said went that way."""
    made = driver._tenure.client.channels
    return made is not None and made._channel is not None and made._channel.used


def renews_over_grpc(driver: Etcd) -> bool:
    """Renew, and say whether that was done over gRPC; and that nothing idles beside it."""
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    driver.renew()
    assert before <= driver.good_from <= time.clock_gettime(time.CLOCK_BOOTTIME)
    return over_grpc(driver) and driver._tenure.client._connection is None


def key64(prefix: str, name: str) -> str:
    return base64.b64encode(f"{prefix}/{name}".encode()).decode()


def revision(etcd: Cluster) -> int:
    return int(etcd.post("/v3/kv/range", {"key": "YQ=="})["header"]["revision"])


# -- that it is so


def test_what_is_held_is_renewed_over_grpc_and_nothing_grows_by_it(make: Callable[..., Etcd], etcd: Cluster) -> None:
    driver = held(make(etcd.endpoints))
    before = revision(etcd)
    for _unused in range(5):
        assert renews_over_grpc(driver)
    assert driver.ttl == 20
    assert revision(etcd) == before
    driver.release()
    assert not etcd.post("/v3/kv/range", {"key": key64(driver._parameters.prefix[:-1], "r0/holder/exclusive")}).get(
        "kvs"
    )


def test_one_connection_is_enough_and_the_gateway_is_left_alone(make: Callable[..., Etcd], proxy: Proxy) -> None:
    driver = held(make(proxy.url))
    before = list(proxy.began)
    assert before.count(b"PRI ") == 1
    for _unused in range(5):
        driver.renew()
    assert proxy.began == before


def test_the_most_resources_that_there_can_be(make: Callable[..., Etcd], etcd: Cluster) -> None:
    driver = held(make(etcd.endpoints, 40, prefix="/" + "p" * 190, preference=1))
    for _unused in range(3):
        assert renews_over_grpc(driver)


def test_what_is_added_and_given_back_counts_from_the_next_renewal_on(
    make: Callable[..., Etcd], etcd: Cluster, prefix: str
) -> None:
    driver = held(make(etcd.endpoints))
    assert renews_over_grpc(driver)
    driver.register("more", EXCLUSIVE_MODE)
    driver.acquire()
    assert renews_over_grpc(driver)
    driver.release("r0")
    assert renews_over_grpc(driver)
    etcd.post("/v3/kv/deleterange", {"key": key64(prefix, "more/holder/exclusive")})
    with pytest.raises(Lost):
        driver.renew()


def test_one_in_line_has_no_channel_and_opens_one_when_it_is_granted_what_it_waits_for(
    make: Callable[..., Etcd], proxy: Proxy, etcd: Cluster
) -> None:
    holder = held(make(etcd.endpoints))
    other = make(proxy.url)
    other.probe()
    with pytest.raises(Busy):
        other.acquire()
    assert not over_grpc(other)
    holder.release()
    other.acquire()
    assert renews_over_grpc(other)


def test_what_is_given_back_is_given_back_over_grpc(make: Callable[..., Etcd], proxy: Proxy, etcd: Cluster) -> None:
    driver = make(proxy.url)
    driver.probe()
    driver.acquire()
    lease = driver._tenure.lease
    before = list(proxy.began)
    driver.release()
    assert proxy.began == before
    assert int(etcd.post("/v3/lease/timetolive", {"ID": lease})["TTL"]) == -1
    make(etcd.endpoints).acquire()


def test_a_wish_is_heard_of(make: Callable[..., Etcd], etcd: Cluster) -> None:
    holder = held(make(etcd.endpoints, preference=2))
    assert renews_over_grpc(holder)
    assert holder.preferred() == ""
    other = make(etcd.endpoints, preference=1)
    with pytest.raises(Busy):
        other.acquire()
    other._tenure.wish(other._tenure.wanted(), other._tenure.deadline())
    assert renews_over_grpc(holder)
    assert holder.preferred() == other.identity


def whole(keys: store.Keys) -> list[dict[str, Any]]:
    """Read everything of a resource."""
    return [{"request_range": {"key": text64(keys.base), "range_end": text64(keys.end)}}]


def test_numbers_of_fields_are_those_of_the_real_server(make: Callable[..., Etcd], etcd: Cluster) -> None:
    """The same questions by the gateway, which has names for them, get the same answers."""
    driver = held(make(etcd.endpoints))
    channel = driver._tenure.client.channels._channel  # type: ignore[union-attr]
    assert channel is not None
    until = time.clock_gettime(time.CLOCK_BOOTTIME) + 20
    lease = int(driver._tenure.lease)
    kept = messages.lease_and_ttl(channel.tell(messages.KEEPALIVE, "", messages.keepalive(lease), until))
    named = etcd.post("/v3/lease/keepalive", {"ID": str(lease)})["result"]
    assert kept == (int(named["ID"]), int(named["TTL"])) == (lease, 20)
    one = driver._tenure.held()[0]
    key, end = driver._tenure.key(one), one.keys.holders_end
    number = driver._tenure.lease
    for compares, so in (
        ([store.created(key, one.revision), store.owned(key, number), store.nobody(one.keys.wish)], True),
        ([store.created(key, 1)], False),
        ([store.owned(key, "7")], False),
        ([store.unchanged(one.keys.epoch, one.epoch), store.nobody(one.keys.wish, one.keys.end)], True),
        ([store.unchanged(one.keys.epoch, one.epoch - 1)], False),
        ([store.nobody(one.keys.holders, end)], False),
    ):
        asked = {"compare": compares, "success": [store.get(key), store.delete(one.keys.wish), *whole(one.keys)]}
        ours = messages.transacted(channel.ask(messages.TXN, "", messages.transaction(asked), until))
        theirs = etcd.post("/v3/kv/txn", asked)
        assert ours["succeeded"] is so
        assert bool(theirs.get("succeeded")) is so
        assert store.revision_of(ours) == store.revision_of(theirs)
        assert store.records(ours) == store.records(theirs)
        assert len(store.records(ours)) == (3 if so else 0)
        # Where the gateway leaves a 0 out, it is left out here too.
        found = [
            [answer.get("response_range", {}).get("kvs") for answer in one.get("responses", ())]
            for one in (ours, theirs)
        ]
        for mine, named in zip(*found, strict=True):
            assert [{name: pair.get(name) for name in _NAMES} for pair in mine or ()] == [
                {name: pair.get(name) for name in _NAMES} for pair in named or ()
            ]
    # A lease that never was.
    assert messages.lease_and_ttl(channel.tell(messages.KEEPALIVE, "", messages.keepalive(-5), until)) == (-5, 0)


# -- what befalls it


def test_a_lease_that_was_revoked_is_lost(make: Callable[..., Etcd], etcd: Cluster) -> None:
    driver = held(make(etcd.endpoints))
    assert renews_over_grpc(driver)
    etcd.post("/v3/lease/revoke", {"ID": driver._tenure.lease})
    with pytest.raises(Lost, match="has ended or was revoked"):
        driver.renew()


def test_a_key_that_was_deleted_or_made_by_another_is_lost(
    make: Callable[..., Etcd], etcd: Cluster, prefix: str
) -> None:
    driver = held(make(etcd.endpoints))
    assert renews_over_grpc(driver)
    key = key64(prefix, "r0/holder/exclusive")
    etcd.post("/v3/kv/deleterange", {"key": key})
    etcd.post("/v3/kv/put", {"key": key, "value": "e30="})
    with pytest.raises(Lost, match="not ours any more"):
        driver.renew()


def test_a_full_store_renews(make: Callable[..., Etcd]) -> None:
    cluster = Cluster().start()
    try:
        driver = held(make(cluster.endpoints))
        cluster.be_full(True)
        for _unused in range(3):
            assert renews_over_grpc(driver)
    finally:
        cluster.close()


def test_a_member_that_is_frozen_answers_nobody_and_its_late_answer_counts_for_nothing(
    make: Callable[..., Etcd],
) -> None:
    cluster = Cluster().start()
    try:
        driver = held(make(cluster.endpoints, ttl=4))
        assert renews_over_grpc(driver)
        before = driver.good_from
        with cluster.members[0].frozen():
            with pytest.raises(StoreUnavailable):
                driver.renew()
            assert not over_grpc(driver)
        assert driver.good_from == before
        driver.renew()
        assert driver.good_from > before
        assert renews_over_grpc(driver)
    finally:
        cluster.close()


def test_a_member_that_was_started_anew_is_asked_again(make: Callable[..., Etcd]) -> None:
    cluster = Cluster().start()
    try:
        driver = held(make(cluster.endpoints))
        assert renews_over_grpc(driver)
        cluster.members[0].kill()
        with pytest.raises(StoreUnavailable):
            driver.renew()
        cluster.members[0].start()
        cluster.until_serving()
        driver.renew()
        assert renews_over_grpc(driver)
        # And without our having seen that it was away.
        cluster.members[0].kill()
        cluster.members[0].start()
        cluster.until_serving()
        driver.renew()
        assert renews_over_grpc(driver)
    finally:
        cluster.close()


@pytest.mark.parametrize("mode", ["hang", "mute", "cut"])
def test_another_endpoint_is_asked_within_the_same_renewal(
    make: Callable[..., Etcd], etcd: Cluster, proxy: Proxy, mode: str
) -> None:
    driver = held(make(f"{proxy.url},{etcd.endpoints}", ttl=4))
    assert renews_over_grpc(driver)
    assert b"PRI " in proxy.began
    proxy.mode = mode
    driver.renew()
    assert driver._tenure.client.current == 1
    proxy.close()
    for _unused in range(2):
        assert renews_over_grpc(driver)


@pytest.mark.parametrize("mode", ["hang", "mute", "cut"])
def test_a_grant_whose_answer_is_lost_is_found_by_way_of_another_endpoint(
    make: Callable[..., Etcd], etcd: Cluster, proxy: Proxy, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = make(f"{proxy.url},{etcd.endpoints}", ttl=12)
    taking = driver._tenure._take

    def take(*words: Any) -> bool:
        assert over_grpc(driver)
        proxy.mode = mode
        return taking(*words)

    monkeypatch.setattr(driver._tenure, "_take", take)
    driver.acquire()
    assert driver._tenure.client.current == 1
    (one,) = driver.owners("r0")
    assert one.token == driver.held()[0].token == 1


@pytest.mark.parametrize("old", [False, True])
def test_the_only_endpoint_is_asked_once_more_when_an_answer_of_it_is_lost(
    make: Callable[..., Etcd], proxy: Proxy, old: bool
) -> None:
    proxy.old = old
    driver = make(proxy.url, ttl=12)
    driver.acquire()
    assert renews_over_grpc(driver) is not old
    before = driver.good_from
    proxy.losing = 1
    driver.renew()
    assert (proxy.losing, driver.good_from > before) == (0, True)
    driver.renew()
    assert renews_over_grpc(driver) is not old


def test_an_answer_that_is_lost_is_no_renewal(make: Callable[..., Etcd], proxy: Proxy) -> None:
    driver = held(make(proxy.url, ttl=4))
    assert renews_over_grpc(driver)
    before = driver.good_from
    proxy.mode = "cut"
    with pytest.raises(StoreUnavailable):
        driver.renew()
    assert driver.good_from == before
    proxy.mode = "pass"
    driver.renew()
    assert renews_over_grpc(driver)


# -- where it can't be had


def test_a_proxy_that_speaks_http_1_alone_is_asked_once_and_then_left_alone(
    make: Callable[..., Etcd], proxy: Proxy
) -> None:
    proxy.old = True
    driver = make(proxy.url)
    driver.acquire()
    for _unused in range(4):
        driver.renew()
        assert not over_grpc(driver)
    assert proxy.began.count(b"PRI ") == 1
    # After a while it may have learnt.
    proxy.old = False
    driver._tenure.client.channels._without.clear()  # type: ignore[union-attr]
    driver.renew()
    assert renews_over_grpc(driver)


def test_a_store_that_takes_its_time_is_not_asked_for_a_channel(make: Callable[..., Etcd], proxy: Proxy) -> None:
    driver = make(proxy.url, ttl=4)
    # An answer: more than a sixteenth of T. Two: more than a third of the second that a renewal may take.
    proxy.delay = 0.3
    driver.acquire()
    assert b"PRI " not in proxy.began
    proxy.delay = 0.2
    driver.renew()
    assert b"PRI " not in proxy.began
    proxy.delay = 0
    driver.renew()
    assert renews_over_grpc(driver)


def test_a_peer_that_goes_dumb_when_it_hears_of_http_2_costs_neither_a_grant_nor_a_renewal(
    make: Callable[..., Etcd], proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = make(proxy.url, ttl=4)
    opening = channels.Channels.open

    def mute(self: channels.Channels, *words: Any) -> None:
        proxy.mode = "mute"
        opening(self, *words)
        proxy.mode = "pass"

    monkeypatch.setattr(channels.Channels, "open", mute)
    driver.acquire()
    for _unused in range(3):
        driver.renew()
    assert not over_grpc(driver)
    assert proxy.began.count(b"PRI ") == 1


# -- TLS and users


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, dict[str, str]]]:
    """An etcd that wants certificates and passwords, with a user who may touch /channel only."""
    folder = tmp_path_factory.mktemp("pki")
    cluster = secured_cluster(folder, "/channel")
    files = {"ca_file": "ca.pem", "cert_file": "client.pem", "key_file": "client.key", "password_file": "password"}
    yield cluster, {"user": "guard", **{name: str(Path(folder) / file) for name, file in files.items()}}
    cluster.close()


def test_certificates_and_a_user(make: Callable[..., Etcd], secured: tuple[Cluster, dict[str, str]]) -> None:
    cluster, parameters = secured
    driver = held(make(cluster.endpoints, preference=1, **parameters))
    for _unused in range(3):
        assert renews_over_grpc(driver)


def test_a_token_that_is_refused_is_exchanged_within_the_renewal(
    make: Callable[..., Etcd], secured: tuple[Cluster, dict[str, str]]
) -> None:
    cluster, parameters = secured
    driver = held(make(cluster.endpoints, **parameters))
    assert renews_over_grpc(driver)
    driver._tenure.client.token = "forged.1"
    driver.renew()
    assert driver._tenure.client.token != "forged.1"
    assert renews_over_grpc(driver)


def test_endpoints_with_and_without_tls_are_each_spoken_to_in_their_way(
    make: Callable[..., Etcd], etcd: Cluster, secured: tuple[Cluster, dict[str, str]]
) -> None:
    """One etcd would have both; here there are two, and the first is the one that is used."""
    cluster, parameters = secured
    files = {name: value for name, value in parameters.items() if name in ("ca_file", "cert_file", "key_file")}
    driver = held(make(f"{etcd.endpoints},{cluster.endpoints}", **files))
    assert renews_over_grpc(driver)
    assert driver._tenure.client.current == 0


def test_who_may_not_write_there_is_told_and_renews_nothing(
    make: Callable[..., Etcd], secured: tuple[Cluster, dict[str, str]]
) -> None:
    cluster, parameters = secured
    driver = held(make(cluster.endpoints, **parameters))
    assert renews_over_grpc(driver)
    before = driver.good_from
    driver._tenure._renewing._wanted.transaction = messages.transaction({"success": [store.delete("/theirs")]})  # type: ignore[union-attr]
    with pytest.raises(StoreUnavailable, match="permission denied"):
        driver.renew()
    assert driver.good_from == before


@contextlib.contextmanager
def old_proxy(cluster: Cluster, folder: Path) -> Iterator[str]:
    """Stands before an etcd with TLS of its own, and without a word about protocols."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    assert cluster.context is not None
    target = cluster.members[0].url.rpartition("/")[2].partition(":")

    def carry(plain: socket.socket) -> None:
        with (
            contextlib.suppress(OSError),
            plain,
            socket.create_connection((target[0], int(target[2])), 20) as far,
            context.wrap_socket(plain, server_side=True) as near,
            cluster.context.wrap_socket(far, server_hostname=target[0]) as inside,  # type: ignore[union-attr]
        ):
            while True:
                for one in select.select([near, inside], [], [])[0]:
                    data = one.recv(65536)
                    while data and one.pending():
                        data += one.recv(65536)
                    if not data:
                        return
                    (inside if one is near else near).sendall(data)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=carry, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


def test_a_proxy_that_has_tls_and_no_http_2(make: Callable[..., Etcd], secured: tuple[Cluster, dict[str, str]]) -> None:
    cluster, parameters = secured
    with old_proxy(cluster, Path(parameters["ca_file"]).parent) as endpoint:
        driver = make(endpoint, **parameters)
        driver.acquire()
        for _unused in range(3):
            driver.renew()
            assert not over_grpc(driver)
