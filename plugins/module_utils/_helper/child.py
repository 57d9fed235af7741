# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a worker does between the fork and its work: it keeps what its operation declares and nothing else. PRIVATE to the collection.

All of this runs in the child, which never returns to what the helper was doing. Its control socket says what there is to
do; when that is closed before anything came, the child goes without having done anything.
"""

from __future__ import annotations

import fcntl
import marshal
import os
import resource
import sys

from .._lean import json, signal
from .._supervise._embedded.loop import Turns
from .._varlink import sockets
from . import capabilities, function, memory, passing, paths, seccomp
from .agreed import ANNOUNCEMENT, CONTROL, MESSAGE, REFUSED, RESULT
from .trust import untrusted

TYPE_CHECKING = False
if TYPE_CHECKING:
    import types
    from typing import Any

    from .operations import Operation, Path

#: What a program's input and output are.
_STREAMS = {"input": 0, "output": 1}
#: First descriptor of the files that a worker gets for its path parameters.
_PATHS = 10
#: Descriptors that a worker may have.
_DESCRIPTORS = 1024
#: Seconds in which work comes that was announced, unless the announcement was wrong.
ANNOUNCED = 200e-6
#: Longest piece of work, in bytes: a request is shorter; and how long it usually is at most.
_LONGEST, _USUAL = 262144, 4096
#: Signals that Python ignores, or the helper handles.
_DEFAULTS = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


#: Filters of system calls that were made, by what they depend on.
_filters: dict[tuple[tuple[int, ...], tuple[str, ...]], bytes] = {}

_encode = json.writer((",", ":"), allow_nan=False, checked=True)


class Refused(Exception):
    """A parameter is not what was declared; the text begins with its name."""


class Unable(Exception):
    """This host can't do what the operation declares."""


class Answer:
    """What a child answers. last: it is of no further use; returned: a descriptor for the caller, -1 for none."""

    __slots__ = ("data", "last", "returned")

    def __init__(self, data: bytes, last: bool = False, returned: int = -1) -> None:
        self.data = data
        self.last = last
        self.returned = returned

    def send(self) -> None:
        """Answer the helper."""
        if self.returned < 0:
            os.write(CONTROL, self.data)
            return
        try:
            passing.give(CONTROL, self.data, self.returned)
        except OSError as error:
            os.write(CONTROL, _encode({"raised": function.told(error, MESSAGE)}).encode())
        finally:
            os.close(self.returned)


def settle(out: int, err: int, control: int, *passed: int) -> None:
    """Have standard input, the outputs, the control socket and what is *passed*, and nothing else of the helper's."""
    lifted = [fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, 64) for one in (out, err, control, *passed)]
    lifted.insert(0, fcntl.fcntl(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC), fcntl.F_DUPFD_CLOEXEC, 64))
    for number, descriptor in enumerate(lifted):
        # The control socket ends with an exec: a program has its outputs, what is passed and the paths.
        os.dup2(descriptor, number, inheritable=number != CONTROL)
    os.closerange(len(lifted), max(map(int, os.listdir("/proc/self/fd"))) + 1)
    signal.set_wakeup_fd(-1)
    for number in _DEFAULTS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.setsid()
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _lower(resource.RLIMIT_NOFILE, _DESCRIPTORS)
    capabilities.no_new_privileges()


def prepare(operations: dict[str, Operation]) -> None:
    """Do beforehand what is the same for all children that are forked from here, and give up what nobody declares."""
    os.environ.clear()
    if os.geteuid() == 0:
        capabilities.bound([number for operation in operations.values() for number in operation.capabilities])
    for operation in operations.values():
        if operation.filtered:
            try:
                _filter(operation)
            except Unable:
                pass  # For the caller.
    function.rehearse()


def fresh(
    operations: dict[str, Operation],
    parent: int,
    more: dict[str, str] | None = None,
    prepared: Operation | None = None,
) -> bool:
    """Wait for one piece of work and do it, with *more* in its environment; says whether that was a function, now answered.

    prepared: the program that it will be, if that is known: all that it does not declare is given up beforehand.
    """
    user = os.geteuid()
    os.environ.clear()
    failure: Exception | None = None
    if prepared is not None:
        try:
            _privileges(prepared)
        except (OSError, Unable) as error:
            # For the caller. Whoever ended here would be replaced at once, by one that ends as well.
            failure = error
    work = _only_work(prepared is not None)
    if not work:
        return False
    name, values = marshal.loads(work)
    operation = operations[name]
    if operation.function is None:
        if prepared not in (None, operation):
            raise Unable("prepared for another operation")
        os.write(CONTROL, _cannot(_become(operation, values, more or {}, user, prepared is not None, failure)))
        return False
    called = _prepared(operation, parent, more)
    answer = Answer(_cannot(called)) if isinstance(called, str) else _called(operation, called, values)
    for output in (sys.stdout, sys.stderr):
        output.flush()
    answer.send()
    return True


