# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What starts an ordinary user's tree when the host boots: his own systemd, where that lingers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import hosted
import procs
import pytest
from converging import SLEEP
from personal import BootedHost, Resident, made
from waiting import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")

QUICK = {"stop_timeout": "20s"}
#: What the supervisor of each backend is one of.
UNITS = {
    "embedded": {"holdfast-groups.service", "holdfast.service", "holdfast-services.service"},
    "s6": {"holdfast.s6.service"},
    "runit": {"holdfast.runit.service"},
    "daemontools": {"holdfast.daemontools.service"},
    "supervisord": {"holdfast.supervisord.service"},
}
LINGERS = "the systemd of ordinary starts"


@pytest.fixture
def host() -> Iterator[BootedHost]:
    reason = hosted.Machine.missing()
    if reason:
        pytest.skip(reason)
    yield from made(BootedHost)


def linger(host: BootedHost, wanted: bool) -> None:
    """Have the user's systemd live without a session, or end with the last one."""
    host.machine.do("loginctl", "enable-linger" if wanted else "disable-linger", host.machine.user)
    wait_until(lambda: host.machine.manages() == wanted)
    # Its socket goes first, and who lingers again meanwhile gets no other one.
    wait_until(lambda: wanted or not host.machine.ends())


def trace(host: BootedHost, name: str, **more: object) -> dict[str, object]:
    """A service that notes its start and its orderly end in a file of all."""
    script = f"""
        trap 'echo "stop {name}" >>{host.base}/home/trace; exit 0' TERM
        echo "start {name}" >>{host.base}/home/trace
        sleep 100000 & wait"""
    # More starts than stops: what an earlier life has noted is no sign of this one.
    count = f'"$(grep -c "%s {name}" {host.base}/home/trace)"'
    check = f"[ {count % 'start'} -gt {count % 'stop'} ]"
    ready = {"check": ["/bin/sh", "-c", check], "interval": "50ms"}
    return {"command": ["/bin/sh", "-c", script], "readiness": ready, **more}


def traced(host: BootedHost) -> list[str]:
    path = host.base / "home" / "trace"
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.parametrize("backend", UNITS)
def test_the_users_systemd_starts_it_at_boot(host: BootedHost, backend: str) -> None:
    predicted = host.to(backend, check=True)
    assert predicted["changed"] and not host.scan.exists()
    result = host.to(backend)
    assert predicted["actions"] == result["actions"]
    assert {f"{verb} unit {name}" for verb in ("write", "enable") for name in UNITS[backend]} <= set(result["actions"])
    assert predicted["boot"] == result["boot"]
    assert result["boot"].startswith(LINGERS) and "at boot" in result["boot"]
    for check in (True, False):
        again = host.to(backend, check=check)
        assert not again["changed"] and again["actions"] == [], again["actions"]
    host.good({"one": {"command": SLEEP}, "still": {"command": SLEEP, "state": "stopped"}}, defaults=QUICK)
    first = host.until("one", "ready").pid
    assert first and set(procs.status(first)["Uid"].split()) == {str(host.uid)}

    host.reboot()
    second = host.until("one", "ready").pid
    assert second != first and host.until("still", "down")
    assert not host.to(backend)["changed"]
    result = host.good({"one": {"command": SLEEP}, "still": {"command": SLEEP, "state": "stopped"}}, defaults=QUICK)
    assert not result["changed"], result["actions"]

    assert not {f"remove unit {name}" for name in UNITS[backend]} - set(host.to(backend, "absent")["actions"])
    left = host.machine.do("sh", "-c", "find /home/ordinary/.config; ps -eo args | grep '[s]leep 100000' || true")
    assert left == ""


def both(host: BootedHost) -> dict[str, object]:
    return {"below": trace(host, "below"), "above": trace(host, "above", needs=["below"])}


def test_they_are_stopped_in_order_when_his_systemd_ends_and_started_when_it_comes_back(host: BootedHost) -> None:
    host.to("embedded")
    host.good(both(host), defaults=QUICK)
    up = ["start below", "start above"]
    assert traced(host) == up
    linger(host, wanted=False)
    assert traced(host) == [*up, "stop above", "stop below"]
    with pytest.raises(AssertionError, match="does not run: have root run `loginctl enable-linger ordinary`"):
        host.to("embedded", check=True)
    linger(host, wanted=True)
    wait_until(lambda: traced(host)[4:] == up)
    host.until("above", "ready")
    result = host.good(both(host), defaults=QUICK)
    assert not result["changed"], result["actions"]

    # As at the end of the host.
    host.machine.do("systemctl", "stop", f"user@{host.uid}.service")
    assert traced(host)[6:] == ["stop above", "stop below"]


