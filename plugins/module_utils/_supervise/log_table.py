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
#: Seconds between two looks.
_LOOK = 0.005


def kept(scan: str, name: str) -> Mapping[str, Any] | None:
    """Give the settings of a service's log; None when the log writer does not keep it."""
    one = portable.read(scan, name)
    log = (one.meta.get("log") or {}) if one is not None else {}
    return log if log.get("to") in KEPT else None


def put(table: str, name: str, fifo: str, log: object) -> None:
    """Have log *name* be in the table. Raises OSError, after which the entry is as it was."""
    path = f"{table}/{name}.json"
    text = json.dumps({"fifo": fifo, "log": log}, sort_keys=True).encode()
    # The folder is the log writer's own, who is trusted with nothing: what is there need not be a file.
    try:
        present = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if os.read(present, len(text) + 1) == text:
                return
        finally:
            os.close(present)
    except OSError:
        pass
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


def until_let_go(log: Mapping[str, Any], fifo: str, writer: Callable[[], int]) -> bool:
    """Wait until a log writer that was told so has let go of a log; gives whether it has within PATIENCE.

    writer: gives its pid, 0 while there is none; called until the answer is known. One that is killed meanwhile comes
    back and writes what is in the FIFO first.
    """
    deadline = time.monotonic() + PATIENCE
    holder = 0
    while time.monotonic() < deadline:
        pid = writer()
        if pid and log.get("to") == "directory" and _has_open(pid, f"{log['directory']}/lock"):
            holder = pid
        elif (pid and pid == holder) or not waiting(fifo):
            return True
        time.sleep(_LOOK)
    return False


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
