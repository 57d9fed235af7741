# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Why limits of control groups are not possible: what is missing, and what helps."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._supervise.limits import obstacle

ALL = {"path": "/sys/fs/cgroup/a", "controllers": ["cpu", "io", "memory", "pids"], "problem": ""}


@pytest.mark.parametrize("resources", [{"memory_max": 1}, {"cpu_max": 1.0, "cpu_weight": 1, "pids_max": 1}])
def test_nothing_is_wrong_where_all_controllers_are(resources: dict[str, Any]) -> None:
    assert obstacle(resources, ALL) == ""


@pytest.mark.parametrize(
    ("resources", "groups", "words"),
    [
        ({"memory_max": 1}, None, ["resources.memory_max", "older version", "role holdfast.supervision.supervisor"]),
        ({"pids_max": 1}, {**ALL, "path": "", "problem": "why not"}, ["resources.pids_max", "why not"]),
        (
            {"memory_max": 1, "pids_max": 1},
            {**ALL, "controllers": ["pids"]},
            ["resources.memory_max needs memory", "/sys/fs/cgroup/a has only: pids", "boot with"],
        ),
        ({"io_max": {"/dev/null": {"rbps": 1}}}, ALL, ["resources.io_max./dev/null: not a block device"]),
        ({"io_max": {"/dev/not-there": {"rbps": 1}}}, ALL, ["resources.io_max./dev/not-there: No such file"]),
    ],
)
def test_an_obstacle_names_key_and_cure(resources: dict[str, Any], groups: Any, words: list[str]) -> None:
    text = obstacle(resources, groups)
    assert [word for word in words if word not in text] == []
