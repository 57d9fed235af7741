# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sockets for programs that stay. PRIVATE to the collection.

The kernel's sockets as Python has them in `_socket`, below `socket`: that makes files and enumerations of them, for which it
loads a third of a megabyte that a daemon keeps for life and has no use for.
"""

from __future__ import annotations

from _socket import (
    AF_INET,
    AF_INET6,
    AF_UNIX,
    CMSG_LEN,
    IPPROTO_TCP,
    MSG_CMSG_CLOEXEC,
    MSG_CTRUNC,
    MSG_DONTWAIT,
    MSG_NOSIGNAL,
    MSG_PEEK,
    MSG_TRUNC,
    SCM_RIGHTS,
    SHUT_RDWR,
    SO_KEEPALIVE,
    SO_PEERCRED,
    SOCK_CLOEXEC,
    SOCK_NONBLOCK,
    SOCK_SEQPACKET,
    SOCK_STREAM,
    SOL_SOCKET,
    TCP_KEEPCNT,
    TCP_KEEPIDLE,
    TCP_KEEPINTVL,
    TCP_NODELAY,
    getaddrinfo,
    inet_pton,
    socketpair,
    timeout,
)
from _socket import socket as Socket  # a type, named as types are

__all__ = (
    "AF_INET",
    "AF_INET6",
    "AF_UNIX",
    "CMSG_LEN",
    "IPPROTO_TCP",
    "MSG_CMSG_CLOEXEC",
    "MSG_CTRUNC",
    "MSG_DONTWAIT",
    "MSG_NOSIGNAL",
    "MSG_PEEK",
    "MSG_TRUNC",
    "SCM_RIGHTS",
    "SHUT_RDWR",
    "SOCK_CLOEXEC",
    "SOCK_NONBLOCK",
    "SOCK_SEQPACKET",
    "SOCK_STREAM",
    "SOL_SOCKET",
    "SO_KEEPALIVE",
    "SO_PEERCRED",
    "TCP_KEEPCNT",
    "TCP_KEEPIDLE",
    "TCP_KEEPINTVL",
    "TCP_NODELAY",
    "Socket",
    "getaddrinfo",
    "inet_pton",
    "socketpair",
    "timeout",
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def pair() -> tuple[Socket, Socket]:
    """Give two ends that keep messages apart. Raises OSError."""
    return socketpair(AF_UNIX, SOCK_SEQPACKET, 0)


def accept(listener: Socket) -> Socket:
    """Give the next stream that somebody has connected to *listener*. Raises OSError."""
    descriptor, _address = listener._accept()  # type: ignore[attr-defined]
    return Socket(AF_UNIX, SOCK_STREAM, 0, descriptor)


def send(end: Socket, data: bytes, descriptors: Sequence[int], flags: int = 0) -> None:
    """Send a message with *descriptors*. Raises OSError."""
    end.sendmsg([data], [(SOL_SOCKET, SCM_RIGHTS, b"".join(one.to_bytes(4, "little") for one in descriptors))], flags)


def receive(end: Socket, size: int, most: int, flags: int = 0) -> tuple[bytes, list[int], bool]:
    """Give a message, at most *most* descriptors that came with it, and whether there were more. Raises OSError."""
    data, ancillary, got, _address = end.recvmsg(size, CMSG_LEN(4 * most), flags | MSG_CMSG_CLOEXEC)
    found: list[int] = []
    for level, kind, raw in ancillary:
        if level == SOL_SOCKET and kind == SCM_RIGHTS:
            found += [int.from_bytes(raw[at : at + 4], "little") for at in range(0, len(raw) - 3, 4)]
    return data, found, bool(got & MSG_CTRUNC) or len(found) > most
