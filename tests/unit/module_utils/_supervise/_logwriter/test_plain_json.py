# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""JSON without the package."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._supervise._logwriter import plain_json


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -1.5,
        1e300,
        "",
        '\u00e9\U0001f600\u2028\\"\n',
        [],
        {},
        {"a": [1, {"b": None}]},
        {"x" * 100: ["y"] * 50},
    ],
)
def test_it_reads_what_the_package_writes(value: Any) -> None:
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False, indent=1), " " + json.dumps(value) + "\n"):
        assert plain_json.load(text) == value


@pytest.mark.parametrize("text", ["", "{", "[1,]", "nul", '{"a" 1}', "1 2", '"\n"', "[1]]"])
def test_what_is_no_json_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        plain_json.load(text)


def test_what_it_writes_can_be_read() -> None:
    value: dict[str, str | int | float | None] = {"a": 'caf\u00e9 "x"\n\x00', "b": 1, "c": 1.5, "d": None, "\u00e9": ""}
    assert json.loads(plain_json.dump(value)) == value
    assert plain_json.load(plain_json.dump(value)) == value
