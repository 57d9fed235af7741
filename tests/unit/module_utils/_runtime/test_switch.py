# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Switching the backend in a world of memory: killed at every step, with and without a reboot, there is never a second copy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._runtime import switch
from ansible_collections.holdfast.supervision.plugins.module_utils._runtime.host import Wanted
from ansible_collections.holdfast.supervision.plugins.module_utils._supervise import holding, remains
from ansible_collections.holdfast.supervision.plugins.module_utils._supervise.interface import (
    Backend,
    NotRunning,
    Service,
    Snapshot,
    Verdict,
)


class Killed(BaseException):
    """The module's process is killed."""


class World:
    """running: backends whose root process runs. installed: those that are started at boot. copies: who runs each service."""

    def __init__(self, scan: Path) -> None:
        self.scan = scan
        self.running: set[str] = set()
        self.installed: set[str] = set()
        self.copies: dict[str, set[str]] = {}
        #: Who has the directory of each service's log.
        self.loggers: dict[str, set[str]] = {}
        #: What each backend has noted, as a suite has its `down` files: the services that it starts at boot.
        self.enabled: dict[str, set[str]] = {}
        self.known: dict[str, set[str]] = {}
        self.left = -1
        self.broken: set[tuple[str, str]] = set()
        #: Backend and service whose logger does not let go, as far as anybody can tell.
        self.hung: set[tuple[str, str]] = set()

    def names(self) -> list[str]:
        return sorted(path.name for path in self.scan.iterdir() if not path.name.startswith("."))

    def step(self) -> None:
        """Something is changed; the last one is not, since the module is killed before it."""
        if self.left == 0:
            raise Killed
        self.left -= 1

    def start(self, backend: str, name: str) -> None:
        copies = self.copies.setdefault(name, set())
        assert copies <= {backend}, f"{name} runs under {copies} and is started under {backend}"
        copies.add(backend)
        self.log(backend, name)

    def log(self, backend: str, name: str) -> None:
        loggers = self.loggers.setdefault(name, set())
        assert loggers <= {backend}, f"{loggers} have the log of {name}, which {backend} is to write"
        loggers.add(backend)

    def boot(self, backend: str) -> None:
        self.running.add(backend)
        for name in self.enabled.get(backend, set()):
            self.start(backend, name)

    def reboot(self) -> None:
        self.running.clear()
        self.loggers.clear()
        self.copies = {name: set() for name in self.names()}
        for backend in sorted(self.installed):
            self.boot(backend)


class Fake(Backend):
    """Obeys the marks as every backend does. Knows what it was told at the last `settle`, as a suite does."""

    capabilities = frozenset()
    world: World

    def snapshot(self) -> Snapshot:
        if self.name not in self.world.running:
            raise NotRunning(self.name)
        return Snapshot({}, {name: self._service(name) for name in sorted(self.world.known.get(self.name, set()))})

    def _service(self, name: str) -> Service:
        there = self.name in self.world.copies.get(name, set())
        return Service(
            {"name": name, "state": "ready" if there else "down", "ready": there, "want": "up" if there else "down"}
            | {"pid": 2**31 - 7 if there else None, "since": 1.0}
        )

    def rescan(self) -> None:
        for name in self.world.names():
            self.settle(name)

    def settle(self, name: str) -> None:
        self.world.step()
        standing = holding.standing(str(self.world.scan), name, self.name)
        known = self.world.known.setdefault(self.name, set())
        enabled = self.world.enabled.setdefault(self.name, set())
        if standing == holding.ABSENT:
            assert self.name not in self.world.copies.get(name, set()), f"{name} still runs under {self.name}"
            known.discard(name)
            self.world.loggers.get(name, set()).discard(self.name)
        else:
            known.add(name)
        if standing == holding.MINE and not (self.world.scan / name / "down").exists():
            enabled.add(name)
            self.world.log(self.name, name)
        else:
            enabled.discard(name)

    def let_go(self, name: str) -> bool:
        return super().let_go(name) and (self.name, name) not in self.world.hung

    def control(self, commands: list[tuple[str, str]]) -> dict[str, str]:
        for name, action in commands:
            self.world.step()
            if action == "start":
                self.world.start(self.name, name)
            else:
                self.world.copies.setdefault(name, set()).discard(self.name)
        return {}

    def wait(self, wishes: list[tuple[str, str]], timeout: float) -> dict[str, Verdict]:
        del timeout
        found = {}
        for name, wish in wishes:
            bad = wish == "ready" and (self.name, name) in self.world.broken
            found[name] = Verdict(name, "failed" if bad else "reached", self._service(name))
        return found

    def close(self) -> None:
        return


class OneFake(Fake):
    name = "one"


class TwoFake(Fake):
    name = "two"


