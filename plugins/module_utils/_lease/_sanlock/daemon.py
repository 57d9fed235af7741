# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the daemon of this host knows of one lockspace, and what it can be asked to do. PRIVATE to the collection.

Where things are, in units of the lockspace's alignment (1 MiB with sectors of 512 bytes):

    0       the lockspace: one sector for each host, which its daemon renews every 2 io_timeouts (a delta lease)
    1       the lease of whoever makes a resource, see index.py
    2, 3    sanlock's index of resources by name, and a lease of its own that guards its changes
    4 ...   the resources
"""

from __future__ import annotations

from ..interface import DriverRefused, LeaseError, StoreUnavailable
from . import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .parameters import Parameters

#: What sanlock answers while somebody else has what is wanted: EAGAIN, EBUSY, EEXIST (on this host); an orphan (EUCLEAN);
#: IDLIVE, OWNED, OTHER, SHRETRY, OWNED_RETRY of sanlock_rv.h.
BUSY = frozenset((-11, -16, -17, -117, -243, -244, -245, -246, -247))
#: The daemon is not able to say: no lockspace, or the storage does not work.
UNCLEAR = frozenset((-5, -28, -116, -202, *range(-222, -209), -241, -242))
NOT_FOUND, EXISTS, RUNNING, NO_MAGIC, NO_INDEX = -2, -17, -115, -223, -274
AGAIN = -11
#: The resource has not the number that it was to have.
CHANGED = -240
#: Seconds that questions to the daemon alone may take, those for which it reads the storage, and those for which it
#: writes a whole unit.
QUICK, READING, WRITING = 1.0, 3.0, 20.0
#: The units of the one who makes resources, of the index, and of the first resource.
MAKER_AT, INDEX_AT, FIRST_AT = 1, 2, 4
#: No resource of ours can have this name.
MAKER = "~making"


class Space:
    """The lockspace as this host has joined it. kept: when the host's lease was last renewed (CLOCK_MONOTONIC)."""

    __slots__ = ("dying", "flags", "generation", "host", "io_timeout", "joining", "kept", "unit")

    def __init__(self, state: wire.State) -> None:
        words = state.words
        self.host = state.value
        self.generation = int(words["host_generation"])
        self.io_timeout = int(words["io_timeout"])
        self.unit = int(words["align_size"])
        #: It is being given up: every process that uses it is killed.
        self.dying = words["list"] == "rem" or words["killing_pids"] != "0" or words["space_dead"] != "0"
        self.joining = words["list"] == "add"
        self.kept = int(words["renewal_last_success"])
        self.flags = flags_of(self.unit, int(words["sector_size"]))


