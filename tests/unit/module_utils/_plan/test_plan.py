# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plan: what each state of a service leads to, and what is refused."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_backend import FakeBackend

from ansible_collections.holdfast.supervision.plugins.module_utils._plan.converge import converge
from ansible_collections.holdfast.supervision.plugins.module_utils._plan.directories import Wanted
from ansible_collections.holdfast.supervision.plugins.module_utils._plan.request import Request
from ansible_collections.holdfast.supervision.plugins.module_utils._supervise.interface import Snapshot, Unanswered

UP = {"state": "ready", "want": "up", "pid": 7, "definition": "d1.1", "loaded": "d1.1"}


def wanted(name: str = "web", **meta: Any) -> Wanted:
    content = {"format": 1, "name": name, "definition": "d1", "state": "started", "on_change": "restart", **meta}
    files = {"run": (b"#!/bin/sh\n", 0o755)}
    if content["state"] != "started":
        files["down"] = (b"", 0o644)
    return Wanted(name, content, files)


def run(scan: Path, backend: FakeBackend, *services: Wanted, **options: Any) -> dict[str, Any]:
    backend.scan = str(scan)
    return converge(Request(str(scan), {service.name: service for service in services}, **options), backend)


def publish(scan: Path, *services: Wanted) -> None:
    result = run(scan, FakeBackend(), *services, offline=True)
    assert not result.get("failed"), result["msg"]


@pytest.mark.parametrize(
    ("status", "commands"),
    [
        (UP, []),
        ({**UP, "state": "up"}, []),
        ({"state": "backoff", "want": "up"}, []),
        ({"state": "waiting", "want": "up"}, []),
        ({"state": "scheduled", "want": "up"}, []),
        ({"state": "down", "want": "down"}, ["start"]),
        ({**UP, "want": "once"}, ["start"]),
        ({"state": "stopping", "want": "down", "pid": 7}, ["start"]),
        ({"state": "failed", "want": "up"}, ["start"]),
        ({"state": "down", "want": "up", "exit": {"kind": "exit", "code": 0}}, []),
        ({"state": "down", "want": "up", "exit": {"kind": "exit", "code": 1}}, ["start"]),
        ({"state": "down", "want": "up", "exit": {"kind": "unknown", "code": 0}}, ["start"]),
        ({**UP, "definition": "d0.1"}, ["restart"]),
        ({**UP, "definition": "d1.2"}, ["restart"]),
        ({**UP, "definition": None}, []),
        (None, ["start"]),
    ],
)
def test_started(tmp_path: Path, status: dict[str, Any] | None, commands: list[str]) -> None:
    publish(tmp_path, wanted())
    backend = FakeBackend(**({"web": status} if status else {}))
    result = run(tmp_path, backend, wanted())
    assert [command for _name, command in backend.commands()] == commands
    assert result["services"]["web"]["actions"] == commands
    assert result["changed"] is bool(commands)


@pytest.mark.parametrize(
    ("status", "commands"),
    [
        (UP, ["stop"]),
        ({"state": "backoff", "want": "up"}, ["stop"]),
        ({"state": "failed", "want": "up"}, ["stop"]),
        ({"state": "down", "want": "once"}, ["stop"]),
        ({"state": "down", "want": "down"}, []),
        ({"state": "stopping", "want": "down", "pid": 7}, []),
        (None, []),
    ],
)
def test_stopped(tmp_path: Path, status: dict[str, Any] | None, commands: list[str]) -> None:
    service = wanted(state="stopped")
    publish(tmp_path, service)
    backend = FakeBackend(**({"web": status} if status else {}))
    run(tmp_path, backend, service)
    assert [command for _name, command in backend.commands()] == commands


@pytest.mark.parametrize(("on_change", "commands"), [("restart", ["restart"]), ("reload", ["reload"]), ("nothing", [])])
def test_on_change(tmp_path: Path, on_change: str, commands: list[str]) -> None:
    publish(tmp_path, wanted(on_change=on_change))
    backend = FakeBackend(web=UP)
    result = run(tmp_path, backend, wanted(definition="d2", on_change=on_change), check_mode=True)
    assert result["actions"] == ["web: update", *(f"web: {command}" for command in commands)]
    assert result["services"]["web"]["restart_needed"]
    assert backend.commands() == []


