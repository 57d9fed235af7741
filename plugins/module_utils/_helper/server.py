# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The helper as a server: connections, requests and calls put together. PRIVATE to the collection."""

from __future__ import annotations

from .calls import Calls
from .connections import Connections
from .jobs import Jobs
from .requests import Requests
from .resources import Declared, Resources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._jobs.store import Store
    from .._supervise._embedded.children import Children
    from .._supervise._embedded.loop import Loop
    from .journal import Journal
    from .limits import Limit
    from .operations import Operation
    from .pool import Pool
    from .services import Services


class Api:
    """Serves *operations* at *path* until `stop` was called and all is done."""

    def __init__(
        self,
        loop: Loop,
        family: Children,
        pool: Pool,
        operations: dict[str, Operation],
        log: Journal,
        kept: Store,
        path: str,
        version: str,
        services: Services,
        resources: tuple[dict[str, Declared], str],
        rate: Limit | None = None,
        guards: Sequence[str] = (),
    ) -> None:
        """Listen. services: tells whose service a caller is; rate: of all calls of one caller; guards: see Calls. Raises OSError."""
        self._loop = loop
        self._stopping = False
        self._calls = Calls(loop, pool, log, self._end_if_done, rate, guards)
        self._jobs = Jobs(loop, family, operations, kept)
        self._resources = Resources(loop, self._calls, *resources)
        requests = Requests(operations, self._calls, self._jobs, self._resources, version)
        passing = any(one.descriptors for one in operations.values())
        self._connections = Connections(loop, path, services, requests.known, requests.request, passing)

    def stop(self) -> None:
        """Begin nothing more, and end the loop when what is at work is done."""
        self._stopping = True
        self._connections.stop()
        self._resources.stop()
        self._calls.stop()
        self._jobs.stop()
        self._end_if_done()

    def _end_if_done(self) -> None:
        if self._stopping and self._calls.idle:
            self._connections.flush()
            self._loop.running = False
