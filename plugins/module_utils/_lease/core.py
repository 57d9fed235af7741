# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The deciding core of a guard: (state, event, now) -> (state, actions). No clocks, no processes, no files here.

All times are seconds of one clock that never goes back and counts suspension too. Whoever drives it calls `step` for
each event, and with TICK at the time that `wake` gives; it carries out the actions in their order and reports what came
of them as further events. Deadlines count from the time at which the last good request was *sent*.

With T the time that a grant is good for and V its end:

    V - 0.40 T   the service is asked to end; none is started from then on
    V - 0.20 T   its tree is killed
    V - 0.12 T   the kernel kills the guard (ARM), and the tree with it, if neither was awake

A service that was asked to end ends, also if the store comes back meanwhile: it is killed at that V - 0.20 T, or when its
time for an ordered stop is over if that is later and the lease still good.

With `on_lost` HOOK a hook hears of it first, and has half of what is left until the kill. With PAUSE, V - 0.40 T stops the
tree instead of asking it. Once it is sure to stand still (STILL), V means nothing any more: what does not run breaks no
promise. The kernel's timer then is set to the end of the pause, and 0.08 T. The tree goes on only after a renewal that was answered
well, and so says that nobody else was granted anything meanwhile; with the timer set back first. Anything else ends in a kill:
the store's word that the lease is not ours, a stop, the end of the pause. A tree of which nobody could say in time that it
stands still is killed at V - 0.20 T like any other.

A driver whose grants don't run out (T is None) has none of these. PRIVATE to the collection.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import namedtuple
    from typing import Any
else:
    from .._lean.records import namedtuple

# Phases.
STANDBY = "standby"  # in line; nothing runs
ACTIVE = "active"  # the service's tree may be alive, and is wanted to be
PAUSING = "pausing"  # it is being stopped, and may still run
PAUSED = "paused"  # nothing of it runs, and nothing will before the lease is known to be ours
STOPPING = "stopping"  # it was asked to end
KILLING = "killing"  # it was killed and is not gone yet
RELEASING = "releasing"  # the tree is gone, the leases are being given back
ENDED = "ended"  # nothing is left to do

# Events.
GRANTED = "granted"  # sent: when the request was sent
REFUSED = "refused"  # nothing is held; reason
RENEWED = "renewed"  # sent
UNCLEAR = "unclear"  # a renewal of which nobody knows what became
LOST = "lost"  # the store says that the lease is not ours; reason
RUNNING_OUT = "running out"  # nobody can renew any more; reason. The deadlines stay
STILL = "still"  # every process of the tree stands still until RESUME
STOP = "stop"  # somebody wants the service to end; reason
GONE = "gone"  # the last process of the tree is gone; reason: how the service ended
RELEASED = "released"
UNRELEASED = "unreleased"  # what could not be released counts as held; reason
TICK = "tick"

# Actions: (name, value).
START = "start"  # start the service
WARN = "warn"  # the service is about to be asked to end, since the lease ends; it is killed at this time
PAUSE = "pause"  # stop the whole tree, and say STILL when it stands
RESUME = "resume"  # let it go on
TERMINATE = "terminate"  # ask the service to end
KILL = "kill"  # kill its whole tree
ARM = "arm"  # the kernel kills the guard at this time; None: not any more, nothing is left to be killed
RENEW = "renew"
RELEASE = "release"  # give everything back
LEAVE = "leave"  # leave the line
END = "end"  # the guard ends; what is not released runs out

# What is done when a lease is not renewed in time.
ON_LOST_KILL, ON_LOST_HOOK, ON_LOST_PAUSE = "kill", "hook", "pause"

Event = namedtuple("Event", "kind sent reason", defaults=(0.0, ""))

#: ttl: T, None: grants don't run out. grace: seconds from an ordered stop to the kill, 0: none is set.
#: valid: V. renew_at, kill_at, retry_at: when to renew, kill, release again. lost: never release, the grant is not ours.
#: pace: the part of T after which a renewal is due. on_lost: what is done when there is none in time. patience: seconds
#: beyond V that a tree may stand still. doomed: when that is over.
State = namedtuple(
    "State",
    "phase ttl grace valid renew_at kill_at retry_at lost reason pace on_lost patience doomed",
    defaults=(None, 10.0, None, None, None, None, False, "", 1 / 3, ON_LOST_KILL, 0.0, None),
)

#: In these phases something of the service may be alive.
ALIVE = (ACTIVE, PAUSING, PAUSED, STOPPING, KILLING)

_TERMINATE, _KILL, _DEAD, _RETRY = 0.40, 0.20, 0.12, 0.1
#: After an unclear renewal the next one is due in this part of T: there may be time for several before the end begins.
_ONCE_MORE = 0.05


def begin(
    ttl: float | None, grace: float, pace: float = 1 / 3, on_lost: str = ON_LOST_KILL, patience: float = 0.0
) -> State:
    """Give the state of a guard that has not got anything yet."""
    return State(STANDBY, ttl, grace, pace=pace, on_lost=on_lost, patience=patience)


