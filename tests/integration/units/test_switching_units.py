# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Another backend for a host whose services run, where systemd or OpenRC is on one side."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import deployed
import hosted
import procs
import pytest
import rolefiles
from conforming_systemd import SystemdHost
from deployed import Deployment, runtime
from switching import complete, counter, killed_before, logged, said
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
        result: dict[str, Any] = self.machine.call("supervisor", self.options(backend), state, backend, check)
        if not check:
            self.backend = backend  # type: ignore[misc]
        return result

    def killed(self, backend: str, step: int) -> bool:
        """Switch the backend, killed before the change with this number; whether there were so many."""
        paths = [str(hosted.CHECKOUT), str(hosted.ANSIBLE.parent)]
        command = ["python3", *killed_before(step, paths, self.options(backend), backend)]
        ended = self.machine.do("sh", "-c", '"$@" >/dev/null; echo "$?"', "sh", *command).split()[-1]
        assert ended in ("0", "137")
        return ended == "137"

    def options(self, backend: str) -> dict[str, Any]:
        """Options of the module."""
        given = {"units": rolefiles.units(backend, self.below), "scripts": rolefiles.scripts(backend, self.below)}
        return deployed.options(self.scan, self.below, str(self.below / "lib"), log_user="root", **given)

    def close(self) -> None:
        if self.scan.is_dir():
            self.to(self.backend, "absent")
        super().close()

    def counted(self, name: str, **more: Any) -> dict[str, Any]:
        """A service that complains, in a file, when another copy of it runs."""
        folder = self.base / name
        folder.mkdir(exist_ok=True)
        # Ready when it has come so far, so that nothing ends it before it can clean up. Nor while it does: systemd signals
        # whoever comes into the group meanwhile.
        script = f"""
            trap 'trap "" TERM; rmdir {folder}/lock; exit 0' TERM
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


def not_a_line_is_lost(host: Switched, *backends: str) -> None:
    """Move two services that count from one to the next, and at the end look at all that they have said."""
    host.to(backends[0])
    folders = {name: host.base / name for name in ("one", "two")}
    definitions = {name: counter(folder) for name, folder in folders.items()}
    host.good(definitions, defaults={"stop_timeout": "5s"})
    for backend in backends[1:]:
        here = {name: said(folder) for name, folder in folders.items()}
        wait_until(lambda here=here: all(said(folders[name]) > here[name] + 20 for name in here))  # type: ignore[misc]
        result = host.to(backend)
        assert set(result["switched"]) in (set(folders), set())
        print(backend, result["switched"])
        there = {name: said(folder) for name, folder in folders.items()}
        wait_until(lambda there=there: all(logged(host.logs / name)[-1] > there[name] for name in there))  # type: ignore[misc]
        assert not host.to(backend)["changed"]
        host.good(definitions, defaults={"stop_timeout": "5s"})
    host.good({name: {**one, "state": "stopped"} for name, one in definitions.items()})
    for name, folder in folders.items():
        wait_until(lambda name=name, folder=folder: logged(host.logs / name)[-1] == said(folder))  # type: ignore[misc]
        assert complete(host.logs / name)


def test_not_a_line_is_lost_or_doubled_or_in_another_place(host: Switched) -> None:
    not_a_line_is_lost(host, "embedded", "systemd", "embedded", "systemd", "s6", "systemd", "supervisord", "systemd")


def test_not_a_line_is_lost_where_openrc_is(openrc: Switched) -> None:
    not_a_line_is_lost(openrc, "embedded", "openrc", "s6", "openrc", "embedded", "runit", "openrc")


#: Of the changes that a switch makes; all of them with HOLDFAST_SWITCH=all.
STEPS = range(1, 1000) if os.environ.get("HOLDFAST_SWITCH") == "all" else (12, 30, 37, 45)


def test_a_switch_that_was_killed_is_finished_by_the_next_run_without_losing_a_line(host: Switched) -> None:
    here, there = "embedded", "systemd"
    host.to(here)
    definitions = {"one": counter(host.base / "one")}
    host.good(definitions, defaults={"stop_timeout": "5s"})
    for step in STEPS:
        if not host.killed(there, step):
            break
        if step % 2:
            # It does not matter who is asked now: the other one is as good.
            here, there = there, here
        host.to(there)
        assert host.service("one").state == "ready", f"after step {step} to {there}"
        again = host.to(there)
        assert not again["changed"], f"after step {step} to {there}: {again['actions']}"
        last = said(host.base / "one")
        wait_until(lambda last=last: logged(host.logs / "one")[-1] > last)  # type: ignore[misc]
        assert complete(host.logs / "one"), f"after step {step} to {there}"
        here, there = there, here


def test_a_switch_that_is_turned_round_finds_the_fifo_that_the_log_writer_has_removed_meanwhile(host: Switched) -> None:
    host.to("systemd")
    definitions = {name: counter(host.base / name) for name in ("one", "two")}
    host.good(definitions, defaults={"stop_timeout": "5s"})

    def holder(name: str) -> str:
        mark = host.scan / ".switch" / name
        return mark.read_text().split()[0] if mark.exists() else ""

    step = 20
    while (holder("one"), holder("two")) != ("s6", "systemd"):
        assert host.killed("s6", step), f"{holder('one')} {holder('two')}"
        step += 1
    # One that begins anew takes away what nobody writes to.
    host.machine.do("systemctl", "restart", "holdfast.logwriter.service")
    fifo = host.below / "run" / "systemd" / "fifo" / "one"
    assert not fifo.exists()
    assert set(host.to("systemd")["switched"]) == {"one"}
    assert fifo.is_fifo()
    assert not host.to("systemd")["changed"]
    again = host.good(definitions, defaults={"stop_timeout": "5s"})
    assert not again["changed"], again["actions"]
    for name in definitions:
        last = said(host.base / name)
        wait_until(lambda name=name, last=last: logged(host.logs / name)[-1] > last)  # type: ignore[misc]
        assert complete(host.logs / name)


def of_an_earlier_version(host: Switched) -> None:
    """Have units, table and FIFOs of a host of systemd be as they were before there was a place for them alone."""
    run = host.below / "run"
    script = """
        cd /etc/systemd/system && sed -i "s#$1/systemd#$1#g" $(grep -l "$1/systemd" holdfast*) && systemctl daemon-reload
        sed -i "s#$1/systemd#$1#g" "$1"/systemd/logs/*.json && mv "$1"/systemd/* "$1" && rmdir "$1/systemd"
        systemctl restart holdfast.logwriter.service holdfast-one.service"""
    host.machine.do("sh", "-ec", script, "sh", str(run))
    wait_until(lambda: said(host.base / "one") > 0)
    assert (run / "logs" / "one.json").exists() and not (run / "systemd").exists()


@pytest.mark.parametrize("switched", [False, True], ids=["goes on", "is switched"])
def test_a_host_of_an_earlier_version_loses_nothing(host: Switched, switched: bool) -> None:
    host.to("systemd")
    definitions = {"one": counter(host.base / "one")}
    host.good(definitions, defaults={"stop_timeout": "5s"})
    of_an_earlier_version(host)
    before = host.service("one").pid
    if switched:
        assert set(host.to("embedded")["switched"]) == {"one"}
    else:
        writer = host.machine.do("systemctl", "show", "-P", "MainPID", "holdfast.logwriter.service")
        result = host.good(definitions, defaults={"stop_timeout": "5s"})
        assert result["actions"] == ["one: register"]
        assert host.service("one").pid == before
        assert host.machine.do("systemctl", "show", "-P", "MainPID", "holdfast.logwriter.service") == writer
        assert not host.good(definitions, defaults={"stop_timeout": "5s"})["changed"]
        assert {path.name for path in (host.below / "run").iterdir()} == {"systemd", "units"}
        host.machine.do("systemctl", "restart", "holdfast.logwriter.service", "holdfast-one.service")
        host.to("embedded")
    last = said(host.base / "one")
    wait_until(lambda: logged(host.logs / "one")[-1] > last)
    assert complete(host.logs / "one")


def test_what_systemd_cannot_do_is_refused_before_anything_is_changed(host: Switched) -> None:
    host.to("embedded")
    late = {"finish": ["/bin/true"], "finish_timeout": "1h"}
    host.good({"one": host.counted("one", **late)})
    before = host.service("one").pid
    with pytest.raises(AssertionError, match=r"one: finish .* is not possible here with the backend systemd"):
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
        # As if all were made within one second: of a script that is not younger OpenRC knows nothing by itself.
        openrc.machine.do("touch", "-d", "+1 day", "/run/openrc/deptree")
        predicted = openrc.to(backend, check=True)
        result = openrc.to(backend)
        assert predicted["actions"] == result["actions"] and result["changed"]
        openrc.good(definitions, defaults={"stop_timeout": "5s"})
        assert openrc.machine.do("sh", "-c", ls) == scripts
        # The same supervisor goes on, and nobody is stopped for it.
        assert openrc.service("one").pid == before and openrc.twice() == []
        assert not openrc.to(backend)["changed"]
        assert not openrc.good(definitions, defaults={"stop_timeout": "5s"})["changed"]
        # The supervisor too, whose script is another one for each.
        listed = openrc.machine.do("sh", "-c", "rc-status default | grep holdfast || true").split()
        ours = {"holdfast", "holdfast.one"} if backend == "openrc" else {"holdfast"}
        assert {word for word in listed if word.startswith("holdfast")} == ours and listed.count("started") == len(ours)
