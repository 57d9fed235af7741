# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading the payload."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._plan.request import BadPayload, read


def packed(content: Any) -> str:
    return base64.b64encode(zlib.compress(json.dumps(content).encode())).decode()


def entry(**holdfast: Any) -> dict[str, Any]:
    return {"holdfast": {"format": 1, **holdfast}, "files": {"run": {"content": "#!/bin/sh\n", "mode": 0o755}}}


def test_services_come_in_the_order_of_their_start() -> None:
    services = {"a": entry(), "b": entry(), "c": entry()}
    wanted, absent, _having = read(
        packed({"format": 1, "services": services, "order": ["c", "a"], "absent": ["d"]}), {}, "/log"
    )
    assert list(wanted) == ["c", "a", "b"]
    assert absent == ["d"]
    assert wanted["a"].files == {"run": (b"#!/bin/sh\n", 0o755)}
    assert wanted["a"].meta["owner"] == "services"


def test_secrets_come_by_their_ids_and_into_closed_files() -> None:
    service = {**entry(), "secret_files": {"env/PASSWORD": "a/PASSWORD"}}
    wanted, _absent, _having = read(packed({"format": 1, "services": {"a": service}}), {"a/PASSWORD": "geheim"}, "/log")
    assert wanted["a"].files["env/PASSWORD"] == (b"geheim", 0o600)
    assert "env/PASSWORD" in wanted["a"].secrets
    assert wanted["a"].meta["files"]["env/PASSWORD"] == ""


def test_the_log_directory_of_the_host_is_filled_in() -> None:
    services = {
        "a": entry(log={"to": "directory", "directory": None}),
        "b": entry(log={"to": "directory", "directory": "/srv/b"}),
        "c": entry(log={"to": "none", "directory": None}),
    }
    wanted, _absent, _having = read(packed({"format": 1, "services": services}), {}, "/var/log/holdfast")
    assert wanted["a"].meta["log"]["directory"] == "/var/log/holdfast/a"
    assert wanted["b"].meta["log"]["directory"] == "/srv/b"
    assert wanted["c"].meta["log"]["directory"] is None


@pytest.mark.parametrize(
    "payload",
    [
        "",
        "no base64 at all",
        base64.b64encode(b"not compressed").decode(),
        base64.b64encode(zlib.compress(b"not json")).decode(),
        base64.b64encode(zlib.compress(b"{}" * 9999)[:10]).decode(),
        packed([]),
        packed({"format": 2}),
        packed({"format": 1, "services": {"../x": entry()}}),
        packed({"format": 1, "services": {}, "absent": [".hidden"]}),
        packed({"format": 1, "services": {"a": {}}}),
        packed({"format": 1, "services": {"a": {**entry(), "secret_files": {"env/X": "missing"}}}}),
    ],
)
def test_anything_else_is_refused(payload: str) -> None:
    with pytest.raises(BadPayload):
        read(payload, {}, "/log")
