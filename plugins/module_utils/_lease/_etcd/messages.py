# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Requests and answers of the JSON gateway in etcd's own form: etcdserverpb of its rpc.proto. PRIVATE to the collection.

Whoever asks need not know which way a request goes: it has the gateway's form, and so has the answer.
"""

from __future__ import annotations

import binascii

from .frames import Violation
from .protobuf import fields, inner, number, part, signed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

KEEPALIVE = "/etcdserverpb.Lease/LeaseKeepAlive"
TXN = "/etcdserverpb.KV/Txn"

#: Compare: what it looks at, by its number and by the field of the value. That it is EQUAL is 0, and left out.
_TARGETS = {"CREATE": (1, 5, "create_revision"), "MOD": (2, 6, "mod_revision"), "LEASE": (4, 8, "lease")}
#: KeyValue: fields that are numbers.
_NUMBERS = {2: "create_revision", 3: "mod_revision", 6: "lease"}


def keepalive(lease: int) -> bytes:
    """LeaseKeepAliveRequest."""
    return number(1, lease)


def lease_and_ttl(answer: bytes) -> tuple[int, int]:
    """LeaseKeepAliveResponse, LeaseGrantResponse: lease, and its seconds, 0 if there is none of that number. Raises Violation."""
    found = _numbers(answer)
    return found.get(2, 0), found.get(3, 0)


def transaction(request: dict[str, Any]) -> bytes:
    """TxnRequest."""
    compares = [part(1, _compare(one)) for one in request.get("compare", ())]
    return b"".join([*compares, *(part(2, _operation(one)) for one in request["success"])])


def _compare(one: dict[str, Any]) -> bytes:
    target, field, name = _TARGETS[one["target"]]
    end = part(64, _bytes(one["range_end"])) if "range_end" in one else b""
    return number(2, target) + part(3, _bytes(one["key"])) + number(field, int(one[name])) + end


def _operation(one: dict[str, Any]) -> bytes:
    """RequestOp: request_range 1, request_put 2, request_delete_range 3; each begins with its key."""
    ((kind, request),) = one.items()
    message = part(1, _bytes(request["key"]))
    if kind == "request_put":
        return part(2, message + part(2, _bytes(request["value"])) + number(3, int(request["lease"])))
    if "range_end" in request:
        message += part(2, _bytes(request["range_end"]))
    return part(1 if kind == "request_range" else 3, message)


def transacted(answer: bytes) -> dict[str, Any]:
    """TxnResponse. Raises Violation."""
    succeeded, revision = False, 0
    responses = []
    for field, value in fields(answer):
        if field == 1:
            revision = _numbers(inner(value)).get(3, 0)
        elif field == 2:
            succeeded = bool(signed(value))
        elif field == 3:
            responses.append(_response(inner(value)))
    if revision <= 0:
        raise Violation("an answer without a revision")
    return {"header": {"revision": revision}, "succeeded": succeeded, "responses": responses}


def _response(message: bytes) -> dict[str, Any]:
    """ResponseOp: response_range 1, whose kvs are 2. What a change was answered is of no use to anybody."""
    for kind, found in fields(message):
        if kind == 1:
            return {"response_range": {"kvs": [_pair(inner(one)) for at, one in fields(inner(found)) if at == 2]}}
    return {}


def _pair(message: bytes) -> dict[str, Any]:
    """KeyValue: key 1, value 5."""
    found: dict[str, Any] = {}
    for field, value in fields(message):
        if field in _NUMBERS:
            found[_NUMBERS[field]] = str(signed(value))
        elif field in (1, 5):
            found["key" if field == 1 else "value"] = binascii.b2a_base64(inner(value), newline=False).decode()
    if "key" not in found:
        raise Violation("a pair without a key")
    return found


def _granted(answer: bytes) -> dict[str, Any]:
    lease, ttl = lease_and_ttl(answer)
    if not lease:
        raise Violation("a lease without a number")
    return {"ID": str(lease), "TTL": str(ttl)}


def _numbers(message: bytes) -> dict[int, int]:
    """Give the fields that are numbers."""
    return {field: signed(value) for field, value in fields(message) if isinstance(value, int)}


def _bytes(text: str) -> bytes:
    return binascii.a2b_base64(text)


#: Path at the gateway -> name of the call, what makes the request, and what reads the answer. Changes of leases and keys:
#: everything else is asked too seldom.
CALLS: dict[str, tuple[str, Callable[[dict[str, Any]], bytes], Callable[[bytes], dict[str, Any]]]] = {
    "/v3/kv/txn": (TXN, transaction, transacted),
    "/v3/lease/grant": ("/etcdserverpb.Lease/LeaseGrant", lambda one: number(1, int(one["TTL"])), _granted),
    "/v3/lease/revoke": ("/etcdserverpb.Lease/LeaseRevoke", lambda one: number(1, int(one["ID"])), lambda _answer: {}),
}
