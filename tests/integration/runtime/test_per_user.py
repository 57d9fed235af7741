# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A tree of an ordinary user's own, without root: every backend that needs no init, and from one to the next."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import hosted
import procs
import pytest
from converging import SLEEP
from personal import USER, PersonalHost, ResidentHost, made
from waiting import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")

BACKENDS = ("embedded", "s6", "runit", "daemontools", "supervisord")
QUICK = {"stop_timeout": "20s"}
SPEAKS = ["/bin/sh", "-c", "echo hello; exec sleep 100000"]


@pytest.fixture
def host() -> Iterator[PersonalHost]:
    yield from made(PersonalHost)


@pytest.fixture
def resident() -> Iterator[PersonalHost]:
    reason = hosted.Machine.missing()
    if reason:
        pytest.skip(reason)
    yield from made(ResidentHost)


def owners(pid: int) -> set[str]:
    return set(procs.status(pid)["Uid"].split())


def test_services_run_as_the_user_and_move_from_one_backend_to_the_next(host: PersonalHost) -> None:
    definitions = {
        "one": {"command": SPEAKS, "log": {"format": "none"}},
        "still": {"command": SLEEP, "state": "stopped"},
    }
    with pytest.raises(AssertionError, match="an ordinary user has no init scripts"):
        host.to("openrc")
    assert not host.scan.exists()
    for count, backend in enumerate((*BACKENDS, "embedded")):
        made = host.to(backend)
        assert made["state"] == "running" and owners(made["pid"]) == {str(USER.pw_uid)}
        assert "ordinary user" in made["boot"]
        assert set(made["switched"]) == (set(definitions) if count else set())
        if not count:
            assert host.good(definitions, defaults=QUICK)["changed"]
        again = host.good(definitions, defaults=QUICK)
        assert not again["changed"], again["actions"]
        assert not host.to(backend)["changed"]
        pid = host.until("one", "ready").pid
        assert pid and owners(pid) == {str(USER.pw_uid)}
        assert host.service("still").state == "down"
        # What only root can give is refused before anything is changed.
        before = sorted(path.name for path in host.scan.iterdir())
        for key, value in {"user": "daemon", "nice": -5, "hooks": {}}.items():
            result = host.task({**definitions, "bad": {"command": SLEEP, key: value}}, defaults=QUICK)
            assert result["failed"] and not result["changed"], key
            assert f"bad: {key}" in result["msg"] and "only root can give that to a service" in result["msg"]
        assert sorted(path.name for path in host.scan.iterdir()) == before
        log = host.logs / "one" / "current"
        wait_until(lambda: log.exists() and log.read_text().splitlines()[-1:] == ["hello"])  # noqa: B023 - called at once
        assert log.stat().st_uid == USER.pw_uid
        host.control(("one", "restart"))
        wait_until(lambda: host.service("one").pid not in (None, pid))  # noqa: B023 - called at once
        host.until("one", "ready")
    assert host.to("embedded", "absent")["changed"]
    wait_until(lambda: host.pids(str(host.below)) == [])


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def looked_after(host: PersonalHost) -> None:
    """Have services that most supervisors can have only below a parent of ours: by time, by health, with all descendants."""
    home = host.base / "home"
    marks, sign, child = home / "marks", home / "well", home / "child"
    sign.touch()
    # The embedded supervisor knows one that hides by its environment, all others by being its parent.
    forgets = "" if host.backend == "embedded" else "env -i "
    hides = f"{forgets}setsid sh -c 'setsid sh -c \"echo \\$\\$ >{child}; exec sleep 100000\" &'; exec sleep 100000"
    definitions = {
        "beat": {"command": ["/bin/sh", "-c", f"echo run >>{marks}"], "type": "periodic", "interval": "1h"},
        "well": {
            "command": SLEEP,
            "health": {"check": ["/usr/bin/test", "-e", str(sign)], "interval": "50ms", "failures": 2},
        },
        "tree": {"command": ["/bin/sh", "-c", hides], "kill": "tree", "needs": ["well"]},
    }
    host.good(definitions, defaults=QUICK)
    host.until("beat", "scheduled")
    assert lines(marks) == ["run"]
    again = host.good(definitions, defaults=QUICK)
    assert not again["changed"], again["actions"]
    assert host.tell("beat", "restart").outcome == "reached"
    wait_until(lambda: lines(marks) == ["run", "run"])

    before = host.service("well").pid
    assert before and owners(before) == {str(host.uid)}
    sign.unlink()
    wait_until(lambda: host.service("well").pid not in (None, before))
    sign.touch()
    host.until("well", "ready")

    wait_until(lambda: lines(child))
    pid = host.number(int(lines(child)[0]))
    assert owners(pid) == {str(host.uid)}
    assert host.tell("tree", "stop", "down").outcome == "reached"
    procs.until_dead(pid)


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_has_a_parent_of_ours_needs_no_root(host: PersonalHost, backend: str) -> None:
    host.to(backend)
    looked_after(host)