def step(state: State, event: Event, now: float) -> tuple[State, list[tuple[str, Any]]]:
    """Give the state after *event* and what is to be done, in this order."""
    actions: list[tuple[str, Any]] = []
    if state.phase == ENDED:
        return state, actions
    state = _EVENTS[event.kind](state, event, now, actions)
    state = _deadlines(state, now, actions)
    return state, actions


def may_start(state: State, now: float) -> bool:
    """Say whether there is still time to let the service run, which is asked once more right before it does."""
    return state.phase == ACTIVE and (state.ttl is None or now < state.valid - _TERMINATE * state.ttl)


def wake(state: State) -> float | None:
    """Give the time at which `step` has to be called with TICK if nothing else happens, None for never."""
    times = []
    if state.phase in ALIVE and state.ttl is not None and not state.lost:
        times.append(state.renew_at)
        if state.phase == ACTIVE:
            times.append(state.valid - _TERMINATE * state.ttl)
        if state.phase == PAUSED:
            times.append(state.doomed)
        elif state.phase != KILLING:
            times.append(state.valid - _KILL * state.ttl)
        else:
            times.append(state.valid)
    if state.phase == STOPPING and state.kill_at is not None:
        times.append(state.kill_at)
    if state.phase == RELEASING and state.retry_at is not None:
        times.append(min(state.retry_at, state.valid))
    return min(times) if times else None


def _granted(state: State, event: Event, now: float, actions: list[tuple[str, Any]]) -> State:
    if state.phase != STANDBY:
        return state
    ttl = state.ttl
    valid = None if ttl is None else event.sent + ttl
    state = state._replace(valid=valid)
    if state.reason:
        actions.append((RELEASE, None))
        return state._replace(phase=RELEASING)
    if ttl is not None and valid is not None:
        if now >= valid - _TERMINATE * ttl:
            # The answer took so long that a start would have to be followed by a stop.
            actions.append((RELEASE, None))
            return state._replace(phase=RELEASING, reason="granted too late to start")
        actions.append((ARM, valid - _DEAD * ttl))
        state = state._replace(renew_at=event.sent + state.pace * ttl)
    actions.append((START, None))
    return state._replace(phase=ACTIVE)


def _refused(state: State, event: Event, _now: float, actions: list[tuple[str, Any]]) -> State:
    if state.phase != STANDBY:
        return state
    actions.append((END, None))
    return state._replace(phase=ENDED, reason=state.reason or event.reason)


def _renewed(state: State, event: Event, now: float, actions: list[tuple[str, Any]]) -> State:
    ttl = state.ttl
    if ttl is None or state.lost or state.phase not in ALIVE:
        return state
    valid = event.sent + ttl
    if state.phase in (PAUSING, PAUSED):
        return _go_on(state, valid, now, actions)
    # An answer that comes after the end says what was, not what is: somebody else may have it by now.
    if now >= state.valid or valid <= state.valid:
        return state
    actions.append((ARM, valid - _DEAD * ttl))
    return state._replace(valid=valid)


def _go_on(state: State, valid: float, now: float, actions: list[tuple[str, Any]]) -> State:
    """Let a paused tree go on if there is time enough for it to be asked to end once more."""
    if state.phase == PAUSING and now >= state.valid:
        # It was not seen to stand still, so this comes too late, as for any other.
        return state
    if valid <= state.valid or now >= valid - _TERMINATE * state.ttl:
        return state
    actions.append((ARM, valid - _DEAD * state.ttl))
    actions.append((RESUME, None))
    return state._replace(phase=ACTIVE, valid=valid, doomed=None)


def _still(state: State, _event: Event, now: float, actions: list[tuple[str, Any]]) -> State:
    if state.phase != PAUSING or now >= state.valid - _KILL * state.ttl:
        return state
    doomed = state.valid + state.patience
    # As much later than the kill as ever.
    actions.append((ARM, doomed + (_KILL - _DEAD) * state.ttl))
    return state._replace(phase=PAUSED, doomed=doomed)


def _unclear(state: State, _event: Event, now: float, _actions: list[tuple[str, Any]]) -> State:
    if state.ttl is None or state.renew_at is None or state.phase == PAUSED:
        # Who stands still has time.
        return state
    return state._replace(renew_at=min(state.renew_at, now + _ONCE_MORE * state.ttl))


def _lost(state: State, event: Event, _now: float, actions: list[tuple[str, Any]]) -> State:
    if state.phase == STANDBY:
        actions.append((LEAVE, None))
        actions.append((END, None))
        return state._replace(phase=ENDED, lost=True, reason=event.reason)
    if state.phase == RELEASING:
        actions.append((END, None))
        return state._replace(phase=ENDED, lost=True)
    if state.phase != KILLING:
        actions.append((KILL, None))
    return state._replace(phase=KILLING, lost=True, reason=state.reason or event.reason)


