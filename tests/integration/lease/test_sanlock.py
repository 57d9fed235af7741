# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Guards with real sanlock daemons, each of which is a host: who gets in when, and what every death leads to.

The io_timeout is 1 s, the least that there is: a host's lease is renewed every 2 s and good for 8 s. HOLDFAST_SANLOCK_LONG=1
adds what takes longer than a minute, as sanlock waits 60 s more for the watchdog of a host that is gone.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import procs
import pytest
from guarded import PYTHON, STUBBORN, Guards, overlaps
from sanlocks import SANLOCK, Host, Storage, struck
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._lease.handle import Handle
from ansible_collections.holdfast.supervision.plugins.module_utils._lease.interface import (
    EXCLUSIVE_MODE,
    Busy,
    LeaseError,
)
from ansible_collections.holdfast.supervision.plugins.module_utils._lease.sanlock import Sanlock

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="pid namespaces need root"),
    pytest.mark.skipif(not SANLOCK, reason="there is no sanlock"),
]

long_form = pytest.mark.skipif(
    "HOLDFAST_SANLOCK_LONG" not in os.environ, reason="takes minutes: HOLDFAST_SANLOCK_LONG=1"
)

#: A service that writes down that it was asked to end, and needs a moment for it.
ORDERLY = "trap 'echo asked >> $0; sleep 0.2; echo ended >> $0; exit 0' TERM; while :; do sleep 0.05; done"


def start(guards: Guards, host: Host, name: str, *words: str, command: tuple[str, ...] = ("sleep", "1000")) -> int:
    guards.use_sanlock(host)
    return guards.start(name, *words, command=command).pid


def stubborn(guards: Guards, name: str) -> tuple[str, ...]:
    return (PYTHON, "-I", "-S", "-c", STUBBORN, str(guards.base / "beats"), name)


def orderly(guards: Guards) -> tuple[str, ...]:
    return ("/bin/sh", "-c", ORDERLY, str(guards.base / "story"))


def story(guards: Guards) -> str:
    path = guards.base / "story"
    return path.read_text() if path.exists() else ""


def beating(guards: Guards, name: str) -> bool:
    path = guards.base / "beats"
    return path.exists() and f" {name} " in path.read_text()


def keeper(guard: int) -> int:
    """The process beside the service's tree."""
    (found,) = [
        pid for pid in procs.children(guard) if Path(f"/proc/{pid}/comm").read_text().strip() == "holdfast-keeper"
    ]
    return found


def test_the_next_host_gets_it_with_a_greater_number(hosts: Storage, guards: Guards) -> None:
    one, other = hosts.hosts
    first = start(guards, one, "one", "--stop-timeout=0.2", command=stubborn(guards, "one"))
    guards.until("one", "active")
    start(guards, other, "other", command=stubborn(guards, "other"))
    guards.until("other", "standby")
    wait_until(lambda: beating(guards, "one"))
    os.kill(first, signal.SIGTERM)
    guards.until("other", "active")
    assert guards.token("other") > 1
    wait_until(lambda: beating(guards, "other"))
    assert overlaps(guards.base / "beats") == (2, [])


def test_who_is_ill_makes_way_for_a_host_that_only_looks_now_and_then(hosts: Storage, guards: Guards) -> None:
    one, other = hosts.hosts
    well, path = guards.base / "well", guards.base / "holdfast.json"
    well.touch()
    health = {"heartbeat_fd": 4, "interval": 1, "timeout": 1, "failures": 2}
    path.write_text(json.dumps({"lease": {"process": {}, "readiness": {"grace": 0}, "health": health}}))
    looks = "--parameter=poll=3"
    beat = ("/bin/sh", "-c", f"while [ -e {well} ]; do echo >&4; sleep 0.05; done; exec sleep 1000")

    def begin() -> int:
        return start(guards, one, "one", looks, f"--definition={path}", command=beat)

    ill = begin()
    guards.until("one", "active")
    start(guards, other, "other", looks)
    guards.until_in_line("other")
    well.unlink()
    procs.until_dead(ill)
    assert guards.started[0].wait() == 69
    # At once, as a supervisor does; and what was wrong is so no more.
    well.touch()
    begin()
    guards.until("other", "active")
    assert guards.token("other") > 1


