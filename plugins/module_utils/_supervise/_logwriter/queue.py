# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Logs that go to syslog or journald: a queue on the table's file system, and the socket that it is sent to.

The bytes of the service are appended to the queue by the same crash-safe way as to a log file; complete lines are sent
from there, one datagram each, and how far that came is written after every one. So a killed log writer loses no line;
one line may be sent twice.
"""

from __future__ import annotations

import errno
import os
import struct
from time import localtime, strftime, time

from . import opening
from .output import Output
from .stamps import NANOSECONDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket as Socket
    from typing import Callable

    from .table import Settings

QUEUE = "queue"
SYSLOG_SOCKET = "/dev/log"
JOURNALD_SOCKET = "/run/systemd/journal/socket"
LIMIT = 512 * 1024
_HEADER = struct.Struct("<Q8x")
_START = _HEADER.size
_LONGEST_LINE = 32768
_SHORTEST_LIMIT = 512
_RETRY = NANOSECONDS
_PATIENCE = 5 * NANOSECONDS
_PRIORITY = 3 * 8 + 6  # daemon.info


def syslog_message(name: str) -> Callable[[bytes], bytes]:
    """A maker of syslog datagrams as ``syslog(3)`` sends them."""
    tag = (f" {name}: ").encode("ascii")
    months = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")

    def message(line: bytes) -> bytes:
        now = localtime(time())
        return b"<%d>%s %2d %s%s%s" % (
            _PRIORITY,
            months[now.tm_mon - 1],
            now.tm_mday,
            strftime("%H:%M:%S", now).encode("ascii"),
            tag,
            line.replace(b"\0", b"\\0"),
        )

    return message


def journald_message(name: str) -> Callable[[bytes], bytes]:
    """A maker of datagrams in journald's native protocol. A line has no newline, so that the plain form will do."""
    head = (f"PRIORITY=6\nSYSLOG_FACILITY=3\nSYSLOG_IDENTIFIER={name}\nHOLDFAST_SERVICE={name}\nMESSAGE=").encode()

    def message(line: bytes) -> bytes:
        return head + line + b"\n"

    return message