def _stop(state: State, event: Event, now: float, actions: list[tuple[str, Any]]) -> State:
    if state.phase == STANDBY and not state.reason:
        # The answer to leaving is REFUSED, or GRANTED if that was quicker.
        actions.append((LEAVE, None))
        return state._replace(reason=event.reason or "stopped")
    if state.phase in (PAUSING, PAUSED):
        # It cannot hear, and must not run in order to.
        actions.append((KILL, None))
        return state._replace(phase=KILLING, reason=event.reason or "stopped")
    if state.phase != ACTIVE:
        return state
    actions.append((TERMINATE, None))
    kill_at = now + state.grace if state.grace else None
    return state._replace(phase=STOPPING, kill_at=kill_at, reason=event.reason or "stopped")


def _running_out(state: State, event: Event, now: float, actions: list[tuple[str, Any]]) -> State:
    if state.phase == ACTIVE and state.ttl is not None and state.on_lost == ON_LOST_HOOK:
        actions.append((WARN, state.valid - _KILL * state.ttl))
    return _stop(state, event, now, actions)


def _gone(state: State, event: Event, now: float, actions: list[tuple[str, Any]]) -> State:
    if state.phase not in ALIVE:
        return state
    state = state._replace(reason=state.reason or event.reason)
    if state.ttl is not None:
        actions.append((ARM, None))
    if state.lost or _expired(state, now):
        # Whoever has it now would lose it by our release.
        actions.append((END, None))
        return state._replace(phase=ENDED, lost=True)
    actions.append((RELEASE, None))
    return state._replace(phase=RELEASING)


def _released(state: State, _event: Event, _now: float, actions: list[tuple[str, Any]]) -> State:
    if state.phase != RELEASING:
        return state
    actions.append((END, None))
    return state._replace(phase=ENDED)


def _unreleased(state: State, event: Event, now: float, actions: list[tuple[str, Any]]) -> State:
    if state.phase != RELEASING:
        return state
    if state.ttl is None or _expired(state, now):
        # The store gives it back: when our last descriptor is closed, or when the time is over.
        actions.append((END, None))
        return state._replace(phase=ENDED, reason=state.reason or event.reason)
    return state._replace(retry_at=now + _RETRY * state.ttl)


def _tick(state: State, _event: Event, now: float, actions: list[tuple[str, Any]]) -> State:
    if state.phase == RELEASING and state.retry_at is not None:
        if _expired(state, now):
            actions.append((END, None))
            return state._replace(phase=ENDED)
        if now >= state.retry_at:
            actions.append((RELEASE, None))
            return state._replace(retry_at=None)
    return state


def _deadlines(state: State, now: float, actions: list[tuple[str, Any]]) -> State:
    """Do what the time demands, whatever the event was."""
    ttl = state.ttl
    if state.phase == STOPPING and state.kill_at is not None and now >= state.kill_at:
        actions.append((KILL, None))
        state = state._replace(phase=KILLING)
    if ttl is None or state.lost or state.phase not in ALIVE:
        return state
    if state.phase == PAUSED:
        if now >= state.doomed:
            actions.append((KILL, None))
            state = state._replace(phase=KILLING, reason="not renewed before the end of the pause")
    elif now >= state.valid - _KILL * ttl and state.phase != KILLING:
        actions.append((KILL, None))
        state = state._replace(phase=KILLING, reason=state.reason or "not renewed in time")
    elif now >= state.valid - _TERMINATE * ttl and state.phase == ACTIVE and state.on_lost == ON_LOST_PAUSE:
        actions.append((PAUSE, None))
        state = state._replace(phase=PAUSING)
    elif now >= state.valid - _TERMINATE * ttl and state.phase == ACTIVE:
        if state.on_lost == ON_LOST_HOOK:
            actions.append((WARN, state.valid - _KILL * ttl))
        actions.append((TERMINATE, None))
        # Fixed: once asked it has to end, also if the store is back, and V goes on.
        kill_at = max(state.valid - _KILL * ttl, now + state.grace)
        state = state._replace(phase=STOPPING, kill_at=kill_at, reason="not renewed in time")
    if _expired(state, now) and state.phase != PAUSED:
        return state._replace(lost=True)
    if now >= state.renew_at:
        actions.append((RENEW, None))
        state = state._replace(renew_at=now + state.pace * ttl)
    return state


def _expired(state: State, now: float) -> bool:
    return state.valid is not None and now >= state.valid


_EVENTS = {
    GRANTED: _granted,
    REFUSED: _refused,
    RENEWED: _renewed,
    UNCLEAR: _unclear,
    LOST: _lost,
    RUNNING_OUT: _running_out,
    STILL: _still,
    STOP: _stop,
    GONE: _gone,
    RELEASED: _released,
    UNRELEASED: _unreleased,
    TICK: _tick,
}
