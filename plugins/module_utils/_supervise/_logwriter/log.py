# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One log: from the FIFO of a service through the spool to an output."""

from __future__ import annotations

import os
import select
import stat

from . import stamps
from .loss import Loss, known
from .output import DirectoryOutput, Output
from .spool import CHUNK, DATA

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Protocol

    from .queue import QueueOutput
    from .sealing import Sealer
    from .spool import Chunk, Spool
    from .table import Settings

    class Host(Protocol):
        """What a log needs of the loop."""

        spool: Spool
        sealer: Sealer
        table: int

        def watch(self, descriptor: int, events: int, handler: Callable[[int], None]) -> None:
            """Call ``handler`` with the events when there are any."""

        def unwatch(self, descriptor: int) -> None:
            """Stop that."""

        def wake_at(self, due: int) -> None:
            """Call ``tick`` of all logs at this time, nanoseconds since 1970; 0 for never."""

        def say(self, message: str) -> None:
            """Tell it to whoever reads our standard error."""


def _sleep(time: int) -> None:
    select.select((), (), (), time / stamps.NANOSECONDS)


_REOPEN_INTERVAL = stamps.NANOSECONDS
_LINE_END = 10
_REST_OF_LINE_MS = 20
_RECEIVER_MS = 1000
_MOST_OF_LINE = 65536
# How long another logger that has the directory may take to go before there are losses, and between two looks.
_GOING = 5 * stamps.NANOSECONDS
_LOOK = stamps.NANOSECONDS // 20


