# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a guard needs of a lease driver, and what each driver promises. PRIVATE to the collection.

A driver is one class in one file. It keeps the grants of one tenure: one guard, one service, from the first acquired
resource to the last released one. Each verb says in its text what is held after it has failed, whether it may be
repeated and what becomes of the service. What holds for all of them:

- a failed acquire leaves nothing held that was not held before; it may be repeated;
- a failed release leaves the resource held; it may be repeated; the service is not touched;
- no verb ever kills a service, and none starts one: that is the guard's business alone;
- an answer that may or may not mean yes means no;
- every call that asks a store ends in bounded time, also if the store is silent.

Where grants run out (`ttl`), the guard makes every call that asks the store in one thread of its own, one at a time, so
that a slow store never keeps it from stopping its service in time. Only `lost_fd` and `look` are called beside that.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from .modes import EXCLUSIVE_MODE, MODES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from typing import Any, ClassVar

    from .handover import Handover

#: The interface's version: drivers of another major are refused, the minor counts added calls.
CORE_API = (1, 5)
#: What this core can do for a driver; a driver refuses a core that lacks what it relies on.
CORE_FEATURES = frozenset({"bind", "line_up", "renew", "dead_man", "watch", "prepare_tree", "pause", "exec"})

# Capabilities that a driver declares.
SHARED = "shared"  # several holders at a time, if all of them say shared
READONLY = "readonly"  # several holders at a time, if all of them say readonly; never beside one who says shared
HOT = "hot"  # resources may be added and given back while the service runs
TOKEN = "token"  # every grant has a number that is greater than all before it
LINE_UP = "line_up"  # waiting in line without polling
RENEWS = "renews"  # grants run out unless they are renewed
KEPT = "kept"  # grants run out unless a program beside the guard renews them; `renew` looks until when they are good
REMOTE = "remote"  # holders on several hosts exclude each other
HANDOVER = "handover"  # what is held can be handed over to a chosen guard, see handover.py
UNBROKEN = "unbroken"  # a `renew` after the grants' end says yes only if nobody else was granted anything in between
NOTE = "note"  # a few words of the holder's stand beside what it holds
EXEC = "exec"  # what is held can be tied to a process that then executes the service, with nobody beside it
CAPABILITIES = frozenset({SHARED, READONLY, HOT, TOKEN, LINE_UP, RENEWS, KEPT, REMOTE, HANDOVER, NOTE, UNBROKEN, EXEC})

_LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")
_FURTHER = _LETTERS.union(".@:+-")


def _may_be_called(text: str) -> bool:
    return 0 < len(text) <= 64 and text[0] in _LETTERS and _FURTHER.issuperset(text)


#: Says what a resource may be called: for every driver the same, so that a service can change from one to another.
RESOURCE_NAME = _may_be_called


class LeaseError(Exception):
    """Something about leases failed; the text says what and what cures it."""


class DriverNotFound(LeaseError):
    """There is no driver of that name."""


class DriverNotLoaded(LeaseError):
    """The driver is there and cannot work here: wrong version, missing program, unusable directory."""


class DriverRefused(LeaseError):
    """The driver works and says no to this configuration: a parameter, a safety hole, an unfit host."""


class Busy(LeaseError):
    """Somebody else holds the resource. holders: who, as far as the store knows."""

    def __init__(self, resource: str, holders: Iterable[str] = ()) -> None:
        self.resource = resource
        self.holders = list(holders)
        super().__init__(f"{resource}: held by " + (", ".join(self.holders) or "somebody else"))


class StoreUnavailable(LeaseError):
    """The store does not answer, or not clearly. Nothing is wrong with what was asked: it may be repeated."""


class Lost(LeaseError):
    """The store says that a lease is not ours any more. It is never got again in the same tenure."""


class RunningOut(LeaseError):
    """All that is held is good until it runs out, and nobody can renew it or give it back any more.

    The service is to be ended in order while there is time.
    """


class NotHeld(LeaseError):
    """The *resource* is not held by this tenure."""

    def __init__(self, resource: str, tenant: str) -> None:
        self.resource = resource
        super().__init__(f"{resource}: is not held by {tenant}")


