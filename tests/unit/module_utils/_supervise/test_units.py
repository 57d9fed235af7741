# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A definition as systemd units, and systemd's words as ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._definition.normalise import normalise
from ansible_collections.holdfast.supervision.plugins.module_utils._directory.files import build
from ansible_collections.holdfast.supervision.plugins.module_utils._supervise._systemd import state, unit


def made(definition: dict[str, Any], version: int = 252) -> str:
    """The unit of a definition, as a run would write it."""
    service = normalise("one", {"command": ["/bin/true"], **definition}, {"log_directory": "/var/log/holdfast"})
    meta = build(service, "#!/bin/sh\n")["holdfast"]
    place = unit.Place("/etc/services", "/run/holdfast", "/usr/bin/python3", "/lib/rt", version, "multi-user.target")
    return unit.service_unit(meta, "abc.1", place)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("web", "holdfast-web.service"),
        ("a.b_c-d:e", "holdfast-a.b_c-d:e.service"),
        ("a@b+c", "holdfast-a\\x40b\\x2bc.service"),
    ],
)
def test_names_are_escaped_as_systemd_does(name: str, expected: str) -> None:
    assert unit.unit_name(name) == expected


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("/bin/x", "-a"), "/bin/x -a"),
        (("a b", ""), '"a b" ""'),
        (("100%", "$HOME"), "100%% $$HOME"),
        (('say "x\\y"\n',), '"say \\"x\\\\y\\"\\n"'),
    ],
)
def test_words_reach_the_program_as_they_are(arguments: tuple[str, ...], expected: str) -> None:
    assert unit.words(*arguments) == expected


@pytest.mark.parametrize(
    ("definition", "lines"),
    [
        ({}, ["Type=exec", "Restart=always", "RestartSec=1000ms", "KillMode=control-group", "StartLimitIntervalSec=0"]),
        ({"failure_limit": {"deaths": 5, "within": "5m"}}, ["StartLimitBurst=5", "StartLimitIntervalSec=300000ms"]),
        ({"restart": "on_failure"}, ["Restart=on-failure", "RestartForceExitStatus=SIGHUP SIGINT SIGTERM SIGPIPE"]),
        ({"restart": "never"}, ["Restart=no"]),
        ({"state": "once"}, ["Restart=no"]),
        ({"kill": "process", "stop_signal": "INT", "stop_timeout": 0}, ["KillMode=process", "TimeoutStopSec=infinity"]),
        ({"readiness": {"grace": "200ms"}}, ["ExecStartPost=/bin/sleep 0.2"]),
        ({"resources": {"memory_max": "1M", "cpu_max": "50%", "pids_max": 7}}, ["MemoryMax=1048576", "CPUQuota=50%"]),
        ({"limits": {"core": "unlimited", "nofile": [1, 2]}}, ["LimitCORE=infinity:infinity", "LimitNOFILE=1:2"]),
        ({"log": "journald"}, ["StandardOutput=journal", "SyslogIdentifier=one"]),
        ({"log": False}, ["StandardOutput=null"]),
        ({"type": "periodic", "interval": "1h"}, ["Type=oneshot", "Restart=no"]),
        (
            {"health": {"check": ["/bin/h"]}, "stop_signal": "INT", "stop_timeout": 5},
            ["KillMode=mixed", "KillSignal=SIGTERM", "TimeoutStopSec=10000ms"],
        ),
        ({"health": {"check": ["/bin/h"]}, "kill": "process"}, ["KillMode=process"]),
    ],
)
def test_what_a_definition_says_is_said_in_the_unit(definition: dict[str, Any], lines: list[str]) -> None:
    text = made(definition)
    for line in lines:
        assert line in text.splitlines()


def test_the_pause_grows_where_systemd_can_do_that() -> None:
    definition = {"backoff": {"initial": "500ms", "maximum": "4s"}}
    assert "RestartSteps" not in made(definition, 253)
    lines = made(definition, 254).splitlines()
    assert "RestartSteps=3" in lines and "RestartMaxDelaySec=4000ms" in lines


def test_what_systemd_cannot_apply_the_run_script_does() -> None:
    text = made({"user": "app", "groups": ["adm"]})
    assert "User=" not in text and "HOLDFAST_APPLIED" not in text
    assert "User=app" in made({"user": "app"}) and "HOLDFAST_APPLIED=1" in made({"user": "app"})
    # A second copy of a secret would be needed for it.
    text = made({"user": "app", "secret_environment": {"PASSWORD": "hidden-words"}})
    assert "User=" not in text and "EnvironmentFile" not in text and "hidden-words" not in text


def test_no_boot_waits_for_what_waits_for_another_host() -> None:
    place = unit.Place("/etc/services", "/run/holdfast", "/usr/bin/python3", "/lib/rt", 252, unit.SYSTEM)
    definitions: dict[str, dict[str, Any]] = {
        "billing": {"lease": {}},
        "web": {"needs": {"billing": "active"}},
        "proxy": {"needs": ["web"]},
        "other": {"needs": ["billing"]},
    }
    metas = []
    for name, definition in definitions.items():
        service = normalise(name, {"command": ["/bin/true"], **definition}, {"log_directory": "/var/log/holdfast"})
        metas.append((build(service, "#!/bin/sh\n")["holdfast"], "abc.1"))
    texts = unit.units(metas, place)
    patient = {name for name in definitions if "DefaultDependencies=no" in texts[unit.unit_name(name)]}
    assert patient == {"web", "proxy"}
    assert "await systemd /etc/services --active billing" in texts["holdfast-web.service"]
    assert "--active" not in texts["holdfast-other.service"]


