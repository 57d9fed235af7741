# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The driver `file`: locks of the kernel on files of a directory, for the processes of one host. PRIVATE to the collection.

What there is in the directory for a resource NAME:

    NAME.lock          byte 0: the lease, byte 1: whoever changes the counter. Never renamed, never removed
    NAME.token         the number of the last grant; written beside and renamed in, while byte 1 is locked
    NAME.holder.TOKEN  one for each tenure: who has it, and since `bind` the process tree that it is tied to

A grant needs the lock and the end of every tree that a conflicting holder file names, see trees.py. The kernel gives the
lock of a dead guard back by itself; the holder file then tells what to wait for.
"""

from __future__ import annotations

import json
import os
import re
import stat
import time

from .._supervise._embedded import identity
from . import mounts, ofd, trees
from .interface import (
    EXCLUSIVE_MODE,
    HOT,
    LINE_UP,
    SHARED,
    SHARED_MODE,
    TOKEN,
    Busy,
    Driver,
    DriverNotLoaded,
    DriverRefused,
    Grant,
    Holder,
    Hole,
    LeaseError,
    NotHeld,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, ClassVar

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@:+-]{0,63}", re.ASCII).fullmatch
_LEASE, _COUNTER = 0, 1
#: Seconds that an acquire without waiting gives the tree of a dead holder to be gone.
_DYING = 2.0
#: Seconds between two looks at a guard whose lock file was exchanged.
_LOOK = 0.5
#: Bytes that a holder file may have.
_LIMIT = 4096


class File(Driver):
    """Leases by locks of one kernel. Parameters: directory; containment (pid_namespace, process_group)."""

    name: ClassVar[str] = "file"
    api: ClassVar[tuple[int, int]] = (1, 0)
    capabilities: ClassVar[frozenset[str]] = frozenset({SHARED, HOT, TOKEN, LINE_UP})
    parameters: ClassVar[frozenset[str]] = frozenset({"directory", "containment"})

    def __init__(self, tenant: str, parameters: Mapping[str, Any]) -> None:
        """Make the driver. Raises DriverRefused."""
        super().__init__(tenant, parameters)
        directory = parameters.get("directory")
        if not isinstance(directory, str) or not os.path.isabs(directory):
            raise DriverRefused(f"driver file: directory: {directory!r} is not an absolute path")
        self.directory = directory
        self.containment = str(parameters.get("containment", trees.NAMESPACE))
        self._resources: dict[str, _Resource] = {}
        self._tree: dict[str, Any] | None = None

    @classmethod
    def load(cls, core_api: tuple[int, int], features: frozenset[str]) -> None:
        """Need a core that ties grants to process trees and waits in a child."""
        missing = sorted({"bind", "line_up"} - features)
        if core_api[0] != cls.api[0] or missing:
            raise DriverNotLoaded(f"driver file: this core cannot do what it needs: {', '.join(missing) or core_api}")

    def probe(self) -> list[Hole]:
        """Make the directory if it is missing, and judge it."""
        try:
            os.makedirs(self.directory, 0o700, exist_ok=True)
            self._judge_owners()
            kind = mounts.filesystem(self.directory)
        except OSError as error:
            raise DriverNotLoaded(f"{self.directory}: {error.strerror or error}") from None
        if mounts.is_network(kind):
            raise DriverRefused(
                f"{self.directory}: is on {kind}, which other hosts may have too: a lock there can be lost without a "
                "word. The file driver is for one host; name a directory on a local file system, such as /run"
            )
        holes = []
        if kind not in mounts.LOCAL:
            holes.append(
                Hole("filesystem", f"{self.directory}: nothing is known of locks on {kind or 'this file system'}")
            )
        return holes

    def _judge_owners(self) -> None:
        """Look whether somebody else could exchange the lock files. Raises DriverRefused, OSError."""
        path = os.path.realpath(self.directory)
        last = True
        while True:
            info = os.stat(path)
            if not stat.S_ISDIR(info.st_mode):
                raise DriverRefused(f"{path}: is not a directory")
            if info.st_uid not in (0, os.geteuid()):
                raise DriverRefused(f"{path}: belongs to user {info.st_uid}, who could exchange the locks")
            sticky = info.st_mode & stat.S_ISVTX and not last
            if info.st_mode & 0o022 and not sticky:
                raise DriverRefused(f"{path}: others may write to it and exchange the locks; chmod go-w cures it")
            if path == "/":
                return
            path, last = os.path.dirname(path), False

    def register(self, resource: str, mode: str) -> None:
        """Note the resource; refuses names that are no file names."""
        if not _NAME(resource):
            raise DriverRefused(f"{resource!r}: a resource's name has letters, digits and _.@:+- (64 at most)")
        if mode not in (EXCLUSIVE_MODE, SHARED_MODE):
            raise DriverRefused(f"{resource}: {mode!r} is neither exclusive nor shared")
        if resource in self._resources:
            raise DriverRefused(f"{resource}: is named twice")
        self._resources[resource] = _Resource(self.directory, resource, mode)

    def acquire(self) -> list[Grant]:
        """Get everything in the order of the names; give back what was got in this call if one is busy."""
        fresh: list[_Resource] = []
        try:
            for resource in self._ordered():
                if resource.token is None:
                    fresh.append(resource)
                    resource.take(self.tenant, _DYING)
            if self._tree is not None:
                for resource in fresh:
                    resource.tie(self._tree)
        except (LeaseError, OSError) as error:
            for resource in fresh:
                resource.give_back()
            if isinstance(error, OSError):
                raise LeaseError(f"{self.directory}: {error.strerror or error}") from None
            raise
        return self.held()

    def bind(self, pid: int, started: int) -> None:
        """Write the tree into the holder files."""
        self._tree = trees.describe(pid, started, self.containment)
        try:
            for resource in self._ordered():
                if resource.token is not None:
                    resource.tie(self._tree)
        except OSError as error:
            raise LeaseError(f"{self.directory}: {error.strerror or error}") from None

    def line_up(self) -> None:
        """Take the locks one after the other, always in the same order, so that no two guards wait for each other."""
        try:
            for resource in self._ordered():
                if resource.token is None:
                    resource.wait()
        except OSError as error:
            raise LeaseError(f"{self.directory}: {error.strerror or error}") from None

    def prepare_line(self) -> None:
        """Open the lock files, so that what a child of ours locks is ours. Raises LeaseError."""
        try:
            for resource in self._ordered():
                resource.open()
        except OSError as error:
            raise LeaseError(f"{self.directory}: {error.strerror or error}") from None

    def leave_line(self) -> None:
        """Give back what a child has locked in `line_up`; what was granted by `acquire` stays."""
        for resource in self._ordered():
            if resource.token is None:
                resource.give_back()

    def release(self, resource: str | None = None) -> None:
        """Take the holder file away, then unlock."""
        if resource is not None and (resource not in self._resources or self._resources[resource].token is None):
            raise NotHeld(resource, self.tenant)
        chosen = list(self._resources) if resource is None else [resource]
        try:
            for name in chosen:
                self._resources[name].give_back()
                del self._resources[name]
        except OSError as error:
            raise LeaseError(f"{self.directory}: {error.strerror or error}") from None
        if resource is None:
            self._tree = None

    def forget(self, resource: str) -> None:
        """Take back the registration of a resource that is not held."""
        found = self._resources.get(resource)
        if found is not None and found.token is None:
            found.give_back()
            del self._resources[resource]

    def held(self) -> list[Grant]:
        """Give what is held, in the order in which it was registered."""
        return [
            Grant(resource.name, resource.mode, resource.token)
            for resource in self._resources.values()
            if resource.token is not None
        ]

    def owners(self, resource: str) -> list[Holder]:
        """Read the holder files."""
        try:
            return [_holder(resource, token, record) for token, record in _records(self.directory, resource)]
        except OSError as error:
            raise LeaseError(f"{self.directory}: {error.strerror or error}") from None

    def free(self) -> None:
        """Close the lock files. The holder files stay and name the tree, if it still lives."""
        for resource in self._resources.values():
            resource.close()
        self._resources.clear()

    def _ordered(self) -> list[_Resource]:
        return [self._resources[name] for name in sorted(self._resources)]


class _Resource:
    """One lock file. token: the number of our grant, None while there is none."""

    __slots__ = ("_descriptor", "_directory", "_guard", "_path", "_since", "mode", "name", "tenant", "token")

    def __init__(self, directory: str, name: str, mode: str) -> None:
        self.name = name
        self.mode = mode
        self.token: int | None = None
        self.tenant = ""
        self._directory = directory
        self._path = os.path.join(directory, name)
        self._descriptor = -1
        self._guard: dict[str, Any] = {}
        self._since = 0.0

    def open(self) -> None:
        """Open the lock file that has the name now. Raises OSError."""
        if self._descriptor >= 0:
            if self._current():
                return
            self.close()
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._descriptor = os.open(self._path + ".lock", flags, 0o600)

    def _current(self) -> bool:
        """Say whether the file that we have open still is the one that others will lock."""
        try:
            named = os.stat(self._path + ".lock", follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(named, os.fstat(self._descriptor))

    def take(self, tenant: str, patience: float) -> None:
        """Get the lease. Raises Busy, LeaseError, OSError; the caller then calls give_back."""
        self.tenant = tenant
        self._guard = trees.describe(os.getpid(), identity.start_time(os.getpid()), trees.PROCESS)
        while True:
            self.open()
            if not ofd.lock(self._descriptor, _LEASE, self.mode == SHARED_MODE):
                raise Busy(self.name, map(str, self._holders()))
            # Whoever has exchanged the file between open and lock would let a second one in: look again.
            if self._current():
                break
            self.close()
        self._outlive(patience)
        self._count()

    def wait(self) -> None:
        """Wait for the lock and for the end of what its last holder has left. Raises LeaseError, OSError."""
        ofd.lock(self._descriptor, _LEASE, self.mode == SHARED_MODE, wait=True)
        if self._current():
            self._outlive(None)

    def _outlive(self, patience: float | None) -> None:
        """See the end of every conflicting holder that has not given the resource back. Raises Busy, LeaseError, OSError.

        We have the lock, so its guard is dead and its tree is dying: that is helped along. A guard that lives has lost
        its lock to somebody who exchanged the file; it is a holder none the less, and left alone.
        """
        for token, record in _records(self._directory, self.name):
            if self.mode == SHARED_MODE and record["mode"] == SHARED_MODE:
                continue
            holder = _holder(self.name, token, record)
            for process in (record["guard"], record["tree"]):
                if process is not None and process["boot"] == trees.boot() and not trees.visible(process):
                    raise LeaseError(
                        f"{self.name}: {holder} was in another pid namespace and did not give it back; nobody can "
                        f"tell from here whether it is gone. If it is: rm {self._path}.holder.{token}"
                    )
            while not trees.gone(record["guard"]):
                if patience is not None:
                    raise Busy(self.name, [str(holder)])
                time.sleep(_LOOK)
            if record["tree"] is not None and not trees.end(record["tree"], patience):
                raise Busy(self.name, [f"{holder}, which is being killed"])
            _remove(f"{self._path}.holder.{token}")

    def _count(self) -> None:
        """Draw the next token and say who we are. The numbers of shared holders differ too."""
        ofd.lock(self._descriptor, _COUNTER, wait=True)
        try:
            last = _read_token(self._path + ".token")
            for token, _record in _records(self._directory, self.name):
                last = max(last, token)
            _replace(self._path + ".token", b"%d\n" % (last + 1))
            self._since = time.time()
            self._write(last + 1, None)
            self.token = last + 1
        finally:
            ofd.unlock(self._descriptor, _COUNTER)

    def tie(self, tree: dict[str, Any]) -> None:
        """Name the tree in the holder file. Raises OSError."""
        if self.token is None:
            raise ValueError("only a held resource is tied to a tree")
        self._write(self.token, tree)

    def _write(self, token: int, tree: dict[str, Any] | None) -> None:
        record = {"tenant": self.tenant, "mode": self.mode, "since": self._since, "guard": self._guard, "tree": tree}
        _replace(f"{self._path}.holder.{token}", json.dumps(record).encode())

    def give_back(self) -> None:
        """Give back whatever we have of it: the holder file first. Raises OSError, after which it is still held."""
        if self._descriptor < 0:
            return
        if self.token is not None:
            _remove(f"{self._path}.holder.{self.token}")
        # By name, not by closing: init has a descriptor of it too.
        ofd.unlock(self._descriptor, _LEASE)
        self.token = None
        self.close()

    def close(self) -> None:
        """Close the lock file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _holders(self) -> list[Holder]:
        return [_holder(self.name, token, record) for token, record in _records(self._directory, self.name)]


