# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Calls operations of the privileged helper. PRIVATE to the collection.

A connection is kept for the next call of the same process, and used by one thread at a time; one that turns out to be
from before a restart of the helper is thrown away, and the call made over a new one. A call has an id, made here unless
the caller has one; when the connection is lost it is made again under the same id, and the helper, which has a journal,
decides: it begins what never began, gives the answer of what has ended, repeats what may be repeated, and refuses the
rest as unknown.
"""

from __future__ import annotations

import os
import time

from .._varlink.client import Connection, ConnectionLost, VarlinkError
from .._varlink.codec import BadMessage
from . import down, interface

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

SOCKET = "/run/holdfast-helper/socket"
#: How often a call is tried before its caller is told that there is no helper, and the seconds between.
TRIES, PAUSE = 3, 1.0
#: Seconds to wait for a helper that was never there.
FIRST_LAUNCH = 30.0
#: Seconds to wait for an answer.
ANSWER = 300.0
#: Connections that wait for the next call.
KEPT = 4

_AGAIN = (interface.STOPPING,)


class HelperError(Exception):
    """The helper refused a call, or it failed. `name` is the error without the interface, such as NotAllowed."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


class HelperGone(HelperError):
    """No helper answers; the call was not begun. Whoever supervises the caller should know."""


class HelperDown(HelperGone):
    """There is no helper, and none is to be expected: it was stopped on purpose, or can't start. Told at once."""


class OutcomeUnknown(HelperError):
    """The call began, and nobody knows whether it ended; `id` names it for `Helper.outcome`. It was not made again."""

    def __init__(self, id_: str, message: str) -> None:
        super().__init__("OutcomeUnknown", message)
        self.id = id_


