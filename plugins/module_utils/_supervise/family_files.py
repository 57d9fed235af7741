# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The control FIFO and the status files of the daemontools family, from the client's side. PRIVATE to the collection.

Every suite of the family has `supervise/ok` (somebody reads it while the supervisor lives; not in s6),
`supervise/control` (one byte for each command) and `supervise/status`. The layouts of the status file are those that the suites write:

* daemontools: 18 bytes. TAI64N of the last change of pid, pid (little-endian), paused, want (`u`, `d` or NUL).
* runit: the same, then "got TERM" and the state (0 down, 1 run, 2 finish).
* daemontools-encore: the same, then the state (0 stopped, 1 starting, 2 started, 3 running, 4 stopping, 5 failed), 0.
* s6: 35 bytes, all big-endian: TAI64N of the last change, TAI64N of readiness, pid (8), wait status (2), flags.
  Since 2.13 and before 2.14 the process group stands before the wait status (43 bytes).
"""

from __future__ import annotations

import errno
import os
import select
import struct

#: Seconds between the epochs. s6 counts leap seconds, the others only the ten of 1970.
TAI = 2**62 + 10
TAI_S6 = 2**62 + 37

_PAUSED, _FINISHING, _WANT_UP, _READY = 1, 2, 4, 8


class NoSupervisor(Exception):
    """Nobody reads the control FIFO of the service directory."""


class Status:
    """What a status file says.

    since: unix time of the last change of pid. stamp: the bytes of that label, to see whether it has changed. pid: 0 is
    none; that of `finish` while it runs. stopping: the process was told to end, where the suite tells. want: up, down or
    once. ready: only s6 knows. wait: status of the last end as waitpid gives it, None where the suite does not tell; s6's is 0
    before the first end too. unheard: the process has died, and its supervisor does not know that yet; pid is 0 then.
    """

    __slots__ = (
        "failed",
        "finishing",
        "paused",
        "pid",
        "ready",
        "since",
        "stamp",
        "stopping",
        "unheard",
        "wait",
        "want",
    )

    def __init__(self, since: float, stamp: bytes, pid: int) -> None:
        self.since = since
        self.stamp = stamp
        self.pid = pid
        self.paused = False
        self.finishing = False
        self.stopping = False
        self.want = "down"
        self.ready = False
        self.failed = False
        self.unheard = False
        self.wait: int | None = None


def parse(data: bytes, form: str) -> Status | None:
    """Read a status file of the suite *form* (daemontools, daemontools_encore, runit, s6); None if it is none."""
    if form == "s6":
        return _parse_s6(data)
    if len(data) < 18:
        return None
    seconds, nanoseconds = struct.unpack_from(">QI", data)
    (pid,) = struct.unpack_from("<I", data, 12)
    status = Status(seconds - TAI + nanoseconds / 1e9, data[:12], pid)
    status.paused = bool(data[16] and pid)
    status.want = {ord("u"): "up", ord("d"): "down"}.get(data[17], "once")
    if form == "runit" and len(data) >= 20:
        status.finishing = data[19] == 2
        # runit forgets the difference: who runs and is not wanted up was started once, unless he was told to end.
        if status.want == "down" and data[19] == 1 and not data[18]:
            status.want = "once"
    elif form == "daemontools_encore" and len(data) >= 20:
        # Told to end, and not before the next process is it told of as another.
        status.stopping = bool(data[18] == 4 and pid)
        status.failed = data[18] == 5
    if not pid and status.want == "once":
        status.want = "down"
    return status


def _parse_s6(data: bytes) -> Status | None:
    if len(data) not in (35, 43):
        return None
    seconds, nanoseconds = struct.unpack_from(">QI", data)
    (pid,) = struct.unpack_from(">Q", data, 24)
    (wait,) = struct.unpack_from(">H", data, len(data) - 3)
    flags = data[-1]
    status = Status(seconds - TAI_S6 + nanoseconds / 1e9, data[:12], pid)
    status.paused = bool(flags & _PAUSED and pid)
    status.finishing = bool(flags & _FINISHING)
    running = pid and not status.finishing
    status.want = "up" if flags & _WANT_UP else "once" if running else "down"
    status.ready = bool(flags & _READY and running)
    status.wait = wait
    return status


def read(directory: str, form: str) -> Status | None:
    """Read the status of a service directory; None when there is none that can be read whole."""
    for _attempt in range(3):
        try:
            with open(f"{directory}/supervise/status", "rb", buffering=0) as file:
                found = parse(file.read(64), form)
        except OSError:
            return None
        if found is not None:
            return found
        # daemontools-encore writes in place: it may have been caught at that.
    return None


def is_dead(pid: int) -> bool:
    """Tell whether a process has died, also when its parent has not heard of that; while a thread of it lives, it does."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(0))
    finally:
        os.close(descriptor)


def supervised(directory: str, form: str) -> bool:
    """Tell whether a supervisor runs for a service directory; its other files are valid then."""
    fifo = "control" if form == "s6" else "ok"
    try:
        os.close(os.open(f"{directory}/supervise/{fifo}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC))
        # It has no `ok`, and writes its status after it has opened the control FIFO.
        return form != "s6" or _written_by_its_supervisor(directory)
    except OSError:
        return False


def _written_by_its_supervisor(directory: str) -> bool:
    """Tell a status of the s6-supervise that runs now from the one that a killed predecessor has left.

    A process in the latter may well live on, but as an orphan. Raises OSError when there is no status at all.
    """
    with open(f"{directory}/supervise/status", "rb", buffering=0) as file:
        status = _parse_s6(file.read(64))
    if status is None or not status.pid:
        return True
    try:
        with open(f"/proc/{status.pid}/stat", "rb", buffering=0) as file:
            parent = int(file.read(512).rpartition(b") ")[2].split()[1])
        with open(f"/proc/{parent}/comm", "rb", buffering=0) as file:
            return file.read(32) == b"s6-supervise\n"
    except OSError:
        # Its end is noticed by its supervisor, if not yet: nothing that is said of it can mislead for long.
        return True


def send(fifo: str, commands: bytes) -> None:
    """Write command bytes to a control FIFO; they are carried out in their order. Raises NoSupervisor, OSError."""
    try:
        descriptor = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.ENOENT):
            raise NoSupervisor(f"{os.path.dirname(fifo)}: no supervisor runs") from None
        raise
    try:
        # A few bytes are written whole or, when the FIFO is full since nobody has read for long, not at all.
        os.write(descriptor, commands)
    finally:
        os.close(descriptor)
