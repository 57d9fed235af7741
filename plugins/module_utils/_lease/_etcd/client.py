# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Calls of etcd's JSON gateway: several endpoints, one deadline, and the token of a user. PRIVATE to the collection.

https://etcd.io/docs/v3.4/dev-guide/api_grpc_gateway/: numbers of 64 bits are text, keys and values base64, an absent
number is 0. An error has gRPC's code, https://grpc.github.io/grpc/core/md_doc_statuscodes.html.
"""

from __future__ import annotations

import binascii
import time

from ..._lean import json
from ..interface import DriverRefused, StoreUnavailable
from . import http

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from ..._lean import tls
    from ..._varlink.sockets import Socket
    from .channels import Channels
    from .parameters import Endpoint, Parameters

    Answer = TypeVar("Answer")

INVALID, NOT_FOUND, DENIED, EXHAUSTED, PRECONDITION, UNAUTHENTICATED = 3, 5, 7, 8, 9, 16
#: Codes after which nobody knows whether the request was carried out: cancelled, unknown, too late, aborted, internal,
#: unavailable.
_UNCLEAR = frozenset((1, 2, 4, 10, 13, 14))
#: Seconds after its last use at which a token is exchanged: etcd forgets one that was not used for 300 s.
_TOKEN = 200.0


class EtcdError(Exception):
    """etcd says no. code: gRPC's."""

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        super().__init__(text)

    @property
    def full(self) -> bool:
        """Say whether the database has no room left (the alarm NOSPACE)."""
        return self.code == EXHAUSTED and "space" in str(self)


