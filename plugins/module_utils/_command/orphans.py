# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Services whose supervisor is dead: found by its records, stopped without it. PRIVATE to the collection."""

from __future__ import annotations

import os
import select
import signal
import time

from .._supervise._embedded import files, identity, record, settings
from .exits import FAILED, CommandError
from .places import layers, own

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    #: What was done to whom: name and message.
    Told = list[tuple[str, str]]

#: Seconds that the kernel may take to end a process after KILL.
KILL_PATIENCE = 5.0


class Orphan:
    """A process that a dead supervisor started and that is still the same one. since: unix time of its start."""

    __slots__ = ("directory", "name", "pid", "since", "started")

    def __init__(self, name: str, directory: str, pid: int, started: int, since: float) -> None:
        self.name = name
        self.directory = directory
        self.pid = pid
        self.started = started
        self.since = since

    def alive(self) -> bool:
        """Say whether it still runs."""
        return identity.alive(self.pid, self.started)


def recorded(scan: str, name: str) -> Orphan | None:
    """Give the process that the record of a service (or of a plain directory's logger, NAME/log) means, if it lives.

    Raises ValueError for a record that cannot be understood: nobody knows what it means.
    """
    directory = os.path.join(scan, name)
    return _living(name, directory, os.path.join(directory, "supervise", "record"))


def _living(name: str, directory: str, path: str) -> Orphan | None:
    if not os.path.exists(path):
        return None
    found = record.read(path)
    if found is None:
        raise ValueError(f"{path}: not a record of this version")
    if found.phase == record.IDLE or found.boot != identity.boot_id() or found.namespace != identity.pid_namespace():
        return None
    pid, started = found.pid, found.started
    if found.phase == record.STARTING:
        # The supervisor died between its note and the child's pid: the child, if there is one, bears the token.
        pid = identity.marked({found.token.encode()}).get(found.token.encode(), 0)
        started = identity.start_time(pid) if pid else 0
    if not pid or not identity.alive(pid, started):
        return None
    return Orphan(name, directory, pid, started, found.since / 1e9)


def stop_recorded(scan: str, names: list[str], timeout: float) -> tuple[Told, Told]:
    """Stop what a dead supervisor left running, in an orderly way, then its log writer.

    No supervisor can start meanwhile. Gives what was stopped and what could not be. `finish` is not run: only a
    supervisor knows how. Raises CommandError when a supervisor runs.
    """
    try:
        lock = files.lock_after(own(scan, "lock"), files.ORPHANED_LOCK)
    except files.Busy:
        raise CommandError(
            FAILED, f"{scan}: a supervisor runs, so nothing is orphaned (stop --all stops all)"
        ) from None
    except FileNotFoundError:
        return [], []
    try:
        stopped: Told = []
        failed: Told = []
        deadline = time.monotonic() + timeout
        for layer in layers(scan, names):
            # A logger ends after its services, so that it hears their last words.
            for parts in (layer, [os.path.join(name, "log") for name in layer]):
                _stop(_orphans(scan, parts, failed), deadline, stopped, failed)
        if not failed:
            try:
                _stop_log_writer(scan, deadline, stopped, failed)
            except ValueError as error:
                failed.append(("log writer", str(error)))
        return stopped, failed
    finally:
        os.close(lock)


def _orphans(scan: str, names: list[str], failed: Told) -> list[Orphan]:
    found = []
    for name in names:
        try:
            orphan = recorded(scan, name)
        except ValueError as error:
            failed.append((name, str(error)))
            continue
        if orphan is not None:
            found.append(orphan)
    return found


def _stop(orphans: list[Orphan], deadline: float, stopped: Told, failed: Told) -> None:
    """Ask all at once, then see each one end or kill it."""
    ways = {}
    for orphan in orphans:
        try:
            ways[orphan.name] = settings.load(orphan.directory)
        except (settings.BadSettings, OSError):
            ways[orphan.name] = settings.Settings()
        _signal(orphan, ways[orphan.name].stop_signal)
        _signal(orphan, signal.SIGCONT)
    asked = time.monotonic()
    for orphan in orphans:
        way = ways[orphan.name]
        limit = min(deadline, asked + way.stop_timeout) if way.stop_timeout else deadline
        killed = not _ended(orphan, limit) and bool(way.stop_timeout)
        if killed:
            _signal(orphan, signal.SIGKILL)
            _ended(orphan, time.monotonic() + KILL_PATIENCE)
        if orphan.alive():
            failed.append((orphan.name, f"pid {orphan.pid} still runs"))
            continue
        if way.kill != "process":
            _kill_group(orphan)
        stopped.append((orphan.name, f"pid {orphan.pid} " + ("killed" if killed else "stopped")))


def _signal(orphan: Orphan, number: int) -> None:
    _with_descriptor(orphan, lambda descriptor: signal.pidfd_send_signal(descriptor, number))


def _ended(orphan: Orphan, limit: float) -> bool:
    """Wait until *orphan* has ended, at most until the monotonic time *limit*."""

    def wait(descriptor: int) -> None:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        poll.poll(max(limit - time.monotonic(), 0) * 1000)

    _with_descriptor(orphan, wait)
    return not orphan.alive()


def _with_descriptor(orphan: Orphan, act: Callable[[int], None]) -> None:
    try:
        descriptor = os.pidfd_open(orphan.pid)
    except ProcessLookupError:
        return
    try:
        # The pid may have changed hands before the open, but not after it.
        if orphan.alive():
            act(descriptor)
    except ProcessLookupError:
        pass
    finally:
        os.close(descriptor)


def _kill_group(orphan: Orphan) -> None:
    """Kill what the dead leader of a process group left; not if its pid is somebody else's by now."""
    if identity.start_time(orphan.pid) not in (0, orphan.started):
        return
    try:
        os.killpg(orphan.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def _stop_log_writer(scan: str, deadline: float, stopped: Told, failed: Told) -> None:
    writer = _living("log writer", scan, own(scan, "logwriter.record"))
    if writer is None:
        return
    # TERM makes it write what is still in the pipes before it ends.
    _signal(writer, signal.SIGTERM)
    if _ended(writer, deadline):
        stopped.append((writer.name, f"pid {writer.pid} stopped"))
    else:
        failed.append((writer.name, f"pid {writer.pid} still runs"))