class QueueOutput(Output):
    """The queue of one log, and its socket.

    ``blocked``: the receiver's buffer is full; ``flush`` when the socket ``handle`` is writable.
    """

    __slots__ = (
        "_address",
        "_directory",
        "_longest",
        "_message",
        "_reason",
        "_sent",
        "_socket",
        "_stuck_since",
        "blocked",
        "settings",
    )

    def __init__(self, settings: Settings, directory: int) -> None:
        """``directory``: descriptor of the table."""
        super().__init__()
        self.settings = settings
        self._directory = directory
        journald = settings.to == "journald"
        self._address = settings.socket or (JOURNALD_SOCKET if journald else SYSLOG_SOCKET)
        self._message = (journald_message if journald else syslog_message)(settings.name)
        self._longest = _LONGEST_LINE
        self._socket: Socket | None = None
        self._sent = _START
        self._stuck_since = 0
        self._reason = errno.EAGAIN
        self.blocked = False

    def open(self, now: int) -> None:
        """Open or make the queue; OSError if that is impossible."""
        try:
            os.mkdir(QUEUE, 0o700, dir_fd=self._directory)
        except FileExistsError:
            pass
        flags = os.O_RDWR | os.O_CREAT
        self.take(opening.open_file(QUEUE + "/" + self.settings.name, flags, 0o600, self._directory))
        if self.offset < _START:
            os.pwrite(self.descriptor, _HEADER.pack(_START), 0)
            self.offset = _START
        self._sent = max(_HEADER.unpack(os.pread(self.descriptor, _START, 0))[0], _START)
        if self._sent > self.offset:
            # Killed between emptying the queue and saying so.
            self._save_sent(_START)
        self.midline = self.offset > self._sent and self.midline

    def ready(self) -> None:
        """OSError while the queue is more than half full."""
        if self.offset - self._sent > LIMIT // 2:
            raise OSError(self._reason, os.strerror(self._reason))

    def write(self, text: memoryview) -> None:
        """Append to the queue; OSError with the receiver's trouble if the queue is full."""
        if self.full():
            raise OSError(self._reason, os.strerror(self._reason))
        super().write(text)

    def full(self) -> bool:
        """Whether nothing more is taken until something was sent."""
        return self.offset - self._sent >= LIMIT

    def hopeless(self, now: int) -> bool:
        """Whether the receiver has taken nothing for so long that waiting for it would harm the service."""
        if self._reason not in (errno.EAGAIN, errno.ENOBUFS):
            return True
        return self._stuck_since > 0 and not 0 <= now - self._stuck_since < _PATIENCE

    def unsent(self) -> int:
        """Bytes that are still to be sent."""
        return self.offset - self._sent if self.descriptor >= 0 else 0

    @property
    def handle(self) -> int:
        """The descriptor of the socket; -1 if there is none."""
        return -1 if self._socket is None else self._socket.fileno()

    def flush(self, now: int) -> None:
        """Send the complete lines in the queue. Sets ``blocked``, or ``due`` for the next try."""
        self.blocked = False
        self.due = 0
        while self._sent < self.offset:
            part = os.pread(self.descriptor, 65536, self._sent)
            begin = 0
            while begin < len(part):
                end = part.find(b"\n", begin, begin + self._longest)
                after = end + 1
                if end < 0:
                    if len(part) - begin < self._longest:
                        break
                    end = after = begin + self._longest
                if not self._send(part[begin:end], now):
                    return
                self._save_sent(self._sent + after - begin)
                begin = after
            if begin == 0:
                break
        self._compact()

    def _send(self, line: bytes, now: int) -> bool:
        if not line:
            return True
        try:
            connection = self._socket or self._connect()
            connection.send(self._message(line))
        except OSError as error:
            self._reason = error.errno or errno.EIO
            self._stuck_since = self._stuck_since or now
            if error.errno == errno.EAGAIN:
                self.blocked = True
                self.due = max(self._stuck_since + _PATIENCE, now + _RETRY)
            elif error.errno == errno.EMSGSIZE and self._longest > _SHORTEST_LIMIT:
                self._longest //= 2
                self.due = now
            else:
                self._disconnect()
                self.due = now + _RETRY
            return False
        self._stuck_since = 0
        self._reason = errno.EAGAIN
        return True

    def _connect(self) -> Socket:
        # The C part of the socket module: the rest of it is large.
        from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_NONBLOCK
        from _socket import socket as make

        connection = make(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)
        try:
            connection.connect(self._address)
        except OSError:
            connection.close()
            raise
        self._socket = connection
        return connection

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _save_sent(self, sent: int) -> None:
        os.pwrite(self.descriptor, _HEADER.pack(sent), 0)
        self._sent = sent

    def _compact(self) -> None:
        """Free what was sent."""
        if self._sent == self.offset:
            if self.offset > _START:
                self.cut(_START)
                self._save_sent(_START)
                self.midline = False
        elif self._sent > LIMIT:
            self._rewrite()

    def _rewrite(self) -> None:
        """Replace the file by one that has only what is still to be sent (an unterminated line)."""
        rest = os.pread(self.descriptor, self.offset - self._sent, self._sent)
        name = QUEUE + "/" + self.settings.name
        # A log's name does not begin with a dot.
        new = QUEUE + "/." + self.settings.name
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC
        descriptor = opening.open_file(new, flags, 0o600, self._directory)
        try:
            os.pwrite(descriptor, _HEADER.pack(_START) + rest, 0)
            os.rename(new, name, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        except OSError:
            os.close(descriptor)
            return
        os.close(self.descriptor)
        self.take(descriptor)
        self._sent = _START

    def tick(self, now: int) -> None:
        """Try again."""
        if self.descriptor >= 0:
            self.flush(now)

    def close(self, clean: bool) -> None:
        """Close socket and queue; an empty queue is deleted if ``clean``."""
        self._disconnect()
        if self.descriptor >= 0:
            if clean and self._sent == self.offset:
                os.unlink(QUEUE + "/" + self.settings.name, dir_fd=self._directory)
            os.close(self.descriptor)
            self.descriptor = -1
