# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is left of a former start of a service, below a supervisor that does not know of it. PRIVATE to the collection.

A supervisor that was killed leaves its service behind. The next start ends that first, and waits; stopped meanwhile, it
leaves it behind in its turn. The starts have noted who they are: `started` and `starting` (see family_scripts), `attended` and
`left` (see attending). A process is known by pid, start time and boot.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Iterator

from . import attending
from ._embedded import identity

#: pid and start time in clock ticks since the boot.
Identity = tuple[int, int]


class Ending:
    """The end of what former starts of a service have left, when it is to be down.

    signal_name: what asks them to end, without SIG. timeout: seconds from that to KILL, 0 for no end. group: whether they
    end with their process group, if they lead one.
    """

    def __init__(self, signal_name: str, timeout: float, group: bool) -> None:
        self._number = signal.Signals[f"SIG{signal_name}"]
        self._deadline = time.monotonic() + timeout if timeout else float("inf")
        self._group = group
        self._asked: set[int] = set()

    def advance(self, left: list[int]) -> None:
        """Ask those of the processes *left* that were not asked, or kill them all when they are late."""
        late = time.monotonic() >= self._deadline
        for pid in left:
            if late or pid not in self._asked:
                self._asked.add(pid)
                self._signal(pid, signal.SIGKILL if late else self._number)

    def _signal(self, pid: int, number: int) -> None:
        try:
            if self._group and os.getpgid(pid) == pid:
                os.killpg(pid, number)
            else:
                os.kill(pid, number)
        except OSError:
            return


def of_suite(folder: str, but: int = 0) -> list[int]:
    """Give the processes that former starts of a service have left; *folder* is the suite's. but: the pid of its present one."""
    boot = identity.boot_id().hex()
    found = [*_noted(folder, "started", boot), *_noted(folder, "starting", boot), *_parents(folder, boot, but)]
    return living(found, but)


def of_program(folder: str, but: int = 0) -> list[int]:
    """Give the same below Supervisor, whose start script has a file `starts/PID.START.BOOT` for each; *folder* is its own."""
    boot = identity.boot_id().hex()
    found = list(_parents(folder, boot, but))
    try:
        names = os.listdir(f"{folder}/starts")
    except OSError:
        names = []
    for name in names:
        pid, _dot, rest = name.partition(".")
        started, _dot, of_boot = rest.partition(".")
        if of_boot.replace("-", "") == boot and pid.isdecimal() and started.isdecimal():
            found.append((int(pid), int(started)))
    return living(found, but)


def living(noted: Iterable[Identity], but: int = 0) -> list[int]:
    """Give those that live, without the process *but*."""
    return sorted({pid for pid, started in noted if pid != but and identity.alive(pid, started)})


def line(boot: str, pid: int, left: list[int]) -> str:
    """Give the line of the file `left` of the parent *pid*, which waits for the processes *left*."""
    return " ".join([boot, str(pid), *(f"{one}:{identity.start_time(one)}" for one in left)]) + "\n"


def text(left: list[int]) -> str:
    """Say that a start waits for processes, with their state letters as in proc(5): D is one that nothing can kill now."""
    return f"waits for what is left of a former start: {_words(left)}"


def ending_text(left: list[int]) -> str:
    """Say that a service that is to be down has processes yet."""
    return f"what is left of a former start has not ended: {_words(left)}"


def _words(left: list[int]) -> str:
    words = []
    for pid in left:
        found = identity.process(pid)
        words.append(f"process {pid} (state {found[1]})" if found is not None else f"process {pid}")
    return ", ".join(words)


def _noted(folder: str, name: str, boot: str) -> Iterator[Identity]:
    """Give the processes in a file with a line `PID START BOOT ...` for each."""
    for words in _lines(f"{folder}/{name}"):
        if len(words) > 2 and words[2].replace("-", "") == boot and words[0].isdecimal() and words[1].isdecimal():
            yield int(words[0]), int(words[1])


def _parents(folder: str, boot: str, but: int) -> Iterator[Identity]:
    """Give the services of former parents, and what these have waited for."""
    note = attending.read(folder)
    if note is not None and note.boot == boot and note.pid != but and note.child:
        yield note.child, note.child_started
    for words in _lines(f"{folder}/{attending.LEFT}"):
        if words[:1] == [boot]:
            for word in words[2:]:
                pid, _colon, started = word.partition(":")
                if pid.isdecimal() and started.isdecimal():
                    yield int(pid), int(started)


def _lines(path: str) -> list[list[str]]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return [text.split() for text in file.read(4096).splitlines()]
    except OSError:
        return []