class Hole:
    """A way in which two holders may come to be in spite of the lease. name: short; text: what happens and the cure."""

    __slots__ = ("name", "text")

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text

    def __repr__(self) -> str:
        return f"Hole({self.name})"


class Grant:
    """One granted resource. token: fencing number."""

    __slots__ = ("mode", "resource", "token")

    def __init__(self, resource: str, mode: str, token: int) -> None:
        self.resource = resource
        self.mode = mode
        self.token = token


class Holder:
    """Who holds a resource, for people and for waiting. alive: None where nobody can tell from here.

    note: what the holder has written beside it; from a stranger, so nothing is decided by it. host: its node name.
    pid and since are 0 where the store does not know them.
    """

    __slots__ = ("alive", "host", "mode", "name", "note", "pid", "resource", "since", "token")

    def __init__(
        self,
        resource: str,
        mode: str,
        name: str,
        pid: int,
        token: int,
        since: float,
        alive: bool | None,
        note: Mapping[str, Any] | None = None,
        host: str = "",
    ) -> None:
        self.resource = resource
        self.mode = mode
        self.name = name
        self.pid = pid
        self.token = token
        self.since = since
        self.alive = alive
        self.note = dict(note or {})
        self.host = host

    def __str__(self) -> str:
        process = f"process {self.pid}, " if self.pid else ""
        return f"{self.name} ({process}token {self.token})"


