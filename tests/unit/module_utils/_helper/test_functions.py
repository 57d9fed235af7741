# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an operation that is a Python function may say."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._helper.schema import problems

GOOD: dict[str, Any] = {
    "function": {"file": "/etc/holdfast/operations.py", "name": "rescan"},
    "allow": [],
    "parameters": {
        "host": {"type": "integer", "minimum": 0, "maximum": 9},
        "force": {"type": "boolean", "default": False},
        "password": {"type": "string", "no_log": True},
    },
    "environment": {"A": "b", "N": 5},
}


def found(**changes: Any) -> list[str]:
    operation = {key: value for key, value in {**GOOD, **changes}.items() if value is not None}
    document = {"format": 1, "socket": "/run/x/socket", "state_directory": "/run/x", "operations": {"one": operation}}
    return problems(document)


def test_a_function_needs_no_argv_and_each_parameter_is_its_own() -> None:
    assert found() == []
    assert found(isolation="fresh") == found(isolation="pooled") == []


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"argv": ["/bin/true"]}, "not both"),
        ({"function": "rescan"}, "dictionary"),
        ({"function": {"file": "operations.py", "name": "rescan"}}, "absolute path"),
        ({"function": {"file": "/a/../b.py", "name": "rescan"}}, "absolute path"),
        ({"function": {"file": "/a.py", "name": "os.system"}}, "name of a function"),
        ({"function": {"file": "/a.py", "name": "__import__"}}, "name of a function"),
        ({"function": {"file": "/a.py"}}, "name of a function"),
        ({"function": {"file": "/a.py", "name": "f", "module": "os"}}, "no such key"),
        ({"isolation": "thread"}, "one of pooled, fresh"),
        ({"parameters": {"x": {"type": "boolean", "flag": "--x"}}}, "true or false"),
        ({"parameters": {"class": {"type": "boolean"}}}, "word of Python"),
        ({"environment": {"A": "{host}"}}, "given its parameters as such"),
        ({"environment": {"A": 1.5}}, "quote anything else"),
        ({"function": None, "argv": ["/bin/true"], "parameters": {}, "isolation": "pooled"}, "only functions"),
        ({"function": None}, "argv"),
    ],
)
def test_what_is_wrong_is_told(changes: dict[str, Any], word: str) -> None:
    assert any(word in line for line in found(**changes))
