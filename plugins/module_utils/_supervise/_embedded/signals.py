# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Signals for a service's whole process group, or for everything that descends from it. PRIVATE to the collection."""

from __future__ import annotations

import os
import signal

from . import identity


def send(pid: int, number: int, kill: str, token: str = "") -> None:
    """Send signal *number* to the service whose main process is *pid*: `process`, its `group`, or its `tree`.

    token: the mark that the tree carries in its environment. Processes that are gone already are no error.
    """
    if kill == "process":
        _kill(pid, number)
    elif kill == "group":
        # The supervisor starts every service as the leader of its own session, hence of its group.
        if not _killpg(pid, number):
            _kill(pid, number)
    else:
        for member in tree(pid, token):
            _kill(member, number)


def sweep(pid: int, kill: str, token: str = "") -> None:
    """Kill what a dead main process *pid* has left behind, unless only the process itself counts."""
    if kill == "group":
        _killpg(pid, signal.SIGKILL)
    elif kill == "tree":
        for member in tree(pid, token):
            if member != pid:
                _kill(member, signal.SIGKILL)


def tree(pid: int, token: str) -> list[int]:
    """Find all members of the service: descendants of *pid*, its session, and whoever carries the mark."""
    parents: dict[int, list[int]] = {}
    members = {pid}
    mark = b"HOLDFAST_SPAWN=" + token.encode()
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        candidate = int(entry)
        found = identity.process(candidate)
        if found is None:
            continue
        parents.setdefault(found[2], []).append(candidate)
        try:
            if os.getsid(candidate) == pid or (token and mark in identity.environment(candidate)):
                members.add(candidate)
        except OSError:
            continue
    reached = list(members)
    while reached:
        for child in parents.get(reached.pop(), ()):
            if child not in members:
                members.add(child)
                reached.append(child)
    members.discard(os.getpid())
    return sorted(members)


def carriers(token: str) -> list[int]:
    """Find the processes whose environment carries the mark *token*."""
    mark = b"HOLDFAST_SPAWN=" + token.encode()
    pids = (int(entry) for entry in os.listdir("/proc") if entry.isdigit())
    return [pid for pid in pids if mark in identity.environment(pid).split(b"\0")]


def _kill(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def _killpg(pid: int, number: int) -> bool:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
