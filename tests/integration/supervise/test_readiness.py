# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When a service counts as ready: notification, check, grace; health afterwards; and what waiters are told."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import procs
import pytest
from supervised import SLEEP, Scan
from waiting import wait_until

NOTIFIER = "#!/bin/sh\nwhile ! test -e go; do sleep 0.01; done\necho >&3\nexec sleep 100000\n"


def test_notification(scan: Scan) -> None:
    directory = scan.add("a", NOTIFIER, readiness={"notification_fd": 3, "grace": 0.0})
    scan.start()
    assert not scan.until("a", "up")["ready"]
    (directory / "go").touch()
    assert scan.until("a", "ready")["ready"]


def test_notification_of_a_plain_directory(scan: Scan) -> None:
    directory = scan.add("a", NOTIFIER.replace(">&3", ">&7"), files={"notification-fd": "7\n"}, plain=True)
    scan.start()
    scan.until("a", "up")
    (directory / "go").touch()
    scan.until("a", "ready")


def test_text_without_a_newline_is_no_notification(scan: Scan) -> None:
    run = (
        "#!/bin/sh\nprintf almost >&3\n: >said\nwhile ! test -e go; do sleep 0.01; done\necho >&3\nexec sleep 100000\n"
    )
    directory = scan.add("a", run, readiness={"notification_fd": 3})
    scan.start()
    wait_until((directory / "said").exists)
    assert scan.service("a")["state"] == "up"
    (directory / "go").touch()
    scan.until("a", "ready")


def test_the_notification_of_an_earlier_run_does_not_count(scan: Scan) -> None:
    run = "#!/bin/sh\ntest -e ran && exec sleep 100000\n: >ran\necho >&3\nexit 1\n"
    scan.add("a", run, readiness={"notification_fd": 3})
    scan.start()
    report = scan.until("a", deaths=1, state="up")
    assert not report["ready"]
    assert scan.service("a")["state"] == "up"


def test_check(scan: Scan) -> None:
    directory = scan.add("a", files={"check": "#!/bin/sh\n: >asked\ntest -e good\n"}, readiness={"check": True})
    scan.start()
    wait_until((directory / "asked").exists)
    assert scan.service("a")["state"] == "up"
    (directory / "good").touch()
    scan.until("a", "ready")


def test_check_that_hangs_does_not_hang_the_supervisor(scan: Scan) -> None:
    scan.add("a", files={"check": SLEEP}, readiness={"check": True})
    scan.add("b")
    scan.start()
    scan.until("b", "ready")
    scan.until("a", "up")
    scan.control("a", "stop")
    scan.until("a", "down")
    wait_until(lambda: procs.living_in(scan.path / "a") == [])


def test_grace(scan: Scan) -> None:
    scan.add("a", readiness={"grace": 100000.0, "timeout": 200000.0})
    scan.add("b", readiness={"grace": 0.01})
    scan.start()
    scan.until("b", "ready")
    assert scan.service("a")["state"] == "up"


def test_a_service_that_dies_within_its_grace_was_never_ready(scan: Scan) -> None:
    scan.add("a", "#!/bin/sh\nexit 1\n", readiness={"grace": 100000.0, "timeout": 200000.0})
    scan.start()
    wait_until(lambda: scan.service("a")["deaths"] >= 3)
    assert not [event for event in scan.events("a") if event["event"] == "ready"]


@pytest.mark.parametrize("way", ["notification", "check"])
def test_a_service_that_does_not_get_ready_in_time_has_failed(scan: Scan, way: str) -> None:
    readiness: dict[str, Any] = {"timeout": 0.05}
    files = {}
    if way == "check":
        files["check"] = "#!/bin/sh\nexit 1\n"
        readiness["check"] = True
    else:
        readiness["notification_fd"] = 3
    scan.add("a", files=files, readiness=readiness)
    scan.start()
    # It is left running, since it may only be slow; the verdict of a wait does not wait for it.
    answer = scan.call("Wait", wishes=[{"name": "a", "state": "ready"}], timeout=60.0, deaths=2)
    assert answer["results"][0]["outcome"] == "failed"
    report = scan.service("a")
    assert (report["state"], report["deaths"]) == ("up", 0)
    assert "not ready within 0.05 s" in report["reason"]


def test_an_unhealthy_service_is_restarted(scan: Scan) -> None:
    directory = scan.add(
        "a",
        files={"health": "#!/bin/sh\ntest ! -e sick\n"},
        health={"interval": 0.02, "timeout": 5.0, "failures": 2},
    )
    scan.start()
    pid = scan.until("a", "ready")["pid"]
    (directory / "sick").touch()
    wait_until(lambda: scan.service("a")["pid"] not in (0, pid))
    (directory / "sick").unlink()
    scan.until("a", "ready")
    assert any("health" in event["event"] + event["message"] for event in scan.events("a"))


