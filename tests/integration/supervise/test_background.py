# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A command that goes to the background is told from one that ends."""

from __future__ import annotations

from pathlib import Path

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