def test_nothing_that_becomes_of_the_supervisor_alone_reaches_the_services(host: BootedHost) -> None:
    host.to("embedded")
    host.good({"one": {"command": SLEEP}}, defaults=QUICK)
    first = host.until("one", "ready").pid

    def another(before: str) -> bool:
        # Of one moment: between two questions it may have been found dead.
        shown = host.systemctl("show", "--property=ActiveState,MainPID", "holdfast.service").split()
        return "ActiveState=active" in shown and f"MainPID={before}" not in shown

    for act in (["restart", "holdfast"], ["kill", "--signal=KILL", "--kill-who=main", "holdfast"]):
        before = host.unit("holdfast.service", "MainPID")
        host.systemctl(*act)
        wait_until(lambda before=before: another(before))  # type: ignore[misc]
        assert host.until("one", "ready").pid == first
    before = host.unit("holdfast.service", "MainPID")
    for act in (["daemon-reload"], ["daemon-reexec"]):
        host.systemctl(*act)
        # It does not listen while it executes itself anew.
        wait_until(host.machine.manages)
        assert host.until("one", "ready").pid == first and host.unit("holdfast.service", "MainPID") == before
    for check in (True, False):
        again = host.to("embedded", check=check)
        assert not again["changed"], again["actions"]

    host.machine.do(
        "sed", "-i", "s/^RestartSec=.*/RestartSec=7s/", "/home/ordinary/.config/systemd/user/holdfast.service"
    )
    for check in (True, False):
        assert host.to("embedded", check=check)["actions"] == ["write unit holdfast.service", "restart the supervisor"]
    assert host.until("one", "ready").pid == first

    # A drop-in that he wrote, and had not read since, is his.
    drop_in = 'mkdir -p "$1.d" && printf "[Service]\\nNice=%s\\n" "$2" >"$1.d/nice.conf"'
    unit = "/home/ordinary/.config/systemd/user/holdfast.service"
    host.machine.do("sh", "-c", drop_in, "sh", unit, "3")
    host.systemctl("daemon-reload")
    host.machine.do("sh", "-c", drop_in, "sh", unit, "4")
    assert host.unit("holdfast.service", "NeedDaemonReload") == "yes"
    again = host.to("embedded")
    assert not again["changed"], again["actions"]
    # A unit of ours that was written and not read is not his.
    host.machine.do("touch", unit)
    assert host.to("embedded")["actions"] == ["write unit holdfast.service", "restart the supervisor"]
    assert host.until("one", "ready").pid == first and host.unit("holdfast.service", "Nice") == "4"
    host.machine.do("rm", "-r", f"{unit}.d")
    host.systemctl("daemon-reload")

    assert host.to("embedded", "stopped")["changed"]
    assert not host.to("embedded", "stopped")["changed"]
    assert host.to("embedded")["changed"]
    assert not host.to("embedded")["changed"]


@pytest.mark.parametrize("backend", ["embedded", "s6"])
def test_one_that_does_not_linger_is_told_what_would_start_it(host: BootedHost, backend: str) -> None:
    linger(host, wanted=False)
    result = host.to(backend)
    assert (
        result["boot"].startswith("nothing will start it at boot")
        and "loginctl enable-linger ordinary" in result["boot"]
    )
    host.good({"one": {"command": SLEEP}}, defaults=QUICK)
    first = host.until("one", "ready").pid
    assert host.units() == [] and not host.to(backend)["changed"]

    # From now on it lingers: the services notice nothing.
    linger(host, wanted=True)
    predicted = host.to(backend, check=True)
    result = host.to(backend)
    assert predicted["actions"] == result["actions"] and result["boot"].startswith(LINGERS)
    assert host.until("one", "ready").pid == first
    assert host.unit(min(UNITS[backend], key=len), "ActiveState") == "active"
    again = host.to(backend)
    assert not again["changed"], again["actions"]

    # Without his systemd nothing is left of it either.
    linger(host, wanted=False)
    assert host.to(backend, "absent")["changed"]
    assert host.units() == []


