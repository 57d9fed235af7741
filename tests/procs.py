# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What /proc tells of processes, for tests that start real ones."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

from waiting import wait_until


def pids() -> Iterator[int]:
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            yield int(entry)


def state(pid: int) -> str:
    """The state letter of a process, "" if there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return ""
    return text[text.rfind(b")") + 2 :].split()[0].decode()


def alive(pid: int) -> bool:
    return state(pid) not in ("", "Z", "X")


def gone_or_alive(pid: int) -> bool:
    """Whether a process is anything but a zombie that nobody has collected."""
    return state(pid) != "Z"


def name(pid: int) -> str:
    """The name of the program that *pid* runs, "" if it is not there."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def parent(pid: int) -> int:
    text = Path(f"/proc/{pid}/stat").read_bytes()
    return int(text[text.rfind(b")") + 2 :].split()[1])


def parent_or_none(pid: int) -> int | None:
    """The parent of a process that may end at any moment."""
    try:
        return parent(pid)
    except OSError:
        return None


def children(pid: int) -> list[int]:
    return [candidate for candidate in pids() if parent_or_none(candidate) == pid]


def status(pid: int) -> dict[str, str]:
    """/proc/PID/status as a dictionary."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _unused, value in (line.partition(":") for line in lines)}


def turns(pid: int) -> int:
    """How often a process, with all of its threads, has waited for something and has been given a processor again."""
    found = 0
    for status_ in Path(f"/proc/{pid}/task").glob("*/status"):
        found += int(status_.read_text().partition("\nvoluntary_ctxt_switches:")[2].split()[0])
    return found


def limits(pid: int) -> dict[str, tuple[str, str]]:
    """Soft and hard limits by name as /proc spells it."""
    result = {}
    for line in Path(f"/proc/{pid}/limits").read_text().splitlines()[1:]:
        result[line[:26].strip()] = (line[26:47].strip(), line[47:68].strip())
    return result


def environment(pid: int) -> dict[str, str]:
    try:
        raw = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return {}
    return dict(entry.decode("utf-8", "surrogateescape").split("=", 1) for entry in raw.split(b"\0") if b"=" in entry)


def descriptors(pid: int) -> dict[int, str]:
    result = {}
    for entry in os.listdir(f"/proc/{pid}/fd"):
        try:
            result[int(entry)] = os.readlink(f"/proc/{pid}/fd/{entry}")
        except OSError:
            continue
    return result


def working_directory(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return ""


def arguments(pid: int) -> list[str]:
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return []
    return [argument.decode("utf-8", "replace") for argument in raw.split(b"\0")[:-1]]


def living_in(directory: Path) -> list[int]:
    """All processes whose working directory is *directory* and that live at the same time."""
    wanted = os.path.realpath(directory)
    found = [pid for pid in pids() if working_directory(pid) == wanted]
    # The walk takes a while: one that has died meanwhile may have been followed by another.
    return sorted(pid for pid in found if alive(pid))


def until_dead(pid: int) -> None:
    wait_until(lambda: not alive(pid))


def stop(pid: int) -> None:
    """Stop a process, and wait until it stands still: until then each of its threads that is at work goes on."""

    def stands() -> bool:
        threads = [Path(f"/proc/{pid}/task/{one}/stat").read_bytes() for one in os.listdir(f"/proc/{pid}/task")]
        return all(text[text.rfind(b")") + 2 :].split()[0] == b"T" for text in threads)

    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: not alive(pid) or stands())


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
