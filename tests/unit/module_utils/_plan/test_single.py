# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One service, ours or the host's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fake_backend import FakeBackend

from ansible_collections.holdfast.supervision.plugins.module_utils._plan.single import steer
from ansible_collections.holdfast.supervision.plugins.module_utils._supervise import hostmanager

UP = {"state": "ready", "want": "up", "pid": 7}
DOWN = {"state": "down", "want": "down"}


class NoHost:
    """A module that must not run anything."""

    def run_command(self, args: Any) -> tuple[int, str, str]:
        raise AssertionError(args)

    def get_bin_path(self, arg: str, required: bool = False, opt_dirs: Any = None) -> str | None:
        raise AssertionError(arg)


def parameters(**given: Any) -> dict[str, Any]:
    return {
        "name": "web",
        "state": None,
        "enabled": None,
        "timeout": 5.0,
        "runlevel": None,
        "arguments": None,
        "daemon_reload": False,
        **given,
    }


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "run").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("state", "status", "command"),
    [
        ("started", UP, ""),
        ("started", DOWN, "start"),
        ("started", {"state": "failed", "want": "up"}, "start"),
        ("started", {"state": "down", "want": "up", "exit": {"kind": "exit", "code": 0}}, ""),
        ("stopped", UP, "stop"),
        ("stopped", {"state": "backoff", "want": "up"}, "stop"),
        ("stopped", DOWN, ""),
        ("restarted", UP, "restart"),
        ("restarted", DOWN, "restart"),
        ("reloaded", UP, "reload"),
        ("reloaded", DOWN, "start"),
        ("once", UP, ""),
        ("once", DOWN, "once"),
    ],
)
@pytest.mark.parametrize("check_mode", [False, True])
def test_states(scan: Path, state: str, status: dict[str, Any], command: str, check_mode: bool) -> None:
    backend = FakeBackend(web=status)
    result = steer(parameters(state=state), str(scan), backend, NoHost(), check_mode)
    assert not result.get("failed"), result
    assert result["changed"] is bool(command) and result["actions"] == ([command] if command else [])
    assert backend.commands() == ([("web", command)] if command and not check_mode else [])
    assert result["state"] == ("stopped" if state == "stopped" else "started")
    assert result["enabled"] and result["manager"] == "fake"


def test_enabled_is_the_file_down(scan: Path) -> None:
    down = scan / "web" / "down"
    backend = FakeBackend(running=False)
    for check_mode, enabled, changed, there in (
        (True, False, True, False),
        (False, False, True, True),
        (False, False, False, True),
        (False, True, True, False),
        (False, True, False, False),
    ):
        result = steer(parameters(enabled=enabled), str(scan), backend, NoHost(), check_mode)
        assert not result.get("failed"), result
        assert result["changed"] is changed and result["enabled"] is enabled
        assert down.exists() is there


def test_a_failure_tells_why(scan: Path) -> None:
    backend = FakeBackend(web={**DOWN, "reason": "exit code 3"})
    backend.outcome = "failed"
    result = steer(parameters(state="started"), str(scan), backend, NoHost(), False)
    assert result["failed"] and "web: exit code 3" in result["msg"] and result["changed"]
    backend.outcome = "timeout"
    backend.records["web"].update(DOWN)
    result = steer(parameters(state="started"), str(scan), backend, NoHost(), False)
    assert result["failed"] and "not ready within 5 s" in result["msg"]


def test_a_failure_does_not_tell_a_secret(scan: Path) -> None:
    logs = scan / "log"
    logs.mkdir()
    (logs / "current").write_text("the word is open sesame\n")
    (scan / "web" / "env").mkdir()
    (scan / "web" / "env" / "WORD").write_text("open sesame")
    meta = {"format": 1, "files": {"env/WORD": ""}, "log": {"to": "directory", "directory": str(logs)}}
    (scan / "web" / "holdfast.json").write_text(json.dumps(meta))
    backend = FakeBackend(web={**DOWN, "reason": "open sesame does not open"})
    backend.outcome = "failed"
    result = steer(parameters(state="started"), str(scan), backend, NoHost(), False)
    assert result["log"] == ["the word is ********"]
    assert "web: ******** does not open" in result["msg"] and "sesame" not in str(result["msg"])


