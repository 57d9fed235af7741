# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is to be known of a daemon, a lockspace and its storage before a service depends on them. PRIVATE to the collection."""

from __future__ import annotations

import os
import stat
import time

from .. import mounts
from ..interface import DriverNotLoaded, DriverRefused, Hole, StoreUnavailable
from .parameters import WITNESS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .daemon import Daemon, Described, Space
    from .parameters import Parameters

#: Older lines have no index of resources. Before some 3.8 a call may wait for a dead owner, which is given up here then.
_OLDEST = (3, 8, 0)
#: The name that the daemon makes for itself: a number that is new with each start, and the host's name.
_HEX, _UUID = frozenset("0123456789abcdef"), (8, 4, 4, 4, 12)
#: File systems of several hosts on which sanlock's writes are not held back in somebody's cache.
_SHARED = frozenset(("nfs", "nfs4", "gfs2", "ocfs2", "ceph", "glusterfs", "fuse.glusterfs", "lustre", "gpfs"))
#: Seconds that joining may take within one call; it goes on beyond that.
_PATIENCE = 5.0
#: io_timeouts after which a host that did not renew is given up by itself, and seconds more until others believe it.
GONE, WATCHDOG = 8, 60


class Verdict:
    """What was found."""

    def __init__(self) -> None:
        self.holes: list[Hole] = []
        self.watched = True
        self.fixed = False
        self.facts: dict[str, str] = {}


def judge(daemon: Daemon, parameters: Parameters) -> Verdict:
    """Look at everything, and join the lockspace if that is asked for.

    Raises DriverNotLoaded, DriverRefused, StoreUnavailable.
    """
    verdict = Verdict()
    version, _protocol = daemon.version()
    verdict.facts["version"] = shown = ".".join(map(str, version))
    if version < _OLDEST:
        oldest = ".".join(map(str, _OLDEST))
        raise DriverNotLoaded(f"sanlock {shown}: too old, at least {oldest} is needed")
    _judge_storage(parameters, verdict)
    _judge_daemon(daemon, verdict)
    space = daemon.space()
    if space is None or space.joining:
        space = _join(daemon, parameters)
    _judge_space(daemon, parameters, space, verdict)
    return verdict


def _judge_storage(parameters: Parameters, verdict: Verdict) -> None:
    """Look whether the storage can be used in the way in which sanlock uses it, and whether others can have it too."""
    path = parameters.path
    try:
        info = os.stat(path)
        if not (stat.S_ISREG(info.st_mode) or stat.S_ISBLK(info.st_mode)):
            raise DriverRefused(f"{path}: is neither a file nor a block device")
        os.close(os.open(path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC))
        kind = "" if stat.S_ISBLK(info.st_mode) else mounts.filesystem(path)
    except OSError as error:
        raise DriverRefused(f"{path}: {error.strerror or error}; {_cure(path, error)}") from None
    if info.st_mode & 0o002:
        raise DriverRefused(f"{path}: everybody may write to it, and so take leases away; chmod o-w cures it")
    if stat.S_ISBLK(info.st_mode):
        verdict.facts["storage"] = "block device"
        if os.major(info.st_rdev) == _LOOP:
            verdict.holes.append(_local(f"{path} is a loop device"))
        return
    verdict.facts["storage"] = f"file on {kind or 'an unknown file system'}"
    if kind in _SHARED:
        return
    if mounts.is_network(kind):
        raise DriverRefused(f"{path}: is on {kind}, which may keep writes back; use NFS or a shared block device")
    verdict.holes.append(_local(f"{path} is on {kind or 'an unknown file system'}"))


#: The number of loop devices in the kernel.
_LOOP = 7


def _local(what: str) -> Hole:
    return Hole(
        "local_storage",
        f"{what}: other hosts do not see it, or nobody knows whether they do; a shared block device or NFS closes it",
    )