def test_a_user_has_units_of_his_own_systemd(resident: PersonalHost) -> None:
    made_ = resident.to("systemd")
    assert made_["boot"] == "the systemd of ordinary starts the services at boot"
    looked_after(resident)
    definitions = {
        "one": {"command": SPEAKS, "log": {"format": "none"}},
        "still": {"command": SLEEP, "state": "stopped"},
    }
    resident.good(definitions, defaults=QUICK, prune=True)
    again = resident.good(definitions, defaults=QUICK, prune=True)
    assert not again["changed"], again["actions"]
    assert not resident.to("systemd")["changed"]
    pid = resident.until("one", "ready").pid
    assert pid and owners(pid) == {str(resident.uid)} and resident.service("still").state == "down"
    log = resident.logs / "one" / "current"
    wait_until(lambda: lines(log)[-1:] == ["hello"])
    for key, value in {"user": "daemon", "group": "daemon", "groups": []}.items():
        result = resident.task({**definitions, "bad": {"command": SLEEP, key: value}}, defaults=QUICK)
        assert result["failed"] and not result["changed"] and f"bad: {key}" in result["msg"], key

    # To a suite below nobody, and back.
    for backend in ("s6", "systemd", "embedded", "systemd"):
        assert set(resident.to(backend)["switched"]) == set(definitions)
        again = resident.good(definitions, defaults=QUICK)
        assert not again["changed"], again["actions"]
        assert resident.until("one", "ready").pid and resident.service("still").state == "down"
    assert resident.to("systemd", "absent")["changed"]
    left = resident.machine.do("sh", "-c", "find /home/ordinary/.config; ps -eo args | grep '[s]leep 100000' || true")
    assert left == ""


def test_what_is_stopped_is_not_stopped_again(resident: PersonalHost) -> None:
    resident.to("systemd")
    definitions = {"one": {"command": SLEEP}}
    for _time in range(2):
        assert resident.good(definitions, defaults=QUICK)["changed"]
        assert resident.until("one", "ready").pid
        for changed in (True, False):
            assert resident.to("systemd", "stopped", check=True)["changed"] is changed
            result = resident.to("systemd", "stopped")
            assert (result["changed"], result["state"], result["pid"]) == (changed, "stopped", None)


def test_what_was_a_users_is_removed_without_his_systemd(resident: PersonalHost) -> None:
    machine = resident.machine
    resident.to("systemd")
    resident.good({"one": {"command": SLEEP}}, defaults=QUICK)
    assert resident.until("one", "ready").pid
    machine.do("loginctl", "disable-linger", machine.user)
    wait_until(lambda: not machine.manages(), 120, "the user's systemd does not end")
    assert resident.to("systemd", "absent")["changed"]
    assert machine.do("sh", "-c", "find /home/ordinary/.config; ps -eo args | grep '[s]leep 100000' || true") == ""


def test_who_has_no_systemd_of_his_own_is_told_what_is_missing(resident: PersonalHost) -> None:
    machine = resident.machine
    machine.do("loginctl", "disable-linger", machine.user)
    wait_until(lambda: not machine.manages())
    with pytest.raises(AssertionError, match="loginctl enable-linger"):
        resident.to("systemd")
    assert not resident.scan.exists()
