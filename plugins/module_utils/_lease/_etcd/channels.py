# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which way a request goes: over a channel of gRPC, or through the gateway. PRIVATE to the collection.

Through etcd's JSON gateway a request costs etcd twice and us three times of what it costs in etcd's own protocol, gRPC. So
a channel of that is opened to a member that has just answered the gateway quickly, and used from then on. Where it can't be
had, or has ended, the gateway does it: nothing depends on a channel's being opened, or on its going on.
"""

from __future__ import annotations

from ..._lean import json
from ..interface import LeaseError
from . import http, messages
from .channel import Channel
from .client import EtcdError
from .frames import Violation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from ..._lean.tls import Context
    from .client import Client
    from .parameters import Parameters

    Answer = TypeVar("Answer")

#: Seconds for which an endpoint where there is no channel to be had is left alone.
_WHILE = 60.0
#: The part of the time that is left which opening a channel may take.
_OPENING = 1 / 2


class Channels:
    """The channel of one client, one at a time: to the endpoint that is asked now."""

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters
        self._channel: Channel | None = None
        self._context: Context | None = None
        # number of an endpoint -> until when no channel is tried there.
        self._without: dict[int, float] = {}

    def close(self) -> None:
        """Close the channel; there may be another one later."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def open(self, client: Client, quick: float, deadline: float) -> None:
        """Open a channel if there is none and the endpoint has answered what it was asked less than *quick* seconds ago.

        A member that has so much to do that it takes its time is not given more to do. If it cannot be had there, it is not
        tried again for a while.
        """
        now, number = http.now(), client.current
        if self._channel is not None or now < self._without.get(number, 0.0) or now - client.sent >= quick:
            return
        until = now + (deadline - now) * _OPENING
        tls = self._parameters.endpoints[number].tls
        channel = None
        try:
            if tls and self._context is None:
                self._context = self._parameters.context("h2")
            connected = client.connect(number, self._context if tls else None, until)
            channel = Channel(connected, "https" if tls else "http", client.name(number), number)
            if tls and connected.protocol() != "h2":  # type: ignore[attr-defined]
                raise Violation("no HTTP/2")
            channel.begin(until)
        except (OSError, LeaseError):
            self._without[number] = http.now() + _WHILE
            if channel is not None:
                channel.close()
        else:
            self._channel = channel

    def say(self, client: Client, path: str, request: dict[str, Any], until: float) -> dict[str, Any]:
        """Say a request of the gateway's form to the endpoint that is asked now. Raises EtcdError, OSError, ValueError."""

        def by_gateway() -> dict[str, Any]:
            return client.once(path, json.dumps(request).encode(), until)

        if path not in messages.CALLS:
            return by_gateway()
        name, encode, decode = messages.CALLS[path]
        return self.either(
            client, lambda channel: decode(channel.ask(name, client.token, encode(request), until)), by_gateway
        )

    def either(
        self, client: Client, by_channel: Callable[[Channel], Answer], by_gateway: Callable[[], Answer]
    ) -> Answer:
        """Do it over the channel if there is one to the endpoint that is asked now; if that has ended, by the gateway.

        Raises what either raises.
        """
        channel = self._channel
        if channel is None or channel.number != client.current:
            self.close()
            return by_gateway()
        try:
            channel.look()
            sent = http.now()
            answer = by_channel(channel)
        except (EtcdError, http.Timeout):
            self.close()
            raise
        except OSError as error:
            # It has ended meanwhile, or never was one. There is time to say the same in the other way.
            if isinstance(error, Violation) or not channel.used:
                self._without[channel.number] = http.now() + _WHILE
            self.close()
            return by_gateway()
        client.heard(sent)
        # The gateway's connection would only lie idle.
        client.close()
        return answer
