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


def filesystem(path: str) -> str:
    """Give the type of the file system that *path* is on, "" if nobody says. Raises OSError."""
    real = os.path.realpath(path)
    device = os.stat(real).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    best, kind = "", ""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            fields = line.split()
            point = fields[4].encode("latin-1", "replace").decode("unicode_escape")
            below = real == point or real.startswith(point.rstrip("/") + "/")
            # Some file systems (btrfs, overlay) report another device than their mount has: the longest path decides.
            if below and (len(point) > len(best) or (len(point) == len(best) and fields[2] == wanted)):
                best, kind = point, fields[fields.index("-") + 1]
    return kind


def is_network(kind: str) -> bool:
    """Say whether other hosts may have a file system of this *kind* mounted."""
    return kind in NETWORK or kind.startswith("fuse.")