def _only_work(prepared: bool) -> bytes:
    """Wait for the work of a process that has no other, b"" for none; for some that was announced, as one of the pool does.

    Who is *prepared*, and so about to be a program, sees to its memory then, while the helper reads the request.
    """
    control = sockets.Socket(sockets.AF_UNIX, sockets.SOCK_SEQPACKET, 0, os.dup(CONTROL))
    # No longer than the usual: what is touched here an exec has to throw away.
    room = bytearray(_USUAL)
    awake = Turns()
    looks = False
    try:
        while True:
            flags = sockets.MSG_PEEK | sockets.MSG_TRUNC | (sockets.MSG_DONTWAIT if looks else 0)
            try:
                length = control.recv_into(room, 0, flags)
            except BlockingIOError:
                looks = awake.take()
                continue
            work = control.recv(length) if length else b""
            if work != ANNOUNCEMENT:
                return work
            awake.begin(ANNOUNCED)
            looks = True
            if prepared:
                # Once: what else may come by the connection of a caller has it awake, and that is all.
                prepared = False
                memory.leave()
    finally:
        control.close()


def rehearse(operation: Operation) -> None:
    """Go the way of a call like *operation*'s up to where something would happen.

    After a fork each page that is touched is copied first, which takes longer than the rest of the way: before the call
    there is time for it. Not more than that way, though: an exec has all of it to throw away; and not when the call has come.
    """
    control = sockets.Socket(sockets.AF_UNIX, sockets.SOCK_SEQPACKET, 0, os.dup(CONTROL))
    try:
        marshal.loads(marshal.dumps((operation.name, {"parameter": "value"})))
        task = operation.work({})
        capabilities.rehearse()
        resource.getrlimit(resource.RLIMIT_AS)
        os.chdir("/")
        if _has_work(control):
            return
        if operation.filtered:
            seccomp.rehearse(_filter(operation))
        if operation.function is None:
            untrusted("/bin/sh")
            memory.rehearse()
            # There is no program of that name.
            os.execve("", ["-"], task.environment)
        else:
            os.environ.update(task.environment)
            os.environ.clear()
            function.read(operation.function[0])
            if _has_work(control):
                return
            function.rehearse()
            _encode({"result": None})
    except (OSError, function.Unusable, Unable):
        pass
    finally:
        control.close()


def _has_work(control: sockets.Socket) -> bool:
    """Say whether work has come, or the end. It is said to come before it does; that is passed over."""
    flags = sockets.MSG_DONTWAIT | sockets.MSG_PEEK
    try:
        while control.recv(len(ANNOUNCEMENT) + 1, flags) == ANNOUNCEMENT:
            control.recv(len(ANNOUNCEMENT))
    except BlockingIOError:
        return False
    return True


def pooled(operations: dict[str, Operation], operation: Operation, parent: int) -> None:
    """Call functions of the operation's class as often as we are asked to, until the helper closes the socket."""
    called = _prepared(operation, parent)
    # Made once: a piece of this size comes from the kernel, page by page, and goes back to it.
    room = memoryview(bytearray(_LONGEST))
    control = sockets.Socket(sockets.AF_UNIX, sockets.SOCK_SEQPACKET, 0, CONTROL)
    awake = Turns()
    last = False
    while not last:
        length = _next_work(control, room, awake)
        if not length:
            return
        name, values = marshal.loads(room[:length])
        if isinstance(called, str):
            answer = Answer(_cannot(called, True), True)
        else:
            answer = _called(operations[name], called, values)
        answer.send()
        last = answer.last


def _next_work(control: sockets.Socket, room: memoryview, awake: Turns) -> int:
    """Wait for the next piece of work; gives its length, 0 for the end.

    One that was announced is waited for without sleep for a moment: to be woken takes longer than the helper takes to send it.
    """
    looks = False
    while True:
        try:
            length = control.recv_into(room, 0, sockets.MSG_DONTWAIT if looks else 0)
        except BlockingIOError:
            looks = awake.take()
            continue
        if length != len(ANNOUNCEMENT):
            return length
        awake.begin(ANNOUNCED)
        looks = True


def _cannot(reason: str, last: bool = False) -> bytes:
    """Say why the work was not begun; last: and that this process ends."""
    return json.dumps({"cannot": reason[:4000], "last": last}).encode()


# --- Functions ---------------------------------------------------------------------------------------------------


def _prepared(operation: Operation, parent: int, more: dict[str, str] | None = None) -> types.ModuleType | str:
    """Give up what the operation does not declare and load its file: the module, or why there is none."""
    declared = operation.function
    if declared is None:
        return "there is no function"
    try:
        # Read before the user changes, who need not be able to; run after it.
        text = function.read(declared[0])
        os.environ.clear()
        os.environ.update(operation.work({}).environment)
        os.environ.update(more or {})
        _privileges(operation)
        _limit_memory(operation)
        capabilities.die_with(parent)
        os.chdir(operation.directory)
        return function.load(declared[0], text)
    except (function.Unusable, Unable) as error:
        return str(error)
    except OSError as error:
        return f"{declared[0]}: {error.strerror or error}"


