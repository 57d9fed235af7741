# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Definitions of operations: what is refused, all at once, and never with a secret in the text."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._helper import schema
from ansible_collections.holdfast.supervision.plugins.module_utils._helper.capability_names import NUMBERS
from ansible_collections.holdfast.supervision.plugins.module_utils._helper.operations import Operation
from ansible_collections.holdfast.supervision.plugins.module_utils._helper.parameters import BadParameter, check


def document(**operation: Any) -> dict[str, Any]:
    one = {"argv": ["/bin/true"], "allow": [], **operation}
    return {"format": 1, "socket": "/run/x/socket", "state_directory": "/run/x", "operations": {"one": one}}


def problems(**operation: Any) -> list[str]:
    return schema.problems(document(**operation))


def with_parameter(**parameter: Any) -> list[str]:
    return problems(argv=["/bin/echo", "{it}"], parameters={"it": parameter})


def test_a_good_definition_has_no_problems() -> None:
    assert not problems(
        description="All there is",
        argv=["/bin/echo", "{number}", "--", "{path}", "{force}", "{choice}", "{name}", "{ not a placeholder }"],
        parameters={
            "number": {"type": "integer", "minimum": -5, "maximum": 5, "default": 0},
            "path": {"type": "path", "within": "/srv/data", "exists": False},
            "force": {"type": "boolean", "flag": "--force", "required": False},
            "choice": {"type": "enum", "values": ["a", "b"], "default": "a"},
            "name": {"type": "string", "pattern": "[a-z]+", "max_length": 16},
            "password": {"type": "string", "no_log": True},
        },
        environment={"PASSWORD": "{password}", "NUMBER": 5, "TEXT": "x"},
        allow=[{"user": "root"}, {"user": 1000}, {"group": "adm"}],
        timeout=1.5,
        user="nobody",
        directory="/srv",
        memory_max=2**30,
        capabilities=["net_admin"],
        idempotency="pure",
        on_disconnect="cancel",
    )


