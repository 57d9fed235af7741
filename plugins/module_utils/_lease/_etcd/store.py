# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What there is in etcd for a resource, and the transactions that change it. PRIVATE to the collection.

    PREFIX/RESOURCE/epoch                 {"token": n, "open": [tenure ...]}: the number of the last grant, and every
                                          tenure that was not given back. Belongs to no lease: it stays
    PREFIX/RESOURCE/holder/exclusive      the tenure, belongs to its holder's lease
    PREFIX/RESOURCE/holder/shared/LEASE   the same for each of several, or holder/readonly/LEASE
    PREFIX/RESOURCE/handover              the mark of a hand-over, see ../handover.py, and the token that it is about;
                                          belongs to a lease of its own, which is its time
    PREFIX/RESOURCE/wish                  who would rather have it than its holder, and his preference; for some seconds
    PREFIX/never                          does not exist; deleting it is a write that changes nothing

Every grant changes `epoch` and compares that nobody else has: so grants of one resource are in one order, whatever
anybody has read before. What is in `open` and has no holder key has vanished, instead of having been given back.
"""

from __future__ import annotations

import binascii

from ..._lean import json
from ..handover import Handover
from ..interface import EXCLUSIVE_MODE, StoreUnavailable
from ..modes import compatible
from .client import plain, text64

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from .client import Client

#: etcd takes 128 operations in a transaction, three comparisons are made for each resource.
MOST = 40


class Keys:
    """The keys of one resource."""

    __slots__ = ("base", "end", "epoch", "exclusive", "handover", "holders", "holders_end", "name", "wish")

    def __init__(self, prefix: str, resource: str) -> None:
        self.name = resource
        self.end = f"{prefix}{resource}0"
        self.base = f"{prefix}{resource}/"
        self.epoch = self.base + "epoch"
        self.handover = self.base + "handover"
        self.holders = self.base + "holder/"
        self.holders_end = self.base + "holder0"
        self.exclusive = self.holders + "exclusive"
        self.wish = self.base + "wish"

    def holder(self, mode: str, lease: str) -> str:
        """Give the key that a holder of this mode has."""
        return self.exclusive if mode == EXCLUSIVE_MODE else f"{self.holders}{mode}/{lease}"


class View:
    """A resource as the store had it at one moment. revision: the store's. tenures: those in `open`.

    epoch, marked: when those keys were changed last, 0 if they are not there. mark: of a hand-over that means something;
    mark_lease: the lease that the mark belongs to.
    """

    __slots__ = ("epoch", "holders", "mark", "mark_lease", "marked", "revision", "tenures", "token")

    def __init__(self, keys: Keys, found: Iterable[dict[str, Any]], revision: int) -> None:
        self.revision = revision
        self.epoch = 0
        self.token = 0
        self.tenures: list[dict[str, Any]] = []
        #: key -> (lease, create_revision, tenure)
        self.holders: dict[str, tuple[str, int, dict[str, Any]]] = {}
        self.mark: Handover | None = None
        self.mark_lease = "0"
        self.marked = 0
        mark: dict[str, Any] = {}
        for one in found:
            key, value = plain(one["key"]), _of(one)
            if key == keys.epoch:
                self.epoch = int(one["mod_revision"])
                self.token = int(value.get("token", 0))
                self.tenures = [tenure for tenure in value.get("open", ()) if isinstance(tenure, dict)]
            elif key == keys.handover:
                mark, self.mark_lease, self.marked = value, str(one.get("lease", "0")), int(one["mod_revision"])
            elif key.startswith(keys.holders):
                self.holders[key] = (str(one.get("lease", "0")), int(one["create_revision"]), value)
        # With another number it is about a tenure that is over.
        if mark and mark.get("token") == self.token:
            self.mark = Handover(
                str(mark.get("id")),
                str(mark.get("source")),
                str(mark.get("target")),
                {keys.name: self.token},
                str(mark.get("stage")),
            )

    def conflicts(self, mode: str, lease: str) -> list[dict[str, Any]]:
        """Give the tenures of others that live and that a holder of this mode can't be beside."""
        return [
            tenure
            for theirs, _created, tenure in self.holders.values()
            if theirs != lease and not compatible(mode, str(tenure.get("mode")))
        ]

    def vanished(self, mode: str) -> list[dict[str, Any]]:
        """Give the tenures in the way of *mode* that were not given back and whose holder is there no more."""
        living = {lease for lease, _created, _tenure in self.holders.values()}
        return [
            tenure
            for tenure in self.tenures
            if tenure.get("lease") not in living and not compatible(mode, str(tenure.get("mode")))
        ]