class Helper:
    """The helper behind *path*. For any number of threads, and over forks.

    first_launch: seconds in which a helper that has never been there may come up; pause: seconds between tries; answer:
    seconds for the answer of a call; tries: how often a call is tried.
    """

    def __init__(
        self,
        path: str = SOCKET,
        first_launch: float = FIRST_LAUNCH,
        pause: float = PAUSE,
        answer: float = ANSWER,
        tries: int = TRIES,
    ) -> None:
        self.path = path
        self.first_launch = first_launch
        self.pause = pause
        self.tries = tries
        self.answer = answer
        #: Connections that nobody uses now, each with the process that made it. Appending and popping need no lock.
        self._kept: list[tuple[int, Connection]] = []

    def close(self) -> None:
        """Close the connections that are kept; the next call makes a new one."""
        while self._kept:
            self._kept.pop()[1].close()

    def call(
        self,
        operation: str,
        parameters: dict[str, Any] | None = None,
        id_: str = "",
        timeout: float | None = None,
        descriptors: dict[str, int] | None = None,
    ) -> dict[str, Any]:
        """Run an operation and give exit, stdout, stderr, truncated, duration and, of a function, result.

        Raises HelperGone, OutcomeUnknown, and HelperError for what the helper refused or could not do. A program that
        ended with another exit code than 0 is no error here. timeout: seconds after which the helper ends the call, unless
        others wait for it too; the error is DeadlinePassed. descriptors: those that are parameters, by name; they stay
        open here.
        """
        id_ = id_ or os.urandom(16).hex()
        request = _request(operation, parameters, id_, timeout, descriptors)
        return self._ask("Call", request, id_, tuple((descriptors or {}).values()))[0]

    def open(
        self,
        operation: str,
        parameters: dict[str, Any] | None = None,
        timeout: float | None = None,
        descriptors: dict[str, int] | None = None,
    ) -> int:
        """Run an operation that returns a descriptor and give that, which is the caller's to close. Raises as `call`."""
        id_ = os.urandom(16).hex()
        request = _request(operation, parameters, id_, timeout, descriptors)
        passed = self._ask("Call", request, id_, tuple((descriptors or {}).values()), opens=True)[1]
        if passed < 0:
            raise HelperError("Failed", f"{operation}: it ended, and returned no descriptor")
        return passed

    def stream(
        self, operation: str, parameters: dict[str, Any] | None = None, timeout: float | None = None
    ) -> Iterator[tuple[str, Any]]:
        """Run an operation and give what it writes as it comes: ("stdout", text), ("stderr", text), and last ("result", what
        `call` gives, without outputs).

        The program waits while nothing is asked for. It is not called again when the helper dies in its middle: raises
        OutcomeUnknown then, and else as `call`.
        """
        id_ = os.urandom(16).hex()
        request = {"operation": operation, "parameters": parameters or {}, "id": id_, "timeout": timeout}
        self._wait_for_first_launch()
        try:
            connection = Connection(self.path, min(self.answer, 10.0))
        except ConnectionLost as error:
            raise self._gone(str(error)) from None
        with connection:
            try:
                for reply in connection.stream(f"{interface.INTERFACE}.Stream", request, self.answer):
                    for name in ("stdout", "stderr", "result"):
                        if reply[name] is not None:
                            yield name, reply[name]
            except VarlinkError as error:
                raise _translated(error, id_) from None
            except ConnectionLost as error:
                raise OutcomeUnknown(id_, f"{error}; ask for the outcome of {id_}") from None

    def start(self, operation: str, parameters: dict[str, Any] | None = None, id_: str = "") -> dict[str, Any]:
        """Begin an operation as a job and give that, without waiting for its end. The same id again is the same job.

        Raises HelperGone, and HelperError for what the helper refused.
        """
        id_ = id_ or os.urandom(16).hex()
        parameters = {"operation": operation, "parameters": parameters or {}, "id": id_}
        return dict(self._ask("Start", parameters, id_)[0]["job"])

    def jobs(self) -> list[dict[str, Any]]:
        """Give the jobs of this user, of everybody to root; without their outputs. Raises HelperError."""
        return list(self._ask("Jobs", {}, "")[0]["jobs"])

    def job(self, id_: str, wait: bool = False, user: int | None = None) -> dict[str, Any]:
        """Give a job, with *wait* when it has ended, which may be `answer` seconds away. Raises HelperError."""
        return dict(self._ask("Job", {"id": id_, "wait": wait, "user": user}, "")[0]["job"])

    def follow(self, id_: str, user: int | None = None) -> Iterator[dict[str, Any]]:
        """Give a job at each change until it has ended. A restart of the helper is not noticed. Raises HelperError."""
        tries = TRIES
        trouble = ""
        while True:
            try:
                with Connection(self.path, min(self.answer, 10.0)) as connection:
                    parameters = {"id": id_, "user": user}
                    for reply in connection.stream(f"{interface.INTERFACE}.Job", parameters, self.answer):
                        tries = TRIES
                        yield dict(reply["job"])
                    return
            except VarlinkError as error:
                if error.name not in _AGAIN:
                    raise _translated(error, id_) from None
                trouble = str(error)
            except ConnectionLost as error:
                trouble = str(error)
            tries -= 1
            if not tries:
                raise HelperGone("HelperGone", f"no helper: {trouble}")
            time.sleep(self.pause)

    def cancel(self, id_: str, user: int | None = None) -> dict[str, Any]:
        """End a job with all that belongs to it, and give it when it has ended. Raises HelperError."""
        return dict(self._ask("Cancel", {"id": id_, "user": user}, "")[0]["job"])

    def hold(
        self,
        resource: str,
        parameters: dict[str, Any] | None = None,
        exclusive: bool = False,
        timeout: float | None = None,
    ) -> Held:
        """Hold a shared resource; gives what ends that. It ends with this process in any case.

        timeout: seconds to wait for it. Raises HelperGone, and HelperError for what the helper refused, DeadlinePassed and
        ResourceFailed among it.
        """
        return Held(self, resource, parameters or {}, exclusive, timeout)

    def resources(self) -> list[dict[str, Any]]:
        """Give the shared resources that this user may hold, as far as they are there. Raises HelperError."""
        return list(self._ask("Resources", {}, "")[0]["resources"])

    def operations(self) -> list[dict[str, Any]]:
        """Give the operations that this process may call. Raises HelperError."""
        return list(self._ask("Operations", {}, "")[0]["operations"])

    def outcome(self, id_: str) -> dict[str, Any]:
        """Give what became of a call of this user. Raises HelperError."""
        return self._ask("Outcome", {"id": id_}, "")[0]

    def _ask(
        self, method: str, parameters: dict[str, Any], id_: str, descriptors: tuple[int, ...] = (), opens: bool = False
    ) -> tuple[dict[str, Any], int]:
        """Give the answer, and the descriptor that came with it if one *opens*, else -1."""
        deadline = time.monotonic() + self.answer
        sent = False
        trouble = ""
        left = self.answer
        tries = 0
        while tries < self.tries:
            connection = self._take()
            if connection is None:
                tries += 1
                if tries > 1:
                    time.sleep(self.pause)
                else:
                    self._wait_for_first_launch()
                try:
                    connection = Connection(self.path, min(self.answer, 10.0))
                except ConnectionLost as error:
                    trouble = str(error)
                    if not sent and down.look(self.path):
                        break
                    continue
            try:
                name, passed = f"{interface.INTERFACE}.{method}", -1
                if opens:
                    reply, passed = connection.open(name, parameters, left, descriptors)
                else:
                    reply = connection.call(name, parameters, left, descriptors)
                self._keep(connection, descriptors)
                return reply, passed
            except VarlinkError as error:
                if error.name not in _AGAIN:
                    self._keep(connection, descriptors)
                    raise _translated(error, id_) from None
                trouble = str(error)
            except BadMessage as error:
                connection.close()
                raise HelperError("BadParameter", str(error)) from None
            except ConnectionLost as error:
                sent = sent or error.sent
                trouble = str(error)
            # What else is kept is from the same helper, which is gone or about to go.
            connection.close()
            self.close()
            left = deadline - time.monotonic()
            if left <= 0:
                break
        if sent and id_:
            raise OutcomeUnknown(id_, f"{trouble}; ask for the outcome of {id_}")
        raise self._gone(trouble)

    def _gone(self, trouble: str) -> HelperGone:
        """Tell a helper that is about to come back from one that is not."""
        reason = down.look(self.path)
        return HelperDown("HelperDown", reason) if reason else HelperGone("HelperGone", f"no helper: {trouble}")

    def _take(self) -> Connection | None:
        """Give a connection of this process that nobody uses."""
        while True:
            try:
                made_by, connection = self._kept.pop()
            except IndexError:
                return None
            if made_by == os.getpid():
                return connection
            # Our parent's, which goes on using its own end.
            connection.close()

    def _keep(self, connection: Connection, passed: tuple[int, ...] = ()) -> None:
        """Keep a connection for the next call; the helper ends one by which descriptors were *passed*."""
        if len(self._kept) < KEPT and not passed:
            self._kept.append((os.getpid(), connection))
        else:
            connection.close()

    def _wait_for_first_launch(self) -> None:
        """Wait while there is not even a dead helper's socket."""
        deadline = time.monotonic() + self.first_launch
        while not os.path.exists(self.path):
            if down.look(self.path):
                raise self._gone("")
            if time.monotonic() >= deadline:
                raise HelperGone("HelperGone", f"{self.path}: no helper came up in {self.first_launch:g} s")
            time.sleep(0.05)