def test_everything_is_told_in_one_batch_and_waited_for_in_one(tmp_path: Path) -> None:
    backend = FakeBackend()
    result = run(tmp_path, backend, wanted("a"), wanted("b"))
    assert not result.get("failed")
    assert [call[0] for call in backend.calls] == ["rescan", "control", "wait", "close"]
    assert backend.calls[1:3] == [
        ("control", ("a", "start"), ("b", "start")),
        ("wait", ("a", "ready"), ("b", "ready")),
    ]


def test_nothing_to_do_asks_nothing(tmp_path: Path) -> None:
    publish(tmp_path, wanted())
    backend = FakeBackend(web=UP)
    run(tmp_path, backend, wanted())
    assert [call for call in backend.calls if len(call) > 1 or call[0] == "rescan"] == []


def test_a_refused_command_fails_that_service_alone(tmp_path: Path) -> None:
    backend = FakeBackend()
    backend.refuse = {"a": "not today"}
    result = run(tmp_path, backend, wanted("a"), wanted("b"))
    assert result["failed"] and "a: start was refused: not today" in result["msg"]
    assert result["services"]["b"]["state"] == "ready"
    assert result["actions"] == ["a: create", "b: create", "b: start"]


def test_prune_needs_our_mark(tmp_path: Path) -> None:
    publish(tmp_path, wanted("ours"), wanted("guards", owner="leases"))
    (tmp_path / "foreign").mkdir()
    backend = FakeBackend(ours=UP, guards=UP, foreign=UP)
    assert run(tmp_path, backend, prune=True)["actions"] == ["ours: remove"]
    assert backend.commands() == [("ours", "remove")]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["foreign", "guards"]


def test_a_feature_that_the_backend_lacks_is_refused_with_those_that_have_it(tmp_path: Path) -> None:
    class Poor(FakeBackend):
        name = "poor"
        native = frozenset(("process",))

    having = {"health": ["poor", "rich"]}
    result = run(tmp_path, Poor(), wanted("a", health={"interval": 1}), wanted("b", kill="tree"), having=having)
    assert result["failed"] and not result["changed"] and list(tmp_path.iterdir()) == []
    health, kill = result["problems"]
    assert health.startswith("a: health (") and "not supported by the backend poor; these have it: rich" in health
    assert kill.startswith("b: kill.tree (") and kill.endswith("no backend has it")


def test_what_the_host_does_not_allow_is_refused_with_the_reason(tmp_path: Path) -> None:
    class Here(FakeBackend):
        def obstacle(self, feature: str, meta: Any, snapshot: Any) -> str:
            return "no cgroup v2 here" if feature == "resources" else ""

    service = wanted(process={"resources": {"memory_max": 1}})
    result = run(tmp_path, Here(), service)
    assert result["failed"] and "resources (" in result["msg"] and "no cgroup v2 here" in result["msg"]


def test_problems_of_all_kinds_come_together(tmp_path: Path) -> None:
    (tmp_path / "foreign").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "holdfast.json").write_text("{")
    tmp_path.chmod(0o777)
    bad = Wanted("bad", {"format": 1}, {}, verify={"command": "/nowhere", "users": ["no-such-user"]})
    result = run(tmp_path, FakeBackend(running=False), wanted("foreign"), wanted("broken"), bad, absent=["foreign"])
    assert result["failed"] and len(result["problems"]) == 6
    assert "holdfast supervise" not in result["msg"]
    for words in ("written by others", "no supervisor runs", "foreign: ", "broken: ", "bad: the user", "bad: command"):
        assert words in result["msg"]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["broken", "foreign"]


@pytest.fixture
def as_nobody(tmp_path: Path) -> Iterator[Path]:
    """A folder of an ordinary user, and this process as that user: root may read everything."""
    root = os.geteuid() == 0
    folder = Path(tempfile.mkdtemp(prefix="hf-plan-")) if root else tmp_path
    if root:
        os.chown(folder, 65534, 65534)
        os.seteuid(65534)
    yield folder
    if root:
        os.seteuid(0)
        shutil.rmtree(folder)


