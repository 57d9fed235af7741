# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Another backend for a host that has services: what would be done, and doing it. PRIVATE to the collection.

Both supervisors run meanwhile, and every service has a mark that says whose it is (see `_supervise.holding`). Services
move one at a time: told to stop where they are, confirmed dead with all that belonged to them, then started where they
go. What ran ready and does not get ready there goes back, and the switch ends with that. Nothing is taken from memory:
each run looks at who runs what, so that a run which ended anywhere is finished by the next one.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from typing import Any

from .._plan.scan import Scan
from .._supervise import holding, log_table, portable
from .._supervise.backends import BACKENDS, unsupported
from .._supervise.holding import DOWN, GONE, NOBODY, READY, UP, Mark
from .._supervise.interface import Backend, NotRunning, Service, Snapshot, Verdict, needed
from .._supervise.remains import Remains, boot_id
from . import logs_of, roots
from .embedded_root import EmbeddedRoot
from .host import Failed
from .roots import Root

#: Seconds for a service to become ready beyond what its definition says.
PATIENCE = 30.0
#: Seconds that what a service leaves behind has, beyond its stop_timeout, before it is killed; 0 there means no limit.
LEFT = 5.0


class Interrupted(Failed):
    """A service could not be moved. switched: those that were, as in the result of a switch that succeeds."""

    def __init__(self, text: str, switched: dict[str, dict[str, Any]]) -> None:
        super().__init__(text)
        self.switched = switched


class Side:
    """One of the supervisors: what runs it, and how its services are steered."""

    def __init__(self, root: Root) -> None:
        self.name = root.engine or root.name
        self.root = root
        self.backend: Backend = BACKENDS[root.name](root.wanted.scan_directory)

    def services(self) -> dict[str, Service]:
        """Give what it supervises now; nothing when it does not run. Raises BackendError."""
        try:
            return self.backend.snapshot().services
        except NotRunning:
            return {}


class Move:
    """One service that has to change sides. source: who has it, None when nobody has or he does not run.

    former: whom it is taken from, in words, if an interrupted run has begun with that already too.
    """

    __slots__ = ("former", "mark", "meta", "name", "service", "source")

    def __init__(  # pylint: disable=too-many-arguments
        self, name: str, meta: dict[str, Any], mark: Mark, source: Side | None, service: Service | None, former: str
    ) -> None:
        self.name = name
        self.meta = meta
        self.mark = mark
        self.source = source
        self.service = service
        self.former = former

    @property
    def told(self) -> str:
        """Give the move in words."""
        return f"{self.name}: move from {self.former} to {self.mark.target}"


class Plan:
    """What a switch has to do. sides: the former ones. problems: why nothing may be done."""

    def __init__(self, scan: str, target: Side) -> None:
        self.scan = scan
        self.target = target
        self.sides: list[Side] = []
        self.moves: list[Move] = []
        self.problems: list[str] = []

    @property
    def needed(self) -> bool:
        """Tell whether there is anything of another backend, or of an interrupted switch."""
        return bool(self.sides) or holding.switching(self.scan)

    def actions(self) -> list[str]:
        """Give all that would be done, in order."""
        steps = [] if self.target.root.running() else [f"start {self.target.name}"]
        return steps + [move.told for move in self.moves] + [f"remove {side.name}" for side in self.sides]


