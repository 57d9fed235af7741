# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Former names of services that contradict each other."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._definition import renames, validate


@pytest.mark.parametrize(
    ("definitions", "texts"),
    [
        ({"new": {"was": "old"}, "other": {}}, []),
        ({"new": {"was": "new"}}, ["services.new.was"]),
        ({"new": {"was": "old"}, "old": {}}, ["services.new.was", "remove the definition of old"]),
        ({"new": {"was": "old"}, "old": {"state": "absent"}}, ["services.new.was", "is still defined"]),
        ({"new": {"was": "old"}, "newer": {"was": "old"}}, ["services.newer.was", "what new was"]),
        ({"new": {"was": "old", "state": "absent"}, "newer": {"was": "old"}}, []),
    ],
)
def test_contradictions(definitions: dict[str, Any], texts: list[str]) -> None:
    found = renames.problems(definitions, dict.fromkeys(definitions, "services"))
    assert len(found) == bool(texts)
    assert all(text in found[0].text() for text in texts)


@pytest.mark.parametrize("name", ["../x", "", 3, ["old"]])
def test_a_former_name_has_to_be_a_name(name: Any) -> None:
    [problem] = validate.problems("new", {"command": ["/bin/x"], "was": name}, "services.new")
    assert problem.path == "services.new.was"
