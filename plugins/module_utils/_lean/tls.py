# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""TLS of clients, for programs that stay. PRIVATE to the collection.

What Python has in `_ssl`, below `ssl`: that makes enumerations of all that OpenSSL can say, for which a guard needs ten
milliseconds more until its service runs, and keeps two megabytes for life.
"""

from __future__ import annotations

import _ssl
import sys

from .._varlink import sockets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Context:
    """Whom a client trusts and who it is. authorities: a file, "" for those of the host. protocol: that is asked for, or ""."""

    def __init__(self, authorities: str, protocol: str = "") -> None:
        """Raises OSError, ValueError."""
        made = self._made = _ssl._SSLContext(_ssl.PROTOCOL_TLS_CLIENT)
        # Both are so for such a client already. Once more, as everything depends on it.
        made.verify_mode = _ssl.CERT_REQUIRED
        made.check_hostname = True
        made.minimum_version = _ssl.PROTO_TLSv1_2
        if sys.version_info >= (3, 13):
            # What `ssl` asks for from then on.
            made.verify_flags |= _ssl.VERIFY_X509_PARTIAL_CHAIN | _ssl.VERIFY_X509_STRICT
        if authorities:
            made.load_verify_locations(authorities, None, None)
        else:
            made.set_default_verify_paths()
        if protocol:
            made._set_alpn_protocols(bytes((len(protocol),)) + protocol.encode())  # type: ignore[attr-defined]

    def identify(self, certificate: str, key: str) -> None:
        """Be known by what is in these two files. Raises OSError."""
        self._made.load_cert_chain(certificate, key, None)

    def socket(self, family: int, kind: int) -> Secured:
        """Give a socket that is to be connected. Raises OSError."""
        made = Secured(family, kind)
        made.context = self._made
        return made


class Secured(sockets.Socket):
    """A socket whose words are encrypted after `begin`."""

    # What encrypts has no more than a weak reference to the socket.
    __slots__ = ("__weakref__", "_tls", "context")

    context: _ssl._SSLContext
    _tls: Any

    def begin(self, host: str) -> None:
        """Shake hands with *host*, when it is connected. Raises OSError, also if it is somebody else."""
        self._tls = self.context._wrap_socket(self, False, server_hostname=host)  # type: ignore[attr-defined]
        self._tls.do_handshake()

    def recv(self, size: int, _flags: int = 0) -> bytes:
        """Give what has come; nothing if there will be no more, whether the peer has said so or not. Raises OSError."""
        try:
            data: bytes = self._tls.read(size)
        except _ssl.SSLEOFError:
            return b""
        return data

    def sendall(self, data: Any, _flags: int = 0) -> None:
        """Send all of it. Raises OSError."""
        left = memoryview(data)
        while left:
            left = left[self._tls.write(left) :]

    def protocol(self) -> str:
        """Give the protocol that the peer has agreed to, "" for none."""
        return self._tls.selected_alpn_protocol() or ""