def test_the_host_that_comes_first_gets_it_back_after_a_while(hosts: Storage, guards: Guards) -> None:
    one, other = hosts.hosts
    later = ("--parameter=preference=1", "--stop-timeout=0.2")
    start(guards, one, "later", *later, command=stubborn(guards, "later"))
    wait_until(lambda: beating(guards, "later"))
    start(guards, other, "sooner", "--parameter=fail_back=0.5", command=stubborn(guards, "sooner"))
    assert guards.started[0].wait(60) == 69
    assert "makes way for sooner@" in guards.complaints("later")
    # As a supervisor does; and there it stays.
    start(guards, one, "later", *later, "--parameter=fail_back=0.1", command=stubborn(guards, "later"))
    wait_until(lambda: beating(guards, "sooner"))
    guards.until_in_line("later")
    looked = guards.call("sooner", "Status")["renewals"]["count"]
    wait_until(lambda: guards.call("sooner", "Status")["renewals"]["count"] > looked + 2)
    assert guards.report("sooner")["phase"] == "active"
    assert overlaps(guards.base / "beats") == (2, [])


@pytest.mark.parametrize("victims", ["guard", "init", "keeper", "guard and keeper", "service"])
def test_whoever_is_killed_never_two(hosts: Storage, guards: Guards, victims: str) -> None:
    one, other = hosts.hosts
    guard = start(guards, one, "one", "--stop-timeout=0.2", command=stubborn(guards, "one"))
    init = guards.until("one", "active")["tree"]
    wait_until(lambda: beating(guards, "one"))
    start(guards, other, "other", command=stubborn(guards, "other"))
    guards.until("other", "standby")
    pids = {"guard": guard, "init": init, "keeper": keeper(guard), "service": procs.children(init)[0]}
    for victim in victims.split(" and "):
        procs.kill(pids[victim])
    if victims == "keeper":
        # Nobody needs it while the guard is there.
        wait_until(lambda: not procs.alive(pids["keeper"]))
        assert guards.report("other")["phase"] == "standby"
        os.kill(guard, signal.SIGTERM)
    guards.until("other", "active")
    wait_until(lambda: beating(guards, "other"))
    assert overlaps(guards.base / "beats") == (2, [])


def test_the_lease_is_kept_until_the_last_process_is_collected(hosts: Storage, guards: Guards) -> None:
    """A process that cannot go, here since its tracer does not collect it, keeps everybody else out."""
    one, other = hosts.hosts
    guard = start(guards, one, "one")
    init = guards.until("one", "active")["tree"]
    start(guards, other, "other")
    guards.until("other", "standby")
    service = procs.children(init)[0]
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.ptrace(0x4206, service, 0, 0) == 0, os.strerror(ctypes.get_errno())
    keeps = keeper(guard)
    procs.kill(guard)
    wait_until(lambda: not procs.alive(guard) and not procs.alive(service))
    # Longer than a release takes, or a look of one in line.
    time.sleep(0.5)
    assert procs.alive(keeps)
    assert guards.report("other")["phase"] == "standby"
    os.waitpid(service, 0)
    guards.until("other", "active")
    wait_until(lambda: not procs.alive(keeps))


def test_a_stopped_guard_is_killed_in_time_and_the_next_one_gets_in(hosts: Storage, guards: Guards) -> None:
    one, other = hosts.hosts
    guard = start(guards, one, "one", command=stubborn(guards, "one"))
    guards.until("one", "active")
    wait_until(lambda: beating(guards, "one"))
    start(guards, other, "other", command=stubborn(guards, "other"))
    os.kill(guard, signal.SIGSTOP)
    guards.until("other", "active")
    wait_until(lambda: beating(guards, "other"))
    assert not procs.alive(guard)
    assert overlaps(guards.base / "beats") == (2, [])


def test_what_is_taken_away_behind_its_back_ends_the_service(hosts: Storage, guards: Guards) -> None:
    guard = start(guards, hosts.hosts[0], "one")
    guards.until("one", "active")
    assert struck(hosts.hosts[0], f"{guards.base.name}/r") == guard
    wait_until(lambda: not procs.alive(guard))
    assert "was taken from us" in guards.errors("one")


def test_more_is_got_and_kept_while_it_runs(hosts: Storage, guards: Guards) -> None:
    one, other = hosts.hosts
    guard = start(guards, one, "one")
    guards.until("one", "active")
    guards.call("one", "Acquire", resource="s")
    assert guards.token("one", "s") > 0
    start(guards, other, "other", "--resource=s")
    guards.until("other", "standby")
    assert "held by" not in guards.errors("other")
    procs.kill(guard)
    guards.until("other", "active")
    guards.call("other", "Acquire", resource="r")
    guards.call("other", "Release", resource="s")
    assert [one["name"] for one in guards.report("other")["resources"]] == ["r"]


