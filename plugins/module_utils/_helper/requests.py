# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The methods of the helper's interface: who asks, whether he may, and what for. PRIVATE to the collection."""

from __future__ import annotations

import os
import time

from .._varlink import server
from . import audit, generated, interface, journal
from .calls import digest
from .interface import INTERFACE
from .limits import Limit
from .parameters import BadParameter, is_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .absent import NoJobs, NoResources
    from .calls import Calls
    from .connections import Client
    from .jobs import Jobs
    from .operations import Operation
    from .resources import Resources

#: Refused calls of one caller that are written down: so many in so many seconds. The log is not his to fill.
REFUSALS = 200, 60.0

#: Longest time that a caller may wish to wait, in seconds.
PATIENCE = 86400.0

_INFORMATION = dict(server.VENDOR, product="helper")
_INTERFACES = (INTERFACE, generated.INTERFACE, server.SERVICE)


class Requests:
    """Answers requests for *operations*; what takes time goes to *calls* and *jobs*."""

    def __init__(
        self,
        operations: dict[str, Operation],
        calls: Calls,
        jobs: Jobs | NoJobs,
        resources: Resources | NoResources,
        version: str,
    ) -> None:
        self._operations = operations
        self._calls = calls
        self._jobs = jobs
        self._resources = resources
        self._information = dict(_INFORMATION, version=version)
        self._refusals = Limit(*REFUSALS)
        #: Refused calls that were not written down, by caller.
        self._muted: dict[str, int] = {}
        self._generated = {generated.method_name(name): name for name in operations}
        self._methods: dict[str, Callable[[Client, dict[str, Any]], dict[str, Any] | None]] = {
            "Acquire": self._acquire,
            "Call": self._call,
            "Cancel": self._cancel,
            "Job": self._job,
            "Jobs": self._list_jobs,
            "Operations": self._list,
            "Outcome": self._outcome,
            "Release": self._release,
            "Resources": self._list_resources,
            "Start": self._start,
            "Stream": self._stream,
        }

    def known(self, client: Client) -> bool:
        """Say whether a client may call anything at all."""
        return any(one.allows(client) for one in self._operations.values())

    def request(self, client: Client, request: dict[str, Any]) -> None:
        """Answer a request, or have its client wait."""
        client.oneway, client.more = bool(request.get("oneway")), request.get("more") is True
        client.generated = False
        try:
            own, name, parameters = server.called(request, _INTERFACES)
            if own == server.SERVICE:
                reply = server.service_reply(request, self._information, self._texts(client))
            else:
                client.generated = own == generated.INTERFACE
                answer = self._do(client, name, parameters)
                reply = None if answer is None else ("", answer)
        except server.Refused as refused:
            reply = refused.error, dict(refused.parameters)
        if reply is not None:
            client.answer(*reply)

    def _do(self, client: Client, name: str, parameters: dict[str, Any]) -> dict[str, Any] | None:
        """Do what a method of ours is for. Raises Refused."""
        if client.generated:
            # A method that is not there is answered as one that is not for this caller: by the same words.
            wanted = {"operation": self._generated.get(name), "parameters": parameters}
            self._call(client, wanted, name[:64])
            return None
        if name not in self._methods:
            raise server.Refused(server.METHOD_NOT_FOUND, method=name[:256])
        return self._methods[name](client, parameters)

    def _texts(self, client: Client) -> dict[str, str]:
        """Give the interfaces as this caller may see them."""
        texts = {INTERFACE: interface.DESCRIPTION}
        allowed = [one for one in self._operations.values() if one.allows(client)]
        if allowed:
            texts[generated.INTERFACE] = generated.describe(allowed, interface.ERRORS)
        return texts

    # Each method gives its reply, or None when it has seen to that itself; it raises Refused.

    def _list(self, client: Client, _parameters: dict[str, Any]) -> dict[str, Any]:
        allowed = [one.describe() for one in self._operations.values() if one.allows(client)]
        return {"operations": allowed}

    def _outcome(self, client: Client, parameters: dict[str, Any]) -> dict[str, Any]:
        uid, id_ = client.peer.uid, _id(parameters.get("id"))
        return self._jobs.outcome(uid, id_) or self._calls.outcome(uid, id_)

    def _call(self, client: Client, parameters: dict[str, Any], shown: str = "") -> None:
        operation, values = self._permitted(client, parameters, shown)
        id_ = "" if parameters.get("id") is None else _id(parameters["id"])
        uid = client.peer.uid
        if operation.asynchronous == "always":
            id_ = id_ or _new_id()
            self._new_job(client, operation, id_)
            self._jobs.call(client, operation, values, id_, digest(operation, values), _patience(parameters))
        elif id_ and self._jobs.known(uid, id_):
            raise server.Refused(interface.BAD_ID, id=id_, message="was used for a job")
        else:
            self._calls.make(client, operation, values, id_, _patience(parameters))

    def _stream(self, client: Client, parameters: dict[str, Any]) -> None:
        operation, values = self._permitted(client, parameters)
        if not client.more:
            raise server.Refused(server.EXPECTED_MORE)
        if not operation.stream:
            raise server.Refused(interface.NOT_READABLE, operation=operation.name)
        id_ = _new_id() if parameters.get("id") is None else _id(parameters["id"])
        if self._jobs.known(client.peer.uid, id_) or self._calls.known(client.peer.uid, id_):
            # What was written is not there a second time.
            raise server.Refused(interface.BAD_ID, id=id_, message="was used for another call")
        self._calls.make(client, operation, values, id_, _patience(parameters), reads=True)

    def _start(self, client: Client, parameters: dict[str, Any]) -> None:
        operation, values = self._permitted(client, parameters)
        if operation.asynchronous == "never":
            raise server.Refused(interface.NOT_ASYNCHRONOUS, operation=operation.name)
        id_ = _new_id() if parameters.get("id") is None else _id(parameters["id"])
        self._new_job(client, operation, id_)
        self._jobs.start(client, operation, values, id_, digest(operation, values))

    def _new_job(self, client: Client, operation: Operation, id_: str) -> None:
        """Judge whether a client may have another job; one that it has already it may. Raises Refused."""
        uid = client.peer.uid
        if self._calls.known(uid, id_):
            raise server.Refused(interface.BAD_ID, id=id_, message="was used for a call that is no job")
        if not self._jobs.known(uid, id_):
            self._calls.count(client, operation)

    def _list_jobs(self, client: Client, _parameters: dict[str, Any]) -> dict[str, Any]:
        return {"jobs": self._jobs.of(client.peer.uid)}

    def _job(self, client: Client, parameters: dict[str, Any]) -> None:
        uid, id_ = self._whose(client, parameters)
        self._jobs.show(client, uid, id_, parameters.get("wait") is True, client.more)

    def _cancel(self, client: Client, parameters: dict[str, Any]) -> None:
        self._jobs.cancel(client, *self._whose(client, parameters))

    def _acquire(self, client: Client, parameters: dict[str, Any]) -> None:
        token = _new_id() if parameters.get("token") is None else _id(parameters["token"])
        try:
            self._resources.acquire(client, parameters, token, _patience(parameters))
        except BadParameter as error:
            raise server.Refused(interface.BAD_PARAMETER, parameter=error.parameter, message=str(error)) from None

    def _release(self, client: Client, parameters: dict[str, Any]) -> dict[str, Any]:
        return {"released": self._resources.release(client.peer.uid, _id(parameters.get("token")))}

    def _list_resources(self, client: Client, _parameters: dict[str, Any]) -> dict[str, Any]:
        return {"resources": self._resources.of(client)}

    @staticmethod
    def _whose(client: Client, parameters: dict[str, Any]) -> tuple[int, str]:
        """Give the user and the id of the job that is asked for. Raises Refused."""
        uid, id_ = parameters.get("user"), _id(parameters.get("id"))
        if uid is None:
            return client.peer.uid, id_
        # What is of others is not there, except for root.
        if client.peer.uid not in (0, uid) or not isinstance(uid, int):
            raise server.Refused(interface.NO_SUCH_JOB, id=id_)
        return uid, id_

    def _permitted(self, client: Client, request: dict[str, Any], shown: str = "") -> tuple[Operation, dict[str, Any]]:
        """Give the operation that a client asks for, if it may, and its checked parameters. Raises Refused.

        shown: by which name it asked, when that is not the operation's.
        """
        name, given = request.get("operation"), request.get("parameters")
        operation = self._operations.get(name) if isinstance(name, str) else None
        if operation is None or not operation.allows(client):
            # The same answer for both: who may not call it need not know that it is there.
            shown = shown or (name[:64] if isinstance(name, str) else "")
            self._note_refusal(client, operation=shown, outcome="not allowed")
            raise server.Refused(interface.NOT_ALLOWED, operation=shown)
        if given is None:
            given = {}
        try:
            if not isinstance(given, dict):
                raise BadParameter("is to be an object", "parameters")
            return operation, operation.complete(given, client.passed > 0)
        except BadParameter as error:
            message = f"{error.parameter}: {error}"
            self._note_refusal(client, operation=name, outcome="bad parameter", message=message)
            raise server.Refused(interface.BAD_PARAMETER, parameter=error.parameter, message=str(error)) from None

    def _note_refusal(self, client: Client, **details: object) -> None:
        """Write down that a call is refused. Raises Refused where there were so many that they are only counted."""
        if self._refusals.take(client.name, time.monotonic()):
            if client.name not in self._muted:
                audit.record("call", client.peer, outcome="too many refused calls")
            self._muted[client.name] = self._muted.get(client.name, 0) + 1
            raise server.Refused(interface.BUSY, message="too many of your calls were refused")
        unwritten = self._muted.pop(client.name, 0)
        if unwritten:
            details["unwritten"] = unwritten
        audit.record("call", client.peer, **details)


def _patience(parameters: dict[str, Any]) -> float | None:
    seconds = parameters.get("timeout")
    if seconds is None:
        return None
    if not is_number(seconds) or not 0 < seconds <= PATIENCE:
        raise server.Refused(
            interface.BAD_PARAMETER, parameter="timeout", message=f"seconds above 0, at most {PATIENCE:g}"
        )
    return float(seconds)


def _new_id() -> str:
    return os.urandom(16).hex()


def _id(value: object) -> str:
    if not isinstance(value, str) or not journal.is_id(value):
        given = str(value)[:64]
        text = f"id: {given!r}: is to be 1 to 64 letters, digits, '_' and '-', the first a letter or a digit"
        raise server.Refused(interface.BAD_ID, id=given, message=text)
    return value
