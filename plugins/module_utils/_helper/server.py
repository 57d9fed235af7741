# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The helper as a server: connections, requests and calls put together. PRIVATE to the collection."""

from __future__ import annotations

from .absent import NoJobs, NoResources
from .calls import Calls
from .connections import Connections
from .requests import Requests

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from .._supervise._embedded.children import Children
    from .._supervise._embedded.loop import Loop
    from .jobs import Jobs
    from .journal import Journal
    from .limits import Limit
    from .operations import Operation
    from .pool import Pool
    from .resources import Resources
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
        jobs: str,
        path: str,
        version: str,
        services: Services,
        resources: tuple[dict[str, Any], str],
        rate: Limit | None = None,
        guards: Sequence[str] = (),
    ) -> None:
        """Listen. Raises OSError.

        jobs: the folder of jobs, "" if there are none and can be none; services: tells whose service a caller is; resources: what
        is declared of them, and their folder; rate: of all calls of one caller; guards: see Calls.
        """
        self._loop = loop
        self._stopping = False
        self._calls = Calls(loop, pool, log, self._end_if_done, rate, guards)
        # Loaded where they are wanted alone: together they are a twentieth of the helper's own memory.
        self._jobs: Jobs | NoJobs = NoJobs()
        if jobs:
            from .._jobs import store
            from .jobs import Jobs

            self._jobs = Jobs(loop, family, operations, store.Store(jobs))
        self._resources: Resources | NoResources = NoResources()
        declared, folder = resources
        if declared:
            from .resources import Declared, Resources

            things = {name: Declared(name, one, operations) for name, one in declared.items()}
            self._resources = Resources(loop, self._calls, things, folder)
        requests = Requests(operations, self._calls, self._jobs, self._resources, version)
        passing = any(one.descriptors for one in operations.values())
        self._connections = Connections(
            loop, path, services, requests.known, requests.request, self._calls.announce, passing
        )

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
