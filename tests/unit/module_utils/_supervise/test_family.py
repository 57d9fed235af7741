# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Status files of the daemontools family, as the suites write them, and the scripts that they are given."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._supervise import (
    family,
    family_files,
    family_scripts,
)
from ansible_collections.holdfast.supervision.plugins.module_utils._supervise.daemontools import Daemontools
from ansible_collections.holdfast.supervision.plugins.module_utils._supervise.daemontools_encore import (
    DaemontoolsEncore,
)
from ansible_collections.holdfast.supervision.plugins.module_utils._supervise.family import Family
from ansible_collections.holdfast.supervision.plugins.module_utils._supervise.portable import Portable
from ansible_collections.holdfast.supervision.plugins.module_utils._supervise.runit import Runit
from ansible_collections.holdfast.supervision.plugins.module_utils._supervise.s6 import S6

SUITES = (S6, Runit, Daemontools, DaemontoolsEncore)
STAMP = bytes.fromhex("400000006b00e16a2c1b8ac4")
#: 0x6b00e16a, less the ten leap seconds that the label counts.
SINCE = 0x6B00E16A - 10 + 0x2C1B8AC4 / 1e9


def parse(form: str, text: str, prefix: bytes = STAMP) -> family_files.Status:
    status = family_files.parse(prefix + bytes.fromhex(text), form)
    assert status is not None
    return status


@pytest.mark.parametrize(
    ("form", "text", "pid", "want", "paused", "finishing"),
    [
        ("daemontools", "ba530000 0075", 21434, "up", False, False),
        ("daemontools", "ba530000 0175", 21434, "up", True, False),
        ("daemontools", "00000000 0064", 0, "down", False, False),
        ("daemontools", "e4530000 0000", 21476, "once", False, False),
        ("runit", "ba530000 0075 0001", 21434, "up", False, False),
        ("runit", "ba530000 0064 0001", 21434, "once", False, False),
        ("runit", "ba530000 0064 0101", 21434, "down", False, False),
        ("runit", "ba530000 0075 0002", 21434, "up", False, True),
        ("runit", "00000000 0064 0000", 0, "down", False, False),
        ("daemontools_encore", "ba530000 0075 0300", 21434, "up", False, False),
        ("daemontools_encore", "ba530000 0075 0300" + "00" * 20, 21434, "up", False, False),
    ],
)
def test_status_files(form: str, text: str, pid: int, want: str, paused: bool, finishing: bool) -> None:
    status = parse(form, text)
    assert (status.pid, status.want, status.paused, status.finishing) == (pid, want, paused, finishing)
    assert status.since == pytest.approx(SINCE) and status.stamp == STAMP


def test_encore_tells_that_a_service_has_failed() -> None:
    assert parse("daemontools_encore", "00000000 0064 0500").failed


def test_encore_tells_that_a_process_was_told_to_end() -> None:
    status = parse("daemontools_encore", "ba530000 0064 0400")
    assert (status.stopping, status.finishing, status.pid, status.want) == (True, False, 21434, "down")
    # Between two of them nothing is stopping.
    assert not parse("daemontools_encore", "00000000 0064 0400").stopping


@pytest.mark.parametrize("group", ["", "0000000000005571"])
@pytest.mark.parametrize(
    ("flags", "want", "ready", "paused", "finishing"),
    [
        ("04", "up", False, False, False),
        ("0c", "up", True, False, False),
        ("0d", "up", True, True, False),
        ("02", "down", False, False, True),
        ("00", "once", False, False, False),
    ],
)
def test_status_files_of_s6(group: str, flags: str, want: str, ready: bool, paused: bool, finishing: bool) -> None:
    status = parse("s6", "00" * 12 + "0000000000005571" + group + "000f" + flags)
    assert (status.pid, status.wait) == (0x5571, 15)
    assert (status.want, status.ready, status.paused, status.finishing) == (want, ready, paused, finishing)
    # It counts all leap seconds.
    assert status.since == pytest.approx(SINCE - 27)


def test_a_service_of_s6_that_is_down() -> None:
    assert parse("s6", "00" * 12 + "00" * 8 + "0000" + "08").want == "down"


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
@pytest.mark.parametrize("length", [0, 17, 36])
def test_what_is_cut_off_is_no_status(suite: type[Family], length: int) -> None:
    if length == 36 and suite is not S6:
        pytest.skip("more than enough")
    assert family_files.parse(b"\0" * length, suite.form) is None


