# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The log writer's table as others than its own supervisor see it. PRIVATE to the collection.

docs/logs.md says what is in it. Here: entries, commands, and waiting until a log writer has let go of a log.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import json
import os
import select
import stat
import termios
import time

from . import portable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

#: Where the output of a service goes that the log writer keeps.
KEPT = ("directory", "syslog")
#: Seconds for a log writer to write what it has. One whose disk hangs for longer does not keep a service from its start.
PATIENCE = 30.0
#: Seconds between two looks at what a log writer has open: at first, and at most.
_LOOK, _LONG_LOOK = 0.002, 0.1
#: Seconds after which a log writer is told once more: its control FIFO may have been full.
_AGAIN = 1.0
#: Where the spool says whether there is anything in it.
_SPOOL_STATE = 8


def kept(scan: str, name: str) -> Mapping[str, Any] | None:
    """Give the settings of a service's log; None when the log writer does not keep it."""
    one = portable.read(scan, name)
    log = (one.meta.get("log") or {}) if one is not None else {}
    return log if log.get("to") in KEPT else None


def put(table: str, name: str, fifo: str, log: object) -> None:
    """Have log *name* be in the table. Raises OSError, after which the entry is as it was."""
    path, text = f"{table}/{name}.json", _entry(fifo, log)
    if _reads(path, text):
        return
    beside = f"{path}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(beside)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        os.fchmod(descriptor, 0o644)
        os.write(descriptor, text)
    finally:
        os.close(descriptor)
    os.rename(beside, path)


def has(table: str, name: str, fifo: str, log: object) -> bool:
    """Tell whether log *name* is in the table, with these settings. Never raises."""
    return _reads(f"{table}/{name}.json", _entry(fifo, log))


def _entry(fifo: str, log: object) -> bytes:
    return json.dumps({"fifo": fifo, "log": log}, sort_keys=True).encode()


def _reads(path: str, text: bytes) -> bool:
    # The folder is the log writer's own, who is trusted with nothing: what is there need not be a file.
    try:
        present = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.read(present, len(text) + 1) == text
    except OSError:
        return False
    finally:
        os.close(present)


def tell(table: str, command: str) -> None:
    """Give a log writer a command. One that does not run finds the table as it is when it starts."""
    try:
        control = os.open(f"{table}/control", os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if stat.S_ISFIFO(os.fstat(control).st_mode):
            os.write(control, f"{command}\n".encode())
    except OSError:
        # Full: it does not read, and is told again by whoever waits for it.
        pass
    finally:
        os.close(control)


def waiting(fifo: str) -> int:
    """Give the number of bytes that nobody has read of a FIFO yet, 0 if there is none."""
    try:
        descriptor = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        count = array.array("i", [0])
        fcntl.ioctl(descriptor, termios.FIONREAD, count)
        return count[0]
    except OSError:
        return 0
    finally:
        os.close(descriptor)


def has_written(table: str, fifo: str) -> bool:
    """Tell whether a log writer has written all that has come into a FIFO so far. Never raises."""
    # In this order: what has left the one is in the other until it is written.
    return not (waiting(fifo) or _is_under_way(table))


def _is_under_way(table: str) -> bool:
    """Tell whether a log writer has bytes that it has read and not written yet, of whichever log; see _logwriter/spool."""
    try:
        spool = os.open(f"{table}/spool", os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.pread(spool, 1, _SPOOL_STATE) not in (b"", b"\0")
    except OSError:
        return False
    finally:
        os.close(spool)


def until_let_go(log: Mapping[str, Any], table: str, fifo: str, writer: Callable[[], int]) -> bool:
    """Wait until a log writer that was told so has let go of a log; gives whether it has within PATIENCE.

    writer: gives its pid, 0 while there is none, and tells it. Asked again when that process has ended: one that is killed
    comes back, and writes first what it had read, and what is in the FIFO.
    """
    deadline = time.monotonic() + PATIENCE
    holder, pause = 0, _LOOK
    while True:
        pid, again = writer(), time.monotonic() + _AGAIN
        process = _opened(pid)
        try:
            while True:
                if pid and log.get("to") == "directory" and _has_open(pid, f"{log['directory']}/lock"):
                    holder = pid
                elif (pid and pid == holder) or has_written(table, fifo):
                    return True
                now = time.monotonic()
                if now >= deadline:
                    return False
                if now >= again or _ends(process, min(pause, deadline - now)):
                    break
                pause = min(pause * 1.5, _LONG_LOOK)
        finally:
            if process >= 0:
                os.close(process)


def _opened(pid: int) -> int:
    """Give a pidfd, -1 if there is no such process."""
    try:
        return os.pidfd_open(pid) if pid else -1
    except OSError:
        return -1


def _ends(process: int, timeout: float) -> bool:
    """Tell whether the process of a pidfd ends within *timeout* seconds; without one, True when they are over."""
    if process < 0:
        time.sleep(timeout)
        return True
    return bool(select.select([process], [], [], timeout)[0])


def _has_open(pid: int, path: str) -> bool:
    try:
        wanted = os.stat(path)
        descriptors = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return False
    for descriptor in descriptors:
        try:
            found = os.stat(f"/proc/{pid}/fd/{descriptor}")
        except OSError:
            continue
        if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
            return True
    return False
