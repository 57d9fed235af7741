# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Features, and the words for what a supervisor says."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from fake_backend import FakeBackend

from ansible_collections.holdfast.supervision.plugins.module_utils._supervise.backends import BACKENDS
from ansible_collections.holdfast.supervision.plugins.module_utils._supervise.interface import (
    FEATURES,
    Service,
    Unsupported,
    ending_text,
    needed,
)


@pytest.mark.parametrize(
    ("meta", "features"),
    [
        ({}, []),
        ({"state": "started", "restart": "always", "stop_signal": "TERM", "on_change": "restart", "health": None}, []),
        ({"readiness": {"notification_fd": 0}}, ["readiness.notification_fd"]),
        ({"readiness": {"check": True}}, ["readiness.check"]),
        ({"health": {"interval": 1}}, ["health"]),
        ({"needs": ["db"]}, ["needs"]),
        ({"needs": ["db"], "needs_active": ["db"]}, ["needs", "needs.active"]),
        ({"type": "periodic"}, ["periodic"]),
        ({"state": "once"}, ["once"]),
        ({"restart": "never"}, ["restart"]),
        ({"failure_limit": {"deaths": 3}}, ["failure_limit"]),
        ({"files": {"finish": ""}}, ["finish"]),
        ({"stop_signal": "INT"}, ["stop_signal"]),
        ({"on_change": "reload"}, ["reload"]),
        ({"kill": "group"}, ["kill.group"]),
        ({"kill": "tree"}, ["kill.tree"]),
        ({"process": {"resources": {"memory_max": None}}}, []),
        ({"process": {"resources": {"memory_max": 1}}}, ["resources"]),
        ({"process": {"security_context": {"apparmor": "x"}}}, ["security_context"]),
        ({"log": {"to": "syslog"}}, ["log.syslog"]),
        ({"log": {"to": "journald"}}, ["log.journald"]),
        ({"log": {"to": "directory"}}, ["log.directory", "log.size"]),
        ({"log": {"to": "directory", "age": 1.0, "keep": 2.0}}, ["log.directory", "log.size", "log.age", "log.keep"]),
        ({"log": {"to": "directory", "format": "iso"}}, ["log.directory", "log.size", "log.iso"]),
        ({"backoff": {"initial": 1.0, "maximum": 30.0}}, []),
        ({"backoff": {"initial": 0.01, "maximum": 30.0}}, ["backoff"]),
        ({"backoff": {"initial": 0.01, "maximum": 30.0}, "restart": "never"}, ["restart"]),
    ],
)
def test_what_a_definition_asks_for(meta: dict[str, Any], features: list[str]) -> None:
    assert needed(meta) == features
    assert set(features) <= FEATURES.keys()


def test_every_backend_declares_known_features() -> None:
    for name, backend in BACKENDS.items():
        assert backend.name == name and backend.capabilities <= FEATURES.keys()
        assert not backend.native & backend.supplied


def test_the_owner_of_the_logs_is_that_of_the_log_writers_table(tmp_path: Path) -> None:
    backend = FakeBackend(str(tmp_path))
    assert backend.log_owner() is None
    (tmp_path / ".holdfast" / "logs").mkdir(parents=True)
    assert backend.log_owner() == (os.geteuid(), os.getegid())


def test_a_refusal_names_feature_backend_and_those_that_have_it() -> None:
    assert str(Unsupported("health", "runit", ["s6", "embedded"])) == (
        "health (health checks) is not supported by the backend runit; these have it: embedded, s6"
    )
    assert "no backend has it" in str(Unsupported("health", "runit", []))
    assert str(Unsupported("resources", "embedded", [], "no cgroup v2")).endswith("backend embedded: no cgroup v2")


def test_how_a_process_ended() -> None:
    assert ending_text(None) == ""
    assert ending_text({"kind": "exit", "code": 3}) == "exit code 3"
    assert ending_text({"kind": "signal", "code": 9}) == "signal SIGKILL"
    assert ending_text({"kind": "signal", "code": 999}) == "signal 999"
    assert ending_text({"kind": "unknown", "code": 0}) == ""


def test_why_a_service_is_in_trouble() -> None:
    said = {"name": "web", "state": "backoff", "reason": "exit code 3; next start in 1 s", "deaths": 1}
    assert Service({**said, "exit": {"kind": "exit", "code": 3}}).trouble == "exit code 3; next start in 1 s"
    bare = {"name": "web", "state": "down", "deaths": 3, "exit": {"kind": "exit", "code": 1}}
    assert Service(bare).trouble == "it is down, last exit code 1, 3 deaths"


def test_whether_the_last_run_ended_well() -> None:
    for ending, good in (
        (None, False),
        ({"kind": "exit", "code": 0}, True),
        ({"kind": "exit", "code": 1}, False),
        ({"kind": "signal", "code": 0}, False),
    ):
        assert Service({"name": "web", "exit": ending}).succeeded is good