def service(**meta: Any) -> Portable:
    everything = {
        "definition": "ab",
        "revision": 2,
        "kill": "group",
        "stop_signal": "INT",
        "stop_timeout": 5.0,
        "restart": "on_failure",
        "failure_limit": {"deaths": 3, "within": 60.0},
        "backoff": {"initial": 2.0, "maximum": 9.0},
        "finish_timeout": 5.0,
        "readiness": {"notification_fd": 4},
        "log": {
            "to": "directory",
            "directory": "/var/log/it's",
            "size": 10000,
            "count": 3,
            "age": 60.0,
            "format": None,
        },
        **meta,
    }
    return Portable("web", "/srv/it's here/web", frozenset(("run", "finish", "check")), everything)


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed")
@pytest.mark.parametrize(
    "meta",
    [
        {"needs": ["db", "it's"]},
        {"restart": "never", "kill": "process", "stop_timeout": 0.0},
        {"type": "periodic", "interval": 60.0, "kill": "tree"},
        {"type": "oneshot", "restart": "never"},
    ],
    ids=["all", "less", "attended", "oneshot"],
)
@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
def test_the_scripts_are_good_sh(suite: type[Family], meta: dict[str, Any]) -> None:
    files = suite("/etc/holdfast/services").files(service(**meta))
    scripts = [text for text, mode in files.values() if mode == family_scripts.EXECUTABLE]
    assert len(scripts) >= 3
    for text in scripts:
        # 2086: words are to be split there; 2015: `a && b || c` is meant; 2094: a name of a variable and of a file;
        # 3045: ulimit -S is in every sh that we know, dash and busybox among them.
        command = ["shellcheck", "-s", "sh", "-e", "SC2086,SC2015,SC2094,SC3045", "-"]
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        assert done.returncode == 0, text + done.stdout


@pytest.mark.parametrize(
    ("meta", "by"),
    [
        ({}, ()),
        ({"health": {"interval": 1.0}}, SUITES),
        ({"type": "periodic", "interval": 60.0}, SUITES),
        ({"kill": "tree"}, SUITES),
        ({"restart": "never"}, (Daemontools, DaemontoolsEncore)),
        ({"stop_signal": "INT"}, (Daemontools, DaemontoolsEncore)),
        ({"backoff": {"initial": 2.0, "maximum": 9.0}}, (Daemontools, DaemontoolsEncore)),
        ({"failure_limit": {"deaths": 3}}, (Daemontools, DaemontoolsEncore)),
        ({"state": "once"}, (Daemontools, DaemontoolsEncore)),
        ({"files": {"finish": "a hash"}}, (Daemontools, DaemontoolsEncore)),
        ({"type": "oneshot", "restart": "never"}, ()),
        ({"type": "oneshot", "restart": "on_failure"}, (Daemontools, DaemontoolsEncore)),
    ],
)
def test_a_service_has_a_parent_of_ours_only_for_what_the_suite_lacks(
    meta: dict[str, Any], by: tuple[type[Family], ...]
) -> None:
    assert tuple(suite for suite in SUITES if suite("/nowhere").attends({"name": "web", **meta})) == by


def test_the_suite_gives_the_parent_more_time_than_it_gives_the_service() -> None:
    assert S6("/nowhere").files(service(kill="tree"))["timeout-kill"] == ("10000\n", 0o644)
    assert S6("/nowhere").files(service())["timeout-kill"] == ("5000\n", 0o644)
    # No end for the service, none for its parent.
    assert S6("/nowhere").files(service(kill="tree", stop_timeout=0.0))["timeout-kill"] == ("0\n", 0o644)
    assert "down-signal" not in S6("/nowhere").files(service(kill="tree"))


def test_a_suite_says_what_it_can_not_do_here() -> None:
    def refused(suite: type[Family], feature: str, **meta: Any) -> str:
        return suite("/nowhere").obstacle(feature, service(**meta).meta, None)  # type: ignore[arg-type]

    assert "above 9" in refused(Runit, "readiness.notification_fd", readiness={"notification_fd": 10})
    assert not refused(S6, "readiness.notification_fd", readiness={"notification_fd": 10})
    assert "waits for a second" in refused(S6, "backoff", backoff={"initial": 0.5, "maximum": 9.0})
    assert not refused(S6, "backoff")
    assert "16777215" in refused(Daemontools, "log.size", log={"size": 16777216})


class Hurried(Runit):
    """Services with processes that have not noted yet of which definition they are."""

    def status(self, name: str) -> family_files.Status | None:
        return parse("runit", "ba530000 0075 0001")


def test_what_has_just_been_started_is_waited_for_together(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: clock.append(clock.pop() + seconds))
    names = [f"service-{number}" for number in range(20)]
    assert list(Hurried(str(tmp_path))._settled(names)) == names
    assert clock[0] == pytest.approx(family.NOTING, abs=0.02)