def test_a_health_check_that_hangs_counts_as_failed(scan: Scan) -> None:
    scan.add("a", files={"health": SLEEP}, health={"interval": 0.02, "timeout": 0.05, "failures": 1})
    scan.start()
    wait_until(lambda: scan.service("a")["deaths"] >= 1)


def wait(scan: Scan, name: str, state: str, timeout: float = 30.0, **options: Any) -> dict[str, Any]:
    results = scan.call("Wait", wishes=[{"name": name, "state": state}], timeout=timeout, **options)["results"]
    assert [result["name"] for result in results] == [name]
    return dict(results[0])


def test_wait_is_answered_when_ready(scan: Scan) -> None:
    directory = scan.add("a", NOTIFIER, readiness={"notification_fd": 3})
    scan.start()
    scan.until("a", "up")
    with ThreadPoolExecutor() as pool:
        waiter = pool.submit(wait, scan, "a", "ready")
        (directory / "go").touch()
        answer = waiter.result()
    assert answer["outcome"] == "reached"
    assert answer["service"]["state"] == "ready"


def test_wait_for_what_is_so_already(scan: Scan) -> None:
    scan.add("a")
    scan.add("b", files={"down": ""})
    scan.start()
    scan.until("a", "ready")
    assert wait(scan, "a", "ready")["outcome"] == "reached"
    assert wait(scan, "b", "down")["outcome"] == "reached"


def test_wait_gives_up_on_a_service_that_flaps(scan: Scan) -> None:
    scan.add("a", "#!/bin/sh\nexit 5\n", readiness={"grace": 100000.0, "timeout": 200000.0})
    scan.start()
    result = wait(scan, "a", "ready", timeout=60.0, deaths=2)
    assert result["outcome"] == "failed"
    assert result["service"]["exit"]["code"] == 5


def test_wait_gives_up_on_a_permanent_failure(scan: Scan) -> None:
    scan.add("a", "#!/bin/sh\nexit 100\n")
    scan.start()
    assert wait(scan, "a", "ready", timeout=60.0, deaths=10)["outcome"] == "failed"


def test_wait_has_an_end(scan: Scan) -> None:
    scan.add("a", readiness={"grace": 100000.0, "timeout": 200000.0})
    scan.start()
    scan.until("a", "up")
    assert wait(scan, "a", "ready", timeout=0.05)["outcome"] == "timeout"


def test_wait_for_several_is_one_answer(scan: Scan) -> None:
    names = [f"s{number}" for number in range(20)]
    for name in names:
        scan.add(name)
    scan.add("bad", "#!/bin/sh\nexit 100\n")
    scan.start()
    wishes = [{"name": name, "state": "ready"} for name in [*names, "bad"]]
    results = scan.call("Wait", wishes=wishes, timeout=60.0)["results"]
    assert {result["name"]: result["outcome"] for result in results} == {
        **dict.fromkeys(names, "reached"),
        "bad": "failed",
    }


def test_start_stop_and_wait_over_one_control_call(scan: Scan) -> None:
    scan.add("a", files={"down": ""})
    scan.add("b")
    scan.start()
    scan.until("b", "ready")
    commands = [{"name": "a", "action": "start"}, {"name": "b", "action": "stop"}]
    assert scan.call("Control", commands=commands)["errors"] == []
    wishes = [{"name": "a", "state": "ready"}, {"name": "b", "state": "down"}]
    results = scan.call("Wait", wishes=wishes, timeout=30.0)["results"]
    assert [result["outcome"] for result in results] == ["reached", "reached"]


BEATING = """#!/bin/sh
# Silent once it is told to be; readiness is told by another descriptor.
echo >&3
while ! test -e silent; do echo beat >&4; sleep 0.02; done
rm silent
exec sleep 100000
"""


@pytest.mark.parametrize("process", [{}, {"umask": 0o22}], ids=["plain", "with process state"])
def test_a_service_whose_heartbeat_stops_is_restarted(scan: Scan, process: dict[str, Any]) -> None:
    directory = scan.add(
        "a",
        run=BEATING,
        process=process,
        readiness={"notification_fd": 3},
        health={"heartbeat_fd": 4, "interval": 0.5, "timeout": 5.0, "failures": 2},
    )
    scan.start()
    first = scan.until("a", "ready")["pid"]
    # Adopted, it is still listened to.
    scan.kill_supervisor()
    scan.start()
    assert scan.until("a", "ready")["pid"] == first
    (directory / "silent").touch()
    wait_until(lambda: scan.service("a")["pid"] not in (0, first))
    assert [event["message"] for event in scan.events("a") if event["event"] == "unhealthy"] == [
        "health failed 2 times in a row"
    ]
