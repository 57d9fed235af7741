# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a holder of leases writes down about itself, and tells its service. PRIVATE to the collection.

In its folder: `state.json`, for those who ask without asking it, and `token`, for the service.
"""

from __future__ import annotations

import os

from ..._lean import json
from ..._supervise._embedded import files, identity
from .. import reports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..interface import Driver, Grant, Hole


#: When this process was started, by its pid: a child of it has another one.
_started: dict[int, int] = {}


def write(folder: str, driver: Driver, holes: Sequence[Hole], told: Mapping[str, object]) -> None:
    """Write the state: what every holder tells of itself, and *told*. Raises OSError."""
    pid = os.getpid()
    if pid not in _started:
        _started.clear()
        _started[pid] = identity.start_time(pid)
    record = {
        **told,
        "pid": pid,
        "started": _started[pid],
        "driver": driver.name,
        "resources": [{"name": one.resource, "mode": one.mode, "token": one.token} for one in driver.held()],
        "holes": [{"name": hole.name, "text": hole.text} for hole in holes],
    }
    files.replace(f"{folder}/{reports.REPORT}", json.dumps(record).encode())


def remove(folder: str) -> None:
    """Remove what is there for those who ask."""
    for name in ("socket", "token", reports.REPORT):
        files.remove(f"{folder}/{name}")


def lines(grants: Sequence[Grant]) -> bytes:
    """Give the content of the file of tokens."""
    return "".join(f"{grant.resource} {grant.token}\n" for grant in grants).encode()


def variables(grants: Sequence[Grant], folder: str) -> dict[str, str]:
    """Give what a service that begins is told of its tokens in the environment; nothing where nothing is held."""
    if not grants:
        return {}
    return {
        "HOLDFAST_TOKEN": str(grants[0].token),
        "HOLDFAST_TOKENS": " ".join(f"{grant.resource}={grant.token}" for grant in grants),
        "HOLDFAST_TOKEN_FILE": f"{folder}/token",
    }
