# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a service directory."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._definition.normalise import normalise
from ansible_collections.holdfast.supervision.plugins.module_utils._directory.files import build

CONTEXT = {"log_directory": "/var/log/holdfast"}


def entry(text: str = "#!/bin/sh\n", **keys: Any) -> dict[str, Any]:
    service = normalise("billing", {"command": ["/bin/x"], **keys}, CONTEXT)
    return build(service, text)


def identity(text: str = "#!/bin/sh\n", **keys: Any) -> str:
    return str(entry(text, **keys)["holdfast"]["definition"])


def test_the_record_has_everything_that_a_supervisor_reads() -> None:
    record = entry()["holdfast"]
    digest = record.pop("definition")
    assert len(digest) == 64
    assert record.pop("files") == {
        "run": hashlib.sha256(b"#!/bin/sh\n").hexdigest(),
        "timeout-kill": hashlib.sha256(b"10000\n").hexdigest(),
    }
    assert record == {
        "format": 1,
        "owner": "services",
        "name": "billing",
        "description": "",
        "secrets": [],
        "process": {
            "user": None,
            "group": None,
            "groups": None,
            "umask": None,
            "nice": None,
            "limits": {},
            "oom_score_adjust": None,
            "resources": {},
            "security_context": None,
            "runtime_directories": [],
        },
        "state": "started",
        "type": "longrun",
        "interval": None,
        "restart": "always",
        "backoff": {"initial": 1.0, "maximum": 30.0},
        "failure_limit": {"deaths": 0, "within": 60.0},
        "stop_signal": "TERM",
        "stop_timeout": 10.0,
        "finish_timeout": 5.0,
        "kill": "group",
        "reload_signal": "HUP",
        "on_change": "restart",
        "readiness": {"notification_fd": None, "check": False, "interval": 0.5, "grace": 0.5, "timeout": 30.0},
        "health": None,
        "needs": [],
        "log": {
            "to": "directory",
            "directory": "/var/log/holdfast/billing",
            "size": 1000000,
            "count": 10,
            "age": None,
            "keep": None,
            "format": None,
        },
    }


def test_files_of_the_family() -> None:
    files = entry(
        state="stopped",
        readiness={"notification_fd": 3},
        stop_timeout="2s",
        finish=["/bin/f"],
        finish_timeout="1m",
        stop_signal="INT",
    )["files"]
    assert {name: file["content"] for name, file in files.items()} == {
        "run": "#!/bin/sh\n",
        "down": "",
        "notification-fd": "3\n",
        "timeout-kill": "2000\n",
        "timeout-finish": "60000\n",
        "down-signal": "INT\n",
    }
    assert files["run"]["mode"] == 0o755
    assert files["down"]["mode"] == 0o644


@pytest.mark.parametrize(("state", "down"), [("started", False), ("stopped", True), ("once", True)])
def test_down(state: str, down: bool) -> None:
    assert ("down" in entry(state=state)["files"]) is down


def test_other_scripts() -> None:
    service = normalise(
        "billing", {"command": ["/bin/x"], "readiness": {"check": ["/bin/c"]}, "health": {"check": ["/bin/h"]}}, CONTEXT
    )
    made = build(service, "run", {"check": "check", "health": "health"})
    assert made["files"]["check"] == {"content": "check", "mode": 0o755}
    assert made["holdfast"]["readiness"]["check"] is True
    assert made["holdfast"]["health"] == {
        "heartbeat_fd": None,
        "interval": 10.0,
        "timeout": 5.0,
        "failures": 3,
    }
    assert set(made["holdfast"]["files"]) == set(made["files"])


def test_secrets_are_only_named() -> None:
    made = entry(secret_environment={"B": "hush", "A": "hush"})
    assert "hush" not in json.dumps(made)
    assert made["secret_files"] == {"env/A": "billing/A", "env/B": "billing/B"}
    assert made["holdfast"]["secrets"] == ["A", "B"]


def test_what_has_to_be_active_is_told_beside_what_is_needed() -> None:
    record = entry(needs=["db", {"bank": "active"}])["holdfast"]
    assert (record["needs"], record["needs_active"]) == (["db", "bank"], ["bank"])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"environment": {"A": "1", "B": "2"}}, {"environment": {"B": 2, "A": 1}}),
        ({"limits": {"nofile": 1024}}, {"limits": {"nofile": ["1k", "1k"]}}),
        ({"secret_environment": {"A": "1"}}, {"secret_environment": {"A": "2"}}),
        ({}, {"description": "better"}),
        ({}, {"stop_timeout": 99, "needs": ["db"], "restart": "never", "log": {"count": 3}}),
        ({}, {"state": "stopped"}),
        ({}, {"health": {"check": ["/bin/h"]}, "readiness": {"timeout": 5}}),
        ({"text": "old"}, {"text": "new"}),
    ],
    ids=str,
)
def test_no_new_process_for(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert identity(**one) == identity(**other)


@pytest.mark.parametrize(
    "keys",
    [
        {"command": ["/bin/y"]},
        {"user": "app"},
        {"groups": []},
        {"environment": {"A": "1"}},
        {"secret_environment": {"A": "1"}},
        {"directory": "/srv"},
        {"umask": "0027"},
        {"limits": {"core": 0}},
        {"readiness": {"notification_fd": 3}},
        {"health": {"heartbeat_fd": 4}},
        {"runtime_directories": ["/run/x"]},
        {"log": False},
    ],
    ids=str,
)
def test_a_new_process_for(keys: dict[str, Any]) -> None:
    assert identity() != identity(**keys)


def test_a_changed_template_of_the_user_is_a_new_process() -> None:
    assert identity("one", template="x.j2") != identity("two", template="x.j2")


def test_what_the_host_verifies() -> None:
    keys: dict[str, Any] = {
        "command": ["bin/worker"],
        "directory": "/srv/app",
        "user": "app",
        "groups": ["adm"],
        "environment": {"PATH": "/opt/bin"},
        "finish": ["rm", "-f", "x"],
        "readiness": {"check": ["/bin/c"], "timeout": 7},
        "runtime_directories": [{"path": "/run/x", "user": "root", "group": "web"}],
    }
    made = entry(**keys)
    assert made["verify"] == {
        "command": "/srv/app/bin/worker",
        "check": "/bin/c",
        "health": None,
        "finish": "rm",
        "path": "/opt/bin",
        "users": ["app", "root"],
        "groups": ["adm", "web"],
        "directory": "/srv/app",
        "stop_command": None,
        "tty": None,
    }
    assert made["timeout"] == 7.0
    unchecked = entry(**keys, command_check=False)["verify"]
    assert (unchecked["command"], unchecked["check"], unchecked["finish"], unchecked["directory"]) == (
        None,
        None,
        None,
        None,
    )
    assert unchecked["users"] == ["app", "root"]
