# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The driver `sanlock`: leases on storage that several hosts share, kept by the daemon sanlock. PRIVATE to the collection.

The daemon of each host renews one lease for the whole host (a delta lease), and what is held is held by that host. So:

- Nothing is renewed here. `renew` reads when the daemon has last renewed the host's lease, and that is how long all of
  the host's grants are good: 8 io_timeouts from then. Other hosts wait 60 seconds longer, for the watchdog of the host.
- The guard is registered with the daemon, which ends it if the lease cannot be renewed: SIGTERM, and SIGKILL 40 s later.
  Nobody has to wait for that: the guard's own deadlines, and the kernel's timer behind them, come before 8 io_timeouts.
- A daemon that dies says so by closing the connection. The grants are still good until they run out, and cannot be given
  back: the service is ended in order.
- What was acquired belongs to the connection, of which a process beside the guard keeps a copy until the service's tree
  is gone (_sanlock/keeper.py).
- The number of a grant is sanlock's own `lver`, which grows with every grant of the resource. Those who share it on one
  host have one grant together, and one number.

Where the resources are on the storage: _sanlock/daemon.py.
"""

from __future__ import annotations

import os
import time

from ._sanlock.batch import Batch, Resource
from ._sanlock.daemon import Daemon, Space, in_store
from ._sanlock.handing import Handing
from ._sanlock.index import Index
from ._sanlock.judge import GONE, judge
from ._sanlock.keeper import Keeper
from ._sanlock.parameters import NAMES, Parameters
from ._sanlock.wire import AT_ONCE, DEAD, FREE, LIVE, Ended
from ._sanlock.wishes import Wishing
from .handover import complete_in
from .interface import (
    EXCLUSIVE_MODE,
    EXEC,
    HANDOVER,
    HOT,
    KEPT,
    LINE_UP,
    REMOTE,
    SHARED,
    TOKEN,
    Busy,
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
from .modes import SHARED_MODE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, ClassVar

    from .handover import Handover

#: Seconds for which a grant is good, until the store has said it: io_timeout is 10 if nobody has chosen another.
_TTL = 10.0 * GONE
#: io_timeouts that one call may take for which the daemon reads and writes the storage, and seconds at least.
_CALL, _LEAST = 1.5, 1.5
#: io_timeouts without a renewal (there is one every 2) after which people are told, and nothing new is granted.
_LATE = 3.5
#: io_timeouts that a look at wishes may take.
_HEED = 0.5
#: Seconds between two looks of one in line while sanlock does not answer.
_AGAIN = 2.0


class Sanlock(Driver):
    """Leases of sanlock. Parameters: see _sanlock/parameters.py."""

    name: ClassVar[str] = "sanlock"
    api: ClassVar[tuple[int, int]] = (1, 4)
    capabilities: ClassVar[frozenset[str]] = frozenset({SHARED, HOT, TOKEN, LINE_UP, KEPT, REMOTE, HANDOVER, EXEC})
    parameters: ClassVar[frozenset[str]] = NAMES
    #: The daemon takes 8 in one call; so many calls are one grant, or none. Each look of one in line reads 1 MiB for each.
    most_resources: ClassVar[int | None] = 8 * AT_ONCE
    #: An io_timeout is one second at least.
    shortest_ttl: ClassVar[float] = float(GONE)
    #: The host's lease is renewed each 2 of the 8 io_timeouts; this is one of them.
    pace: ClassVar[float] = 1 / GONE

    def __init__(self, tenant: str, parameters: Mapping[str, Any]) -> None:
        """Make the driver. Raises DriverRefused."""
        super().__init__(tenant, parameters)
        self._parameters = Parameters(parameters)
        self._daemon = Daemon(self._parameters)
        self._index = Index(self._daemon, self._parameters)
        self._resources: dict[str, Resource] = {}
        self._batches: list[Batch] = []
        self._keeper: Keeper | None = None
        self._facts: dict[str, str] = {}
        self._watched = False
        self._fixed = False
        #: As whom the host has joined: host id and generation, since the first grant.
        self._joined: tuple[int, int] | None = None
        self._kept = 0
        self._ahead = _boottime_ahead()
        self._handing = Handing(self._daemon, self._index, self._parameters.path, self.identity)
        self._left: Handover | None = None
        self._wishing = Wishing(self._handing.marks, self._parameters.preference, self.identity)
        self._preferred = ""
        self.ttl: float = _TTL
        self.glance: float = self._parameters.preference.glance

    @property
    def identity(self) -> str:
        """Give the tenant and its host: several hosts have a service of that name."""
        return f"{self.tenant}@{os.uname().nodename}"

    @classmethod
    def load(cls, core_api: tuple[int, int], features: frozenset[str]) -> None:
        """Need a core that asks how long grants are good, waits in a child, and has a kernel's timer."""
        missing = sorted({"bind", "renew", "dead_man", "line_up", "prepare_tree"} - features)
        if core_api[0] != cls.api[0] or core_api < cls.api or missing:
            raise DriverNotLoaded(
                f"driver sanlock: this core cannot do what it needs: {', '.join(missing) or core_api}"
            )

    def probe(self) -> list[Hole]:
        """Ask the daemon for everything about itself, and join the lockspace if host_id says as whom."""
        verdict = judge(self._daemon, self._parameters)
        self._facts = verdict.facts
        self._watched = verdict.watched
        self._fixed = verdict.fixed
        return verdict.holes

    def facts(self) -> dict[str, str]:
        """Tell version, storage, host id and times, as of the last `probe`."""
        return dict(self._facts)

    def register(self, resource: str, mode: str) -> None:
        """Note the resource."""
        check_registration(resource, mode, self._resources, self)
        stored = in_store(self._parameters.prefix + resource)
        self._resources[resource] = Resource(resource, mode, mode == SHARED_MODE, stored)

    def forget(self, resource: str) -> None:
        """Take back the registration of a resource that is not held."""
        found = self._resources.get(resource)
        if found is not None and found.token is None:
            del self._resources[resource]

    # -- getting

    def acquire(self) -> list[Grant]:
        """Get everything that is missing by one connection of its own."""
        if any(one.token is None for one in self._resources.values()):
            self._take(self._space(), None)
        return self.held()

    def _wanted(self, space: Space) -> list[Resource]:
        """Give what is registered and not held; each has its place on the storage. Raises LeaseError."""
        return self._placed([one for one in self._resources.values() if one.token is None], space)

    def _placed(self, resources: list[Resource], space: Space) -> list[Resource]:
        for one in resources:
            one.offset = self._index.make(one.stored, space)
        return resources

    def _take(self, space: Space, state: Handover | None) -> None:
        """Get everything that is missing, by the hand-over *state* if there is one."""
        patience = _patience(space)
        wanted = self._wanted(space)
        marked = self._handing.judge(wanted, space, patience, state)
        batch = Batch(self._parameters, self._daemon.connect())
        try:
            batch.acquire(wanted, self.tenant, space, patience, state.tokens if state else None)
        except Busy:
            raise self._busy(wanted, space) from None
        try:
            tokens = self._daemon.tokens(os.getpid())
            if any(one.stored not in tokens for one in wanted):
                raise DriverRefused(
                    "driver sanlock: the daemon does not know this process by its pid: guard and sanlock have to run in "
                    "the same pid namespace"
                )
            if self._keeper is not None:
                self._keeper.add(batch.connection)
        except (LeaseError, OSError) as error:
            batch.give_up(patience)
            raise error if isinstance(error, LeaseError) else LeaseError(f"driver sanlock: {error}") from None
        for one in wanted:
            one.token = tokens[one.stored]
        self._batches.append(batch)
        self._note(space)
        self._handing.tidy(marked, space, patience)

    def _busy(self, wanted: list[Resource], space: Space) -> Busy:
        """Say who has one of *wanted*, as far as it is still so."""
        for one in wanted:
            try:
                holders = self._holders(one, space)
            except LeaseError:
                continue
            if holders and not (one.shared and all(holder.mode == SHARED_MODE for holder in holders)):
                return Busy(one.name, map(str, holders))
        return Busy(wanted[0].name)

    def _space(self) -> Space:
        """Ask for the lockspace; it is in order. Raises StoreUnavailable, Lost."""
        space = self._daemon.space()
        lockspace = self._parameters.lockspace
        if space is None or space.joining:
            raise StoreUnavailable(f"sanlock: this host has not joined the lockspace {lockspace}")
        if self._joined not in (None, (space.host, space.generation)):
            raise Lost(f"sanlock: this host has left the lockspace {lockspace} and joined it anew")
        if space.dying:
            raise StoreUnavailable(f"sanlock: the lockspace {lockspace} is being given up")
        late = time.monotonic() - space.kept
        if late > _LATE * space.io_timeout:
            raise StoreUnavailable(f"sanlock: the host's lease in {lockspace} was last renewed {late:.0f} s ago")
        return space

    def _note(self, space: Space) -> None:
        """Note how long grants are good.

        The daemon's clock stands still while the host sleeps, ours does not: what was slept after the renewal must
        not prolong anything. So the difference of the clocks is that of our last look, which was before the renewal.
        """
        self._joined = (space.host, space.generation)
        self.ttl = float(GONE * space.io_timeout)
        ahead = _boottime_ahead()
        if space.kept != self._kept:
            self._kept = space.kept
            self.good_from = max(self.good_from, space.kept + self._ahead)
        self._ahead = ahead

    def prepare_tree(self) -> None:
        """Start the keeper, while children of ours are still outside of the service's pid namespace."""
        try:
            self._keeper = Keeper()
            for batch in self._batches:
                self._keeper.add(batch.connection)
        except OSError as error:
            raise LeaseError(f"driver sanlock: {error.strerror or error}") from None

    def bind(self, pid: int, started: int) -> None:
        """Tell the keeper whose end to wait for."""
        try:
            if self._keeper is not None:
                self._keeper.tie(pid)
        except OSError as error:
            raise LeaseError(f"driver sanlock: the keeper is gone: {error.strerror or error}") from None

    def become(self) -> list[int]:
        """Give the connections, by which this process is registered; the service can tell the daemon nothing on them.

        There is no keeper: the daemon gives back when the last copy is closed.
        """
        for batch in self._batches:
            batch.restrict(_LEAST)
        return [batch.connection.fileno() for batch in self._batches]

    def exec_holes(self) -> list[Hole]:
        """Say what only a guard and its keeper see to."""
        holes = [
            Hole(
                "descriptor_closed",
                "the service has the lease as a descriptor (HOLDFAST_LEASE_FDS): when it closes that, another host gets the "
                "lease while it runs; mode guard closes it",
            ),
            Hole(
                "left_behind",
                "a process that the service leaves behind without that descriptor runs on when another host has the lease, and one that "
                "has it is not killed when the lockspace fails; mode guard closes it",
            ),
            Hole(
                "sleep",
                "the daemon's clock stands still while the host sleeps: it renews afterwards as if nothing had been, and nobody ends the "
                "service, though another host may have the lease by then; mode guard closes it",
            ),
        ]
        if not self._watched:
            holes.append(
                Hole(
                    "daemon_death",
                    "when the daemon sanlock dies or hangs nobody ends the service, and another host gets the lease beside it; a "
                    "watchdog (wdmd, and -w 1) closes it by resetting the host, mode guard without that",
                )
            )
        return holes

    # -- keeping

    def renew(self) -> None:
        """Look whether we still have what we had, and until when."""
        try:
            missing = [one.name for batch in self._batches for one in batch.missing(_LEAST)]
        except Ended:
            raise self._ended() from None
        if missing:
            raise Lost(f"sanlock: {', '.join(missing)}: was taken from us on this host")
        space = self._daemon.space()
        if space is None or space.dying:
            # Long before its time, or we would be dead: somebody has removed it, or another host has our number and name.
            raise Lost(
                f"sanlock gives up the lockspace {self._parameters.lockspace}: another host may have what is held"
            )
        if self._joined != (space.host, space.generation):
            raise Lost(f"sanlock: this host has left the lockspace {self._parameters.lockspace} and joined it anew")
        self._note(space)
        late = time.monotonic() - space.kept
        if late > _LATE * space.io_timeout:
            raise StoreUnavailable(f"sanlock has not renewed the host's lease for {late:.0f} s")
        # In the time that there is until the next look, and without a word if the storage does not answer.
        self._preferred = self._wishing.heed(list(self._resources.values()), space, _HEED * space.io_timeout)

    def preferred(self) -> str:
        """Name who wishes for what is held, by the last look."""
        return self._preferred

    def lost_fd(self) -> int:
        """Give a connection: the daemon has nothing to say on it, but its end."""
        return self._batches[0].connection.fileno() if self._batches else -1

    def look(self) -> None:
        """See whether the daemon has closed it."""
        if self._batches and self._batches[0].connection.ended():
            raise self._ended()

    def _ended(self) -> LeaseError:
        if self._fixed:
            # Its successor is let in as who it was, at once, and gives what we hold to others.
            return Lost("the daemon sanlock has ended, and has a fixed name: nothing keeps others from what is held")
        return RunningOut(
            f"the daemon sanlock has ended: what is held is good for {self.ttl:g} s from its last renewal"
        )

    # -- seeing

    def held(self) -> list[Grant]:
        """Give what is held, in the order in which it was registered."""
        return [Grant(one.name, one.mode, one.token) for one in self._resources.values() if one.token is not None]

    def owners(self, resource: str) -> list[Holder]:
        """Read the resource's owners from the storage; their names are known of this host's processes only."""
        space = self._space()
        one = self._resources.get(resource) or self._named(resource)
        if one.offset < 0:
            one.offset = self._index.place(one.stored, space)
        return self._holders(one, space) if one.offset >= 0 else []

    def _named(self, resource: str) -> Resource:
        return Resource(resource, EXCLUSIVE_MODE, False, in_store(self._parameters.prefix + resource))

    def _holders(self, one: Resource, space: Space) -> list[Holder]:
        owners = self._daemon.owners(one.stored, one.offset, space)
        found: list[Holder] = []
        names: dict[int, str] | None = None
        for owner in owners:
            mode = SHARED_MODE if owner.shared else EXCLUSIVE_MODE
            since = time.time() - (time.monotonic() - owner.stamp) if owner.stamp else 0.0
            if owner.host == space.host:
                found += [
                    Holder(one.name, mode, name, pid, number, since, True, None, os.uname().nodename)
                    for pid, name, number in self._daemon.clients(one.stored)
                ]
                continue
            names = self._daemon.names() if names is None else names
            # The daemon's own name is a number that is new each time, and the host's name.
            known = names.get(owner.host, "")
            node = known.partition(".")[2] or known
            name = f"host {owner.host}" + (f", {node}" if node else "")
            alive = self._daemon.state(owner) == LIVE or None
            # Its clock is another one, and only its daemon knows which process it is.
            found.append(Holder(one.name, mode, name, 0, owner.number, 0.0, alive, None, node))
        return found

    # -- waiting

    def prepare_line(self) -> None:
        """Nothing to do: the child has connections of its own."""

    def leave_line(self) -> None:
        """Nothing to do: one in line has nothing."""

    def line_up(self) -> None:
        """Look again and again. Who does not come first lets the others look, and looks once more, before it is his turn."""
        pause, preference = self._parameters.poll, self._parameters.preference
        since = time.monotonic()
        left_to_others = not preference.pause
        while True:
            try:
                if self._in_the_way(since):
                    left_to_others = not preference.pause
                    time.sleep(pause * (0.9 + 0.2 * os.urandom(1)[0] / 255))
                elif left_to_others:
                    return
                else:
                    left_to_others = True
                    time.sleep(preference.pause)
            except LeaseError:
                time.sleep(max(_AGAIN, pause))

    def _in_the_way(self, since: float) -> bool:
        """Say whether somebody has what is wanted, and his host is not known to be dead, or it is kept for him. Raises LeaseError.

        since: when we have begun to stand in line. Wishes for what others have, when it is time for that.
        """
        space = self._space()
        wanted = self._wanted(space)
        patience = _patience(space)
        waited = time.monotonic() - since
        wishes = self._parameters.preference.wishes(waited, float(space.io_timeout))
        ahead = []
        for one in wanted:
            for owner in self._daemon.owners(one.stored, one.offset, space):
                if (one.shared and owner.shared) or self._daemon.state(owner) in (FREE, DEAD):
                    continue
                # This host may have given it back.
                if owner.host != space.host or waited < _AGAIN or self._daemon.clients(one.stored):
                    ahead.append((one, owner))
                    if not wishes:
                        return True
        kept = self._handing.kept(wanted, space, patience)
        if ahead and not kept:
            self._wishing.wish(ahead, space, patience)
        return bool(ahead) or kept

    # -- giving back

    def release(self, resource: str | None = None) -> None:
        """Have the daemon free what is chosen on the storage."""
        if resource is not None and (resource not in self._resources or self._resources[resource].token is None):
            raise NotHeld(resource, self.tenant)
        patience = max(_CALL * self.ttl / GONE, _LEAST)
        self._abandon([one for one in self._resources.values() if resource in (None, one.name)])
        for batch in list(self._batches):
            for one in [one for one in batch.resources if resource in (None, one.name)]:
                batch.release([one], patience)
                del self._resources[one.name]
            if not batch.resources:
                batch.connection.close()
                self._batches.remove(batch)
        if resource is None:
            self._resources.clear()
            self._end_keeper()
            self._joined = None

    def _abandon(self, given: list[Resource]) -> None:
        """Take away our marks of what is given back. What cannot be reached now ends with its time."""
        try:
            self._handing.abandon(given, self._space)
        except LeaseError:
            pass

    def _end_keeper(self) -> None:
        if self._keeper is not None:
            self._keeper.close()
            self._keeper = None

    # -- handing over

    def _held_alone(self) -> list[Resource]:
        return [one for one in self._resources.values() if one.mode == EXCLUSIVE_MODE and one.token is not None]

    def prepare_out(self, handover: str, target: str, seconds: float) -> Handover:
        """Write the marks. Shared resources get none: the destination can hold them at the same time."""
        space = self._space()
        return self._handing.prepare_out(self._held_alone(), handover, target, seconds, space, _patience(space))

    def prepare_in(self, handover: str) -> None:
        """See that the host's lease is renewed in time, and that everything has its place."""
        self._wanted(self._space())

    def complete_out(self, handover: str) -> Handover:
        """Turn the marks, then have everything freed; or see that a dead guard of ours has done so."""
        left, self._left = self._left, None
        if left is None or left.id != handover:
            space = self._space()
            patience = _patience(space)
            if not self.held():
                return self._left_by_another(handover, space, patience)
            left = self._handing.turn_out(self._held_alone(), handover, space, patience)
        try:
            self.release()
        except LeaseError:
            # Some may be given back already, and not be here the next time.
            self._left = left
            raise
        return left

    def _left_by_another(self, handover: str, space: Space, patience: float) -> Handover:
        left = self._placed([one for one in self._resources.values() if one.mode == EXCLUSIVE_MODE], space)
        return self._handing.alone(space, lambda: self._handing.turn_left(left, handover, space, patience))

    def complete_in(self, state: Handover) -> list[Grant]:
        """Have the daemon compare the number of everything. What the source held besides is registered here too."""
        modes = {one.name: one.mode for one in self._resources.values()}
        return complete_in(self, modes, state, self._take_from)

    def _take_from(self, state: Handover) -> list[Grant]:
        space = self._space()
        self._handing.alone(space, lambda: self._take(space, state))
        return self.held()

    def handed_over(self, resource: str) -> Handover | None:
        """Read the mark."""
        space = self._space()
        one = self._resources.get(resource) or self._named(resource)
        one.offset = self._index.place(one.stored, space)
        return self._handing.standing([one], space, _patience(space))[0] if one.offset >= 0 else None

    def cancel(self, handover: str) -> str:
        """Drop the marks, or turn them back."""
        space = self._space()
        chosen = self._placed(list(self._resources.values()), space)
        return self._handing.alone(space, lambda: self._handing.cancel(chosen, handover, space, _patience(space)))

    def free(self) -> None:
        """Close the connections. The daemon gives back what is held when the keeper has seen the end of the tree."""
        for batch in self._batches:
            batch.connection.close()
        self._batches.clear()
        self._end_keeper()


def _patience(space: Space) -> float:
    """Give the seconds that one call may take for which the storage is read and written."""
    return max(_CALL * space.io_timeout, _LEAST)


def _boottime_ahead() -> float:
    """Give the seconds by which the clock of our deadlines is ahead of sanlock's: those that the host has slept."""
    monotonic = time.monotonic()
    return time.clock_gettime(time.CLOCK_BOOTTIME) - monotonic
