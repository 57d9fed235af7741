# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The embedded supervisor as a backend: a client of its socket. PRIVATE to the collection.

The supervisor may be replaced while we talk to it (an upgrade, a crash and its restart): a lost connection is made again
for some seconds, and the call with it, since every call may be made twice.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

from .._varlink.client import Connection, ConnectionLost, VarlinkError
from . import limits, log_table
from .interface import (
    DEATHS,
    FEATURES,
    Backend,
    BackendError,
    NotRunning,
    Service,
    Snapshot,
    Unanswered,
    Verdict,
    resources,
)
from .labels import obstacle as label_obstacle
from .presence import lock_holder

INTERFACE = "io.holdfast.Supervisor"
#: Seconds for an answer that the supervisor gives at once.
PROMPT = 15.0
#: Seconds for which the supervisor lets itself be waited for at most.
LONGEST_WAIT = 86400.0
#: Seconds in which a supervisor that went away while we talked to it has to be back.
RETURN = 15.0


class Embedded(Backend):
    """Talks to SCAN/.holdfast/socket."""

    name = "embedded"
    native = frozenset(FEATURES)
    starts_new = True

    def __init__(self, scan: str) -> None:
        super().__init__(scan)
        self._path = os.path.join(scan, ".holdfast", "socket")
        self._connection: Connection | None = None

    def snapshot(self) -> Snapshot:
        """Ask for everything, once."""
        try:
            self._connect()
        except ConnectionLost as error:
            holder = lock_holder(os.path.join(self.scan, ".holdfast", "lock"))
            if holder is not None:
                raise Unanswered(
                    f"process {holder} holds {self.scan}/.holdfast/lock and does not answer on its socket ({error}): "
                    "it is not a supervisor of this version, or it hangs; look at it and end it first"
                ) from None
            raise NotRunning(f"no supervisor runs on {self.scan}") from None
        reply = self._ask("Status", {})
        supervisor = reply.get("supervisor")
        records = reply.get("services")
        if not isinstance(supervisor, dict) or not isinstance(records, list):
            raise Unanswered(f"{self._path}: what answers there is not a supervisor of this version")
        return Snapshot(supervisor, {record["name"]: Service(record) for record in records})

    def rescan(self) -> None:
        """Let the supervisor read the scan directory now."""
        self._ask("Rescan", {}, PROMPT * 2)

    def let_go(self, name: str) -> bool:
        """Have the service forgotten, and wait until the log writer has closed its log."""
        self.settle(name)
        self.wait([(name, "gone")], PROMPT)
        log = log_table.kept(self.scan, name)
        if log is None:
            return True

        def writer() -> int:
            return int(Embedded.snapshot(self).supervisor["log_writer_pid"] or 0)

        return log_table.until_let_go(log, *self._log(name), writer)

    def has_written(self, name: str) -> bool:
        """Ask the FIFO and the log writer's spool."""
        return log_table.has_written(*self._log(name))

    def _log(self, name: str) -> tuple[str, str]:
        """Give the table of the log writer, and the FIFO of a service."""
        run = os.path.join(self.scan, ".holdfast")
        return f"{run}/logs", f"{run}/fifo/{name}"

    def control(self, commands: list[tuple[str, str]]) -> dict[str, str]:
        """Give commands to services."""
        if not commands:
            return {}
        reply = self._ask("Control", {"commands": [{"name": name, "action": action} for name, action in commands]})
        return {str(error["name"]): str(error["message"]) for error in reply.get("errors") or ()}

    def wait(self, wishes: list[tuple[str, str]], timeout: float) -> dict[str, Verdict]:
        """Wait for verdicts; the supervisor gives them all in one answer."""
        if not wishes:
            return {}
        deadline = time.monotonic() + min(timeout, LONGEST_WAIT)
        while True:
            left = max(deadline - time.monotonic(), 0.0)
            parameters = {
                "wishes": [{"name": name, "state": state} for name, state in wishes],
                "timeout": left,
                "deaths": DEATHS,
            }
            try:
                reply = self._once("Wait", parameters, left + PROMPT)
                break
            except ConnectionLost:
                self._return()
        verdicts = {}
        for result in reply.get("results") or ():
            name, record = str(result["name"]), result.get("service")
            verdicts[name] = Verdict(name, str(result["outcome"]), Service(record) if record else None)
        return verdicts

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def depends_on_host(self, feature: str) -> bool:
        """Only the supervisor knows which control groups it may make."""
        return feature == "resources"

    def obstacle(self, feature: str, meta: Mapping[str, Any], snapshot: Snapshot) -> str:
        """Labels need their security module, limits of control groups a group with the controllers."""
        if feature == "resources":
            return limits.obstacle(resources(meta), snapshot.supervisor.get("groups"))
        if feature == "security_context":
            return label_obstacle((meta.get("process") or {}).get("security_context") or {})
        return ""

    def _connect(self) -> Connection:
        if self._connection is None:
            connection = Connection(self._path, PROMPT)
            owner = connection.peer()[1]
            if owner not in (0, os.geteuid()):
                connection.close()
                raise Unanswered(
                    f"{self._path} belongs to a process of the user {owner}, which is not to be trusted here"
                )
            self._connection = connection
        return self._connection

    def _return(self) -> None:
        """Connect again to a supervisor that went away. Raises NotRunning when it does not come back."""
        deadline = time.monotonic() + RETURN
        while True:
            self.close()
            try:
                self._connect()
                return
            except ConnectionLost as error:
                if time.monotonic() >= deadline:
                    raise NotRunning(
                        f"the supervisor on {self.scan} has gone and did not come back ({error})"
                    ) from None
            time.sleep(0.05)

    def _ask(self, method: str, parameters: dict[str, Any], timeout: float = PROMPT) -> dict[str, Any]:
        try:
            return self._once(method, parameters, timeout)
        except ConnectionLost:
            self._return()
        try:
            return self._once(method, parameters, timeout)
        except ConnectionLost as error:
            holder = lock_holder(os.path.join(self.scan, ".holdfast", "lock"))
            cure = (
                f"; if process {holder} hangs or is stopped, end it (kill -9 {holder}): services go on"
                if holder
                else ""
            )
            raise Unanswered(f"the supervisor on {self.scan} was lost twice: {error}{cure}") from None

    def _once(self, method: str, parameters: dict[str, Any], timeout: float) -> dict[str, Any]:
        try:
            return self._connect().call(f"{INTERFACE}.{method}", parameters, timeout)
        except VarlinkError as error:
            if error.name.startswith("org.varlink.service."):
                raise Unanswered(
                    f"{self._path}: the supervisor there does not know {method} ({error}): it is of another version"
                ) from None
            raise BackendError(f"the supervisor on {self.scan} refused {method}: {error}") from None