class Log:
    """The log of one service."""

    __slots__ = (
        "_fifo",
        "_fifo_identity",
        "_fifo_path",
        "_held_since",
        "_host",
        "_look_at",
        "_loss",
        "_output",
        "_paused",
        "_queue",
        "_record",
        "_retry_at",
        "_spool",
        "_stamp",
        "_trouble",
        "_watched_socket",
        "name",
        "settings",
    )

    def __init__(self, host: Host, settings: Settings, fifo_path: str) -> None:
        """Nothing is opened yet. ``fifo_path`` may be empty for a log that only finishes a chunk."""
        self._host = host
        self._spool = host.spool
        self._fifo_path = fifo_path
        self._fifo = -1
        self._fifo_identity = (0, 0)
        self._watched_socket = -1
        self._paused = False
        self._trouble = False
        self._retry_at = 0
        self._held_since = self._look_at = 0
        self.name = settings.name
        self._loss: Loss | None = None
        if known(host.table, self.name):
            self._loss = Loss(host.table, self.name)
            self._trouble = bool(self._loss.text())
        self._adopt(settings)

    def _adopt(self, settings: Settings) -> None:
        self.settings = settings
        self._record = settings.record()
        self._stamp = stamps.FORMATS[settings.format] if settings.to == "directory" else stamps.none
        self._queue: QueueOutput | None = None
        self._output: Output
        if settings.to == "directory":
            self._output = DirectoryOutput(settings, self._host.sealer, self._spool.trusted)
        else:
            from .queue import QueueOutput

            self._output = self._queue = QueueOutput(settings, self._host.table)
        self._spool.forget(self)

    # Opening and closing

    def open(self) -> None:
        """Open output and FIFO. Their failures are told, and the output is tried again when there is something to write."""
        self._open_output()
        self._open_fifo()

    def _open_output(self) -> None:
        now = stamps.now()
        try:
            self._output.open(now)
            self._not_held()
        except BlockingIOError as error:
            self._held(error, now)
        except OSError as error:
            self._not_held()
            self._failed(error, now)
        if self._queue:
            self._push(now)
        self._host.wake_at(self._output.due)

    def _held(self, error: OSError, now: int) -> None:
        """Another logger has the directory: leave the bytes in the FIFO, since it may be about to go."""
        self._held_since = self._held_since or now
        if 0 <= now - self._held_since < _GOING:
            self._look_at = now + _LOOK
            self._pause(True)
            self._host.wake_at(self._look_at)
        else:
            self._not_held()
            self._failed(error, now)

    def _not_held(self) -> None:
        if self._held_since:
            self._held_since = self._look_at = 0
            self._pause(False)

    def _open_fifo(self) -> None:
        try:
            fifo = os.open(self._fifo_path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            self._host.say(f"log of {self.name}: FIFO {self._fifo_path}: {error.strerror}")
            return
        status = os.fstat(fifo)
        if not stat.S_ISFIFO(status.st_mode):
            os.close(fifo)
            self._host.say(f"log of {self.name}: {self._fifo_path} is not a FIFO")
            return
        self._close_fifo()
        self._fifo = fifo
        self._fifo_identity = (status.st_dev, status.st_ino)
        if not self._paused:
            self._host.watch(fifo, select.EPOLLIN, self.readable)

    def _close_fifo(self) -> None:
        if self._fifo >= 0:
            if not self._paused:
                self._host.unwatch(self._fifo)
            os.close(self._fifo)
            self._fifo = -1

    def change(self, fifo_path: str, settings: Settings) -> None:
        """Go on with these settings and this FIFO, without losing what is in the old one."""
        if not self.settings.same_place(settings):
            self.drain()
            self._end_line()
            self._not_held()
            self._close_output()
            self._adopt(settings)
            self._open_output()
        else:
            self.settings = settings
            self._record = settings.record()
            self._spool.forget(self)
            if isinstance(self._output, DirectoryOutput):
                self._stamp = stamps.FORMATS[settings.format]
                self._output.settings = settings
                self._output.set_limit()
                self._output.prune(stamps.now())
                self._host.wake_at(self._output.due)
        self._fifo_path = fifo_path
        if self._fifo < 0 or self._fifo_moved():
            self.drain()
            self._open_fifo()

    def _fifo_moved(self) -> bool:
        try:
            status = os.stat(self._fifo_path, follow_symlinks=False)
        except OSError:
            return True
        return (status.st_dev, status.st_ino) != self._fifo_identity

    def reopen(self) -> None:
        """Open the output again if somebody moved the file or its directory away."""
        output = self._output
        if isinstance(output, DirectoryOutput) and output.descriptor >= 0 and output.moved():
            self._end_line()
            self._close_output()
            self._open_output()

    def finish(self) -> None:
        """Write all that is in the FIFO, end the last line, close everything, marked as complete."""
        self.drain()
        self._end_line()
        self._close_fifo()
        if self._trouble:
            now = stamps.now()
            self._retry_at = 0
            self._recover(now, self._stamp(now))
        self._close_output()
        if self._loss and self._loss.due:
            self._loss.save(stamps.now())

    def _close_output(self) -> None:
        self._watch_socket(-1)
        if self._queue and self._queue.unsent():
            self._host.say(f"log of {self.name}: {self._queue.unsent()} bytes could not be sent, and are kept")
        try:
            self._output.close(clean=True)
        except OSError as error:
            self._failed(error, stamps.now())

    # From the FIFO to the output

    def readable(self, events: int) -> None:
        """There are bytes in the FIFO, or nobody has it open any more."""
        if self._pump() == 0 and events & select.EPOLLHUP:
            # A new descriptor reports no hang-up until somebody opens the FIFO and closes it again.
            self._end_line()
            if self._fifo_moved():
                self._close_fifo()
            else:
                self._open_fifo()

    def drain(self) -> None:
        """Write what is in the FIFO now; a service that goes on writing does not prolong this."""
        if self._fifo < 0:
            return
        rest = self._spool.waiting(self._fifo)
        while rest > 0:
            if self._paused and not self._wait_for_receiver():
                break
            count = self._pump()
            if not count:
                break
            rest -= count

    def end_line(self) -> None:
        """The process that wrote has ended: write the rest, and end its last line."""
        self.drain()
        self._end_line()

    def _end_line(self) -> None:
        """Let an unterminated line end: with its own rest if that comes at once, otherwise with a newline."""
        budget = _MOST_OF_LINE
        while self._output.midline and self._fifo >= 0 and budget:
            if not self._spool.waiting(self._fifo):
                poll = select.poll()
                poll.register(self._fifo, select.POLLIN)
                if not any(event & select.POLLIN for _unused, event in poll.poll(_REST_OF_LINE_MS)):
                    break
            # Byte by byte, because nothing behind the end of the line must be taken.
            if not self._pump(1):
                break
            budget -= 1
        output = self._output
        if output.midline and output.descriptor >= 0:
            try:
                output.write(memoryview(b"\n"))
                output.midline = False
            except OSError as error:
                self._failed(error, stamps.now())
        if self._queue:
            self._push(stamps.now())

    def _pump(self, most: int = CHUNK) -> int:
        """Move one chunk of at most ``most`` bytes; the number of bytes taken from the FIFO."""
        spool = self._spool
        fifo = self._fifo
        count = spool.waiting(fifo)
        if count > most:
            count = most
        elif not count:
            return 0
        output = self._output
        now = stamps.now()
        stamp = self._stamp(now)
        midline = output.midline
        offset = output.offset
        spool.begin(self, self._record, count, offset, output.device, output.inode, midline, stamp)
        count = spool.read(fifo)
        if not count:
            spool.finish()
            return 0
        if self._trouble:
            self._emit_in_trouble(count, stamp, now)
            spool.finish()
            return count
        area = spool.map
        end = DATA + count
        if stamp:
            body = area[DATA if midline else DATA - len(stamp) : end].replace(b"\n", b"\n" + stamp)
            size = len(body)
            if area[end - 1] == _LINE_END:
                size -= len(stamp)
        else:
            body = area[DATA:end]
            size = count
        if offset + size <= output.limit:
            try:
                output.write(memoryview(body)[:size])
                output.midline = area[end - 1] != _LINE_END
            except OSError as error:
                self._keep_lines(body, 0, size, offset, stamp, error, now)
            if not offset:
                output.began(now)
                self._host.wake_at(output.due)
        else:
            self._emit(body, 0, size, stamp, now)
        spool.finish()
        if self._queue:
            self._push(now)
        return count

    def restore(self, chunk: Chunk) -> None:
        """Write the chunk of a killed predecessor once more, to where it belongs, and leave the output as it was."""
        output = self._output
        now = stamps.now()
        until = now + _GOING
        while True:
            try:
                # Nothing of a queue is sent yet: it may have the chunk already.
                output.open(now)
            except BlockingIOError as error:
                now = stamps.now()
                if until - _GOING <= now < until:
                    _sleep(_LOOK)
                    continue
                self._failed(error, now)
            except OSError as error:
                self._failed(error, now)
            break
        stamp = chunk.stamp
        if output.descriptor >= 0 and output.inode == chunk.inode and output.device == chunk.device:
            output.offset = min(chunk.offset, output.offset)
        else:
            self._spool.move(chunk.done, output.offset, output.device, output.inode)
        body = b"%s%s" % (b"" if chunk.midline else stamp, chunk.data.replace(b"\n", b"\n" + stamp))
        size = len(body)
        if stamp and chunk.data.endswith(b"\n"):
            size -= len(stamp)
        if output.descriptor < 0:
            self._lose(body, chunk.done, size, stamp, now)
        else:
            if chunk.done:
                output.midline = False
            elif output.offset == chunk.offset:
                output.midline = chunk.midline
            self._emit(body, chunk.done, size, stamp, now)
        self._spool.finish()
        output.close(clean=False)

    def _emit(self, body: bytes, done: int, size: int, stamp: bytes, now: int) -> None:
        """Write ``body[done:size]``, rotating at ends of lines so that no file exceeds its limit."""
        output = self._output
        view = memoryview(body)
        while done < size:
            room = output.limit - output.offset
            cut = size
            if size - done > room:
                cut = body.rfind(b"\n", done, done + max(room, 0)) + 1
                if not cut:
                    if output.offset and not output.midline:
                        try:
                            self._rotate_within(done, now)
                        except OSError as error:
                            self._lose(body, done, size, stamp, now)
                            self._failed(error, now)
                            return
                        continue
                    # A line that is longer than a whole file.
                    cut = body.find(b"\n", done, size) + 1 or size
            offset = output.offset
            try:
                output.write(view[done:cut])
            except OSError as error:
                self._keep_lines(body, done, size, offset, stamp, error, now)
                return
            output.midline = body[cut - 1] != _LINE_END
            done = cut
            if not offset:
                output.began(now)
        if output.limit <= 0 and not output.midline:
            self.rotate()
        self._host.wake_at(output.due)

    def _rotate_within(self, done: int, now: int) -> None:
        """Rotate in the middle of a chunk, whose first ``done`` bytes are in the old file."""
        output = self._output
        self._spool.move(done, 0, 0, 0)
        output.rotate(now)
        self._spool.move(done, output.offset, output.device, output.inode)

    def rotate(self) -> None:
        """Rotate now, or at the end of the line that is being written."""
        output = self._output
        if not isinstance(output, DirectoryOutput) or output.descriptor < 0 or not output.offset:
            return
        if output.midline:
            output.want_rotation()
            return
        now = stamps.now()
        try:
            output.rotate(now)
        except OSError as error:
            self._failed(error, now)
        self._host.wake_at(output.due)

    def tick(self, now: int) -> int:
        """Do what is due; when the next is, nanoseconds since 1970, 0 for never."""
        if self._look_at and self._look_at <= now:
            self._open_output()
        output = self._output
        if output.due and output.due <= now:
            try:
                output.tick(now)
            except OSError as error:
                self._failed(error, now)
            if self._queue:
                self._after_push(now)
        loss = self._loss
        if loss and loss.due and loss.due <= now:
            loss.save(now)
        dues = [due for due in (output.due, self._look_at, loss.due if loss else 0) if due]
        return min(dues) if dues else 0

    # Queues

    def _push(self, now: int) -> None:
        """Send what the queue has."""
        if self._queue is None:
            return
        if self._queue.descriptor >= 0:
            try:
                self._queue.flush(now)
            except OSError as error:
                self._failed(error, now)
            self._after_push(now)

    def _after_push(self, now: int) -> None:
        queue = self._queue
        if queue is None:
            return
        self._watch_socket(queue.handle if queue.blocked else -1)
        self._pause(queue.full() and not queue.hopeless(now))
        self._host.wake_at(queue.due)

    def _watch_socket(self, descriptor: int) -> None:
        if descriptor == self._watched_socket:
            return
        if self._watched_socket >= 0:
            self._host.unwatch(self._watched_socket)
        self._watched_socket = descriptor
        if descriptor >= 0:
            self._host.watch(descriptor, select.EPOLLOUT, self._writable)

    def _writable(self, events: int) -> None:
        del events
        self._push(stamps.now())

    def _wait_for_receiver(self) -> bool:
        """Give a slow receiver a moment, because this log ends; whether there is room in the queue again.

        Another logger that has the directory gets the time that it may take.
        """
        while self._look_at:
            _sleep(_LOOK)
            self._open_output()
        if self._queue is None:
            return not self._paused
        poll = select.poll()
        if self._watched_socket >= 0:
            poll.register(self._watched_socket, select.POLLOUT)
            poll.poll(_RECEIVER_MS)
        self._push(stamps.now())
        return not self._paused

    def _pause(self, paused: bool) -> None:
        """Leave the bytes in the FIFO while the receiver is slow but alive."""
        if paused == self._paused:
            return
        self._paused = paused
        if self._fifo < 0:
            return
        if paused:
            self._host.unwatch(self._fifo)
        else:
            self._host.watch(self._fifo, select.EPOLLIN, self.readable)

    # Losses

    def _loss_account(self) -> Loss:
        if self._loss is None:
            self._loss = Loss(self._host.table, self.name)
        return self._loss

    def _failed(self, error: OSError, now: int) -> None:
        """The output does not take anything for now: lines are lost, and counted, until it does."""
        self._trouble = True
        self._retry_at = now + _REOPEN_INTERVAL
        reason = error.strerror or str(error)
        if error.filename:
            reason = f"{error.filename}: {reason}"
        if self._loss_account().began(reason, now):
            self._host.say(f"log of {self.name}: {reason}")

    def _keep_lines(
        self, body: bytes, begin: int, size: int, offset: int, stamp: bytes, error: OSError, now: int
    ) -> None:
        """Writing ``body[begin:size]`` at ``offset`` failed: keep the whole lines that came through, lose the rest."""
        output = self._output
        written = output.offset - offset
        kept = max(body.rfind(b"\n", begin, begin + written) + 1, begin)
        try:
            output.cut(offset + kept - begin)
        except OSError:
            kept = begin + written
        if kept > begin:
            output.midline = body[kept - 1] != _LINE_END
        self._failed(error, now)
        self._lose(body, kept, size, stamp, now)

    def _lose(self, body: bytes, begin: int, size: int, stamp: bytes, now: int) -> None:
        """Count ``body[begin:size]`` as lost, without the stamps in it."""
        if begin >= size:
            return
        lines = body.count(b"\n", begin, size)
        within_line = body[size - 1] != _LINE_END
        stamped = lines - (not within_line)
        if body.startswith(stamp, begin) and (begin == 0 or body[begin - 1] == _LINE_END):
            stamped += 1
        self._count(lines, size - begin - stamped * len(stamp), within_line, now)

    def _count(self, lines: int, count: int, within_line: bool, now: int) -> None:
        loss = self._loss_account()
        loss.add(lines, count, now)
        loss.cut = within_line
        self._host.wake_at(loss.due)

    def _emit_in_trouble(self, count: int, stamp: bytes, now: int) -> None:
        """Write the chunk after the line that tells of the loss, or lose it too."""
        loss = self._loss_account()
        area = self._spool.map
        begin, end = DATA, DATA + count
        if loss.cut:
            # The beginning of this line is lost, so its rest is no line.
            begin = area.find(b"\n", DATA, end) + 1
            if not begin:
                self._count(0, count, True, now)
                return
            self._count(1, begin - DATA, False, now)
        if begin < end:
            data = area[begin:end]
            if not self._recover(now, stamp):
                self._count(data.count(b"\n"), len(data), data[-1] != _LINE_END, now)
                return
            output = self._output
            self._spool.move(0, output.offset, output.device, output.inode, output.midline)
            body = b"%s%s" % (b"" if output.midline else stamp, data.replace(b"\n", b"\n" + stamp))
            size = len(body)
            if stamp and data[-1] == _LINE_END:
                size -= len(stamp)
            self._emit(body, 0, size, stamp, now)
        if self._queue:
            self._push(now)

    def _recover(self, now: int, stamp: bytes) -> bool:
        """Make the output work again and write the line that tells of the loss; whether that succeeded."""
        output = self._output
        if output.descriptor < 0 and now < self._retry_at:
            return False
        loss = self._loss_account()
        try:
            output.ready()
        except OSError as error:
            self._failed(error, now)
            return False
        text = loss.text()
        if text:
            note = (b"\n" if output.midline else b"") + stamp + text
            offset = output.offset
            try:
                output.write(memoryview(note))
            except OSError as error:
                try:
                    output.cut(offset)
                except OSError:
                    pass
                self._failed(error, now)
                return False
            output.midline = False
            if not offset:
                output.began(now)
        self._trouble = False
        loss.ended(now)
        self._host.say(f"log of {self.name}: works again")
        return True