def test_without_a_supervisor(scan: Path) -> None:
    result = steer(parameters(state="started"), str(scan), FakeBackend(running=False), NoHost(), False)
    assert result["failed"] and "no supervisor runs" in result["msg"]


class Systemd:
    """A host with systemd: commands and their answers."""

    def __init__(self, load: str = "loaded", active: str = "inactive", enabled: bool = False) -> None:
        self.answers = {
            "show": (0, f"LoadState={load}\nActiveState={active}\n", ""),
            "is-enabled": (0 if enabled else 1, "", ""),
        }
        self.commands: list[list[str]] = []

    def run_command(self, args: Any) -> tuple[int, str, str]:
        self.commands.append(list(args))
        return self.answers.get(args[1], (0, "", ""))

    def get_bin_path(self, arg: str, required: bool = False, opt_dirs: Any = None) -> str | None:
        return f"/usr/sbin/{arg}"

    @property
    def changes(self) -> list[list[str]]:
        return [command for command in self.commands if command[1] not in self.answers]


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "root" / "run" / "systemd" / "system").mkdir(parents=True)
    monkeypatch.setattr(hostmanager.find, "__defaults__", ("default", "", str(tmp_path / "root")))


@pytest.mark.usefixtures("systemd")
@pytest.mark.parametrize(
    ("given", "host", "changes"),
    [
        ({"state": "started"}, Systemd(), [["systemctl", "start", "cron.service"]]),
        ({"state": "started"}, Systemd(active="active"), []),
        ({"state": "stopped"}, Systemd(), []),
        ({"state": "restarted"}, Systemd(), [["systemctl", "restart", "cron.service"]]),
        ({"state": "reloaded"}, Systemd(active="active"), [["systemctl", "reload", "cron.service"]]),
        ({"enabled": True}, Systemd(), [["systemctl", "enable", "cron.service"]]),
        ({"enabled": True}, Systemd(enabled=True), []),
        (
            {"enabled": False, "state": "stopped", "daemon_reload": True},
            Systemd(active="active", enabled=True),
            [
                ["systemctl", "daemon-reload"],
                ["systemctl", "disable", "cron.service"],
                ["systemctl", "stop", "cron.service"],
            ],
        ),
        ({"name": "cron.socket", "state": "started"}, Systemd(), [["systemctl", "start", "cron.socket"]]),
    ],
)
@pytest.mark.parametrize("check_mode", [True, False])
def test_any_other_name_is_the_hosts(
    tmp_path: Path, given: dict[str, Any], host: Systemd, changes: list[list[str]], check_mode: bool
) -> None:
    host.commands.clear()
    backend = FakeBackend()
    result = steer(parameters(**{"name": "cron", **given}), str(tmp_path), backend, host, check_mode)
    assert not result.get("failed"), result
    assert result["changed"] is bool(changes) and result["manager"] == "systemd"
    assert host.changes == ([] if check_mode else changes)
    assert backend.commands() == []


@pytest.mark.usefixtures("systemd")
def test_a_name_that_nobody_knows(tmp_path: Path) -> None:
    result = steer(parameters(name="nope", state="started"), str(tmp_path), FakeBackend(), Systemd("not-found"), False)
    assert result["failed"] and "nope: there is no such service" in result["msg"]


@pytest.mark.usefixtures("systemd")
@pytest.mark.parametrize("name", ["../web", ".holdfast", "a/b", ""])
def test_names_that_cannot_be_ours_never_touch_the_scan_directory(scan: Path, name: str) -> None:
    host = Systemd("not-found")
    assert steer(parameters(name=name, enabled=False), str(scan), FakeBackend(), host, False)["failed"]
    assert sorted(path.name for path in (scan / "web").iterdir()) == ["run"]
