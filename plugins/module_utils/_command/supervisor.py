# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The supervisor's answers, for the verbs: one connection and errors that a person understands. PRIVATE to the collection."""

from __future__ import annotations

import os

from .._supervise.presence import which
from .._varlink.client import Connection, ConnectionLost, VarlinkError
from .exits import FAILED, NO_SERVICE, NO_SUPERVISOR, CommandError
from .places import own

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

INTERFACE = "io.holdfast.Supervisor"
#: Seconds for an answer that the supervisor gives at once.
PROMPT = 15.0


def elsewhere(scan: str) -> str:
    """Give the backend that has the services of *scan* if it is none that this command can talk to, else ""."""
    backend = which(scan)
    return "" if backend in ("embedded", "openrc") else backend


class Supervisor:
    """The supervisor of the scan directory *scan*. Every method raises CommandError when it fails."""

    def __init__(self, scan: str) -> None:
        self.scan = scan
        path = own(scan, "socket")
        try:
            self._connection = Connection(path, PROMPT)
        except ConnectionLost as error:
            if os.path.exists(path) and not os.access(path, os.W_OK):
                raise CommandError(
                    FAILED, f"{scan}: only root and the supervisor's own user may talk to it (try sudo)"
                ) from None
            other = elsewhere(scan)
            if other:
                raise CommandError(
                    NO_SUPERVISOR, f"{scan}: supervised by {other}, which has programs of its own for this"
                ) from None
            raise CommandError(NO_SUPERVISOR, f"{scan}: no supervisor runs ({_detail(error, path)})") from None

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(self, *_details: object) -> None:
        self._connection.close()

    def status(self, names: list[str] | None = None) -> dict[str, Any]:
        """Give what is known of the services *names*, in that order, or of all.

        A name that is not known yet makes the supervisor look at its directory again before it counts as missing.
        """
        parameters = {"names": names} if names else {}
        try:
            return self._ask("Status", parameters)
        except CommandError as error:
            if error.code != NO_SERVICE:
                raise
        self._ask("Rescan", {})
        return self._ask("Status", parameters)

    def control(self, names: list[str], action: str) -> dict[str, str]:
        """Give every service of *names* the command *action*; the answer has a message for each that refused it."""
        reply = self._ask("Control", {"commands": [{"name": name, "action": action} for name in names]})
        return {error["name"]: error["message"] for error in reply.get("errors") or ()}

    def wait(self, names: list[str], state: str, timeout: float, deaths: int) -> list[dict[str, Any]]:
        """Wait until each service of *names* is in *state* or cannot get there, at most *timeout* seconds.

        deaths: so many from now on, without having been ready in between, count as a failure.
        """
        wishes = [{"name": name, "state": state} for name in names]
        reply = self._ask("Wait", {"wishes": wishes, "timeout": timeout, "deaths": deaths}, timeout + PROMPT)
        return list(reply.get("results") or ())

    def why(self, name: str, count: int) -> list[dict[str, Any]]:
        """Give the last *count* events of a service, oldest first."""
        return list(self._ask("Why", {"name": name, "count": count}).get("events") or ())

    def _ask(self, method: str, parameters: dict[str, Any], timeout: float = PROMPT) -> dict[str, Any]:
        try:
            return self._connection.call(f"{INTERFACE}.{method}", parameters, timeout)
        except VarlinkError as error:
            if error.name == f"{INTERFACE}.NoSuchService":
                raise CommandError(NO_SERVICE, f"{error.parameters.get('name')}: no such service") from None
            raise CommandError(FAILED, f"the supervisor refused: {error}") from None
        except ConnectionLost as error:
            raise CommandError(
                NO_SUPERVISOR, f"{self.scan}: the supervisor was lost ({_detail(error, own(self.scan, 'socket'))})"
            ) from None


def _detail(error: ConnectionLost, path: str) -> str:
    """Give the error without the socket's path: the person knows the scan directory only."""
    return str(error).partition(f"{path}: ")[2] or str(error)
