# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tells a caller the output of a program as it comes. PRIVATE to the collection."""

from __future__ import annotations

import codecs

from .worker import Sink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .connections import Client
    from .worker import Run

_NAMES = ("stdout", "stderr")


class Reader(Sink):
    """Between a program and a client that is to read it: while the client has not read what it was told, the program waits."""

    def __init__(self, client: Client, run: Run) -> None:
        self._client = client
        self._run = run
        # A letter may be cut in two by the size of a pipe.
        self._decoders = [codecs.getincrementaldecoder("utf-8")("replace") for _name in _NAMES]

    def take(self, number: int, data: bytes) -> None:
        """Tell what was written."""
        client = self._client
        text = self._decoders[number].decode(data)
        if self.gone or not text:
            return
        if not client.waits or client.peer.dead:
            self.gone = True
            return
        told: dict[str, Any] = {"stdout": None, "stderr": None, "result": None}
        told[_NAMES[number]] = text
        client.tell(told)
        if client.peer.wants_write:
            client.drained = self._drained
            self._run.hold()

    def _drained(self) -> None:
        self._client.drained = None
        self._run.read_on()
