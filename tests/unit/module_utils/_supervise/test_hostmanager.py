# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The commands of the host's own service managers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._supervise import hostmanager


class Runner:
    """Answers commands from a table: the text of the command, then code and output."""

    def __init__(self, programs: tuple[str, ...] = (), **answers: tuple[int, str]) -> None:
        self.programs = programs
        self.answers = {key.replace("_", " "): answer for key, answer in answers.items()}
        self.commands: list[str] = []

    def run_command(self, args: Any) -> tuple[int, str, str]:
        text = " ".join(args)
        self.commands.append(text)
        code, output = self.answers.get(text.replace("-", " "), (0, ""))
        return code, output, ""

    def get_bin_path(self, arg: str, required: bool = False, opt_dirs: Any = None) -> str | None:
        return arg if arg in self.programs else None


@pytest.mark.parametrize(
    ("folder", "kind"),
    [("run/systemd/system", "systemd"), ("run/openrc", "openrc"), ("etc/init.d", "sysvinit"), ("etc", None)],
)
def test_which_manager_runs_the_host(tmp_path: Path, folder: str, kind: str | None) -> None:
    (tmp_path / folder).mkdir(parents=True)
    if kind is None:
        with pytest.raises(hostmanager.ManagerError, match="web: there is no such service here"):
            hostmanager.find(Runner(), "web", root=str(tmp_path))
    else:
        assert hostmanager.find(Runner(), "web", root=str(tmp_path)).kind == kind


def test_openrc() -> None:
    runner = Runner(rc_service_web_status=(3, ""), rc_update_show_boot=(0, " web | boot\n  other |\n"))
    manager = hostmanager.OpenRC(runner, "web", "boot", "--fast")
    assert not manager.running() and manager.enabled()
    manager.act("start")
    manager.enable(False)
    assert runner.commands[-2:] == ["rc-service web start --fast", "rc-update delete web boot"]
    assert not hostmanager.OpenRC(runner, "we", "boot").enabled()
    with pytest.raises(hostmanager.ManagerError, match="no init script of OpenRC"):
        hostmanager.OpenRC(Runner(rc_service___exists_web=(1, "")), "web").running()


@pytest.mark.parametrize(
    ("programs", "commands"),
    [
        (("service", "update-rc.d"), ["service web start", "update-rc.d web defaults", "update-rc.d web enable"]),
        (("chkconfig",), ["/etc/init.d/web start", "chkconfig web on"]),
    ],
)
def test_init_scripts(programs: tuple[str, ...], commands: list[str]) -> None:
    runner = Runner(programs)
    manager = hostmanager.SysV(runner, "web")
    manager.act("start")
    manager.enable(True)
    assert runner.commands == commands
    with pytest.raises(hostmanager.ManagerError, match="no init script of that name"):
        hostmanager.SysV(Runner(("service",), service_web_status=(0, "")), "web").running()


def test_nothing_to_enable_with() -> None:
    with pytest.raises(hostmanager.ManagerError, match=r"neither update-rc\.d nor chkconfig"):
        hostmanager.SysV(Runner(), "web").enable(True)


def test_a_command_that_fails_tells_what_it_said() -> None:
    runner = Runner(systemctl_start_web_service=(1, "it broke"))
    runner.answers = {"systemctl start web.service": (1, "it broke")}
    with pytest.raises(hostmanager.ManagerError, match=r"'systemctl start web.service' failed with status 1: it broke"):
        hostmanager.Systemd(runner, "web").act("start")
