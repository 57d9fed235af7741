# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The leases of one tenure in a directory on NFS, as the process of hand.py has them. PRIVATE to the collection.

Every method may hang. What an error means: interface.py; a plain OSError of a held file means that its lock is lost.
"""

from __future__ import annotations

import os
import time

from ..._supervise._embedded import identity
from .. import trees
from ..handover import BACK, DROPPED, OUT, PREPARED, RETURNING, UNKNOWN, Handover, UnderWay, permit
from ..interface import EXCLUSIVE_MODE, Busy, Holder, LeaseError, Lost, NotHeld, StoreUnavailable
from ..listing import resources
from ..modes import compatible
from ..preferring import Wishes
from ..remote_marks import Mark, Sightings
from . import layout
from .judge import judge
from .lockfile import LockFile
from .name import Name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from ..preferring import Preference

    Value = TypeVar("Value")

#: Seconds that the tree of a dead holder of this host has to be gone.
_DYING = 2.0
#: Attempts to read a block that is being written, and to open a file that is being exchanged.
_TRIES = 5
#: Seconds between two looks at a tree whose guard is dead, and at a lock that is about to be free.
_LOOK = 0.05
#: Seconds that somebody who has woken up may have a lock that is kept for us.
_AWAKE = 1.0


class Store:
    """The directory, for the tenure of the process *guard* of this host, *here*, which calls itself *tenant*.

    wanted: seconds for which a grant is to be good; the server's lease time if that is less, or None. preference: how it stands
    to others.
    """

    def __init__(
        self, directory: str, tenant: str, here: str, wanted: float | None, guard: int, preference: Preference
    ) -> None:
        self.directory = directory
        self.tenant = tenant
        self.ttl = 0.0
        self.good_from = 0.0
        #: Why nothing of it is ours any more, "" as long as it is.
        self.lost = ""
        self._wanted = wanted
        self._watched = layout.Watched()
        self.preference = preference
        self._wishes = Wishes(preference)
        self._held: dict[str, LockFile] = {}
        self._known_as = f"{tenant}@{here}"
        self._sightings = Sightings()
        #: What we have marked and hold.
        self._prepared: set[str] = set()
        self._lease_time = 0.0
        self._guard = trees.describe(guard, identity.start_time(guard), trees.PROCESS)
        self._tree: dict[str, Any] | None = None
        self._here = here
        self._name = Name(directory, here)

    # -- seeing

    def probe(self) -> dict[str, Any]:
        """Look at the directory. Raises DriverNotLoaded, DriverRefused, StoreUnavailable."""
        verdict = judge(self.directory, self._here)
        # Whoever only asks claims nothing: that would look like a second host of the name to those who have said that it is theirs.
        self._name.judge()
        self._know(verdict.lease_time)
        holes = [[hole.name, hole.text] for hole in verdict.holes]
        return {"holes": holes, "facts": {**verdict.facts, "ttl": f"{self.ttl:g} s"}, "ttl": self.ttl}

    def _know(self, lease_time: float) -> None:
        self._lease_time = float(lease_time)
        if not self._held:
            self.ttl = min(self._lease_time, self._wanted or self._lease_time)

    def owners(self, resource: str) -> list[dict[str, Any]]:
        """Tell who has it, or is waited for as he may: his lock is gone then (locked). Raises OSError, LeaseError."""
        one = LockFile(self.directory, resource, EXCLUSIVE_MODE)
        if not os.path.exists(one.path):
            return []
        one.open()
        try:
            locked = not one.lockable()
            records = [layout.decode(block) for block in one.blocks()[1:] if block != layout.EMPTY]
        finally:
            one.close()
        return [{**record, "alive": self._alive(record), "locked": locked} for record in records if record is not None]

    def names(self) -> list[str]:
        """Give the names of all resources that the directory has ever had. Raises OSError."""
        return resources(self.directory)

    def _alive(self, record: dict[str, Any]) -> bool | None:
        """Say whether a holder lives, None if nobody can tell from here."""
        if not self._local(record):
            return None
        tree = record.get("tree")
        return not trees.gone(record["guard"]) or (tree is not None and not trees.gone(tree))

    def _local(self, record: dict[str, Any]) -> bool:
        """Say whether the processes of a record are of this host, this boot, and can be seen from here."""
        guard = record.get("guard") or {}
        boot, host = guard.get("boot"), record.get("host")
        return boot == trees.boot() and host == self._here and trees.visible(guard)

    # -- getting

    def acquire(
        self,
        wanted: list[tuple[str, str]],
        note: dict[str, Any],
        deadline: float,
        state: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Get all of *wanted*, names and modes, before *deadline*, or none of it. Raises LeaseError, OSError.

        deadline: CLOCK_BOOTTIME. What comes later nobody waits for any more: it is given back. state: the hand-over that is
        completed by it.
        """
        self._check()
        handover = None if state is None else Handover.read(state)
        # The server may have been given another time since.
        self._know(judge(self.directory, self._here).lease_time)
        self._name.claim()
        fresh: list[LockFile] = []
        began = 0.0
        for name, _mode in wanted:
            if name in self._held:
                # By an attempt whose answer came too late: nobody was told, and it would be in our own way.
                self._drop(self._held.pop(name))
        try:
            for name, mode in sorted(wanted):
                one = LockFile(self.directory, name, mode)
                fresh.append(one)
                sent = self._take(one, note, deadline, handover)
                began = began or sent
            if _now() >= deadline:
                raise StoreUnavailable(f"{self.directory}: the server took too long")
        except (LeaseError, OSError):
            for one in fresh:
                self._drop(one)
            raise
        if not self._held:
            self.good_from = began
        self._held.update((one.name, one) for one in fresh)
        tokens = {one.name: one.token for one in fresh}
        return {"tokens": tokens, "good_from": self.good_from, "ttl": self.ttl}

    def _take(self, one: LockFile, note: dict[str, Any], deadline: float, handover: Handover | None) -> float:
        """Lock it, draw the next token, write down who has it; give the time at which that was begun."""
        self._lock(one, handover is not None)
        with one.count():
            blocks = self._outwait(one)
            copy = one.counted()
            last = max(self._last(one, blocks), int(copy.get("token", 0)))
            mark = self._permit(one, last, handover)
            token = last + 1
            slot = layout.free_slot(blocks, token)
            if not slot:
                raise Busy(one.name, [f"{layout.SLOTS} others, which is the most"])
            one.record = {
                "token": token,
                "tenant": self.tenant,
                "host": self._here,
                "mode": one.mode,
                "since": time.time(),
                "ttl": self.ttl,
                "guard": self._guard,
                "tree": self._tree,
                "note": note,
                "beat": 0,
            }
            if self.preference.place:
                one.record["preference"] = self.preference.place
                self._look_for_wishes(one, token)
            room = layout.room(blocks)
            if room:
                one.write(len(blocks), room)
            sent = _now()
            if sent >= deadline:
                raise StoreUnavailable(f"{self.directory}: the server took too long")
            one.token, one.slot = token, slot
            one.beat()
            head = layout.encode({"token": token, "ttl": max(self.ttl, self._others(blocks, copy))})
            one.write(0, head)
            one.note_count(head)
            if mark is not None:
                # Void since the number has changed: only tidied away.
                one.write_mark(layout.EMPTY)
        self._watched.forget(one.name)
        return sent

    def _look_for_wishes(self, one: LockFile, token: int) -> None:
        """Open what has the wishes: later it may be the server's time of grace, in which that is refused, and a heartbeat does not wait for its end."""
        try:
            self._wishes.heed(one.name, token, one.wish.read())
        except OSError:
            one.wish.close()

    def _permit(self, one: LockFile, last: int, handover: Handover | None) -> Mark | None:
        """See that no mark keeps us out, and that nobody was in between; give the mark. Raises Busy, Overtaken, OSError."""
        mark = self._mark(one, last)
        permit(one.name, mark, self._known_as, last, handover)
        return mark

    def _mark(self, one: LockFile, last: int) -> Mark | None:
        """Read the mark that means something. last: the number of the last grant."""
        mark = self._sightings.read(one.name, one.mark())
        return mark if mark is not None and mark.token == last else None

    def _lock(self, one: LockFile, patient: bool) -> None:
        """Lock it. patient: if nobody is named in it, somebody in line has woken up, and is about to see that it is kept."""
        until = _now() + _AWAKE
        for _unused in range(_TRIES):
            one.open()
            while not one.lock():
                if patient and _now() < until and all(block == layout.EMPTY for block in one.blocks()[1:]):
                    time.sleep(_LOOK)
                    continue
                raise Busy(one.name, map(_named, self.owners(one.name)))
            # Whoever has exchanged the file between open and lock would let a second one in: look again.
            if one.current():
                return
        raise StoreUnavailable(f"{one.path}: is exchanged again and again")

    def _outwait(self, one: LockFile) -> list[bytes]:
        """Read the blocks; every conflicting holder in them is sure to be gone, and taken out. Raises Busy, OSError."""
        blocks, left, whom = self._judge(one)
        if left > 0:
            raise Busy(one.name, [f"{whom}, who may still run: waited for {left:.1f} s more"])
        for number in range(1, len(blocks)):
            if blocks[number] != layout.EMPTY and self._conflicts(one, blocks[number]):
                self._end(one, blocks[number])
                one.write(number, layout.EMPTY)
                blocks[number] = layout.EMPTY
        return blocks

    def _judge(self, one: LockFile) -> tuple[list[bytes], float, str]:
        """Read the blocks; give them, the seconds for which somebody in them may still run, and who that is."""
        # An answer that was long on its way tells of what was when it was sent: it begins a time late, and ends none.
        asked = _now()
        blocks = self._read(one)
        now = _now()
        until, whom = 0.0, ""
        for number, block in enumerate(blocks):
            if number == 0 or block == layout.EMPTY or not self._conflicts(one, block):
                continue
            record = layout.decode(block)
            # Whose time cannot be read may have been granted more than the server gives now.
            ttl = float(record["ttl"]) if record else self._longest(blocks, one.counted())
            end = self._watched.until(one.name, number, block, ttl, now)
            if (record is None or not self._dead_here(record)) and end > until:
                until, whom = end, _named(record) if record else "somebody whose block is damaged"
        copy = one.counted() if not blocks or blocks[0] == layout.EMPTY else {}
        if copy:
            # Not the file that it was: whoever holds that one finds out with his next heartbeat.
            end = self._watched.until(one.name, -1, layout.EMPTY, self._longest([], copy), now)
            if end > until:
                until, whom = end, "whoever has the lock file that was here before"
        return blocks, until - asked, whom

    def _longest(self, blocks: list[bytes], copy: dict[str, Any]) -> float:
        """Give the seconds for which somebody may have been granted it who cannot be read."""
        heads = [layout.decode(blocks[0]) or {} if blocks else {}, copy]
        known = [float(head["ttl"]) for head in heads if "ttl" in head]
        return max(known) if known else max(layout.LONGEST, self._lease_time)

    def _others(self, blocks: list[bytes], copy: dict[str, Any]) -> float:
        """Give the seconds for which those who have it beside us may have been granted it, 0 if nobody has."""
        others = any(block != layout.EMPTY for block in blocks[1:])
        return self._longest(blocks, copy) if others else 0.0

    def _read(self, one: LockFile) -> list[bytes]:
        """Read the blocks, again if one of them is just being written."""
        for _unused in range(_TRIES):
            blocks = one.blocks()
            if all(block == layout.EMPTY or layout.decode(block) for block in blocks):
                break
            time.sleep(_LOOK)
        return blocks

    def _conflicts(self, one: LockFile, block: bytes) -> bool:
        record = layout.decode(block)
        return record is None or not compatible(one.mode, str(record.get("mode")))

    def _dead_here(self, record: dict[str, Any]) -> bool:
        """Say whether it is a holder of this host that is seen to be dead, or dying."""
        tree = record.get("tree")
        if not self._local(record):
            return False
        if record["guard"] == self._guard and record.get("tenant") == self.tenant:
            # An attempt of our own that nobody has heard the end of.
            return tree is None or trees.gone(tree)
        return tree is not None and trees.gone(record["guard"])

    def _end(self, one: LockFile, block: bytes) -> None:
        """See the end of what a dead holder of this host has left. Raises Busy."""
        record = layout.decode(block)
        if record is None or not self._dead_here(record) or record["tree"] is None:
            return
        if not trees.end(record["tree"], _DYING):
            raise Busy(one.name, [f"{_named(record)}, which is being killed"])

    def _last(self, one: LockFile, blocks: list[bytes]) -> int:
        records = [layout.decode(block) or {} for block in blocks]
        if blocks and blocks[0] != layout.EMPTY and not records[0] and not one.counted():
            raise LeaseError(f"{one.path}: is damaged; remove it when nobody has {one.name}")
        return max((int(record.get("token", 0)) for record in records), default=0)

    def _number(self, one: LockFile, blocks: list[bytes]) -> int:
        """Give the number of the last grant."""
        return max(self._last(one, blocks), int(one.counted().get("token", 0)))

    def _drop(self, one: LockFile) -> None:
        """Give back what nobody was told of."""
        try:
            self._clear(one)
            one.unlock()
        except OSError:
            one.close()

    # -- keeping

    def renew(self) -> dict[str, Any]:
        """Write a heartbeat into everything that is held. Raises Lost: it is for ever."""
        self._check()
        sent = _now()
        try:
            for one in self._held.values():
                one.beat()
                head = layout.decode(one.block(0)) or {}
                token = head.get("token", 0)
                if token < (one.token or 0) or (token > (one.token or 0) and not one.shared):
                    raise Lost(f"{one.path}: somebody else has been granted it, with token {token}")
                if not one.current():
                    raise Lost(f"{one.path}: was removed or exchanged")
        except Lost as error:
            self.lost = str(error)
            raise
        except OSError as error:
            self.lost = f"{one.path}: {error.strerror}: its lock is lost"
            raise Lost(self.lost) from None
        self.good_from = sent
        try:
            self._name.keep()
        except OSError:
            pass  # Nothing that is held depends on it.
        return {"good_from": sent, "ttl": self.ttl, "preferred": self._preferred()}

    def _preferred(self) -> str:
        """Name who wishes for what is held and comes before us. Nothing that is held depends on it."""
        if not self.preference.place:
            return ""
        try:
            known = [one for one in self._held.values() if one.wish.opened]
            found = [self._wishes.heed(one.name, one.token or 0, one.wish.read()) for one in known]
        except OSError:
            return ""
        return next(filter(None, found), "")

    def _check(self) -> None:
        """Never lock anew what was lost: a lock that can be had again says nothing of who had it meanwhile."""
        if self.lost:
            raise Lost(self.lost)

    def tie(self, tree: dict[str, Any]) -> None:
        """Note the tree, and write it down."""
        self._tree = tree
        self._write(tree=tree)

    def annotate(self, note: dict[str, Any]) -> None:
        """Write another note down. Raises LeaseError."""
        for one in self._held.values():
            layout.encode({**one.record, "note": note, "beat": 2**32})
        self._write(note=note)

    def _write(self, **more: Any) -> None:
        self._check()
        for one in self._held.values():
            try:
                one.beat(**more)
            except OSError as error:
                self.lost = f"{one.path}: {error.strerror}: its lock is lost"
                raise Lost(self.lost) from None

    # -- waiting

    def may_have(self, wanted: list[tuple[str, str]], waited: float) -> bool:
        """Say whether all of *wanted* could be got now, after *waited* seconds in line. Raises OSError, LeaseError.

        If it is time for that, wishes for what somebody has who comes after us.
        """
        if not self._lease_time:
            self._know(judge(self.directory, self._here).lease_time)
        self._name.claim()
        found, after_us = True, self.preference.wishes(waited, self.ttl / 3)
        wished: list[str] = []
        for name, mode in wanted:
            one = LockFile(self.directory, name, mode)
            one.open()
            try:
                # Looked at also if another one is not to be had: the time of who is there counts from the first look.
                blocks, left, _whom = self._judge(one)
                kept = self._kept(one, blocks)
                ahead = [block for block in blocks[1:] if block != layout.EMPTY and self._conflicts(one, block)]
                free = left <= 0 and one.lockable() and not kept
                found = free and found
                after_us = after_us and not kept and all(map(self.preference.after_us, map(layout.decode, ahead)))
                wished += [name] if ahead else []
            finally:
                one.close()
        if after_us and not found:
            for name in wished:
                self._wish(name)
        return found

    def _wish(self, name: str) -> None:
        page = LockFile(self.directory, name, EXCLUSIVE_MODE).wish
        try:
            page.write(self.preference.wish(self._known_as))
        finally:
            page.close()

    def _kept(self, one: LockFile, blocks: list[bytes]) -> bool:
        mark = self._mark(one, self._number(one, blocks))
        return mark is not None and not mark.allows(self._known_as)

    # -- handing over

    def prepare_out(self, handover: str, target: str, lasting: float) -> dict[str, Any]:
        """Mark what is held exclusively, for *lasting* seconds. Raises UnderWay, LeaseError, OSError: no mark is left, if that can be."""
        self._check()
        chosen = [self._held[name] for name in sorted(self._held) if not self._held[name].shared]
        tokens = {one.name: one.token or 0 for one in chosen}
        state = Handover(handover, self._known_as, target, tokens, PREPARED)
        done: list[LockFile] = []
        for one in chosen:
            try:
                with one.count():
                    old = self._mark(one, one.token or 0)
                    if old is not None and (old.id, old.target) != (handover, target):
                        raise UnderWay(f"{one.name}: {old} has not ended; cancel it first")
                    one.write_mark(Mark(state, one.token or 0, lasting).block())
            except (LeaseError, OSError):
                self._abandon(done)
                raise
            self._prepared.add(one.name)
            done.append(one)
        return {"state": state.write()}

    def _abandon(self, given: list[LockFile]) -> None:
        """Take away our marks of what is not handed over any more. What cannot be reached now ends with its time."""
        for one in given:
            if one.name in self._prepared:
                self._prepared.discard(one.name)
                try:
                    one.write_mark(layout.EMPTY)
                except OSError:
                    continue

    def complete_out(self, handover: str, names: list[str]) -> dict[str, Any]:
        """Turn the marks of *names* and give everything back; or see that a dead guard of ours has done so. Raises LeaseError, OSError."""
        self._check()
        tokens: dict[str, int] = {}
        target = ""
        for name in names:
            mark = self._change(name, lambda one, last: self._give_up(one, last, handover))
            tokens[name], target = mark.token, mark.target
        if self._held:
            self.release(None)
        return {"state": Handover(handover, self._known_as, target, tokens, OUT).write()}

    def _change(self, name: str, work: Callable[[LockFile, int], Value]) -> Value:
        """Do *work*, which is told the number of the last grant, while the counter of *name* is locked."""
        held = self._held.get(name)
        one = held or LockFile(self.directory, name, EXCLUSIVE_MODE)
        try:
            if held is None:
                one.open()
            with one.count():
                return work(one, one.token if one.token is not None else self._number(one, one.blocks()))
        finally:
            if held is None:
                one.close()

    def _give_up(self, one: LockFile, last: int, handover: str) -> Mark:
        mark = self._mark(one, last)
        if mark is None or mark.id != handover or mark.source != self._known_as:
            raise LeaseError(f"{one.name}: is not being handed over by {self._known_as} under the number {handover}")
        if mark.stage == PREPARED:
            if one.token is None and (self._judge(one)[1] > 0 or not one.lockable()):
                raise Busy(one.name, map(_named, self.owners(one.name)))
            mark.stage = OUT
            one.write_mark(mark.block())
        if mark.stage != OUT:
            raise LeaseError(f"{one.name}: {mark} was taken back")
        self._prepared.discard(one.name)
        return mark

    def cancel(self, handover: str, names: list[str]) -> str:
        """Drop the marks that have come to nothing yet, turn the others back. Raises LeaseError, OSError."""
        outcome = UNKNOWN
        for name in names:
            found = self._change(name, lambda one, last: self._turn_back(one, last, handover))
            outcome = found if outcome != RETURNING and found else outcome
        return outcome

    def _turn_back(self, one: LockFile, last: int, handover: str) -> str:
        mark = self._mark(one, last)
        if mark is None or mark.id != handover:
            return ""
        self._prepared.discard(one.name)
        if mark.stage == PREPARED:
            one.write_mark(layout.EMPTY)
            return DROPPED
        mark.stage = BACK
        one.write_mark(mark.block())
        return RETURNING

    def handed_over(self, resource: str) -> dict[str, Any]:
        """Read the mark of a resource. Raises LeaseError, OSError."""
        mark = self._change(resource, self._mark)
        return {"state": None if mark is None else mark.write()}

    # -- giving back

    def release(self, resource: str | None) -> None:
        """Clear our blocks, then unlock; the tree is gone, if it is about all. Raises NotHeld, Lost, LeaseError."""
        if resource is not None and resource not in self._held:
            raise NotHeld(resource, self.tenant)
        self._check()
        self._abandon([one for name, one in self._held.items() if resource in (None, name)])
        for name in list(self._held) if resource is None else [resource]:
            one = self._held[name]
            try:
                self._clear(one)
                one.unlock()
            except OSError as error:
                self.lost = f"{one.path}: {error.strerror}: its lock is lost"
                raise Lost(self.lost) from None
            del self._held[name]
        if resource is None:
            self._tree = None

    def _clear(self, one: LockFile) -> None:
        """Clear our block if it still is ours. Raises OSError."""
        if one.token is not None:
            record = layout.decode(one.block(one.slot))
            if record is not None and record.get("token") == one.token:
                one.write(one.slot, layout.EMPTY)
            one.token = None

    def overdue_in(self) -> float | None:
        """Give the seconds until what is held has run out, None if nothing is, or it has; then call `run_out`."""
        if not self._held or self.lost:
            return None
        return self.good_from + self.ttl - _now()

    def run_out(self) -> None:
        """Give back what nobody has renewed in time. What is left of the tree is waited for at the guard's end."""
        overdue = self.overdue_in()
        if overdue is None or overdue > 0:
            return
        self.lost = "not renewed in time"
        if self._tree is None or trees.gone(self._tree):
            self._give_back()

    def _give_back(self) -> None:
        for one in self._held.values():
            self._drop(one)
        self._held.clear()

    def outlive(self) -> None:
        """Give everything back when the guard is gone and nothing of the tree is left; hold it until then.

        What does not die, since it hangs in the kernel, is a holder still.
        """
        beaten = 0.0
        while self._tree is not None and not trees.gone(self._tree):
            if trees.gone(self._guard):
                trees.end(self._tree, _LOOK)
            else:
                time.sleep(_LOOK)
            if _now() >= beaten and not self.lost:
                beaten = _now() + self.ttl / 3
                try:
                    self.renew()
                except LeaseError:
                    pass
        self._give_back()


def _named(record: dict[str, Any]) -> str:
    return str(holder("", record))


def _now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def holder(resource: str, record: dict[str, Any]) -> Holder:
    """Give the holder that a record is about."""
    guard, note = record.get("guard") or {}, record.get("note")
    return Holder(
        resource,
        str(record.get("mode", EXCLUSIVE_MODE)),
        f"{record.get('tenant', '?')}@{record.get('host', '?')}" if not resource else str(record.get("tenant", "?")),
        int(guard.get("pid", 0)),
        int(record.get("token", 0)),
        float(record.get("since", 0.0)),
        record.get("alive"),
        note if isinstance(note, dict) else None,
        str(record.get("host", "")),
    )