def make(target: Root, others: list[Root]) -> Plan:
    """Look at the host. Changes nothing. Raises BackendError, UnitError, OSError."""
    scan = target.wanted.scan_directory
    plan = Plan(scan, Side(target))
    plan.sides = [side for side in map(Side, others) if side.name != plan.target.name and side.root.left()]
    if not plan.needed or not os.path.isdir(scan):
        return plan
    found = {side.name: side.services() for side in plan.sides}
    there = plan.target.services() if holding.switching(scan) else {}
    for name, one in _directories(scan).items():
        holders = [side for side in plan.sides if name in found[side.name]]
        running = [side for side in holders if found[side.name][name].pid]
        source = next(iter(running or holders), None)
        mark = holding.read(scan, name)
        if not running and (
            _has_moved(mark, plan.target.name, there.get(name)) if mark is not None else not plan.sides
        ):
            continue
        service = found[source.name][name] if source is not None else None
        holder = source.name if source else mark.holder if mark else plan.sides[0].name if plan.sides else NOBODY
        want = mark.want if mark is not None else _want(service, one)
        former = plan.sides[0].name if holder in (NOBODY, GONE) and plan.sides else holder
        plan.moves.append(Move(name, one.meta, Mark(holder, want, plan.target.name), source, service, former))
        plan.problems += _problems(plan, plan.moves[-1])
    _order(plan.moves)
    metas = {move.name: move.meta for move in plan.moves}
    plan.problems += plan.target.backend.problems(metas)
    plan.problems += [problem for side in plan.sides for problem in side.root.keeps()]
    plan.problems += [roots.process_one(side.name) for side in plan.sides if side.root.is_process_one()]
    return plan


def run(plan: Plan, check_mode: bool) -> dict[str, Any]:
    """Do what the module `supervisor` does where a switch is needed, and give its result. Raises what `apply` raises."""
    root = plan.target.root
    if plan.problems:
        text = "\n".join(plan.problems)
        raise Failed(f"the backend cannot be switched to {root.name}, nothing was changed:\n{text}")
    if not (check_mode and root.installed_before):
        root.check()
    if not check_mode:
        if (root.wanted.version or root.host.layout.active()) is None:
            raise Failed(f"there is no runtime in {root.wanted.runtime_directory}: install it first")
        return apply(plan, lambda: _started(root))
    found = root.running() or {"pid": None, "version": None, "since": None}
    times = {"down": None, "ready": None}
    return {
        **found,
        "changed": True,
        "state": "running",
        "actions": plan.actions(),
        "switched": {one.name: {"from": one.former, "to": root.name, **times} for one in plan.moves},
        "boot": root.boot(),
        "deployed": os.path.isdir(plan.scan),
        "diff": [_diff(plan)],
    }


def _started(root: Root) -> dict[str, Any]:
    if isinstance(root, EmbeddedRoot):
        return root.started(check_mode=False)
    return roots.started(root, check_mode=False, switching=True)


def _diff(plan: Plan) -> dict[str, str]:
    before = "".join(f"{move.name}: {move.former}\n" for move in plan.moves)
    after = "".join(f"{move.name}: {move.mark.target}\n" for move in plan.moves)
    return {"before_header": "backend", "after_header": "backend", "before": before, "after": after}


