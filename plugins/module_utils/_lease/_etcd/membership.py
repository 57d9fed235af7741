# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who is a member of an etcd, and changing that without ever losing the majority. PRIVATE to the collection.

https://etcd.io/docs/v3.4/op-guide/runtime-configuration/: one change at a time, the dead are removed before new ones are
added, and one that is added counts for the majority at once, before it has started.
"""

from __future__ import annotations

import time

from ..interface import DriverRefused, LeaseError, StoreUnavailable
from . import http
from .client import Client, EtcdError
from .parameters import Parameters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from typing import Any

#: Seconds for one question to one member.
_QUESTION = 3.0
#: Seconds between two looks at what is not yet so.
_AGAIN = 0.3


class Refused(LeaseError):
    """The change would cost the majority, or means nothing. Nothing was changed."""


class Member:
    """A member by the list that etcd keeps. name: empty if it was added and has never started."""

    __slots__ = ("clients", "name", "number", "peers")

    def __init__(self, number: str, name: str, peers: Collection[str], clients: Collection[str]) -> None:
        self.number = number
        self.name = name
        self.peers = list(peers)
        self.clients = list(clients)

    def __str__(self) -> str:
        return self.name or f"{','.join(self.peers)} (never started)"


class Plan:
    """What is to be done. removed: members; added: a peer's address, empty if it is in the list already."""

    __slots__ = ("added", "removed")

    def __init__(self, removed: list[Member], added: str) -> None:
        self.removed = removed
        self.added = added


def plan(found: list[Member], answering: Collection[str], wanted: Mapping[str, str], join: str) -> Plan:
    """Give what makes the list *found* that of *wanted* (name to peer's address), as far as one step goes. Pure.

    answering: the numbers of those that answer. join: the one whose disk is empty, which gets a new identity; "": nobody.
    Raises Refused if at any point less than a majority would answer.
    """
    if join and join not in wanted:
        raise Refused(f"{join} is to join and is not among the members: {', '.join(sorted(wanted))}")
    known = {address: name for name, address in wanted.items()}
    waiting = [one for one in found if not one.name and wanted.get(join) in one.peers]
    removed = []
    for one in found:
        name = one.name or next((known[peer] for peer in one.peers if peer in known), "")
        if name not in wanted or (name == join and one not in waiting):
            removed.append(one)
    removed += waiting[1:]
    left = [one for one in found if one not in removed]
    if removed:
        _keep_majority(left, answering, len(left), f"{', '.join(map(str, removed))} can't be removed")
    added = wanted[join] if join and not waiting else ""
    # One that is alone may take a second one: etcd lets it, since otherwise nobody could ever grow.
    if added and len(left) > 1:
        _keep_majority(left, answering, len(left) + 1, f"{join} can't be added")
    return Plan(removed, added)


def _keep_majority(left: list[Member], answering: Collection[str], size: int, what: str) -> None:
    silent = [str(one) for one in left if one.number not in answering]
    if len(left) - len(silent) < size // 2 + 1:
        raise Refused(
            f"{what} now: {len(left) - len(silent)} of then {size} members would answer, and {size // 2 + 1} are needed. "
            f"Bring back first: {', '.join(silent) or 'the others'}"
        )


class Cluster:
    """A cluster by some of its endpoints. given: the driver's parameters."""

    def __init__(self, given: Mapping[str, Any], timeout: float) -> None:
        """Raises DriverRefused."""
        self._given = dict(given)
        self._client = Client(Parameters(given))
        self._until = http.now() + timeout
        self._timeout = timeout

    def until_serving(self) -> list[Member]:
        """Wait until a read that needs the majority is answered; give the members. Raises LeaseError."""
        while True:
            try:
                self._client.call("/v3/kv/range", {"key": "YQ=="}, http.now() + _QUESTION)
                return self._members()
            except DriverRefused as error:
                if "not enabled" not in str(error) or "user" not in self._given:
                    raise
                # It is only about to be secured.
                del self._given["user"], self._given["password_file"]
                self._client.close()
                self._client = Client(Parameters(self._given))
            except (StoreUnavailable, EtcdError) as error:
                if http.now() > self._until:
                    raise StoreUnavailable(f"etcd does not serve within {self._timeout:g} s: {error}") from None
                time.sleep(_AGAIN)

    def converge(self, wanted: Mapping[str, str], join: str, check_mode: bool) -> tuple[Plan, list[Member]]:
        """Remove whom nobody wants, make room for *join*; give what was done and who is a member now.

        Raises LeaseError, Refused: what was done before it is in the members' list; may be repeated.
        """
        removed: dict[str, Member] = {}
        added = ""
        while True:
            try:
                members = self.until_serving()
                found = plan(members, self._answering(members), wanted, join)
                if check_mode:
                    return found, members
                for one in found.removed:
                    removed[one.number] = one
                    self._client.call("/v3/cluster/member/remove", {"ID": one.number}, http.now() + _QUESTION * 2)
                if found.added:
                    added = found.added
                    self._add(added)
                return Plan(list(removed.values()), added), self._members()
            except EtcdError as error:
                raise Refused(f"etcd: {error}") from None
            except StoreUnavailable:
                # As while a leader is voted for, whom a change may have made necessary. Whether it was done the next look tells.
                if http.now() > self._until:
                    raise
                time.sleep(_AGAIN)

    def _add(self, address: str) -> None:
        # For some seconds after a start or a change, etcd refuses because its connections to the others are too young.
        while True:
            try:
                self._client.call("/v3/cluster/member/add", {"peerURLs": [address]}, http.now() + _QUESTION * 2)
                return
            except EtcdError as error:
                if "unhealthy cluster" not in str(error) or http.now() > self._until:
                    raise
                time.sleep(_AGAIN)

    def _members(self) -> list[Member]:
        reply = self._client.call("/v3/cluster/member/list", {}, http.now() + _QUESTION)
        return [
            Member(str(one["ID"]), str(one.get("name", "")), one.get("peerURLs") or (), one.get("clientURLs") or ())
            for one in reply.get("members") or ()
        ]

    def _answering(self, members: list[Member]) -> set[str]:
        found = set()
        for one in members:
            if not one.clients:
                continue
            client = Client(Parameters({**self._given, "endpoints": one.clients}))
            try:
                client.call("/v3/maintenance/status", {}, http.now() + _QUESTION)
                found.add(one.number)
            except (LeaseError, EtcdError):
                continue
            finally:
                client.close()
        return found

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


def etcd_members(options: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """Do the task of the module etcd_members."""
    known = ("endpoints", "ca_file", "cert_file", "key_file", "user", "password_file")
    given = {name: options[name] for name in known if options.get(name)}
    join = options["join"] or ""
    try:
        cluster = Cluster(given, options["timeout"])
        try:
            if options["members"] is None:
                done, members = Plan([], ""), cluster.until_serving()
            else:
                done, members = cluster.converge(options["members"], join, check_mode)
        finally:
            cluster.close()
    except LeaseError as error:
        return {"failed": True, "msg": str(error)}
    names = {address: name for name, address in (options["members"] or {}).items()}
    pairs = [f"{one.name or names.get(peer, '')}={peer}" for one in members for peer in one.peers]
    return {
        "changed": bool(done.removed or done.added),
        "removed": [str(one) for one in done.removed],
        "added": done.added,
        "initial_cluster": ",".join(sorted(pairs)),
        "members": [{"id": one.number, "name": one.name, "peer_urls": one.peers} for one in members],
    }