@pytest.mark.parametrize(
    ("operation", "path"),
    [
        ({"argv": []}, "argv"),
        ({"argv": "/bin/echo x"}, "argv"),
        ({"argv": ["echo"]}, "argv[0]"),
        ({"argv": ["{it}"]}, "argv[0]"),
        ({"argv": ["/bin/../bin/echo"]}, "argv[0]"),
        ({"argv": ["/bin/echo", 5]}, "argv"),
        ({"argv": ["/bin/echo", "{nobody}"]}, "argv[1]"),
        ({"argv": ["/bin/echo", "--x={it}"]}, "argv[1]"),
        ({"parameters": {"unused": {"type": "string"}}}, "parameters.unused"),
        ({"parameters": {"Bad-Name": {"type": "string"}}}, "parameters.Bad-Name"),
        ({"parameters": []}, "parameters"),
        ({"allow": None}, "allow"),
        ({"allow": [{"user": "a", "group": "b"}]}, "allow[0]"),
        ({"allow": [{"user": -1}]}, "allow[0]"),
        ({"allow": [{"user": 2**32 - 1}]}, "allow[0]"),
        ({"allow": [{"user": True}]}, "allow[0]"),
        ({"allow": [{"uid": 5}]}, "allow[0]"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
        ({"timeout": float("inf")}, "timeout"),
        ({"timeout": True}, "timeout"),
        ({"capabilities": ["CAP_NET_ADMIN"]}, "capabilities"),
        ({"capabilities": "net_admin"}, "capabilities"),
        ({"idempotency": "never"}, "idempotency"),
        ({"on_disconnect": "stop"}, "on_disconnect"),
        ({"environment": {"A B": "x"}}, "environment.A B"),
        ({"environment": {"A": True}}, "environment.A"),
        ({"environment": {"A": None}}, "environment.A"),
        ({"environment": {"A": "{nobody}"}}, "environment.A"),
        ({"memory_max": 5}, "memory_max"),
        ({"user": ""}, "user"),
        ({"directory": "srv"}, "directory"),
        ({"shell": True}, "shell"),
    ],
)
def test_what_is_wrong_is_named_by_its_path(operation: dict[str, Any], path: str) -> None:
    found = problems(**operation)
    assert any(text.startswith(f"operations.one.{path}: ") for text in found), found


@pytest.mark.parametrize(
    "parameter",
    [
        {},
        {"type": "number"},
        {"type": "integer"},
        {"type": "integer", "minimum": 1},
        {"type": "integer", "minimum": 2, "maximum": 1},
        {"type": "integer", "minimum": True, "maximum": 5},
        {"type": "integer", "minimum": 0, "maximum": 5, "default": 6},
        {"type": "integer", "minimum": 0, "maximum": 5, "pattern": "x"},
        {"type": "string", "pattern": "("},
        {"type": "string", "pattern": 5},
        {"type": "string", "max_length": 0},
        {"type": "string", "default": "-x"},
        {"type": "string", "no_log": "yes"},
        {"type": "string", "no_log": True},
        {"type": "boolean", "flag": ""},
        {"type": "enum"},
        {"type": "enum", "values": []},
        {"type": "path"},
        {"type": "path", "within": "/"},
        {"type": "path", "within": "data"},
        {"type": "path", "within": "/srv/../etc"},
    ],
    ids=str,
)
def test_a_wrong_parameter_is_refused(parameter: dict[str, Any]) -> None:
    assert with_parameter(**parameter)


def test_all_problems_are_told_at_once() -> None:
    found = problems(argv=["x"], timeout=-1, idempotency="x", unknown=1, allow=5)
    assert len(found) == 5


@pytest.mark.parametrize("content", [None, [], "x", {}, {"format": 2, "operations": []}, {"operations": {5: {}}}])
def test_what_is_no_configuration_is_refused(content: object) -> None:
    assert schema.problems(content)


def test_a_dash_is_let_through_only_where_the_pattern_begins_with_it() -> None:
    for pattern in ("-?[0-9]+", r"\-[0-9]+", "^-[0-9]+", "(-[0-9]+)"):
        check({"type": "string", "pattern": pattern}, "-5")
    for pattern in (".*", "[-0-9]+", ".[0-9]+"):
        with pytest.raises(BadParameter):
            check({"type": "string", "pattern": pattern}, "-5")


def client(uid: int, gids: set[int]) -> Any:
    return SimpleNamespace(peer=SimpleNamespace(uid=uid), gids=gids)


def test_root_may_call_everything_and_nobody_else_what_is_not_for_him() -> None:
    operation = Operation("one", {"argv": ["/bin/true"], "allow": [{"user": 1000}, {"group": 2000}]})
    assert all(operation.allows(client(*one)) for one in ((0, set()), (1000, {5}), (5, {1, 2000})))
    assert not any(operation.allows(client(*one)) for one in ((2000, {1000}), (-1, set())))


def test_users_whom_the_host_does_not_know_and_the_one_who_stands_for_them_are_not_allowed() -> None:
    allow = [{"user": "nobody-knows-him"}, {"user": 65534}, {"group": "nobody-knows-it"}]
    operation = Operation("one", {"argv": ["/bin/true"], "allow": allow})
    assert operation.uids == {0} and not operation.gids
    assert operation.unknown == ["user nobody-knows-him", "user 65534", "group nobody-knows-it"]


def test_capabilities_have_the_numbers_of_the_kernel() -> None:
    assert (NUMBERS["chown"], NUMBERS["net_admin"], NUMBERS["sys_admin"], NUMBERS["checkpoint_restore"]) == (
        0,
        12,
        21,
        40,
    )


@pytest.mark.parametrize(
    "parameter",
    [
        {"type": "address"},
        {"type": "address", "within": []},
        {"type": "address", "within": ["192.0.2.0"]},
        {"type": "address", "within": ["192.0.2.1/24"]},
        {"type": "address", "within": ["192.0.2.0/33"]},
        {"type": "address", "within": ["192.0.2.0/024"]},
        {"type": "address", "within": ["2001:db8::%eth0/64"]},
        {"type": "address", "within": ["192.0.2.0/24"], "prefix": "any"},
        {"type": "path", "within": "/srv", "create": "link"},
        {"type": "path", "within": "/srv", "create": "file", "exists": False},
        {"type": "path", "within": "/srv", "cross_mounts": 1},
    ],
)
def test_a_wrong_address_or_path_is_found(parameter: dict[str, Any]) -> None:
    assert with_parameter(**parameter)


@pytest.mark.parametrize(
    ("prefix", "value", "good"),
    [
        ("none", "192.0.2.7", True),
        ("none", "2001:db8::1", True),
        ("none", "192.0.2.7/24", False),
        ("none", "192.0.3.7", False),
        ("none", "192.0.2.07", False),
        ("none", "3221225991", False),
        ("none", "192.0.2.7 dev eth0", False),
        ("none", "2001:db8::1%eth0", False),
        ("none", "::ffff:192.0.2.7", False),
        ("required", "192.0.2.7/24", True),
        ("required", "192.0.2.7/32", True),
        ("required", "192.0.2.7/23", False),
        ("required", "192.0.2.7/0", False),
        ("required", "192.0.2.7/+24", False),
        ("required", "192.0.2.7/٢٤", False),
        ("required", "192.0.2.7", False),
        ("required", "2001:db8::1/64", True),
        ("required", "2001:db8::1/16", False),
        ("optional", "192.0.2.7", True),
        ("optional", "192.0.2.0/28", True),
        ("optional", "0.0.0.0/0", False),
    ],
)
def test_an_address_stays_within_its_networks(prefix: str, value: str, good: bool) -> None:
    parameter = {"type": "address", "within": ["192.0.2.0/24", "2001:db8::/32"], "prefix": prefix}
    assert not with_parameter(**parameter)
    if good:
        check(parameter, value)
    else:
        with pytest.raises(BadParameter):
            check(parameter, value)


def test_methods_of_one_name_are_refused() -> None:
    content = document()
    content["operations"].update({"a1": dict(content["operations"]["one"]), "a_1": dict(content["operations"]["one"])})
    (problem,) = schema.problems(content)
    assert problem.startswith("operations.a_1: 'A1'") and "a1" in problem


def test_a_method_with_the_name_of_an_error_is_refused() -> None:
    content = document()
    content["operations"]["not_allowed"] = dict(content["operations"]["one"])
    (problem,) = schema.problems(content)
    assert problem.startswith("operations.not_allowed: 'NotAllowed'") and "error" in problem


@pytest.mark.parametrize("name", ["a__b", "a_", "_a", "A", "1a", "a-b", "a\n", "a" * 65, ""])
def test_a_name_is_one_in_varlink_too(name: str) -> None:
    content = document()
    content["operations"] = {name: content["operations"]["one"]}
    assert schema.problems(content)


@pytest.mark.parametrize(
    "settings",
    [
        {"rate": {"calls": 0, "seconds": 1}},
        {"rate": {"calls": 1}},
        {"rate": {"calls": 1, "seconds": 0}},
        {"rate": {"calls": True, "seconds": 1}},
        {"rate": 5},
        {"rate": {"calls": 1, "seconds": 1, "burst": 5}},
        {"services": {"manager": "openrc"}},
        {"services": {"manager": "embedded"}},
        {"services": {"manager": "embedded", "scan_directory": "services"}},
        {"services": {"manager": "systemd", "identity": "name"}},
        {"services": {"manager": "systemd", "users": {"../x": "root"}}},
    ],
)
def test_wrong_settings_are_found(settings: dict[str, Any]) -> None:
    assert schema.problems({**document(), **settings})
    if "rate" in settings:
        assert problems(**settings)


def test_a_service_needs_somebody_who_manages_services() -> None:
    (problem,) = problems(allow=[{"service": "billing"}])
    assert "nothing says who manages services" in problem
    content = document(allow=[{"service": "billing"}], rate={"calls": 5, "seconds": 1.5})
    assert not schema.problems({**content, "services": {"manager": "embedded", "scan_directory": "/etc/x"}})
    assert schema.problems({**document(allow=[{"service": "../x"}]), "services": {"manager": "systemd"}})


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"secured_by": "r", "unsecured": True}, "leave one of the two out"),
        ({"secured_by": "r", "asynchronous": "allowed"}, "a secured operation is none"),
        ({"secured_by": "../r"}, "the name of a resource"),
        ({"secured_by": "r", "argv": None, "function": {"file": "/f.py", "name": "f"}, "isolation": "pooled"}, "own"),
    ],
)
def test_what_a_secured_operation_can_not_be(said: dict[str, Any], problem: str) -> None:
    one = document(**said)
    one["operations"]["one"] = {key: value for key, value in one["operations"]["one"].items() if value is not None}
    found = schema.problems({**one, "guards": ["/run/guards"]})
    assert len(found) == 1, found
    assert problem in found[0]


