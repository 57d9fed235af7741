# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The process that has the lock files on NFS open, in the place of the guard. PRIVATE to the collection.

Whatever touches a file on NFS may hang until the network is back: reading, writing, closing a file that is locked, and so
the end of any process that has one open. A guard must not: a kernel closes a dying process's files *before* it kills those
who are to die with it, so a guard with a lock on NFS could, killed in time, leave its service alive. Therefore guard and
service have nothing of NFS open. This process has, and does as the guard tells it. It can be given up on.

It writes no heartbeat of its own accord: a guard that is stopped keeps nothing, and is soon killed by the kernel. When the guard is gone, it waits until the
service's tree is gone too, and gives everything back then, so that others need not wait for the time to run out.
"""

from __future__ import annotations

import os
import select
import time

from ..._lean import json, signal
from ..._varlink import sockets
from ..children import forked, keep_only, stand_aside
from ..handover import Overtaken, UnderWay
from ..interface import (
    Busy,
    DriverNotLoaded,
    DriverRefused,
    LeaseError,
    Lost,
    NotHeld,
    RunningOut,
    StoreUnavailable,
)
from .judge import PASSING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .store import Store

#: What `ps` shows: 15 bytes at most.
_TITLE = b"holdfast-nfs"
#: Bytes of a piece of a message. What is longer than a socket's room cannot be sent at all.
_PIECE = 1 << 16
#: What a piece begins with: whether it is the first one of its message, and whether the last one.
_FIRST, _LAST = 1, 2
#: Seconds in which the guard takes a piece, if it is there at all.
_ROOM = 10.0
#: Seconds in which the process is there.
_BIRTH = 5.0
#: Seconds between two looks of one in line whose last one failed.
_AGAIN = 2.0
_ERRORS: dict[str, type[LeaseError]] = {
    one.__name__: one
    for one in (DriverNotLoaded, DriverRefused, Lost, Overtaken, RunningOut, StoreUnavailable, UnderWay)
}


class Hand:
    """The other end of it: asks, and waits no longer than it says. make: gives the store, in that process."""

    def __init__(self, make: Callable[[], Store], poll: float) -> None:
        """Start the process. Raises OSError."""
        self._socket, theirs = sockets.pair()
        self._begun: list[bytes] = []
        try:
            # No child of ours: it is not collected with the service's processes, and may outlive us.
            child = forked(lambda: forked(lambda: _serve(theirs, make, poll)))
        finally:
            theirs.close()
        try:
            os.waitpid(child, 0)
        except ChildProcessError:
            pass  # The guard's loop has collected it.
        self._process = os.pidfd_open(int(self._receive("", time.monotonic() + _BIRTH)["pid"]))

    def fileno(self) -> int:
        """Give the descriptor that tells of the process's end."""
        return self._socket.fileno()

    def ask(self, verb: str, seconds: float, **arguments: Any) -> dict[str, Any]:
        """Have something done, and give the answer. seconds: how long that may take.

        Raises what went wrong there; StoreUnavailable if no answer came in time: it may still be done; RunningOut if the
        process is gone.
        """
        number = os.urandom(8).hex()
        self.tell(verb, id=number, **arguments)
        answer = self._receive(number, time.monotonic() + seconds)
        if "error" in answer:
            raise _error(answer)
        return answer

    def line(self, wanted: list[tuple[str, str]]) -> None:
        """Wait until all of *wanted* is likely to be had, for ever, in a process beside the guard, which may go on asking.

        Raises what went wrong there; RunningOut if nobody looks any more.
        """
        # The answer comes on a socket of its own: of two who wait at one, each could take what is for the other.
        ours, theirs = sockets.pair()
        try:
            self._tell({"verb": "line", "wanted": wanted}, theirs.fileno())
        finally:
            theirs.close()
        begun: list[bytes] = []
        answer = None
        while answer is None:
            answer = _joined(begun, _piece(ours))
        if "error" in answer:
            raise _error(answer)

    def tell(self, verb: str, **arguments: Any) -> None:
        """Have something done, without an answer. Raises RunningOut, StoreUnavailable."""
        self._tell({"verb": verb, **arguments})

    def _tell(self, message: dict[str, Any], descriptor: int = -1) -> None:
        try:
            _send(self._socket, message, 0.0, descriptor)
        except BlockingIOError:
            raise StoreUnavailable("the NFS server does not answer") from None
        except OSError:
            raise _gone() from None

    def _receive(self, number: str, deadline: float) -> dict[str, Any]:
        """Wait for an answer; those to earlier questions, which nobody waits for any more, are passed over."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        while True:
            if not poll.poll(max(deadline - time.monotonic(), 0.0) * 1000):
                raise StoreUnavailable("the NFS server does not answer")
            answer = self._read()
            if answer is not None and answer.get("id") == number:
                return answer

    def _read(self, flags: int = 0) -> dict[str, Any] | None:
        """Take a piece in; give the message if it was the last one. Raises RunningOut, BlockingIOError."""
        return _joined(self._begun, _piece(self._socket, flags))

    def look(self) -> None:
        """See whether the process is still there, without waiting. Raises RunningOut."""
        try:
            while True:
                self._read(sockets.MSG_DONTWAIT)
        except BlockingIOError:
            return

    def close(self) -> None:
        """Ask nothing more. It ends when the tree is gone, if there is one, and what it has in hand is done."""
        if self._socket.fileno() >= 0:
            self._socket.close()
            os.close(self._process)

    def end(self, seconds: float) -> None:
        """Ask nothing more of it, and give it up if it has not ended in that time. The tree is gone."""
        if self._socket.fileno() >= 0:
            self._socket.close()
            poll = select.poll()
            poll.register(self._process, select.POLLIN)
            if not poll.poll(seconds * 1000):
                self._kill()
            os.close(self._process)

    def kill(self) -> None:
        """Give it up. What it holds is free when the kernel has ended it."""
        self._kill()
        self.close()

    def _kill(self) -> None:
        try:
            signal.pidfd_send_signal(self._process, signal.SIGKILL)
        except OSError:
            pass


def _send(end: sockets.Socket, message: dict[str, Any], patience: float, descriptor: int = -1) -> None:
    """Send a message in as many pieces as it needs, each within *patience* seconds, the last with *descriptor*. Raises OSError."""
    data = json.dumps(message).encode()
    flags = sockets.MSG_DONTWAIT | sockets.MSG_NOSIGNAL
    for at in range(0, len(data), _PIECE):
        last = at + _PIECE >= len(data)
        piece = bytes(((_FIRST if at == 0 else 0) | (_LAST if last else 0),)) + data[at : at + _PIECE]
        passed = [descriptor] if last and descriptor >= 0 else []
        try:
            sockets.send(end, piece, passed, flags)
        except BlockingIOError:
            poll = select.poll()
            poll.register(end, select.POLLOUT)
            poll.poll(patience * 1000)
            sockets.send(end, piece, passed, flags)


def _piece(end: sockets.Socket, flags: int = 0) -> bytes:
    """Take a piece in. Raises RunningOut, BlockingIOError."""
    try:
        data = end.recv(_PIECE + 1, flags)
    except BlockingIOError:
        raise
    except OSError:
        data = b""
    if not data:
        raise _gone()
    return data


def _joined(begun: list[bytes], piece: bytes) -> dict[str, Any] | None:
    """Add a piece to those of its message that have come; give the message when it is whole."""
    if piece[0] & _FIRST:
        # One before that was not ended never will be: its sender has lost his patience.
        begun[:] = [b""]
    if not begun:
        return None
    begun.append(piece[1:])
    if not piece[0] & _LAST:
        return None
    data = b"".join(begun)
    begun.clear()
    return dict(json.loads(data))


def _gone() -> RunningOut:
    return RunningOut("the process that has the locks on NFS has ended")


def _error(answer: dict[str, Any]) -> LeaseError:
    kind, text = answer["error"], str(answer.get("text", ""))
    if kind == "Busy":
        return Busy(answer["resource"], answer["holders"])
    if kind == "NotHeld":
        return NotHeld(answer["resource"], answer["tenant"])
    return _ERRORS.get(kind, LeaseError)(text)


def _told(error: Exception, store: Store) -> dict[str, Any]:
    """Put an error into words that `_error` understands."""
    if isinstance(error, Busy):
        return {"error": "Busy", "resource": error.resource, "holders": error.holders}
    if isinstance(error, NotHeld):
        return {"error": "NotHeld", "resource": error.resource, "tenant": store.tenant}
    if isinstance(error, OSError):
        kind = "StoreUnavailable" if error.errno in PASSING else "LeaseError"
        return {"error": kind, "text": f"{error.filename or store.directory}: {error.strerror or error}"}
    kind = type(error).__name__
    return {"error": kind, "text": str(error) if isinstance(error, LeaseError) else f"{kind}: {error}"}


# -- in the process


def _serve(pair: sockets.Socket, make: Callable[[], Store], poll: float) -> None:
    """Be the hand, until the guard is gone, or has no use for it any more."""
    stand_aside(_TITLE)
    place = keep_only(pair.detach())
    os.chdir("/")
    served = _Served(sockets.Socket(fileno=place), make(), poll)
    served.answer({"id": "", "pid": os.getpid()})
    while served.turn():
        pass
    served.store.outlive()


class _Served:
    """One guard and its store."""

    def __init__(self, pair: sockets.Socket, store: Store, pause: float) -> None:
        self.store = store
        self._socket = pair
        self._pause = pause
        self._begun: list[bytes] = []
        self._poll = select.poll()
        self._poll.register(pair, select.POLLIN)
        #: Where one in line hears that it is his turn, and what he wants.
        self._line: sockets.Socket | None = None
        self._wanted: list[tuple[str, str]] = []
        self._next = self._since = 0.0
        #: Whether those who come before it have had the time to look since it was seen to be free.
        self._left_to_others = False

    def turn(self) -> bool:
        """Do the next thing that is to be done; False if there is nobody any more who wants anything."""
        times = [self.store.overdue_in()] + ([self._next - time.monotonic()] if self._line is not None else [])
        known = [seconds for seconds in times if seconds is not None]
        if not self._poll.poll(max(min(known), 0.0) * 1000 if known else None):
            self.store.run_out()
            self._look()
            return True
        try:
            data, descriptors, _more = sockets.receive(self._socket, _PIECE + 1, 1)
        except OSError:
            data, descriptors = b"", []
        if not data:
            return False
        request = _joined(self._begun, data)
        if request is None:
            return True
        verb = request["verb"]
        if verb in ("line", "rest", "acquire"):
            # Whoever asks for what he has stood in line for, or for another place, has left it.
            self._leave()
        if verb == "line":
            # Without one there was no room for it here, and the one in line hears that nobody looks.
            self._line = sockets.Socket(fileno=descriptors[0]) if descriptors else None
            self._wanted, self._next, self._since = request["wanted"], 0.0, time.monotonic()
            self._left_to_others = False
        elif verb != "rest":
            self._do(request)
        return True

    def _leave(self, **answer: Any) -> None:
        """Let one in line go, with *answer* if there is one."""
        line, self._line = self._line, None
        if line is not None:
            if answer:
                _answer(line, answer)
            line.close()

    def _do(self, request: dict[str, Any]) -> None:
        verb, number = request.pop("verb"), request.pop("id", None)
        try:
            result = getattr(self.store, verb)(**request)
            answer = result if isinstance(result, dict) else {"result": result}
        except Exception as error:
            # The next renewal says it, if it is about one that is not answered.
            answer = _told(error, self.store)
        if number is not None:
            self.answer({**answer, "id": number})

    def _look(self) -> None:
        if self._line is None or self._next > time.monotonic():
            return
        try:
            free, pause = self.store.may_have(self._wanted, time.monotonic() - self._since), self._pause
        except DriverRefused as error:
            # That does not change by waiting.
            self._leave(**_told(error, self.store))
            return
        except (LeaseError, OSError):
            free, pause = False, max(self._pause, _AGAIN)
        first = self.store.preference.pause
        if free and first and not self._left_to_others:
            # Who comes before us gets it meanwhile, if he is there. Then we look again.
            self._left_to_others, self._next = True, time.monotonic() + first
            return
        self._left_to_others = False
        if free:
            self._leave(free=True)
        # Not all at the same time.
        self._next = time.monotonic() + pause * (0.9 + 0.2 * os.urandom(1)[0] / 255)

    def answer(self, answer: dict[str, Any]) -> None:
        """Say it; if nobody listens any more, the next turn finds that out."""
        _answer(self._socket, answer)


def _answer(end: sockets.Socket, answer: dict[str, Any]) -> None:
    try:
        _send(end, answer, _ROOM)
    except OSError:
        pass
