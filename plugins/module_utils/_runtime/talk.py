# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a module asks of a running supervisor about itself. PRIVATE to the collection."""

from __future__ import annotations

import fcntl
import os
import struct
import time
from collections.abc import Callable

from .._varlink.client import Connection, ConnectionLost, VarlinkError

INTERFACE = "io.holdfast.Supervisor"
#: Seconds for an answer that the supervisor gives at once.
PROMPT = 5.0
#: Seconds after which a supervisor that was started, and whose lock nobody holds, counts as dead.
LONELY = 8.0

# struct flock: type, whence, start, length, pid
_FLOCK = "hhqqi"


class Running:
    """A supervisor that answers: its pid, the version of its runtime, and since when it runs (unix time)."""

    __slots__ = ("pid", "since", "version")

    def __init__(self, pid: int, version: str, since: float) -> None:
        self.pid = pid
        self.version = version
        self.since = since

    def program(self) -> str | None:
        """Give the program of the process; with " (deleted)" when another has taken its place on the disk."""
        try:
            return os.readlink(f"/proc/{self.pid}/exe")
        except OSError:
            return None


class TalkError(Exception):
    """The supervisor refused, or did not answer in time."""


class Supervisor:
    """The supervisor of one scan directory, whether it runs or not."""

    def __init__(self, scan_directory: str) -> None:
        self.scan_directory = scan_directory
        self._socket = os.path.join(scan_directory, ".holdfast", "socket")
        self._lock = os.path.join(scan_directory, ".holdfast", "lock")

    def ask(self, timeout: float = PROMPT) -> Running | None:
        """Give the supervisor that answers now, None if none does. Raises TalkError if one answers nonsense."""
        try:
            with Connection(self._socket, timeout) as connection:
                found = connection.call(f"{INTERFACE}.Status", {"names": []})["supervisor"]
                return Running(int(found["pid"]), str(found["version"]), float(found["since"]))
        except ConnectionLost:
            return None
        except VarlinkError as error:
            raise TalkError(f"the supervisor of {self.scan_directory} refused to tell its state: {error}") from None
        except (KeyError, TypeError, ValueError) as error:
            raise TalkError(f"the supervisor of {self.scan_directory} gave a strange answer: {error!r}") from None

    def holder(self) -> int | None:
        """Give the pid of the process that holds the supervisor's lock, None if nobody does.

        The lock is looked at, never taken: a supervisor that starts at this moment must not find it held.
        """
        try:
            descriptor = os.open(self._lock, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return None
        try:
            question = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            kind, _whence, _start, _length, pid = struct.unpack(
                _FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, question)
            )
        except OSError:
            return None
        finally:
            os.close(descriptor)
        return None if kind == fcntl.F_UNLCK else int(pid)

    def wait_for(self, timeout: float, wanted: Callable[[Running], bool]) -> Running | None:
        """Wait until the supervisor that answers is the *wanted* one.

        Gives None after *timeout* seconds, or when nobody is there that could become it.
        """
        deadline = time.monotonic() + timeout
        pause = 0.005
        lonely_since: float | None = None
        while True:
            now = time.monotonic()
            if now >= deadline:
                return None
            found = self.ask(max(min(deadline - now, PROMPT), 0.1))
            if found is not None and wanted(found):
                return found
            # A supervisor holds the lock from its first steps on: with nobody there for a while, nobody comes.
            if self.holder() is not None:
                lonely_since = None
            elif lonely_since is None:
                lonely_since = now
            elif now - lonely_since > LONELY:
                return None
            time.sleep(pause)
            pause = min(pause * 1.5, 0.1)

    def wait_until_gone(self, timeout: float) -> bool:
        """Wait until no supervisor holds the lock; False after *timeout* seconds."""
        deadline = time.monotonic() + timeout
        pause = 0.005
        while self.holder() is not None:
            if time.monotonic() >= deadline:
                return False
            time.sleep(pause)
            pause = min(pause * 1.5, 0.1)
        return True

    def replace_itself(self) -> None:
        """Have the supervisor become what the runtime directory holds now. Raises TalkError if it refuses."""
        self._call("Reexec", PROMPT)

    def stop(self, timeout: float) -> None:
        """Have the supervisor stop all services in order and end. Raises TalkError if it refuses."""
        self._call("Stop", timeout)

    def _call(self, method: str, timeout: float) -> None:
        try:
            with Connection(self._socket, timeout) as connection:
                connection.call(f"{INTERFACE}.{method}", {}, timeout)
        except VarlinkError as error:
            raise TalkError(f"the supervisor refused {method}: {error}") from None
        except ConnectionLost:
            # It may end before its answer is out; what counts is what it does, and the caller looks at that.
            return