class Held:
    """A reference to a shared resource. It is bound to a connection of its own; after a restart of the helper, to this process
    until `attach`.
    """

    def __init__(
        self, helper: Helper, resource: str, parameters: dict[str, Any], exclusive: bool, timeout: float | None
    ) -> None:
        self._helper = helper
        self.token = os.urandom(16).hex()
        mode = "exclusive" if exclusive else "shared"
        self._request = {"resource": resource, "parameters": parameters, "mode": mode, "token": self.token}
        self._timeout = timeout
        self._connection: Connection | None = None
        self.attach()

    def __enter__(self) -> Held:
        return self

    def __exit__(self, *_details: object) -> None:
        self.release()

    def fileno(self) -> int:
        """Give a descriptor that is readable when the connection was lost, and `attach` is called for."""
        return self._connection.fileno() if self._connection is not None else -1

    def attach(self) -> None:
        """Acquire, or bind what is held to a new connection. Raises HelperError; nothing is held, or it is still bound to the process."""
        helper = self._helper
        trouble = ""
        for attempt in range(helper.tries):
            if attempt:
                time.sleep(helper.pause)
            else:
                helper._wait_for_first_launch()
            connection = None
            try:
                connection = Connection(helper.path, min(helper.answer, 10.0))
                request = {**self._request, "timeout": self._timeout}
                connection.call(f"{interface.INTERFACE}.Acquire", request, (self._timeout or helper.answer) + 5)
            except VarlinkError as error:
                if connection is not None:
                    connection.close()
                if error.name not in _AGAIN:
                    raise _translated(error, self.token) from None
                trouble = str(error)
            except ConnectionLost as error:
                if connection is not None:
                    connection.close()
                trouble = str(error)
            else:
                if self._connection is not None:
                    self._connection.close()
                self._connection = connection
                return
        raise helper._gone(trouble)

    def release(self) -> None:
        """Hold it no longer. Said again it changes nothing. Raises HelperError when no helper heard it; it ends with this process then."""
        if self._connection is None:
            return
        self._connection.close()
        self._connection = None
        self._helper._ask("Release", {"token": self.token}, "")


