# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Definitions of a host become one payload."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import pytest
from plain_imports import plain_imports

from ansible_collections.holdfast.supervision.plugins.module_utils._lease import drivers
from ansible_collections.holdfast.supervision.plugins.plugin_utils import payload

CONTEXT = {"log_directory": "/var/log/holdfast"}


def make(
    definitions: dict[Any, Any], defaults: dict[str, Any] | None = None, template: str = "", **context: Any
) -> payload.Payload:
    def from_template(service: dict[str, Any]) -> str:
        if not template:
            raise ValueError("not found")
        return template

    origins = dict.fromkeys(definitions, "services_definitions")
    return payload.make(definitions, origins, defaults or {}, {**CONTEXT, **context}, from_template)


def test_a_whole_host() -> None:
    made = make(
        {
            "web": {"command": ["/bin/web"], "needs": ["db"], "secret_environment": {"KEY": "hush"}},
            "db": {"command": ["/bin/db"], "health": {"check": ["/bin/h"]}},
            "old": {"state": "absent"},
        },
        {"user": "app"},
    )
    assert made.problems == []
    assert made.content["format"] == 1
    assert made.content["order"] == ["db", "web"]
    assert made.content["absent"] == ["old"]
    assert made.secrets == {"web/KEY": "hush"}
    services = made.content["services"]
    assert set(services) == {"db", "web"}
    assert services["web"]["holdfast"]["process"]["user"] == "app"
    assert set(services["db"]["files"]) == {"run", "health", "timeout-kill"}
    assert services["web"]["files"]["run"]["content"].endswith("exec /bin/web\n")
    assert "hush" not in json.dumps(made.content)


def test_what_comes_from_the_defaults_is_told_with_the_way_to_get_rid_of_it() -> None:
    """A login has no log: whoever wrote only `type` and `tty` must not look for one in the definition."""
    console = {"type": "getty", "tty": "tty1"}
    (found,) = make({"console": console}, {"log": {"count": 3}}).problems
    assert found.path == "services_definitions.console.log"
    assert "it comes from services_defaults, log: null in the definition takes it away" in found.advice
    assert make({"console": {**console, "log": None}}, {"log": {"count": 3}}).problems == []
    (own,) = make({"console": {**console, "log": {"count": 3}}}).problems
    assert "services_defaults" not in own.advice


def test_all_problems_of_all_services() -> None:
    made = make(
        {"a": {"nice": 99}, "b": {"command": ["/bin/b"], "needs": ["x"]}, 5: {"command": ["/bin/c"]}, "..": None}
    )
    assert sorted(problem.path for problem in made.problems) == [
        "services_definitions...",
        "services_definitions...",
        "services_definitions.5",
        "services_definitions.a.command",
        "services_definitions.a.nice",
        "services_definitions.b.needs[0]",
    ]
    assert (made.content, made.secrets) == ({}, {})


def test_templates_of_the_user() -> None:
    made = make({"a": {"template": "mine.j2"}}, template="#!/bin/sh\nexec mine\n")
    assert made.content["services"]["a"]["files"]["run"]["content"] == "#!/bin/sh\nexec mine\n"
    assert made.content["services"]["a"]["verify"]["command"] is None
    [problem] = make({"a": {"template": "mine.j2"}, "b": {"command": ["/bin/b"]}}).problems
    assert problem.text() == "services_definitions.a.template: mine.j2: not found"


def test_command_check_can_be_off_for_all() -> None:
    made = make({"a": {"command": ["/bin/a"]}}, command_check=False)
    assert made.content["services"]["a"]["verify"]["command"] is None


def test_nothing_is_a_payload_too() -> None:
    assert make({}) == ({"format": 1, "services": {}, "absent": [], "order": []}, {}, [])


def test_the_wire_format() -> None:
    content = make({"a": {"command": ["/bin/ä"]}}).content
    assert json.loads(zlib.decompress(base64.b64decode(payload.encode(content)))) == content
    assert payload.encode(content) == payload.encode(content)


def test_a_driver_of_another_collection_is_to_be_looked_for() -> None:
    command = {"command": ["/bin/x"]}
    definitions = {"a": {**command, "lease": {"driver": "x.y.z"}}, "b": {**command, "lease": {}}, "c": command}
    made = make(definitions, {"lease": {"driver": "file"}}, lease_drivers=["u.v.w"])
    assert made.content["services"]["a"]["verify"]["lease_driver"] == {
        "name": "x.y.z",
        "variable": "services_definitions.a.lease.driver",
        "shipped": ["u.v.w"],
    }
    assert "lease_driver" not in made.content["services"]["b"]["verify"]
    made = make({"b": definitions["b"]}, {"lease": {"driver": "x.y.z"}})
    asked = made.content["services"]["b"]["verify"]["lease_driver"]
    assert (asked["variable"], asked["shipped"]) == ("services_defaults.lease.driver", None)
    made = make({"b": definitions["b"]}, lease={"driver": "x.y.z"})
    assert made.content["services"]["b"]["verify"]["lease_driver"]["variable"] == "leases_driver"


