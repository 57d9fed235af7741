# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Asking storage in a process of its own. PRIVATE to the collection.

What is asked of storage whose way is lost comes back when it likes, and no signal ends who waits for it. So nobody of ours
waits: a child does, and is left alone when it takes too long. The daemon of sanlock does the same for its own part. A guard asks in
the thread that has not entered the service's pid namespace, so that the child is never in that either.
"""

from __future__ import annotations

import math
import os
import select
import time

from .._lean import signal
from .children import forked, keep_only
from .interface import LeaseError, StoreUnavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_GOOD, _BAD = b"=", b"!"


def aside(work: Callable[[], bytes], patience: float) -> bytes:
    """Do *work* in a child, and give what it gives. Raises OSError as *work* does, LeaseError if there can be no child.

    StoreUnavailable if it is not done after *patience* seconds: it may still be done.
    """
    answer = b""
    try:
        reads, writes = os.pipe2(os.O_CLOEXEC)
        try:
            pid = forked(lambda: _do(work, writes, patience))
        except OSError:
            os.close(reads)
            raise
        finally:
            os.close(writes)
    except OSError as error:
        raise LeaseError(f"no process for a look at the storage: {error.strerror or error}") from None
    try:
        answer = _hear(reads, time.monotonic() + patience)
    finally:
        os.close(reads)
        _collect(pid, bool(answer))
    if answer[:1] == _BAD:
        number = int(answer[1:])
        raise OSError(number, os.strerror(number))
    if answer[:1] != _GOOD:
        raise StoreUnavailable("the storage does not answer")
    return answer[1:]


def _do(work: Callable[[], bytes], writes: int, patience: float) -> None:
    """Be the child."""
    # Connections to the daemon, for one, it would keep open beyond the guard's end.
    writes = keep_only(writes)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(math.ceil(patience) + 1)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
    try:
        answer = _GOOD + work()
    except OSError as error:
        answer = _BAD + b"%d" % (error.errno or 0)
    while answer:
        answer = answer[os.write(writes, answer) :]


def _hear(reads: int, deadline: float) -> bytes:
    """Give all that the child has to say, nothing if it did not come to an end of it in time."""
    poll = select.poll()
    poll.register(reads, select.POLLIN)
    heard = b""
    while poll.poll(max(deadline - time.monotonic(), 0.0) * 1000):
        part = os.read(reads, 65536)
        if not part:
            return heard
        heard += part
    return b""


def _collect(pid: int, ended: bool) -> None:
    """Collect the child, unless somebody else has, or it hangs."""
    try:
        os.waitpid(pid, 0 if ended else os.WNOHANG)
    except ChildProcessError:
        pass
