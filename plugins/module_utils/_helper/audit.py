# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The audit log: one line of JSON for each call, on standard output, which is the service's log. PRIVATE to the collection."""

from __future__ import annotations

import os

from .._lean import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._varlink.server import Peer


_text = json.writer()
#: Longest line, in bytes: what a pipe takes in one piece.
_LONGEST = 4096


def record(event: str, peer: Peer | None = None, **details: object) -> None:
    """Write one line. Raises OSError: what can't be written down is not to be done."""
    _write(begin(event, peer, **details))


def begin(event: str, peer: Peer | None = None, **details: object) -> str:
    """Give the first part of a line, for `end`: what is known of a call while it is at work is made ready meanwhile."""
    entry: dict[str, object] = {"audit": event}
    if peer is not None:
        entry.update(uid=peer.uid, gid=peer.gid, pid=peer.pid)
        if peer.service:
            entry["service"] = peer.service
    entry.update(details)
    return _text(entry)


def end(begun: str, **details: object) -> None:
    """Write one line that has begun so. Raises OSError, as `record` does."""
    _write(f"{begun[:-1]}, {_text(details)[1:]}")


def _write(text: str) -> None:
    """Write a line. Whoever reads the log has a whole one or none: one that is too long loses its parameters."""
    line = text.encode() + b"\n"
    if len(line) > _LONGEST:
        entry = json.loads(text)
        entry["parameters"] = "(too long)"
        entry.pop("message", None)
        line = _text(entry).encode() + b"\n"
    while line:
        line = line[os.write(1, line) :]
