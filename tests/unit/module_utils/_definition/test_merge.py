# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Definitions from several variables."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._definition.merge import merge, overlooked, under

A: dict[str, Any] = {"command": ["/bin/a"]}
B: dict[str, Any] = {"command": ["/bin/b"], "nice": 1}


def test_all_variables_count() -> None:
    merged = merge(
        {
            "services_definitions": {"a": A},
            "services_definitions__web": {"b": B},
            "services_definition_x": {"c": 1},
            "other": 1,
        }
    )
    assert merged.definitions == {"a": A, "b": B}
    assert merged.origins == {"a": "services_definitions", "b": "services_definitions__web"}
    assert merged.problems == []


def test_the_same_twice_is_fine() -> None:
    merged = merge({"services_definitions__x": {"a": dict(A)}, "services_definitions__y": {"a": dict(A)}})
    assert merged.definitions == {"a": A}
    assert not merged.problems


def test_two_different_ones_name_both_variables() -> None:
    merged = merge(
        {
            "services_definitions": {"a": A},
            "services_definitions__y": {"a": {**A, "nice": 1, "secret_environment": {"P": "hush"}}},
        }
    )
    [problem] = merged.problems
    text = problem.text("host")
    assert "services_definitions.a" in text
    assert "services_definitions__y.a" in text
    assert "nice, secret_environment" in text
    assert "hush" not in text
    assert merged.definitions == {"a": A}


@pytest.mark.parametrize("value", [["a"], "a", 5])
def test_a_variable_is_a_dictionary(value: Any) -> None:
    [problem] = merge({"services_definitions__x": value}).problems
    assert problem.path == "services_definitions__x"


def test_null_is_an_empty_variable() -> None:
    assert merge({"services_definitions": None}) == ({}, [], {})


def test_defaults_lie_under_a_definition() -> None:
    defaults = {"nice": 5, "user": "app", "log": {"count": 3, "size": "1M"}, "environment": {"A": "1"}}
    definition = {"nice": 1, "log": {"count": 9}, "environment": {"B": "2"}}
    assert under(defaults, definition) == {
        "nice": 1,
        "user": "app",
        "log": {"count": 9, "size": "1M"},
        "environment": {"A": "1", "B": "2"},
    }
    assert under(defaults, {"log": False})["log"] is False
    assert under(defaults, {"user": None})["user"] is None
    assert under({}, "text") == "text"
    assert definition == {"nice": 1, "log": {"count": 9}, "environment": {"B": "2"}}


def test_names_that_are_easily_taken_for_ours_are_told() -> None:
    names = [
        "services_definitions",
        "services_definitions__web",
        "services_defaults",
        "other",
        "my_services_definitions",
    ]
    assert overlooked(names) == []
    assert overlooked(["services_definitions_web", "service_definitions", "services_definition__db"]) == [
        "service_definitions is not read as definitions of services; did you mean services_definitions?",
        "services_definition__db is not read as definitions of services; did you mean services_definitions__db?",
        "services_definitions_web is not read as definitions of services; did you mean services_definitions__web?",
    ]
