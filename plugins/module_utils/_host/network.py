# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The network interfaces of a host and their addresses, from rtnetlink(7). PRIVATE to the collection."""

from __future__ import annotations

import os
import socket
import struct
from typing import Any

from .look import Look

# include/uapi/linux/netlink.h and rtnetlink.h.
_GETADDR, _NEWADDR, _DONE, _ERROR = 22, 20, 3, 2
_REQUEST_DUMP = 0x301
_HEADER, _ADDRESS, _ATTRIBUTE = struct.Struct("=IHHII"), struct.Struct("=BBBBI"), struct.Struct("=HH")
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
#: Seconds that the kernel has for its answer.
_PATIENCE = 5.0


def network(look: Look) -> list[dict[str, Any]]:
    """Give each interface: *name*, *mac*, *mtu*, whether it is up and has a link, and its *addresses* with prefix."""
    try:
        addresses = _addresses()
    except OSError:
        addresses = {}
    found = []
    for name in look.names("sys/class/net"):
        folder = f"sys/class/net/{name}"
        flags, mtu = look.text(folder, "flags"), look.text(folder, "mtu")
        if not flags:
            continue
        found.append(
            {
                "name": name,
                "mac": look.text(folder, "address"),
                "mtu": int(mtu) if mtu.isdigit() else None,
                "up": bool(int(flags, 16) & 1),
                "link": look.text(folder, "carrier") == "1",
                "addresses": addresses.get(name, []),
            }
        )
    return found


def _addresses() -> dict[str, list[str]]:
    """Ask the kernel for all addresses, by interface. Raises OSError."""
    names = dict(socket.if_nameindex())
    found: dict[str, list[str]] = {}
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as asked:
        asked.settimeout(_PATIENCE)
        body = _ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
        asked.send(_HEADER.pack(_HEADER.size + len(body), _GETADDR, _REQUEST_DUMP, 1, 0) + body)
        while True:
            data = asked.recv(65536)
            while data:
                length, kind = _HEADER.unpack_from(data)[:2]
                if kind == _DONE or length < _HEADER.size:
                    return {name: sorted(values) for name, values in found.items()}
                if kind == _ERROR:
                    raise OSError(-struct.unpack_from("=i", data, _HEADER.size)[0], "rtnetlink")
                if kind == _NEWADDR:
                    index, address = _address(data[_HEADER.size : length])
                    if address and index in names:
                        found.setdefault(names[index], []).append(address)
                data = data[(length + 3) & ~3 :]


def _address(message: bytes) -> tuple[int, str]:
    """Give interface number and address of one message; the address is empty if it has none that we know."""
    family, prefix, _flags, _scope, index = _ADDRESS.unpack_from(message)
    values: dict[int, bytes] = {}
    rest = message[_ADDRESS.size :]
    while len(rest) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(rest)
        if length < _ATTRIBUTE.size:
            break
        values[kind] = rest[_ATTRIBUTE.size : length]
        rest = rest[(length + 3) & ~3 :]
    # On a point-to-point link the plain address is the peer's.
    raw = values.get(_IFA_LOCAL, values.get(_IFA_ADDRESS, b""))
    if family not in (socket.AF_INET, socket.AF_INET6) or not raw:
        return index, ""
    return index, f"{socket.inet_ntop(family, raw)}/{prefix}"


def hostname() -> str:
    """Give the name of the host as the kernel has it."""
    return os.uname().nodename
