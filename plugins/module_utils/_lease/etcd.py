# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The driver `etcd`: leases of an etcd cluster, through the JSON gateway of its v3 API. PRIVATE to the collection.

One lease of etcd's for a tenure; every resource is a key that belongs to it (_etcd/store.py says which). What is done and
why so:

- A renewal is a keepalive *and* a transaction that goes through Raft: some versions answer a keepalive well for a lease
  that was revoked. The transaction deletes a key that never exists, if ours are the ones that we made: the store does
  not grow by it, and it works while the database is full.
- Nothing is decided by a read. A grant compares that nobody has changed `epoch` since.
- A request whose answer is lost is sent again, maybe to another member: each is such that the second one does nothing,
  or finds what the first one did by the number of our lease.
- Time counts from the sending of a keepalive (or of the request for the lease) that was answered.
- Whoever waits has no lease, and no key: a watch, and a look every ten seconds or so.

After a failed `acquire` nothing is held; if etcd did not answer, the lease that was asked for, if there is one, is good
for nobody and ends after `ttl`.
"""

from __future__ import annotations

import math
import os
import time

from .._supervise._embedded import identity
from ._etcd import http, store
from ._etcd.client import NOT_FOUND, Client, EtcdError
from ._etcd.judge import judge
from ._etcd.parameters import NAMES, Parameters
from ._etcd.watch import Watch
from .interface import (
    EXCLUSIVE_MODE,
    HOT,
    LINE_UP,
    REMOTE,
    RENEWS,
    RESOURCE_NAME,
    SHARED,
    SHARED_MODE,
    TOKEN,
    Busy,
    Driver,
    DriverNotLoaded,
    DriverRefused,
    Grant,
    Holder,
    Hole,
    LeaseError,
    Lost,
    NotHeld,
    StoreUnavailable,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, ClassVar

#: The part of T that one call may take, with connecting and all endpoints that are tried.
_CALL = 1 / 4
#: Times that a transaction is tried when others were quicker.
_TRIES = 20
#: Seconds after which one in line looks by itself: about, at least, and while etcd does not answer.
_LOOK, _AGAIN = 12.0, 2.0
#: Seconds by which those in line are spread when they all wake at once, for a preference of 0, and for each step of it.
_SPREAD, _STEP = 0.01, 0.1


class Etcd(Driver):
    """Leases of an etcd cluster. Parameters: see _etcd/parameters.py."""

    name: ClassVar[str] = "etcd"
    api: ClassVar[tuple[int, int]] = (1, 1)
    capabilities: ClassVar[frozenset[str]] = frozenset({SHARED, HOT, TOKEN, LINE_UP, RENEWS, REMOTE})
    parameters: ClassVar[frozenset[str]] = NAMES

    def __init__(self, tenant: str, parameters: Mapping[str, Any]) -> None:
        """Make the driver. Raises DriverRefused."""
        super().__init__(tenant, parameters)
        self._parameters = Parameters(parameters)
        self.ttl: float = self._parameters.ttl
        self._client = Client(self._parameters)
        self._resources: dict[str, _Resource] = {}
        self._lease = ""
        self._facts: dict[str, str] = {}
        self._distrust = True
        # When we saw first that a holder had vanished: (resource, token) -> until when it is waited for.
        self._vanished: dict[tuple[str, int], float] = {}
        self._doubtful: list[str] = []
        self._watch: Watch | None = None

    @classmethod
    def load(cls, core_api: tuple[int, int], features: frozenset[str]) -> None:
        """Need a core that renews, and a kernel's timer behind it."""
        missing = sorted({"renew", "dead_man", "line_up"} - features)
        if core_api[0] != cls.api[0] or core_api < cls.api or missing:
            raise DriverNotLoaded(f"driver etcd: this core cannot do what it needs: {', '.join(missing) or core_api}")

    def probe(self) -> list[Hole]:
        """Ask every endpoint for its version, and judge."""
        verdict = judge(self._client, self._parameters, self._patience)
        self._facts = verdict.facts
        self._distrust = verdict.early_revoke and self._parameters.early_revoke == "wait"
        return verdict.holes

    def facts(self) -> dict[str, str]:
        """Tell versions, members, known faults and clock, as of the last `probe`."""
        return dict(self._facts)

    def register(self, resource: str, mode: str) -> None:
        """Note the resource."""
        if not RESOURCE_NAME(resource):
            raise DriverRefused(f"{resource!r}: a resource's name has letters, digits and _.@:+- (64 at most)")
        if mode not in (EXCLUSIVE_MODE, SHARED_MODE):
            raise DriverRefused(f"{resource}: {mode!r} is neither exclusive nor shared")
        if resource in self._resources:
            raise DriverRefused(f"{resource}: is named twice")
        if len(self._resources) >= store.MOST:
            raise DriverRefused(f"{resource}: etcd takes {store.MOST} resources for one service at most")
        self._resources[resource] = _Resource(self._parameters.prefix, resource, mode)

    def forget(self, resource: str) -> None:
        """Take back the registration of a resource that is not held."""
        found = self._resources.get(resource)
        if found is not None and found.token is None:
            del self._resources[resource]

    # -- getting

    def acquire(self) -> list[Grant]:
        """Get everything that is missing in one transaction."""
        wanted = [one for one in self._resources.values() if one.token is None]
        more = len(wanted) < len(self._resources)
        deadline = http.now() + self._patience
        try:
            for _unused in range(_TRIES if wanted else 0):
                views = store.read(self._client, [one.keys for one in wanted], deadline)
                if self._found_ours(wanted, views):
                    break
                for one, view in zip(wanted, views):
                    self._judge(one, view)
                if not self._lease:
                    self._get_lease(deadline)
                if self._take(wanted, views, deadline):
                    break
            else:
                if wanted:
                    raise StoreUnavailable("etcd: others were quicker, again and again")
        except (LeaseError, EtcdError) as error:
            raise self._after_failed_acquire(error, wanted, more) from None
        return self.held()

    def _found_ours(self, wanted: list[_Resource], views: list[store.View]) -> bool:
        """Say whether an earlier transaction of ours, whose answer was lost, has taken all of it; note it then."""
        if not self._lease:
            return False
        found = []
        for one, view in zip(wanted, views):
            lease, revision, _tenure = view.holders.get(one.keys.holder(one.mode, self._lease), ("", 0, {}))
            tokens = [tenure["token"] for tenure in view.tenures if tenure.get("lease") == self._lease]
            if lease != self._lease or not tokens:
                return False
            found.append((one, revision, max(tokens), view))
        for one, revision, token, view in found:
            one.got(revision, token, view)
        return True

    def _judge(self, one: _Resource, view: store.View) -> None:
        """Raise Busy if somebody is in the way, or has vanished in a way that is not to be trusted yet."""
        conflicts = view.conflicts(one.mode, self._lease or "-")
        if conflicts:
            raise Busy(one.name, [str(_holder(one.name, tenure)) for tenure in conflicts])
        if not self._distrust:
            return
        for tenure in view.vanished(one.mode):
            key = (one.name, int(tenure.get("token", 0)))
            until = self._vanished.setdefault(key, http.now() + float(tenure.get("ttl", self.ttl)))
            if http.now() < until:
                holder = _holder(one.name, tenure)
                raise Busy(
                    one.name, [f"{holder}, whose lease has vanished: it is waited for {until - http.now():.1f} s"]
                )

    def _get_lease(self, deadline: float) -> None:
        reply = self._client.call("/v3/lease/grant", {"TTL": str(math.ceil(self._parameters.ttl))}, deadline)
        self._lease = str(reply["ID"])
        self.good_from = self._client.sent
        self.ttl = min(self._parameters.ttl, float(reply["TTL"]))

    def _take(self, wanted: list[_Resource], views: list[store.View], deadline: float) -> bool:
        compares: list[dict[str, Any]] = []
        changes: list[dict[str, Any]] = []
        epochs: list[dict[str, Any]] = []
        for one, view in zip(wanted, views):
            keys = one.keys
            tenure = self._tenure(one, view.token + 1)
            # Whoever has vanished and is in nobody's way is still remembered for those in whose way it is.
            gone = view.vanished(one.mode)
            epoch: dict[str, Any] = {
                "token": view.token + 1,
                "open": [*(old for old in view.tenures if old not in gone), tenure],
            }
            compares.append(store.unchanged(keys.epoch, view.epoch))
            if one.mode == SHARED_MODE:
                compares.append(store.nobody(keys.exclusive))
            else:
                compares.append(store.nobody(keys.holders, keys.holders_end))
            changes.append(store.put(keys.holder(one.mode, self._lease), tenure, self._lease))
            changes.append(store.put(keys.epoch, epoch))
            epochs.append(epoch)
        succeeded, revision = store.transact(self._client, compares, changes, deadline)
        if succeeded:
            for one, view, epoch in zip(wanted, views, epochs):
                view.epoch, view.token, view.tenures = revision, epoch["token"], epoch["open"]
                one.got(revision, view.token, view)
        return succeeded

    def _tenure(self, one: _Resource, token: int) -> dict[str, Any]:
        return {
            "token": token,
            "lease": self._lease,
            "mode": one.mode,
            "ttl": self.ttl,
            "tenant": self.tenant,
            "host": os.uname().nodename,
            "boot": identity.boot_id().hex(),
            "pid": os.getpid(),
            "since": round(time.time(), 3),
        }

    def _after_failed_acquire(self, error: LeaseError | EtcdError, wanted: list[_Resource], more: bool) -> LeaseError:
        """See to it that nothing new is held, as far as etcd can be reached, and give the error for the caller."""
        if more:
            if isinstance(error, EtcdError) and error.code == NOT_FOUND:
                return Lost(f"etcd: {error}")
            if isinstance(error, StoreUnavailable):
                self._doubtful.extend(one.keys.holder(one.mode, self._lease) for one in wanted)
        else:
            # Somebody was quicker, or nobody knows: one in line has no lease.
            self._revoke()
        if isinstance(error, EtcdError):
            if error.code == NOT_FOUND:
                return StoreUnavailable(f"etcd: the new lease has ended before it was used: {error}")
            if error.full:
                return StoreUnavailable(
                    f"etcd has no room left (NOSPACE), nothing can be started until it has: {error}"
                )
            return LeaseError(f"etcd: {error}")
        return error

    def _revoke(self) -> None:
        """Give up the lease and all its keys. If that does not arrive, it ends by itself, and nobody counts on it."""
        lease, self._lease = self._lease, ""
        if not lease:
            return
        try:
            self._client.call("/v3/lease/revoke", {"ID": lease}, http.now() + self._patience)
        except (EtcdError, LeaseError):
            pass

    def bind(self, pid: int, started: int) -> None:
        """Nothing to do: the lease ends by time, and the kernel's timer ends the tree before that."""

    # -- keeping

    def renew(self) -> None:
        """Keep the lease alive, and have it confirmed by a write that all members agree on."""
        deadline = http.now() + self._patience
        try:
            reply = self._client.call("/v3/lease/keepalive", {"ID": self._lease}, deadline)
            sent = self._client.sent
            result = reply.get("result") or {}
            # A lease that is gone has no TTL in an answer that looks like success.
            if not int(result.get("TTL") or 0):
                raise Lost(f"etcd: lease {self._lease} has ended or was revoked")
            held = [one for one in self._resources.values() if one.token is not None]
            same = [store.created(one.keys.holder(one.mode, self._lease), one.revision) for one in held]
            never = [store.delete(f"{self._parameters.prefix}never")]
            succeeded, revision = store.transact(self._client, same, never, deadline)
        except EtcdError as error:
            if error.code == NOT_FOUND:
                raise Lost(f"etcd: {error}") from None
            raise StoreUnavailable(f"etcd: {error}") from None
        if not succeeded:
            raise Lost("etcd: what was held is not ours any more: it was deleted, or somebody broke the lease")
        self.good_from = sent
        self.ttl = min(self._parameters.ttl, float(result["TTL"]))
        self._tidy(deadline)
        self._keep_watching(held[0], revision, deadline)

    def _tidy(self, deadline: float) -> None:
        """Take away what a failed acquire may have left under our lease."""
        while self._doubtful:
            key = self._doubtful[-1]
            if all(
                one.token is None or one.keys.holder(one.mode, self._lease) != key for one in self._resources.values()
            ):
                try:
                    store.transact(self._client, [store.owned(key, self._lease)], [store.delete(key)], deadline)
                except (EtcdError, StoreUnavailable):
                    return
            self._doubtful.pop()

    def _keep_watching(self, one: _Resource, revision: int, deadline: float) -> None:
        """Watch the first key, if nobody does: all of them go with the lease. Only a hint, so that a failure is none."""
        if self._watch is not None and self._watch.fileno() >= 0:
            return
        try:
            key = one.keys.holder(one.mode, self._lease)
            self._watch = Watch(self._client, key, "", revision + 1, deadline)
            self._watch.look()
        except (EtcdError, StoreUnavailable):
            self._watch = None
        except Lost:
            raise
        except LeaseError:
            self._watch = None

    def lost_fd(self) -> int:
        """Give the watch on our own key."""
        return self._watch.fileno() if self._watch is not None else -1

    def look(self) -> None:
        """Read the watch."""
        if self._watch is not None:
            self._watch.look()

    def drop_inherited(self) -> None:
        """Close the connections: they belong to the guard alone."""
        self.free()

    # -- waiting

    def prepare_line(self) -> None:
        """Nothing to do: the child has connections of its own."""

    def leave_line(self) -> None:
        """Nothing to do: one in line has nothing."""

    def line_up(self) -> None:
        """Sleep until nobody is in the way any more, then for a moment that differs from the others'."""
        self._client = Client(self._parameters)
        wanted = [one for one in self._resources.values() if one.token is None]
        while True:
            try:
                views = store.read(self._client, [one.keys for one in wanted], http.now() + self._patience)
                busy = next((pair for pair in zip(wanted, views) if pair[1].conflicts(pair[0].mode, "-")), None)
                if busy is None:
                    break
                keys, view = busy[0].keys, busy[1]
                watch = Watch(
                    self._client, keys.holders, keys.holders_end, view.revision + 1, http.now() + self._patience
                )
                try:
                    watch.until_deleted(http.now() + _LOOK * (0.9 + 0.2 * _chance()))
                finally:
                    watch.close()
            except (EtcdError, LeaseError):
                time.sleep(_AGAIN * (0.5 + _chance()))
        self._wait_for_vanished(wanted, views)
        time.sleep(_SPREAD * _chance() + _STEP * self._parameters.preference)

    def _wait_for_vanished(self, wanted: list[_Resource], views: list[store.View]) -> None:
        until = 0.0
        for one, view in zip(wanted, views):
            for tenure in view.vanished(one.mode) if self._distrust else ():
                key = (one.name, int(tenure.get("token", 0)))
                until = max(until, self._vanished.get(key, 0.0))
        time.sleep(max(until - http.now(), 0.0))

    # -- giving back

    def release(self, resource: str | None = None) -> None:
        """Delete our keys if they are ours, and say in `epoch` that they were given back; then give up the lease."""
        if resource is not None and (resource not in self._resources or self._resources[resource].token is None):
            raise NotHeld(resource, self.tenant)
        chosen = [one for one in self._resources.values() if one.token is not None and resource in (None, one.name)]
        deadline = http.now() + self._patience
        try:
            self._give_back(chosen, deadline)
        except EtcdError as error:
            raise StoreUnavailable(f"etcd: {error}") from None
        for one in chosen:
            del self._resources[one.name]
        if resource is None:
            self._revoke()
            self._resources.clear()
            self._stop_watching()
        elif self._watch is not None:
            # It may have been on the key that is gone now; the next renewal begins another.
            self._stop_watching()

    def _give_back(self, chosen: list[_Resource], deadline: float) -> None:
        left = list(chosen)
        for _unused in range(_TRIES):
            if not left:
                return
            try:
                if store.transact(self._client, *self._giving(left, True), deadline)[0]:
                    return
            except EtcdError as error:
                if not error.full:
                    raise
                # No room for a new `epoch`: it will look as if we had vanished, which costs the next one time at most.
                if store.transact(self._client, *self._giving(left, False), deadline)[0]:
                    return
            views = store.read(self._client, [one.keys for one in left], deadline)
            still = []
            for one, view in zip(left, views):
                lease, revision, _tenure = view.holders.get(one.keys.holder(one.mode, self._lease), ("", 0, {}))
                if lease == self._lease and revision == one.revision:
                    one.got(revision, one.token or 0, view)
                    still.append(one)
            left = still
        raise StoreUnavailable("etcd: others were quicker, again and again")

    def _giving(self, left: list[_Resource], tell: bool) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        compares, changes = [], []
        for one in left:
            key = one.keys.holder(one.mode, self._lease)
            compares.append(store.created(key, one.revision))
            changes.append(store.delete(key))
            if tell:
                rest = [tenure for tenure in one.tenures if tenure.get("lease") != self._lease]
                compares.append(store.unchanged(one.keys.epoch, one.epoch))
                changes.append(store.put(one.keys.epoch, {"token": one.last, "open": rest}))
        return compares, changes

    # -- telling

    def held(self) -> list[Grant]:
        """Give what is held, in the order in which it was registered."""
        return [Grant(one.name, one.mode, one.token) for one in self._resources.values() if one.token is not None]

    def owners(self, resource: str) -> list[Holder]:
        """Read the keys of the holders."""
        try:
            keys = store.Keys(self._parameters.prefix, resource)
            (view,) = store.read(self._client, [keys], http.now() + self._patience)
        except EtcdError as error:
            raise LeaseError(f"etcd: {error}") from None
        return [_holder(resource, tenure) for _lease, _created, tenure in view.holders.values()]

    def free(self) -> None:
        """Close the connections. What is held ends by itself, `ttl` after the last renewal."""
        self._client.close()
        self._stop_watching()

    def _stop_watching(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    @property
    def _patience(self) -> float:
        return self._parameters.ttl * _CALL


class _Resource:
    """One resource. token: of our grant, None while there is none. revision: at which our key was made.

    epoch, last, tenures: revision, greatest token and open tenures of the epoch key, as we know it.
    """

    __slots__ = ("epoch", "keys", "last", "mode", "name", "revision", "tenures", "token")

    def __init__(self, prefix: str, name: str, mode: str) -> None:
        self.keys = store.Keys(prefix, name)
        self.name = name
        self.mode = mode
        self.token: int | None = None
        self.revision = 0
        self.epoch = 0
        self.last = 0
        self.tenures: list[dict[str, Any]] = []

    def got(self, revision: int, token: int, view: store.View) -> None:
        """Note the grant, or what has become of the epoch key since."""
        self.revision = revision
        self.token = token
        self.epoch, self.last, self.tenures = view.epoch, view.token, view.tenures


def _holder(resource: str, tenure: Mapping[str, Any]) -> Holder:
    name = f"{tenure.get('tenant', '?')} on {tenure.get('host', '?')}"
    return Holder(
        resource,
        str(tenure.get("mode", EXCLUSIVE_MODE)),
        name,
        int(tenure.get("pid", 0)),
        int(tenure.get("token", 0)),
        float(tenure.get("since", 0.0)),
        None,
    )


def _chance() -> float:
    """Give a number from 0 to 1."""
    return int.from_bytes(os.urandom(4), "little") / 2**32
