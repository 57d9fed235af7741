# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long a task waits."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._plan.patience import MOST, complaint, patience

SLOW: dict[str, Any] = {"readiness": {"timeout": 120.0}, "stop_timeout": 90.0, "finish_timeout": 20.0}
QUICK: dict[str, Any] = {"readiness": {"timeout": 30.0}, "stop_timeout": 10.0, "finish_timeout": 5.0}


def test_what_is_said_counts() -> None:
    assert patience(0.0, [("db", SLOW, "ready", "start")]) == 0.0
    assert patience(700.0, []) == 700.0


def test_no_time_is_less_than_none() -> None:
    assert complaint(None) == complaint(0.0) == complaint(5.0) == ""
    assert "timeout: -3: must be" in complaint(-3.0) and "timeout: nan" in complaint(float("nan"))


@pytest.mark.parametrize(
    ("waiting", "seconds"),
    [
        ([], 60.0),
        ([("web", QUICK, "ready", "start")], 60.0),
        ([("db", SLOW, "ready", "start"), ("web", QUICK, "ready", "start")], 120.0),
        # Each has its own time, at the same time.
        ([("a", SLOW, "ready", "start"), ("b", SLOW, "ready", "")], 120.0),
        # What is needed comes first.
        ([("db", SLOW, "ready", "start"), ("web", {**QUICK, "needs": ["db", "other"]}, "ready", "start")], 150.0),
        # The former process is stopped before that.
        ([("db", SLOW, "ready", "restart")], 235.0),
        ([("db", SLOW, "down", "stop")], 115.0),
        ([("db", SLOW, "gone", "remove")], 115.0),
        ([("db", {"readiness": {"timeout": 1e9}}, "ready", "start")], MOST),
        # A directory of somebody else, or one that somebody has edited.
        ([("db", {"readiness": "soon", "needs": 7, "stop_timeout": "x"}, "ready", "restart")], 60.0),
    ],
)
def test_otherwise_what_definitions_allow(waiting: list[Any], seconds: float) -> None:
    assert patience(None, waiting) == seconds
