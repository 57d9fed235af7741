# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where guards and holders have their folders on a host. PRIVATE to the collection."""

from __future__ import annotations

import hashlib
import os

from .._lean import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def guards() -> str:
    """Give the directory of guards that no supervisor has started."""
    return _run("guards")


def holders() -> str:
    """Give the directory of those who hold a lease for an owner."""
    return _run("mutexes")


def leases() -> str:
    """Give the directory of the driver `file` when nobody has named one."""
    return _run("leases")


def folder_of(driver: str, parameters: Mapping[str, Any], resource: str, owner: str) -> str:
    """Give the name of a holder's folder: one for each owner of a resource of a store.

    Parameters that say how the store is reached make no difference.
    """
    return f"{resource}.{_digest([driver, store_of(parameters), resource, owner])}"


def store_of(parameters: Mapping[str, Any]) -> str:
    """Give what tells apart two stores of one driver."""
    if parameters.get("path"):
        # Of sanlock: a lockspace is on its storage, and the prefix is a part of it.
        prefix = str(parameters.get("prefix", ""))
        return f"{os.path.realpath(str(parameters['path']))}:{prefix}"
    where = str(parameters.get("directory") or parameters.get("prefix") or "")
    if parameters.get("scope") == "hosts":
        # On NFS: to look at links there may take for ever.
        return os.path.normpath(where)
    return os.path.realpath(where) if where else ""


def _digest(what: object) -> str:
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]


def _run(name: str) -> str:
    return f"/run/holdfast/{name}" if os.geteuid() == 0 else os.path.expanduser(f"~/.holdfast/run/{name}")
