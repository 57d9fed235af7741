# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which backend has a service while the backend of a host is switched. PRIVATE to the collection.

Two supervisors are on one scan directory then. Each service has a mark, SCAN/.switch/NAME: the backend that has it (`-`
and `.`: none, see NOBODY and GONE), what shall become of it (ready, up or down), the backend that it goes to, and below
that pid and start time of each process that was there when it was told to stop. All backends obey the marks, also at
boot. Marks are put into place by one rename; without the folder, as on any other day, whoever runs has everything.
"""

from __future__ import annotations

import os

FOLDER = ".switch"
#: The holder of a service on its way, which may still run where it was.
NOBODY = "-"
#: The holder of one that has stopped: where it was it is forgotten and lets its log go, before it is started where it goes.
GONE = "."
READY, UP, DOWN = "ready", "up", "down"

#: What a service is to one backend. MINE: to supervise. IDLE: known, never started by itself, not stopped either.
#: PREPARED: the same for a backend that needs time to notice a service, for others not there. ABSENT: not there.
MINE, IDLE, PREPARED, ABSENT = "mine", "idle", "prepared", "absent"


class Mark:
    """The mark of one service. processes: (pid, start time in ticks since boot) and, in boot, the boot of these."""

    __slots__ = ("boot", "holder", "processes", "target", "want")

    def __init__(
        self, holder: str, want: str, target: str, boot: str = "", processes: tuple[tuple[int, int], ...] = ()
    ) -> None:
        self.holder = holder
        self.want = want
        self.target = target
        self.boot = boot
        self.processes = processes


def switching(scan: str) -> bool:
    """Tell whether a switch is under way, or was interrupted."""
    return os.path.isdir(f"{scan}/{FOLDER}")


def read(scan: str, name: str) -> Mark | None:
    """Give the mark of a service, None if it has none (or one that nobody can read)."""
    try:
        with open(f"{scan}/{FOLDER}/{name}", encoding="ascii", errors="replace") as file:
            first, *others = file.read(65536).splitlines() or [""]
    except OSError:
        return None
    words = first.split()
    pairs = [line.split() for line in others]
    if len(words) != 4 or not all(len(pair) == 2 and "".join(pair).isdigit() for pair in pairs):
        return None
    return Mark(words[0], words[1], words[2], words[3], tuple((int(pid), int(start)) for pid, start in pairs))


def target(scan: str) -> str:
    """Give the backend that the services go to while a switch is under way, or was interrupted; "" without one. Never raises."""
    try:
        names = sorted(os.listdir(f"{scan}/{FOLDER}"))
    except OSError:
        return ""
    marks = (read(scan, name) for name in names)
    return next((mark.target for mark in marks if mark is not None), "")


def elsewhere(scan: str, name: str, backend: str) -> bool:
    """Tell whether another backend has a service: one that was ready there before its turn came. Never raises."""
    mark = read(scan, name)
    return mark is not None and mark.holder not in (backend, NOBODY, GONE)


def write(scan: str, name: str, mark: Mark) -> None:
    """Put a mark into place, on the disk. Raises OSError."""
    path = f"{scan}/{FOLDER}/{name}"
    lines = [f"{mark.holder} {mark.want} {mark.target} {mark.boot or '-'}"]
    lines += [f"{pid} {start}" for pid, start in mark.processes]
    # Under a dot: a service has no such name, so nobody takes it for a mark.
    beside = f"{scan}/{FOLDER}/.new"
    with open(beside, "w", encoding="ascii") as file:
        file.write("\n".join(lines) + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.rename(beside, path)


def complaint(scan: str) -> str:
    """Say why nothing else may be changed while a switch is under way; nothing if none is."""
    if not switching(scan):
        return ""
    return (
        f"{scan}: the backend is being switched, or a switch was interrupted: apply the role "
        "holdfast.supervision.supervisor, which finishes it, first"
    )


def begin(scan: str) -> None:
    """Make the folder. Raises OSError."""
    os.makedirs(f"{scan}/{FOLDER}", 0o700, exist_ok=True)


def end(scan: str) -> None:
    """Remove all marks, then the folder; what is supervised belongs to whoever runs from here on. Raises OSError."""
    for entry in os.listdir(f"{scan}/{FOLDER}"):
        os.unlink(f"{scan}/{FOLDER}/{entry}")
    os.rmdir(f"{scan}/{FOLDER}")


def standing(scan: str, name: str, backend: str) -> str:
    """Say what a service is to a backend: MINE, IDLE, PREPARED or ABSENT. Never raises."""
    mark = read(scan, name)
    if mark is None or mark.holder == backend:
        return MINE
    if mark.holder == NOBODY or (mark.holder == GONE and mark.target == backend):
        return IDLE
    return PREPARED if mark.target == backend else ABSENT