def _request(
    operation: str,
    parameters: dict[str, Any] | None,
    id_: str,
    timeout: float | None,
    descriptors: dict[str, int] | None,
) -> dict[str, Any]:
    """Give the parameters of Call. Descriptors are named by their place among those that go with it."""
    given = parameters or {}
    if descriptors:
        given = {**given, **{name: place for place, name in enumerate(descriptors)}}
    request: dict[str, Any] = {"operation": operation, "parameters": given, "id": id_}
    if timeout is not None:
        request["timeout"] = timeout
    return request


def _translated(error: VarlinkError, id_: str) -> HelperError:
    name = error.name.rpartition(".")[2]
    details = error.parameters
    if error.name == interface.OUTCOME_UNKNOWN:
        return OutcomeUnknown(
            id_, f"{details.get('operation')}: the helper died in the middle; nobody knows how it ended"
        )
    if error.name == interface.NOT_ALLOWED:
        text = f"{details.get('operation')}: there is no such operation, or it is not for this user"
    elif error.name == interface.BAD_PARAMETER:
        text = f"parameter {details.get('parameter')}: {details.get('message')}"
    elif error.name == "org.varlink.service.InvalidParameter" and details.get("parameter") == "descriptors":
        text = "the helper has no operation to which descriptors are passed"
    elif error.name == interface.FAILED:
        text = f"{details.get('type')}: {details.get('message')}"
    elif error.name == interface.WORKER_DIED:
        text = f"{details.get('operation')}: its process died ({details.get('message')}) before it had an answer"
    elif error.name == interface.NO_SUCH_JOB:
        text = f"{details.get('id')}: there is no such job of this user"
    elif error.name == interface.NOT_ASYNCHRONOUS:
        text = f"{details.get('operation')}: can't be a job; its definition does not allow that"
    elif error.name == interface.CANCELLED:
        text = f"{details.get('operation')}: the job {details.get('id')} was cancelled"
    elif error.name == interface.DEADLINE_PASSED:
        text = f"not done after the {details.get('seconds'):g} s that the caller gave it; it was ended unless others wait for it"
    elif error.name == interface.RESOURCE_FAILED:
        text = f"{details.get('resource')}: could not be made: {details.get('message')}"
    elif error.name == interface.NOT_READABLE:
        text = f"{details.get('operation')}: can't be read as it runs; its definition does not allow that"
    elif error.name == interface.NOT_HELD:
        text = (
            f"{details.get('operation')}: this host does not hold {details.get('resource')}: {details.get('message')}"
        )
        if details.get("lost"):
            text = f"{details.get('operation')}: was killed when {details.get('resource')} was lost, nobody knows how far it came"
    elif error.name == interface.TIMEOUT:
        end = "hangs in the kernel and was abandoned" if details.get("abandoned") else "was killed"
        text = f"{details.get('operation')}: not done after {details.get('seconds'):g} s, {end}"
    elif error.name == interface.TOO_OFTEN:
        what = details.get("operation") or "all operations"
        text = f"{what}: {details.get('calls')} calls in {details.get('seconds'):g} s are allowed; the next one in "
        text += f"{details.get('retry_after'):g} s"
    else:
        text = str(details.get("message") or error)
    return HelperError(name, text)