class FakeRoot:
    """Has what `switch` uses of a root."""

    installed_before = True
    engine = ""

    def __init__(self, world: World, name: str) -> None:
        self.name = name
        self.world = world
        self.wanted = Wanted(
            str(world.scan), "/nowhere", str(world.scan / ".nolog"), "/nowhere", "/nowhere", version="v"
        )

    def running(self) -> dict[str, Any] | None:
        return {"pid": 1, "version": "v", "since": 0.0} if self.name in self.world.running else None

    def check(self) -> None:
        return

    def left(self) -> bool:
        return self.name in self.world.installed

    def is_process_one(self) -> bool:
        return False

    def keeps(self) -> list[str]:
        return []

    def stop(self) -> None:
        self.world.step()
        for held in (*self.world.copies.values(), *self.world.loggers.values()):
            held.discard(self.name)
        self.world.running.discard(self.name)

    def retire(self) -> None:
        self.stop()
        self.world.step()
        self.world.installed.discard(self.name)
        self.world.enabled.pop(self.name, None)
        self.world.known.pop(self.name, None)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Three services, of which `off` is stopped, under `one`."""
    scan = tmp_path / "services"
    scan.mkdir()
    made = World(scan)
    for name in ("a", "b", "off"):
        (scan / name).mkdir()
        (scan / name / "holdfast.json").write_text(json.dumps({"format": 1, "name": name}))
    (scan / "off" / "down").touch()
    monkeypatch.setattr(Fake, "world", made, raising=False)
    monkeypatch.setattr(switch, "BACKENDS", {"one": OneFake, "two": TwoFake})
    monkeypatch.setattr(switch, "PATIENCE", 0.0)
    monkeypatch.setattr("os.fsync", lambda _file: None)
    # There are no processes in this world.
    monkeypatch.setattr(remains, "_table", dict)
    for function in ("write", "begin", "end"):
        monkeypatch.setattr(holding, function, stepping(made, getattr(holding, function)))
    made.installed.add("one")
    made.running.add("one")
    OneFake(str(scan)).rescan()
    made.boot("one")
    return made


def stepping(world: World, function: Callable[..., None]) -> Callable[..., None]:
    def wrapped(*arguments: Any) -> None:
        world.step()
        function(*arguments)

    return wrapped


def switched(world: World, target: str, steps: int = -1) -> dict[str, Any]:
    """Switch, killed before the change after so many; -1 is not killed."""
    world.left = steps
    root = FakeRoot(world, target)
    others = [FakeRoot(world, name) for name in ("one", "two") if name != target]
    plan = switch.make(root, others)  # type: ignore[arg-type]

    def start() -> dict[str, Any]:
        world.step()
        world.installed.add(target)
        if target not in world.running:
            world.boot(target)
        return {"actions": [], "diff": []}

    assert not plan.problems
    return switch.apply(plan, start) if plan.needed else {"actions": []}


def settled(world: World, backend: str) -> None:
    """Everything is under one backend, and nothing is left of the other."""
    assert world.copies["a"] == world.copies["b"] == {backend}
    assert not world.copies.get("off")
    assert world.enabled == {backend: {"a", "b"}} and world.known == {backend: {"a", "b", "off"}}
    assert world.installed == world.running == {backend}
    assert not holding.switching(str(world.scan))
    assert switched(world, backend)["actions"] == []


def test_everything_moves_and_the_plan_says_so(world: World) -> None:
    plan = switch.make(FakeRoot(world, "two"), [FakeRoot(world, "one")])  # type: ignore[arg-type, list-item]
    expected = ["start two", *(f"{name}: move from one to two" for name in ("a", "b", "off")), "remove one"]
    assert plan.actions() == expected
    result = switched(world, "two")
    assert result["actions"] == expected
    assert {name: (one["from"], one["to"]) for name, one in result["switched"].items()} == dict.fromkeys(
        ("a", "b", "off"), ("one", "two")
    )
    settled(world, "two")


@pytest.mark.parametrize("rebooted", [False, True], ids=["killed", "killed and rebooted"])
@pytest.mark.parametrize("final", ["two", "one"], ids=["on", "back"])
def test_after_any_step_the_next_run_finishes(world: World, rebooted: bool, final: str) -> None:
    for steps in range(500):
        try:
            switched(world, "two", steps)
        except Killed:
            pass
        else:
            break
        if rebooted:
            world.left = -1
            world.reboot()
        switched(world, final)
        settled(world, final)
        switched(world, "one")
        settled(world, "one")
    else:
        raise AssertionError("it has no end")
    assert steps > 30
    settled(world, "two")


def test_killed_again_and_again_it_ends(world: World) -> None:
    for steps in (5, 11, 3, 17, 8, 23, 9, 40):
        try:
            switched(world, "two", steps)
        except Killed:
            continue
    switched(world, "two")
    settled(world, "two")


def test_what_does_not_get_ready_goes_back_and_stops_the_switch(world: World) -> None:
    world.broken.add(("two", "b"))
    with pytest.raises(switch.Interrupted, match="b ran ready under one and does not under two") as failure:
        switched(world, "two")
    assert set(failure.value.switched) == {"a"}
    assert (world.copies["a"], world.copies["b"]) == ({"two"}, {"one"})
    world.reboot()
    assert (world.copies["a"], world.copies["b"]) == ({"two"}, {"one"})
    world.broken.clear()
    assert set(switched(world, "two")["switched"]) == {"b", "off"}
    settled(world, "two")


def test_a_log_that_is_not_let_go_keeps_no_service_down_and_stops_the_switch(world: World) -> None:
    world.hung.add(("one", "b"))
    with pytest.raises(switch.Interrupted, match="b: the logger of one has not let go of its log within") as failure:
        switched(world, "two")
    assert set(failure.value.switched) == {"a"}
    assert (world.copies["a"], world.copies["b"]) == ({"two"}, {"two"})
    world.hung.clear()
    switched(world, "two")
    settled(world, "two")


def test_services_of_a_supervisor_that_is_dead_are_ended_before_they_are_started_elsewhere(world: World) -> None:
    world.running.discard("one")
    switched(world, "two")
    settled(world, "two")
