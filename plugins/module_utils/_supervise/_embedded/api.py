# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The supervisor's Varlink interface. PRIVATE to the collection.

Calls that wait (`Wait`) or go on (`Events`) are answered later, when a service changes; everything else at once.
"""

from __future__ import annotations

import os

from ..._varlink import server
from . import service, status
from .children import KINDS
from .loop import READ, WRITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .host import Host
    from .loop import Timer
    from .service import Service

INTERFACE = "io.holdfast.Supervisor"
DESCRIPTION = """\
# The embedded supervisor of holdfast.supervision. Only root and the supervisor's own user may call.
# Times are seconds, points in time seconds of unix time.
interface io.holdfast.Supervisor

type Exit (kind: (exit, signal, unknown), code: int, at: float)

# state: down, waiting (for what it needs), starting, up, ready, stopping, finishing, backoff, scheduled, failed.
# deaths counts the ends that nobody asked for. definition is what the running process was started with, loaded what its
# directory says now. group is the directory of the control group of a running service with resources. standby: all that it
# waits for are leases that others hold.
type Service (
  name: string, state: string, pid: int, since: float, uptime: float, ready: bool, want: (up, down, once),
  enabled: bool, deaths: int, exit: ?Exit, definition: ?string, loaded: ?string, adopted: bool, paused: bool,
  reason: string, group: ?string, standby: ?bool, next: ?float
)

# Where the control groups of services with resources are, and which controllers they can have; problem: why there is no
# such place (path is "" then).
type Groups (path: string, controllers: []string, problem: string)

type Supervisor (pid: int, version: string, since: float, scan: ?string, log_writer_pid: int, groups: Groups)

# action: start, stop, once, restart, reload, pause, continue, remove, or a signal: hup, int, quit, kill, usr1, usr2,
# alrm, term, winch.
type Command (name: string, action: string)
type Failure (name: string, message: string)
type Wish (name: string, state: (ready, down, gone))
type Outcome (name: string, outcome: (reached, failed, timeout), service: ?Service)
type Event (name: string, at: float, event: string, pid: int, message: string, exit: ?object)

# names: all services where absent. A name that is not there is an error.
method Status(names: ?[]string) -> (supervisor: Supervisor, services: []Service)

# Reads the scan directory now, instead of when the kernel tells of a change.
method Rescan() -> (added: []string, removed: []string, changed: []string)

# All commands are given at once, in their order; nothing is waited for.
method Control(commands: []Command) -> (errors: []Failure)

# Answers when every wish is reached or has failed, at the latest after timeout. A wish for ready fails when the service
# has failed for good, can't start, or has died `deaths` times (3) since the call; standby is as good as ready.
method Wait(wishes: []Wish, timeout: float, deaths: ?int) -> (results: []Outcome)

# The last entries of the service's journal, the oldest first.
method Why(name: string, count: ?int) -> (events: []Event)

# With `more`: every journal entry from now on.
method Events() -> (event: Event)

# Stops all services in order, then the supervisor ends.
method Stop() -> ()

# Becomes the program that is installed now, without stopping any service.
method Reexec() -> (pid: int)