def _of(one: dict[str, Any]) -> dict[str, Any]:
    """Give what the value of a key says, of the gateway's."""
    try:
        return record(binascii.a2b_base64(one.get("value", "")))
    except ValueError:
        return {}


def record(value: bytes) -> dict[str, Any]:
    """Give what a value says; nothing if it is none of ours."""
    try:
        found = json.loads(value)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def records(reply: dict[str, Any]) -> list[dict[str, Any]]:
    """Give what the `get`s of a transaction have found."""
    answers = ((answer.get("response_range") or {}).get("kvs") or () for answer in reply.get("responses") or ())
    return [_of(one) for found in answers for one in found]


def read(client: Client, keys: list[Keys], deadline: float) -> list[View]:
    """Read what there is of some resources, all at one moment. Raises EtcdError, StoreUnavailable."""
    request = {"success": [{"request_range": {"key": text64(one.base), "range_end": text64(one.end)}} for one in keys]}
    reply = client.call("/v3/kv/txn", request, deadline)
    revision = revision_of(reply)
    answers = reply.get("responses") or []
    if len(answers) != len(keys):
        raise StoreUnavailable("etcd answered something else than was asked")
    return [
        View(one, (answer.get("response_range") or {}).get("kvs") or (), revision) for one, answer in zip(keys, answers)
    ]


def holders(client: Client, prefix: str, deadline: float) -> list[tuple[str, dict[str, Any]]]:
    """Read who holds what below *prefix*: resource and tenure, by key. Raises EtcdError, StoreUnavailable."""
    request = {"key": text64(prefix), "range_end": text64(prefix[:-1] + chr(ord(prefix[-1]) + 1))}
    found = []
    for one in client.call("/v3/kv/range", request, deadline).get("kvs") or ():
        resource, slash, rest = plain(one["key"])[len(prefix) :].partition("/")
        if slash and rest.startswith("holder/"):
            found.append((resource, _of(one)))
    return found


def revision_of(reply: dict[str, Any]) -> int:
    """Give the store's revision of an answer."""
    return int((reply.get("header") or {}).get("revision", 0))


def transact(
    client: Client, compares: list[dict[str, Any]], changes: list[dict[str, Any]], deadline: float
) -> tuple[bool, int]:
    """Make all *changes* if all *compares* hold; give whether, and the revision. Raises EtcdError, StoreUnavailable."""
    reply = client.call("/v3/kv/txn", {"compare": compares, "success": changes}, deadline)
    return bool(reply.get("succeeded")), revision_of(reply)


def get(key: str) -> dict[str, Any]:
    """Read one key."""
    return {"request_range": {"key": text64(key)}}


def nobody(key: str, end: str = "") -> dict[str, Any]:
    """Compare: there is no such key, or none in the range up to *end*."""
    compare = {"key": text64(key), "target": "CREATE", "create_revision": "0"}
    return {**compare, "range_end": text64(end)} if end else compare


def created(key: str, revision: int) -> dict[str, Any]:
    """Compare: the key is the one that was made at *revision*."""
    return {"key": text64(key), "target": "CREATE", "create_revision": str(revision)}


def unchanged(key: str, revision: int) -> dict[str, Any]:
    """Compare: the key was changed last at *revision*; 0: it does not exist."""
    return {"key": text64(key), "target": "MOD", "mod_revision": str(revision)}


def owned(key: str, lease: str) -> dict[str, Any]:
    """Compare: the key belongs to *lease*."""
    return {"key": text64(key), "target": "LEASE", "lease": lease}


def put(key: str, record: dict[str, Any], lease: str = "0") -> dict[str, Any]:
    """Change: write a record."""
    value = json.dumps(record, separators=(",", ":"))
    return {"request_put": {"key": text64(key), "value": text64(value), "lease": lease}}


def delete(key: str) -> dict[str, Any]:
    """Change: delete one key; nothing happens if it does not exist."""
    return {"request_delete_range": {"key": text64(key)}}
