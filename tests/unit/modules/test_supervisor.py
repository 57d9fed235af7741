# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module supervisor refuses before it looks at the host."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from deployed import options

from ansible_collections.holdfast.supervision.plugins.module_utils._runtime import files, host
from ansible_collections.holdfast.supervision.plugins.modules import supervisor


def nothing(_command: list[str]) -> tuple[int, str, str]:
    raise AssertionError("the host was looked at")


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("timeout", -1.0, "timeout: -1: must be more than 0"),
        ("timeout", 0.0, "timeout: 0: must be more than 0"),
        ("stop_timeout", -5.0, "stop_timeout: -5: must be"),
        ("scan_directory", "here/services", "scan_directory: here/services: must be an absolute path"),
        ("log_directory", "log", "log_directory: log: must be an absolute path"),
    ],
)
@pytest.mark.parametrize("state", ["started", "stopped", "absent"])
def test_options_that_make_no_sense_are_named_and_change_nothing(
    tmp_path: Path, name: str, value: Any, text: str, state: str
) -> None:
    """With a negative time an upgrade was taken back before the new version could have answered."""
    given = {**options(tmp_path / "services", tmp_path, str(tmp_path / "lib")), name: value}
    with pytest.raises(host.Failed, match=text):
        supervisor.supervisor(given, state, "embedded", nothing, False)
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_is_not_given_is_not_relative() -> None:
    assert files.relative({"directory": "/usr/local/lib/holdfast", "command": None}, "directory", "command") == ""
    assert "command: holdfast" in files.relative({"command": "holdfast"}, "command")
