# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order of starts."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._definition.needs import order


def graph(**needs: str) -> dict[str, dict[str, Any]]:
    return {name: {"needs": dict.fromkeys(text.split(), "ready")} for name, text in needs.items()}


def test_what_is_needed_comes_first() -> None:
    result, problems = order(graph(web="app cache", app="db", cache="", db=""))
    assert not problems
    assert sorted(result) == ["app", "cache", "db", "web"]
    assert result.index("db") < result.index("app") < result.index("web")
    assert result.index("cache") < result.index("web")


def test_a_circle_is_shown_as_a_path() -> None:
    problems = order(graph(a="b", b="c", c="a", d="a"), {"a": "services_definitions__x"})[1]
    [problem] = problems
    assert problem.value == "a -> b -> c -> a"
    assert problem.path == "services_definitions__x.a.needs"


def test_two_circles_are_two_problems() -> None:
    problems = order(graph(a="b", b="a", c="d", d="c"))[1]
    assert [problem.value for problem in problems] == ["a -> b -> a", "c -> d -> c"]


def test_itself() -> None:
    [problem] = order(graph(a="a"))[1]
    assert problem.path == "services_definitions.a.needs[0]"
    assert "itself" in problem.allowed


def test_unknown() -> None:
    [problem] = order(graph(web="database", databases=""))[1]
    assert problem.path == "services_definitions.web.needs[0]"
    assert problem.value == "database"
    assert "databases" in problem.advice


@pytest.mark.parametrize(
    ("other", "word"),
    [({"state": "absent"}, "absent"), ({"state": "stopped"}, "stopped"), ({"type": "periodic"}, "periodic")],
)
def test_what_never_becomes_ready(other: dict[str, Any], word: str) -> None:
    [problem] = order({"web": {"needs": {"db": "ready"}}, "db": other})[1]
    assert word in problem.allowed


def test_only_what_has_a_lease_can_have_to_be_active() -> None:
    leased = {"web": {"needs": {"db": "active"}}, "db": {"lease": {}}}
    assert order(leased) == (["db", "web"], [])
    [problem] = order({**leased, "db": {}})[1]
    assert (problem.path, problem.value) == ("services_definitions.web.needs[0]", "db")
    assert "no lease" in problem.allowed
    assert "lease: {}" in problem.advice


def test_stopped_together() -> None:
    result, problems = order({"web": {"needs": {"db": "ready"}, "state": "stopped"}, "db": {"state": "stopped"}})
    assert (result, problems) == (["db", "web"], [])


def test_the_absent_have_no_order() -> None:
    assert order({"a": {"state": "absent", "needs": {"nobody": "ready"}}}) == ([], [])


def test_a_long_chain() -> None:
    names = [f"s{number}" for number in range(5000)]
    result, problems = order(
        {name: {"needs": {other: "ready"}} if other else {} for name, other in zip(names, [*names[1:], ""])}
    )
    assert not problems
    assert result == names[::-1]
