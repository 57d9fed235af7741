# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which services have a parent of ours below a supervisor that is not ours, and what it notes. PRIVATE to the collection.

The parent is `holdfast attend` (see _attend). To the supervisor it is the service. It notes, in a folder of the service:

* `attended`: one line, see `Note`;
* `definition`: its pid, and the definition that the service was started with; the backend writes it after a reload;
* `left`: the boot, its pid, and the processes of a former service that it waits for, when that takes long;
* `now`: not empty when a periodic service is to run now (`once`: and then no more); written by the backend, before CONT.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

ATTENDED, DEFINITION, LEFT, NOW = "attended", "definition", "left", "now"
FILES = (ATTENDED, DEFINITION, LEFT, NOW)
#: What the parent is at: the service runs, its next run is waited for, it was told to end, its `finish` runs, all is over.
RUN, SCHEDULED, STOPPING, FINISHING, ENDED = "run", "scheduled", "stopping", "finishing", "ended"
#: What comes after the end of the service: nothing, its `finish` is run, or the parent becomes the supervisor's `finish`.
NOTHING, FINISH, BECOME = "nothing", "finish", "become"
#: Seconds that the parent has for itself when the service has outlived its stop_timeout and was killed.
MARGIN = 5.0


def asked(meta: Mapping[str, Any]) -> bool:
    """Tell whether a definition (holdfast.json) asks for what only a parent of ours has, below any other supervisor."""
    return bool(meta.get("health")) or meta.get("type") == "periodic" or meta.get("kill") == "tree"


def restart(meta: Mapping[str, Any]) -> str:
    """Give the restart policy: a periodic service is started again by the parent, and its parent always."""
    return "always" if meta.get("type") == "periodic" else str(meta.get("restart") or "always")


def stop_timeout(meta: Mapping[str, Any], finish: bool = False) -> float:
    """Give the seconds that the supervisor has to give the parent, 0 for no end.

    finish: the parent runs the command after the end, too.
    """
    timeout, after = float(meta.get("stop_timeout") or 0.0), 0.0
    if finish and "finish" in (meta.get("files") or {}):
        after = float(meta.get("finish_timeout") or 0.0)
        timeout = timeout if after else 0.0
    return timeout + after + MARGIN if timeout else 0.0


def overlay(record: dict[str, Any], note: Note | None, meta: Mapping[str, Any]) -> None:
    """Put what the parent of a running service says into the record of the service, see interface.Service."""
    if note is None:
        # It has not started anything yet.
        record.update(state="starting", ready=False)
        return
    if note.state in (STOPPING, FINISHING, ENDED):
        record.update(state=STOPPING if note.state == STOPPING else FINISHING, ready=False)
    record["exit"] = record.get("exit") or note.ending
    if meta.get("type") != "periodic":
        return
    record.update(since=note.since, deaths=note.deaths, exit=note.ending)
    if note.state == SCHEDULED:
        # Not the parent's business, who lives long.
        from .interface import ending_text

        reason = "" if note.good else f"last run: {ending_text(note.ending) or 'exit status unknown'}"
        record.update(state="scheduled", ready=note.good, pid=None, definition=None, next=note.next, reason=reason)


class Note:
    """What the parent has noted.

    pid: of the parent. state: RUN, SCHEDULED, STOPPING, FINISHING or ENDED. child, child_started: of the service, 0 for none, and
    its start time in ticks since boot. since, next: unix time of the state, and of the next run (0: none). started: of the
    last run, in seconds of the monotonic clock of *boot*. kind, code: how the last one ended: exit, signal, unknown or
    none; at: unix time of that. deaths: runs of a periodic service that went wrong. token: the mark in the environment of what it has started.
    """

    __slots__ = (
        "at",
        "boot",
        "child",
        "child_started",
        "code",
        "deaths",
        "kind",
        "next",
        "pid",
        "since",
        "started",
        "state",
        "token",
    )

    def __init__(self) -> None:
        self.pid = self.child = self.child_started = self.code = self.deaths = 0
        self.since = self.next = self.started = self.at = 0.0
        self.state, self.kind, self.boot, self.token = RUN, "none", "-", "-"

    @property
    def good(self) -> bool:
        """Tell whether the last one ended well."""
        return (self.kind, self.code) == ("exit", 0)

    @property
    def ending(self) -> dict[str, Any] | None:
        """Give how the last one ended, as a backend tells it."""
        return None if self.kind == "none" else {"kind": self.kind, "code": self.code, "at": self.at}

    def line(self) -> str:
        """Give the line of the file."""
        return " ".join(f"{name}={getattr(self, name)}" for name in self.__slots__) + "\n"


def read(folder: str) -> Note | None:
    """Read the note in a folder; None if there is none that can be read. Never raises."""
    try:
        with open(f"{folder}/{ATTENDED}", encoding="ascii", errors="replace") as file:
            words = dict(word.partition("=")[::2] for word in file.read(4096).split())
        note = Note()
        for name in Note.__slots__:
            setattr(note, name, type(getattr(note, name))(words[name]))
    except (OSError, ValueError, KeyError):
        return None
    return note


def of(folder: str, pid: int) -> Note | None:
    """Give the note of the parent *pid*, None if it has not noted anything yet."""
    note = read(folder)
    return note if note is not None and note.pid == pid else None


def definition(folder: str, pid: int) -> str:
    """Give the definition that the service below the parent *pid* was started with, "" while it has not been."""
    try:
        with open(f"{folder}/{DEFINITION}", encoding="utf-8", errors="replace") as file:
            words = file.read(4096).split()
    except OSError:
        return ""
    return words[1] if len(words) > 1 and words[0] == str(pid) else ""


def is_asked_to_run(folder: str) -> bool:
    """Tell whether a periodic service has been told to run now, and does not yet."""
    try:
        return os.stat(f"{folder}/{NOW}").st_size > 0
    except OSError:
        return False
