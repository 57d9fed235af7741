# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the zygote does: it forks a worker whenever the helper asks for one. PRIVATE to the collection.

It has a socket that leads to the helper and to nobody else, and nothing of the helper's besides. A worker is the helper's
child, not the zygote's (CLONE_PARENT), so there is nobody to be waited for here; the answer is its pid.
"""

from __future__ import annotations

import ctypes
import errno
import gc
import marshal
import os
import select

from .._lean import signal
from .._varlink import sockets
from . import capabilities, child, function
from .agreed import CONTROL, POOLED, PREPARED
from .zygote import CLONE, tell

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .operations import Operation

# include/uapi/linux/sched.h, include/uapi/linux/prctl.h
_CLONE_PARENT, _CLONE_CHILD_CLEARTID, _CLONE_CHILD_SETTID = 0x8000, 0x200000, 0x1000000
_CLONE_NEWPID = 0x20000000
_PR_SET_NAME, _PR_GET_TID_ADDRESS = 15, 40
#: How zygote and workers are called, in 15 letters: by their command line both are the helper.
ZYGOTE, WORKER = b"holdfast-zygote", b"holdfast-worker"
#: Longest request, in bytes, and most descriptors that come with one: a control socket, two outputs, a namespace.
_LONGEST, _MOST = 65536, 4

#: It keeps the interpreter's lock, so that the child has it too.
_libc = ctypes.PyDLL(None, use_errno=True)


def serve(control: int, operations: dict[str, Operation], parent: int, compiles: bool) -> None:
    """Be the zygote of the process *parent*, until that closes the other end of *control* or dies.

    compiles: whether it compiles the files of functions beforehand, for which it has to read them.
    """
    try:
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        child.settle(null, null, control)
        control = CONTROL
        _serve(operations, parent, compiles)
    except BaseException as error:
        tell(control, error)
        raise


def _serve(operations: dict[str, Operation], parent: int, compiles: bool) -> None:
    capabilities.die_with(parent)
    _libc.prctl(_PR_SET_NAME, ZYGOTE, 0, 0, 0)
    child.prepare(operations)
    gc.collect()
    gc.freeze()
    end = sockets.Socket(sockets.AF_UNIX, sockets.SOCK_SEQPACKET, 0, CONTROL)
    end.setblocking(True)
    clone = _Clone()
    began = False

    def start(live: Callable[[], None]) -> int:
        pid = clone()
        if pid == 0:
            try:
                # Its number is about to be that of another one.
                end.detach()
                live()
                os._exit(0)
            finally:
                os._exit(111)
        return pid

    files = sorted({one.function[0] for one in operations.values() if one.function is not None and compiles})
    waiting = select.poll()
    waiting.register(end, select.POLLIN)
    while True:
        # One by one, while nobody waits for us.
        while files and began and not waiting.poll(0):
            function.prepare(files.pop())
        work, descriptors, _more = sockets.receive(end, _LONGEST, _MOST)
        if not work:
            return
        answer = begin(work, descriptors, operations, start)
        for one in descriptors:
            os.close(one)
        end.send(str(answer).encode())
        began = True


def begin(
    work: bytes, descriptors: list[int], operations: dict[str, Operation], start: Callable[[Callable[[], None]], int]
) -> int:
    """Have *start* fork the worker that is asked for; gives its pid, or minus an error number."""
    kind, name, parent, environment = marshal.loads(work)
    control, *rest = descriptors
    operation = operations[name]
    namespace = rest.pop() if environment is not None else -1

    def live() -> None:
        _libc.prctl(_PR_SET_NAME, WORKER, 0, 0, 0)
        if kind == POOLED:
            null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
            child.settle(null, null, control)
            child.pooled(operations, operation, parent)
        else:
            child.settle(*rest, control)
            child.rehearse(operation)
            if child.fresh(operations, parent, environment, operation if kind == PREPARED else None):
                # The answer goes first: the end of a process takes longer than most functions, and may be on the same processor.
                os.read(CONTROL, 1)

    try:
        if namespace < 0:
            return start(live)
        own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _next_children(namespace)
            try:
                return start(live)
            finally:
                try:
                    _next_children(own)
                except OSError:
                    # Nobody else is to be born there.
                    os._exit(111)
        finally:
            os.close(own)
    except OSError as error:
        return -(error.errno or errno.EIO)


class _Clone:
    """fork(2), but that the child is our parent's."""

    def __init__(self) -> None:
        self._number = CLONE[os.uname().machine]
        self._flags = _CLONE_PARENT | signal.SIGCHLD
        self._address = ctypes.c_void_p()
        # Where glibc keeps the number of its thread, which its own fork has the kernel correct, too. musl has a lock there,
        # which nobody would open again.
        found = _libc.prctl(_PR_GET_TID_ADDRESS, ctypes.byref(self._address), 0, 0, 0) == 0 and self._address.value
        if found and ctypes.c_int.from_address(found).value == os.getpid():
            self._flags |= _CLONE_CHILD_SETTID | _CLONE_CHILD_CLEARTID
        _libc.syscall.restype = ctypes.c_long

    def __call__(self) -> int:
        """Give the child's pid, 0 in the child. Raises OSError."""
        python = ctypes.pythonapi
        zero, address = ctypes.c_long(0), self._address
        python.PyOS_BeforeFork()
        # Architectures differ in which of the last two is the address; the other one means nothing with these flags.
        pid = _libc.syscall(ctypes.c_long(self._number), ctypes.c_long(self._flags), zero, zero, address, address)
        if pid == 0:
            python.PyOS_AfterFork_Child()
            return 0
        number = ctypes.get_errno()
        python.PyOS_AfterFork_Parent()
        if pid < 0:
            raise OSError(number, os.strerror(number))
        return int(pid)


def _next_children(namespace: int) -> None:
    """Have children that are forked from now on begin in a pid namespace. Raises OSError."""
    if _libc.setns(namespace, _CLONE_NEWPID) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")
