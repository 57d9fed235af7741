# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The root process ends: in order, as with a host that is rebooted, or killed."""

from __future__ import annotations

import procs
import pytest
from conforming import Supervised, features, sh
from converging import SLEEP
from waiting import wait_until


def test_after_a_reboot_all_is_as_it_was_to_be(host: Supervised) -> None:
    host.good({"runs": {"command": SLEEP}, "rests": {"command": SLEEP, "state": "stopped"}})
    before = host.service("runs").pid
    assert before
    # Stopped by hand, and enabled: it comes back.
    host.tell("runs", "stop", "down")
    host.reboot()
    assert host.until("runs", "ready").pid not in (None, before)
    assert host.until("rests", "down").want == "down"
    assert not host.good({"runs": {"command": SLEEP}, "rests": {"command": SLEEP, "state": "stopped"}})["changed"]


@features("once")
def test_once_is_not_repeated_after_a_reboot(host: Supervised) -> None:
    marks = host.base / "marks"
    definitions = {"job": {"command": sh(f"echo >>{marks}"), "state": "once"}, "runs": {"command": SLEEP}}
    host.good(definitions)
    host.until("job", "down")
    host.reboot()
    host.until("runs", "ready")
    assert not host.good(definitions)["changed"]
    assert marks.read_text() == "\n"


def test_an_orderly_stop_leaves_no_process(host: Supervised) -> None:
    if host.process_one:
        pytest.skip("its root is the host")
    host.good({f"s{number}": {"command": SLEEP} for number in range(5)})
    pids = [service.pid for service in host.snapshot().services.values()]
    host.stop()
    for pid in pids:
        assert pid
        procs.until_dead(pid)


def test_a_killed_supervisor_never_makes_a_second_copy(host: Supervised) -> None:
    """At most one copy, whatever dies; and the same one where the backend says that it adopts."""
    if host.process_one:
        pytest.skip("its root is the host")
    lock = host.base / "lock"
    # The witness: the second of two that are alive at the same time cannot take the lock.
    script = f"exec 9>{lock}; flock -n 9 || echo second >>{host.base}/second; exec sleep 100000"
    definition = {"one": {"command": sh(script), "readiness": {"grace": "100ms"}}}
    host.good(definition)
    for _time in range(3):
        before = host.until("one", "ready").pid
        assert before
        host.kill()
        assert procs.alive(before)
        host.start()
        after = host.until("one", "ready").pid
        if host.adopts:
            assert after == before
        else:
            wait_until(lambda: not procs.alive(before))  # noqa: B023 - called at once
            assert after not in (None, before)
    assert not (host.base / "second").exists()
    assert not host.good(definition)["changed"]


def test_a_supervisor_that_is_killed_again_and_again_makes_no_second_copy(host: Supervised) -> None:
    """Starts that wait for a former copy are orphaned in their turn; only one of them may come through."""
    if host.process_one:
        pytest.skip("its root is the host")
    lock = host.base / "lock"
    # Its lock is its own: a pause that outlives it would hold the lock on, and is no copy.
    script = (
        f"exec 9>{lock}; flock -n 9 || echo second >>{host.base}/second; echo >>{host.base}/starts; "
        "trap '' TERM; while :; do sleep 0.1 9>&-; done"
    )
    definition = {"one": {"command": sh(script), "stop_timeout": "1s", "kill": "process"}}
    host.good(definition)
    wait_until((host.base / "starts").exists)
    before = host.service("one").pid
    assert before
    for _time in range(3):
        host.kill()
        host.start()
    if not host.adopts:
        wait_until(lambda: not procs.alive(before))
        wait_until(lambda: len((host.base / "starts").read_text()) > 1)
    assert (host.until("one", "ready").pid == before) is host.adopts
    assert not (host.base / "second").exists()
    assert host.tell("one", "stop", "down").outcome == "reached"


def test_a_start_that_is_stopped_while_it_waits_for_a_former_copy_leaves_it_known(host: Supervised) -> None:
    """The next start waits for that copy in its turn."""
    if host.process_one or host.adopts:
        pytest.skip("it has no start that waits for a former copy")
    lock, marks = host.base / "lock", host.base / "starts"
    script = (
        f"exec 9>{lock}; flock -n 9 || echo second >>{host.base}/second; echo >>{marks}; "
        "trap '' TERM; while :; do sleep 0.1 9>&-; done"
    )
    host.good({"one": {"command": sh(script), "stop_timeout": "4s", "kill": "process"}})
    wait_until(marks.exists)
    before = host.service("one").pid
    assert before
    host.kill()
    host.start()

    def started() -> bool:
        service = host.snapshot().services.get("one")
        return service is not None and service.pid not in (None, before)

    wait_until(started)
    host.control(("one", "stop"), ("one", "start"))
    wait_until(lambda: len(marks.read_text()) > 1)
    assert not procs.alive(before) and not (host.base / "second").exists()
    assert host.tell("one", "stop", "down").outcome == "reached"


def test_a_service_is_not_down_before_a_former_copy_is(host: Supervised) -> None:
    """A start that waits for a former copy is told to stop: nobody else would end that copy, and it would be reported down."""
    if host.process_one or host.adopts:
        pytest.skip("it has no start that waits for a former copy")
    marks = host.base / "starts"
    script = f"echo >>{marks}; trap '' TERM; while :; do sleep 0.1; done"
    host.good({"one": {"command": sh(script), "stop_timeout": "8s", "kill": "process"}})
    wait_until(marks.exists)
    before = host.service("one").pid
    assert before
    host.kill()
    host.start()

    def waits() -> bool:
        service = host.snapshot().services.get("one")
        started = service is not None and service.pid not in (None, before) and service.state == "starting"
        return started and f"process {before} " in service.reason

    wait_until(waits)
    host.control(("one", "stop"))

    def is_left() -> bool:
        service = host.service("one")
        assert service.state not in ("down", "failed") or not procs.alive(before)
        return (service.state, service.pid) == ("stopping", before) and f"process {before} " in service.reason

    # The start itself has to end first.
    wait_until(is_left)
    assert host.tell("one", "stop", "down").outcome == "reached"
    assert not procs.alive(before) and len(marks.read_text()) == 1
    assert host.service("one").state == "down" and not host.service("one").reason
