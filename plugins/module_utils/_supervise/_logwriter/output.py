# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files that the log writer appends to: the common part, and log directories.

A log directory holds ``current`` (mode 0644 in use, 0744 when it was closed in order), rotated files
``@<24 hex digits>.s`` (0744 once they are safely on the disk) and ``.u`` for files that a crash may have cut, as
multilog, svlogd and s6-log have them, and ``lock``.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct

from . import opening, stamps
from .sealing import seal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .sealing import Sealer
    from .table import Settings

UNLIMITED = 1 << 62
CURRENT = "current"
IN_USE = 0o644
COMPLETE, UNSURE = ".s", ".u"
_ROTATED_LENGTH = stamps.LABEL_LENGTH + len(COMPLETE)
_RETRY_SIZE = 262144  # More than one line that a chunk can hold.
_LINE_END = 10
# struct flock with 64-bit offsets: type, whence, start, length (0: to the end), pid (must be 0).
_WHOLE_FILE = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)


def is_rotated(name: str) -> bool:
    """Whether a file of this name in a log directory is a rotated one."""
    return len(name) == _ROTATED_LENGTH and name[0] == "@" and name.endswith((COMPLETE, UNSURE))


def rotated_at(name: str) -> int:
    """When the file was rotated, in nanoseconds since 1970; 0 if the name does not tell."""
    try:
        return stamps.from_label(name[: stamps.LABEL_LENGTH])
    except ValueError:
        return 0


class Output:
    """A file that is appended to at ``offset``; the descriptor is -1 while it is closed.

    ``midline``: its last line is unterminated. ``limit``: the size that it should not exceed.
    ``due``: when it wants ``tick`` to be called, in nanoseconds since 1970; 0 for never.
    """

    __slots__ = ("descriptor", "device", "due", "inode", "limit", "midline", "offset")

    def __init__(self) -> None:
        """Nothing is opened yet."""
        self.descriptor = -1
        self.device = self.inode = self.offset = 0
        self.midline = False
        self.limit = UNLIMITED
        self.due = 0

    def take(self, descriptor: int) -> None:
        """Append to this open file from now on."""
        status = os.fstat(descriptor)
        self.descriptor = descriptor
        self.device, self.inode, self.offset = status.st_dev, status.st_ino, status.st_size
        self.midline = status.st_size > 0 and os.pread(descriptor, 1, status.st_size - 1) != b"\n"

    def write(self, text: memoryview) -> None:
        """Append ``text``. A failure is an OSError; ``offset`` tells then how much of it is in the file."""
        while True:
            written = os.pwrite(self.descriptor, text, self.offset)
            self.offset += written
            if written == len(text):
                return
            text = text[written:]

    def cut(self, offset: int) -> None:
        """Take back what was written behind ``offset``."""
        os.ftruncate(self.descriptor, offset)
        self.offset = offset

    def open(self, now: int) -> None:
        """Open the file; OSError with the reason if that is impossible."""

    def ready(self) -> None:
        """Make it writable again after a failure, as far as that is in our hands; OSError if it is not."""

    def began(self, now: int) -> None:
        """The first bytes of a new file have been written."""

    def rotate(self, now: int) -> None:
        """Start a new file; OSError if there is none now."""

    def tick(self, now: int) -> None:
        """Do what is due."""

    def close(self, clean: bool) -> None:
        """Close it; ``clean`` marks the file as complete."""


