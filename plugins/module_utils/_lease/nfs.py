# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The driver `file` with scope hosts: leases in a directory on NFS, for services of several hosts. PRIVATE to the collection.

What there is in the directory for a resource NAME:

    NAME.lock   the kernel's lock: byte 0 the lease, byte 1 whoever changes the counter; and who has it, see _nfs/layout.py
    NAME.token  a copy of the counter
    NAME.handover   the mark of a hand-over, see remote_marks.py; changed while byte 1 is locked

The server ends the locks of a client of which it has not heard for its lease time, and tells nobody. So a grant here runs
out as one of a store with a TTL does: the guard has a heartbeat written into the locked file, and nothing of its service
runs any more T after it has begun the last one that succeeded. Whoever gets the lock from the server does not believe it
at once: if the holder before has not cleared his place, he is waited for, see _nfs/layout.py. So it makes no difference
why the server has given the lock away: in time, too early, since it has forgotten everything, or as it should.
"""

from __future__ import annotations

import os
import time

from . import preferring, sealed, trees
from ._nfs.hand import Hand
from ._nfs.judge import LEAST, UNPROVED
from ._nfs.store import Store, holder
from .handover import Handover, complete_in
from .interface import (
    EXCLUSIVE_MODE,
    HANDOVER,
    HOT,
    LINE_UP,
    NOTE,
    READONLY,
    REMOTE,
    RENEWS,
    SHARED,
    TOKEN,
    Driver,
    DriverNotLoaded,
    DriverRefused,
    Grant,
    Holder,
    Hole,
    LeaseError,
    Lost,
    NotHeld,
    RunningOut,
    StoreUnavailable,
    check_registration,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, ClassVar

#: Seconds for which a grant is good, until the server has said it: what servers have if nobody has chosen another.
_TTL = 90.0
#: The part of the time of a grant that a call may take, and seconds at least; seconds while that time is not known.
_CALL, _LEAST, _FIRST = 0.25, 1.0, 10.0
_MARGIN = 0.2
#: Seconds that the process with the locks has for its end, with nothing left to be waited for.
_FAREWELL = 2.0
#: Bytes about a holder beside its note.
_REST = 900


class Nfs(Driver):
    """Leases on NFS. Parameters: directory, scope, ttl, poll, preference, fail_back, proof (pending); containment."""

    name: ClassVar[str] = "file"
    api: ClassVar[tuple[int, int]] = (1, 5)
    capabilities: ClassVar[frozenset[str]] = frozenset(
        {SHARED, READONLY, HOT, TOKEN, LINE_UP, RENEWS, REMOTE, HANDOVER, NOTE}
    )
    parameters: ClassVar[frozenset[str]] = (
        frozenset({"directory", "containment", "scope", "ttl", "poll", "proof"}) | preferring.NAMES
    )
    #: Each heartbeat asks the server some times for each, and is to be done in a quarter of the time of a grant.
    most_resources: ClassVar[int | None] = 128
    shortest_ttl: ClassVar[float] = float(LEAST)

    def __init__(self, tenant: str, parameters: Mapping[str, Any]) -> None:
        """Make the driver. Raises DriverRefused."""
        super().__init__(tenant, parameters)
        directory = parameters.get("directory")
        if not isinstance(directory, str) or not os.path.isabs(directory):
            raise DriverRefused(f"driver file: directory: {directory!r} is not an absolute path")
        self.directory = directory
        self.host = os.uname().nodename
        self.containment = str(parameters.get("containment", trees.NAMESPACE))
        self._wanted = _seconds(parameters, "ttl", LEAST, 3600)
        proof = parameters.get("proof", "")
        if proof not in ("", "pending"):
            raise DriverRefused(f"driver file: proof: {proof!r} is not pending")
        self._proving = bool(proof)
        self._poll = _seconds(parameters, "poll", 0.1, 60) or 1.0
        self._preference = preferring.Preference("file", parameters, self._poll)
        self._preferred = ""
        self.glance: float = self._preference.glance
        self.ttl: float = self._wanted or _TTL
        self._known = False
        self._modes: dict[str, str] = {}
        self._tokens: dict[str, int] = {}
        self._facts: dict[str, str] = {}
        self._hand: Hand | None = None
        self._tree: dict[str, Any] | None = None

    @property
    def identity(self) -> str:
        """Give the tenant and its host: several hosts have a service of that name."""
        return f"{self.tenant}@{self.host}"

    @classmethod
    def load(cls, core_api: tuple[int, int], features: frozenset[str]) -> None:
        """Need a core that renews, and a kernel's timer behind it."""
        missing = sorted({"bind", "renew", "dead_man", "line_up"} - features)
        if core_api[0] != cls.api[0] or core_api < cls.api or missing:
            raise DriverNotLoaded(f"driver file: this core cannot do what it needs: {', '.join(missing) or core_api}")

    # -- asking

    def _ask(self, verb: str, **arguments: Any) -> dict[str, Any]:
        """Have it done within the time that a call may take. Raises LeaseError."""
        patience = self._patience()
        if self._hand is None:
            guard = os.getpid()
            try:
                self._hand = Hand(
                    lambda: Store(self.directory, self.tenant, self.host, self._wanted, guard, self._preference),
                    self._poll,
                )
            except OSError as error:
                raise LeaseError(f"driver file: {error.strerror or error}") from None
        try:
            # What is done in time there is to be known in time here.
            return self._hand.ask(verb, patience + _MARGIN, **arguments)
        except (StoreUnavailable, RunningOut) as error:
            if self._tokens:
                raise
            # Nothing is lost with it, and what it hangs in may take long.
            self._give_up()
            text = str(error)
            raise StoreUnavailable(text if self.directory in text else f"{self.directory}: {text}") from None

    def _patience(self) -> float:
        return max(_CALL * self.ttl, _LEAST) if self._known else _FIRST

    def _give_up(self) -> None:
        if self._hand is not None:
            self._hand.kill()
            self._hand = None

    def probe(self) -> list[Hole]:
        """Make the directory if it is missing, and judge where it is."""
        answer = self._ask("probe")
        self._facts = answer["facts"]
        self._learn(answer)
        # Who is about to prove it cannot wait until somebody has.
        accepted = (UNPROVED,) if self._proving else ()
        return [Hole(name, text) for name, text in answer["holes"] if name not in accepted]

    def _learn(self, answer: Mapping[str, Any]) -> None:
        if not self._tokens:
            self.ttl, self._known = float(answer["ttl"]), True

    def facts(self) -> dict[str, str]:
        """Tell server, version and times, as of the last `probe`."""
        return dict(self._facts)

    # -- getting

    def register(self, resource: str, mode: str) -> None:
        """Note the resource."""
        check_registration(resource, mode, self._modes, self)
        self._modes[resource] = mode

    def forget(self, resource: str) -> None:
        """Take back the registration of a resource that is not held."""
        if resource not in self._tokens:
            self._modes.pop(resource, None)

    def _missing(self) -> list[tuple[str, str]]:
        return [(name, mode) for name, mode in self._modes.items() if name not in self._tokens]

    def acquire(self) -> list[Grant]:
        """Get everything that is missing in the order of the names; give back what was got in this call if one is busy."""
        return self._take(None)

    def _take(self, handover: Handover | None) -> list[Grant]:
        wanted = self._missing()
        if wanted:
            deadline = _now() + self._patience()
            state = None if handover is None else handover.write()
            answer = self._ask("acquire", wanted=wanted, note=self.note, deadline=deadline, state=state)
            self._learn(answer)
            self.good_from = float(answer["good_from"])
            self._tokens.update(answer["tokens"])
        return self.held()

    def bind(self, pid: int, started: int) -> None:
        """Tell whose end is to be waited for if we die; others of this host go by it too."""
        if self._hand is not None and self._tokens:
            self._tree = trees.describe(pid, started, self.containment)
            self._hand.tell("tie", tree=self._tree)

    def held(self) -> list[Grant]:
        """Give what is held, in the order in which it was registered."""
        return [Grant(name, mode, self._tokens[name]) for name, mode in self._modes.items() if name in self._tokens]

    # -- keeping

    def renew(self) -> None:
        """Have a heartbeat written into every lock file."""
        answer = self._ask("renew")
        self.good_from, self._preferred = float(answer["good_from"]), str(answer["preferred"])

    def preferred(self) -> str:
        """Name who wished for what is held, by the last heartbeat."""
        return self._preferred

    def annotate(self, note: Mapping[str, Any]) -> None:
        """Write the places of the holder anew."""
        # Here too, so that what is acquired later does not fail by it.
        sealed.encode({"note": dict(note), "rest": "x" * _REST})
        self.note = dict(note)
        if self._tokens:
            self._ask("annotate", note=self.note)

    def lost_fd(self) -> int:
        """Give what tells of the end of the process that has the locks."""
        return self._hand.fileno() if self._hand is not None else -1

    def look(self) -> None:
        """See whether it has ended."""
        if self._hand is not None:
            self._hand.look()

    def drop_inherited(self) -> None:
        """Close the way to the process: it goes by the guard's end, not by the tree's."""
        if self._hand is not None:
            self._hand.close()

    # -- waiting

    def prepare_line(self) -> None:
        """See that there is somebody who can be asked, without asking: that may take long."""
        if self._hand is None:
            raise StoreUnavailable(f"{self.directory}: is not looked at any more")

    def line_up(self) -> None:
        """Have the directory looked at again and again, as NFS tells nobody."""
        if self._hand is None:
            raise StoreUnavailable(f"{self.directory}: cannot be looked at")
        self._hand.line(self._missing())

    def leave_line(self) -> None:
        """One in line has nothing; only the looking is stopped."""
        if self._hand is not None and not self._tokens:
            try:
                self._hand.tell("rest")
            except LeaseError:
                self._give_up()

    # -- seeing and giving back

    def owners(self, resource: str) -> list[Holder]:
        """Read who is named in the lock file."""
        return [holder(resource, record) for record in self._ask("owners", resource=resource)["result"]]

    def all_owners(self) -> list[Holder]:
        """Read all lock files. Who has lost his lock is gone, or about to."""
        found = []
        for name in self._ask("names")["result"]:
            records = self._ask("owners", resource=name)["result"]
            found += [holder(name, one) for one in records if one["locked"] and one["alive"] is not False]
        return found

    def release(self, resource: str | None = None) -> None:
        """Take ourselves out of the lock file, then unlock."""
        if resource is not None and resource not in self._tokens:
            raise NotHeld(resource, self.tenant)
        try:
            if self._tokens:
                self._ask("release", resource=resource)
        except RunningOut as error:
            # It had them, and nobody can give back in its place; the next one waits for the time to run out.
            raise Lost(str(error)) from None
        for name in list(self._modes) if resource is None else [resource]:
            del self._modes[name]
            self._tokens.pop(name, None)
        if not self._tokens:
            self._tree = None

    # -- handing over

    def prepare_out(self, handover: str, target: str, seconds: float) -> Handover:
        """Have the marks written. Shared resources get none: the destination can hold them at the same time."""
        answer = self._ask("prepare_out", handover=handover, target=target, lasting=seconds)
        return Handover.read(answer["state"])

    def complete_out(self, handover: str) -> Handover:
        """Have the marks turned and everything given back; or see that a dead guard of ours has done so."""
        names = [name for name, mode in self._modes.items() if mode == EXCLUSIVE_MODE]
        try:
            state = Handover.read(self._ask("complete_out", handover=handover, names=names)["state"])
        except RunningOut as error:
            raise Lost(str(error)) from None
        if self._tokens:
            self._modes.clear()
            self._tokens.clear()
        return state

    def complete_in(self, state: Handover) -> list[Grant]:
        """Take everything with its number compared. What the source held besides is registered here too."""
        return complete_in(self, dict(self._modes), state, self._take)

    def handed_over(self, resource: str) -> Handover | None:
        """Read the mark."""
        state = self._ask("handed_over", resource=resource)["state"]
        return None if state is None else Handover.read(state)

    def cancel(self, handover: str) -> str:
        """Drop marks of a running source, turn the others back."""
        return str(self._ask("cancel", handover=handover, names=sorted(self._modes))["result"])

    def free(self) -> None:
        """Let the process go. It gives back what is held when the tree is gone.

        If that is so already, and it does not, as somebody has stopped it, or its server does not answer, it is killed: its
        lock would be in everybody's way for ever.
        """
        if self._hand is not None:
            if self._tree is None or trees.gone(self._tree):
                self._hand.end(_FAREWELL)
            else:
                self._hand.close()
            self._hand = None
        self._modes.clear()
        self._tokens.clear()


def _seconds(parameters: Mapping[str, Any], name: str, least: float, most: float) -> float | None:
    """Read a time. Raises DriverRefused."""
    value = parameters.get(name)
    if value in (None, ""):
        return None
    try:
        seconds = float(str(value).removesuffix("s"))
    except ValueError:
        seconds = 0.0
    if not least <= seconds <= most:
        raise DriverRefused(f"driver file: {name}: {value!r} is no number of seconds from {least:g} to {most:g}")
    return seconds


def _now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)