def test_a_secured_operation_needs_to_know_of_guards() -> None:
    assert "nothing says where guards are" in problems(secured_by="r")[0]
    assert not schema.problems({**document(secured_by="r"), "guards": ["/run/guards"]})


def test_what_secures_all_secures_no_unsecured_one() -> None:
    assert schema.secured_by({"secured_by": "r"}, {}) == "r"
    assert schema.secured_by({"secured_by": "r"}, {"secured_by": "s"}) == "s"
    assert schema.secured_by({"secured_by": "r"}, {"unsecured": True}) == ""


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"kinds": []}, "a list of file, directory"),
        ({"kinds": ["door"]}, "a list of file, directory"),
        ({"access": "append"}, "one of read, write"),
        ({"form": "text"}, "one of path, number"),
        ({"default": 0}, "comes with the call, or not at all"),
        ({"within": "/srv"}, "there is no such key"),
        ({"form": "input"}, "is the input of the program"),
    ],
)
def test_what_a_descriptor_can_not_be(said: dict[str, Any], problem: str) -> None:
    found = problems(argv=["/bin/cat", "{it}"], parameters={"it": {"type": "descriptor", **said}})
    assert len(found) == 1, found
    assert problem in found[0]


def test_where_descriptors_can_not_be() -> None:
    one = {"it": {"type": "descriptor"}}
    function = {"file": "/f.py", "name": "f"}
    assert not problems(argv=["/bin/cat", "{it}"], parameters=one)
    assert not problems(argv=["/bin/cat"], parameters={"it": {"type": "descriptor", "form": "input"}})
    assert "not for jobs" in problems(argv=["/bin/cat", "{it}"], parameters=one, asynchronous="allowed")[0]
    coalesced = {"parameters": one, "coalesce": True, "idempotency": "pure"}
    assert "never the same" in problems(argv=["/bin/cat", "{it}"], **coalesced)[0]
    many = {f"it{number}": {"type": "descriptor"} for number in range(9)}
    assert "at most 8" in problems(argv=["/bin/cat", *(f"{{{key}}}" for key in many)], parameters=many)[0]
    twice = {"a": {"type": "descriptor", "form": "input"}, "b": {"type": "descriptor", "form": "input"}}
    assert "one and nothing else" in problems(argv=["/bin/cat"], parameters=twice)[0]
    assert "only a function returns" in problems(returns={"type": "descriptor"}, idempotency="pure")[0]
    content = document(returns={"type": "descriptor"}, parameters={})
    content["operations"]["one"].pop("argv")
    content["operations"]["one"]["function"] = function
    assert ["not for `once`" in one for one in schema.problems(content)] == [True]
    content["operations"]["one"]["idempotency"] = "pure"
    assert not schema.problems(content)
    content["operations"]["one"]["returns"] = {"type": "descriptor", "form": "path"}
    assert len(schema.problems(content)) == 1
    content["operations"]["one"]["returns"] = "descriptor"
    assert "{type: descriptor" in schema.problems(content)[0]


