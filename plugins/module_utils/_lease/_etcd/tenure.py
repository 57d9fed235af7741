# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One tenure in etcd: a lease of etcd's, the keys that belong to it, and their coming and going. PRIVATE to the collection."""

from __future__ import annotations

import math
import os
import time

from .. import trees
from ..handover import permit
from ..interface import (
    EXCLUSIVE_MODE,
    Busy,
    Grant,
    Holder,
    LeaseError,
    Lost,
    StoreUnavailable,
)
from . import http, store
from .client import NOT_FOUND, Client, EtcdError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from ..handover import Handover
    from .parameters import Parameters
    from .renewing import Renewing

#: The part of T that one call may take, with connecting and all endpoints that are tried.
_CALL = 1 / 4
#: The same for the first acquire, which is three calls: nothing is held that would have to be renewed meanwhile, and what is
#: got too late to be of use is given back.
_FIRST = 1 / 2
#: The part of T within which a member has to have answered that is asked for a channel before anything is held.
_QUICK = 1 / 16
#: Seconds for which a wish is good.
_WISH = 5
#: Times that a transaction is tried when others were quicker.
_TRIES = 20


class Tenure:
    """What one guard has, or wants. lease: etcd's number for it, "" while there is none. ttl, good_from: see Driver.

    distrust: a lease that vanished may have been ended too early by a leader that was stuck.
    """

    def __init__(self, tenant: str, known_as: str, parameters: Parameters) -> None:
        self.tenant = tenant
        self.known_as = known_as
        self.client = Client(parameters)
        self.lease = ""
        self.ttl = parameters.ttl
        self.good_from = 0.0
        self.distrust = True
        #: Who comes before us and wishes for what we hold, by the last renewal.
        self.preferred = ""
        self.note: dict[str, Any] = {}
        self.resources: dict[str, Resource] = {}
        self._parameters = parameters
        # When we saw first that a holder had vanished: (resource, token) -> until when it is waited for.
        self._vanished: dict[tuple[str, int], float] = {}
        self._doubtful: list[str] = []
        self._renewing: Renewing | None = None

    def deadline(self) -> float:
        """Give the time at which a call that begins now has to have ended."""
        return http.now() + self._parameters.ttl * _CALL

    def held(self) -> list[Resource]:
        """Give what is held, in the order in which it was registered."""
        return [one for one in self.resources.values() if one.token is not None]

    def wanted(self) -> list[Resource]:
        """Give what is registered and not held."""
        return [one for one in self.resources.values() if one.token is None]

    def key(self, one: Resource) -> str:
        """Give the key that we have, or would have, for a resource."""
        return one.keys.holder(one.mode, self.lease)

    # -- getting

    def acquire(self, handover: Handover | None = None) -> None:
        """Get everything that is missing in one transaction. Raises Busy, Overtaken, Lost, LeaseError."""
        # What is imported is imported before anything is held, and not in the time that etcd has.
        channels = self._renewer().channels
        wanted = self.wanted()
        more = bool(self.held())
        quick = self._parameters.ttl * _QUICK
        deadline = http.now() + self._parameters.ttl * (_CALL if more else _FIRST)
        try:
            for _unused in range(_TRIES if wanted else 0):
                channels.open(self.client, quick, deadline)
                views = store.read(self.client, [one.keys for one in wanted], deadline)
                if self._found_ours(wanted, views):
                    return
                for one, view in zip(wanted, views):
                    self._judge(one, view, handover)
                channels.open(self.client, quick, deadline)
                if not self.lease:
                    self._get_lease(deadline)
                if self._take(wanted, views, deadline):
                    return
            if wanted:
                raise StoreUnavailable("etcd: others were quicker, again and again")
        except (LeaseError, EtcdError) as error:
            raise self._after_failed_acquire(error, wanted, more) from None

    def _found_ours(self, wanted: list[Resource], views: list[store.View]) -> bool:
        """Say whether an earlier transaction of ours, whose answer was lost, has taken all of it; note it then."""
        if not self.lease:
            return False
        found = []
        for one, view in zip(wanted, views):
            lease, revision, _tenure = view.holders.get(self.key(one), ("", 0, {}))
            tokens = [tenure["token"] for tenure in view.tenures if tenure.get("lease") == self.lease]
            if lease != self.lease or not tokens:
                return False
            found.append((one, revision, max(tokens), view))
        for one, revision, token, view in found:
            one.got(revision, token, view)
        return True

    def _judge(self, one: Resource, view: store.View, handover: Handover | None) -> None:
        """Raise if somebody is in the way, or has vanished in a way that is not to be trusted yet."""
        conflicts = view.conflicts(one.mode, self.lease or "-")
        if conflicts:
            raise Busy(one.name, [str(holder_of(one.name, tenure)) for tenure in conflicts])
        permit(one.name, view.mark, self.known_as, view.token, handover)
        for tenure in view.vanished(one.mode) if self.distrust else ():
            key = (one.name, int(tenure.get("token", 0)))
            until = self._vanished.setdefault(key, http.now() + float(tenure.get("ttl", self.ttl)))
            if http.now() < until:
                left = until - http.now()
                raise Busy(
                    one.name, [f"{holder_of(one.name, tenure)}, whose lease has vanished: waited for {left:.1f} s more"]
                )

    def until_trusted(self, one: Resource, view: store.View) -> float:
        """Give the time until which those who have vanished are waited for, as far as `acquire` has seen them vanish."""
        tenures = view.vanished(one.mode) if self.distrust else []
        return max(
            (self._vanished.get((one.name, int(tenure.get("token", 0))), 0.0) for tenure in tenures), default=0.0
        )

    def _get_lease(self, deadline: float) -> None:
        reply = self.client.call("/v3/lease/grant", {"TTL": str(math.ceil(self._parameters.ttl))}, deadline)
        self.lease = str(reply["ID"])
        self.good_from = self.client.sent
        self.ttl = min(self._parameters.ttl, float(reply["TTL"]))

    def _take(self, wanted: list[Resource], views: list[store.View], deadline: float) -> bool:
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
            compares += [store.unchanged(keys.epoch, view.epoch), store.unchanged(keys.handover, view.marked)]
            if one.mode == EXCLUSIVE_MODE:
                compares.append(store.nobody(keys.holders, keys.holders_end))
            else:
                # Whoever came since in a mode that ours can't be beside has changed the epoch.
                compares.append(store.nobody(keys.exclusive))
            changes += [
                store.put(self.key(one), {**tenure, "note": self.note}, self.lease),
                store.put(keys.epoch, epoch),
            ]
            if view.marked:
                # Void since the number has changed.
                changes.append(store.delete(keys.handover))
            epochs.append(epoch)
        succeeded, revision = store.transact(self.client, compares, changes, deadline)
        if succeeded:
            for one, view, epoch in zip(wanted, views, epochs):
                view.epoch, view.token, view.tenures = revision, epoch["token"], epoch["open"]
                one.got(revision, view.token, view)
        return succeeded

    def _tenure(self, one: Resource, token: int) -> dict[str, Any]:
        return {
            "token": token,
            "lease": self.lease,
            "mode": one.mode,
            "ttl": self.ttl,
            "preference": self._parameters.preference,
            "tenant": self.tenant,
            "host": os.uname().nodename,
            "boot": trees.boot(),
            "pid": os.getpid(),
            "since": round(time.time(), 3),
        }

    def _after_failed_acquire(self, error: LeaseError | EtcdError, wanted: list[Resource], more: bool) -> LeaseError:
        """See to it that nothing new is held, as far as etcd can be reached, and give the error for the caller."""
        if more:
            if isinstance(error, EtcdError) and error.code == NOT_FOUND:
                return Lost(f"etcd: {error}")
            if isinstance(error, StoreUnavailable):
                self._doubtful.extend(map(self.key, wanted))
        else:
            # Somebody was quicker, or nobody knows: one in line has no lease, and no channel.
            self.revoke()
            self._close_channel()
        if isinstance(error, EtcdError):
            if error.code == NOT_FOUND:
                return StoreUnavailable(f"etcd: the new lease has ended before it was used: {error}")
            if error.full:
                return StoreUnavailable(
                    f"etcd has no room left (NOSPACE), nothing can be started until it has: {error}"
                )
            return LeaseError(f"etcd: {error}")
        return error

    def revoke(self) -> None:
        """Give up the lease and all its keys. If that does not arrive, it ends by itself, and nobody counts on it."""
        lease, self.lease = self.lease, ""
        if not lease:
            return
        try:
            self.client.call("/v3/lease/revoke", {"ID": lease}, self.deadline())
        except (EtcdError, LeaseError):
            pass
        # Its conversation is about this lease.
        self._close_channel()

    # -- keeping

    def renew(self) -> int:
        """Keep the lease alive, have it confirmed, and give the store's revision then. Raises Lost, StoreUnavailable."""
        deadline = self.deadline()
        try:
            held = self.held()
            same = [(self.key(one), one.revision) for one in held]
            # Nobody comes before who comes first.
            wishes = [one.keys.wish for one in held] if self._parameters.preference else []
            done = self._renewer().renew(self.client, self.lease, same, wishes, deadline)
        except EtcdError as error:
            if error.code == NOT_FOUND:
                raise Lost(f"etcd: {error}") from None
            raise StoreUnavailable(f"etcd: {error}") from None
        if not done.succeeded:
            raise Lost("etcd: what was held is not ours any more: it was deleted, or somebody broke the lease")
        self.good_from = done.sent
        self.preferred = self._first_of(done.wished)
        self.ttl = min(self._parameters.ttl, float(done.ttl))
        self._tidy(deadline)
        return done.revision

    def _renewer(self) -> Renewing:
        if self._renewing is None:
            # Only who wants to hold something imports them.
            from .channels import Channels
            from .renewing import Renewing

            self.client.channels = Channels(self._parameters)
            self._renewing = Renewing(self.client.channels, f"{self._parameters.prefix}never")
        return self._renewing

    def close(self) -> None:
        """Close the connections; the next call makes others."""
        self.client.close()
        self._close_channel()

    def _close_channel(self) -> None:
        if self._renewing is not None:
            self._renewing.channels.close()

    def _first_of(self, wished: list[dict[str, Any]]) -> str:
        """Name one who wishes for what is held and comes before us."""
        ours = self._parameters.preference
        return next((str(one.get("tenant", "?")) for one in wished if preference_of(one) < ours), "")

    def wish(self, resources: list[Resource], deadline: float) -> None:
        """Tell whoever holds *resources* that we would rather have them. Raises EtcdError, StoreUnavailable."""
        lease = str(self.client.call("/v3/lease/grant", {"TTL": str(_WISH)}, deadline)["ID"])
        record = {"preference": self._parameters.preference, "tenant": self.known_as}
        store.transact(self.client, [], [store.put(one.keys.wish, record, lease) for one in resources], deadline)

    def _tidy(self, deadline: float) -> None:
        """Take away what a failed acquire may have left under our lease."""
        held = set(map(self.key, self.held()))
        while self._doubtful:
            key = self._doubtful[-1]
            if key not in held:
                try:
                    store.transact(self.client, [store.owned(key, self.lease)], [store.delete(key)], deadline)
                except (EtcdError, StoreUnavailable):
                    return
            self._doubtful.pop()

    def annotate(self) -> None:
        """Write the note beside what is held. Raises LeaseError, EtcdError."""
        held = self.held()
        changes = [
            store.put(self.key(one), {**self._tenure(one, one.token or 0), "note": self.note}, self.lease)
            for one in held
        ]
        same = [store.created(self.key(one), one.revision) for one in held]
        if held and not store.transact(self.client, same, changes, self.deadline())[0]:
            raise LeaseError("etcd: what was held is not ours any more, there is nothing to write to")

    # -- giving back

    def give_back(
        self, chosen: list[Resource], instead: Callable[[Resource], list[dict[str, Any]]] | None = None
    ) -> None:
        """Delete the keys if they are ours, and say in `epoch` that they were given back.

        instead: changes to be made with it, for a resource; by default the mark of a hand-over that has not come to
        anything goes too. Raises EtcdError, StoreUnavailable: nothing was given back, as far as is known.
        """
        deadline = self.deadline()
        left = list(chosen)
        for _unused in range(_TRIES):
            if not left:
                return
            try:
                if store.transact(self.client, *self._giving(left, instead), deadline)[0]:
                    return
            except EtcdError as error:
                if not error.full or instead is not None:
                    raise
                # No room for a new `epoch`: it will look as if we had vanished, which costs the next one time at most.
                same = [store.created(self.key(one), one.revision) for one in left]
                if store.transact(self.client, same, [store.delete(self.key(one)) for one in left], deadline)[0]:
                    return
            views = store.read(self.client, [one.keys for one in left], deadline)
            still = []
            for one, view in zip(left, views):
                lease, revision, _tenure = view.holders.get(self.key(one), ("", 0, {}))
                if lease == self.lease and revision == one.revision:
                    one.got(revision, one.token or 0, view)
                    still.append(one)
            left = still
        raise StoreUnavailable("etcd: others were quicker, again and again")

    def _giving(
        self, left: list[Resource], instead: Callable[[Resource], list[dict[str, Any]]] | None
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        compares: list[dict[str, Any]] = []
        changes: list[dict[str, Any]] = []
        for one in left:
            rest = [tenure for tenure in one.tenures if tenure.get("lease") != self.lease]
            compares += [store.created(self.key(one), one.revision), store.unchanged(one.keys.epoch, one.epoch)]
            changes += [store.delete(self.key(one)), store.put(one.keys.epoch, {"token": one.last, "open": rest})]
            if instead is not None:
                changes += instead(one)
            elif one.mode == EXCLUSIVE_MODE:
                changes.append(store.delete(one.keys.handover))
        return compares, changes


class Resource:
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

    def grant(self) -> Grant:
        """Give it in the form of the interface."""
        return Grant(self.name, self.mode, self.token or 0)


def preference_of(record: Mapping[str, Any]) -> float:
    """Give the preference in a record: whoever has none comes first."""
    value = record.get("preference", 0.0)
    return float(value) if isinstance(value, (int, float)) else 0.0


def holder_of(resource: str, tenure: Mapping[str, Any]) -> Holder:
    """Give the holder that a record is about."""
    note = tenure.get("note")
    return Holder(
        resource,
        str(tenure.get("mode", EXCLUSIVE_MODE)),
        f"{tenure.get('tenant', '?')}@{tenure.get('host', '?')}",
        int(tenure.get("pid", 0)),
        int(tenure.get("token", 0)),
        float(tenure.get("since", 0.0)),
        None,
        note if isinstance(note, dict) else None,
        str(tenure.get("host", "")),
    )
