# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The names of the backends, and which of them supervises a scan directory. PRIVATE to the collection.

Found without any backend's own code, so that a task need not bring along and load what it is not going to use.
"""

from __future__ import annotations

import fcntl
import os
import struct

from . import holding

#: All backends, in the order in which `auto` asks for them.
NAMES = ("embedded", "s6", "runit", "daemontools", "daemontools_encore", "systemd", "supervisord", "openrc")
#: Not a backend: whichever is there.
AUTO = "auto"
#: The process of a suite that looks at its scan directory.
SCANNERS = {"s6": "s6-svscan", "runit": "runsvdir", "daemontools": "svscan", "daemontools_encore": "svscan"}
#: What the role supervisor writes into a scan directory that is set up for one of these.
SETTINGS = {
    "systemd": ".systemd/settings.json",
    "supervisord": ".supervisord/supervisord.conf",
    "openrc": ".openrc/settings.json",
}


def present(name: str, scan: str) -> bool:
    """Tell whether the supervisor of the backend *name* runs on *scan*, or is set up to. Changes nothing, never raises."""
    if name in SCANNERS:
        return bool(find_root(SCANNERS[name], f"{scan}/.{name}"))
    if name in SETTINGS:
        return os.path.exists(f"{scan}/{SETTINGS[name]}")
    # The one below OpenRC's scripts is the same program.
    return not os.path.exists(f"{scan}/.openrc") and lock_holder(f"{scan}/.holdfast/lock") is not None


def which(scan: str) -> str:
    """Give the name of the backend of a scan directory; embedded where there is none yet. Changes nothing, never raises.

    While the backend is switched that is the one that the services go to, else the one whose supervisor runs, else the one
    that the directory was set up for.
    """
    target = holding.target(scan)
    if target in NAMES:
        return target
    found = [name for name in NAMES if present(name, scan)]
    return (found or [name for name in SCANNERS if os.path.isdir(f"{scan}/.{name}")] or ["embedded"])[0]


def lock_holder(path: str) -> int | None:
    """Give the pid that holds the record lock of the file *path*, None if nobody does. Takes no lock itself."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        # struct flock: type, whence, start, length (0 = to the end), pid.
        form = "hhqqi"
        answer = fcntl.fcntl(descriptor, fcntl.F_GETLK, struct.pack(form, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
        kind, _whence, _start, _length, pid = struct.unpack(form, answer)
        return None if kind == fcntl.F_UNLCK else pid
    except OSError:
        return None
    finally:
        os.close(descriptor)


def find_root(scanner: str, directory: str) -> int:
    """Give the pid of the process *scanner* that scans *directory*, 0 if there is none. Of ours or root's only."""
    wanted = os.path.realpath(directory)
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        folder = f"/proc/{entry}"
        try:
            with open(f"{folder}/comm", encoding="utf-8", errors="replace") as file:
                if file.read().rstrip("\n") != scanner[:15] or os.stat(folder).st_uid not in (0, os.geteuid()):
                    continue
            place = os.readlink(f"{folder}/cwd")
            with open(f"{folder}/cmdline", "rb") as stream:
                words = [os.fsdecode(one) for one in stream.read().split(b"\0")[1:-1]]
        except OSError:
            continue
        # All but runsvdir work in the directory itself; it goes there to look only.
        if place == wanted or any(os.path.realpath(os.path.join(place, word)) == wanted for word in words):
            return int(entry)
    return 0
