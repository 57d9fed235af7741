# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One resource of the driver `file`: its lock, its counter, its holder files and its mark. PRIVATE to the collection.

The files are described in file.py. Locks are those of open file descriptions: a child of the guard shares them.
"""

from __future__ import annotations

import errno
import os
import time

from .._lean import json
from .._supervise._embedded import identity
from . import marks, ofd, trees
from .counting import Counting
from .handover import BACK, DROPPED, OUT, PREPARED, RETURNING, Handover, UnderWay, permit
from .interface import EXCLUSIVE_MODE, Busy, Holder, LeaseError, StoreUnavailable
from .modes import compatible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LEASE = 0
#: Seconds for which the counter is tried to be locked, and between two attempts.
_LONGEST, _SHORT = 2.0, 0.002
#: Seconds between two looks at a mark, or at holders, that keep us out although the lock does not.
_LOOK_AGAIN = 0.2
#: Seconds between two attempts while somebody else reads that mark.
_AWAKE = 0.005
#: Bytes that a holder file may have.
_LIMIT = 16384


class Resource:
    """One lock file, for the guard *tenant*. token: the number of our grant, None while there is none."""

    __slots__ = (
        "_descriptor",
        "_directory",
        "_guard",
        "_path",
        "_since",
        "_tree",
        "mode",
        "name",
        "note",
        "tenant",
        "token",
    )

    def __init__(self, directory: str, name: str, mode: str, tenant: str) -> None:
        self.name = name
        self.mode = mode
        self.token: int | None = None
        self.tenant = tenant
        self.note: dict[str, Any] = {}
        self._directory = directory
        self._path = os.path.join(directory, name)
        self._descriptor = -1
        self._guard: dict[str, Any] = {}
        self._tree: dict[str, Any] | None = None
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

    def take(self, patience: float, handover: Handover | None) -> None:
        """Get the lease, by *handover* if it is given. Raises Busy, LeaseError, OSError; the caller then calls give_back."""
        self._guard = trees.describe(os.getpid(), identity.start_time(os.getpid()), trees.PROCESS)
        deadline = time.monotonic() + patience
        while True:
            self.open()
            if not self._lock():
                holders = self._holders()
                if handover is not None and not holders and time.monotonic() < deadline:
                    # Somebody in line has woken up, and is about to see that it is kept for us.
                    time.sleep(_AWAKE)
                    continue
                raise Busy(self.name, self._keepers())
            # Whoever has exchanged the file between open and lock would let a second one in: look again.
            if self._current():
                break
            self.close()
        self._see_nobody_beside()
        self._outlive(patience)
        self._count(handover)

    def wait(self) -> None:
        """Wait for the lock and for the end of what its last holder has left. Raises LeaseError, OSError."""
        while True:
            self._lock(wait=True)
            if not self._current():
                return
            if not self._beside():
                self._outlive(None)
                mark = self.marked()
                if mark is None or mark.allows(self.tenant):
                    return
            # Kept for somebody else, who must be able to lock it; neither a mark nor a holder in another mode tells when it goes.
            ofd.unlock(self._descriptor, _LEASE)
            time.sleep(_LOOK_AGAIN)

    def _lock(self, wait: bool = False) -> bool:
        return ofd.lock(self._descriptor, _LEASE, self.mode != EXCLUSIVE_MODE, wait)

    def _beside(self) -> list[Holder]:
        """Give those who have the lock besides us and may not: who write, if we only read, and the other way round.

        The lock itself knows no more than alone or not. Raises OSError, LeaseError.
        """
        if self.mode == EXCLUSIVE_MODE or ofd.lockable(self._descriptor, _LEASE):
            return []
        return [
            _holder(self.name, token, record, None)
            for token, record in records(self._directory, self.name)
            if not compatible(self.mode, record["mode"]) and _may_live(record["guard"])
        ]

    def _see_nobody_beside(self) -> None:
        """Raise Busy if somebody holds it in a mode that ours cannot be beside; OSError, LeaseError."""
        others = self._beside()
        if others:
            raise Busy(self.name, map(str, others))

    def _outlive(self, patience: float | None) -> None:
        """See the end of every conflicting holder that has not given the resource back. Raises Busy, LeaseError, OSError.

        We have the lock, so its guard is dead and its tree is dying: that is helped along. A guard that lives has lost
        its lock to somebody who exchanged the file; it is a holder none the less, and left alone.
        """
        for token, record in records(self._directory, self.name):
            if compatible(self.mode, record["mode"]):
                continue
            # Whether it lives is looked at below.
            holder = _holder(self.name, token, record, None)
            for process in (record["guard"], record["tree"]):
                if process is not None and process["boot"] == trees.boot() and not trees.visible(process):
                    raise LeaseError(
                        f"{self.name}: {holder} was in another pid or time namespace and did not give it back; nobody "
                        f"can tell from here whether it is gone. If it is: rm {self._path}.holder.{token}"
                    )
            if not trees.outlast(record["guard"], None if patience is None else 0.0):
                raise Busy(self.name, [str(holder)])
            tree = record["tree"]
            if tree is not None and not trees.end(tree, patience):
                if tree["containment"] == trees.EXEC:
                    raise Busy(
                        self.name, [f"{holder}, which has ended and left {_named(trees.remaining(tree))} behind"]
                    )
                raise Busy(self.name, [f"{holder}, which is being killed"])
            _remove(f"{self._path}.holder.{token}")

    def _count(self, handover: Handover | None) -> None:
        """Draw the next token and say who we are. The numbers of shared holders differ too."""
        with self._counting():
            # Whoever comes in another mode at the same time has looked for us, too, before we were written down.
            self._see_nobody_beside()
            last = self._last()
            mark = marks.read(self._mark, self.name, last)
            permit(self.name, mark, self.tenant, last, handover)
            _replace(self._path + ".token", b"%d\n" % (last + 1))
            self._since = time.time()
            self.token = last + 1
            try:
                self.write(self.note)
            except OSError:
                self.token = None
                raise
            # Void since the number has changed: only tidied away.
            marks.drop(self._mark)

    def _counting(self) -> Counting:
        if self._descriptor < 0:
            self.open()
        return Counting(self._descriptor, _LONGEST, _SHORT)

    def _last(self) -> int:
        last = _read_token(self._path + ".token")
        for token, _record in records(self._directory, self.name):
            last = max(last, token)
        return last

    @property
    def _mark(self) -> str:
        return self._path + ".handover"

    def tie(self, tree: dict[str, Any]) -> None:
        """Name the tree in the holder file. Raises OSError."""
        self._tree = tree
        self.write(self.note)

    def write(self, note: dict[str, Any]) -> None:
        """Write the holder file. Raises OSError."""
        if self.token is None:
            raise ValueError("only a held resource has a holder file")
        self.note = note
        record = {"tenant": self.tenant, "mode": self.mode, "since": self._since, "guard": self._guard}
        record.update(tree=self._tree, note=note)
        _replace(f"{self._path}.holder.{self.token}", json.dumps(record).encode())

    # -- hand-over

    def marked(self) -> Handover | None:
        """Give the mark that stands. Raises OSError, LeaseError."""
        return marks.read(self._mark, self.name, self._last())

    def mark(self, state: Handover, seconds: float) -> None:
        """Mark what we hold. Raises UnderWay, OSError."""
        if self.token is None:
            raise ValueError("only a held resource is handed over")
        with self._counting():
            old = marks.read(self._mark, self.name, self._last())
            if old is not None and (old.id, old.target) != (state.id, state.target):
                raise UnderWay(f"{self.name}: {old} has not ended; cancel it first")
            marks.write(self._mark, _replace, state, self.token, seconds)

    def unmark(self, handover: str) -> None:
        """Take the mark of *handover* away. Raises OSError."""
        with self._counting():
            old = marks.read(self._mark, self.name, self._last())
            if old is not None and old.id == handover:
                marks.drop(self._mark)

    def give_up(self, handover: str) -> Handover:
        """Turn the mark to OUT; the lease itself is given back later. Raises Busy, LeaseError, OSError."""
        with self._counting():
            mark = marks.read(self._mark, self.name, self._last())
            if mark is None or mark.id != handover or mark.source != self.tenant:
                raise LeaseError(f"{self.name}: is not being handed over by {self.tenant} under the number {handover}")
            if mark.stage == PREPARED:
                if self.token is None and any(holder.alive is not False for holder in self._holders()):
                    raise Busy(self.name, map(str, self._holders()))
                mark.stage = OUT
                marks.write(self._mark, _replace, mark, mark.tokens[self.name], None)
            if mark.stage != OUT:
                raise LeaseError(f"{self.name}: {mark} was taken back")
            return mark

    def turn_back(self, handover: str) -> str:
        """Take the mark back; give what became of it, "" if there is none. Raises OSError."""
        with self._counting():
            mark = marks.read(self._mark, self.name, self._last())
            if mark is None or mark.id != handover:
                return ""
            if mark.stage == PREPARED:
                marks.drop(self._mark)
                return DROPPED
            mark.stage = BACK
            marks.write(self._mark, _replace, mark, mark.tokens[self.name], None)
            return RETURNING

    def give_back(self) -> None:
        """Give back whatever we have of it: the holder file first. Raises OSError, after which it is still held."""
        if self._descriptor < 0:
            return
        if self.token is not None:
            self._stop_preparing()
            _remove(f"{self._path}.holder.{self.token}")
        # By name, not by closing: init has a descriptor of it too.
        ofd.unlock(self._descriptor, _LEASE)
        self.token = None
        self.close()

    def _stop_preparing(self) -> None:
        """Who ends without having completed a hand-over leaves the resource to anybody. Raises OSError."""
        try:
            with self._counting():
                mark = marks.read(self._mark, self.name, self._last())
                if mark is not None and mark.stage == PREPARED:
                    marks.drop(self._mark)
        except StoreUnavailable:
            pass  # It ends with its time, and nothing else is to wait for that.

    def close(self) -> None:
        """Close the lock file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    @property
    def descriptor(self) -> int:
        """Give the descriptor whose lock is ours, or is going to be."""
        return self._descriptor

    def _holders(self) -> list[Holder]:
        return [holder_of(self.name, token, record) for token, record in records(self._directory, self.name)]

    def _keepers(self) -> list[str]:
        """Say who has the lock; of a process that was its own holder and has ended, who has its descriptor now."""
        told = []
        for token, record in records(self._directory, self.name):
            one = str(_holder(self.name, token, record, None))
            tree = record["tree"]
            if tree and tree["containment"] == trees.EXEC and trees.visible(tree) and trees.gone(record["guard"]):
                left = _named(ofd.lockers(os.fstat(self._descriptor)))
                one += f", which has ended; its descriptor is still open in {left}"
            told.append(one)
        return told


