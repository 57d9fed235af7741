# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Watches: on the own key, which is heard of in the loop, and on others' keys, which is slept for. PRIVATE to the collection."""

from __future__ import annotations

from ..interface import LeaseError, Lost, StoreUnavailable
from . import http
from .client import Client, EtcdError, events


class Watch:
    """The changes of one range of keys, from one revision on."""

    def __init__(self, client: Client, key: str, end: str, revision: int, deadline: float) -> None:
        """Begin. Raises EtcdError (as when that revision was compacted), StoreUnavailable."""
        self._key = key
        self._connection = client.open_watch(key, end, revision, deadline)

    def fileno(self) -> int:
        """Give the descriptor that is readable when something has come; -1 after `close`."""
        return self._connection.fileno()

    def close(self) -> None:
        """End it; may be repeated."""
        self._connection.close()

    def look(self) -> None:
        """Take what has come, without waiting. Raises Lost if a key was deleted, LeaseError if the watch has ended."""
        try:
            for piece in self._connection.waiting():
                if _deleted(piece):
                    raise Lost(f"etcd: {self._key} was deleted: the lease was revoked, or somebody broke it")
        except (OSError, EtcdError, ValueError) as error:
            self.close()
            raise LeaseError(f"the watch has ended: {error}") from None

    def until_deleted(self, deadline: float) -> bool:
        """Sleep until a key of the range is deleted, or the deadline; give whether one was. Raises StoreUnavailable."""
        try:
            # One that was deleted before we began is told first.
            for piece in self._connection.messages(deadline):
                if _deleted(piece):
                    return True
        except http.Timeout:
            if http.now() >= deadline:
                return False
            raise StoreUnavailable("the peer is gone") from None
        except (OSError, EtcdError, ValueError) as error:
            raise StoreUnavailable(str(error)) from None
        raise StoreUnavailable("the watch has ended")


def _deleted(piece: bytes) -> bool:
    return any(event.get("type") == "DELETE" for event in events(piece)[1])
