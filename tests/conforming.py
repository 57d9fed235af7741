# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Supervised hosts for the conformance suite: one class for each backend, with the real daemons.

A new backend is a subclass of `Supervised` in a file of its own, `conforming_*.py`, and a line in conformance_classes.py.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, ClassVar

import procs
import pytest
from converging import Host
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._supervise.backends import BACKENDS
from ansible_collections.holdfast.supervision.plugins.module_utils._supervise.interface import (
    Backend,
    Service,
    Snapshot,
    Verdict,
)

#: Marks a behaviour that only backends with these features have; the names are those of `interface.FEATURES`.
features = pytest.mark.features


def sh(script: str) -> list[str]:
    return ["/bin/sh", "-c", script]


class Supervised(Host):
    """A scan directory, and the root process of one backend's supervisor on it.

    What a backend is asked to do goes through the task `services` and the backend class, as on a host.
    """

    backend: ClassVar[str] = "embedded"
    #: Differs from `backend` where one backend is tested in several forms.
    title: ClassVar[str] = "embedded"
    #: How its programs came to be on the machine where they did not come with the others, for docs/backends.md.
    by_hand: ClassVar[str] = ""
    #: Programs without which it can't be run.
    programs: ClassVar[tuple[str, ...]] = ()
    #: Merged under every definition, so that tests are quick; only what the backend can do.
    defaults: ClassVar[dict[str, Any]] = {
        "backoff": {"initial": "10ms", "maximum": "50ms"},
        "stop_timeout": "5s",
    }
    #: A back-off that it can have, with the first pause and the longest.
    backoff: ClassVar[dict[str, str]] = {"initial": "100ms", "maximum": "5s"}
    #: Behaviours that it does not show, with the reason.
    lacks: ClassVar[dict[str, str]] = {}
    #: The names of rotated log files.
    old_logs: ClassVar[str] = "@*.s"
    #: Whether it tells how the last process of a service that has failed for good had ended.
    tells_last_end: ClassVar[bool] = True
    #: What its logger reads at once, in bytes: a file is longer by that at most.
    log_buffer: ClassVar[int] = 8192
    #: Whether the root process is that of the host, which no test ends.
    process_one: ClassVar[bool] = False
    #: Whether a new root process takes over the services of one that was killed.
    adopts: ClassVar[bool] = True

    @classmethod
    def missing(cls) -> str:
        """Say why it can't be run on this machine; nothing if it can."""
        absent = [program for program in cls.programs if not shutil.which(program)]
        return f"not installed: {', '.join(absent)}" if absent else ""

    @classmethod
    def type(cls) -> type[Backend]:
        return BACKENDS[cls.backend]

    # -- the root process: a subclass brings its own `prepare`, `start`, `kill` and `stop` where they differ

    def stop(self) -> None:
        """End the root process as a shutdown of the host would: afterwards nothing of it runs."""
        assert self.supervisor is not None
        self.supervisor.terminate()
        self.supervisor.wait(120)

    def reboot(self) -> None:
        """Stop and start again; what lies on a tmpfs on a host has gone."""
        self.stop()
        self.start()

    # -- what converging and its users do

    def task(self, definitions: dict[str, Any], **options: Any) -> dict[str, Any]:
        options.setdefault("defaults", self.defaults)
        # Ready soon. Not among the defaults, since it can't stand beside another kind of readiness.
        definitions = {name: {"readiness": {"grace": "20ms"}, **value} for name, value in definitions.items()}
        return super().task(definitions, backend=self.backend, **options)

    def good(self, definitions: dict[str, Any], **options: Any) -> dict[str, Any]:
        """Run the task, which must succeed."""
        result = self.task(definitions, **options)
        assert not result.get("failed"), result["msg"]
        return result

    def client(self) -> Backend:
        """A backend as a module makes one; the caller closes it."""
        return self.type()(str(self.scan))

    def snapshot(self) -> Snapshot:
        backend = self.client()
        try:
            return backend.snapshot()
        finally:
            backend.close()

    def service(self, name: str) -> Service:
        return self.snapshot().services[name]

    def control(self, *commands: tuple[str, str]) -> None:
        """Give commands, which must not be refused."""
        backend = self.client()
        try:
            assert backend.control(list(commands)) == {}
        finally:
            backend.close()

    def tell(self, name: str, action: str, state: str = "ready", timeout: float = 120.0) -> Verdict:
        """Give one command and wait for what comes of it, as the module `service` does."""
        backend = self.client()
        try:
            assert backend.control([(name, action)]) == {}
            return backend.wait([(name, state)], timeout)[name]
        finally:
            backend.close()

    def until(self, name: str, *states: str, timeout: float = 120.0) -> Service:
        """Wait until a service is in one of *states*."""
        found: list[Service] = []

        def reached() -> bool:
            # While the suite starts it does not know all of them yet.
            found[:] = [one for one in (self.snapshot().services.get(name),) if one is not None]
            return bool(found) and found[0].state in states

        wait_until(reached, timeout, f"{name} is not {' or '.join(states)}")
        return found[0]

    def share(self, folder: Path) -> None:
        """Let the host see a folder of the machine, if it does not see all of them."""

    def inventory(self) -> str:
        """Give an inventory of Ansible with this host alone; empty for this machine."""
        return ""

    def number(self, pid: int) -> int:
        """Give the machine's number of a process whose number on this host is *pid*."""
        return pid

    def top(self) -> str:
        """Give where the root directory of this host is on the machine, without the slash at its end."""
        return ""

    def journal(self, name: str) -> str | None:
        """Give what the journal has of a service; None where there is no journal."""
        return None

    def heard(self, name: str) -> str | None:
        """Give what the host's own syslog daemon has of a service; None where there is none."""
        return None

    def grows(self) -> bool:
        """Tell whether its pauses between restarts can grow, where it has pauses of the definition's choice."""
        return True

    def pids(self, mark: str) -> list[int]:
        """All living processes one of whose arguments contains *mark*, this host's folder and the mark being unique."""
        return [pid for pid in procs.pids() if procs.alive(pid) and any(mark in word for word in procs.arguments(pid))]

    def close(self) -> None:
        """End everything that was started, however the test went."""
        root = self.supervisor
        try:
            if root is not None and root.poll() is None:
                try:
                    self.stop()
                except subprocess.TimeoutExpired:
                    root.kill()
                    root.wait()
        finally:
            sweep(self.base)


def sweep(base: Path) -> None:
    """Kill what still works below the folder *base*, or names it, until nothing does."""
    mark = str(base)

    def nothing_left() -> bool:
        left = [
            pid
            for pid in procs.pids()
            if pid != os.getpid()
            and procs.alive(pid)
            and (
                procs.working_directory(pid).startswith(mark)
                or any(mark in word for word in procs.arguments(pid))
                or procs.environment(pid).get("HOLDFAST_TEST") == mark
            )
        ]
        for pid in left:
            procs.kill(pid)
        return not left

    wait_until(nothing_left)


class EmbeddedHost(Supervised):
    """The embedded supervisor."""


class EncoreLayoutHost(Supervised):
    """The embedded supervisor with status files as daemontools-encore writes them."""

    title = "embedded, encore layout"

    options = ("--layout", "encore")