error NoSuchService (name: string)
error BadRequest (message: string)
"""

#: Connections at a time; further ones wait in the kernel's queue.
CONNECTIONS = 256
#: Seconds of rest when no descriptor is free for another connection.
REST = 1.0

_INFORMATION = dict(server.VENDOR, product="supervisor")
_WISHES = ("ready", "down", "gone")


class _Waiter:
    """A Wait call under way."""

    __slots__ = ("deaths", "peer", "results", "start", "timer", "wishes")

    def __init__(self, peer: server.Peer, wishes: dict[str, str], deaths: int) -> None:
        self.peer = peer
        self.wishes = wishes
        self.deaths = deaths
        self.start: dict[str, tuple[int, int]] = {}
        self.results: dict[str, dict[str, Any]] = {}
        self.timer: Timer | None = None


class Api:
    """Serves the socket."""

    def __init__(self, host: Host, path: str) -> None:
        """Listen at *path*. Raises OSError."""
        self._host = host
        self._listener = server.Listener(path)
        self._peers: dict[int, server.Peer] = {}
        self._busy: set[int] = set()
        self._waiters: list[_Waiter] = []
        self._watched: dict[str, list[_Waiter]] = {}
        self._listeners: list[server.Peer] = []
        self._methods = {
            "Status": self._status,
            "Rescan": self._rescan,
            "Control": self._control,
            "Wait": self._wait,
            "Why": self._why,
            "Events": self._events,
            "Stop": self._stop,
            "Reexec": self._reexec,
        }
        self._listening = False
        self._resume()

    # -- connections -----------------------------------------------------------------------------------------------

    def _accept(self, _events: int) -> None:
        peer = self._listener.accept()
        if peer is None:
            self._pause()
            self._host.loop.later(REST, self._resume)
            return
        self._peers[peer.fileno()] = peer
        self._host.loop.watch(peer.fileno(), lambda events: self._ready(peer, events))
        if len(self._peers) >= CONNECTIONS:
            self._pause()

    def _pause(self) -> None:
        """Accept nobody for now."""
        if self._listening:
            self._listening = False
            self._host.loop.forget(self._listener.fileno())

    def _resume(self) -> None:
        if not self._listening and len(self._peers) < CONNECTIONS:
            self._listening = True
            self._host.loop.watch(self._listener.fileno(), self._accept)

    def _ready(self, peer: server.Peer, events: int) -> None:
        if events & WRITE:
            peer.writable()
        if events & ~WRITE:
            peer.readable()
        self._serve(peer)

    def _serve(self, peer: server.Peer) -> None:
        """Answer what has been asked, in its order; a waiting call holds up what the same peer asked after it."""
        while peer.requests and peer.fileno() not in self._busy and not peer.dead:
            self._call(peer, peer.requests.pop(0))
        self._settle(peer)

    def _settle(self, peer: server.Peer) -> None:
        if peer.fileno() not in self._peers:
            return
        if peer.dead:
            self._close(peer)
        else:
            self._host.loop.change(peer.fileno(), READ | WRITE if peer.wants_write else READ)

    def _close(self, peer: server.Peer) -> None:
        descriptor = peer.fileno()
        del self._peers[descriptor]
        self._busy.discard(descriptor)
        self._host.loop.forget(descriptor)
        for waiter in [one for one in self._waiters if one.peer is peer]:
            self._forget(waiter)
        if peer in self._listeners:
            self._listeners.remove(peer)
        peer.close()
        self._resume()

    def _call(self, peer: server.Peer, request: dict[str, Any]) -> None:
        if peer.uid not in (0, os.geteuid()):
            peer.error("org.varlink.service.PermissionDenied")
            return
        standard = server.service_reply(
            request, dict(_INFORMATION, version=self._host.version), {INTERFACE: DESCRIPTION}
        )
        if standard is not None:
            peer.answer(*standard)
            return
        try:
            _interface, name, parameters = server.called(request, (INTERFACE,))
            if name not in self._methods:
                raise server.Refused(server.METHOD_NOT_FOUND, method=name[:256])
            reply = self._methods[name](peer, parameters, bool(request.get("more")))
        except server.Refused as refused:
            peer.error(refused.error, **refused.parameters)
            return
        if reply is not None and not request.get("oneway"):
            peer.reply(reply)

    # -- methods ---------------------------------------------------------------------------------------------------

    def _status(self, _peer: server.Peer, parameters: dict[str, Any], _more: bool) -> dict[str, Any]:
        names = parameters.get("names")
        if names is None:
            chosen = list(self._host.services.values())
        else:
            chosen = [self._service(name) for name in _strings(names, "names")]
        host = self._host
        return {
            "supervisor": {
                "pid": os.getpid(),
                "version": host.version,
                "since": host.since,
                "scan": host.scan,
                "log_writer_pid": host.logs.pid if host.logs is not None else 0,
                "groups": host.groups.describe(),
            },
            "services": [_describe(one) for one in chosen],
        }

    def _rescan(self, _peer: server.Peer, _parameters: dict[str, Any], _more: bool) -> dict[str, Any]:
        added, removed, changed = self._host.rescan()
        return {"added": added, "removed": removed, "changed": changed}

    def _control(self, _peer: server.Peer, parameters: dict[str, Any], _more: bool) -> dict[str, Any]:
        commands = []
        for name, action in _pairs(parameters.get("commands"), "commands", ("name", "action")):
            if action not in _ACTIONS and action not in service.ACTION_SIGNALS and action not in _ANSWERING:
                raise server.Refused(f"{INTERFACE}.BadRequest", message=f"there is no action {action!r}")
            commands.append((name, action))
        errors = []
        for name, action in commands:
            one = self._host.services.get(name)
            message = "no such service" if one is None else _do(one, action)
            if message:
                errors.append({"name": name, "message": message})
        return {"errors": errors}

    def _why(self, _peer: server.Peer, parameters: dict[str, Any], _more: bool) -> dict[str, Any]:
        one = self._service(parameters.get("name"))
        count = parameters.get("count", 50)
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise server.Refused(server.INVALID_PARAMETER, parameter="count")
        return {"events": [dict(entry, name=one.name) for entry in one.history(count)]}

    def _events(self, peer: server.Peer, _parameters: dict[str, Any], more: bool) -> dict[str, Any] | None:
        if not more:
            raise server.Refused("org.varlink.service.ExpectedMore")
        self._busy.add(peer.fileno())
        self._listeners.append(peer)
        return None

    def _stop(self, peer: server.Peer, _parameters: dict[str, Any], _more: bool) -> dict[str, Any]:
        self._host.loop.soon(self._host.stop)
        return {}

    def _reexec(self, peer: server.Peer, _parameters: dict[str, Any], _more: bool) -> dict[str, Any]:
        self._host.loop.soon(self._host.wants_reexec)
        return {"pid": os.getpid()}

    # -- waiting ---------------------------------------------------------------------------------------------------

    def _wait(self, peer: server.Peer, parameters: dict[str, Any], _more: bool) -> dict[str, Any] | None:
        wishes = dict(_pairs(parameters.get("wishes"), "wishes", ("name", "state")))
        if not all(wish in _WISHES for wish in wishes.values()):
            raise server.Refused(server.INVALID_PARAMETER, parameter="wishes")
        timeout, deaths = parameters.get("timeout"), parameters.get("deaths", 3)
        if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not 0 <= timeout <= 86400:
            raise server.Refused(server.INVALID_PARAMETER, parameter="timeout")
        if isinstance(deaths, bool) or not isinstance(deaths, int) or deaths < 1:
            raise server.Refused(server.INVALID_PARAMETER, parameter="deaths")
        waiter = _Waiter(peer, wishes, deaths)
        for name in wishes:
            one = self._host.services.get(name)
            waiter.start[name] = (one.deaths, one.starts) if one is not None else (0, 0)
            self._watched.setdefault(name, []).append(waiter)
        self._waiters.append(waiter)
        self._busy.add(peer.fileno())
        waiter.timer = self._host.loop.later(timeout, lambda: self._timed_out(waiter))
        # Judged in the next turn, after the commands that came before this call have been begun.
        self._host.loop.soon(lambda: self._judge_all(waiter))
        return None

    def _judge_all(self, waiter: _Waiter) -> None:
        for name in list(waiter.wishes):
            self._judge(waiter, name)
        self._complete(waiter)

    def _judge(self, waiter: _Waiter, name: str) -> None:
        if name in waiter.results:
            return
        one = self._host.services.get(name)
        outcome = _verdict(self._host, one, waiter.wishes[name], waiter.start[name], waiter.deaths)
        if outcome:
            waiter.results[name] = {"name": name, "outcome": outcome, "service": _describe(one) if one else None}

    def _complete(self, waiter: _Waiter) -> None:
        if waiter not in self._waiters or len(waiter.results) < len(waiter.wishes):
            return
        self._forget(waiter)
        waiter.peer.reply({"results": [waiter.results[name] for name in waiter.wishes]})
        self._serve(waiter.peer)

    def _timed_out(self, waiter: _Waiter) -> None:
        for name in waiter.wishes:
            self._judge(waiter, name)
            if name not in waiter.results:
                one = self._host.services.get(name)
                waiter.results[name] = {"name": name, "outcome": "timeout", "service": _describe(one) if one else None}
        self._complete(waiter)

    def _forget(self, waiter: _Waiter) -> None:
        self._waiters.remove(waiter)
        self._busy.discard(waiter.peer.fileno())
        if waiter.timer is not None:
            waiter.timer.cancel()
        for name in waiter.wishes:
            self._watched[name].remove(waiter)
            if not self._watched[name]:
                del self._watched[name]

    def changed(self, one: Service) -> None:
        """Hear that the state of a service has changed."""
        self._look(one.name)

    def gone(self, one: Service) -> None:
        """Hear that a service is not there any more."""
        self._look(one.name)

    def _look(self, name: str) -> None:
        for waiter in tuple(self._watched.get(name, ())):
            self._judge(waiter, name)
            self._complete(waiter)

    def event(self, one: Service, entry: dict[str, Any]) -> None:
        """Pass a journal entry to those who listen; one who does not read is dropped."""
        for peer in tuple(self._listeners):
            peer.reply({"event": dict(entry, name=one.name)}, continues=True)
            self._settle(peer)

    def _service(self, name: object) -> Service:
        one = self._host.services.get(name) if isinstance(name, str) else None
        if one is None:
            raise server.Refused(f"{INTERFACE}.NoSuchService", name=str(name))
        return one


#: Actions that may say why not.
_ANSWERING = ("reload", "pause", "continue")
_ACTIONS = {
    "start": service.Service.up,
    "stop": service.Service.down,
    "once": service.Service.once,
    "restart": service.Service.restart,
    "remove": service.Service.remove,
}


def _describe(one: Service) -> dict[str, Any]:
    """Give what the interface calls a Service."""
    exit_ = None
    if one.exit is not None:
        exit_ = {"kind": KINDS[one.exit.kind], "code": one.exit.code, "at": one.exit_at / 1e9}
    runs = one.running_now and one.state != service.FINISHING
    return {
        "name": one.name,
        "state": one.state,
        "pid": one.pid,
        "since": one.since / 1e9,
        "uptime": one.lived if runs else 0.0,
        "ready": one.is_ready,
        "want": {status.WANT_UP: "up", status.WANT_DOWN: "down"}.get(one.want, "once"),
        "enabled": one.enabled,
        "deaths": one.deaths,
        "exit": exit_,
        "definition": one.running if runs else None,
        "loaded": one.set.identity or None,
        "adopted": one.adopted,
        "paused": one.paused,
        "reason": one.reason,
        "group": one.group.path if one.group is not None and runs else None,
        "standby": one.host.stands_by(one),
        "next": one.next if one.state == service.SCHEDULED else None,
    }


def _do(one: Service, action: str) -> str:
    """Carry out one command; returns why not."""
    if action == "reload":
        return one.reload()
    if action in ("pause", "continue"):
        return one.pause(action == "pause")
    if action in _ACTIONS:
        _ACTIONS[action](one)
        return ""
    if not one.running_now:
        return "the service is not running"
    one.signal(service.ACTION_SIGNALS[action])
    return ""


def _verdict(host: Host, one: Service | None, wish: str, start: tuple[int, int], deaths: int) -> str:
    """Judge whether *one* has reached *wish*: reached, failed, or "" if it is still open."""
    if one is None:
        return "failed" if wish == "ready" else "reached"
    if wish == "gone":
        return ""
    if wish == "down":
        return "reached" if not one.running_now and one.state in (service.DOWN, service.FAILED) else ""
    if one.is_ready:
        return "reached"
    if one.state == service.FAILED or (one.state == service.UP and one.late):
        return "failed"
    died = one.deaths - start[0]
    if one.state == service.DOWN:
        # Nobody will start it again: it has done its work once, or ended by itself, or was never asked to run.
        if one.want == status.WANT_DOWN or (died and one.exit is not None and not one.exit.success):
            return "failed"
        return "reached" if one.starts > start[1] or died else "failed"
    if died >= deaths or (died and one.set.interval is not None):
        return "failed"
    if one.state == service.WAITING and any(_hopeless(host, need) for need in one.set.needs):
        return "failed"
    return "reached" if host.stands_by(one) else ""


def _hopeless(host: Host, name: str) -> bool:
    """Say whether a needed service will not become ready by itself."""
    needed = host.services.get(name)
    return needed is None or needed.state in (service.FAILED, service.DOWN)


def _strings(value: object, name: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise server.Refused(server.INVALID_PARAMETER, parameter=name)
    return value


def _pairs(value: object, name: str, keys: tuple[str, str]) -> list[tuple[str, str]]:
    """Read a list of objects with two strings each."""
    if not isinstance(value, list):
        raise server.Refused(server.INVALID_PARAMETER, parameter=name)
    pairs = []
    for item in value:
        first, second = (item.get(keys[0]), item.get(keys[1])) if isinstance(item, dict) else (None, None)
        if not isinstance(first, str) or not isinstance(second, str):
            raise server.Refused(server.INVALID_PARAMETER, parameter=name)
        pairs.append((first, second))
    return pairs
