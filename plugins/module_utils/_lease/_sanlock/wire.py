# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The daemon's socket: what goes over it, and how long an answer is waited for. PRIVATE to the collection.

Spoken here and not through libsanlock_client, whose calls wait without end for a daemon that is stopped. The structures
are those of sanlock.h, sanlock_resource.h and sanlock_admin.h; the numbers of the commands are those of sanlock_sock.h of
3.8, the version of the protocol is 1. All of them have the byte order of the host, as both ends are on it.
"""

from __future__ import annotations

import struct
import time

from ..._varlink import sockets
from ..interface import StoreUnavailable

_MAGIC, PROTOCOL = 0x04282010, 1

REGISTER, ADD_LOCKSPACE, STATUS, ACQUIRE, RELEASE, INQUIRE, RESTRICT = 1, 2, 5, 7, 8, 9, 10
HOST_STATUS, WRITE_LOCKSPACE, WRITE_RESOURCE, READ_LOCKSPACE = 15, 18, 19, 20
GET_HOSTS, READ_OWNERS, VERSION = 23, 24, 28
FORMAT_INDEX, LOOKUP, CREATE_RESOURCE = 35, 37, 38

#: Bytes that a name (of a lockspace, a resource, a client) may have.
NAME = 48
#: Resources in one call.
AT_ONCE = 8

# Flags of resources and lockspaces.
LVER, SHARED = 0x1, 0x4
ALIGN_1M, SECTOR_512 = 0x10, 0x100
# Flags of calls.
OWNER_NOWAIT = 0x8
NO_LOCKSPACE = 0x1
RESTRICT_ALL = 0x1

# Kinds of what STATUS tells; asked with one of them, it tells no further ones.
OF_DAEMON, OF_CLIENT, OF_LOCKSPACE, OF_RESOURCE, OF_HOST = 1, 2, 3, 4, 5

# What GET_HOSTS says of a host.
UNKNOWN, FREE, LIVE, FAIL, DEAD = 1, 2, 3, 4, 5

_HEADER = struct.Struct("=8I")
_VALUES, _VALUES_AT = struct.Struct("=ii"), 24
_DISK = struct.Struct("=1024sQII")
_RESOURCE = struct.Struct("=48s48sQQIIII")
_LOCKSPACE = struct.Struct("=48sQI4x")
_INDEX = struct.Struct("=IIQ48s")
ENTRY = struct.Struct("=48sQII")
_OPTIONS = struct.Struct("=48sII")
HOST = struct.Struct("=QQQII")
_STATE = struct.Struct("=III4xQ48sI4x")
_PATH_LIMIT = 1024
#: Bytes that an answer may have.
_LIMIT = 4 << 20


class SanlockError(Exception):
    """The daemon said no. code: its number, as in sanlock_rv.h, or that of the kernel, negative."""

    def __init__(self, code: int, doing: str) -> None:
        self.code = code
        super().__init__(f"{doing}: {_MEANINGS.get(code) or f'error {code}'}")


#: What people are told; for the others the number is what the manual and the daemon's log are searched for.
_MEANINGS = {
    -2: "not found (-2)",
    -13: "the daemon may not open it (-13)",
    -19: "the daemon cannot open it (-19)",
    -28: "no room is left on the storage, or the daemon has not joined the lockspace, or is giving it up (-28)",
    -202: "the storage did not answer in time (-202)",
    -203: "the watchdog cannot be used: wdmd is not running (-203)",
    -223: "there is none on the disk (-223)",
    -224: "was made by another version (-224)",
    -226: "belongs to another lockspace (-226)",
    -227: "belongs to another resource (-227)",
    -229: "is damaged: wrong checksum (-229)",
    -240: "has been granted since: its number is another one (-240)",
    -243: "held by a host that is alive (-243)",
    -262: "the host id is used by another host (-262)",
}


def disk(path: str, offset: int) -> bytes:
    """Give struct sanlk_disk."""
    return _DISK.pack(path.encode("utf-8", "surrogateescape"), offset, 0, 0)


def resource(lockspace: str, name: str, flags: int, path: str = "", offset: int = 0, number: int = 0) -> bytes:
    """Give struct sanlk_resource, with its disk if there is a path. number: the one that it has to have, with LVER."""
    head = _RESOURCE.pack(lockspace.encode(), name.encode(), number, 0, 0, 0, flags, 1 if path else 0)
    return head + (disk(path, offset) if path else b"")


def lockspace(name: str, host: int, flags: int, path: str, offset: int) -> bytes:
    """Give struct sanlk_lockspace."""
    return _LOCKSPACE.pack(name.encode(), host, flags) + disk(path, offset)


def index(name: str, flags: int, path: str, offset: int, most: int = 0) -> bytes:
    """Give struct sanlk_rindex, the index by which resources are found by name. most: how many, 0 for the default."""
    return _INDEX.pack(flags, most, 0, name.encode()) + disk(path, offset)


def head_of_lockspace(body: bytes) -> tuple[str, int, int]:
    """Read name, host id and flags of a struct sanlk_lockspace."""
    name, host, flags = _LOCKSPACE.unpack_from(body)
    return text(name), host, flags


def head_of_resource(body: bytes) -> tuple[int, bool, int]:
    """Read number and whether it is shared of a struct sanlk_resource, and where it ends."""
    fields = _RESOURCE.unpack_from(body)
    return fields[2], bool(fields[6] & SHARED), _RESOURCE.size


def entry(name: str) -> bytes:
    """Give struct sanlk_rentry."""
    return ENTRY.pack(name.encode(), 0, 0, 0)


def options(owner: str) -> bytes:
    """Give struct sanlk_options: what the daemon shows as the name of a client."""
    return _OPTIONS.pack(owner.encode("utf-8", "replace")[:NAME], 0, 0)


def text(field: bytes) -> str:
    """Read a name of fixed width."""
    return field.split(b"\0", 1)[0].decode("utf-8", "replace")


class State:
    """One thing that STATUS tells of. words: its own NAME=VALUE pairs. number: pid or host id. value: depends on kind."""

    __slots__ = ("kind", "name", "number", "value", "words")

    def __init__(self, kind: int, number: int, value: int, name: str, words: dict[str, str]) -> None:
        self.kind = kind
        self.number = number
        self.value = value
        self.name = name
        self.words = words


class Connection:
    """One connection to the daemon. Not to be used by two threads at a time."""

    def __init__(self, path: str, patience: float) -> None:
        """Connect, or stop trying after *patience* seconds. Raises StoreUnavailable."""
        self.path = path
        self._seq = 0
        self._read = bytearray()
        self._socket = sockets.Socket(sockets.AF_UNIX, sockets.SOCK_STREAM)
        try:
            self._socket.settimeout(patience)
            self._socket.connect(path)
        except OSError as error:
            self._socket.close()
            raise StoreUnavailable(f"{path}: {error.strerror or error}; does the daemon sanlock run?") from None

    def fileno(self) -> int:
        """Give its descriptor, -1 after `close`."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close it. If nobody has a copy of it, the daemon gives back what was acquired by it."""
        self._socket.close()

    def register(self) -> None:
        """Have our process known as the one that is to be ended if the lockspace fails. Raises StoreUnavailable."""
        self._send(REGISTER, 0, 0, 0, b"", time.monotonic() + 1.0)

    def call(
        self,
        command: int,
        body: bytes,
        patience: float,
        flags: int = 0,
        data: int = 0,
        data2: int = 0,
    ) -> tuple[int, int, bytes]:
        """Ask, and give the answer's two numbers and what follows. Raises StoreUnavailable if there is none in time.

        The answer may come after that, and the next call passes over it.
        """
        deadline = time.monotonic() + patience
        seq = self._send(command, flags, data, data2, body, deadline)
        while True:
            found, first, second, rest = self._answer(deadline)
            # The answer to VERSION has no number.
            if found in (seq, 0):
                return first, second, rest

    def states(self, command: int, body: bytes, patience: float, data: int = 0) -> list[State]:
        """Ask for a list of states, which the daemon ends by closing. Raises StoreUnavailable, SanlockError."""
        deadline = time.monotonic() + patience
        self._send(command, 0, data, 0, body, deadline)
        _seq, result, _second, _rest = self._answer(deadline)
        if result:
            raise SanlockError(result, "status")
        found: list[State] = []
        while self._more(deadline):
            kind, _flags, number, value, name, length = _STATE.unpack(self._take(_STATE.size, deadline))
            line = text(self._take(length, deadline))
            state = State(kind, number, value, text(name), dict(word.partition("=")[::2] for word in line.split()))
            found.append(state)
            if kind == OF_LOCKSPACE:
                self._take(_LOCKSPACE.size + _DISK.size, deadline)
            elif kind == OF_RESOURCE:
                described = _RESOURCE.unpack(self._take(_RESOURCE.size, deadline))
                self._take(described[7] * _DISK.size, deadline)
                state.words["lockspace"] = text(described[0])
        return found

    def ended(self) -> bool:
        """Say whether the daemon has closed it, without waiting."""
        try:
            self._socket.settimeout(0)
            return self._socket.recv(1, sockets.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _send(self, command: int, flags: int, data: int, data2: int, body: bytes, deadline: float) -> int:
        self._seq += 1
        length = _HEADER.size + len(body)
        numbers = (data & 0xFFFFFFFF, data2 & 0xFFFFFFFF)
        message = _HEADER.pack(_MAGIC, PROTOCOL, command, flags, length, self._seq, *numbers) + body
        self._until(deadline)
        try:
            self._socket.sendall(message)
        except OSError as error:
            raise self._failure(error) from None
        return self._seq

    def _answer(self, deadline: float) -> tuple[int, int, int, bytes]:
        """Give the next answer: its number, its two values, what follows. One that is not complete yet stays."""
        self._fill(_HEADER.size, deadline)
        fields = _HEADER.unpack_from(self._read)
        magic, length, seq = fields[0], fields[4], fields[5]
        if magic != _MAGIC or not _HEADER.size <= length <= _LIMIT:
            raise StoreUnavailable(f"{self.path}: is not answered by sanlock")
        message = self._take(length, deadline)
        first, second = _VALUES.unpack_from(message, _VALUES_AT)
        return seq, first, second, message[_HEADER.size :]

    def _take(self, length: int, deadline: float) -> bytes:
        self._fill(length, deadline)
        taken = bytes(self._read[:length])
        del self._read[:length]
        return taken

    def _fill(self, length: int, deadline: float) -> None:
        while len(self._read) < length:
            if not self._receive(deadline):
                raise Ended(f"{self.path}: the daemon sanlock has ended")

    def _more(self, deadline: float) -> bool:
        return bool(self._read) or self._receive(deadline)

    def _receive(self, deadline: float) -> bool:
        """Read what there is; False at the end. Raises StoreUnavailable."""
        self._until(deadline)
        try:
            part = self._socket.recv(65536)
        except OSError as error:
            raise self._failure(error) from None
        self._read += part
        return bool(part)

    def _until(self, deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise self._failure(sockets.timeout())
        self._socket.settimeout(left)

    def _failure(self, error: OSError) -> StoreUnavailable:
        if isinstance(error, (sockets.timeout, BlockingIOError)):
            return StoreUnavailable(f"{self.path}: the daemon sanlock does not answer")
        return Ended(f"{self.path}: the daemon sanlock has ended ({error.strerror or error})")


class Ended(StoreUnavailable):
    """The connection was closed from the other end: the daemon is gone."""


def long_path(path: str) -> bool:
    """Say whether the daemon cannot be told this path."""
    return len(path.encode("utf-8", "surrogateescape")) >= _PATH_LIMIT
