# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a renewal says to etcd, and what etcd answers: etcdserverpb of its rpc.proto. PRIVATE to the collection."""

from __future__ import annotations

from .frames import Violation
from .protobuf import fields, inner, number, part, signed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

KEEPALIVE = "/etcdserverpb.Lease/LeaseKeepAlive"
TXN = "/etcdserverpb.KV/Txn"
#: Of Compare: what it looks at.
_CREATE = 1


def keepalive(lease: int) -> bytes:
    """LeaseKeepAliveRequest."""
    return number(1, lease)


def kept(answer: bytes) -> tuple[int, int]:
    """LeaseKeepAliveResponse: lease, and its seconds, 0 if there is none of that number. Raises Violation."""
    lease = ttl = 0
    for field, value in fields(answer):
        if field == 2:
            lease = signed(value)
        elif field == 3:
            ttl = signed(value)
    return lease, ttl


def guarded(same: Iterable[tuple[bytes, int]], never: bytes, wishes: Iterable[bytes]) -> bytes:
    """TxnRequest: if the keys are those that were made at these revisions, delete *never*, and read *wishes*."""
    # Compare: EQUAL is 0. RequestOp: request_range 1, request_delete_range 3; each begins with its key.
    compares = (part(1, number(2, _CREATE) + part(3, key) + number(5, revision)) for key, revision in same)
    reads = (part(2, part(1, part(1, key))) for key in wishes)
    return b"".join((*compares, part(2, part(3, part(1, never))), *reads))


def confirmed(answer: bytes) -> tuple[bool, int, list[bytes]]:
    """TxnResponse: whether it was so, the store's revision, and the values that were read. Raises Violation."""
    succeeded, revision = False, 0
    values: list[bytes] = []
    for field, value in fields(answer):
        if field == 1:
            revision = _last(inner(value), 3)
        elif field == 2:
            succeeded = bool(signed(value))
        elif field == 3:
            # ResponseOp: response_range 1; its kvs 2, and the value of each 5.
            for kind, response in fields(inner(value)):
                if kind == 1:
                    values += (_value(inner(one)) for at, one in fields(inner(response)) if at == 2)
    if revision <= 0:
        raise Violation("an answer without a revision")
    return succeeded, revision, values


def _last(message: bytes, wanted: int) -> int:
    found = 0
    for field, value in fields(message):
        if field == wanted:
            found = signed(value)
    return found


def _value(message: bytes) -> bytes:
    return b"".join(inner(value) for field, value in fields(message) if field == 5)
