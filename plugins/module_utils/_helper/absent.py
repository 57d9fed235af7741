# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What stands for jobs and shared resources in a helper that has none, and so does not load what they need. PRIVATE to the collection."""

from __future__ import annotations

from .._varlink.server import Refused
from . import interface

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn


class NoJobs:
    """No operation can be a job, and none is left of earlier ones. The answers are those of `jobs.Jobs`."""

    def stop(self) -> None:
        """There is nothing to stop."""

    def known(self, _uid: int, _id: str) -> bool:
        """Nobody has a job."""
        return False

    def outcome(self, _uid: int, _id: str) -> None:
        """It was no job."""

    def of(self, _uid: int) -> list[dict[str, Any]]:
        """There are none."""
        return []

    def start(self, *request: Any) -> NoReturn:
        """Not reached: no operation is offered as a job."""
        raise Refused(interface.NO_SUCH_JOB, id=str(request[3]))

    call = start

    def show(self, _client: object, _uid: int, id_: str, _wait: bool, _more: bool) -> NoReturn:
        """There is no such job."""
        raise Refused(interface.NO_SUCH_JOB, id=id_)

    def cancel(self, _client: object, _uid: int, id_: str) -> NoReturn:
        """There is no such job."""
        raise Refused(interface.NO_SUCH_JOB, id=id_)


class NoResources:
    """No resource is declared. The answers are those of `resources.Resources`."""

    def stop(self) -> None:
        """There is nothing to stop."""

    def acquire(self, _client: object, request: dict[str, Any], _token: str, _patience: float | None) -> NoReturn:
        """There is no such resource, or it is not for this caller."""
        raise Refused(interface.NOT_ALLOWED, operation=str(request.get("resource"))[:64])

    def release(self, _uid: int, _token: str) -> bool:
        """Nobody holds anything."""
        return False

    def of(self, _client: object) -> list[dict[str, Any]]:
        """There are none."""
        return []