def _cure(path: str, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "the role leases makes it, or holdfast lease prepare"
    try:
        return f"sanlock needs O_DIRECT, which {mounts.filesystem(path) or 'its file system'} does not have"
    except OSError:
        return "look at its permissions"


def _judge_daemon(daemon: Daemon, verdict: Verdict) -> None:
    before = time.monotonic()
    itself = daemon.itself()
    clock = float(itself.get("monotime") or before)
    if not int(before) <= clock <= time.monotonic():
        # What it tells of its renewals would be counted from another beginning: our deadlines could be years late.
        raise DriverRefused(
            f"sanlock: its clock says {clock:.0f} s and ours {before:.0f} s: guard and sanlock have to run in the same time namespace"
        )
    verdict.watched = itself.get("use_watchdog") == "1"
    if not verdict.watched:
        verdict.holes.append(
            Hole(
                "no_watchdog",
                "sanlock runs without a watchdog (-w 0): a host whose kernel hangs, or that was paused, may write "
                "after another one has the lease; wdmd with a watchdog device, and -w 1, close it",
            )
        )
    name = itself.get("our_host_name", "")
    verdict.facts["host_name"] = name
    verdict.fixed = not _drawn(name) and _boot() not in name
    if verdict.fixed:
        verdict.holes.append(
            Hole(
                "fixed_name",
                f"sanlock has the fixed name {name} (-e, our_host_name): a second host with this name and the same "
                "host id gets in without waiting for the first one; leave the option out",
            )
        )


def _boot() -> str:
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def _join(daemon: Daemon, parameters: Parameters) -> Space:
    """Join, and give the lockspace. Raises DriverRefused, StoreUnavailable while it is being joined."""
    found = _judge_lockspace(daemon, parameters)
    if not parameters.host_id:
        raise StoreUnavailable(
            f"sanlock: this host has not joined the lockspace {parameters.lockspace}; either the parameter host_id is "
            f"missing, or whoever joins at boot has not done so: sanlock client add_lockspace -s "
            f"{parameters.lockspace}:HOST_ID:{parameters.path}:0"
        )
    io_timeout = found.io_timeout
    try:
        daemon.join(parameters.host_id, io_timeout, min(_PATIENCE, 2 * io_timeout + 2))
    except StoreUnavailable as error:
        longest = GONE * io_timeout + WATCHDOG
        raise StoreUnavailable(
            f"{error}; host {parameters.host_id} joins {parameters.lockspace}, which takes {2 * io_timeout + 1} s, or "
            f"{longest} s if its lease was not given back, or if another host has the same host id"
        ) from None
    space = daemon.space()
    if space is None:
        raise StoreUnavailable(f"sanlock: the lockspace {parameters.lockspace} is gone again")
    return space


def _judge_lockspace(daemon: Daemon, parameters: Parameters) -> Described:
    """Give what the lockspace was made with. Raises DriverRefused, LeaseError."""
    found, witness = daemon.described(1), daemon.described(WITNESS)
    if found is None or witness is None:
        raise DriverRefused(
            f"{parameters.path}: has no lockspace; the role leases makes one, or holdfast lease prepare"
        )
    if found.name != parameters.lockspace:
        raise DriverRefused(f"{parameters.path}: is the lockspace {found.name}, not {parameters.lockspace}")
    return witness


def _judge_space(daemon: Daemon, parameters: Parameters, space: Space, verdict: Verdict) -> None:
    if parameters.host_id and parameters.host_id != space.host:
        raise DriverRefused(
            f"sanlock: this host is host {space.host} of the lockspace {parameters.lockspace}, and the parameter "
            f"host_id says {parameters.host_id}; two hosts may have been given one number"
        )
    if space.dying or space.joining:
        raise StoreUnavailable(f"sanlock: the lockspace {parameters.lockspace} is being joined or given up")
    others = [
        f"host {host} has {io_timeout}"
        for host, (_generation, io_timeout, _state) in sorted(daemon.hosts().items())
        if io_timeout != space.io_timeout
    ]
    if others:
        raise DriverRefused(
            f"sanlock: io_timeout is {space.io_timeout} here and not everywhere ({', '.join(others)}): each host waits "
            "for the others by the number that it sees; join all of them with the same one"
        )
    facts = verdict.facts
    facts["host_id"] = str(space.host)
    facts["generation"] = str(space.generation)
    facts["io_timeout"] = str(space.io_timeout)
    facts["renewed"] = f"{max(time.monotonic() - space.kept, 0):.0f} s ago"
    facts["failover"] = f"{GONE * space.io_timeout + WATCHDOG} s after the death of a host"


def _drawn(name: str) -> bool:
    """Say whether a name begins as those do that the daemon draws."""
    words = name[:36].split("-")
    return tuple(map(len, words)) == _UUID and _HEX.issuperset("".join(words))
