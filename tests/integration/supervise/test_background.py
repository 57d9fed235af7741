# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A command that goes to the background is told from one that ends."""

from __future__ import annotations

from pathlib import Path

import procs
import pytest
from supervised import Scan
from waiting import wait_until

DAEMON = """#!/bin/sh
setsid sh -c 'echo $$ >daemon.new; mv daemon.new daemon; exec sleep 100000' &
while ! test -e daemon; do sleep 0.01; done
"""


def test_it_fails_for_good_and_nothing_stays_behind(scan: Scan) -> None:
    directory = scan.add("a", run=DAEMON)
    scan.start()
    report = scan.until("a", "failed")
    assert "goes to the background" in report["reason"]
    assert "foreground" in report["reason"]
    daemon = Path("/proc") / (directory / "daemon").read_text().strip()
    wait_until(lambda: not daemon.exists() or ") Z" in (daemon / "stat").read_text())
    assert report["deaths"] == 1


#: Stays in the process group of the script, which the supervisor kills when that has ended.
JOB = """#!/bin/sh
sleep 100000 &
echo $! >job.new; mv job.new job
"""
#: Has a program at the other end of its pipe, which ends after it.
PIPED = """#!/bin/sh
test -e pipe || mkfifo pipe
cat <pipe >/dev/null &
exec >pipe
echo "nothing to do"
"""


@pytest.mark.parametrize("kill", ["group", "tree", "process"])
def test_it_is_told_wherever_what_it_leaves_is(scan: Scan, kill: str) -> None:
    # Several: whether it was seen was a matter of chance.
    folders = {f"a{number}": scan.add(f"a{number}", run=JOB, kill=kill) for number in range(5)}
    scan.start()
    for name, folder in folders.items():
        report = scan.until(name, "failed")
        assert "goes to the background" in report["reason"] and report["deaths"] == 1
        wait_until(lambda folder=folder: not procs.alive(int((folder / "job").read_text())))  # type: ignore[misc]


def test_what_ends_when_the_command_has_ended_is_no_daemon(scan: Scan) -> None:
    scan.add("a", run=PIPED, backoff={"initial": 0.01, "maximum": 0.01})
    scan.start()
    assert scan.until_deaths("a", 5)["state"] != "failed"
    assert [one["message"] for one in scan.events("a") if one["event"] == "exit"][:5] == ["exit code 0"] * 5


@pytest.mark.parametrize("action", ["stop", "restart"])
def test_what_it_leaves_is_stopped_with_it(scan: Scan, action: str) -> None:
    directory = scan.add("a", run=JOB)
    scan.start()
    wait_until((directory / "job").exists)
    left = int((directory / "job").read_text())
    scan.control("a", action)
    scan.until("a", "down" if action == "stop" else "failed")
    wait_until(lambda: not procs.alive(left))


def test_of_one_that_is_to_end_what_is_left_in_its_group_is_cleared_away(scan: Scan) -> None:
    directory = scan.add("a", run=JOB, files={"down": ""})
    scan.start()
    scan.control("a", "once")
    report = scan.until("a", "down", want="once")
    assert report["exit"]["code"] == 0
    wait_until(lambda: not procs.alive(int((directory / "job").read_text())))


def test_one_that_only_ends_is_started_again(scan: Scan) -> None:
    scan.add("a", run="#!/bin/sh\nexit 0\n")
    scan.start()
    assert scan.until("a", "backoff")["reason"].startswith("exit code 0")


def test_where_ending_is_allowed_a_daemon_may_stay(scan: Scan) -> None:
    directory = scan.add("a", run=DAEMON, restart="on_failure", kill="process")
    scan.start()
    scan.until("a", "down")
    daemon = Path("/proc") / (directory / "daemon").read_text().strip()
    assert daemon.exists()
