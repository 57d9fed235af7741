# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Renewing: a keepalive, and then the guarded transaction, at one and the same member. PRIVATE to the collection.

The transaction is sent when the answer to the keepalive is there, and not with it: it proves that the keepalive was
answered for a lease that was alive, and so has to be carried out after it.
"""

from __future__ import annotations

from ..._lean import json
from ..interface import Lost
from . import http, messages, store
from .frames import Violation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .channel import Channel
    from .channels import Channels
    from .client import Client

#: The part of the time that a renewal may have taken after which a channel is opened.
_QUICK = 1 / 3
#: The part of the time of a renewal after which an answer of the only endpoint counts as lost, and it is asked once more.
_LOST = 0.64


class Wanted:
    """What is to be renewed: the lease, and on which condition.

    same: our keys and when they were made. request: if they are those, delete a key that is not there, and read wishes.
    keepalive, transaction: what the channel says; it is mostly the same, time after time.
    """

    __slots__ = ("keepalive", "lease", "number", "request", "same", "transaction", "wishes")

    def __init__(self, lease: str, same: list[tuple[str, int]], never: str, wishes: list[str]) -> None:
        self.lease = lease
        self.number = int(lease)
        self.same = same
        self.wishes = wishes
        self.request: dict[str, Any] = {
            "compare": [store.created(key, revision) for key, revision in same],
            "success": [store.delete(never), *map(store.get, wishes)],
        }
        self.keepalive = messages.keepalive(self.number)
        self.transaction = messages.transaction(self.request)


class Renewed:
    """How it went. sent: when the keepalive was sent. succeeded: our keys are the ones that we made. wished: records."""

    __slots__ = ("revision", "sent", "succeeded", "ttl", "wished")

    def __init__(self, sent: float, ttl: int, succeeded: bool, revision: int, wished: list[dict[str, Any]]) -> None:
        self.sent = sent
        self.ttl = ttl
        self.succeeded = succeeded
        self.revision = revision
        self.wished = wished


class Renewing:
    """Renews one lease, with whichever member answers. channels: by which it does. never: the key that is deleted."""

    def __init__(self, channels: Channels, never: str) -> None:
        self.channels = channels
        self._never = never
        self._wanted: Wanted | None = None

    def renew(
        self, client: Client, lease: str, same: list[tuple[str, int]], wishes: list[str], deadline: float
    ) -> Renewed:
        """Renew *lease* if the keys in *same* are those that were made at these revisions, and read *wishes* along.

        Raises Lost, EtcdError, StoreUnavailable.
        """
        wanted = self._wanted
        if wanted is None or (wanted.lease, wanted.same, wanted.wishes) != (lease, same, wishes):
            wanted = self._wanted = Wanted(lease, same, self._never, wishes)
        began = http.now()
        done = client.ask(lambda until: self._ask(client, wanted, until), deadline)
        # Counted from the keepalive on.
        self.channels.open(client, (deadline - began) * _QUICK - (client.sent - done.sent), deadline)
        return done

    def _ask(self, client: Client, wanted: Wanted, until: float) -> Renewed:
        """Renew at the endpoint that is asked now, the only one twice if it is silent. Raises Lost, EtcdError, OSError, ValueError."""
        if client.alone:
            try:
                return self._attempt(client, wanted, until, (until - http.now()) * _LOST)
            except http.Timeout:
                client.close()
        return self._attempt(client, wanted, until, until - http.now())

    def _attempt(self, client: Client, wanted: Wanted, until: float, patience: float) -> Renewed:
        """Do so once. patience: seconds that it has for each answer."""
        return self.channels.either(
            client,
            lambda channel: _by_channel(channel, client.token, wanted, until, patience),
            lambda: _by_gateway(client, wanted, until, patience),
        )


def _by_channel(channel: Channel, token: str, wanted: Wanted, until: float, patience: float) -> Renewed:
    sent = http.now()
    soon = _first(until, patience)
    lease, ttl = messages.lease_and_ttl(channel.tell(messages.KEEPALIVE, token, wanted.keepalive, soon))
    if lease != wanted.number:
        raise Violation("an answer about another lease")
    _check(wanted, ttl)
    soon = _first(until, patience)
    return _renewed(sent, ttl, messages.transacted(channel.ask(messages.TXN, token, wanted.transaction, soon)))


def _by_gateway(client: Client, wanted: Wanted, until: float, patience: float) -> Renewed:
    soon = _first(until, patience)
    reply = client.once("/v3/lease/keepalive", json.dumps({"ID": wanted.lease}).encode(), soon)
    sent = client.sent
    ttl = int((reply.get("result") or {}).get("TTL") or 0)
    _check(wanted, ttl)
    soon = _first(until, patience)
    return _renewed(sent, ttl, client.once("/v3/kv/txn", json.dumps(wanted.request).encode(), soon))


def _first(until: float, patience: float) -> float:
    """Give the time by which an answer has to be there that is asked for now."""
    return min(http.now() + patience, until)


def _renewed(sent: float, ttl: int, reply: dict[str, Any]) -> Renewed:
    return Renewed(sent, ttl, bool(reply.get("succeeded")), store.revision_of(reply), store.records(reply))


def _check(wanted: Wanted, ttl: int) -> None:
    """A lease that is gone has no TTL in an answer that looks like success. Raises Lost."""
    if ttl <= 0:
        raise Lost(f"etcd: lease {wanted.lease} has ended or was revoked")
