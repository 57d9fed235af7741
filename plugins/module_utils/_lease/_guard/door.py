# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a guard is asked, see api.py. PRIVATE to the collection.

What answers is loaded when somebody asks for the first time: most guards nobody ever asks, and it takes a third of a megabyte.
"""

from __future__ import annotations

from ..._varlink.listening import Listener

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .api import Api
    from .guard import Guard


class Door:
    """Lets in who comes to *guard*."""

    def __init__(self, guard: Guard, path: str) -> None:
        """Listen at *path*. Raises OSError."""
        self._guard = guard
        self._api: Api | None = None
        self._listener = Listener(path)
        guard.loop.watch(self._listener.fileno(), self._open)

    def _open(self, _events: int) -> None:
        connection = self._listener.connection()
        if connection is None:
            return
        if self._api is None:
            try:
                self._api = self._guard.api()
            except (ImportError, OSError, SyntaxError) as error:
                # Whoever has damaged the runtime is not to end what runs.
                self._guard.say(f"cannot answer: {error}")
                connection.close()
                return
        self._api.greet(connection)
