# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is written into control groups. That the kernel takes it is tested in an emulated machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._process_state import groups
from ansible_collections.holdfast.supervision.plugins.module_utils._process_state.apply import StateError


@pytest.fixture
def group(tmp_path: Path) -> Path:
    """A group with all controllers, made of plain files."""
    for name in ("memory.max", "cpu.weight", "cpu.max", "io.max", "pids.max"):
        tmp_path.joinpath(name).write_text("")
    return tmp_path


@pytest.mark.parametrize(
    ("resources", "file", "text"),
    [
        ({"memory_max": 1024}, "memory.max", "1024"),
        ({}, "memory.max", "max"),
        ({"cpu_weight": 50}, "cpu.weight", "50"),
        ({}, "cpu.weight", "100"),
        ({"cpu_max": 1.5}, "cpu.max", "150000 100000"),
        ({"cpu_max": 0.005}, "cpu.max", "5000 1000000"),
        ({"cpu_max": 0.0001}, "cpu.max", "1000 1000000"),
        ({}, "cpu.max", "max 100000"),
        ({"pids_max": 5}, "pids.max", "5"),
    ],
)
def test_limits_and_their_absence(group: Path, resources: dict[str, Any], file: str, text: str) -> None:
    groups.limit(str(group), resources)
    assert (group / file).read_text() == text


def test_a_device_that_is_not_limited_any_more_is_let_go(group: Path) -> None:
    (group / "io.max").write_text("8:0 rbps=1 wbps=max riops=max wiops=max\n")
    groups.limit(str(group), {})
    assert (group / "io.max").read_text() == "8:0 rbps=max wbps=max riops=max wiops=max"


@pytest.mark.parametrize("device", ["/dev/null", "/dev/not-there"])
def test_what_is_no_block_device_is_named(group: Path, device: str) -> None:
    with pytest.raises(StateError, match=rf"resources.io_max.{device}: "):
        groups.limit(str(group), {"io_max": {device: {"rbps": 1}}})


def test_a_controller_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu pids\n")
    (tmp_path / "cgroup.subtree_control").write_text("")
    with pytest.raises(StateError, match=r"resources.memory_max: .* does not have the controller memory"):
        groups.enter(f"{tmp_path}//service-x", {"memory_max": 1, "pids_max": 1})
    assert not (tmp_path / "service-x").exists()
