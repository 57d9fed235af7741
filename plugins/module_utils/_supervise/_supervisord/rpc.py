# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Supervisor's XML-RPC interface over its unix socket. PRIVATE to the collection.

https://supervisord.org/api.html has the methods. The fault codes are those of supervisor/xmlrpc.py.
"""

from __future__ import annotations

import http.client
import os
import socket
import struct
import xmlrpc.client
from typing import Any

from ..interface import BackendError, NotRunning, Unanswered

BAD_NAME, ALREADY_ADDED = 10, 90
#: Nothing could be started, or what was had ended, and not well, before the answer: it is tried again as its configuration says.
SPAWN_ERROR = 50
ALREADY_STARTED, NOT_RUNNING = 60, 70
#: Seconds for an answer.
PATIENCE = 30.0


class Fault(Exception):
    """Supervisor has refused. code: one of its fault codes."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class _Connection(http.client.HTTPConnection):
    """HTTP over a unix socket that belongs to root or to ourselves."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=PATIENCE)
        self._path = path

    def connect(self) -> None:
        """Connect; raises OSError, PermissionError for a server of another user."""
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            channel.settimeout(PATIENCE)
            channel.connect(self._path)
            owner = struct.unpack("3i", channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1]
            if owner not in (0, os.geteuid()):
                raise PermissionError(f"it belongs to a process of the user {owner}, which is not to be trusted here")
        except BaseException:
            channel.close()
            raise
        self.sock = channel


class _Transport(xmlrpc.client.Transport):
    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        """Give the one connection, which is kept open."""
        kept = self._connection[1]
        if kept is None:
            kept = _Connection(self._path)
            self._connection = host, kept
        return kept


class Rpc:
    """A client of one supervisord."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._proxy: xmlrpc.client.ServerProxy | None = None

    def call(self, method: str, *arguments: Any) -> Any:
        """Call `supervisor.METHOD`. Raises Fault, NotRunning, BackendError."""
        return self._call(f"supervisor.{method}", *arguments)

    def at_once(self, *calls: tuple[str, list[Any]]) -> list[Any]:
        """Make several calls between two turns of supervisord's loop; a refused one answers with a Fault."""
        answers = self._call(
            "system.multicall",
            [{"methodName": f"supervisor.{name}", "params": parameters} for name, parameters in calls],
        )
        return [
            Fault(answer["faultCode"], answer["faultString"])
            if isinstance(answer, dict) and "faultCode" in answer
            else answer
            for answer in answers
        ]

    def _call(self, method: str, *arguments: Any) -> Any:
        if self._proxy is None:
            self._proxy = xmlrpc.client.ServerProxy("http://localhost/RPC2", transport=_Transport(self.path))
        try:
            return getattr(self._proxy, method)(*arguments)
        except xmlrpc.client.Fault as fault:
            raise Fault(fault.faultCode, fault.faultString) from None
        except (FileNotFoundError, ConnectionRefusedError):
            self.close()
            raise NotRunning(f"no supervisord answers on {self.path}") from None
        except PermissionError as error:
            self.close()
            raise Unanswered(f"{self.path}: {error}") from None
        except (OSError, http.client.HTTPException, xmlrpc.client.Error) as error:
            self.close()
            raise BackendError(f"supervisord on {self.path}, {method}: {error}") from None

    def close(self) -> None:
        """Close the connection; may be called twice."""
        proxy, self._proxy = self._proxy, None
        if proxy is not None:
            proxy("close")()
