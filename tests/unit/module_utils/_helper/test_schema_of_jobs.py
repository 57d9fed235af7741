# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Operations that are jobs, share a run, are read, or belong to a resource: what fits together."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._helper import schema


def problems(**operation: Any) -> list[str]:
    one = {"argv": ["/bin/true"], "allow": [], **operation}
    document = {"format": 1, "socket": "/run/x/socket", "state_directory": "/run/x", "operations": {"one": one}}
    return schema.problems(document)


@pytest.mark.parametrize(
    "operation",
    [
        {"asynchronous": "always", "long_lived": True, "timeout": 2592000},
        {"asynchronous": "allowed", "stream": True},
        {"coalesce": True, "idempotency": "pure"},
        {"coalesce": True, "idempotency": "idempotent", "on_disconnect": "cancel"},
        {"stream": True, "on_disconnect": "cancel"},
        {"asynchronous": "always", "argv": None, "function": {"file": "/x/y.py", "name": "go"}, "isolation": "fresh"},
    ],
)
def test_what_fits_together(operation: dict[str, Any]) -> None:
    if operation.get("argv", "") is None:
        one = {"allow": [], **{key: value for key, value in operation.items() if key != "argv"}}
        document = {"format": 1, "socket": "/run/x/s", "state_directory": "/run/x", "operations": {"one": one}}
        assert schema.problems(document) == []
    else:
        assert problems(**operation) == []


@pytest.mark.parametrize(
    ("operation", "path"),
    [
        ({"asynchronous": True}, "asynchronous"),
        ({"asynchronous": "sometimes"}, "asynchronous"),
        ({"long_lived": True}, "long_lived"),
        ({"asynchronous": "allowed", "long_lived": True}, "long_lived"),
        ({"timeout": 86401}, "timeout"),
        ({"asynchronous": "always", "timeout": 2592001}, "timeout"),
        ({"coalesce": True}, "coalesce"),
        ({"coalesce": "yes", "idempotency": "pure"}, "coalesce"),
        ({"coalesce": True, "idempotency": "pure", "asynchronous": "allowed"}, "coalesce"),
        ({"coalesce": True, "idempotency": "pure", "stream": True}, "coalesce"),
        ({"stream": 1}, "stream"),
        ({"stream": True, "asynchronous": "always"}, "stream"),
    ],
)
def test_what_does_not(operation: dict[str, Any], path: str) -> None:
    found = problems(**operation)
    assert len(found) == 1 and found[0].startswith(f"operations.one.{path}:")


IDEMPOTENT = {"argv": ["/bin/true"], "allow": [], "idempotency": "idempotent"}
SIZED = {**IDEMPOTENT, "argv": ["/bin/echo", "{size}"]}
SIZED["parameters"] = {"size": {"type": "integer", "minimum": 0, "maximum": 9}}
SECRET = {**IDEMPOTENT, "environment": {"KEY": "{key}"}, "parameters": {"key": {"type": "string", "no_log": True}}}


def of_resource(**resource: Any) -> list[str]:
    operations = {"make": SIZED, "take": IDEMPOTENT, "sized": SIZED, "secret": SECRET}
    operations["once"] = {**IDEMPOTENT, "idempotency": "once"}
    operations["job"] = {**IDEMPOTENT, "asynchronous": "allowed"}
    document = {"format": 1, "socket": "/run/x/socket", "state_directory": "/run/x", "operations": operations}
    return schema.problems({**document, "resources": {"thing": {"create": "make", "destroy": "take", **resource}}})


def test_a_resource_is_a_pair_of_operations() -> None:
    assert of_resource() == []
    assert of_resource(destroy="sized", linger=30, description="A thing") == []


@pytest.mark.parametrize(
    ("resource", "path"),
    [
        ({"create": "absent"}, "create"),
        ({"destroy": None}, "destroy"),
        ({"create": "once"}, "create"),
        ({"destroy": "job"}, "destroy"),
        ({"create": "secret"}, "create"),
        ({"create": "take", "destroy": "sized"}, "destroy"),
        ({"linger": -1}, "linger"),
        ({"linger": "long"}, "linger"),
        ({"lingers": 5}, "lingers"),
    ],
)
def test_what_is_no_resource(resource: dict[str, Any], path: str) -> None:
    found = of_resource(**resource)
    assert len(found) == 1 and found[0].startswith(f"resources.thing.{path}:")