def _called(operation: Operation, module: types.ModuleType, values: dict[str, Any]) -> Answer:
    """Call a function: what is to be answered."""
    declared = operation.function
    if declared is None:
        return Answer(_cannot("there is no function", True), True)
    called = getattr(module, declared[1], None)
    if not callable(called):
        return Answer(_cannot(f"{declared[0]}: there is no function {declared[1]}"))
    opened: list[int] = []
    passed: list[int] = []
    try:
        if operation.descriptors:
            passed = _passed(operation, values, False)
        if operation.has_paths:
            for path in operation.work(values).paths:
                descriptor, values[path.parameter] = _open(path, operation.account)
                opened.append(descriptor)
        result = called(**values)
        if operation.returns is not None:
            return Answer(b'{"result":0}', returned=passing.returned(operation.returns, result, passed))
        answer = _encode({"result": result})
        if len(answer) > RESULT:
            raise ValueError(f"the result is longer than {RESULT} bytes of JSON")
        return Answer(answer.encode())
    except Refused as error:
        return Answer(_cannot(f"{REFUSED}{error}"))
    except BaseException as error:  # SystemExit and the like end this process and nobody else
        last = isinstance(error, MemoryError) or not isinstance(error, Exception)
        return Answer(_encode({"raised": function.told(error, MESSAGE), "last": last}).encode(), last)
    finally:
        for descriptor in opened:
            os.close(descriptor)
        passing.close(passed)


def _passed(operation: Operation, values: dict[str, Any], inherit: bool) -> list[int]:
    """Take the descriptors of a call. Raises Refused."""
    if not any(name in values for name in operation.descriptors):
        return []
    try:
        return passing.take(CONTROL, operation.parameters, values, inherit)
    except passing.Refused as error:
        raise Refused(str(error)) from None
    except OSError as error:
        raise Refused(f"descriptors: {error.strerror}") from None


# --- Programs ----------------------------------------------------------------------------------------------------


def _become(
    operation: Operation,
    values: dict[str, Any],
    more: dict[str, str],
    user: int,
    prepared: bool,
    failure: Exception | None,
) -> str:
    """Become the program, with *more* in its environment; returns only to say why not.

    user: who we were in the beginning; prepared: whether privileges have been given up already; failure: why that did not work.
    """
    program = ""
    try:
        if operation.descriptors:
            _passed(operation, values, True)
            for name in operation.descriptors:
                stream = _STREAMS.get(operation.parameters[name].get("form", ""))
                if stream is not None and name in values:
                    os.dup2(values[name], stream)
                    os.close(values[name])
        work = operation.work(values)
        work.environment.update(more)
        program = work.argv[0]
        for path in work.paths:
            descriptor, work.argv[path.index] = _open(path, work.operation.account)
            os.set_inheritable(descriptor, True)
        reason = untrusted(program, user)
        if reason:
            return reason
        if failure is not None:
            raise failure
        if not prepared:
            _privileges(operation)
        _limit_memory(operation)
        os.chdir(operation.directory)
        os.execve(program, work.argv, work.environment)
    except Refused as error:
        return f"{REFUSED}{error}"
    except Unable as error:
        return str(error)
    except OSError as error:
        return f"{program}: {error.strerror or error}"
    except BaseException as error:  # nothing of the helper may go on in the child
        return f"{program}: {type(error).__name__}"


def _open(path: Path, account: tuple[int, int, list[int]] | None) -> tuple[int, str]:
    """Hold what a path parameter names: the descriptor of that, and the name under which it is found."""
    declared = path.declared
    try:
        held, rest = paths.hold(
            declared["within"],
            path.value,
            exists=declared.get("exists", True),
            create=declared.get("create", ""),
            crossing=declared.get("cross_mounts", False),
            owner=account[:2] if account else (0, 0),
        )
    except paths.Refused as error:
        raise Refused(f"{path.parameter}: {error}") from None
    except OSError as error:
        raise Refused(f"{path.parameter}: {error.strerror}") from None
    descriptor = fcntl.fcntl(held, fcntl.F_DUPFD_CLOEXEC, _PATHS)
    os.close(held)
    return descriptor, f"/proc/self/fd/{descriptor}{rest}"


def _privileges(operation: Operation) -> None:
    """Give up, for good, all that the operation does not declare."""
    if os.geteuid() == 0:
        if operation.account is None:
            raise Unable(f"there is no user {operation.user}")
        capabilities.bound(operation.capabilities)
        capabilities.become(*operation.account, operation.capabilities)
    elif operation.capabilities or operation.user not in ("root", str(os.geteuid())):
        raise Unable("only a helper that runs as root can give capabilities or be another user")
    if operation.filtered:
        seccomp.install(_filter(operation))


def _limit_memory(operation: Operation) -> None:
    if operation.memory_max is not None:
        _lower(resource.RLIMIT_AS, operation.memory_max)


def _filter(operation: Operation) -> bytes:
    key = (tuple(operation.capabilities), operation.forbid)
    if key not in _filters:
        try:
            _filters[key] = seccomp.compiled(operation.capabilities, operation.forbid)
        except KeyError:
            raise Unable("system calls can't be filtered on this machine, which the operation requires") from None
    return _filters[key]


def _lower(limit: int, value: int) -> None:
    hard = resource.getrlimit(limit)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(limit, (value, value))