#: What the documentation says for a crontab, from the user's home.
LINES = {
    "embedded": "$HOME/.holdfast/bin/holdfast supervise $HOME/.holdfast/services",
    "s6": "cd $HOME/.holdfast/services/.s6 && exec ./.begin s6-svscan $PWD",
    "supervisord": "cd $HOME/.holdfast/services/.supervisord && exec ./.begin supervisord -n -c $PWD/supervisord.conf",
}


@pytest.mark.parametrize("backend", LINES)
def test_a_line_of_a_crontab_starts_it(host: BootedHost, backend: str) -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "operations.md").read_text().replace("\n  ", " ")
    assert f"`@reboot {LINES[backend]}`" in page
    linger(host, wanted=False)
    host.to(backend)
    host.good({"one": {"command": SLEEP}}, defaults=QUICK)
    host.to(backend, "stopped")
    cron = ["env", "-i", f"HOME={host.base}/home", "PATH=/usr/bin:/bin", "/bin/sh", "-c", LINES[backend]]
    ids = [f"--reuid={host.uid}", f"--regid={host.gid}", "--init-groups"]
    host.machine.do("sh", "-c", 'setsid "$@" >/dev/null 2>&1 </dev/null &', "sh", "setpriv", *ids, *cron)
    wait_until(host.answers)
    assert host.until("one", "ready").pid
    again = host.to(backend)
    assert not again["changed"], again["actions"]


def test_a_tree_of_the_same_user_elsewhere_and_units_of_his_own_are_left_alone(host: BootedHost) -> None:
    host.to("embedded")
    unit = "/home/ordinary/.config/systemd/user/holdfast.service"
    own = host.machine.do("cat", unit)
    for text in (own.replace("/services", "/others"), "[Service]\nExecStart=/bin/true\n"):
        host.to("embedded", "absent")
        host.machine.do("sh", "-c", 'mkdir -p "${1%/*}" && printf %s "$2" >"$1"', "sh", unit, text)
        result = host.to("embedded")
        assert "units that are not ours" in result["boot"] and not host.to("embedded")["changed"]
        host.to("embedded", "absent")
        assert host.machine.do("cat", unit) == text
        host.machine.do("rm", unit)


def test_from_one_backend_to_the_next_with_units(host: BootedHost) -> None:
    definitions = {"one": {"command": SLEEP}, "still": {"command": SLEEP, "state": "stopped"}}
    for backend in ("embedded", "s6", "systemd", "supervisord", "embedded"):
        host.to(backend)
        host.good(definitions, defaults=QUICK)
        assert not host.to(backend)["changed"]
        assert host.until("one", "ready").pid and host.service("still").state == "down"
        names = {path.rpartition("/")[2] for path in host.units()}
        wanted = UNITS.get(backend, {"holdfast-one.service", "holdfast-still.service"})
        assert names - {"holdfast.logwriter.service"} == wanted
    assert host.to("embedded", "absent")["changed"]
    assert host.machine.do("sh", "-c", "find /home/ordinary/.config; ps -eo args | grep '[s]leep 100000' || true") == ""


def test_the_roles_do_so_and_take_it_away(tmp_path: Path) -> None:
    reason = hosted.Machine.missing()
    if reason:
        pytest.skip(reason)
    machine = Resident(tmp_path)
    try:
        inventory = machine.tool("inventory", "--user", machine.user)
        variables = {"services_definitions": {"one": {"command": SLEEP}}, "supervisor_timeout": 60}

        def play(playbook: str, *options: str) -> str:
            return hosted.play(tmp_path, inventory, variables, playbook, *options)

        def runs() -> bool:
            return machine.do("sh", "-c", "pgrep -u ordinary -f 'sleep 100000' || true").strip() != ""

        foretold = play("site", "--check", "--diff")
        assert "WantedBy=default.target" in foretold and not runs()
        told = play("site")
        assert "the systemd of ordinary starts it at boot" in told and runs()
        again = play("site")
        assert "changed=0" in again, again
        machine.power_cycle()
        wait_until(runs)
        again = play("site")
        assert "changed=0" in again, again
        play("remove")
        assert not runs()
        assert machine.do("sh", "-c", "find /home/ordinary/.config /home/ordinary/.holdfast 2>/dev/null || true") == ""
    finally:
        machine.end()