def resources(directory: str) -> list[str]:
    """Give the names of all resources that *directory* has ever had. Raises OSError."""
    return sorted(name[: -len(".lock")] for name in os.listdir(directory) if name.endswith(".lock"))


def _records(directory: str, resource: str) -> list[tuple[int, dict[str, Any]]]:
    """Give the holder files of *resource* by token. Raises OSError, LeaseError for one that nobody can read."""
    prefix = resource + ".holder."
    found = []
    for name in os.listdir(directory):
        number = name[len(prefix) :]
        if not name.startswith(prefix) or not number.isdigit():
            continue
        path = os.path.join(directory, name)
        try:
            with open(path, "rb") as file:
                record = json.loads(file.read(_LIMIT))
        except FileNotFoundError:
            continue
        except ValueError:
            record = None
        if not isinstance(record, dict) or not {"tenant", "mode", "since", "guard", "tree"} <= set(record):
            # Renamed in as a whole: it was not us. Who holds the lease is not known, so nobody may have it.
            raise LeaseError(f"{path}: is damaged; see who has {resource}, end it, and remove the file")
        found.append((int(number), record))
    return sorted(found, key=lambda item: item[0])


def _holder(resource: str, token: int, record: dict[str, Any]) -> Holder:
    guard, tree = record["guard"], record["tree"]
    alive = None
    if trees.visible(guard):
        alive = not trees.gone(guard) or (tree is not None and not trees.gone(tree))
    return Holder(resource, record["mode"], record["tenant"], guard["pid"], token, record["since"], alive)


def _read_token(path: str) -> int:
    try:
        with open(path, encoding="ascii") as file:
            return int(file.read(32))
    except FileNotFoundError:
        return 0
    except ValueError:
        raise LeaseError(f"{path}: is no number; write one into it that is greater than all before") from None


def _replace(path: str, data: bytes) -> None:
    """Write beside and rename in. The caller has locked the resource, or the name is his alone."""
    beside = f"{path}.new"
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.write(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.rename(beside, path)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