@pytest.mark.parametrize(
    ("values", "passed", "parameter"),
    [
        ({"a": 0, "b": 1}, True, None),
        ({"b": 0}, True, None),
        ({}, False, None),
        ({}, True, "descriptors"),
        ({"a": 0}, False, "a"),
        ({"a": 0, "b": 0}, True, "descriptors"),
        ({"a": 0, "b": 2}, True, "descriptors"),
        ({"a": 8}, True, "a"),
        ({"a": -1}, True, "a"),
        ({"a": "0"}, True, "a"),
        ({"a": True}, True, "a"),
    ],
)
def test_each_descriptor_is_named_once(values: dict[str, Any], passed: bool, parameter: str | None) -> None:
    one = {"type": "descriptor", "required": False}
    operation = Operation("one", {"argv": ["/bin/cat"], "allow": [], "parameters": {"a": one, "b": one}})
    if parameter is None:
        assert operation.complete(values, passed) == values
    else:
        with pytest.raises(BadParameter) as caught:
            operation.complete(values, passed)
        assert caught.value.parameter == parameter


def test_a_number_in_quotes_is_told_as_a_text() -> None:
    declared = {"type": "integer", "minimum": 1280, "maximum": 9216}
    with pytest.raises(BadParameter, match="from 1280 to 9216, and no text"):
        check(declared, "9000")
    with pytest.raises(BadParameter, match=r"from 1280 to 9216$"):
        check(declared, 10)
