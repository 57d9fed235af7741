# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Another backend for a host whose services run, where systemd or OpenRC is on one side."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hosted
import procs
import pytest
import rolefiles
from conforming_systemd import SystemdHost
from converging import PYTHON
from deployed import Deployment, runtime
from waiting import wait_until


class Switched(SystemdHost):
    """Everything below one folder, on a host with an init."""

    init = "systemd"

    @property
    def machine(self) -> hosted.Machine:
        return hosted.Machines.get(self.init)

    def prepare(self) -> None:
        self.below = self.base / "holdfast"
        self.scan, self.logs = self.below / "services", self.below / "log"
        Deployment(self.base).install(runtime())
        self.machine.share(self.base)

    def to(self, backend: str, state: str = "started", check: bool = False) -> dict[str, Any]:
        """Do what the module supervisor does with this backend."""
        options = {
            "prefix": None,
            "scan_directory": str(self.scan),
            "run_directory": str(self.below / "run"),
            "log_directory": str(self.logs),
            "runtime_directory": str(self.below / "lib"),
            "python": PYTHON,
            "log_user": "root",
            "version": None,
            "units": rolefiles.units(backend, self.below),
            "scripts": rolefiles.scripts(backend, self.below),
            "timeout": 20.0,
            "stop_timeout": 30.0,
            "remove_logs": False,
        }
        result: dict[str, Any] = self.machine.call("supervisor", options, state, backend, check)
        if not check:
            self.backend = backend  # type: ignore[misc]
        return result

    def close(self) -> None:
        if self.scan.is_dir():
            self.to(self.backend, "absent")
        super().close()

    def counted(self, name: str, **more: Any) -> dict[str, Any]:
        """A service that complains, in a file, when another copy of it runs."""
        folder = self.base / name
        folder.mkdir(exist_ok=True)
        # Ready when it has come so far, so that nothing ends it before it can clean up.
        script = f"""
            trap 'rmdir {folder}/lock; exit 0' TERM
            mkdir {folder}/lock
            [ $? -ne 1 ] || echo twice >>{folder}/twice
            sleep 100000 & wait"""
        ready = {"check": ["/usr/bin/test", "-d", f"{folder}/lock"], "interval": "50ms"}
        return {"command": ["/bin/sh", "-c", script], "readiness": ready, **more}

    def twice(self) -> list[Path]:
        return list(self.base.glob("*/twice"))


class SwitchedOpenRc(Switched):
    init = "openrc"


def made(kind: type[Switched]) -> Iterator[Switched]:
    if kind.missing():
        pytest.skip(kind.missing())
    base = Path(tempfile.mkdtemp(prefix="hf-switch-"))
    base.chmod(0o755)
    host = kind(base, base)
    host.prepare()
    try:
        yield host
    finally:
        host.close()
        shutil.rmtree(base)


@pytest.fixture
def host() -> Iterator[Switched]:
    yield from made(Switched)


@pytest.fixture
def openrc() -> Iterator[Switched]:
    yield from made(SwitchedOpenRc)


def test_services_move_to_systemd_and_away(host: Switched) -> None:
    host.to("s6")
    definitions = {
        "one": host.counted("one"),
        "two": host.counted("two"),
        "still": {**host.counted("still"), "state": "stopped"},
    }
    host.good(definitions, defaults={"stop_timeout": "5s"})
    for backend in ("systemd", "supervisord", "systemd", "runit"):
        before = {name: one.pid for name, one in host.snapshot().services.items()}
        predicted = host.to(backend, check=True)
        assert {name: one.pid for name, one in host.snapshot().services.items()} == before
        former = host.backend
        result = host.to(backend)
        assert predicted["actions"] == result["actions"][: len(predicted["actions"])]
        assert {name: (one["from"], one["to"]) for name, one in result["switched"].items()} == dict.fromkeys(
            definitions, (former, backend)
        )
        assert not any(procs.alive(pid) for pid in before.values() if pid)
        states = {name: one.state for name, one in host.snapshot().services.items()}
        assert states == {"one": "ready", "two": "ready", "still": "down"}
        assert host.twice() == []
        assert not host.to(backend)["changed"]
        again = host.good(definitions, defaults={"stop_timeout": "5s"})
        assert not again["changed"], again["actions"]
        folders = sorted(path.name for path in host.scan.iterdir() if path.name.startswith("."))
        assert folders == [".holdfast", f".{backend}"]
    left = host.machine.do("sh", "-c", "ls /etc/systemd/system | grep '^holdfast' || true").split()
    assert left == ["holdfast.runit.service"]


def test_what_writes_logs_with_the_same_files_is_refused_before_anything_is_changed(host: Switched) -> None:
    host.to("embedded")
    host.good({"one": host.counted("one")})
    before = host.service("one").pid
    with pytest.raises(AssertionError, match=r"write logs \(one\) with the same files.*switch to a suite first"):
        host.to("systemd")
    assert host.service("one").pid == before
    assert not (host.scan / ".systemd").exists() and not (host.scan / ".switch").exists()
    # Without logs there is nothing to share.
    host.good({"one": host.counted("one", log={"to": "none"})})
    for backend in ("systemd", "embedded"):
        assert set(host.to(backend)["switched"]) == {"one"}
        assert host.service("one").state == "ready" and host.twice() == []
        assert not host.to(backend)["changed"]


def test_what_systemd_cannot_do_is_refused_before_anything_is_changed(host: Switched) -> None:
    host.to("embedded")
    health = {"check": ["/bin/true"], "interval": "10s"}
    host.good({"one": host.counted("one", health=health)})
    before = host.service("one").pid
    with pytest.raises(AssertionError, match=r"one: health .* is not supported by the backend systemd"):
        host.to("systemd")
    assert host.service("one").pid == before
    assert not (host.scan / ".systemd").exists() and not (host.scan / ".switch").exists()


def test_openrc_takes_over_what_runs_and_lets_it_go(openrc: Switched) -> None:
    openrc.to("embedded")
    definitions = {"one": openrc.counted("one"), "still": {**openrc.counted("still"), "state": "stopped"}}
    openrc.good(definitions, defaults={"stop_timeout": "5s"})
    before = openrc.service("one").pid
    ls = "ls /etc/init.d /etc/runlevels/default | grep '^holdfast[.]' | sort | tr '\\n' ' '"
    for backend, scripts in (("openrc", "holdfast.one holdfast.one holdfast.still "), ("embedded", "")) * 2:
        predicted = openrc.to(backend, check=True)
        result = openrc.to(backend)
        assert predicted["actions"] == result["actions"] and result["changed"]
        openrc.good(definitions, defaults={"stop_timeout": "5s"})
        assert openrc.machine.do("sh", "-c", ls) == scripts
        # The same supervisor goes on, and nobody is stopped for it.
        assert openrc.service("one").pid == before and openrc.twice() == []
        assert not openrc.to(backend)["changed"]
        assert not openrc.good(definitions, defaults={"stop_timeout": "5s"})["changed"]
        if backend == "openrc":
            # Not -s, which has a cache: of scripts made within the second of that it knows nothing.
            listed = "rc-status default | grep holdfast.one || true"
            wait_until(lambda listed=listed: "started" in openrc.machine.do("sh", "-c", listed))  # type: ignore[misc]
