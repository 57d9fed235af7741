# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The network of a lab: one namespace with a bridge, one namespace and one cable for each host.

Nothing of it is attached to the machine's own interfaces. The namespaces are kept by bind mounts in the lab's
directory, so that the machine's list of named namespaces stays as it was.
"""

from __future__ import annotations

import hashlib
import typing as t

from .system import enter_network, run

if t.TYPE_CHECKING:
    from pathlib import Path

FIRST_HOST = 11
LAST_HOST = 250


def subnet(lab_name: str) -> str:
    """First three numbers of the lab's addresses: one of the 512 networks inside 198.18.0.0/15.

    Labs cannot reach each other anyway; different addresses keep caches such as known_hosts apart.
    """
    number = int.from_bytes(hashlib.sha256(lab_name.encode()).digest()[:2], "big") % 512
    return f"198.{18 + number // 256}.{number % 256}"


def create_lab(namespace: Path, lab_name: str) -> None:
    """The namespace with the bridge, at which the lab itself has the address .1."""
    _create(namespace)
    _ip(
        namespace,
        "link set lo up",
        "link add lab type bridge",
        f"address add {subnet(lab_name)}.1/24 dev lab",
        "link set lab up",
    )


def create_host(lab_namespace: Path, namespace: Path, address: str, number: int) -> None:
    """The host's namespace with ``eth0`` at this address, plugged into the bridge."""
    _create(namespace)
    _ip(
        lab_namespace,
        f"link add {_cable(number)} type veth peer name eth0 netns {namespace}",
        f"link set {_cable(number)} master lab up",
    )
    _ip(namespace, "link set lo up", f"address add {address}/24 dev eth0", "link set eth0 up")


def remove_host(lab_namespace: Path, namespace: Path, number: int) -> None:
    """Take the cable and the namespace away; either may be missing."""
    run([*enter_network(lab_namespace), "ip", "link", "delete", _cable(number)], check=False)
    run(["umount", "--lazy", namespace], check=False)
    namespace.unlink(missing_ok=True)


def plug(lab_namespace: Path, number: int, plugged: bool) -> None:
    """Pull the host's cable out of the bridge, or put it in again."""
    _ip(lab_namespace, f"link set {_cable(number)} {'up' if plugged else 'down'}")


def is_plugged(lab_namespace: Path, number: int) -> bool:
    """Whether the cable is in."""
    shown = run([*enter_network(lab_namespace), "ip", "-oneline", "link", "show", _cable(number)], check=False)
    return "UP" in shown.stdout.partition("<")[2].partition(">")[0].split(",")


def _cable(number: int) -> str:
    return f"host{number}"


def _create(namespace: Path) -> None:
    namespace.touch()
    run(["unshare", f"--net={namespace}", "true"])


def _ip(namespace: Path, *lines: str) -> None:
    run([*enter_network(namespace), "ip", "-batch", "-"], stdin="\n".join(lines) + "\n")
