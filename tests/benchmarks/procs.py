# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What /proc tells of processes, and the end of all that a benchmark has started."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER


class TooLate(Exception):
    """Something did not happen in the time that a benchmark gives it."""


def wait_until(condition: Callable[[], object], timeout: float, what: str, pause: float = 0.001) -> None:
    """Look every *pause* seconds until *condition* holds. Raises TooLate."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TooLate(f"{what}: not within {timeout:g} s")
        time.sleep(pause)


def _read(path: str) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(descriptor, 65536)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def name(pid: int) -> str:
    """The name of the program that *pid* runs, "" if there is no such process."""
    return _read(f"/proc/{pid}/comm").decode(errors="replace").strip()


def alive(pid: int) -> bool:
    """Whether *pid* is there and has not died."""
    text = _read(f"/proc/{pid}/stat")
    return bool(text) and text[text.rfind(b")") + 2 : text.rfind(b")") + 3] not in (b"Z", b"X")


def children(pid: int) -> list[int]:
    """The children of *pid*, which must have one thread."""
    return [int(word) for word in _read_all(f"/proc/{pid}/task/{pid}/children").split()]


def _read_all(path: str) -> bytes:
    with contextlib.suppress(OSError), open(path, "rb") as file:
        return file.read()
    return b""


def descendants(root: int) -> list[int]:
    """Everything below *root*."""
    below: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            text = _read(f"/proc/{entry}/stat")
            if text:
                below.setdefault(int(text[text.rfind(b")") + 2 :].split()[1]), []).append(int(entry))
    found: list[int] = []
    level = [root]
    while level:
        level = [child for parent in level for child in below.get(parent, [])]
        found += level
    return found


def proportional(pid: int) -> int:
    """Bytes of memory of *pid*, a page that n processes share counted as one n-th of it."""
    for line in _read(f"/proc/{pid}/smaps_rollup").splitlines():
        if line.startswith(b"Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def counted_once(pids: list[int]) -> int:
    """Bytes of memory of all *pids* together: what is private, and of every part of a file the largest share in memory."""
    private = 0
    files: dict[tuple[bytes, bytes, bytes], int] = {}
    for pid in pids:
        part = (b"", b"", b"")
        for line in _read_all(f"/proc/{pid}/smaps").splitlines():
            words = line.split()
            if not words[0].endswith(b":"):
                part = (words[3], words[4], words[2])  # device, inode, offset
            elif words[0] in (b"Private_Dirty:", b"Shared_Dirty:"):
                private += int(words[1]) if words[0] == b"Private_Dirty:" else 0
                if words[0] == b"Shared_Dirty:":
                    files[part] = max(files.get(part, 0), int(words[1]))
            elif words[0] in (b"Shared_Clean:", b"Private_Clean:"):
                key = (part[0], part[1], part[2] + words[0])
                files[key] = max(files.get(key, 0), int(words[1]))
    return (private + sum(files.values())) * 1024


def switches(pid: int) -> int:
    """How often *pid* was given a processor and left it."""
    count = 0
    for line in _read(f"/proc/{pid}/status").splitlines():
        if b"ctxt_switches" in line:
            count += int(line.split()[1])
    return count


def processor_time(pid: int) -> float:
    """Seconds of processor time that *pid* has used, with all its threads that live; its own file is of the first one alone."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return 0.0
    used = (_read(f"/proc/{pid}/task/{thread}/schedstat").split() for thread in threads)
    return sum(int(words[0]) for words in used if words) / 1e9


def adopt_orphans() -> None:
    """Become the parent of whatever loses its parent below this process, so that nothing gets away."""
    ctypes.CDLL(None, use_errno=True).prctl(_SUBREAPER, 1, 0, 0, 0)


def end_all(spare: tuple[str, ...] = ()) -> None:
    """Kill everything below this process, except programs of the names in *spare*, until nothing is left. Raises TooLate."""

    def nothing_left() -> bool:
        left = [pid for pid in descendants(os.getpid()) if name(pid) not in spare]
        for pid in left:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        return not left

    wait_until(nothing_left, 60, "the end of all processes", pause=0.02)


def workplace() -> Path:
    """Where the benchmarks' files lie: in memory if possible, since disks differ more than supervisors."""
    shared = Path("/dev/shm")
    return shared if os.access(shared, os.W_OK) else Path("/tmp")
