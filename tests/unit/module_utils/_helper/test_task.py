# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the modules helper_call and job_info say when there is nothing to call, or nothing that can be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._helper import task
from ansible_collections.holdfast.supervision.plugins.module_utils._helper.client import Helper, HelperError

MTU = {"name": "mtu", "idempotency": "pure"}


def options(path: Path, **changes: Any) -> dict[str, Any]:
    given = {"operation": "mtu", "parameters": None, "secret_parameters": None, "id": None, "asynchronous": False}
    waits = {"user": None, "until_ended": True, "wait": 0.0, "timeout": 1.0}
    return {"socket": str(path / "socket"), **given, **waits, **changes}


def test_a_helper_that_is_not_there_is_told_with_what_puts_one_there(tmp_path: Path) -> None:
    for found in (task.call(options(tmp_path), False), task.jobs(options(tmp_path))):
        assert found["failed"] and found["error"] == "HelperGone"
        assert str(tmp_path) in found["msg"] and "role holdfast.supervision.helper" in found["msg"]


@pytest.mark.parametrize("name", ["wait", "timeout"])
def test_a_time_that_is_none_is_named(tmp_path: Path, name: str) -> None:
    assert task.jobs(options(tmp_path, **{name: -1.0}))["msg"].startswith(f"{name}: -1: must be")
    assert task.call(options(tmp_path, wait=-1.0), False)["msg"].startswith("wait: -1: must be")


@pytest.mark.parametrize("said", ["parameter link: is missing", "mtu: parameter link: is missing"])
def test_an_error_names_the_operation_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    def refuse(*_arguments: Any) -> Any:
        raise HelperError("BadParameter", said)

    monkeypatch.setattr(Helper, "operations", lambda _self: [MTU])
    monkeypatch.setattr(Helper, "call", refuse)
    assert task.call(options(tmp_path), False)["msg"] == "mtu: parameter link: is missing"
