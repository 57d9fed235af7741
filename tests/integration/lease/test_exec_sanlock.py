# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A service that is executed in the place of its guard and is itself the process that sanlock's daemon knows."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import procs
import pytest
from guarded import PYTHON, Guards
from sanlocks import SANLOCK, Host, Storage
from waiting import wait_until

pytestmark = pytest.mark.skipif(not SANLOCK, reason="there is no sanlock")

#: Does what the text says with the descriptor of its lease, tells that it has, and stays.
SCRIPT = """
import os, socket, struct, sys, time
number = int(os.environ["HOLDFAST_LEASE_FDS"])
{}
open(sys.argv[1], "w").close()
time.sleep(1000)
"""


def start(guards: Guards, host: Host, name: str, *command: str) -> subprocess.Popen[str]:
    guards.use_sanlock(host)
    return guards.start(name, "--mode=exec", command=command or ("/bin/sleep", "1000"))


def script(guards: Guards, text: str) -> tuple[str, ...]:
    return (PYTHON, "-I", "-S", "-c", SCRIPT.format(text), str(guards.base / "done"))


def test_the_daemon_knows_the_service_itself_and_the_next_host_follows_its_death(
    hosts: Storage, guards: Guards
) -> None:
    one, other = hosts.hosts
    first = start(guards, one, "one")
    assert guards.until("one", "active")["pid"] == first.pid
    wait_until(lambda: procs.arguments(first.pid) == ["/bin/sleep", "1000"])
    assert procs.children(first.pid) == []
    assert [pid for pid, _name, _number in one.daemon().clients(f"{guards.base.name}/r")] == [first.pid]
    start(guards, other, "other")
    guards.until("other", "standby")
    first.kill()
    guards.until("other", "active")
    assert guards.token("other") > 1


def test_the_daemon_asks_the_service_to_end_when_the_lockspace_fails(fragile: Storage, guards: Guards) -> None:
    one = fragile.hosts[0]
    story = guards.base / "story"
    orderly = f"trap 'echo asked >> {story}; exit 0' TERM; echo begun >> {story}; while :; do sleep 0.05; done"
    first = start(guards, one, "one", "/bin/sh", "-c", orderly)
    wait_until(lambda: story.exists() and "begun" in story.read_text())
    # One that does not renew for 8 io_timeouts gives the lockspace up.
    one.signal(signal.SIGSTOP)
    time.sleep(8 * fragile.io_timeout + 1)
    assert first.poll() is None
    one.signal(signal.SIGCONT)
    assert first.wait(30) == 0
    assert story.read_text() == "begun\nasked\n"


def test_what_it_leaves_behind_with_the_descriptor_holds_the_lease(hosts: Storage, guards: Guards) -> None:
    one, other = hosts.hosts
    first = start(guards, one, "one", "/bin/sh", "-c", f"sleep 1000 & echo $! > {guards.base}/child; wait")
    child = int(wait_until(lambda: (guards.base / "child").exists() and (guards.base / "child").read_text().strip()))
    first.kill()
    first.wait()
    start(guards, other, "other")
    guards.until("other", "standby")
    assert procs.alive(child)
    procs.kill(child)
    guards.until("other", "active")


def test_a_closed_descriptor_is_the_hole_that_is_named(hosts: Storage, guards: Guards) -> None:
    one, other = hosts.hosts
    first = start(guards, one, "one", *script(guards, "os.close(number)"))
    wait_until((guards.base / "done").exists)
    holes = [hole["name"] for hole in guards.report("one")["holes"]]
    assert {"descriptor_closed", "left_behind", "sleep", "daemon_death", "no_watchdog"} <= set(holes)
    start(guards, other, "other")
    guards.until("other", "active")
    assert procs.alive(first.pid)


def test_the_daemon_obeys_no_word_of_the_service(hosts: Storage, guards: Guards) -> None:
    one, other = hosts.hosts
    # SHUTDOWN with force, which ends a daemon whatever it holds.
    text = 'os.write(number, struct.pack("=8I", 0x04282010, 1, 4, 0, 32, 99, 1, 0))'
    first = start(guards, one, "one", *script(guards, text))
    wait_until((guards.base / "done").exists)
    start(guards, other, "other")
    guards.until("other", "standby")
    assert [pid for pid, _name, _number in one.daemon().clients(f"{guards.base.name}/r")] == [first.pid]
    first.kill()
    guards.until("other", "active")
    assert one.process is not None
    assert one.process.poll() is None


def test_a_dead_daemon_ends_nobody_without_a_watchdog(fragile: Storage, guards: Guards) -> None:
    one = fragile.hosts[0]
    first = start(guards, one, "one")
    holes = {hole["name"]: hole["text"] for hole in guards.until("one", "active")["holes"]}
    one.kill()
    assert "nobody ends the service" in holes["daemon_death"]
    assert first.poll() is None


def test_a_host_that_is_gone_is_followed_after_its_time(fragile: Storage, guards: Guards) -> None:
    # A minute and more, of which all but a moment is spent waiting: 8 io_timeouts, and the 60 s for a watchdog that is not there.
    one, other = fragile.hosts
    first = start(guards, one, "one")
    token = guards.until("one", "active")["resources"][0]["token"]
    start(guards, other, "other")
    guards.until("other", "standby")
    gone = time.monotonic()
    one.kill()
    first.kill()
    first.wait()
    wait_until(lambda: guards.report("other")["phase"] == "active", 180)
    sys.stderr.write(f"mode exec, host failover after {time.monotonic() - gone:.1f} s\n")
    assert guards.token("other") > token


def test_one_in_line_ends_when_it_is_stopped(hosts: Storage, guards: Guards) -> None:
    one, other = hosts.hosts
    start(guards, one, "one")
    guards.until("one", "active")
    second = start(guards, other, "other")
    guards.until("other", "standby")
    second.send_signal(signal.SIGHUP)
    second.terminate()
    assert second.wait(20) == 0
    assert guards.report("other") == {}


def test_strict_refuses_and_names_all_that_is_open(hosts: Storage, guards: Guards) -> None:
    guards.use_sanlock(hosts.hosts[0])
    assert guards.start("one", "--mode=exec", "--safety=strict").wait(20) == 111
    for hole in ("descriptor_closed", "left_behind", "sleep", "daemon_death", "no_watchdog"):
        assert f"{hole}: " in guards.complaints("one")