def apply(plan: Plan, start: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Do it. *start* has the target's supervisor run, and gives what the module says of it.

    Raises Failed, BackendError, UnitError, OSError: what has moved by then stays where it is, everything is supervised
    by one side or the other, and the next run goes on.
    """
    scan = Scan(plan.scan)
    try:
        if not scan.lock():
            raise Failed(f"{plan.scan}: another run changes it: try again when that has ended")
        return _apply(plan, start)
    finally:
        plan.target.backend.close()
        for side in plan.sides:
            side.backend.close()
        scan.close()


def _apply(plan: Plan, start: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    actions = plan.actions()
    holding.begin(plan.scan)
    for move in plan.moves:
        holder = holding.read(plan.scan, move.name)
        if holder is None or holder.target != plan.target.name:
            kept = holder or move.mark
            mark = Mark(move.mark.holder, move.mark.want, plan.target.name, kept.boot, kept.processes)
            holding.write(plan.scan, move.name, mark)
    for name in _directories(plan.scan):
        # One that was to leave, and stays since the switch was turned round.
        stays = holding.read(plan.scan, name)
        if stays is not None and stays.holder == plan.target.name != stays.target:
            holding.write(plan.scan, name, Mark(stays.holder, stays.want, plan.target.name))
    for side in plan.sides:
        # Who does not run has nothing to move; what he left behind must not become a second copy.
        if side.root.running() is None:
            side.root.stop()
        else:
            side.backend.make_room()
    logs_of.give(plan.target.root.wanted, done=False)
    result = start()
    target = plan.target.backend
    target.rescan()
    moved: dict[str, dict[str, Any]] = {}
    for move in plan.moves:
        try:
            moved[move.name] = _move(plan, move)
        except Failed as error:
            raise Interrupted(str(error), moved) from None
    target.complete()
    for side in plan.sides:
        side.root.retire()
    logs_of.give(plan.target.root.wanted, done=True)
    holding.end(plan.scan)
    result["actions"] = actions + [action for action in result["actions"] if action not in actions]
    result.update(changed=True, switched=moved, diff=[_diff(plan), *result["diff"]])
    return result


def _move(plan: Plan, move: Move) -> dict[str, Any]:
    """Move one service; if it does not get ready, back. Gives times. Raises Failed."""
    source, target = move.source, plan.target
    before = time.monotonic()
    verdict, down, kept = _change(plan, move, plan.sides, target)
    if verdict is None or verdict.outcome == "reached" or _is_done(move, verdict):
        if kept:
            raise Failed(
                f"{move.name}: the logger of {' and '.join(kept)} has not let go of its log within {log_table.PATIENCE:g} s, "
                "so lines may be missing or doubled: the disk hangs, or is very busy. The service itself has moved to "
                f"{target.name}; the services after it were not moved. Find out why, and run this again"
            )
        # Its time begins before the other side is told of anything.
        ready = time.monotonic() - before if verdict is not None and verdict.outcome == "reached" else None
        return {"from": move.former, "to": target.name, "down": down, "ready": ready}
    why = verdict.service.trouble if verdict.service is not None else "it is not known there"
    text = f"{move.name} ran ready under {move.former} and does not under {target.name}: {why}"
    if source is None:
        raise Failed(text)
    back = Move(move.name, move.meta, Mark(target.name, move.mark.want, source.name), target, None, target.name)
    verdict, _down, _kept = _change(plan, back, [target], source)
    home = "it does not run there either" if verdict is None or verdict.outcome != "reached" else "it runs there again"
    raise Failed(
        f"{text}. It was moved back, and {home}; the services after it were not moved. Find out why, and run this again"
    )


def _change(plan: Plan, move: Move, sides: list[Side], target: Side) -> tuple[Verdict | None, float, list[str]]:
    """Take a service from *sides* to *target*.

    Gives what became of a start that was waited for, the seconds from the order to stop to the start, and the sides whose
    logger has not let go of its log: a log is no reason to keep a service down.
    """
    name, backend = move.name, target.backend
    mark = holding.read(plan.scan, name) or move.mark
    left = Remains(mark.processes if mark.boot == boot_id() else ())
    # On its way it may run where it goes: on the way back, or when nobody thought yet of going there.
    possible = [*sides, target] if mark.holder in (NOBODY, GONE) else sides
    holders = [side for side in possible if side.root.running() is not None]
    for side in holders:
        service = side.services().get(name)
        if service is not None and service.pid:
            left.add(service.pid)
    # From here on nobody starts it, not even after a reboot; what runs goes on running.
    holding.write(plan.scan, name, Mark(NOBODY, move.mark.want, target.name, boot_id(), left.processes))
    others = [side for side in holders if side is not target]
    for side in (*others, target):
        side.backend.settle(name)
    known = name in backend.snapshot().services
    told = time.time()
    for side in holders:
        _stop(plan, side, move)
    _confirm(move, left)
    _relink(plan.scan, name, backend)
    holding.write(plan.scan, name, Mark(GONE, move.mark.want, target.name))
    # What it has said is written before another logger gets the directory.
    kept = [side.name for side in others if not side.backend.let_go(name)]
    holding.write(plan.scan, name, Mark(target.name, move.mark.want, target.name))
    backend.take_up(name)
    wanted = move.mark.want != DOWN
    if not known:
        # One that is enabled is started by that.
        backend.settle(name)
    if wanted:
        refused = backend.control([(name, "start")]).get(name)
        if refused:
            raise Failed(f"{name}: {target.name} does not start it: {refused}")
    down = time.time() - told
    # Now its logger is started, where it has one of its own; what it has said by then waits in a pipe.
    backend.settle(name)
    for side in others:
        side.backend.settle(name)
    if move.mark.want != READY:
        return None, down, kept
    readiness = move.meta.get("readiness") or {}
    verdict = backend.wait([(name, "ready")], PATIENCE + float(readiness.get("timeout") or 0.0))[name]
    if verdict.service is not None and verdict.service.since is not None and verdict.service.since > told:
        down = verdict.service.since - told
    return verdict, down, kept


def _stop(plan: Plan, side: Side, move: Move) -> None:
    name, backend = move.name, side.backend
    if name not in side.services():
        return
    refused = backend.control([(name, "remove")]).get(name)
    if refused:
        raise Failed(f"{name}: {side.name} does not stop it: {refused}")
    timeout = side.root.wanted.stop_timeout
    verdict = backend.wait([(name, "down")], timeout)[name]
    if verdict.outcome != "reached" and verdict.service is not None:
        raise Failed(f"{name}: {side.name} has not stopped it within {timeout:g} s: run this again when it has ended")


def _confirm(move: Move, left: Remains) -> None:
    """See that nothing is left of a service that was stopped. Raises Failed."""
    number = signal.Signals[f"SIG{move.meta.get('stop_signal') or 'TERM'}"]
    stuck = left.end(number, float(move.meta.get("stop_timeout") or 0.0) + LEFT)
    if stuck:
        pids = ", ".join(str(pid) for pid, _start in stuck)
        raise Failed(f"{move.name}: processes of it do not end, not even killed: {pids}")


def _relink(scan: str, name: str, backend: Backend) -> None:
    """Have the link `supervise` lead to the new side. What is there and no link is somebody's, and stays."""
    path, target = f"{scan}/{name}/supervise", backend.link(name)
    if os.path.lexists(path) and not os.path.islink(path):
        return
    if not target:
        if os.path.islink(path):
            os.unlink(path)
        return
    beside = f"{scan}/{holding.FOLDER}/.link"
    if os.path.lexists(beside):
        os.unlink(beside)
    os.symlink(target, beside)
    os.rename(beside, path)


def _directories(scan: str) -> dict[str, portable.Portable]:
    found = (portable.read(scan, name) for name in sorted(os.listdir(scan)) if not name.startswith("."))
    return {one.name: one for one in found if one is not None}


def _has_moved(mark: Mark, target: str, there: Service | None) -> bool:
    """Tell whether a service is where it goes, and was started there."""
    return mark.holder == target and (mark.want == DOWN or (there is not None and bool(there.pid)))


def _want(service: Service | None, one: portable.Portable) -> str:
    """Say what shall become of a service: what it is now, or by its directory where nobody can be asked."""
    if service is None:
        return UP if one.enabled else DOWN
    if service.ready:
        return READY
    return UP if service.want == "up" or (service.state == "failed" and one.enabled) else DOWN


def _is_done(move: Move, verdict: Verdict) -> bool:
    service = verdict.service
    passing = move.meta.get("restart") in ("on_failure", "never")
    return passing and service is not None and service.state == "down" and service.succeeded


def _problems(plan: Plan, move: Move) -> list[str]:
    """Say what the target cannot do for a service, and why it cannot be stopped now."""
    target, found = plan.target.backend, []
    for feature in needed(move.meta):
        if feature not in target.capabilities:
            found.append(f"{move.name}: {unsupported(feature, target)}")
        elif not target.depends_on_host(feature):
            reason = target.obstacle(feature, move.meta, Snapshot({}, {}))
            if reason:
                found.append(f"{move.name}: {unsupported(feature, target, reason)}")
    if move.meta.get("state") == "once" and move.service is not None and move.service.pid:
        found.append(f"{move.name} runs once and has not ended: wait until it has")
    return found


def _order(moves: list[Move]) -> None:
    """Put what is needed before those that need it; by name otherwise."""
    depth: dict[str, int] = {}
    metas: Mapping[str, dict[str, Any]] = {move.name: move.meta for move in moves}

    def level(name: str, seen: frozenset[str]) -> int:
        if name not in depth:
            needs = [need for need in metas[name].get("needs") or () if need in metas and need not in seen]
            depth[name] = 1 + max((level(need, seen | {name}) for need in needs), default=0)
        return depth[name]

    moves.sort(key=lambda move: (level(move.name, frozenset((move.name,))), move.name))