class DirectoryOutput(Output):
    """``current`` in a log directory, its rotation and the pruning of what was rotated."""

    __slots__ = ("_born", "_identity", "_lock", "_newest", "_sealer", "_trusted", "settings")

    def __init__(self, settings: Settings, sealer: Sealer, trusted: bool) -> None:
        """``trusted``: a ``current`` without the mark of an orderly end is complete nevertheless."""
        super().__init__()
        self.settings = settings
        self._sealer = sealer
        self._trusted = trusted
        self._lock = -1
        self._identity = (0, 0)
        self._born = 0
        self._newest = 0

    def open(self, now: int) -> None:
        """Open directory, lock and ``current``; OSError with the reason if that is impossible."""
        directory = opening.open_directory(self.settings.directory, create=True)
        try:
            self._take_lock(directory)
            self._mend(directory, now)
            self._open_current(directory, now)
            self._prune(directory, now)
        finally:
            os.close(directory)

    def _take_lock(self, directory: int) -> None:
        status = os.fstat(directory)
        if self._lock >= 0:
            if self._identity == (status.st_dev, status.st_ino):
                return
            os.close(self._lock)
            self._lock = -1
        descriptor = opening.open_file("lock", os.O_RDWR | os.O_CREAT, 0o600, directory)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # s6-log knows this kind alone. That of the open file: it does not go with another descriptor of ours.
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _WHOLE_FILE)
        except OSError as error:
            os.close(descriptor)
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise BlockingIOError(
                    errno.EWOULDBLOCK, "another logger writes here", self.settings.directory
                ) from None
            raise
        self._lock = descriptor
        self._identity = (status.st_dev, status.st_ino)

    def _mend(self, directory: int, now: int) -> None:
        """Give a rotated file that lacks the mark what it lacks: the sync, or the name of an unsure file."""
        for name in os.listdir(directory):
            if not is_rotated(name):
                continue
            self._newest = max(self._newest, rotated_at(name))
            if not name.endswith(COMPLETE):
                continue
            mode = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
            if mode & stat.S_IXUSR or not stat.S_ISREG(mode):
                continue
            if self._trusted:
                self._sealer.seal(opening.open_file(name, os.O_RDWR, 0, directory))
            else:
                unsure = name[: -len(COMPLETE)] + UNSURE
                os.rename(name, unsure, src_dir_fd=directory, dst_dir_fd=directory)

    def _open_current(self, directory: int, now: int) -> None:
        descriptor = opening.open_file(CURRENT, os.O_RDWR | os.O_CREAT, IN_USE, directory)
        try:
            status = os.fstat(descriptor)
            marked = status.st_mode & stat.S_IXUSR
            if status.st_size and not marked and not self._trusted:
                # The machine went down with this file open: nobody knows what the disk kept of it.
                os.rename(CURRENT, self._next_name(now, UNSURE), src_dir_fd=directory, dst_dir_fd=directory)
                os.close(descriptor)
                descriptor = opening.open_file(CURRENT, os.O_RDWR | os.O_CREAT | os.O_EXCL, IN_USE, directory)
            os.fchmod(descriptor, IN_USE)
            self.take(descriptor)
        except OSError:
            os.close(descriptor)
            self.descriptor = -1
            raise
        # Whatever we write from now on is known to the spool.
        self._trusted = True
        if marked and self.midline:
            self.write(memoryview(b"\n"))
            self.midline = False
        self.set_limit()
        if self.offset:
            self._born = self._first_stamp()
        self._schedule_age()

    def _first_stamp(self) -> int:
        """When the first line of ``current`` was written."""
        line = os.pread(self.descriptor, stamps.LONGEST, 0)
        return stamps.from_line(line) or os.fstat(self.descriptor).st_mtime_ns

    def set_limit(self) -> None:
        """Take over the size of the settings."""
        self.limit = int(self.settings.size or UNLIMITED)

    def _next_name(self, now: int, suffix: str) -> str:
        """A name that sorts behind all others, even if the clock was set back or many files come at once."""
        self._newest = max(now, self._newest + 1)
        return stamps.label(self._newest) + suffix

    def ready(self) -> None:
        """Open ``current`` if it is not."""
        if self.descriptor < 0:
            self.open(stamps.now())

    def began(self, now: int) -> None:
        """``current`` gets its first bytes: its age counts from here."""
        self._born = now
        if self.settings.age:
            self._schedule_age()

    def _schedule_age(self) -> None:
        if self.settings.age and self.offset:
            due = self._born + int(self.settings.age * stamps.NANOSECONDS)
            if not self.due or due < self.due:
                self.due = due

    def want_rotation(self) -> None:
        """Rotate at the next end of a line."""
        self.limit = 0

    def rotate(self, now: int) -> None:
        """Rename ``current``, prune, make a new ``current``.

        A failure to rename leaves all as it is, to be tried again some 256 KiB later. A failure to make a new file is an
        OSError, and the output is closed.
        """
        try:
            directory = opening.open_directory(self.settings.directory, create=False)
        except OSError:
            self.limit = self.offset + _RETRY_SIZE
            return
        try:
            old = self.descriptor
            try:
                if self._is_current(directory):
                    name = self._next_name(now, COMPLETE)
                    os.rename(CURRENT, name, src_dir_fd=directory, dst_dir_fd=directory)
            except OSError:
                self.limit = self.offset + _RETRY_SIZE
                return
            self.descriptor = -1
            self.offset = 0
            self._sealer.seal(old)
            self._prune(directory, now)
            self._open_current(directory, now)
        finally:
            os.close(directory)

    def _is_current(self, directory: int) -> bool:
        """Whether ``current`` is still the file that we have open: people move log files away."""
        try:
            status = os.stat(CURRENT, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return (status.st_dev, status.st_ino) == (self.device, self.inode)

    def moved(self) -> bool:
        """Whether the directory or ``current`` are no longer where they were opened."""
        try:
            directory = opening.open_directory(self.settings.directory, create=False)
        except OSError:
            return True
        try:
            status = os.fstat(directory)
            return self._identity != (status.st_dev, status.st_ino) or not self._is_current(directory)
        finally:
            os.close(directory)

    def _prune(self, directory: int, now: int) -> None:
        """Delete the rotated files that are too many or too old; set ``due`` for the next that will be."""
        names = sorted(name for name in os.listdir(directory) if is_rotated(name))
        count, keep = self.settings.count, self.settings.keep
        gone = [] if count is None else names[: max(len(names) - int(count), 0)]
        due = 0
        for name in names[len(gone) :]:
            if keep is None:
                break
            due = rotated_at(name) + int(keep * stamps.NANOSECONDS)
            if due > now:
                break
            gone.append(name)
            due = 0
        for name in gone:
            try:
                os.unlink(name, dir_fd=directory)
            except OSError:
                due = 0  # Tried again at the next rotation, not in a loop.
        self.due = due
        self._schedule_age()

    def tick(self, now: int) -> None:
        """Rotate ``current`` if it is old enough and complete; prune."""
        self.due = 0
        if self.descriptor < 0:
            return
        age = self.settings.age
        if age and self.offset and now >= self._born + int(age * stamps.NANOSECONDS):
            if self.midline:
                self.want_rotation()
            else:
                self.rotate(now)
            return
        self.prune(now)

    def prune(self, now: int) -> None:
        """Prune at once, by the settings as they are now."""
        try:
            directory = opening.open_directory(self.settings.directory, create=False)
        except OSError:
            return
        try:
            self._prune(directory, now)
        except OSError:
            pass
        finally:
            os.close(directory)

    def close(self, clean: bool) -> None:
        """Close ``current``, synced and with mode 0744 if ``clean``, and release the directory."""
        if self.descriptor >= 0:
            if clean:
                seal(self.descriptor)
            else:
                os.close(self.descriptor)
            self.descriptor = -1
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
