# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""On what kind of file system a directory is. PRIVATE to the collection."""

from __future__ import annotations

import os

#: File systems of one kernel, whose locks mean the same to every process that sees the directory.
LOCAL = frozenset(
    ("bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "overlay", "ramfs", "reiserfs", "tmpfs", "xfs", "zfs")
)
#: File systems that other hosts may have mounted too; a lock on them is a lease that nobody tells about.
NETWORK = frozenset(
    ("9p", "afs", "ceph", "cifs", "coda", "gfs", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4")
    + ("ocfs2", "orangefs", "smb3", "smbfs", "virtiofs")
)


class Mount:
    """Where a file system is mounted. kind: its type, "" if nobody says; source, options: as the kernel tells them.

    root: which directory of the file system it is that is mounted.
    """

    __slots__ = ("kind", "options", "point", "root", "source")

    def __init__(self, point: str = "", kind: str = "", source: str = "", options: str = "", root: str = "/") -> None:
        self.point = point
        self.root = root
        self.kind = kind
        self.source = source
        self.options = options.split(",") if options else []

    def option(self, name: str) -> str:
        """Give the value of an option, "" if it has none or is not there."""
        return next((one.partition("=")[2] for one in self.options if one.partition("=")[0] == name), "")


def mount(path: str) -> Mount:
    """Give the mount that *path* is on. Raises OSError."""
    real = os.path.realpath(path)
    device = os.stat(real).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    best = Mount()
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            fields = line.split()
            point = unescaped(fields[4])
            below = real == point or real.startswith(point.rstrip("/") + "/")
            # Some file systems (btrfs, overlay) report another device than their mount has: the longest path decides.
            longer, same = len(point) > len(best.point), len(point) == len(best.point)
            if below and (longer or (same and fields[2] == wanted)):
                kind, source, options = fields[fields.index("-") + 1 :][:3]
                best = Mount(point, kind, unescaped(source), options, unescaped(fields[3]))
    return best


def unescaped(field: str) -> str:
    """Give a field of the kernel's tables of mounts as it is: white space stands there as an octal number."""
    return field.encode("latin-1", "replace").decode("unicode_escape")


def filesystem(path: str) -> str:
    """Give the type of the file system that *path* is on, "" if nobody says. Raises OSError."""
    return mount(path).kind


def lease_time(point: str, statistics: str) -> int | None:
    """Give the seconds after which the NFS server of a mount ends the locks of a client of which it has not heard.

    statistics: the text of /proc/self/mountstats. None: the kernel does not tell (before 5.6), or no NFS 4 is there.
    """
    found = None
    ours = False
    for line in statistics.splitlines():
        words = line.split()
        if words[:1] == ["device"]:
            # The last one lies on top of those before it.
            ours = "on" in words and unescaped(words[words.index("on") + 1]) == point
            found = None if ours else found
        elif ours and words[:1] == ["nfsv4:"]:
            told = dict(word.partition("=")[::2] for word in " ".join(words[1:]).split(","))
            found = int(told["lease_time"]) if told.get("lease_time", "").isdigit() else None
    return found


def is_network(kind: str) -> bool:
    """Say whether other hosts may have a file system of this *kind* mounted."""
    return kind in NETWORK or kind.startswith("fuse.")
