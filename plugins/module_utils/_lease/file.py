# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The driver `file`: locks of the kernel on files of a directory, for the processes of one host. PRIVATE to the collection.

What it does with scope hosts, for the processes of several hosts, is in nfs.py.

What there is in the directory for a resource NAME:

    NAME.lock          byte 0: the lease, byte 1: whoever changes the counter. Never renamed, never removed
    NAME.token         the number of the last grant; written beside and renamed in, while byte 1 is locked
    NAME.holder.TOKEN  one for each tenure: who has it, and since `bind` the process tree that it is tied to
    NAME.handover      the mark of a hand-over, see marks.py; read and written while byte 1 is locked

A grant needs the lock and the end of every tree that a conflicting holder file names, see trees.py. The kernel gives the
lock of a dead guard back by itself; the holder file then tells what to wait for.
"""

from __future__ import annotations

import os

from .._lean import json
from . import mounts, owners, trees
from .handover import OUT, PREPARED, UNKNOWN, Handover, UnderWay, complete_in
from .interface import (
    EXCLUSIVE_MODE,
    EXEC,
    HANDOVER,
    HOT,
    LINE_UP,
    NOTE,
    READONLY,
    SHARED,
    TOKEN,
    Driver,
    DriverNotLoaded,
    DriverRefused,
    Grant,
    Holder,
    Hole,
    LeaseError,
    NotHeld,
    check_registration,
)
from .listing import resources
from .lockfile import Resource, holder_of, records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, ClassVar

#: Seconds that an acquire without waiting gives the tree of a dead holder to be gone.
_DYING = 2.0
#: Bytes that a note may have.
_NOTE_LIMIT = 8192


class File(Driver):
    """Leases by locks of one kernel. Parameters: directory; scope: host; containment (pid_namespace, process_group)."""

    name: ClassVar[str] = "file"
    api: ClassVar[tuple[int, int]] = (1, 5)
    capabilities: ClassVar[frozenset[str]] = frozenset({SHARED, READONLY, HOT, TOKEN, LINE_UP, HANDOVER, NOTE, EXEC})
    parameters: ClassVar[frozenset[str]] = frozenset({"directory", "containment", "scope"})
    #: A descriptor for each, of the 1024 that a process usually may have.
    most_resources: ClassVar[int | None] = 512
    #: The holder files name the tree; its copies of the locks are not counted on.
    ahead: ClassVar[bool] = True

    def __init__(self, tenant: str, parameters: Mapping[str, Any]) -> None:
        """Make the driver. Raises DriverRefused."""
        super().__init__(tenant, parameters)
        directory = parameters.get("directory")
        if not isinstance(directory, str) or not os.path.isabs(directory):
            raise DriverRefused(f"driver file: directory: {directory!r} is not an absolute path")
        self.directory = directory
        self.containment = str(parameters.get("containment", trees.NAMESPACE))
        self._resources: dict[str, Resource] = {}
        self._tree: dict[str, Any] | None = None

    @classmethod
    def chosen(cls, parameters: Mapping[str, Any]) -> type[Driver]:
        """Let what several hosts see be another driver's matter."""
        scope = parameters.get("scope", "host")
        if scope not in ("host", "hosts"):
            raise DriverRefused(f"driver file: scope: {scope!r} is neither host nor hosts")
        if scope == "host":
            return cls
        # Only here: those of one host do without.
        from .nfs import Nfs

        return Nfs

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
            owners.judge(self.directory)
            kind = mounts.filesystem(self.directory)
        except OSError as error:
            raise DriverNotLoaded(f"{self.directory}: {error.strerror or error}") from None
        if mounts.is_network(kind):
            raise DriverRefused(
                f"{self.directory}: is on {kind}, which other hosts may have too: a lock there can be lost without a "
                "word. With scope: hosts it is watched (NFS 4.1); for one host name a local directory, such as /run"
            )
        holes = []
        if kind not in mounts.LOCAL:
            holes.append(
                Hole("filesystem", f"{self.directory}: nothing is known of locks on {kind or 'this file system'}")
            )
        return holes

    def register(self, resource: str, mode: str) -> None:
        """Note the resource; refuses names that are no file names."""
        check_registration(resource, mode, self._resources, self)
        self._resources[resource] = Resource(self.directory, resource, mode, self.tenant)

    def acquire(self) -> list[Grant]:
        """Get everything in the order of the names; give back what was got in this call if one is busy."""
        return self._take(None)

    def _take(self, handover: Handover | None) -> list[Grant]:
        fresh: list[Resource] = []
        try:
            for resource in self._ordered():
                if resource.token is None:
                    fresh.append(resource)
                    resource.note = self.note
                    resource.take(_DYING, handover)
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
        self._tie(trees.describe(pid, started, self.containment))

    def _tie(self, tree: dict[str, Any]) -> None:
        self._tree = tree
        try:
            for resource in self._ordered():
                if resource.token is not None:
                    resource.tie(tree)
        except OSError as error:
            raise LeaseError(f"{self.directory}: {error.strerror or error}") from None

    def become(self) -> list[int]:
        """Write this process into the holder files, as guard and as service, and give the locked descriptors."""
        self._tie(trees.describe_self())
        return [resource.descriptor for resource in self._ordered() if resource.token is not None]

    def exec_holes(self) -> list[Hole]:
        """Say what of a service nobody can find."""
        return [
            Hole(
                "left_behind",
                "a process that the service leaves behind when it ends keeps others out only while it has the lock's descriptor, is in "
                f"the service's group or session, or has {trees.MARK} in its environment; mode guard closes it",
            )
        ]

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
            return [holder_of(resource, token, record) for token, record in records(self.directory, resource)]
        except OSError as error:
            raise LeaseError(f"{self.directory}: {error.strerror or error}") from None

    def all_owners(self) -> list[Holder]:
        """Read all holder files of those who live."""
        try:
            names = resources(self.directory)
        except OSError as error:
            raise LeaseError(f"{self.directory}: {error.strerror or error}") from None
        return [holder for name in names for holder in self.owners(name) if holder.alive is not False]

    def annotate(self, note: Mapping[str, Any]) -> None:
        """Write the holder files anew."""
        if len(json.dumps(dict(note))) > _NOTE_LIMIT:
            raise LeaseError(f"driver file: a note has at most {_NOTE_LIMIT} bytes")
        self.note = dict(note)
        try:
            for resource in self._ordered():
                if resource.token is not None:
                    resource.write(self.note)
        except OSError as error:
            raise LeaseError(f"{self.directory}: {error.strerror or error}") from None

    def prepare_out(self, handover: str, target: str, seconds: float) -> Handover:
        """Write the marks. Shared resources get none: the destination can hold them at the same time."""
        chosen = [one for one in self._ordered() if one.token is not None and one.mode == EXCLUSIVE_MODE]
        tokens = {one.name: one.token for one in chosen if one.token is not None}
        state = Handover(handover, self.tenant, target, tokens, PREPARED)
        done: list[Resource] = []
        try:
            for resource in chosen:
                resource.mark(state, seconds)
                done.append(resource)
        except (UnderWay, OSError) as error:
            for resource in done:
                resource.unmark(handover)
            if isinstance(error, OSError):
                raise LeaseError(f"{self.directory}: {error.strerror or error}") from None
            raise
        return state

    def complete_out(self, handover: str) -> Handover:
        """Mark the resources as given up, then give them back; or see that a dead guard of ours has done so."""
        tokens: dict[str, int] = {}
        target = ""
        try:
            for resource in self._ordered():
                if resource.mode == EXCLUSIVE_MODE:
                    mark = resource.give_up(handover)
                    tokens.update(mark.tokens)
                    target = mark.target
            if self.held():
                self.release()
        except OSError as error:
            raise LeaseError(f"{self.directory}: {error.strerror or error}") from None
        return Handover(handover, self.tenant, target, tokens, OUT)

    def complete_in(self, state: Handover) -> list[Grant]:
        """Take everything with its number compared. What the source held besides is registered here too."""
        modes = {one.name: one.mode for one in self._ordered()}
        return complete_in(self, modes, state, self._take)

    def handed_over(self, resource: str) -> Handover | None:
        """Read the mark."""
        try:
            return (self._resources.get(resource) or Resource(self.directory, resource, "", "")).marked()
        except OSError as error:
            raise LeaseError(f"{self.directory}: {error.strerror or error}") from None

    def cancel(self, handover: str) -> str:
        """Drop marks of a running source, turn the others back."""
        found = UNKNOWN
        try:
            for resource in self._ordered():
                found = resource.turn_back(handover) or found
        except OSError as error:
            raise LeaseError(f"{self.directory}: {error.strerror or error}") from None
        return found

    def free(self) -> None:
        """Close the lock files. The holder files stay and name the tree, if it still lives."""
        for resource in self._resources.values():
            resource.close()
        self._resources.clear()

    def _ordered(self) -> list[Resource]:
        return [self._resources[name] for name in sorted(self._resources)]
