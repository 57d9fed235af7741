# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hand-overs in etcd: marks that end by a lease of their own. What their stages mean is in ../handover.py. PRIVATE to the collection.

The mark of a resource changes in the transaction in which the resource does: there is no moment at which somebody else
could get in, and every grant compares that the mark is still the one that was judged.
"""

from __future__ import annotations

import math

from ..handover import BACK, DROPPED, OUT, PREPARED, RETURNING, UNKNOWN, Handover, UnderWay
from ..interface import EXCLUSIVE_MODE, Busy, LeaseError, StoreUnavailable
from . import store
from .tenure import holder_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .tenure import Resource, Tenure

_TRIES = 10


def prepare_out(tenure: Tenure, handover: str, target: str, seconds: float) -> Handover:
    """Mark what is held. Raises UnderWay, LeaseError, EtcdError: no mark is left, or one that ends with its time."""
    chosen = [one for one in tenure.held() if one.mode == EXCLUSIVE_MODE]
    state = Handover(handover, tenure.known_as, target, {one.name: one.token or 0 for one in chosen}, PREPARED)
    deadline = tenure.deadline()
    lease = ""
    for _unused in range(_TRIES if chosen else 0):
        views = store.read(tenure.client, [one.keys for one in chosen], deadline)
        for one, view in zip(chosen, views):
            if view.mark is not None and (view.mark.id, view.mark.target) != (handover, target):
                raise UnderWay(f"{one.name}: {view.mark} has not ended; cancel it first")
        if not lease:
            # Taken anew for each time that it is prolonged: the old one ends by itself, with nothing that belongs to it.
            reply = tenure.client.call("/v3/lease/grant", {"TTL": str(max(math.ceil(seconds), 1))}, deadline)
            lease = str(reply["ID"])
        compares: list[dict[str, Any]] = []
        changes: list[dict[str, Any]] = []
        for one, view in zip(chosen, views):
            compares.append(store.created(tenure.key(one), one.revision))
            compares.append(store.unchanged(one.keys.handover, view.marked))
            changes.append(store.put(one.keys.handover, _record(state, one.token or 0), lease))
        if store.transact(tenure.client, compares, changes, deadline)[0]:
            return state
    if chosen:
        raise LeaseError("etcd: not marked: what was held is not ours any more, or somebody else marks it")
    return state


def complete_out(tenure: Tenure, handover: str) -> Handover:
    """Give back what is marked, the marks staying; or turn the marks that a dead guard of ours has left."""
    chosen = [one for one in tenure.resources.values() if one.mode == EXCLUSIVE_MODE]
    views = store.read(tenure.client, [one.keys for one in chosen], tenure.deadline()) if chosen else []
    seen: dict[str, tuple[store.View, Handover]] = {}
    for one, view in zip(chosen, views):
        mark = view.mark
        if mark is None or mark.id != handover or mark.source != tenure.known_as:
            raise LeaseError(f"{one.name}: is not being handed over by {tenure.known_as} under the number {handover}")
        if mark.stage not in (PREPARED, OUT):
            raise LeaseError(f"{one.name}: {mark} was taken back")
        if one.token is None and mark.stage == PREPARED and view.holders:
            raise Busy(one.name, [str(holder_of(one.name, record)) for _l, _c, record in view.holders.values()])
        seen[one.name] = view, mark

    def turn(one: Resource) -> list[dict[str, Any]]:
        view, mark = seen[one.name]
        mark.stage = OUT
        return [store.put(one.keys.handover, _record(mark, mark.tokens[one.name]), view.mark_lease)]

    held = [one for one in chosen if one.token is not None]
    if held:
        tenure.give_back(held, turn)
    left = [one for one in chosen if one.token is None and seen[one.name][1].stage == PREPARED]
    if left:
        compares: list[dict[str, Any]] = []
        changes: list[dict[str, Any]] = []
        for one in left:
            compares.append(store.unchanged(one.keys.handover, seen[one.name][0].marked))
            compares.append(store.nobody(one.keys.holders, one.keys.holders_end))
            changes += turn(one)
        if not store.transact(tenure.client, compares, changes, tenure.deadline())[0]:
            raise StoreUnavailable("etcd: the marks have changed meanwhile; try again")
    tokens = {name: mark.tokens[name] for name, (_view, mark) in seen.items()}
    target = next((mark.target for _view, mark in seen.values()), "")
    return Handover(handover, tenure.known_as, target, tokens, OUT)


def marked(tenure: Tenure, resource: str, prefix: str) -> Handover | None:
    """Give the mark of a resource."""
    (view,) = store.read(tenure.client, [store.Keys(prefix, resource)], tenure.deadline())
    return view.mark


def cancel(tenure: Tenure, handover: str) -> str:
    """Drop the marks that have come to nothing yet, turn the others back. One transaction: all or none."""
    chosen = list(tenure.resources.values())
    for _unused in range(_TRIES if chosen else 0):
        outcome = UNKNOWN
        compares: list[dict[str, Any]] = []
        changes: list[dict[str, Any]] = []
        deadline = tenure.deadline()
        for one, view in zip(chosen, store.read(tenure.client, [one.keys for one in chosen], deadline)):
            mark = view.mark
            if mark is None or mark.id != handover:
                continue
            compares.append(store.unchanged(one.keys.handover, view.marked))
            compares.append(store.unchanged(one.keys.epoch, view.epoch))
            if mark.stage == PREPARED:
                changes.append(store.delete(one.keys.handover))
                outcome = outcome if outcome == RETURNING else DROPPED
            else:
                mark.stage, outcome = BACK, RETURNING
                changes.append(store.put(one.keys.handover, _record(mark, mark.tokens[one.name]), view.mark_lease))
        if not changes or store.transact(tenure.client, compares, changes, deadline)[0]:
            return outcome
    if chosen:
        raise StoreUnavailable("etcd: the marks change all the time; try again")
    return UNKNOWN


def _record(state: Handover, token: int) -> dict[str, Any]:
    return {"id": state.id, "source": state.source, "target": state.target, "stage": state.stage, "token": token}
