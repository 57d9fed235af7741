# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Secured operations: done only while this host holds a lease, and not one moment longer. PRIVATE to the collection.

The worker of a secured call is forked into the pid namespace of the service that holds the lease. So it is of the
holder's tree: whatever ends that (a stop, a lost lease, the guard's death, the kernel's timer) ends the worker with it,
and the lease is given to nobody else before the worker is gone, whether the helper is awake or not.
"""

from __future__ import annotations

import os

from .._lease import handle
from .._lease.modes import disk
from .._lease.trees import NAMESPACE
from .._supervise._embedded import identity
from .trust import untrusted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


class NotHeld(Exception):
    """This host does not hold the lease now, or not so that a worker could be tied to it; the text says why."""


class Tenure:
    """A lease that this host holds. namespace: a descriptor of the holder's pid namespace; environment: its tokens."""

    __slots__ = ("environment", "namespace", "resource")

    def __init__(self, resource: str, namespace: int, environment: dict[str, str]) -> None:
        self.resource = resource
        self.namespace = namespace
        self.environment = environment

    def close(self) -> None:
        """Close the descriptor; whoever was forked inside stays there."""
        os.close(self.namespace)


def hold(resource: str, folders: Sequence[str]) -> Tenure:
    """Find who holds *resource* among the guards of *folders*. Raises NotHeld."""
    reason = "no service on this host holds it"
    for folder in folders:
        if not os.path.isdir(folder):
            continue
        problem = untrusted(folder)
        if problem:
            raise NotHeld(problem)
        for record in handle.living(folder):
            token = _token(record, resource)
            if token is None:
                continue
            if record.get("containment") != NAMESPACE:
                reason = f"{record['name']} holds it without a pid namespace, which a worker can't be tied to"
                continue
            namespace = _enter(record)
            if namespace >= 0:
                return Tenure(resource, namespace, {"HOLDFAST_RESOURCE": resource, "HOLDFAST_TOKEN": str(token)})
    raise NotHeld(reason)


def _token(record: dict[str, Any], resource: str) -> int | None:
    """Give the token under which a guard holds a resource; None if it does not, or its service is not there."""
    if not record.get("tree"):
        return None
    # A disk is meant by the path by which the service's lease names it.
    wanted = next((known for known, path in (record.get("disks") or {}).items() if path == disk(resource)), resource)
    for one in record.get("resources") or ():
        if one.get("name") == wanted:
            return int(one["token"])
    return None


def _enter(record: dict[str, Any]) -> int:
    """Open the namespace of a guard's tree; -1 if that is gone."""
    tree, started = int(record["tree"]), int(record["tree_started"])
    try:
        descriptor = os.open(f"/proc/{tree}/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1
    # Only now is it sure whose it is: a pid may have changed hands before.
    if not identity.alive(tree, started):
        os.close(descriptor)
        return -1
    return descriptor
