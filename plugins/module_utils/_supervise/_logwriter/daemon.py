# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The log writer: one process for all logs of a scan directory."""

from __future__ import annotations

import fcntl
import os
import resource
import select

from ..._lean import signal
from .loop import Loop
from .spool import Spool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

DONE, BUSY, FAILED = 0, 100, 111


def _say(message: str) -> None:
    os.write(2, (f"holdfast logwriter: {message}\n").encode("utf-8", "surrogateescape"))


def _ignore(number: int, frame: FrameType | None) -> None:
    """The number arrives through the wake-up descriptor."""


def _raise_limit() -> None:
    """A log takes three descriptors."""
    _unused, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):
        pass


def _catch_signals() -> int:
    """From here on SIGTERM and SIGHUP do nothing but to write their numbers; the descriptor to read them from."""
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _ignore)
    # The supervisor starts us with TERM blocked, so that none comes before there is a handler.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM,))
    return reading


def _obey_signals(loop: Loop, reading: int) -> None:
    def received(events: int) -> None:
        del events
        for number in os.read(reading, 64):
            if number == signal.SIGHUP:
                loop.rescan()
            elif number in (signal.SIGTERM, signal.SIGINT):
                loop.end()

    loop.watch(reading, select.EPOLLIN, received)


def main(argv: list[str]) -> int:
    """Write the logs of the table ``argv[0]`` until SIGTERM; SIGHUP reads the table again.

    Returns 0 after an orderly end (everything that was in the FIFOs is written, files are marked complete), 100 if
    another log writer serves the table or the arguments are wrong, 111 if the table cannot be used.
    """
    if len(argv) != 1:
        _say("usage: logwriter TABLE")
        return BUSY
    signals = _catch_signals()
    try:
        directory = os.open(argv[0], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        lock = os.open("lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600, dir_fd=directory)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Of this one the kernel tells who holds it.
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say(f"another log writer serves {argv[0]}")
            return BUSY
        os.umask(0o022)
        _raise_limit()
        spool = Spool(directory)
        loop = Loop(directory, spool)
    except OSError as error:
        _say(f"{argv[0]}: {error}")
        return FAILED
    _obey_signals(loop, signals)
    loop.run()
    spool.close(remove=True)
    return DONE