@pytest.mark.parametrize("shut", [".", "run"])
def test_what_its_owner_has_shut_himself_out_of_is_told(as_nobody: Path, shut: str) -> None:
    as_nobody.chmod(0o755)
    publish(as_nobody, wanted(), wanted("other"))
    (as_nobody / "web" / shut).chmod(0)
    result = run(as_nobody, FakeBackend(web=UP), wanted(), wanted("other", definition="d2"))
    assert result["failed"] and f"web: {as_nobody}/web: cannot be read" in result["msg"]
    assert "Permission denied" in result["msg"] and "set it right" in result["msg"] and not result["changed"]
    result = run(as_nobody, FakeBackend(web=UP), wanted("other"), absent=["web"])
    assert result["failed"] and "cannot be read" in result["msg"] and "was not made by" not in result["msg"]


class Mute(FakeBackend):
    """A supervisor that hangs."""

    def snapshot(self) -> Snapshot:
        raise Unanswered("process 7 hangs")


@pytest.mark.parametrize("offline", [False, True])
def test_a_supervisor_that_hangs_is_not_taken_for_another_one(tmp_path: Path, offline: bool) -> None:
    publish(tmp_path, wanted())
    (tmp_path / "web" / "supervise").unlink()
    (tmp_path / "web" / "supervise").mkdir()
    os.mkfifo(tmp_path / "web" / "supervise" / "ok")
    held = os.open(tmp_path / "web" / "supervise" / "ok", os.O_RDONLY | os.O_NONBLOCK)
    result = run(tmp_path, Mute(), wanted(definition="d2"), offline=offline)
    os.close(held)
    assert result["failed"] and result["problems"] == ["process 7 hangs"]


def test_a_full_disk_in_the_middle_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ansible_collections.holdfast.supervision.plugins.module_utils._plan import publish as publishing

    publish(tmp_path, wanted("a"))

    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(publishing, "sync", full)
    backend = FakeBackend(a=UP)
    result = run(tmp_path, backend, wanted("a", definition="d2"), wanted("b"))
    assert result["failed"] and "No space left on device" in result["msg"]
    assert not result["changed"] and result["actions"] == [] and backend.commands() == []
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_a_run_that_is_kept_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ansible_collections.holdfast.supervision.plugins.module_utils._plan import scan

    monkeypatch.setattr(scan.Scan.lock, "__defaults__", (0.0,))
    other = scan.Scan(str(tmp_path))
    assert other.lock()
    result = run(tmp_path, FakeBackend(), wanted())
    assert result["failed"] and "another run" in result["msg"]
    other.close()
    assert not run(tmp_path, FakeBackend(), wanted()).get("failed")


def driven(shipped: list[str] | None) -> Wanted:
    """A service whose lease is kept by a driver of another collection."""
    found = wanted()
    found.verify = {"lease_driver": {"name": "x.y.z", "variable": "leases_driver", "shipped": shipped}}
    return found


@pytest.mark.parametrize(
    ("shipped", "there", "check_mode", "place"),
    [
        # Nobody will bring it: not now, and not in the real run either.
        ([], True, False, "problems"),
        ([], False, True, "problems"),
        (None, True, True, "problems"),
        # The role has not been applied yet.
        (["x.y.z"], True, False, "problems"),
        (["x.y.z"], True, True, "unverified"),
        (["x.y.z"], False, True, "unverified"),
        (None, False, True, "unverified"),
    ],
)
def test_a_lease_driver_that_is_not_in_the_runtime(
    tmp_path: Path, shipped: list[str] | None, there: bool, check_mode: bool, place: str
) -> None:
    scan, lib = tmp_path / "services", tmp_path / "lib"
    scan.mkdir(mode=0o755)
    if there:
        (lib / "current").mkdir(parents=True)
    result = run(scan, FakeBackend(), driven(shipped), runtime=str(lib), check_mode=check_mode)
    (text,) = [text for text in result[place] if "x.y.z" in text]
    assert text.startswith("web: leases_driver: the lease driver x.y.z is not in the runtime of this host")
    assert "holdfast.supervision.supervisor, which ships it" in text
    assert bool(result.get("failed")) == (place == "problems")
    assert list(scan.iterdir()) == []


@pytest.mark.parametrize("name", ["z.py", "z/__init__.py"])
def test_a_lease_driver_that_is_in_the_runtime(tmp_path: Path, name: str) -> None:
    scan = tmp_path / "services"
    scan.mkdir(mode=0o755)
    module = tmp_path / "lib/current/holdfast/_foreign/x/y" / name
    module.parent.mkdir(parents=True)
    module.touch()
    result = run(scan, FakeBackend(), driven(None), runtime=str(tmp_path / "lib"))
    assert not result.get("failed"), result["msg"]
