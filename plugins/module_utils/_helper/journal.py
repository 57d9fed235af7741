# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What became of calls, kept over a restart of the helper. PRIVATE to the collection.

One small file for each call that has an id, named after caller and id. It is written while the worker still waits for
leave to begin, and again when it has ended: no file says that the call never began, one without an end that nobody knows
how it ended. The folder lies on a tmpfs: it goes with the boot, and so do the calls.
"""

from __future__ import annotations

import os
import time

from .._lean import json
from .._supervise._embedded import files, identity

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NEVER_BEGAN, RUNNING, DONE, UNKNOWN = "never_began", "running", "done", "unknown"
#: An outcome is kept for so many seconds, and so many of each caller are.
KEPT_SECONDS, KEPT_CALLS = 3600.0, 256

_text = json.writer((",", ":"))


def is_id(text: str) -> bool:
    """Say whether *text* can be an id: 1 to 64 letters, digits, '_' and '-', the first one a letter or a digit."""
    return (
        0 < len(text) <= 64
        and text.isascii()
        and text[0].isalnum()
        and text.replace("_", "").replace("-", "").isalnum()
    )


class Journal:
    """The folder *path*, which is made. Raises OSError."""

    def __init__(self, path: str) -> None:
        self._path = path
        os.makedirs(path, 0o700, exist_ok=True)
        os.chmod(path, 0o700)
        self._boot = identity.boot_id().hex()
        self._known: dict[int, dict[str, float]] = {}
        self._running: dict[tuple[int, str], dict[str, Any]] = {}
        for name in sorted(os.listdir(path)):
            uid, _dash, id_ = name.partition("-")
            if name.endswith(".new") or not uid.isdigit():
                files.remove(os.path.join(path, name))
                continue
            entry = self._load(int(uid), id_)
            if entry is None:
                # Its helper died while it wrote it, and so before the call began.
                files.remove(os.path.join(path, name))
            else:
                self._known.setdefault(int(uid), {})[id_] = entry["at"]
        for uid_, calls in self._known.items():
            self._known[uid_] = dict(sorted(calls.items(), key=lambda item: item[1]))

    def begin(self, uid: int, id_: str, operation: str, digest: str, pid: int, started: int) -> None:
        """Note that a call is about to begin in the waiting worker *pid*, which started at *started*.

        Raises OSError: what can't be noted must not be done.
        """
        now = time.time()
        self._make_room(uid, now)
        entry = {"state": RUNNING, "operation": operation, "digest": digest, "at": now}
        entry.update(pid=pid, started=started, boot=self._boot)
        if id_ in self._known.get(uid, ()):
            self._write(uid, id_, entry)
        else:
            # Not beside it first: half a file says what no file says, that the call never began.
            _create(self._name(uid, id_), _text(entry).encode())
        self._known.setdefault(uid, {})[id_] = now
        self._running[uid, id_] = entry

    def end(self, uid: int, id_: str, result: dict[str, Any]) -> None:
        """Note how a call ended: the reply, or the error with its parameters."""
        entry = self._running.pop((uid, id_), None) or self.read(uid, id_)
        if entry is not None:
            entry.update(state=DONE, result=result)
            self._write(uid, id_, entry)

    def lost(self, uid: int, id_: str) -> None:
        """Note that nobody knows how a call ended."""
        entry = self.read(uid, id_)
        if entry is not None:
            entry["state"] = UNKNOWN
            self._write(uid, id_, entry)

    def forget(self, uid: int, id_: str) -> None:
        """Take back that a call began."""
        self._known.get(uid, {}).pop(id_, None)
        self._running.pop((uid, id_), None)
        files.remove(self._name(uid, id_))

    def read(self, uid: int, id_: str) -> dict[str, Any] | None:
        """Give what is known of a call, None if it never began."""
        return self._load(uid, id_) if id_ in self._known.get(uid, ()) else None

    def _load(self, uid: int, id_: str) -> dict[str, Any] | None:
        try:
            with open(self._name(uid, id_), encoding="utf-8") as file:
                entry = json.load(file)
        except (OSError, ValueError):
            return None
        return entry if isinstance(entry, dict) and "at" in entry else None

    def unfinished(self) -> list[tuple[int, str, int]]:
        """Give caller, id and worker of the calls that an earlier helper left; pid 0 when the worker is not there."""
        left = []
        for uid, calls in self._known.items():
            for id_ in calls:
                entry = self.read(uid, id_)
                if entry is None or entry["state"] != RUNNING:
                    continue
                pid = entry["pid"]
                there = entry["boot"] == self._boot and identity.alive(pid, entry["started"])
                left.append((uid, id_, pid if there else 0))
        return left

    def _make_room(self, uid: int, now: float) -> None:
        """Make room: what is too old goes, then the oldest that is over."""
        calls = self._known.get(uid, {})
        for id_ in list(calls):
            if calls[id_] > now - KEPT_SECONDS and len(calls) < KEPT_CALLS:
                break
            entry = self.read(uid, id_)
            if entry is None or entry["state"] != RUNNING:
                self.forget(uid, id_)

    def _name(self, uid: int, id_: str) -> str:
        return f"{self._path}/{uid}-{id_}"

    def _write(self, uid: int, id_: str, entry: dict[str, Any]) -> None:
        files.replace(self._name(uid, id_), _text(entry).encode(), 0o600)


def _create(path: str, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)
