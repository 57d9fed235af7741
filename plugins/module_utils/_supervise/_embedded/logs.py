# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The logs of a scan directory: their FIFOs, the log writer's table, and the log writer. PRIVATE to the collection.

Each log FIFO is opened three times: by the supervisor for reading and writing, which keeps it alive over the death of
either end; by the log writer without blocking; by the service, blocking. Descriptions must not be shared: O_NONBLOCK
would reach the services. FIFOs lie in a directory that only root and the log writer's group may pass, so that their own
mode may let a service open /dev/stdout again under its own user.
"""

from __future__ import annotations

import json
import os
import pwd
import signal
import sys

from ..presence import lock_holder
from . import files, identity, record, spawn
from .children import EXITED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .children import Exit
    from .host import Host
    from .loop import Timer

#: Seconds between two starts of a log writer that dies at once.
RETRY = 1.0
#: Seconds that the log writer gets to empty all FIFOs at the end.
DRAIN = 10.0
#: Exit code of a log writer that finds another one at work.
BUSY = 100


class Logs:
    """Keeps the table in `.holdfast/logs` and a log writer running on it."""

    def __init__(self, host: Host, directory: str, user: str | None) -> None:
        self._host = host
        self._table = directory + "/logs"
        self._fifos = directory + "/fifo"
        self._record = directory + "/logwriter.record"
        self._user = user
        self._owner: tuple[int, int] | None = None
        self._control = -1
        self._held: dict[str, int] = {}
        self._written: dict[str, int] = {}
        self._dropping: set[str] = set()
        self._untold = False
        self._born = 0.0
        self._stopping = False
        self._retry: Timer | None = None
        self.pid = 0

    def open(self) -> None:
        """Make the directories and hold the control FIFO. Raises OSError, LookupError for a log user who isn't there."""
        if self._user is not None and os.geteuid() == 0:
            try:
                account = pwd.getpwnam(self._user)
            except KeyError:
                raise LookupError(f"there is no user {self._user!r} for the log writer") from None
            self._owner = account.pw_uid, account.pw_gid
        files.make_directory(self._table, 0o755)
        files.make_directory(self._fifos, 0o710)
        if self._owner is not None:
            os.chown(self._table, *self._owner)
            os.chown(self._fifos, 0, self._owner[1])
        self._control = files.open_fifo(self._table + "/control", 0o600, self._owner)

    def fifo(self, name: str) -> str:
        """Give the path of the FIFO of log *name*."""
        return f"{self._fifos}/{name}"

    def hold(self, name: str) -> str:
        """Make the FIFO of log *name* and keep it alive. Raises OSError."""
        path = self.fifo(name)
        if name not in self._held:
            self._held[name] = files.open_fifo(path, 0o662, (0, self._owner[1]) if self._owner is not None else None)
        return path

    def has(self, name: str) -> bool:
        """Say whether the log writer keeps log *name*."""
        return name in self._written

    def add(self, name: str, log: str) -> None:
        """Have the log writer keep log *name* as *log*, a JSON text, says. Raises OSError."""
        entry = f'{{"fifo": {json.dumps(self.hold(name))}, "log": {log}}}'.encode()
        digest = hash(entry)
        if self._written.get(name) == digest:
            return
        path = f"{self._table}/{name}.json"
        if name in self._dropping or not _same(path, entry):
            self._dropping.discard(name)
            files.replace(path, entry)
            self._tell(f"+{name}\n")
        self._written[name] = digest

    def drop(self, name: str) -> None:
        """Let go of log *name*: the log writer, which holds the FIFO too, takes what is in it and closes.

        Table entry and FIFO stay for a while, so that a log writer which dies over it finds them again.
        """
        if self._written.pop(name, None) is None or self._stopping:
            self._clear(name)
            return
        self._dropping.add(name)
        self._tell(f"-{name}\n")
        self.need()
        self._host.loop.later(DRAIN, lambda: self._clear(name))

    def end(self, name: str) -> None:
        """Tell that a process that wrote log *name* has ended: what it left of a line is a line."""
        if name in self._written:
            self._tell(f"end {name}\n")

    def _clear(self, name: str) -> None:
        if name in self._written:
            # It is back.
            return
        files.remove(f"{self._table}/{name}.json")
        if name in self._dropping:
            self._dropping.discard(name)
            self._tell(f"-{name}\n")
        self.release(name)
        files.remove(self.fifo(name))

    def release(self, name: str) -> None:
        """Close our end of the FIFO: whoever reads it sees its end once the last writer has gone."""
        descriptor = self._held.pop(name, -1)
        if descriptor >= 0:
            os.close(descriptor)

    def tidy(self) -> None:
        """Remove what an earlier supervisor left for logs that are no more."""
        for entry in os.listdir(self._table):
            name, dot, kind = entry.rpartition(".")
            if dot and kind == "json" and name not in self._written:
                self._written[name] = 0
                self.drop(name)

    # -- the process -----------------------------------------------------------------------------------------------

    def recover(self) -> None:
        """Adopt the log writer of an earlier supervisor, or start one if there is any log."""
        left = record.read(self._record)
        here = (self._host.boot, self._host.namespace)
        if (
            left is not None
            and (left.boot, left.namespace) == here
            and self._host.children.adopt(left.pid, left.started, self._exited)
        ):
            self.pid = left.pid
            if left.identity != self._host.version:
                # Another version of the program: it drains and ends, the present one takes its place.
                os.kill(self.pid, signal.SIGTERM)
        else:
            self._replace_unknown()
        self.need()

    def _replace_unknown(self) -> None:
        """Have a log writer end of which no record tells: its supervisor was killed as it had just started it."""
        pid = lock_holder(self._table + "/lock") or 0
        user = os.geteuid() if self._owner is None else self._owner[0]
        try:
            # The lock lies in a directory of the log writer's user, who must not have us end others.
            if not pid or os.stat(f"/proc/{pid}").st_uid != user:
                return
        except FileNotFoundError:
            return
        if self._host.children.adopt(pid, identity.start_time(pid), self._exited):
            self.pid = pid
            os.kill(pid, signal.SIGTERM)

    def need(self) -> None:
        """Start the log writer unless it runs or nobody logs."""
        if self.pid or self._stopping or not (self._written or self._dropping) or self._retry is not None:
            return
        start = spawn.Start(sys.executable, "/", spawn.base_environment())
        start.arguments = [sys.executable, "-I", "-S", sys.argv[0], "logwriter", self._table]
        # Told to end before it can listen, it must do its work first.
        start.blocked = (signal.SIGTERM,)
        if self._owner is not None:
            start.state = {"user": self._user}
        try:
            self.pid, complaint = spawn.spawn(start)
        except OSError as error:
            self._host.complain(f"log writer: {error.strerror}")
            self._retry = self._host.loop.later(RETRY, self._again)
            return
        if complaint >= 0:
            os.close(complaint)
        self._born = self._host.now()
        kept = record.Record()
        kept.boot, kept.namespace, kept.phase = self._host.boot, self._host.namespace, record.RUNNING
        kept.pid, kept.started = self.pid, identity.start_time(self.pid)
        kept.identity = self._host.version
        try:
            record.write(self._record, kept)
        except OSError as error:
            self._host.complain(f"{self._record}: {error.strerror}; a later supervisor will start a second log writer")
        self._host.children.watch(self.pid, self._exited)

    def stop(self) -> None:
        """Have the log writer empty every FIFO and end; `Host.logs_ended` is called afterwards."""
        if self._stopping:
            return
        self._stopping = True
        for name in tuple(self._dropping):
            self._clear(name)
        if not self.pid:
            self._host.logs_ended()
            return
        pid = self.pid
        os.kill(pid, signal.SIGTERM)
        self._host.loop.later(DRAIN, lambda: os.kill(pid, signal.SIGKILL) if self.pid == pid else None)

    def _exited(self, exit_: Exit) -> None:
        self.pid = 0
        files.remove(self._record)
        if self._stopping:
            self._host.logs_ended()
            return
        if not exit_.success:
            self._host.complain(f"log writer ended: {exit_}")
        if exit_.kind == EXITED and exit_.code == BUSY:
            self._replace_unknown()
            if self.pid:
                return
        if self._host.now() - self._born < RETRY:
            self._retry = self._host.loop.later(RETRY, self._again)
        else:
            self.need()

    def _again(self) -> None:
        self._retry = None
        self.need()

    def _tell(self, line: str) -> None:
        try:
            os.write(self._control, line.encode())
        except BlockingIOError:
            # A log writer that has not read for so long hangs: it is to read the whole table when it comes to.
            if not self._untold and not self._stopping:
                self._untold = True
                self._host.loop.later(RETRY, self._reopen)

    def _reopen(self) -> None:
        self._untold = False
        self._tell("reopen\n")


def _same(path: str, data: bytes) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read() == data
    except OSError:
        return False
