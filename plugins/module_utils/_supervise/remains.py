# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The processes of a service, and that nothing is left of them. PRIVATE to the collection.

A process is known by pid and start time. What belongs to a service: its process, all below that, and all in the sessions
and process groups that one of these leads. A process that was given to process 1 before, in a session of its own, is not
found; definitions that have such ones say `lease` or run under control groups.
"""

from __future__ import annotations

import os
import signal
import time

#: pid and start time in ticks since the boot.
Identity = tuple[int, int]


class _Process:
    __slots__ = ("group", "parent", "pid", "session", "start", "state")

    def __init__(self, pid: int, fields: list[bytes]) -> None:
        self.pid = pid
        self.state = fields[0]
        self.parent, self.group, self.session = (int(field) for field in fields[1:4])
        self.start = int(fields[19])


class Remains:
    """What ran for one service. spared: pids that are never touched, those that this program hangs on by default."""

    def __init__(self, processes: tuple[Identity, ...] = (), spared: frozenset[int] | None = None) -> None:
        self._known: set[Identity] = set(processes)
        self._leaders: set[int] = set()
        self._spared = _chain() if spared is None else spared

    @property
    def processes(self) -> tuple[Identity, ...]:
        """Give all that are known."""
        return tuple(sorted(self._known))

    def add(self, pid: int) -> None:
        """Take a process, while it lives, and what belongs to it."""
        table = _table()
        if pid in table:
            self._known.add((pid, table[pid].start))
            self._leaders |= {pid} & {table[pid].group, table[pid].session}
            self._grow(table)

    def left(self) -> list[Identity]:
        """Give those that live, with what they have started meanwhile; a zombie does not."""
        table = _table()
        self._grow(table)
        living = [one for one in self._known if one[0] in table and table[one[0]].start == one[1]]
        return sorted(one for one in living if table[one[0]].state not in (b"Z", b"X"))

    def end(self, number: int, patience: float) -> list[Identity]:
        """Have nothing left: signal *number*, after *patience* seconds KILL. Gives those that would not go within 5 s."""
        left = self.left()
        _signal(left, number)
        deadline = time.monotonic() + patience
        killed = False
        while left:
            if time.monotonic() >= deadline:
                if killed:
                    break
                killed, deadline = True, time.monotonic() + 5.0
            if killed:
                # Each time: they may be starting others.
                _signal(left, signal.SIGKILL)
            time.sleep(0.01)
            left = self.left()
        return left

    def _grow(self, table: dict[int, _Process]) -> None:
        """Add what belongs to those known."""
        living = {pid for pid, start in self._known if pid in table and table[pid].start == start}
        while True:
            more = {
                one.pid
                for one in table.values()
                if one.pid not in living
                and (one.parent in living or one.session in self._leaders or one.group in self._leaders)
            } - self._spared
            if not more:
                return
            living |= more
            self._known |= {(pid, table[pid].start) for pid in more}
            self._leaders |= {pid for pid in more if pid in (table[pid].session, table[pid].group)}


def boot_id() -> str:
    """Give the id of this boot; start times are of one boot."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def _table() -> dict[int, _Process]:
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", "rb") as file:
                    text = file.read()
            except OSError:
                continue
            # The command's name may hold anything; the fields start after the last parenthesis.
            found[int(entry)] = _Process(int(entry), text[text.rfind(b")") + 2 :].split())
    return found


def _chain() -> frozenset[int]:
    """Give the pids of this process and of what it descends from: a session of the service may be what we work through."""
    table, pid, found = _table(), os.getpid(), {0, 1}
    while pid in table and pid not in found:
        found.add(pid)
        pid = table[pid].parent
    return frozenset(found)


def _signal(processes: list[Identity], number: int) -> None:
    for pid, start in processes:
        try:
            handle = os.pidfd_open(pid)
        except OSError:
            continue
        try:
            # Looked at again now that the handle holds it.
            with open(f"/proc/{pid}/stat", "rb") as file:
                text = file.read()
            if int(text[text.rfind(b")") + 2 :].split()[19]) == start:
                signal.pidfd_send_signal(handle, number)
        except OSError:
            continue
        finally:
            os.close(handle)
