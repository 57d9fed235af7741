# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""OpenRC as a backend: an init script for each service, and our supervisor below them. PRIVATE to the collection.

OpenRC says what runs, at boot and by `rc-service`; one embedded supervisor looks after all processes. The scripts give it
commands and wait for its verdict. So that `rc-status` tells the truth whoever gave the command, OpenRC's own marks are
kept: `started/NAME`, and in `daemons/NAME` the file with the pid, which the supervisor keeps up to date.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from typing import Any

from . import _openrc_cache, portable
from ._openrc import FOLDER, MARKER, PREFIX, SETTINGS, SUPERVISOR, notes, script
from ._openrc_cache import STATE
from .embedded import Embedded
from .interface import FEATURES, BackendError, NotRunning, Service, Snapshot, Verdict

SCRIPTS = "/etc/init.d"
RUNLEVEL = "/etc/runlevels/default"


class OpenRc(Embedded):
    """The embedded supervisor, told what to do by OpenRC."""

    name = "openrc"
    native = frozenset()
    supplied = frozenset(FEATURES)
    # OpenRC does, at boot; a script's start would be a second one otherwise.
    starts_new = False

    def __init__(self, scan: str, scripts: str = SCRIPTS, runlevel: str = RUNLEVEL, state: str = STATE) -> None:
        super().__init__(scan)
        self._scripts = scripts
        self._runlevel = runlevel
        self._state = state
        self._untold = False

    def snapshot(self) -> Snapshot:
        """Ask the supervisor, and look at the scripts."""
        snapshot = super().snapshot()
        wanted = self._wanted()
        unknown = _openrc_cache.lacking((PREFIX + name for name in wanted), self._state)
        for name, service in snapshot.services.items():
            if name in wanted:
                service.stale = (
                    _read(self._script(name)) != wanted[name][0]
                    or self._is_enabled(name) != wanted[name][1].enabled
                    or PREFIX + name in unknown
                )
        return snapshot

    def rescan(self) -> None:
        """Bring scripts and runlevel in line with the service directories; then the supervisor looks, and OpenRC."""
        self._settle()
        self.complete()

    def settle(self, name: str) -> None:
        """Do all but have OpenRC look: no start by us depends on that."""
        del name
        self._settle()

    def complete(self) -> None:
        """Have OpenRC know all scripts that there are."""
        names = [PREFIX + name for name in self._present()]
        if MARKER in (_read(f"{self._scripts}/{SUPERVISOR}") or "").splitlines():
            names.append(SUPERVISOR)
        if self._untold or _openrc_cache.lacking(names, self._state):
            _openrc_cache.renew(names, state=self._state)
            self._untold = False

    def _settle(self) -> None:
        wanted = self._wanted()
        for name in self._present():
            if name not in wanted:
                self._forget(name)
        for name, (text, one) in wanted.items():
            path = self._script(name)
            before = _read(path)
            if before is None and os.path.lexists(path):
                raise BackendError(f"{path} exists and is not ours: move it away")
            if before is not None and MARKER not in before.splitlines():
                raise BackendError(f"{path} exists and is not ours: move it away")
            if before != text:
                self._untold = True
                _replace(path, text)
            link = f"{self._runlevel}/{PREFIX}{name}"
            if one.enabled and not os.path.islink(link):
                os.symlink(path, link)
            elif not one.enabled and os.path.islink(link):
                os.unlink(link)
        super().rescan()
        for service in super().snapshot().services.values():
            self._mark(service)

    def offline(self) -> None:
        """Write scripts and links, for an OpenRC that does not run. Raises OSError, BackendError."""
        with contextlib.suppress(NotRunning):
            self._settle()
        self.complete()

    def wait(self, wishes: list[tuple[str, str]], timeout: float) -> dict[str, Verdict]:
        """Wait for verdicts, and let OpenRC know them."""
        verdicts = super().wait(wishes, timeout)
        for verdict in verdicts.values():
            if verdict.service is not None:
                self._mark(verdict.service)
        return verdicts

    def problems(self, metas: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """Find scripts that are in the way and not ours."""
        return [
            f"{name}: {self._script(name)} is there already and is not ours: move it away, or rename the service"
            for name in metas
            if os.path.lexists(self._script(name)) and MARKER not in (_read(self._script(name)) or "").splitlines()
        ]

    def forget_all(self) -> list[str]:
        """Remove all scripts of this scan directory; gives the names of their services. Raises OSError, BackendError."""
        names = self._present()
        for name in names:
            self._forget(name)
        self.complete()
        return names

    def _wanted(self) -> dict[str, tuple[str, portable.Portable]]:
        """Give script and directory of each service."""
        settings = read_settings(self.scan)
        found = portable.read_all(self.scan, Embedded.name)
        return {name: (script(one, self.scan, settings, found), one) for name, one in found.items() if not one.idle}

    def _present(self) -> list[str]:
        """Give the services of this scan directory that have a script."""
        start = f"# From {self.scan}/"
        found = []
        for entry in sorted(os.listdir(self._scripts)):
            name = entry[len(PREFIX) :]
            if entry.startswith(PREFIX) and f"{start}{name}." in (_read(f"{self._scripts}/{entry}") or "").splitlines():
                found.append(name)
        return found

    def _script(self, name: str) -> str:
        return f"{self._scripts}/{PREFIX}{name}"

    def _is_enabled(self, name: str) -> bool:
        return os.path.islink(f"{self._runlevel}/{PREFIX}{name}")

    def _forget(self, name: str) -> None:
        self._untold = True
        for folder in ("started", "failed", "inactive", "hotplugged"):
            _remove(f"{self._state}/{folder}/{PREFIX}{name}")
        self._note(name, None)
        _remove(f"{self._runlevel}/{PREFIX}{name}")
        _remove(self._script(name))

    def _mark(self, service: Service) -> None:
        """Have OpenRC know what a service is: started, or stopped. Nothing where OpenRC does not run."""
        path = f"{self._state}/started/{PREFIX}{service.name}"
        if not os.path.isdir(f"{self._state}/started") or not os.path.exists(self._script(service.name)):
            return
        passing = service.state == "down" and service.succeeded and service.want != "down"
        if service.want == "up" or service.pid or passing:
            if not os.path.islink(path):
                os.symlink(self._script(service.name), path)
            one = portable.read(self.scan, service.name)
            self._note(service.name, notes(one, self.scan) if one is not None else None)
        elif service.state in ("down", "failed"):
            _remove(path)
            self._note(service.name, None)

    def _note(self, name: str, text: str | None) -> None:
        """Have OpenRC know where the pid of a service is; without a text, nothing."""
        folder = f"{self._state}/daemons/{PREFIX}{name}"
        if text is None:
            _remove(f"{folder}/001")
            with contextlib.suppress(OSError):
                os.rmdir(folder)
        elif _read(f"{folder}/001") != text:
            os.makedirs(folder, 0o755, exist_ok=True)
            _replace(f"{folder}/001", text, 0o644)


def read_settings(scan: str) -> dict[str, str]:
    """Give what the role supervisor has written for this backend. Raises NotRunning, BackendError."""
    path = f"{scan}/{FOLDER}/{SETTINGS}"
    text = _read(path)
    if text is None:
        raise NotRunning(f"{scan} is not set up for the backend openrc")
    try:
        settings = json.loads(text)
        return {key: str(settings[key]) for key in ("python", "runtime")}
    except (ValueError, KeyError, TypeError) as error:
        raise BackendError(
            f"{path} is damaged ({error}): apply the role holdfast.supervision.supervisor again"
        ) from None


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return None


def _replace(path: str, text: str, mode: int = 0o755) -> None:
    # A dot: OpenRC takes no such name for a service, nor for a daemon.
    beside = f"{os.path.dirname(path)}/.{os.path.basename(path)}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(beside)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with open(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
        os.fchmod(descriptor, mode)
        file.write(text)
    os.rename(beside, path)


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