class Driver(ABC):
    """The leases of one tenure in one store. Making an instance touches nothing."""

    name: ClassVar[str]
    #: The version of this interface that the driver was written for.
    api: ClassVar[tuple[int, int]]
    #: What of CAPABILITIES it has.
    capabilities: ClassVar[frozenset[str]]
    #: Parameters that it knows; any other is an error.
    parameters: ClassVar[frozenset[str]] = frozenset()
    #: How many resources one service can have, None if nothing but its memory limits them; `register` refuses one more.
    most_resources: ClassVar[int | None] = None
    #: Seconds that `ttl` can be at least: what the store keeps to, and what leaves room for the deadlines.
    shortest_ttl: ClassVar[float] = 0.0
    #: Seconds for which a grant is good, None: for good. Known when the instance is made; `acquire` may correct it.
    ttl: float | None = None
    #: The part of `ttl` after which the guard calls `renew` again.
    pace: ClassVar[float] = 1 / 3
    #: Whether a tree may be made before anything is granted: it need not inherit what `acquire` or `prepare_tree` open, as
    #: `bind` keeps others out until it is gone.
    ahead: ClassVar[bool] = False
    #: Seconds in which everybody in line looks once, where the store calls nobody. Who makes way gives them as many.
    glance: float = 0.0
    #: From when on: the time (CLOCK_BOOTTIME) at which the last request was sent that got or renewed all that is held.
    good_from: float = 0.0

    def __init__(self, tenant: str, parameters: Mapping[str, Any]) -> None:
        """Make a driver for the service *tenant*. Raises DriverRefused for a parameter that it does not know."""
        unknown = sorted(set(parameters) - self.parameters)
        if unknown:
            known = ", ".join(sorted(self.parameters)) or "none"
            raise DriverRefused(f"driver {self.name}: unknown parameter {', '.join(unknown)}; it knows: {known}")
        self.tenant = tenant
        #: What is to stand beside everything that is acquired from now on; only where NOTE is declared.
        self.note: dict[str, Any] = {}

    @classmethod
    def chosen(cls, _parameters: Mapping[str, Any]) -> type[Driver]:
        """Give the class for these parameters, where a driver works in several ways. Raises DriverRefused."""
        return cls

    @property
    def identity(self) -> str:
        """Give the name by which other guards know this one in the store: the tenant, and its host if there are several."""
        return self.tenant

    @classmethod
    @abstractmethod
    def load(cls, core_api: tuple[int, int], features: frozenset[str]) -> None:
        """Look whether the driver can work with this core. Raises DriverNotLoaded if it cannot; may be repeated."""

    @abstractmethod
    def probe(self) -> list[Hole]:
        """Name every hole in the promise that is open with this store on this host.

        Raises DriverNotLoaded if the store cannot be used at all, DriverRefused if it must not be, StoreUnavailable if
        it does not answer now. Changes nothing but that it makes the store's own directory. May be repeated.
        """

    def facts(self) -> dict[str, str]:
        """Tell what `probe` has found that is no hole but worth knowing, for people: versions, members, clocks."""
        return {}

    @abstractmethod
    def register(self, resource: str, mode: str) -> None:
        """Say that *resource* will be needed. Nothing is held by it.

        Raises DriverRefused if the name or the mode can't be; the resource is not registered then.
        """

    @abstractmethod
    def acquire(self) -> list[Grant]:
        """Get all that is registered and not held yet, or nothing of it. Never waits for another holder.

        Raises Busy, LeaseError: what was held before is still held, nothing else is; may be repeated. A repeated call
        gives the same grants again for what is held already. Lost: what was held before is not ours any more.
        """

    def prepare_tree(self) -> None:  # noqa: B027 - nothing to do for most
        """Make ready for `bind`, in the guard's main thread, before the tree's first process is made. Raises LeaseError.

        A child that is forked here is outside of the tree's pid namespace; later ones are in it.
        """

    @abstractmethod
    def bind(self, pid: int, started: int) -> None:
        """Tie all that is held to the process tree below *pid*, which must not do anything before this has returned.

        Nobody is granted what this tenure holds before that tree is gone, even if the guard dies. Raises LeaseError:
        the leases are held on, the tree must not be started; may be repeated.
        """

    def become(self) -> list[int]:
        """Tie all that is held to the calling process, which executes the service next; only where EXEC is declared.

        Gives the descriptors that the service has to keep open, which are not inheritable yet. `acquire` was called in this very
        process, and `line_up` too. No verb is called afterwards: nobody is granted what is held until this process is dead, but for
        what `exec_holes` names. Raises LeaseError: the leases are held on, the service must not be started.
        """
        raise LeaseError(f"driver {self.name}: needs a guard beside the service")

    def exec_holes(self) -> list[Hole]:
        """Name what is open, by the last `probe` and beyond it, if the service is executed in the place of a guard. Asks nobody."""
        return []

    @abstractmethod
    def prepare_line(self) -> None:
        """Make ready for `line_up`. Raises LeaseError; nothing is held by it, may be repeated."""

    @abstractmethod
    def leave_line(self) -> None:
        """Give back what `line_up` has got and `acquire` has not taken over. May be called at any time."""

    @abstractmethod
    def forget(self, resource: str) -> None:
        """Take back the registration of a resource that is not held; a held one is left alone."""

    @abstractmethod
    def line_up(self) -> None:
        """Wait, blocking, until `acquire` is likely to succeed. To be called in a forked child of the guard, or with EXEC by itself.

        Killing the child leaves nothing held that the guard would not know of. Raises LeaseError.
        """

    @abstractmethod
    def release(self, resource: str | None = None) -> None:
        """Give one resource back, or all of them and forget them.

        For all, the caller has seen to it that the service's tree is gone. Raises NotHeld for a resource that is not
        held (nothing has changed), LeaseError: what could not be released counts as held; may be repeated.
        """

    @abstractmethod
    def held(self) -> list[Grant]:
        """Give what this tenure holds, without asking the store."""

    @abstractmethod
    def owners(self, resource: str) -> list[Holder]:
        """Ask the store who holds *resource*. For people: nothing is decided by the answer. Raises LeaseError."""

    def all_owners(self) -> list[Holder]:
        """Ask the store who holds anything at all. For people and inventories, as `owners`. Raises LeaseError."""
        raise LeaseError(f"driver {self.name}: cannot tell of all its resources")

    def renew(self) -> None:
        """Renew all that is held and set `good_from`; only where RENEWS or KEPT is declared.

        Raises LeaseError: nobody knows what became of it; the leases are good until the last good renewal runs out, and
        it may be repeated, with UNBROKEN also after that. Lost: one of them is not ours any more. RunningOut: there will be no further renewal.
        """
        raise LeaseError(f"driver {self.name}: its leases need no renewal")

    def preferred(self) -> str:
        """Name somebody who stands in line and is to have what is held rather than we, by the last `renew`; "" if nobody is.

        The guard then ends its service in order, and gives everything back. Asks nobody.
        """
        return ""

    def lost_fd(self) -> int:
        """Give the descriptor that becomes readable when the store has something to tell, -1 if there is none.

        It may be another one after each `acquire` and `renew`.
        """
        return -1

    def look(self) -> None:  # noqa: B027 - nothing to do for most
        """Read what the store has to tell, without waiting. Raises Lost, RunningOut; a hint that comes before `renew`."""

    def drop_inherited(self) -> None:  # noqa: B027 - nothing to do for most
        """Close, in the first process of the tree, what it has inherited and does not need to keep the lease."""

    @abstractmethod
    def free(self) -> None:
        """Close what the driver has open. May be called at any time and repeatedly; never kills anything.

        What was held and not released is given back by the store when the whole tree is gone.
        """

    def annotate(self, note: Mapping[str, Any]) -> None:
        """Write *note* beside what is held and what will be, instead of the one before; only where NOTE is declared.

        For people and for those who look for hosts: nothing is decided by it. Raises LeaseError: the note may be the
        old one; the leases are as they were; may be repeated.
        """
        raise LeaseError(f"driver {self.name}: keeps no notes")

    # Handing over; only where HANDOVER is declared. What the stages allow is in handover.py.

    def prepare_out(self, handover: str, target: str, seconds: float) -> Handover:
        """Mark all that is held as being handed over to the guard whose `identity` is *target*, for *seconds*.

        Repeated with the same hand-over and target, it gives the mark new time. Raises UnderWay, LeaseError: no mark of
        this hand-over is left; what is held is held on.
        """
        raise LeaseError(f"driver {self.name}: cannot hand over")

    def prepare_in(self, handover: str) -> None:  # noqa: B027 - `probe` says it for most
        """See, at the destination, that what is registered could be got by *handover*. Its source has not ended anything yet.

        `probe` was called right before. Nothing is held by it, and nothing need follow it. Raises LeaseError: the hand-over is not
        begun; may be repeated.
        """

    def complete_out(self, handover: str) -> Handover:
        """Give back everything that is marked with *handover*, the mark staying; the service's tree is gone.

        Raises LeaseError: what could not be given back counts as held, may be repeated.
        """
        raise LeaseError(f"driver {self.name}: cannot hand over")

    def complete_in(self, state: Handover) -> list[Grant]:
        """Get all that is registered, if the tokens still are those of *state*, and take the mark away.

        Raises Busy, Overtaken, LeaseError: nothing is held that was not held before; may be repeated.
        """
        raise LeaseError(f"driver {self.name}: cannot hand over")

    def handed_over(self, resource: str) -> Handover | None:
        """Give the mark that *resource* has, None if it has none or its time is over. Raises LeaseError."""
        raise LeaseError(f"driver {self.name}: cannot hand over")

    def cancel(self, handover: str) -> str:
        """Take the marks of *handover* back, of whatever is registered; give DROPPED, RETURNING or UNKNOWN.

        Marks of the stage OUT become BACK: from then on only the source is granted the resources, until they run out.
        Raises LeaseError: some marks may have been taken back, may be repeated. Complete hand-overs are UNKNOWN.
        """
        raise LeaseError(f"driver {self.name}: cannot hand over")


def check_registration(resource: str, mode: str, registered: Collection[str], driver: Driver) -> None:
    """Judge a resource that *driver* is to have beside *registered*.

    Raises DriverRefused if its name or its mode can't be, or if it is one too many.
    """
    if not RESOURCE_NAME(resource):
        raise DriverRefused(f"{resource!r}: a resource's name has letters, digits and _.@:+- (64 at most)")
    if mode not in MODES:
        raise DriverRefused(f"{resource}: {mode!r} is none of {', '.join(MODES)}")
    if mode != EXCLUSIVE_MODE and mode not in driver.capabilities:
        raise DriverRefused(f"{resource}: the driver {driver.name} does not know {mode}")
    if resource in registered:
        raise DriverRefused(f"{resource}: is named twice")
    if driver.most_resources is not None and len(registered) >= driver.most_resources:
        raise DriverRefused(f"{resource}: one service can have {driver.most_resources} resources at most")