class Client:
    """Calls one cluster.

    current: the number of the endpoint that is asked first. sent: when the request that was answered last was sent
    (CLOCK_BOOTTIME). token: of our user, "" if there is none. channels: by which `call` says what it can, if there are any.
    """

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters
        self._context: tls.Context | None = None
        self.current = 0
        self.channels: Channels | None = None
        self._connection: http.Connection | None = None
        self._addresses: dict[int, list[tuple[int, tuple[str, int]]]] = {}
        self.token = ""
        self._token_until = 0.0
        self.sent = 0.0

    @property
    def alone(self) -> bool:
        """Say whether there is but one endpoint."""
        return len(self._parameters.endpoints) == 1

    def prepare(self) -> None:
        """Read certificates, and import what TLS needs. Raises DriverRefused. May be repeated."""
        if self._parameters.tls and self._context is None:
            self._context = self._parameters.context()

    def close(self) -> None:
        """Close the connection; the next call makes another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def call(self, path: str, request: dict[str, Any], deadline: float) -> dict[str, Any]:
        """Give the answer of whichever endpoint gives one first in time, beginning with the one that did last.

        Raises EtcdError: nothing was done; StoreUnavailable: nobody knows whether it was.
        """
        if self.channels is not None:
            say = self.channels.say
            return self.ask(lambda until: say(self, path, request, until), deadline)
        body = json.dumps(request).encode()
        return self.ask(lambda until: self.once(path, body, until), deadline)

    def ask(self, attempt: Callable[[float], Answer], deadline: float) -> Answer:
        """Have *attempt* made, until a time that it is given, at one endpoint after the other until it goes well.

        It raises EtcdError, or OSError or ValueError if nobody knows. Raises EtcdError, StoreUnavailable, and what else
        *attempt* raises.
        """
        self._log_in(deadline)
        try:
            return self._anywhere(attempt, deadline)
        except EtcdError as error:
            if not self._parameters.user or not (error.code == UNAUTHENTICATED or "auth token" in str(error)):
                raise
        # The token was forgotten, as by an etcd that was started anew.
        self.token = ""
        self._log_in(deadline)
        return self._anywhere(attempt, deadline)

    def call_one(self, number: int, path: str, request: dict[str, Any], deadline: float) -> dict[str, Any]:
        """Call the endpoint of that number and no other. Raises EtcdError, StoreUnavailable."""
        self._log_in(deadline)
        if number != self.current:
            self.close()
            self.current = number
        try:
            return self.once(path, json.dumps(request).encode(), deadline)
        except (OSError, ValueError) as error:
            self.close()
            raise StoreUnavailable(f"{self._parameters.endpoints[number]}: {error}") from None

    def open_watch(self, key: str, end: str, revision: int, deadline: float) -> http.Connection:
        """Give a connection on which the changes of a range come from *revision* on. Raises EtcdError, StoreUnavailable."""
        self._log_in(deadline)
        request = {"create_request": {"key": text64(key), "range_end": text64(end), "start_revision": str(revision)}}
        connection = None
        try:
            connection = self._connect(self.current, deadline)
            connection.send("/v3/watch", json.dumps(request).encode(), self.token, deadline)
            status = connection.begin(deadline)
            first = next(connection.messages(deadline), b"")
            events(first)
            if status != 200:
                raise http.Broken(f"HTTP {status}")
        except (OSError, EtcdError) as error:
            if connection is not None:
                connection.close()
            if isinstance(error, EtcdError):
                raise
            raise StoreUnavailable(f"{self._parameters.endpoints[self.current]}: {error}") from None
        return connection

    # -- one call

    def _anywhere(self, attempt: Callable[[float], Answer], deadline: float) -> Answer:
        count = len(self._parameters.endpoints)
        complaints = []
        tried = 0
        while tried < count:
            # Half of what is left, so that one that is silent leaves something for the others.
            left = deadline - http.now()
            until = deadline if tried == count - 1 else http.now() + left / 2
            stale = self._connection is not None and self._connection.used
            try:
                return attempt(until)
            except (OSError, EtcdError, ValueError) as error:
                self.close()
                if isinstance(error, EtcdError) and error.code not in _UNCLEAR:
                    raise
                if stale and isinstance(error, (http.Broken, ConnectionError)):
                    # The peer has closed it while nothing was said: one more try at the same endpoint.
                    continue
                complaints.append(f"{self._parameters.endpoints[self.current]}: {error}")
            tried += 1
            self.current = (self.current + 1) % count
            if http.now() >= deadline:
                break
        raise StoreUnavailable("no answer from etcd: " + "; ".join(complaints))

    def once(self, path: str, body: bytes, deadline: float) -> dict[str, Any]:
        """Call the endpoint that is asked now. Raises EtcdError, OSError, ValueError."""
        if self._connection is None:
            self._connection = self._connect(self.current, deadline)
        sent = http.now()
        status, answer = self._connection.post(path, body, self.token, deadline)
        reply = json.loads(answer)
        if not isinstance(reply, dict):
            raise ValueError("an answer that is no object")
        if status != 200 or "error" in reply:
            raise _error(status, reply)
        self.heard(sent)
        return reply

    def heard(self, sent: float) -> None:
        """Note that a request of that time was answered: the token is good from then on, unless it says itself until when."""
        self.sent = sent
        self._token_until = max(self._token_until, sent + _TOKEN) if "." not in self.token else self._token_until

    def _connect(self, number: int, deadline: float) -> http.Connection:
        context = self._context if self._parameters.endpoints[number].tls else None
        return http.Connection(self.connect(number, context, deadline), self.name(number))

    def name(self, number: int) -> str:
        """Give the name of an endpoint in requests, with its port."""
        return str(self._parameters.endpoints[number]).rpartition("/")[2]

    def connect(self, number: int, context: tls.Context | None, deadline: float) -> Socket:
        """Connect to an endpoint. Raises OSError."""
        endpoint: Endpoint = self._parameters.endpoints[number]
        if number not in self._addresses:
            self._addresses[number] = http.resolve(endpoint.host, endpoint.port)
        addresses = self._addresses[number]
        problem: OSError = OSError("no address")
        for at, (family, address) in enumerate(addresses):
            left = deadline - http.now()
            try:
                return http.connect(family, address, endpoint.host, context, http.now() + left / (len(addresses) - at))
            except OSError as error:
                problem = error
        # The name may mean something else by now.
        del self._addresses[number]
        raise problem

    # -- users

    def _log_in(self, deadline: float) -> None:
        self.prepare()
        if not self._parameters.user or (self.token and http.now() < self._token_until):
            return
        request = {"name": self._parameters.user, "password": self._parameters.password()}
        old, self.token = self.token, ""
        try:
            body = json.dumps(request).encode()
            reply = self._anywhere(lambda until: self.once("/v3/auth/authenticate", body, until), deadline)
        except EtcdError as error:
            if "authentication is not enabled" in str(error):
                raise DriverRefused("etcd: parameter user is given, and authentication is not enabled") from None
            raise DriverRefused(f"etcd: user {self._parameters.user} is refused: {error}") from None
        except StoreUnavailable:
            # An old one may be good yet.
            self.token = old
            if not old:
                raise
            return
        self.token = str(reply.get("token", ""))
        if not self.token.isascii() or not self.token.isprintable():
            raise DriverRefused("etcd: gave a token that is none")
        self._token_until = http.now() + _life(self.token)


def _life(token: str) -> float:
    """Give the seconds after which *token* is to be exchanged: a JWT tells when it ends, whatever is done with it."""
    parts = token.split(".")
    if len(parts) == 3:
        try:
            claims = json.loads(binascii.a2b_base64(parts[1].replace("-", "+").replace("_", "/") + "==="))
            return max((float(claims["exp"]) - time.time()) * 0.7, 1.0)
        except (ValueError, LookupError, TypeError):
            pass
    return _TOKEN


def _error(status: int, reply: dict[str, Any]) -> EtcdError:
    inner = reply.get("error")
    if isinstance(inner, dict):
        # Within a stream.
        return EtcdError(int(inner.get("grpc_code") or inner.get("code") or 2), str(inner.get("message", inner)))
    return EtcdError(int(reply.get("code") or 2), str(inner or reply.get("message") or f"HTTP {status}"))


def text64(text: str) -> str:
    """Give *text* as the gateway wants keys and values."""
    return binascii.b2a_base64(text.encode(), newline=False).decode()


def plain(value: str) -> str:
    """Give the text of a key or a value of the gateway. Raises ValueError."""
    return binascii.a2b_base64(value).decode()


def events(piece: bytes) -> tuple[int, list[dict[str, Any]]]:
    """Give revision and events of one message of a watch. Raises EtcdError if it has ended, ValueError."""
    reply = json.loads(piece)
    result = reply.get("result")
    if not isinstance(result, dict):
        raise _error(200, reply)
    if result.get("canceled"):
        raise EtcdError(PRECONDITION, f"the watch has ended: {result.get('cancel_reason') or 'compacted'}")
    return int(result.get("header", {}).get("revision", 0)), result.get("events") or []
