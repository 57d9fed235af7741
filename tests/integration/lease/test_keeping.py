# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Leases that stay with a service that is about to come back (`lease.keep`)."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import procs
import pytest
from guarded import Guards, make_runtime
from leased import add_leased, phase
from supervised import Scan, make_base
from waiting import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="pid namespaces need root")

#: Seconds that no test takes, and a time that one waits for.
LONG, SHORT = "--keep=600", "--keep=1"


@pytest.fixture(params=["file", "etcd", "sanlock"])
def any_guards(request: pytest.FixtureRequest, guards: Guards) -> Guards:
    """Guards of each driver that can keep leases."""
    if request.param == "etcd":
        guards.use_etcd(request.getfixturevalue("etcd").endpoints)
    elif request.param == "sanlock":
        guards.use_sanlock(request.getfixturevalue("hosts").hosts[0])
    return guards


def line(guards: Guards, *words: str) -> subprocess.Popen[str]:
    """`a` is active and keeps its lease, `b` stands by."""
    guard = guards.start("a", *words)
    guards.until("a", "active")
    guards.start("b")
    guards.until("b", "standby")
    return guard


def end_service(guards: Guards, guard: subprocess.Popen[str]) -> None:
    """Have the service end without anybody having asked for it."""
    (service,) = wait_until(lambda: procs.children(guards.report("a")["tree"]))
    procs.kill(service)
    guard.wait(20)


def test_a_service_that_comes_back_in_time_is_the_next_holder(any_guards: Guards) -> None:
    guard = line(any_guards, LONG)
    token = any_guards.token("a")
    end_service(any_guards, guard)
    any_guards.start("a", LONG)
    any_guards.until("a", "active")
    assert any_guards.token("a") == token + 1
    assert any_guards.report("b")["phase"] == "standby"


def test_one_that_does_not_come_back_is_followed_by_the_next_in_line(any_guards: Guards) -> None:
    end_service(any_guards, line(any_guards, SHORT))
    any_guards.until("b", "active")


def test_one_that_somebody_has_stopped_leaves_nothing_behind(any_guards: Guards) -> None:
    guard = line(any_guards, LONG)
    guard.send_signal(signal.SIGTERM)
    any_guards.until("b", "active")


def test_all_of_several_resources_are_kept(any_guards: Guards) -> None:
    guard = line(any_guards, LONG, "--resource=r", "--resource=s")
    end_service(any_guards, guard)
    any_guards.start("c", "--resource=s")
    any_guards.until("c", "standby")
    any_guards.start("a", LONG, "--resource=r", "--resource=s")
    any_guards.until("a", "active")
    assert any_guards.report("c")["phase"] == any_guards.report("b")["phase"] == "standby"


def test_shared_resources_are_not_kept_from_anybody(any_guards: Guards) -> None:
    guard = any_guards.start("a", LONG, "--resource=r:shared")
    any_guards.until("a", "active")
    end_service(any_guards, guard)
    any_guards.start("b")
    any_guards.until("b", "active")


def test_a_killed_guard_keeps_nothing(guards: Guards) -> None:
    guard = line(guards, LONG)
    guard.kill()
    guards.until("b", "active")


def test_a_guard_that_is_killed_when_it_has_just_given_back_has_kept_it(
    any_guards: Guards, tmp_path_factory: pytest.TempPathFactory
) -> None:
    edits = (("holdfast/_lease/_guard/keeping.py", "driver.cancel(self._number)", "os.kill(os.getpid(), 9)"),)
    whole, any_guards.runtime = any_guards.runtime, make_runtime(tmp_path_factory.mktemp("killed"), edits)
    guard = any_guards.start("a", LONG)
    any_guards.until("a", "active")
    token = any_guards.token("a")
    any_guards.runtime = whole
    any_guards.start("b")
    any_guards.until("b", "standby")
    end_service(any_guards, guard)
    assert guard.returncode == -signal.SIGKILL
    any_guards.start("a", LONG)
    any_guards.until("a", "active")
    assert any_guards.token("a") == token + 1
    assert any_guards.report("b")["phase"] == "standby"


def both(runtime: Path, do: Callable[[Scan], object]) -> tuple[str, str]:
    """Have the supervisor of the first of two services do something; gives the phases of both afterwards."""
    base = make_base()
    one, other = Scan(runtime, make_base()), Scan(runtime, make_base())
    try:
        add_leased(one, base, "first", lease={"resources": ["r"], "keep": "10m"})
        one.start()
        wait_until(lambda: phase(one, "first")() == "active")
        add_leased(other, base, "second", lease={"resources": ["r"]})
        other.start()
        wait_until(lambda: phase(other, "second")() == "standby")
        before = one.service("first")["pid"]
        do(one)
        wait_until(
            lambda: (
                phase(other, "second")() == "active"
                or (phase(one, "first")() == "active" and one.service("first")["pid"] != before)
            ),
            30,
        )
        return phase(one, "first")(), phase(other, "second")()
    finally:
        one.close()
        other.close()
        for folder in (one.base, other.base, base):
            shutil.rmtree(folder)


def test_a_restart_keeps_it(runtime: Path) -> None:
    assert both(runtime, lambda scan: scan.control("first", "restart")) == ("active", "standby")


def test_a_stop_does_not(runtime: Path) -> None:
    assert both(runtime, lambda scan: scan.control("first", "stop"))[1] == "active"
