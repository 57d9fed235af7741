# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Canonical values."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._definition import schema, validate
from ansible_collections.holdfast.supervision.plugins.module_utils._definition.normalise import normalise

CONTEXT = {"log_directory": "/var/log/holdfast"}


def full(**keys: Any) -> dict[str, Any]:
    return normalise("billing", {"command": ["/bin/x"], **keys}, CONTEXT)


def test_all_keys_are_there() -> None:
    service = full()
    assert set(service) == {"name", *schema.BY_NAME}
    assert service["restart"] == "always"
    assert service["backoff"] == {"initial": 1.0, "maximum": 30.0}
    assert service["health"] is None
    assert service["log"]["directory"] == "/var/log/holdfast/billing"


@pytest.mark.parametrize(
    ("keys", "key", "canonical"),
    [
        ({"umask": "0027"}, "umask", 0o27),
        ({"user": 1000}, "user", "1000"),
        ({"nice": "5"}, "nice", 5),
        ({"environment": {"PORT": 8080}}, "environment", {"PORT": "8080"}),
        ({"limits": {"nofile": "1k", "core": [0, "unlimited"]}}, "limits", {"nofile": [1024, 1024], "core": [0, -1]}),
        ({"stop_signal": "SIGINT"}, "stop_signal", "INT"),
        ({"stop_timeout": "1.5m"}, "stop_timeout", 90.0),
        ({"stop_timeout": "250ms"}, "stop_timeout", 0.25),
        ({"stop_timeout": 3}, "stop_timeout", 3.0),
        ({"directory": "/srv/x/"}, "directory", "/srv/x"),
        ({"directory": "/"}, "directory", "/"),
        ({"type": "periodic", "interval": "1d"}, "interval", 86400.0),
        ({"failure_limit": {"deaths": 3}}, "failure_limit", {"deaths": 3, "within": 60.0}),
        ({"needs": ["a", "b", "a"]}, "needs", {"a": "ready", "b": "ready"}),
        ({"needs": {"a": "active", "b": "ready"}}, "needs", {"a": "active", "b": "ready"}),
        ({"needs": ["a", {"a": "active"}, {"b": "active"}, "b"]}, "needs", {"a": "active", "b": "active"}),
        ({"resources": {"cpu_max": "150%", "memory_max": "1M"}}, "resources", {"cpu_max": 1.5, "memory_max": 1048576}),
        ({"nice": None}, "nice", None),
        ({"restart": None}, "restart", "always"),
    ],
    ids=str,
)
def test_canonical(keys: dict[str, Any], key: str, canonical: Any) -> None:
    assert full(**keys)[key] == canonical


def test_log() -> None:
    assert full(log=False)["log"]["to"] == "none"
    assert full(log="syslog")["log"]["to"] == "syslog"
    log = full(log={"size": "1M", "age": "1d", "keep": "12h", "directory": "/srv/log"})["log"]
    assert log == {
        "to": "directory",
        "directory": "/srv/log",
        "size": 1048576,
        "count": 10,
        "age": 86400.0,
        "keep": 43200.0,
        "format": None,
    }


def test_without_a_log_directory_the_host_decides() -> None:
    assert normalise("a", {"command": ["/bin/x"]}, {})["log"]["directory"] is None


def test_what_goes_elsewhere_has_no_log_directory_whoever_knows_one() -> None:
    given = {"command": ["/bin/x"], "log": {"to": "syslog"}}
    assert normalise("a", given, {"log_directory": "/var/log/holdfast"}) == normalise("a", given, {})


def test_a_runtime_directory_belongs_to_the_user_of_the_service() -> None:
    [one, other] = full(
        user="app", group="web", runtime_directories=["/run/a", {"path": "/run/b", "user": "root", "mode": "0700"}]
    )["runtime_directories"]
    assert one == {"path": "/run/a", "mode": 0o755, "user": "app", "group": "web"}
    assert other == {"path": "/run/b", "mode": 0o700, "user": "root", "group": None}


def test_results_share_nothing_that_could_be_changed() -> None:
    first = full(log={"count": 3})
    first["log"]["count"] = 99
    assert full()["log"]["count"] == 10


def test_problems_are_an_error() -> None:
    with pytest.raises(ValueError, match="nice"):
        full(nice=99)


def test_every_example_of_the_schema_is_valid() -> None:
    base = {"command": ["/bin/x"]}
    for key in schema.KEYS:
        definition = {**base, key.name: key.example}
        if key.name == "pid_file":
            definition["type"] = "forking"
        if key.name == "stop_command":
            definition["type"] = "oneshot"
        if key.name == "tty":
            definition["type"] = "getty"
        if key.name == "interval":
            definition["type"] = "periodic"
        if key.name == "type":
            definition["interval"] = "1m"
        assert not validate.problems("billing", definition, "x"), key.name
        if key.kind == "section" or key.kind == "log":
            for inner in key.keys:
                section = {name.name: name.example for name in key.keys if name.required}
                if key.name == "health" and inner.name != "heartbeat_fd":
                    section["check"] = ["/bin/h"]
                if inner.name == "pause_timeout":
                    section["on_lost"] = "pause"
                assert not validate.problems(
                    "billing", {**base, key.name: {**section, inner.name: inner.example}}, "x"
                ), inner.name


def test_a_lease_has_what_all_have_in_common_unless_it_has_a_driver_of_its_own() -> None:
    context = {"lease": {"driver": "etcd", "ttl": 15.0, "parameters": {"endpoints": "a", "prefix": "/p"}}}

    def lease(**given: object) -> dict[str, object]:
        return dict(normalise("billing", {"command": ["/bin/x"], "lease": given}, context)["lease"])

    assert (lease()["driver"], lease()["ttl"], lease()["resources"]) == ("etcd", 15.0, ["billing"])
    assert lease(parameters={"prefix": "/q"})["parameters"] == {"endpoints": "a", "prefix": "/q"}
    own = lease(driver="file")
    assert (own["ttl"], own["parameters"]) == (None, {})
    assert normalise("billing", {"command": ["/bin/x"]}, context)["lease"] is None
    # The directory of all leases is no parameter of one that has another.
    context = {"lease": {"driver": "file", "parameters": {"directory": "/srv/leases", "scope": "hosts"}}}
    assert lease()["parameters"] == {"directory": "/srv/leases", "scope": "hosts"}
    own = lease(directory="/srv/own")
    assert (own["directory"], own["parameters"]) == ("/srv/own", {"scope": "hosts"})


def test_every_key_is_described() -> None:
    def check(keys: tuple[schema.Key, ...]) -> None:
        for key in keys:
            assert key.help.endswith("."), key.name
            assert key.kind in schema.KINDS
            assert key.kind in validate.READERS
            assert key.example is not None, key.name
            assert key.default is None or not key.choices or key.default in key.choices
            check(key.keys)

    check(schema.KEYS)
    assert set(schema.KINDS) == set(validate.READERS)
