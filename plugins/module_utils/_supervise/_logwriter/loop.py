# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The loop of the log writer: it sleeps until a FIFO has bytes, a command comes, or something is due."""

from __future__ import annotations

import fcntl
import os
import select

from . import stamps, table
from .log import Log
from .sealing import Sealer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from .spool import Spool

CONTROL = "control"
_LONGEST_SLEEP = 20 * 86400
_LONGEST_COMMAND = 256
_SET_PIPE_SIZE = 1031  # fcntl.F_SETPIPE_SZ, since Python 3.10
_CONTROL_SIZE = 1 << 20


class Loop:
    """All logs of one table."""

    def __init__(self, directory: int, spool: Spool) -> None:
        """``directory``: descriptor of the table, with its lock held."""
        self.table = directory
        self.spool = spool
        self.sealer = Sealer()
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._logs: dict[str, Log] = {}
        self._due = 0
        self._ending = False
        self._rescan = False
        self._commands = b""
        self._control = self._open_control()
        self.watch(self._control, select.EPOLLIN, self._read_commands)

    def _open_control(self) -> int:
        try:
            os.mkfifo(CONTROL, 0o600, dir_fd=self.table)
        except FileExistsError:
            pass
        # Open for writing too, so that it never hangs up.
        control = os.open(CONTROL, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=self.table)
        try:
            # Commands for thousands of logs fit in while a disk keeps us waiting.
            fcntl.fcntl(control, _SET_PIPE_SIZE, _CONTROL_SIZE)
        except OSError:
            pass
        return control

    # What a log needs

    def watch(self, descriptor: int, events: int, handler: Callable[[int], None]) -> None:
        """Call ``handler`` with the events when there are any."""
        self._epoll.register(descriptor, events)
        self._handlers[descriptor] = handler

    def unwatch(self, descriptor: int) -> None:
        """Stop that."""
        self._epoll.unregister(descriptor)
        del self._handlers[descriptor]

    def wake_at(self, due: int) -> None:
        """Call ``tick`` of all logs at this time, nanoseconds since 1970; 0 for never."""
        if due and (not self._due or due < self._due):
            self._due = due

    def say(self, message: str) -> None:
        """Tell it on standard error."""
        try:
            os.write(2, (f"holdfast logwriter: {message}\n").encode("utf-8", "surrogateescape"))
        except OSError:
            pass

    # The loop

    def run(self) -> None:
        """Finish what a predecessor left, open all logs, and write until ``end`` was called."""
        self._replay()
        self.load()
        # Files that are opened from now on were not open in the predecessor.
        self.spool.trusted = False
        poll = self._epoll.poll
        find = self._handlers.get
        while not self._ending:
            if self._rescan:
                self._rescan = False
                self.load()
            ready = poll(self._sleep())
            # Signals and commands, whose descriptors are the lowest, go before the bytes that came after them.
            ready.sort()
            for descriptor, events in ready:
                handler = find(descriptor)
                if handler is not None:
                    handler(events)
            if self._due:
                self._tick()
        for log in self._logs.values():
            log.finish()
        self.sealer.wait()

    def end(self) -> None:
        """Write what is in the FIFOs, close everything, return from ``run``."""
        self._ending = True

    def rescan(self) -> None:
        """Read the table again, and open files that were moved away again."""
        self._rescan = True

    def _sleep(self) -> float | None:
        if self._rescan:
            return 0
        if not self._due:
            return None
        return min(max((self._due - stamps.now()) / stamps.NANOSECONDS, 0), _LONGEST_SLEEP)

    def _tick(self) -> None:
        now = stamps.now()
        if now < self._due:
            return
        self._due = 0
        for log in self._logs.values():
            self.wake_at(log.tick(now))

    def _replay(self) -> None:
        chunk = self.spool.recover()
        if chunk is None:
            return
        try:
            settings = table.from_record(chunk.record)
        except ValueError as error:
            self.say(f"the chunk in the spool is lost: {error}")
            self.spool.finish()
            return
        log = Log(self, settings, "")
        log.restore(chunk)

    # The table

    def load(self) -> None:
        """Make the logs what the table says."""
        wanted = table.names(self.table)
        for name in set(self._logs).difference(wanted):
            self._remove(name)
        for name in wanted:
            log = self._logs.get(name)
            if log is not None:
                log.reopen()
            self._add(name)

    def _add(self, name: str) -> None:
        try:
            fifo, settings = table.read(self.table, name)
        except (OSError, ValueError) as error:
            self.say(f"log of {name}: {error}")
            return
        log = self._logs.get(name)
        if log is None:
            log = self._logs[name] = Log(self, settings, fifo)
            log.open()
        else:
            log.change(fifo, settings)

    def _remove(self, name: str) -> None:
        log = self._logs.pop(name, None)
        if log is not None:
            log.finish()

    def _read_commands(self, events: int) -> None:
        del events
        try:
            data = os.read(self._control, 65536)
        except BlockingIOError:
            return
        lines = (self._commands + data).split(b"\n")
        self._commands = lines.pop()[:_LONGEST_COMMAND]
        for line in lines:
            self._command(line.decode("ascii", "replace"))

    def _command(self, line: str) -> None:
        verb, _unused, argument = line.partition(" ")
        log = self._logs.get(argument)
        if verb == "reopen" and not argument:
            self.load()
        elif verb == "rotate" and log is not None:
            log.rotate()
        elif verb == "end" and log is not None:
            log.end_line()
        elif verb[:1] == "+" and table.valid(verb[1:]):
            self._add(verb[1:])
        elif verb[:1] == "-":
            self._remove(verb[1:])
        else:
            self.say(f"unknown command {line[:_LONGEST_COMMAND]!r}")
