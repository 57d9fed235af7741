# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The methods of the helper's interface: who asks, whether he may, and what for. PRIVATE to the collection."""

from __future__ import annotations

from .._varlink import server
from . import audit, interface, journal
from .interface import INTERFACE
from .parameters import BadParameter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .calls import Calls
    from .connections import Client
    from .operations import Operation

_INFORMATION = dict(server.VENDOR, product="helper")


class Requests:
    """Answers requests for *operations*; what takes time goes to *calls*."""

    def __init__(self, operations: dict[str, Operation], calls: Calls, version: str) -> None:
        self._operations = operations
        self._calls = calls
        self._version = version
        self._methods: dict[str, Callable[[Client, dict[str, Any]], dict[str, Any] | None]] = {
            "Call": self._call,
            "Operations": self._list,
            "Outcome": self._outcome,
        }

    def known(self, client: Client) -> bool:
        """Say whether a client may call anything at all."""
        return any(one.allows(client.peer.uid, client.gids) for one in self._operations.values())

    def request(self, client: Client, request: dict[str, Any]) -> None:
        """Answer a request, or have its client wait."""
        client.oneway = bool(request.get("oneway"))
        standard = server.service_reply(
            request, dict(_INFORMATION, version=self._version), {INTERFACE: interface.DESCRIPTION}
        )
        if standard is not None:
            client.answer(standard.get("error", ""), standard["parameters"])
            return
        method, parameters = request.get("method"), request.get("parameters", {})
        own, _dot, name = method.rpartition(".") if isinstance(method, str) else ("", "", "")
        if own != INTERFACE:
            client.answer(server.INTERFACE_NOT_FOUND, {"interface": own[:256]})
        elif not isinstance(parameters, dict):
            client.answer(server.INVALID_PARAMETER, {"parameter": "parameters"})
        elif name not in self._methods:
            client.answer(server.METHOD_NOT_FOUND, {"method": name[:256]})
        else:
            try:
                reply = self._methods[name](client, parameters)
            except server.Refused as refused:
                client.answer(refused.error, dict(refused.parameters))
                return
            if reply is not None:
                client.answer("", reply)

    # Each method gives its reply, or None when it has seen to that itself; it raises Refused.

    def _list(self, client: Client, _parameters: dict[str, Any]) -> dict[str, Any]:
        allowed = [one.describe() for one in self._operations.values() if one.allows(client.peer.uid, client.gids)]
        return {"operations": allowed}

    def _outcome(self, client: Client, parameters: dict[str, Any]) -> dict[str, Any]:
        return self._calls.outcome(client.peer.uid, _id(parameters.get("id")))

    def _call(self, client: Client, parameters: dict[str, Any]) -> None:
        operation, values = self._permitted(client, parameters)
        id_ = parameters.get("id")
        self._calls.make(client, operation, values, "" if id_ is None else _id(id_))

    def _permitted(self, client: Client, request: dict[str, Any]) -> tuple[Operation, dict[str, Any]]:
        """Give the operation that a client asks for, if it may, and its checked parameters. Raises Refused."""
        peer = client.peer
        name, given = request.get("operation"), request.get("parameters")
        operation = self._operations.get(name) if isinstance(name, str) else None
        if operation is None or not operation.allows(peer.uid, client.gids):
            # The same answer for both: who may not call it need not know that it is there.
            shown = str(name)[:64] if isinstance(name, str) else ""
            audit.record("call", peer, operation=shown, outcome="not allowed")
            raise server.Refused(interface.NOT_ALLOWED, operation=shown)
        if given is None:
            given = {}
        try:
            if not isinstance(given, dict):
                raise BadParameter("is to be an object", "parameters")
            return operation, operation.complete(given)
        except BadParameter as error:
            audit.record("call", peer, operation=name, outcome="bad parameter", message=f"{error.parameter}: {error}")
            raise server.Refused(interface.BAD_PARAMETER, parameter=error.parameter, message=str(error)) from None


def _id(value: object) -> str:
    if not isinstance(value, str) or not journal.is_id(value):
        raise server.Refused(interface.BAD_ID, id=str(value)[:64], message="1 to 64 letters, digits, '_' and '-'")
    return value
