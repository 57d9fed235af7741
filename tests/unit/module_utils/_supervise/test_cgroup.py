# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Control groups below the supervisor's own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._supervise.cgroup import obstacle


@pytest.fixture
def group(tmp_path: Path) -> Path:
    """A supervisor, pid 7, in a delegated group."""
    made = tmp_path / "cgroup" / "holdfast"
    made.mkdir(parents=True)
    for folder in (made.parent, made):
        (folder / "cgroup.controllers").write_text("cpu memory pids\n")
        (folder / "cgroup.subtree_control").touch()
    (tmp_path / "proc" / "7").mkdir(parents=True)
    (tmp_path / "proc" / "7" / "cgroup").write_text("1:name=x:/other\n0::/holdfast\n")
    return made


def ask(group: Path, pid: int = 7, **resources: int | None) -> str:
    top = group.parent.parent
    return obstacle(resources, pid, str(top / "cgroup"), str(top / "proc"))


def test_a_delegated_group(group: Path) -> None:
    assert ask(group, memory_max=1, cpu_weight=1, cpu_max=1, pids_max=1, io_max=None) == ""


def test_a_controller_that_is_missing(group: Path) -> None:
    assert ask(group, memory_max=1, io_max=1) == f"{group} has no controller io"


def test_no_cgroup_v2(group: Path) -> None:
    (group.parent / "cgroup.controllers").unlink()
    assert "is not a cgroup v2 hierarchy" in ask(group, memory_max=1)


def test_a_supervisor_that_is_not_there(group: Path) -> None:
    assert "(pid 8) is not known" in ask(group, 8, memory_max=1)


def test_a_group_that_is_not_delegated(group: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert "is not delegated" in ask(group, memory_max=1)
