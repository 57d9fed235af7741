# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who a process is beyond its pid: boot, pid namespace and start time. PRIVATE to the collection."""

from __future__ import annotations

import os


def boot_id() -> bytes:
    """Give the 16 bytes that the kernel drew at this boot."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return bytes.fromhex(file.read().strip().replace("-", ""))


def pid_namespace() -> int:
    """Give the inode of the pid namespace in which our pids have their meaning."""
    return os.stat("/proc/self/ns/pid").st_ino


def time_namespace() -> int:
    """Give the inode of the time namespace in which start times have their meaning, 0 where the kernel has none (before Linux 5.6)."""
    try:
        return os.stat("/proc/self/ns/time").st_ino
    except FileNotFoundError:
        return 0


def process(pid: int) -> tuple[int, str, int] | None:
    """Give start time (clock ticks since boot), state letter and parent of *pid*, or None if there is no such process."""
    fields = _fields(pid)
    return (int(fields[19]), fields[0].decode(), int(fields[1])) if fields else None


def kin(pid: int) -> tuple[int, str, int, int] | None:
    """Give start time (clock ticks since boot), state letter, process group and session of *pid*, None if it is not there."""
    fields = _fields(pid)
    return (int(fields[19]), fields[0].decode(), int(fields[2]), int(fields[3])) if fields else None


def in_session(leader: int) -> int:
    """Give a process of the session whose leader was *leader* that has not died, 0 if there is none."""
    for name in os.listdir("/proc"):
        found = kin(int(name)) if name.isdecimal() else None
        if found is not None and found[3] == leader and found[1] not in "ZX":
            return int(name)
    return 0


def below(pid: int) -> list[int]:
    """Give the processes that descend from *pid* and have not died."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdecimal():
            found = process(int(name))
            if found is not None and found[1] not in "ZX":
                children.setdefault(found[2], []).append(int(name))
    all_: list[int] = []
    parents = [pid]
    while parents:
        one = parents.pop()
        all_ += children.get(one, ())
        parents += children.get(one, ())
    return all_


def zombie_status(pid: int, started: int) -> int | None:
    """Give the wait status of a process that has died and waits for its parent; None if it is no such zombie."""
    fields = _fields(pid)
    if fields is None or int(fields[19]) != started or fields[0] != b"Z":
        return None
    return int(fields[49])


def _fields(pid: int) -> list[bytes] | None:
    """Give the fields of /proc/PID/stat from the third (the state) on."""
    try:
        descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        text = os.read(descriptor, 4096)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    # The command's name may hold anything, parentheses and spaces included: the fields start after the last one.
    fields = text[text.rfind(b")") + 2 :].split()
    if fields and fields[0] == b"Z" and int(fields[17]) > 1:
        # It is its first thread that has died: the others live, and the process with them.
        fields[0] = b"S"
    return fields


def environment(pid: int) -> bytes:
    """Give the environment that *pid* was started with, b"" if it can't be read."""
    found = _content(f"/proc/{pid}/environ")
    if not found:
        # A first thread that has died has none any more.
        try:
            threads = os.listdir(f"/proc/{pid}/task")
        except OSError:
            return b""
        found = next(filter(None, (_content(f"/proc/{pid}/task/{one}/environ") for one in threads)), b"")
    return found


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def start_time(pid: int) -> int:
    """Give the start time of *pid*, 0 if there is no such process."""
    found = process(pid)
    return found[0] if found else 0


def alive(pid: int, started: int) -> bool:
    """Say whether *pid* still is the process that started at *started* and has not died (a zombie is dead)."""
    found = process(pid)
    return found is not None and found[0] == started and found[1] not in "ZX"


def marked(tokens: set[bytes]) -> dict[bytes, int]:
    """Find the processes whose environment has HOLDFAST_SPAWN=TOKEN: pid by token, the oldest process of each.

    Reads every process's environment: for the recovery of services that were being started, not for every day.
    """
    found: dict[bytes, int] = {}
    born: dict[bytes, int] = {}
    prefix = b"HOLDFAST_SPAWN="
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        variables = environment(int(entry))
        at = variables.find(prefix)
        if at < 0 or (at and variables[at - 1]):
            continue
        token = variables[at + len(prefix) :].split(b"\0", 1)[0]
        if token not in tokens:
            continue
        started = start_time(int(entry))
        if started and (token not in born or started < born[token]):
            born[token] = started
            found[token] = int(entry)
    return found
