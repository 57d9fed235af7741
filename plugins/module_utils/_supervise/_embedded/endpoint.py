# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The file API of one service: `supervise/` with lock, control, ok, status and our record. PRIVATE to the collection."""

from __future__ import annotations

import os

from . import files, journal, record, status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NAMES = (
    "ok",
    "control",
    "status",
    "status.new",
    "pid",
    "pid.new",
    "record",
    "journal",
    "journal.new",
    "notify",
    "heartbeat",
    "log",
    "lock",
)


class Endpoint:
    """`supervise/` of one service directory, ours while the lock is held.

    control: descriptor of the FIFO for commands. path: the real path, which stays good when the service directory is
    exchanged or removed.
    """

    __slots__ = ("_layout", "_lock", "_ok", "_written", "control", "path")

    def __init__(self, directory: str, layout: str) -> None:
        """Take the directory. Raises files.Busy if a supervisor has it, OSError; nothing is held afterwards."""
        files.make_directory(directory + "/supervise", 0o700)
        self.path = os.path.realpath(directory + "/supervise")
        self._layout = layout
        self._written = b""
        self._ok = -1
        files.expect_fifo(self.path + "/ok")
        self._lock = files.lock(self.path + "/lock")
        try:
            self.control = files.open_fifo(self.path + "/control", 0o600)
        except OSError:
            os.close(self._lock)
            raise

    def open(self) -> None:
        """Say that control and status are valid: clients wait for `ok`. One more name of `control` does it."""
        path = self.path + "/ok"
        try:
            os.link(self.path + "/control", path)
        except FileExistsError:
            if not os.path.samefile(path, self.path + "/control"):
                files.remove(path)
                os.link(self.path + "/control", path)
        except OSError:  # a file system without hard links
            self._ok = files.open_fifo(path, 0o600)

    def intact(self, directory: str) -> bool:
        """Say whether clients that look into the service directory *directory* find our control FIFO there."""
        try:
            return os.path.samestat(os.stat(directory + "/supervise/control"), os.fstat(self.control))
        except OSError:
            return False

    def read_control(self) -> bytes:
        """Give the command bytes that wait."""
        try:
            return os.read(self.control, 4096)
        except BlockingIOError:
            return b""

    def write_status(self, since: int, pid: int, want: str, state: int, paused: bool, terminated: bool) -> None:
        """Publish the status. An error is swallowed: a full or vanished file system must not stop supervision."""
        data = status.encode(since, pid, want, state, paused, terminated, self._layout)
        if data == self._written:
            return
        try:
            files.replace(self.path + "/status", data)
        except OSError:
            return
        self._written = data

    def write_pid(self, pid: int) -> None:
        """Publish the process as text, nothing for 0, as runsv does. An error is swallowed, as above."""
        try:
            files.replace(self.path + "/pid", f"{pid}\n".encode() if pid else b"")
        except OSError:
            return

    def has_status(self) -> bool:
        """Say whether a status was published in an earlier life."""
        return os.path.exists(self.path + "/status")

    def read_record(self) -> record.Record | None:
        """Give what an earlier supervisor left."""
        return record.read(self.path + "/record")

    def write_record(self, data: record.Record) -> None:
        """Keep *data* for a later supervisor. Raises OSError: what can't be recorded must not be started."""
        record.write(self.path + "/record", data)

    def note(self, entry: dict[str, Any]) -> None:
        """Add *entry* to the journal."""
        journal.append(self.path + "/journal", entry)

    def close(self, forget: bool) -> None:
        """Give the directory back; *forget* removes what was made in it."""
        os.close(self.control)
        if self._ok >= 0:
            os.close(self._ok)
        if forget:
            for name in _NAMES:
                files.remove(f"{self.path}/{name}")
            try:
                os.rmdir(self.path)
            except OSError:
                pass
        else:
            files.remove(self.path + "/ok")
        os.close(self._lock)
