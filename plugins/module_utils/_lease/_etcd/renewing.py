# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Renewing: a keepalive, and then the guarded transaction, at one and the same member. PRIVATE to the collection.

Through etcd's JSON gateway a renewal costs etcd twice and us three times of what it costs in etcd's own protocol, gRPC. So
a channel of that is opened *after* a renewal that went through the gateway, if there is time, and used from the next one
on. Where it can't be had, or has ended, the gateway does it: a renewal never depends on a channel's being opened.

The transaction is sent when the answer to the keepalive is there, and not with it: it proves that the keepalive was
answered for a lease that was alive, and so has to be carried out after it.
"""

from __future__ import annotations

from ..._lean import json
from ..interface import LeaseError, Lost
from . import http, messages, store
from .channel import Channel
from .client import EtcdError
from .frames import Violation

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from typing import Any

    from .client import Client
    from .parameters import Parameters

#: Seconds for which an endpoint where there is no channel to be had is left alone.
_WHILE = 60.0
#: The part of the time that is left which opening a channel may take.
_OPENING = 1 / 2
#: The part of the time that a renewal may have taken after which a channel is opened.
_QUICK = 1 / 3


class Wanted:
    """What is to be renewed: the lease, and on which condition.

    same: our keys and when they were made. never: the key that is deleted. wishes: keys that are read along. keepalive,
    transaction: what the channel says; it is mostly the same, time after time.
    """

    __slots__ = ("keepalive", "lease", "never", "number", "same", "transaction", "wishes")

    def __init__(self, lease: str, same: list[tuple[str, int]], never: str, wishes: list[str]) -> None:
        self.lease = lease
        self.number = int(lease)
        self.same = same
        self.never = never
        self.wishes = wishes
        self.keepalive = messages.keepalive(self.number)
        keys = [(key.encode(), revision) for key, revision in same]
        self.transaction = messages.guarded(keys, never.encode(), [key.encode() for key in wishes])


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
    """Renews one lease, with whichever member answers."""

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters
        self._channel: Channel | None = None
        self._context: ssl.SSLContext | None = None
        # number of an endpoint -> until when no channel is tried there.
        self._without: dict[int, float] = {}
        self._wanted: Wanted | None = None

    def close(self) -> None:
        """Close the channel; there may be another one later."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def renew(
        self, client: Client, lease: str, same: list[tuple[str, int]], wishes: list[str], deadline: float
    ) -> Renewed:
        """Renew *lease* if the keys in *same* are those that were made at these revisions, and read *wishes* along.

        Raises Lost, EtcdError, StoreUnavailable.
        """
        wanted = self._wanted
        if wanted is None or (wanted.lease, wanted.same, wanted.wishes) != (lease, same, wishes):
            wanted = self._wanted = Wanted(lease, same, f"{self._parameters.prefix}never", wishes)
        began = http.now()
        done = client.ask(lambda until: self._attempt(client, wanted, until), deadline)
        if self._channel is None:
            now = http.now()
            # A member that has so much to do that it takes its time is not given more to do.
            if now >= self._without.get(client.current, 0.0) and now - done.sent < (deadline - began) * _QUICK:
                self._open(client, client.current, deadline)
        return done

    def _attempt(self, client: Client, wanted: Wanted, until: float) -> Renewed:
        """Renew at the endpoint that is asked now. Raises Lost, EtcdError, OSError, ValueError."""
        if self._channel is not None and self._channel.number == client.current:
            try:
                done = self._by_channel(self._channel, client, wanted, until)
            except (EtcdError, http.Timeout):
                self.close()
                raise
            except OSError as error:
                # It has ended meanwhile, or never was one. There is time to say the same in the other way.
                if isinstance(error, Violation) or not self._channel.used:
                    self._without[self._channel.number] = http.now() + _WHILE
                self.close()
            else:
                # It would only lie idle.
                client.close()
                return done
        else:
            self.close()
        return self._by_gateway(client, wanted, until)

    def _by_channel(self, channel: Channel, client: Client, wanted: Wanted, until: float) -> Renewed:
        channel.look()
        sent = http.now()
        lease, ttl = messages.kept(channel.tell(messages.KEEPALIVE, client.token, wanted.keepalive, until))
        if lease != wanted.number:
            raise Violation("an answer about another lease")
        _check(wanted, ttl)
        answer = channel.ask(messages.TXN, client.token, wanted.transaction, until)
        succeeded, revision, found = messages.confirmed(answer)
        client.heard(sent)
        return Renewed(sent, ttl, succeeded, revision, list(map(store.record, found)))

    def _by_gateway(self, client: Client, wanted: Wanted, until: float) -> Renewed:
        reply = client.once("/v3/lease/keepalive", json.dumps({"ID": wanted.lease}).encode(), until)
        sent = client.sent
        ttl = int((reply.get("result") or {}).get("TTL") or 0)
        _check(wanted, ttl)
        same = [store.created(key, revision) for key, revision in wanted.same]
        changes = [store.delete(wanted.never), *map(store.get, wanted.wishes)]
        reply = client.once("/v3/kv/txn", json.dumps({"compare": same, "success": changes}).encode(), until)
        return Renewed(sent, ttl, bool(reply.get("succeeded")), store.revision_of(reply), store.records(reply))

    def _open(self, client: Client, number: int, deadline: float) -> None:
        """Open a channel to an endpoint for the next renewal; if that fails, it is not tried again for a while."""
        now = http.now()
        until = now + (deadline - now) * _OPENING
        tls = self._parameters.endpoints[number].tls
        channel = None
        try:
            if tls and self._context is None:
                self._context = self._parameters.context("h2")
            connected = client.connect(number, self._context if tls else None, until)
            channel = Channel(connected, "https" if tls else "http", client.name(number), number)
            if tls and connected.selected_alpn_protocol() != "h2":  # type: ignore[attr-defined]
                raise Violation("no HTTP/2")
            channel.begin(until)
        except (OSError, LeaseError):
            self._without[number] = http.now() + _WHILE
            if channel is not None:
                channel.close()
        else:
            self._channel = channel


def _check(wanted: Wanted, ttl: int) -> None:
    """A lease that is gone has no TTL in an answer that looks like success. Raises Lost."""
    if ttl <= 0:
        raise Lost(f"etcd: lease {wanted.lease} has ended or was revoked")
