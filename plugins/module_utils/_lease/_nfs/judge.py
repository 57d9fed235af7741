# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a directory on NFS is worth for leases. PRIVATE to the collection.

Asks the server, so that it may hang. Whoever calls it is in a process that can be given up on.
"""

from __future__ import annotations

import errno
import os

from .. import mounts, owners
from ..interface import DriverNotLoaded, DriverRefused, Hole, StoreUnavailable

#: From this version on one can say that a file is opened without a delegation, and the server answers nothing twice.
VERSION = (4, 1)
#: Seconds that the server's time must be at least, so that there is time for a renewal and for an orderly end.
LEAST = 5
#: What the name of the file begins with by which the role says that a host sees what others see; and the hole without it.
PROVED, UNPROVED = "proved.", "unproved"
_STATISTICS = "/proc/self/mountstats"
_RECOVER = "/sys/module/nfs/parameters/recover_lost_locks"
_NOBODY = 65534
#: What a mount that does not wait for its server (soft, softerr) says when that does not answer.
PASSING = frozenset((errno.EIO, errno.ETIMEDOUT))


class Verdict:
    """What was found. lease_time: seconds after which the server ends the locks of a client that is silent."""

    def __init__(self, lease_time: int, holes: list[Hole], facts: dict[str, str]) -> None:
        self.lease_time = lease_time
        self.holes = holes
        self.facts = facts


def judge(directory: str, host: str) -> Verdict:
    """Make the directory if it is missing, and look at where it is, for *host*.

    Raises DriverNotLoaded, DriverRefused, StoreUnavailable.
    """
    try:
        # Before anything is made: below a mount point without its mount every host would have a directory of its own.
        mount = mounts.mount(_there(directory))
        _judge_mount(directory, mount)
        os.makedirs(directory, 0o700, exist_ok=True)
        _judge_mount(directory, mounts.mount(directory))
        owner = os.stat(directory).st_uid
        if owner == _NOBODY and os.geteuid() != owner:
            raise DriverRefused(
                f"{directory}: belongs to nobody: the server takes root for somebody else. Export it with no_root_squash"
            )
        owners.judge(directory)
        with open(_STATISTICS, encoding="utf-8", errors="surrogateescape") as file:
            seconds = mounts.lease_time(mount.point, file.read())
        proved = _exists(os.path.join(directory, f"{PROVED}{host}"))
    except OSError as error:
        kind = StoreUnavailable if error.errno in PASSING else DriverNotLoaded
        raise kind(f"{directory}: {error.strerror or error}") from None
    if seconds is None:
        raise DriverNotLoaded(
            f"{directory}: this kernel does not tell how long its server keeps the locks of a silent client "
            f"(lease_time in {_STATISTICS}); Linux 5.6 does"
        )
    if seconds < LEAST:
        raise DriverRefused(f"{directory}: its server ends locks after {seconds} s; {LEAST} s is the least")
    facts = {
        "store": f"{mount.source} on {mount.point}",
        "version": f"NFS {mount.option('vers')}",
        "lease_time": f"{seconds} s",
        "mount": "hard" if "hard" in mount.options else "soft: an error of the network, too, ends a service",
    }
    holes = _holes()
    if not proved:
        holes.append(
            Hole(
                UNPROVED,
                f"{directory}: nobody has proved that it is one and the same directory here and on other hosts. The role "
                "leases does, and says so there",
            )
        )
    return Verdict(seconds, holes, facts)


def _there(path: str) -> str:
    """Give the longest part of *path* that exists. Raises OSError."""
    # With the dot, what is mounted when somebody looks (autofs, x-systemd.automount) is mounted by that.
    while not _exists(os.path.join(path, ".")) and os.path.dirname(path) != path:
        path = os.path.dirname(path)
    return path


def _exists(path: str) -> bool:
    """Say whether it does. Raises OSError: a server that says nothing has not said no."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _judge_mount(directory: str, mount: mounts.Mount) -> None:
    """Refuse what cannot keep a lease between hosts. Raises DriverRefused."""
    kind = mount.kind
    if not mounts.is_network(kind):
        raise DriverRefused(
            f"{directory}: is on {kind or 'an unknown file system'} of this host, and scope is hosts. Mount there what all "
            "hosts see, and before any service starts; or say scope: host if one host is meant"
        )
    if kind == "nfs":
        raise DriverRefused(
            f"{directory}: is mounted with NFS {mount.option('vers') or '3 or older'}, whose locks never run out when a "
            "host dies, and are forgotten without a word when the server starts anew. Mount it with vers=4.1 or newer"
        )
    if kind != "nfs4":
        raise DriverRefused(
            f"{directory}: is on {kind}. Of file systems of several hosts only NFS 4.1 and newer is known to say when "
            "a lock is lost; use etcd or sanlock otherwise"
        )
    version = tuple(int(part) for part in mount.option("vers").split(".") if part.isdigit())
    if version < VERSION:
        raise DriverRefused(
            f"{directory}: is mounted with NFS {mount.option('vers')}; 4.1 is the least: mount it with vers=4.1 or newer"
        )
    local = mount.option("local_lock")
    if "nolock" in mount.options or local not in ("", "none"):
        raise DriverRefused(
            f"{directory}: is mounted with {'nolock' if 'nolock' in mount.options else 'local_lock=' + local}: its locks "
            "exclude nobody on another host. Mount it without that"
        )


def _holes() -> list[Hole]:
    try:
        with open(_RECOVER, encoding="ascii") as file:
            recovers = file.read().strip() in ("Y", "1")
    except OSError:
        recovers = False
    if not recovers:
        return []
    return [
        Hole(
            "recover_lost_locks",
            "the kernel gets lost locks again without a word (nfs.recover_lost_locks=1), whoever had them meanwhile; "
            f"echo N >{_RECOVER}, and take it out of the kernel's command line",
        )
    ]