@pytest.mark.parametrize(
    ("common", "given", "said"),
    [
        ({"driver": "sanlock"}, {"keep": "10s"}, ""),
        (
            {"driver": "sanlock"},
            {"on_lost": "pause"},
            "lease.on_lost: pause: is not possible with driver sanlock; leave it",
        ),
        ({"parameters": {"scope": "hosts"}}, {"keep": "10s"}, ""),
        ({"parameters": {"scope": "hosts"}}, {"on_lost": "pause"}, "is not possible with driver file with scope hosts"),
        ({"driver": "etcd"}, {"keep": "10s", "on_lost": "pause"}, ""),
        ({}, {"keep": "10s"}, ""),
        ({"driver": "sanlock"}, {"resources": ["a", "b:shared"]}, ""),
        ({"driver": "etcd"}, {"resources": ["a:readonly"]}, ""),
        (
            {"driver": "sanlock"},
            {"resources": ["a", "b:readonly"]},
            "lease.resources[1]: readonly: is not known to driver sanlock; say shared, or choose another driver",
        ),
    ],
)
def test_what_the_driver_of_all_leases_cannot_do_is_refused(
    common: dict[str, Any], given: dict[str, Any], said: str
) -> None:
    with plain_imports():
        problems = make({"x": {"command": ["/bin/x"], "lease": given}}, lease=common).problems
    assert len(problems) == (1 if said else 0)
    assert all(said in problem.text() for problem in problems)


@pytest.mark.parametrize(
    ("common", "given", "said"),
    [
        (
            {"driver": "etcd", "ttl": 1.5},
            {},
            "leases_ttl: 1.5: service x: driver etcd needs 2 s at least, not 1.5; choose 2 s or more",
        ),
        (
            {"parameters": {"scope": "hosts"}},
            {"ttl": "3s"},
            "services_definitions.x.lease.ttl: 3: service x: driver file needs 5 s",
        ),
        (
            {"parameters": {"scope": "hosts", "ttl": "3s"}},
            {},
            "leases_parameters.ttl: 3: service x: driver file needs 5 s at least, not 3; choose 5 s or more",
        ),
        (
            {"driver": "example.locks.table", "parameters": {"path": "/x", "ttl": 0.5}},
            {},
            "leases_parameters.ttl: 0.5: service x: driver example.locks.table needs 1 s at least",
        ),
        ({"driver": "etcd"}, {"resources": [f"r{at}" for at in range(40)]}, ""),
        (
            {"driver": "etcd"},
            {"resources": [f"r{at}" for at in range(41)]},
            "services_definitions.x.lease.resources: driver etcd can keep 40 for one service at most, not 41; give several",
        ),
        (
            {"driver": "example.locks.table", "parameters": {"path": "/x"}},
            {"resources": [f"r{at}" for at in range(101)]},
            "x.lease.resources: driver example.locks.table can keep 100 for one service at most, not 101",
        ),
        ({"driver": "not.on.controller", "parameters": {"any": 1}}, {"resources": [f"r{at}" for at in range(999)]}, ""),
        (
            {"driver": "etcd", "parameters": {"colour": "blue"}},
            {},
            "leases_parameters.colour: service x: is no parameter of driver etcd, which knows: ca_file, ",
        ),
        (
            {},
            {"parameters": {"ttl": 9}},
            "lease.parameters.ttl: service x: is no parameter of driver file, which knows: containment, directory, scope; leave it out, or",
        ),
        ({}, {"parameters": {"ttl": 9}}, "leave it out, or choose a driver that knows it: file with scope hosts, etcd"),
        ({"parameters": {"scope": "all"}}, {}, "scope: 'all' is neither host nor hosts"),
    ],
)
def test_what_is_beyond_the_drivers_limits_is_refused_with_service_variable_and_cure(
    common: dict[str, Any], given: dict[str, Any], said: str
) -> None:
    with plain_imports():
        problems = make({"x": {"command": ["/bin/x"], "lease": given}}, lease=common).problems
    assert len(problems) == (1 if said else 0)
    assert all(said in problem.text() for problem in problems)
    assert all("blue" not in problem.text() for problem in problems)


def test_a_time_for_all_leases_is_refused_where_a_driver_of_another_collection_is_told_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with plain_imports():
        table = drivers.look_at("example.locks.table")
        monkeypatch.setattr(table, "parameters", frozenset({"path"}))
        common = {"driver": "example.locks.table", "ttl": 20.0, "parameters": {"path": "/x"}}
        (problem,) = make({"x": {"command": ["/bin/x"], "lease": {}}}, lease=common).problems
    assert problem.text().startswith(
        "leases_ttl: service x: is no parameter of driver example.locks.table, which knows: path;"
    )


def test_a_service_takes_the_place_of_its_guard_only_with_drivers_that_can() -> None:
    lease = {"mode": "exec", "safety": "standard"}
    definition = {"command": ["/bin/x"], "user": "app", "stop_signal": "QUIT", "kill": "process", "lease": lease}
    with plain_imports():
        (problem,) = make({"x": definition}, lease={"driver": "etcd"}).problems
    assert problem.text() == (
        "services_definitions.x.lease.mode: exec: driver etcd needs a guard beside the service; these do not: file, sanlock; "
        "write mode: guard, or another driver"
    )
    with plain_imports():
        (problem,) = make({"x": {**definition, "lease": {**lease, "driver": "example.locks.table"}}}).problems
    assert "driver example.locks.table needs a guard" in problem.text()
    with plain_imports():
        (problem,) = make({"x": definition}, lease={"parameters": {"scope": "hosts"}}).problems
    assert "scope hosts needs a guard" in problem.text()
    with plain_imports():
        made = make({"x": definition})
    assert made.problems == []
    record = made.content["services"]["x"]["holdfast"]
    # The supervisor stops it as the service, and starts it with its own privileges.
    assert (record["stop_signal"], record["stop_timeout"], record["kill"]) == ("QUIT", 10.0, "process")
    assert record["process"]["user"] is None
    assert record["lease"]["process"]["user"] == "app"
    run = made.content["services"]["x"]["files"]["run"]["content"]
    assert "--mode=exec" in run
    for word in ("--containment", "--kill", "--stop-timeout", "--keep"):
        assert word not in run
