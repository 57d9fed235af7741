# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The audit log: one line of JSON for each call, on standard output, which is the service's log. PRIVATE to the collection."""

from __future__ import annotations

import json
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._varlink.server import Peer


_text = json.JSONEncoder().encode


def record(event: str, peer: Peer | None = None, **details: object) -> None:
    """Write one line. Raises OSError: what can't be written down is not to be done.

    Whoever reads the log has a whole line or none: longer ones than a pipe takes in one piece lose their parameters.
    """
    entry: dict[str, object] = {"audit": event}
    if peer is not None:
        entry.update(uid=peer.uid, gid=peer.gid, pid=peer.pid)
        if peer.service:
            entry["service"] = peer.service
    entry.update(details)
    line = _text(entry).encode() + b"\n"
    if len(line) > 4096:
        entry["parameters"] = "(too long)"
        entry.pop("message", None)
        line = _text(entry).encode() + b"\n"
    while line:
        line = line[os.write(1, line) :]
