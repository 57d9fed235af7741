# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action plugin of the runtime: what reaches the host, and when the archive does."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleActionFail
from ansible.parsing.dataloader import DataLoader
from ansible.playbook.play_context import PlayContext
from ansible.playbook.task import Task
from ansible.template import Templar

from ansible_collections.holdfast.supervision.plugins.action.runtime import ActionModule
from ansible_collections.holdfast.supervision.plugins.module_utils._runtime import archive


class Shell:
    tmpdir = None


class Connection:
    """A connection that must not be used."""

    _shell = Shell()


class Host:
    """Remembers what reached it, and gives the answers of *answers* one after the other."""

    def __init__(self, *answers: dict[str, Any]) -> None:
        self.answers = list(answers)
        self.sent: list[dict[str, Any]] = []

    def run(self, **arguments: Any) -> dict[str, Any]:
        loader = DataLoader()
        task = Task()
        task.args = arguments
        action = ActionModule(task, Connection(), PlayContext(), loader, Templar(loader=loader), None)
        action._execute_module = self._execute
        return action.run(task_vars={})

    def _execute(self, module_name: str, module_args: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        assert module_name == "holdfast.supervision.runtime"
        self.sent.append(dict(module_args))
        return self.answers.pop(0)


def test_a_host_that_has_the_version_gets_no_archive() -> None:
    host = Host({"changed": False, "needs_payload": False})
    assert host.run(directory="/x")["changed"] is False
    assert [set(sent) for sent in host.sent] == [{"directory", "version"}]


def test_a_host_that_lacks_it_gets_it_in_a_second_run() -> None:
    host = Host({"changed": True, "needs_payload": True}, {"changed": True, "needs_payload": False, "version": "v"})
    assert host.run(directory="/x")["version"] == "v"
    assert "payload" not in host.sent[0]
    assert archive.decode(host.sent[1]["payload"], host.sent[1]["version"])


@pytest.mark.parametrize("answer", [{"failed": True, "msg": "no"}, {"failed": True, "needs_payload": True}])
def test_a_host_that_fails_is_not_asked_again(answer: dict[str, Any]) -> None:
    host = Host(answer)
    assert host.run(directory="/x")["failed"] is True
    assert len(host.sent) == 1


@pytest.mark.parametrize("name", ["version", "payload"])
def test_what_the_action_sets_can_not_be_given(name: str) -> None:
    with pytest.raises(AnsibleActionFail, match=f"{name} is set by this action"):
        Host().run(directory="/x", **{name: "x"})
