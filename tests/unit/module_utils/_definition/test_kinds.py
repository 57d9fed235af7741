# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What oneshot and getty are made of, and what is refused for them."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._definition import validate
from ansible_collections.holdfast.supervision.plugins.module_utils._definition.kinds import REPORT_FD, terminal
from ansible_collections.holdfast.supervision.plugins.module_utils._definition.normalise import normalise
from ansible_collections.holdfast.supervision.plugins.module_utils._directory.files import definition_hash

ONESHOT: dict[str, Any] = {"type": "oneshot", "command": ["/sbin/ip", "link", "add", "br0", "type", "bridge"]}
GETTY: dict[str, Any] = {"type": "getty", "tty": "tty1"}


def only(definition: dict[str, Any]) -> str:
    found = [problem.text() for problem in validate.problems("net", definition, "services_definitions.net")]
    assert len(found) == 1, found
    return found[0]


def full(definition: dict[str, Any]) -> dict[str, Any]:
    return normalise("net", definition, {"log_directory": "/var/log/holdfast"})


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"health": {"check": ["/bin/true"]}}, "net.health: is not possible with type oneshot"),
        ({"template": "x.j2"}, "net.template: is not possible with type oneshot"),
        ({"stop_signal": "INT"}, "write what undoes it in stop_command"),
        ({"reload_signal": "USR1"}, "net.reload_signal: is not possible with type oneshot"),
        ({"on_change": "reload"}, "the old one undone and the new one done; write restart"),
        ({"kill": "process"}, "net.kill: process: is not possible with type oneshot"),
        ({"kill": "tree"}, "write group"),
        ({"state": "once"}, "a oneshot is up until it is stopped; write started"),
        ({"readiness": {"check": ["/bin/true"]}}, "net.readiness.check: is not possible with type oneshot"),
        ({"readiness": {"notification_fd": 3}}, "it is ready when its command has exited with 0"),
        ({"readiness": {"grace": 1}}, "net.readiness.grace: is not possible with type oneshot"),
        ({"pid_file": "/run/x.pid"}, "only a forking service has one"),
        ({"interval": "1m"}, "only a periodic service has one"),
        ({"tty": "tty1"}, "only a getty has one; add type: getty"),
        ({"stop_command": "ip link"}, "must be a list"),
        ({"stop_command": ["./undo"]}, "must be an absolute path, unless directory is given"),
    ],
)
def test_what_means_nothing_to_a_oneshot_is_refused(keys: dict[str, Any], text: str) -> None:
    assert text in only({**ONESHOT, **keys})


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"tty": None}, "net.tty: missing: a getty needs a terminal"),
        ({"tty": "../x"}, "must be a terminal below /dev"),
        ({"tty": "/run/x"}, "must be a terminal below /dev"),
        ({"tty": 1}, "must be a terminal below /dev"),
        ({"log": "syslog"}, "a getty has its output on the terminal; leave it out, or write log: false"),
        ({"log": {"size": "1M"}}, "write log: false"),
        ({"user": "guest"}, "put --autologin and the user into command"),
        ({"groups": []}, "net.groups: is not possible with type getty"),
        ({"lease": {}}, "net.lease: is not possible with type getty"),
        ({"hooks": {}}, "net.hooks: is not possible with type getty"),
        ({"restart": "never"}, "after a login comes the next one"),
        ({"readiness": {"check": ["/bin/true"]}}, "net.readiness.check: is not possible with type getty"),
        ({"stop_command": ["/bin/true"]}, "only a oneshot has one; add type: oneshot"),
    ],
)
def test_what_means_nothing_to_a_getty_is_refused(keys: dict[str, Any], text: str) -> None:
    assert text in only({**GETTY, **keys})


def test_what_fits_is_taken() -> None:
    for definition in (
        {**ONESHOT, "stop_command": ["/bin/true"], "lease": {}, "hooks": {}, "user": "net", "finish": ["/bin/true"]},
        {**ONESHOT, "readiness": {"timeout": "5m"}, "restart": "on_failure", "backoff": {"initial": 2}},
        {**GETTY, "user": "root", "log": False, "environment": {"TZ": "UTC"}, "readiness": {"grace": 1}},
        {**GETTY, "command": ["/bin/login", "-f", "guest"], "user": 0},
    ):
        assert validate.problems("net", definition, "services_definitions.net") == []


def test_a_oneshot_says_itself_that_it_is_ready_and_stays_down_once_it_has_failed() -> None:
    service = full(ONESHOT)
    assert service["readiness"]["notification_fd"] == REPORT_FD
    assert service["restart"] == "never"
    assert full({**ONESHOT, "restart": "on_failure"})["restart"] == "on_failure"
    # What lost its lease is to come back.
    assert full({**ONESHOT, "lease": {}})["restart"] == "always"


def test_what_undoes_it_is_part_of_it_and_its_time_is_not() -> None:
    def identity(**keys: Any) -> str:
        return definition_hash(full({**ONESHOT, **keys}), "")

    assert identity(stop_command=["/bin/true"]) != identity() == identity(readiness={"timeout": 7})
    assert identity() != definition_hash(full({"command": ONESHOT["command"], "readiness": {"notification_fd": 3}}), "")


@pytest.mark.parametrize(
    ("tty", "arguments"),
    [
        ("tty1", ["tty1", "linux"]),
        ("/dev/tty2", ["tty2", "linux"]),
        ("pts/3", ["pts/3", "vt220"]),
        ("ttyS0", ["--keep-baud", "115200,57600,38400,9600", "ttyS0", "vt220"]),
    ],
)
def test_a_getty_is_that_of_the_host(tty: str, arguments: list[str]) -> None:
    service = full({**GETTY, "tty": tty})
    assert service["command"] == ["/sbin/agetty", "--noclear", *arguments]
    assert service["log"]["to"] == "none"
    assert terminal(service) == ""