def records(directory: str, resource: str) -> list[tuple[int, dict[str, Any]]]:
    """Give the holder files of *resource* by token. Raises OSError, LeaseError for one that nobody can read."""
    prefix = resource + ".holder."
    found = []
    # Where nobody has ever made the directory nobody has anything.
    for name in os.listdir(directory) if os.path.isdir(directory) else ():
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


def holder_of(resource: str, token: int, record: dict[str, Any]) -> Holder:
    """Give what a holder file says, for people."""
    guard, tree = record["guard"], record["tree"]
    alive = None
    if trees.visible(guard):
        alive = not trees.gone(guard) or (tree is not None and not trees.gone(tree))
    return _holder(resource, token, record, alive)


def _holder(resource: str, token: int, record: dict[str, Any], alive: bool | None) -> Holder:
    note = record.get("note")
    return Holder(
        resource,
        record["mode"],
        record["tenant"],
        record["guard"]["pid"],
        token,
        record["since"],
        alive,
        note if isinstance(note, dict) else {},
        os.uname().nodename,
    )


def _may_live(process: dict[str, Any]) -> bool:
    """Say whether a process of a record is not sure to be gone, as one in another pid namespace."""
    return bool(process["boot"] == trees.boot()) and not (trees.visible(process) and trees.gone(process))


def _named(pids: list[int]) -> str:
    """Give processes with their names, for people."""
    told = []
    for pid in pids:
        try:
            with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
                told.append(f"{pid} ({file.read().strip()})")
        except OSError:
            told.append(str(pid))
    return "process " + ", ".join(told)


def _read_token(path: str) -> int:
    try:
        with open(path, encoding="ascii") as file:
            return int(file.read(32))
    except FileNotFoundError:
        return 0
    except ValueError:
        raise LeaseError(f"{path}: is no number; write one into it that is greater than all before") from None


def _replace(path: str, data: bytes) -> None:
    """Write beside and rename in. The caller has locked the resource, or the name is his alone. Raises OSError: nothing is changed."""
    beside = f"{path}.new"
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            if os.write(descriptor, data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(beside, path)
    except OSError:
        _remove(beside)
        raise


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
