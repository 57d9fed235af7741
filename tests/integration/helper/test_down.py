# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A helper that is not there and does not come back: stopped, unable to start, or given up. Callers are told at once."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import pytest
from helping import HelperProcess
from supervised import Scan, make_base
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._helper import down
from ansible_collections.holdfast.supervision.plugins.module_utils._helper.client import HelperDown

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a helper gives away what only root has")


def test_a_helper_that_was_stopped_is_told_of_at_once(helper: HelperProcess) -> None:
    helper.start(work={"argv": ["/bin/true"]})
    assert helper.call("work")["exit"] == 0
    assert helper.stop() == 0
    marker = helper.base / "run" / "down"
    # As if some time had passed since: a restart would be over.
    os.utime(marker, (1, 1))
    with pytest.raises(HelperDown, match="was stopped"):
        helper.client(pause=1000).call("work")
    helper.start()
    assert not marker.exists()
    assert helper.call("work")["exit"] == 0


def test_a_helper_that_was_stopped_a_moment_ago_may_be_about_to_come_back(helper: HelperProcess) -> None:
    helper.start(work={"argv": ["/bin/true"]})
    assert helper.stop() == 0
    caller = helper.beside(helper.client(pause=1, tries=20).call, "work")
    helper.start()
    assert caller.result(60)["exit"] == 0


def test_a_helper_that_cannot_start_is_told_of_at_once(helper: HelperProcess) -> None:
    helper.start(work={"argv": ["/bin/true"]})
    helper.kill()
    helper.configure(work={"argv": ["true"], "allow": []})
    with pytest.raises(AssertionError, match="problems"):
        helper.start()
    with pytest.raises(HelperDown, match=r"can't start: .*helper\.json: 1 problems") as caught:
        helper.client(pause=1000).call("work")
    assert "argv" not in str(caught.value)
    # Also to somebody who is there before any helper ever was.
    helper.socket.unlink()
    with pytest.raises(HelperDown):
        helper.client(first_launch=1000).call("work")


def test_a_helper_that_is_given_up_is_told_of_at_once(helper: HelperProcess, runtime: Path) -> None:
    helper.settings = {"failure_limit": {"deaths": 3, "within": 300}}
    helper.configure(work={"argv": ["/bin/true"], "idempotency": "pure"})
    base = make_base()
    scan = Scan(runtime, base)
    try:
        run = f"#!/bin/sh\nexec {helper.command} helper {helper.file}\n"
        scan.add("helper", run, failure_limit={"deaths": 3, "within": 300}, backoff={"initial": 0.1})
        scan.start()
        for death in range(3):
            scan.until("helper", "up", "ready", deaths=death)
            assert helper.client(tries=100).call("work")["exit"] == 0
            # As long as it lives, it is there; and as long as it comes back, it is about to.
            assert down.look(str(helper.socket)) == ""
            os.kill(scan.service("helper")["pid"], signal.SIGKILL)
        scan.until("helper", "failed")
        with pytest.raises(HelperDown, match="killed 3 times within 300 s, and its supervisor has given it up"):
            helper.client(pause=1000).call("work")
        scan.control("helper", "start")
        wait_until(lambda: not down.look(str(helper.socket)))
        assert helper.client(tries=100).call("work")["exit"] == 0
    finally:
        scan.close()
        shutil.rmtree(base)


def test_deaths_are_forgotten_in_time_and_by_a_stop(helper: HelperProcess) -> None:
    marker = helper.base / "run" / "down"
    helper.settings = {"failure_limit": {"deaths": 2, "within": 2}}
    helper.start(work={"argv": ["/bin/true"]})
    assert not marker.exists()
    helper.kill()
    helper.start()
    assert marker.exists()
    wait_until(lambda: not marker.exists())
    helper.kill()
    helper.start()
    assert helper.stop() == 0
    assert json.loads(marker.read_text())["state"] == "stopped"
    helper.start()
    assert not marker.exists()