def test_who_does_not_wait_is_told_which_host_has_it(hosts: Storage, guards: Guards) -> None:
    one, other = hosts.hosts
    start(guards, one, "one")
    guards.until("one", "active")
    guards.use_sanlock(other)
    assert guards.start("other", "--no-wait").wait(20) == 75
    assert f"r: held by host 1, {os.uname().nodename}" in guards.errors("other")


# -- the daemon


def test_what_one_has_given_back_and_another_wrote_down_for_him_is_free_for_those_in_line(hosts: Storage) -> None:
    """Hosts that ask at the same time until one writes down that the other has it: the giving back is not in that place."""

    def asks(one: Sanlock, gate: threading.Barrier) -> bool:
        gate.wait()
        try:
            one.acquire()
        except LeaseError:
            return False
        one.release()
        one.register("asked", EXCLUSIVE_MODE)
        return True

    def driver(host: Host) -> Sanlock:
        one = Sanlock("t", host.parameters())
        one.register("asked", EXCLUSIVE_MODE)
        return one

    one, other = (driver(host) for host in hosts.hosts[:2])
    with ThreadPoolExecutor(2) as pool:

        def forgotten() -> bool:
            gate = threading.Barrier(2)
            got = list(pool.map(asks, (one, other), (gate, gate)))
            return got == [False, True] and bool(one.owners("asked"))

        wait_until(forgotten)
    pid = os.fork()
    if not pid:
        try:
            other.line_up()
        finally:
            os._exit(0)
    wait_until(lambda: os.waitpid(pid, os.WNOHANG)[0] == pid)
    other.acquire()
    other.release()
    assert one.owners("asked") == []


def test_a_dead_daemon_ends_the_service_in_order_at_once(fragile: Storage, guards: Guards) -> None:
    one, _other = fragile.hosts
    guard = start(guards, one, "one", command=orderly(guards))
    valid = guards.until("one", "active")
    assert valid["resources"]
    one.kill()
    wait_until(lambda: story(guards) == "asked\nended\n", 4)
    # What it held cannot be given back, and is not free before its time.
    guards.until("one", "releasing")
    wait_until(lambda: not procs.alive(guard))
    assert "the daemon sanlock has ended" in guards.errors("one")


def test_a_daemon_that_hangs_ends_the_service_before_its_time(fragile: Storage, guards: Guards) -> None:
    one, other = fragile.hosts
    guard = start(guards, one, "one", command=orderly(guards))
    guards.until("one", "active")
    space = one.daemon().space()
    assert space is not None
    one.signal(signal.SIGSTOP)
    wait_until(lambda: story(guards) == "asked\nended\n")
    wait_until(lambda: not procs.alive(guard))
    assert "does not answer" in guards.errors("one")
    # The other host does not believe it yet.
    resource = f"{guards.base.name}/r"
    assert other.daemon().hosts()[1][2] != 5, resource
    one.signal(signal.SIGCONT)


def test_what_could_not_be_given_back_on_a_broken_path_is_got_again_by_that_host(ways: Storage, guards: Guards) -> None:
    one, other = ways.hosts
    start(guards, one, "a")
    token = guards.until("a", "active")["resources"][0]["token"]
    start(guards, other, "b")
    guards.until("b", "standby")
    assert one.way is not None
    one.way.be("broken")
    guards.started[0].kill()
    wait_until(lambda: not one.daemon().clients(guards.stored()))
    wait_until(lambda: " -5 " in (one.base / "log").read_text())
    one.way.be("good")
    again = start(guards, one, "a")
    wait_until(lambda: guards.report("a")["pid"] == again)
    assert guards.until("a", "active")["resources"][0]["token"] > token
    assert guards.report("b")["phase"] == "standby"
    # And so it is given back, for everybody.
    guards.call("a", "Shutdown")
    guards.until("b", "active")


def test_storage_that_hangs_ends_the_service_before_its_time(disk: Path, guards: Guards) -> None:
    storage = Storage(1, below=disk).join()
    try:
        guard = start(guards, storage.hosts[0], "one", command=orderly(guards))
        guards.until("one", "active")
        subprocess.run(["fsfreeze", "--freeze", str(disk)], check=True)
        try:
            wait_until(lambda: story(guards) == "asked\nended\n")
            # It cannot be given back, and the guard does not wait for that any longer than it could hold it.
            wait_until(lambda: not procs.alive(guard))
        finally:
            subprocess.run(["fsfreeze", "--unfreeze", str(disk)], check=True)
        assert "sanlock has not renewed the host's lease" in guards.errors("one")
    finally:
        storage.close()


