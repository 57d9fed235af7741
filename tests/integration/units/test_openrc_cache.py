# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""OpenRC takes what it keeps of the init scripts for true as long as that is no older than they are, by whole seconds.

Here it is always ahead of the clock, as it is by a part of a second on a quick host: no script is ever younger.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from conforming_openrc import OpenRcHost

SLEEP = ["/bin/sleep", "100000"]
CACHE = "/run/openrc/deptree"


@pytest.fixture
def host(runtime: Path) -> Iterator[OpenRcHost]:
    if OpenRcHost.missing():
        pytest.skip(OpenRcHost.missing())
    base = Path(tempfile.mkdtemp(prefix="hf-openrc-"))
    base.chmod(0o755)
    one = OpenRcHost(runtime, base)
    one.prepare()
    one.start()
    one.machine.do("rc-update", "-u")
    ahead(one)
    try:
        yield one
    finally:
        one.close()
        one.machine.do("rc-update", "-u")
        shutil.rmtree(base)


def ahead(host: OpenRcHost) -> None:
    host.machine.do("touch", "-d", "+1 day", CACHE)


def listed(host: OpenRcHost) -> dict[str, str]:
    """What rc-status says of the runlevel's services that are ours."""
    lines = host.machine.do("rc-status", "--nocolor", "default").splitlines()
    words = [line.replace("[", " ").replace("]", " ").split() for line in lines]
    return {one[0]: one[1] for one in words if one and one[0].startswith("holdfast.")}


def kept(host: OpenRcHost) -> set[str]:
    """Which services of ours OpenRC keeps."""
    lines = host.machine.do("cat", CACHE).splitlines()
    return {line.partition("'")[2][:-1] for line in lines if "_service='holdfast." in line}


def test_a_service_is_listed_and_what_it_needs_is_started_before_it(host: OpenRcHost) -> None:
    host.good({"web": {"command": SLEEP, "needs": ["db"]}, "db": {"command": SLEEP}})
    assert listed(host) == {"holdfast.web": "started", "holdfast.db": "started"}
    host.machine.do("rc-service", "--quiet", "holdfast.db", "stop")
    assert set(listed(host).values()) == {"stopped"}
    host.machine.do("rc-service", "--quiet", "holdfast.web", "start")
    assert set(listed(host).values()) == {"started"}


def test_other_needs_and_a_removal_are_seen_too(host: OpenRcHost) -> None:
    definitions = {"web": {"command": SLEEP}, "db": {"command": SLEEP}, "old": {"command": SLEEP}}
    host.good(definitions)
    assert kept(host) == {"holdfast.web", "holdfast.db", "holdfast.old"}
    ahead(host)
    del definitions["old"]
    host.good({**definitions, "old": {"state": "absent"}, "web": {"command": SLEEP, "needs": ["db"]}})
    assert kept(host) == {"holdfast.web", "holdfast.db"}
    host.machine.do("rc-service", "--quiet", "holdfast.db", "stop")
    assert set(listed(host).values()) == {"stopped"}


def test_check_mode_and_a_second_run_leave_it_alone(host: OpenRcHost) -> None:
    definitions = {"web": {"command": SLEEP}}

    def when() -> str:
        return host.machine.do("stat", "-c", "%y", CACHE)

    before = when()
    assert host.good(definitions, check=True)["changed"]
    assert when() == before
    host.good(definitions)
    before = when()
    assert not host.good(definitions)["changed"]
    assert when() == before


def test_a_run_that_was_killed_before_openrc_was_told_is_finished_by_the_next_one(host: OpenRcHost) -> None:
    definitions = {"web": {"command": SLEEP}}
    host.killed_at("rc-update", definitions)
    assert kept(host) == set()
    foretold = host.good(definitions, check=True)["actions"]
    assert foretold
    assert host.good(definitions)["actions"] == foretold
    assert listed(host) == {"holdfast.web": "started"}
    assert not host.good(definitions)["changed"]


def test_an_openrc_that_keeps_nothing_is_left_alone(host: OpenRcHost) -> None:
    host.machine.do("rm", CACHE)
    assert host.good({"web": {"command": SLEEP}})["changed"]
    host.machine.do("test", "!", "-e", CACHE)
    assert not host.good({"web": {"command": SLEEP}})["changed"]
    assert listed(host) == {"holdfast.web": "started"}


def test_a_failure_says_what_is_not_true_and_what_cures_it(host: OpenRcHost) -> None:
    fix, cure = "mount --bind $1 $1 && mount -o remount,bind,ro $1", "umount $1"
    host.machine.do("sh", "-ec", fix, "sh", CACHE)
    try:
        result = host.task({"web": {"command": SLEEP}})
    finally:
        host.machine.do("sh", "-ec", cure, "sh", CACHE)
    assert result["failed"] and "rc-update -u: " in result["msg"] and "Read-only file system" in result["msg"]
    assert host.good({"web": {"command": SLEEP}})["changed"]
    assert listed(host) == {"holdfast.web": "started"}