def shown(active: str, sub: str = "", **properties: str) -> dict[str, str]:
    return {"ActiveState": active, "SubState": sub, "Result": "success", "LoadState": "loaded", **properties}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1h 59min 59.5s", 7199.5),
        ("250ms", 0.25),
        ("1w 2d", 777600.0),
        ("infinity", None),
        ("", None),
        ("1.2.3s", None),
    ],
)
def test_time_spans_of_systemd(text: str, seconds: float | None) -> None:
    assert state.timespan(text) == seconds


EXITED = {"ExecMainCode": "1", "ExecMainExitTimestampMonotonic": "5"}
#: It has left the inactive states once more after the end of its last process.
RESTARTED = {"InactiveExitTimestampMonotonic": "6", "NRestarts": "2"}


@pytest.mark.parametrize(
    ("properties", "due"),
    [
        # Told to start, started, elapsed, and waiting for the run after the first one.
        ({"ActiveState": "inactive", "SubState": "dead", "Job": "7"}, True),
        ({"ActiveState": "active", "SubState": "waiting", "NextElapseUSecMonotonic": "1us"}, True),
        ({"ActiveState": "active", "SubState": "running", "NextElapseUSecMonotonic": "1us"}, False),
        ({"ActiveState": "active", "SubState": "waiting", "NextElapseUSecMonotonic": "500y"}, False),
        ({"ActiveState": "active", "SubState": "waiting", "NextElapseUSecMonotonic": "infinity"}, False),
        ({"ActiveState": "inactive", "SubState": "dead", "NextElapseUSecMonotonic": "1us"}, False),
        ({}, False),
    ],
)
def test_a_run_is_still_to_come_until_the_timer_has_elapsed(properties: dict[str, str], due: bool) -> None:
    assert state.due(properties) is due


def notes(folder: Path, ended: str | None = None, *, asked: bool = False) -> state.Notes:
    """What the steps of a service would have noted."""
    if ended is not None:
        (folder / "ended").write_text(f"{ended}\n")
    if asked:
        (folder / "asked").touch()
    return state.Notes(str(folder))


@pytest.mark.parametrize(
    ("properties", "meta", "expected"),
    [
        (shown("active", "running", MainPID="7"), {}, ("ready", "up", 7)),
        (shown("activating", "start-post", MainPID="7"), {}, ("up", "up", 7)),
        (shown("activating", "start-pre"), {}, ("starting", "up", None)),
        (shown("activating", "start-pre"), {"needs": ["db"]}, ("waiting", "up", None)),
        (shown("inactive", "dead", Job="7"), {"needs": ["db"]}, ("waiting", "up", None)),
        (shown("activating", "auto-restart", NRestarts="3"), {}, ("backoff", "up", None)),
        # Nobody asked for it: systemd stops it to start it again.
        (shown("deactivating", "stop-sigterm", MainPID="7"), {}, ("stopping", "up", 7)),
        (shown("inactive", "dead"), {}, ("down", "down", None)),
        (shown("failed", "failed", Result="start-limit-hit"), {}, ("failed", "up", None)),
        (
            shown("failed", "failed", Result="exit-code", ExecMainStatus="4", **EXITED, **RESTARTED),
            {},
            ("failed", "up", None),
        ),
        (shown("failed", "failed", Result="exit-code", ExecMainStatus="4", **EXITED), {}, ("down", "down", None)),
        (shown("failed", "failed", Result="exit-code", ExecMainStatus="100", **EXITED), {}, ("failed", "up", None)),
        (shown("failed", "failed", Result="timeout", ExecMainStatus="9", **EXITED), {}, ("down", "down", None)),
    ],
)
def test_states(
    properties: dict[str, str], meta: dict[str, Any], expected: tuple[str, str, int | None], tmp_path: Path
) -> None:
    meta = {"name": "one", "state": "started", "restart": "always", **meta}
    found = state.record(meta, properties, None, notes(tmp_path))
    assert (found["state"], found["want"], found["pid"]) == expected


def test_a_service_that_has_done_its_work_is_not_one_that_was_stopped(tmp_path: Path) -> None:
    meta = {"name": "one", "state": "started", "restart": "on_failure"}
    assert state.record(meta, shown("inactive", "dead"), None, notes(tmp_path))["want"] == "down"
    assert state.record(meta, shown("inactive", "dead"), None, notes(tmp_path, "exited 0"))["want"] == "up"
    assert state.record(meta, shown("inactive", "dead"), None, notes(tmp_path, asked=True))["want"] == "down"


@pytest.mark.parametrize(
    ("noted", "expected"),
    [
        ("exited 3", ("exit", 3)),
        ("killed KILL", ("signal", 9)),
        ("dumped SEGV", ("signal", 11)),
        (" ", None),
        ("exited", None),
    ],
)
def test_how_it_ended(noted: str, expected: tuple[str, int] | None, tmp_path: Path) -> None:
    found = state.record({"name": "one"}, shown("active", "running", MainPID="7"), None, notes(tmp_path, noted))["exit"]
    assert (found and (found["kind"], found["code"])) == expected


def test_why_it_was_given_up(tmp_path: Path) -> None:
    meta = {"name": "one", "failure_limit": {"deaths": 3, "within": 60.0}}
    properties = shown("failed", "failed", Result="exit-code", ExecMainStatus="4", **EXITED, **RESTARTED)
    found = state.record(meta, properties, None, notes(tmp_path, "exited 4"))
    assert found["reason"] == "died 3 times within 60 s, last with exit code 4"