def test_a_guard_waits_for_a_daemon_that_comes_later_and_joins_by_itself(guards: Guards) -> None:
    storage = Storage(1)
    try:
        (host,) = storage.hosts
        host.end()
        start(guards, host, "one")
        wait_until(lambda: "does the daemon sanlock run?" in guards.errors("one"))
        host.start()
        assert host.daemon().space() is None
        guards.until("one", "active")
        space = host.daemon().space()
        assert space is not None
        assert (space.host, space.io_timeout) == (1, 1)
    finally:
        storage.close()


# -- what takes minutes


@long_form
def test_a_daemon_that_was_stopped_for_longer_than_its_lease_is_good_finds_nothing_of_the_service(
    fragile: Storage, guards: Guards
) -> None:
    one, other = fragile.hosts
    guard = start(guards, one, "one", "--stop-timeout=0.2", command=stubborn(guards, "one"))
    guards.until("one", "active")
    wait_until(lambda: beating(guards, "one"))
    start(guards, other, "other", command=stubborn(guards, "other"))
    guards.until("other", "standby")
    one.signal(signal.SIGSTOP)
    procs.until_dead(guard)
    stopped = time.monotonic()
    wait_until(lambda: guards.report("other")["phase"] == "active", 120)
    sys.stderr.write(f"daemon stopped, failover {time.monotonic() - stopped:.1f} s after the end of the guard\n")
    one.signal(signal.SIGCONT)
    # It has lost its lockspace, and joins anew; its next guard stands in line.
    start(guards, one, "one", command=stubborn(guards, "one"))
    wait_until(lambda: guards.report("one").get("in_line"), 120)
    wait_until(lambda: beating(guards, "other"))
    assert overlaps(guards.base / "beats") == (2, [])


@long_form
def test_a_daemon_that_comes_back_under_another_name_lets_the_next_one_in_after_its_time(
    fragile: Storage, guards: Guards
) -> None:
    (one, _other) = fragile.hosts
    guard = start(guards, one, "one", command=stubborn(guards, "one"))
    guards.until("one", "active")
    wait_until(lambda: beating(guards, "one"))
    one.kill()
    killed = time.monotonic()
    one.start()
    start(guards, one, "other", command=stubborn(guards, "other"))
    procs.until_dead(guard)
    sys.stderr.write(f"daemon started anew, guard gone after {time.monotonic() - killed:.1f} s\n")
    wait_until(lambda: beating(guards, "other"), 150)
    sys.stderr.write(f"the next one runs after {time.monotonic() - killed:.1f} s\n")
    assert overlaps(guards.base / "beats") == (2, [])


@long_form
def test_a_host_that_is_gone_is_followed_after_its_time(fragile: Storage, guards: Guards) -> None:
    one, other = fragile.hosts
    guard = start(guards, one, "one", command=stubborn(guards, "one"))
    guards.until("one", "active")
    wait_until(lambda: beating(guards, "one"))
    start(guards, other, "other", command=stubborn(guards, "other"))
    guards.until("other", "standby")
    gone = time.monotonic()
    one.kill()
    procs.kill(guard)
    wait_until(lambda: guards.report("other")["phase"] == "active", 120)
    sys.stderr.write(f"host failover after {time.monotonic() - gone:.1f} s\n")
    wait_until(lambda: beating(guards, "other"))
    assert overlaps(guards.base / "beats") == (2, [])


@long_form
def test_what_a_host_has_prepared_before_its_death_is_handed_over_when_it_counts_as_dead(
    fragile: Storage, guards: Guards
) -> None:
    one, other = fragile.hosts
    guard = start(guards, one, "one", command=stubborn(guards, "one"))
    token = guards.until("one", "active")["resources"][0]["token"]
    wait_until(lambda: beating(guards, "one"))
    start(guards, other, "other", command=stubborn(guards, "other"))
    guards.until("other", "standby")
    with Handle.attach("one", str(guards.state)) as source, Handle.attach("other", str(guards.state)) as target:
        source.prepare_out("h", target.prepare_in("h"), 600)
        one.kill()
        procs.kill(guard)

        def completed() -> bool:
            try:
                return target.complete_in("h") == {"r": token + 1}
            except Busy:
                return False

        wait_until(completed, 150)
    wait_until(lambda: beating(guards, "other"))
    assert overlaps(guards.base / "beats") == (2, [])
