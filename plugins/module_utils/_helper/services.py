# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which supervised service a caller belongs to. PRIVATE to the collection.

The kernel says which process made a connection (SO_PEERPIDFD, Linux 6.5). The supervisor's record says which process
is the service, and systemd's cgroups say it for units. Process numbers are used again, so each step from the one to
the other holds what it has found by a pidfd, looks again, and counts only if all of them still live.

An older kernel can't say it. There a service is told by its user, if no other service has the same.
"""

from __future__ import annotations

import os
import select

from .._supervise._embedded import identity, record
from .._varlink import sockets
from .trust import untrusted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .._varlink.server import Peer

EMBEDDED, SYSTEMD = "embedded", "systemd"
MANAGERS = (EMBEDDED, SYSTEMD)
AUTO, PIDFD, USER = "auto", "pidfd", "user"
#: Generations between a service and its caller.
_DEEPEST = 64


class Services:
    """Tells services apart as the part `services` of helper.json says.

    manager: embedded or systemd, "" where no operation is for a service. scan_directory: of the embedded supervisor.
    identity: pidfd, user, or auto for what the kernel has. users: uid of each service whose user no other one has.
    """

    __slots__ = ("_boot", "_manager", "_namespace", "_scan", "_users", "by")

    def __init__(self, manager: str = "", scan_directory: str = "", identity_: str = AUTO, users: Any = None) -> None:
        self._manager = manager
        self._scan = scan_directory
        self._users: dict[str, int] = users or {}
        self._boot = identity.boot_id()
        self._namespace = identity.pid_namespace()
        #: How services are told apart on this kernel.
        self.by = (PIDFD if has_pidfds() else USER) if identity_ == AUTO else identity_

    def has(self, name: str, peer: Peer) -> bool:
        """Say whether *peer* belongs to the service *name*, now. In doubt it does not."""
        if self.by == USER:
            return self._users.get(name) == peer.uid
        try:
            held = peer.pidfd()
        except OSError:
            return False
        try:
            return self._in_unit(name, held) if self._manager == SYSTEMD else self._below(name, held)
        finally:
            os.close(held)

    def problem(self, name: str) -> str:
        """Say why nobody can be told for the service *name*; "" if that is not so."""
        if self.by == USER and name not in self._users:
            return "has no user of its own, and the kernel can't tell its processes"
        if self.by == PIDFD and self._manager == EMBEDDED and os.path.isdir(self._scan):
            return untrusted(self._scan)
        return ""

    def _in_unit(self, name: str, held: int) -> bool:
        """Ask the cgroup of a process. Root alone can put one there, or a unit for its own descendants.

        A service of ours has a unit whose name begins with ours; any other unit is named as systemd names it.
        """
        unit = f"/system.slice/{name}" if name.endswith(".service") else f"/system.slice/holdfast-{name}.service"
        try:
            with open(f"/proc/{_pid(held)}/cgroup", encoding="utf-8", errors="replace") as file:
                paths = [line.rstrip("\n").split(":", 2) for line in file]
        except OSError:
            return False
        found = [path for number, names, path in paths if number == "0" or names == "name=systemd"]
        # The number was this process's when it was used, if it still lives.
        return any((path + "/").startswith(unit + "/") for path in found) and _lives(held)

    def _below(self, name: str, held: int) -> bool:
        path = f"{self._scan}/{name}/supervise/record"
        known = None if untrusted(path) else record.read(path)
        if known is None or known.phase != record.RUNNING or known.boot != self._boot:
            return False
        return known.namespace == self._namespace and _descends(held, known.pid, known.started)


def _descends(held: int, ancestor: int, started: int) -> bool:
    """Say whether the process behind the pidfd *held* is, or descends from, process *ancestor*."""
    chain = [os.dup(held)]
    try:
        pid = _pid(held)
        while pid > 1 and len(chain) <= _DEEPEST:
            found = identity.process(pid)
            if found is None:
                return False
            if pid == ancestor:
                return found[0] == started and _lives(chain[-1])
            parent = found[2]
            if parent <= 1:
                return False
            chain.append(os.pidfd_open(parent))
            again = identity.process(pid)
            # The child lives, so that number is its; it still has this parent, and who has that number lives, too: so
            # what we hold is the parent, and neither number can have been used again in between.
            if again is None or again[2] != parent or not (_lives(chain[-2]) and _lives(chain[-1])):
                return False
            pid = parent
        return False
    except OSError:
        return False
    finally:
        for one in chain:
            os.close(one)


def _pid(held: int) -> int:
    """Give the number of the process behind a pidfd; 0 or less when it has none here or is gone. Raises OSError."""
    with open(f"/proc/self/fdinfo/{held}", encoding="ascii") as file:
        for line in file:
            if line.startswith("Pid:"):
                return int(line[4:])
    return 0


def _lives(held: int) -> bool:
    """Say whether the process behind a pidfd has not ended."""
    return not select.select([held], [], [], 0)[0]


def has_pidfds() -> bool:
    """Say whether this kernel tells which process made a connection."""
    from .._varlink.server import peer_pidfd

    ours, theirs = sockets.pair()
    try:
        os.close(peer_pidfd(ours))
    except OSError:
        return False
    finally:
        ours.close()
        theirs.close()
    return True
