# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The driver `etcd`: leases of an etcd cluster, over gRPC, or by the JSON gateway of its v3 API. PRIVATE to the collection.

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

import os
import time

from .._lean import json
from ._etcd import http, store
from ._etcd.client import Client, EtcdError
from ._etcd.judge import judge
from ._etcd.parameters import NAMES, SHORTEST, Parameters
from ._etcd.tenure import Resource, Tenure, holder_of, preference_of
from ._etcd.watch import Watch
from .handover import complete_in
from .interface import (
    HANDOVER,
    HOT,
    LINE_UP,
    NOTE,
    READONLY,
    REMOTE,
    RENEWS,
    SHARED,
    TOKEN,
    UNBROKEN,
    Driver,
    DriverNotLoaded,
    Grant,
    Holder,
    Hole,
    LeaseError,
    Lost,
    NotHeld,
    StoreUnavailable,
    check_registration,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, ClassVar, TypeVar

    from .handover import Handover

    Value = TypeVar("Value")

#: Seconds after which one in line looks by itself, about, and while etcd does not answer.
_LOOK, _AGAIN = 12.0, 2.0
#: Seconds, at most, until it asks another member when one has failed that had answered.
_SOON = 0.2
#: Seconds by which those in line are spread when they all wake at once: for everybody, and for each step of preference.
_SPREAD, _STEP = 0.01, 0.1
#: Seconds between two looks of one that wishes for what is held, and for how long it does so at a time.
_WISHING, _WISHES = 2.0, 30.0
#: Bytes that a note may have.
_NOTE_LIMIT = 8192


class Etcd(Driver):
    """Leases of an etcd cluster. Parameters: see _etcd/parameters.py."""

    name: ClassVar[str] = "etcd"
    api: ClassVar[tuple[int, int]] = (1, 5)
    capabilities: ClassVar[frozenset[str]] = frozenset(
        {SHARED, READONLY, HOT, TOKEN, LINE_UP, RENEWS, REMOTE, HANDOVER, NOTE, UNBROKEN}
    )
    parameters: ClassVar[frozenset[str]] = NAMES
    most_resources: ClassVar[int | None] = store.MOST
    shortest_ttl: ClassVar[float] = SHORTEST

    def __init__(self, tenant: str, parameters: Mapping[str, Any]) -> None:
        """Make the driver. Raises DriverRefused."""
        super().__init__(tenant, parameters)
        self._parameters = Parameters(parameters)
        self._tenure = Tenure(tenant, self.identity, self._parameters)
        self.ttl: float = self._parameters.ttl
        self._facts: dict[str, str] = {}
        self._watch: Watch | None = None

    @property
    def identity(self) -> str:
        """Give the tenant and its host: several hosts have a service of that name."""
        return f"{self.tenant}@{os.uname().nodename}"

    @classmethod
    def load(cls, core_api: tuple[int, int], features: frozenset[str]) -> None:
        """Need a core that renews, and a kernel's timer behind it."""
        missing = sorted({"renew", "dead_man", "line_up"} - features)
        if core_api[0] != cls.api[0] or core_api < cls.api or missing:
            raise DriverNotLoaded(f"driver etcd: this core cannot do what it needs: {', '.join(missing) or core_api}")

    def probe(self) -> list[Hole]:
        """Ask every endpoint for its version, and judge."""
        verdict = judge(self._tenure.client, self._parameters, self._tenure.deadline() - http.now())
        self._facts = verdict.facts
        self._tenure.distrust = verdict.early_revoke and self._parameters.early_revoke == "wait"
        return verdict.holes

    def facts(self) -> dict[str, str]:
        """Tell versions, members, known faults and clock, as of the last `probe`."""
        return dict(self._facts)

    def register(self, resource: str, mode: str) -> None:
        """Note the resource."""
        resources = self._tenure.resources
        check_registration(resource, mode, resources, self)
        resources[resource] = Resource(self._parameters.prefix, resource, mode)

    def forget(self, resource: str) -> None:
        """Take back the registration of a resource that is not held."""
        found = self._tenure.resources.get(resource)
        if found is not None and found.token is None:
            del self._tenure.resources[resource]

    def acquire(self) -> list[Grant]:
        """Get everything that is missing in one transaction."""
        return self._take(None)

    def _take(self, handover: Handover | None) -> list[Grant]:
        tenure = self._tenure
        tenure.note = self.note
        tenure.acquire(handover)
        self.ttl, self.good_from = tenure.ttl, tenure.good_from
        return self.held()

    def bind(self, pid: int, started: int) -> None:
        """Nothing to do: the lease ends by time, and the kernel's timer ends the tree before that."""

    def held(self) -> list[Grant]:
        """Give what is held, in the order in which it was registered."""
        return [one.grant() for one in self._tenure.held()]

    def owners(self, resource: str) -> list[Holder]:
        """Read the keys of the holders."""
        keys = store.Keys(self._parameters.prefix, resource)
        (view,) = self._asking(lambda: store.read(self._tenure.client, [keys], self._tenure.deadline()))
        return [holder_of(resource, tenure) for _lease, _created, tenure in view.holders.values()]

    def all_owners(self) -> list[Holder]:
        """Read everything below the prefix."""
        prefix = self._parameters.prefix
        found = self._asking(lambda: store.holders(self._tenure.client, prefix, self._tenure.deadline()))
        return [holder_of(resource, tenure) for resource, tenure in found]

    def annotate(self, note: Mapping[str, Any]) -> None:
        """Write the holders' keys anew."""
        if len(json.dumps(dict(note))) > _NOTE_LIMIT:
            raise LeaseError(f"driver etcd: a note has at most {_NOTE_LIMIT} bytes")
        self.note = self._tenure.note = dict(note)
        self._asking(self._tenure.annotate)

    def _asking(self, work: Callable[[], Value]) -> Value:
        """Do what may be refused by etcd. Raises LeaseError."""
        try:
            return work()
        except EtcdError as error:
            raise LeaseError(f"etcd: {error}") from None

    # -- keeping

    def renew(self) -> None:
        """Keep the lease alive, and have it confirmed by a write that all members agree on."""
        revision = self._tenure.renew()
        self.ttl, self.good_from = self._tenure.ttl, self._tenure.good_from
        if self._watch is None or self._watch.fileno() < 0:
            self._begin_watching(revision)

    def preferred(self) -> str:
        """Name who comes first by the last renewal."""
        return self._tenure.preferred

    def _begin_watching(self, revision: int) -> None:
        """Watch the first key: all of them go with the lease. Only a hint, so that a failure is none."""
        held = self._tenure.held()
        try:
            if held:
                key = self._tenure.key(held[0])
                self._watch = Watch(self._tenure.client, key, "", revision + 1, self._tenure.deadline())
                # What has come with the first answer is not announced by the descriptor.
                self._watch.look()
        except Lost:
            raise
        except (EtcdError, LeaseError):
            self._stop_watching()

    def lost_fd(self) -> int:
        """Give the watch on our own key."""
        return self._watch.fileno() if self._watch is not None else -1

    def look(self) -> None:
        """Read the watch."""
        if self._watch is not None:
            self._watch.look()

    def _stop_watching(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None

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
        tenure = self._tenure
        tenure.client = Client(self._parameters)
        wanted = tenure.wanted()
        since, failed = http.now(), False
        while True:
            try:
                views = store.read(tenure.client, [one.keys for one in wanted], tenure.deadline())
                pairs = list(zip(wanted, views))
                busy = next((pair for pair in pairs if self._in_the_way(*pair)), None)
                if busy is None:
                    break
                self._wait_for_a_change(*busy, self._next_look(pairs, since))
                failed = False
            except (EtcdError, LeaseError):
                # The member may have died that we have heard all from, and with it the holder: another one is asked soon.
                time.sleep(_AGAIN * (0.5 + _chance()) if failed else _SOON * _chance())
                failed = True
        until = max((tenure.until_trusted(one, view) for one, view in pairs), default=0.0)
        time.sleep(max(until - http.now(), 0.0))
        time.sleep(_SPREAD * _chance() + _STEP * self._parameters.preference)

    def _in_the_way(self, one: Resource, view: store.View) -> bool:
        kept = view.mark is not None and not view.mark.allows(self.identity)
        return kept or bool(view.conflicts(one.mode, "-"))

    def _next_look(self, pairs: list[tuple[Resource, store.View]], since: float) -> float:
        """Give the seconds to the next look. If all that is in our way comes after us, wish for it when it is time for that.

        Not without end: a holder that does not heed it is left alone for a while. Raises EtcdError, StoreUnavailable.
        """
        look = _LOOK * (0.9 + 0.2 * _chance())
        patience, ours = self._parameters.fail_back, self._parameters.preference
        pairs = [(one, view) for one, view in pairs if view.conflicts(one.mode, "-")]
        tenures = [tenure for one, view in pairs for tenure in view.conflicts(one.mode, "-")]
        if not patience or not tenures or any(preference_of(tenure) <= ours for tenure in tenures):
            return look
        waited = (http.now() - since) % (patience + _WISHES)
        if waited < patience:
            return min(look, patience - waited)
        self._tenure.wish([one for one, _view in pairs], self._tenure.deadline())
        return _WISHING

    def _wait_for_a_change(self, one: Resource, view: store.View, look: float) -> None:
        """Sleep until something of the resource is deleted, or it is time to look. Raises EtcdError, StoreUnavailable."""
        tenure = self._tenure
        watch = Watch(tenure.client, one.keys.base, one.keys.end, view.revision + 1, tenure.deadline())
        try:
            watch.until_deleted(http.now() + look)
        finally:
            watch.close()

    # -- giving back and handing over; what that takes is loaded for the first who does it

    def release(self, resource: str | None = None) -> None:
        """Delete our keys if they are ours, and say in `epoch` that they were given back; then give up the lease."""
        tenure = self._tenure
        if resource is not None and all(one.name != resource for one in tenure.held()):
            raise NotHeld(resource, self.tenant)
        chosen = [one for one in tenure.held() if resource in (None, one.name)]
        try:
            tenure.give_back(chosen)
        except EtcdError as error:
            raise StoreUnavailable(f"etcd: {error}") from None
        for one in chosen:
            del tenure.resources[one.name]
        # It may have been on the key that is gone now; the next renewal begins another.
        self._stop_watching()
        if resource is None:
            self._end()

    def _end(self) -> None:
        self._tenure.revoke()
        self._tenure.resources.clear()
        self._stop_watching()

    def prepare_out(self, handover: str, target: str, seconds: float) -> Handover:
        """Mark what is held exclusively. Shared resources get no mark: the destination can hold them at the same time."""
        from ._etcd.handing import prepare_out

        return self._asking(lambda: prepare_out(self._tenure, handover, target, seconds))

    def complete_out(self, handover: str) -> Handover:
        """Turn the marks in the transaction that gives the resources back."""
        from ._etcd.handing import complete_out

        held = bool(self._tenure.held())
        state = self._asking(lambda: complete_out(self._tenure, handover))
        if held:
            for name in state.tokens:
                del self._tenure.resources[name]
            self.release()
        return state

    def complete_in(self, state: Handover) -> list[Grant]:
        """Take everything with its number compared. What the source held besides is registered here too."""
        modes = {one.name: one.mode for one in self._tenure.resources.values()}
        return complete_in(self, modes, state, self._take)

    def handed_over(self, resource: str) -> Handover | None:
        """Read the mark."""
        from ._etcd.handing import marked

        return self._asking(lambda: marked(self._tenure, resource, self._parameters.prefix))

    def cancel(self, handover: str) -> str:
        """Drop the marks, or turn them back."""
        from ._etcd.handing import cancel

        return self._asking(lambda: cancel(self._tenure, handover))

    def free(self) -> None:
        """Close the connections. What is held ends by itself, `ttl` after the last renewal."""
        self._tenure.close()
        self._stop_watching()


def _chance() -> float:
    """Give a number from 0 to 1."""
    return int.from_bytes(os.urandom(4), "little") / 2**32