class Described:
    """A lockspace as it is on the disk, by one host's record. unit: its alignment."""

    __slots__ = ("flags", "io_timeout", "name", "unit")

    def __init__(self, name: str, io_timeout: int, flags: int) -> None:
        self.name = name
        self.io_timeout = io_timeout
        self.flags = flags
        self.unit = (flags // wire.ALIGN_1M & 0xF) << 20


class Owner:
    """One host that holds a resource. number: the last grant's. stamp: its CLOCK_MONOTONIC at that, 0 if nobody says."""

    __slots__ = ("generation", "host", "number", "shared", "stamp")

    def __init__(self, host: int, generation: int, stamp: int, number: int, shared: bool) -> None:
        self.host = host
        self.generation = generation
        self.stamp = stamp
        self.number = number
        self.shared = shared


class Daemon:
    """The daemon at the socket of *parameters*. Every question has a connection of its own."""

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters

    def connect(self) -> wire.Connection:
        """Connect. Raises StoreUnavailable."""
        return wire.Connection(self._parameters.socket, QUICK)

    def call(
        self, command: int, body: bytes, patience: float, flags: int = 0, data: int = 0, data2: int = 0
    ) -> tuple[int, int, bytes]:
        """Ask one question. Raises StoreUnavailable."""
        connection = self.connect()
        try:
            return connection.call(command, body, patience, flags, data, data2)
        finally:
            connection.close()

    def _states(self, command: int, body: bytes = b"", data: int = 0) -> list[wire.State]:
        connection = self.connect()
        try:
            return connection.states(command, body, QUICK, data)
        except wire.SanlockError as error:
            raise StoreUnavailable(str(error)) from None
        finally:
            connection.close()

    # -- the daemon and the lockspace

    def version(self) -> tuple[tuple[int, int, int], int]:
        """Give the daemon's version and that of its protocol. Raises StoreUnavailable."""
        _first, number, _rest = self.call(wire.VERSION, b"", QUICK)
        return (number >> 24 & 0xFF, number >> 16 & 0xFF, number >> 8 & 0xFF), wire.PROTOCOL

    def itself(self) -> dict[str, str]:
        """Give what the daemon tells of itself. Raises StoreUnavailable."""
        (state,) = self._states(wire.STATUS, data=wire.OF_DAEMON)
        return state.words

    def space(self) -> Space | None:
        """Give the lockspace, None if it is not joined. Raises StoreUnavailable."""
        for state in self._states(wire.STATUS, data=wire.OF_LOCKSPACE):
            if state.kind == wire.OF_LOCKSPACE and state.name == self._parameters.lockspace:
                return Space(state)
        return None

    def tokens(self, pid: int) -> dict[str, int]:
        """Give the numbers of what the process *pid* holds here, by resource. Raises StoreUnavailable."""
        return {
            state.name: state.value
            for state in self._states(wire.STATUS)
            if state.kind == wire.OF_RESOURCE and state.number == pid and self._ours(state)
        }

    def clients(self, name: str) -> list[tuple[int, str, int]]:
        """Give pid, name and number of every process of this host that holds a resource. Raises StoreUnavailable."""
        states = self._states(wire.STATUS)
        names: dict[int, list[str]] = {}
        for state in states:
            if state.kind == wire.OF_CLIENT and state.name:
                names.setdefault(state.number, []).append(state.name)
        # A process may have several connections; which of them has what is not told.
        return [
            (state.number, (names.get(state.number) or [""]).pop(0), state.value)
            for state in states
            if state.kind == wire.OF_RESOURCE and state.name == name and self._ours(state) and state.number > 0
        ]

    def _ours(self, state: wire.State) -> bool:
        return state.words.get("lockspace") == self._parameters.lockspace

    def hosts(self) -> dict[int, tuple[int, int, int]]:
        """Give generation, io_timeout and state of every host that was seen, by host id. Raises StoreUnavailable."""
        result, count, rest = self.call(wire.GET_HOSTS, self._lockspace(0), QUICK)
        if result == AGAIN:
            name = self._parameters.lockspace
            raise StoreUnavailable(f"sanlock: the lockspace {name} has just been joined: the others are not known yet")
        if result:
            raise StoreUnavailable(f"{self._parameters.lockspace}: {wire.SanlockError(result, 'hosts')}")
        found = {}
        for at in range(count):
            host, generation, _stamp, io_timeout, flags = wire.HOST.unpack_from(rest, at * wire.HOST.size)
            found[host] = (generation, io_timeout, flags & 0xF)
        return found

    def names(self) -> dict[int, str]:
        """Give the names under which the hosts have joined, by host id. Raises StoreUnavailable."""
        states = self._states(wire.HOST_STATUS, self._lockspace(0))
        return {state.number: state.words.get("owner_name", "") for state in states}

    def join(self, host: int, io_timeout: int, patience: float) -> None:
        """Have the daemon join the lockspace, which takes 2 io_timeouts, or much longer after a crash.

        Raises DriverRefused, StoreUnavailable if it is not done after *patience* seconds: it goes on by itself.
        """
        body = self._lockspace(host)
        result, _second, _rest = self.call(wire.ADD_LOCKSPACE, body, patience, data=io_timeout)
        if result in (0, EXISTS):
            return
        error = wire.SanlockError(result, f"joining {self._parameters.lockspace} as host {host}")
        if result == RUNNING or result in UNCLEAR:
            raise StoreUnavailable(f"sanlock: {error}")
        raise DriverRefused(f"sanlock: {error}")

    def described(self, host: int) -> Described | None:
        """Read the record of *host* from the disk; None if there is no lockspace. Raises LeaseError."""
        result, io_timeout, rest = self.call(wire.READ_LOCKSPACE, self._lockspace(host, named=False), READING)
        if result == NO_MAGIC:
            return None
        if result:
            raise self.bad(result, f"reading the lockspace {self._parameters.path}")
        name, _host, flags = wire.head_of_lockspace(rest)
        return Described(name, io_timeout, flags)

    def write(self, io_timeout: int, flags: int, resources: int, begun: Described | None = None) -> None:
        """Write a lockspace, if it is not *begun*, and its index. Over anything: who calls has looked. Raises LeaseError.

        flags: alignment and sector size, 0 for those of the device.
        """
        parameters = self._parameters
        if begun is None:
            body = wire.lockspace(parameters.lockspace, 0, flags, parameters.path, 0)
            result, _second, _rest = self.call(wire.WRITE_LOCKSPACE, body, WRITING, data2=io_timeout)
            if result:
                raise self.bad(result, f"writing the lockspace {parameters.path}")
            begun = self.described(1)
            if begun is None:
                raise LeaseError(f"sanlock: {parameters.path}: has no lockspace after it was written")
        body = wire.resource(parameters.lockspace, MAKER, begun.flags, parameters.path, MAKER_AT * begun.unit)
        self._do(wire.WRITE_RESOURCE, body, f"writing the lease {MAKER} of {parameters.path}")
        body = wire.index(parameters.lockspace, begun.flags, parameters.path, INDEX_AT * begun.unit, resources)
        self._do(wire.FORMAT_INDEX, body, f"writing the index of {parameters.path}")

    def _do(self, command: int, body: bytes, doing: str) -> None:
        result, _second, _rest = self.call(command, body, WRITING)
        if result:
            raise self.bad(result, doing)

    def has_index(self, found: Described) -> bool:
        """Say whether the index of the lockspace *found* is there, joined or not. Raises LeaseError."""
        parameters = self._parameters
        where = wire.index(parameters.lockspace, found.flags, parameters.path, INDEX_AT * found.unit)
        result, _second, _rest = self.call(wire.LOOKUP, where + wire.entry("-"), READING, wire.NO_LOCKSPACE)
        if result in (0, NOT_FOUND):
            return True
        if result == NO_INDEX:
            return False
        raise self.bad(result, f"reading the index of {parameters.path}")

    def _lockspace(self, host: int, named: bool = True) -> bytes:
        parameters = self._parameters
        return wire.lockspace(parameters.lockspace if named else "", host, 0, parameters.path, 0)

    # -- resources

    def owners(self, name: str, offset: int, space: Space) -> list[Owner]:
        """Read who holds a resource. Raises LeaseError."""
        return self.held_by(name, offset, space)[1]

    def held_by(self, name: str, offset: int, space: Space) -> tuple[int, list[Owner]]:
        """Read the number of a resource's last grant, and who holds it. Raises LeaseError."""
        parameters = self._parameters
        body = wire.resource(parameters.lockspace, name, space.flags, parameters.path, offset)
        result, count, rest = self.call(wire.READ_OWNERS, body, READING)
        if result:
            raise self.bad(result, f"reading {name} in {parameters.path}")
        number, shared, at = wire.head_of_resource(rest)
        each = [wire.HOST.unpack_from(rest, at + one * wire.HOST.size) for one in range(count)]
        return number, [Owner(host, generation, stamp, number, shared) for host, generation, stamp, _io, _flags in each]

    def state(self, owner: Owner) -> int:
        """Give what is known of the host that *owner* is about; FREE if it has joined anew since. Raises StoreUnavailable."""
        generation, _io_timeout, state = self.hosts().get(owner.host, (owner.generation, 0, wire.FREE))
        return state if generation == owner.generation else wire.FREE

    def bad(self, result: int, doing: str) -> LeaseError:
        """Give the error for a result that is one."""
        error = wire.SanlockError(result, doing)
        return (StoreUnavailable if result in UNCLEAR | BUSY else LeaseError)(f"sanlock: {error}")


def in_store(name: str) -> str:
    """Give the name that a resource has on the disk, where there is room for fewer letters than we allow."""
    if len(name) <= wire.NAME - 1:
        return name
    import hashlib

    return f"{name[:30]}~{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def flags_of(unit: int, sector: int) -> int:
    """Give the flags for an alignment and a sector size."""
    return wire.ALIGN_1M * (unit >> 20) | wire.SECTOR_512 * (1 if sector == 512 else 2)
