# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is particular to systemd as a backend; what it has in common with others is in tests/conformance."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import procs
from conforming import sh
from conforming_systemd import SystemdHost
from converging import SLEEP
from waiting import wait_until

LINES = sh("i=0; while [ $i -lt 100000 ]; do i=$((i+1)); echo line $i; sleep 0.001; done; exec sleep 100000")


def show(host: SystemdHost, unit: str, *properties: str) -> dict[str, str]:
    words = [f"--property={name}" for name in properties]
    lines = host.machine.do("systemctl", "show", *words, unit).splitlines()
    return {key: value for key, _unused, value in (line.partition("=") for line in lines)}


def unit(host: SystemdHost, name: str) -> str:
    return host.machine.do("cat", f"/etc/systemd/system/{name}")


def below(top: int, pids: list[int]) -> list[int]:
    """Those that descend from a process: another host of this machine may have such ones too."""

    def descends(pid: int | None) -> bool:
        return pid == top or (pid is not None and pid > 1 and descends(procs.parent_or_none(pid)))

    return [pid for pid in pids if descends(pid)]


def test_process_state_is_said_in_the_unit_and_holds_for_the_process(systemd: SystemdHost) -> None:
    definition = {
        "command": SLEEP,
        "user": "ordinary",
        "nice": 3,
        "umask": "0027",
        "limits": {"nofile": [100, 200]},
        "oom_score_adjust": 300,
        "environment": {"GREETING": "a 'b' $c"},
        "kill": "process",
        "stop_signal": "INT",
    }
    systemd.good({"one": definition})
    pid = systemd.service("one").pid
    assert pid
    status = procs.status(pid)
    ordinary = systemd.machine.do("id", "-u", "ordinary").strip()
    assert set(status["Uid"].split()) == {ordinary}
    assert status["Umask"] == "0027"
    assert os.getpriority(os.PRIO_PROCESS, pid) == 3
    assert Path(f"/proc/{pid}/oom_score_adj").read_text().strip() == "300"
    assert re.search(r"Max open files +100 +200 ", Path(f"/proc/{pid}/limits").read_text())
    environment = procs.environment(pid)
    assert environment["GREETING"] == definition["environment"]["GREETING"]
    text = unit(systemd, "holdfast-one.service")
    for line in (
        "User=ordinary",
        "Nice=3",
        "UMask=0027",
        "LimitNOFILE=100:200",
        "KillMode=process",
        "KillSignal=SIGINT",
    ):
        assert f"\n{line}\n" in text


def test_a_secret_reaches_the_service_as_it_is_and_no_unit(systemd: SystemdHost) -> None:
    value = 'two\nlines "quoted" $HOME `x` \\ 100%'
    systemd.good({"one": {"command": SLEEP, "user": "ordinary", "nice": 3, "secret_environment": {"PASSWORD": value}}})
    pid = systemd.service("one").pid
    assert pid
    wait_until(lambda: procs.environment(pid).get("PASSWORD") == value)
    ordinary = systemd.machine.do("id", "-u", "ordinary").strip()
    assert set(procs.status(pid)["Uid"].split()) == {ordinary}
    assert os.getpriority(os.PRIO_PROCESS, pid) == 3
    assert "quoted" not in unit(systemd, "holdfast-one.service")


def test_an_exact_list_of_groups_is_applied_by_the_run_script(systemd: SystemdHost) -> None:
    systemd.good({"one": {"command": SLEEP, "user": "ordinary", "groups": []}})
    pid = systemd.service("one").pid
    assert pid
    assert procs.status(pid)["Groups"] == ""
    assert procs.status(pid)["Uid"].split()[0] == systemd.machine.do("id", "-u", "ordinary").strip()


def test_killing_the_log_writer_loses_no_line_and_stops_no_service(systemd: SystemdHost) -> None:
    systemd.good({"one": {"command": LINES, "log": {"format": "none", "size": "1G"}}})
    pid = systemd.service("one").pid
    log = systemd.logs / "one" / "current"
    for _round in range(3):
        before = int(show(systemd, "holdfast.logwriter.service", "MainPID")["MainPID"])
        size = log.stat().st_size
        os.kill(systemd.machine.numbers()[before], signal.SIGKILL)
        wait_until(lambda: show(systemd, "holdfast.logwriter.service", "MainPID")["MainPID"] not in ("0", str(before)))  # noqa: B023
        wait_until(lambda: log.stat().st_size > size)  # noqa: B023
    assert systemd.service("one").pid == pid
    numbers = [int(line.split()[1]) for line in log.read_text().splitlines()]
    assert numbers == list(range(1, len(numbers) + 1))


def test_a_restart_of_the_log_writer_restarts_no_service(systemd: SystemdHost) -> None:
    systemd.good({"one": {"command": LINES}})
    pid = systemd.service("one").pid
    systemd.machine.do("systemctl", "restart", "holdfast.logwriter.service")
    assert systemd.service("one").pid == pid


def test_a_unit_that_somebody_edited_is_put_right_without_a_restart(systemd: SystemdHost) -> None:
    definition = {"one": {"command": SLEEP}}
    systemd.good(definition)
    pid, text = systemd.service("one").pid, unit(systemd, "holdfast-one.service")
    path = "/etc/systemd/system/holdfast-one.service"
    systemd.machine.do("sh", "-c", f"echo Nice=19 >>{path}; rm /etc/systemd/system/*.wants/holdfast-one.service")
    assert systemd.good(definition, check=True)["actions"] == ["one: register"]
    assert systemd.good(definition)["actions"] == ["one: register"]
    assert unit(systemd, "holdfast-one.service") == text
    assert systemd.service("one").pid == pid
    assert not systemd.good(definition)["changed"]


def test_what_systemd_was_not_told_of_the_next_run_tells_it(systemd: SystemdHost) -> None:
    systemd.good({"one": {"command": SLEEP, "nice": 1}})
    definitions = {"one": {"command": SLEEP, "nice": 3}, "two": {"command": SLEEP, "nice": 2}}
    systemd.killed_at("daemon-reload", definitions)
    assert "Nice=3" in unit(systemd, "holdfast-one.service") and "Nice=2" in unit(systemd, "holdfast-two.service")
    assert show(systemd, "holdfast-one.service", "Nice", "NeedDaemonReload") == {"Nice": "1", "NeedDaemonReload": "yes"}
    predicted = systemd.good(definitions, check=True)["actions"]
    assert "one: register" in predicted
    assert systemd.good(definitions)["actions"] == predicted
    for name, nice in (("one", 3), ("two", 2)):
        pid = systemd.service(name).pid
        assert pid and os.getpriority(os.PRIO_PROCESS, pid) == nice
    assert not systemd.good(definitions)["changed"]


def test_a_link_that_systemd_has_not_read_the_next_run_has_it_read(systemd: SystemdHost) -> None:
    stopped, started = ({"one": {"command": SLEEP, "state": state}} for state in ("stopped", "started"))
    systemd.good(stopped)
    for definitions, before, after in (
        (started, "", "multi-user.target"),
        (stopped, "multi-user.target", ""),
    ):
        systemd.killed_at("daemon-reload", definitions)
        systemd.machine.do("systemctl", "start" if after else "stop", "holdfast-one.service")
        assert show(systemd, "holdfast-one.service", "WantedBy") == {"WantedBy": before}
        predicted = systemd.good(definitions, check=True)
        result = systemd.good(definitions)
        assert result["changed"] and predicted["actions"] == result["actions"]
        assert show(systemd, "holdfast-one.service", "WantedBy") == {"WantedBy": after}
        again = systemd.good(definitions)
        assert not again["changed"], again["actions"]


def test_a_drop_in_of_the_administrator_is_his_to_have_read(systemd: SystemdHost) -> None:
    definitions = {"one": {"command": SLEEP}}
    systemd.good(definitions)
    folder = "/etc/systemd/system/holdfast-one.service.d"
    drop_in = 'mkdir -p "$1" && printf "[Service]\\nNice=%s\\n" "$2" >"$1/nice.conf"'
    try:
        systemd.machine.do("sh", "-c", f"{drop_in} && systemctl daemon-reload", "sh", folder, "3")
        assert not systemd.good(definitions)["changed"]
        systemd.machine.do("sh", "-c", drop_in, "sh", folder, "4")
        told = show(systemd, "holdfast-one.service", "Nice", "NeedDaemonReload")
        assert told == {"Nice": "3", "NeedDaemonReload": "yes"}
        again = systemd.good(definitions)
        assert not again["changed"], again["actions"]
        # Ours is still noticed beside it.
        systemd.killed_at("daemon-reload", {"one": {"command": SLEEP, "nice": 1}})
        assert "one: register" in systemd.good({"one": {"command": SLEEP, "nice": 1}}, check=True)["actions"]
    finally:
        systemd.machine.do("rm", "-r", folder)
        systemd.machine.do("systemctl", "daemon-reload")


def test_what_the_log_writer_was_not_told_of_the_next_run_tells_it(systemd: SystemdHost) -> None:
    systemd.good({"one": {"command": LINES}})
    definitions = {"one": {"command": LINES, "log": {"size": "20k"}}, "two": {"command": LINES}}
    systemd.killed_at("reload-or-restart", definitions)
    systemd.good(definitions)
    for name in definitions:
        wait_until(lambda name=name: (systemd.logs / name / "current").exists())  # type: ignore[misc]
    wait_until(lambda: list((systemd.logs / "one").glob("@*.s")))
    assert not systemd.good(definitions)["changed"]


def test_a_unit_of_somebody_else_is_not_touched(systemd: SystemdHost) -> None:
    path = "/etc/systemd/system/holdfast-one.service"
    systemd.machine.do("sh", "-c", f"echo '[Service]\nExecStart=/bin/true' >{path}")
    try:
        result = systemd.task({"one": {"command": SLEEP}})
        assert result["failed"] and not result["changed"]
        assert "one: the unit holdfast-one.service is there already and is not ours" in result["msg"]
        assert "/bin/true" in unit(systemd, "holdfast-one.service")
        assert not (systemd.scan / "one").exists()
    finally:
        systemd.machine.do("rm", path)


def test_a_stop_by_hand_is_seen_and_undone(systemd: SystemdHost) -> None:
    definition = {"one": {"command": SLEEP}}
    systemd.good(definition)
    systemd.machine.do("systemctl", "stop", "holdfast-one.service")
    assert systemd.service("one").want == "down"
    assert systemd.good(definition)["actions"] == ["one: start"]


def test_systemctl_start_waits_until_the_service_is_ready_and_tells_the_truth(systemd: SystemdHost) -> None:
    systemd.good(
        {
            "good": {"command": SLEEP, "state": "stopped", "readiness": {"grace": "300ms"}},
            "bad": {"command": sh("exit 3"), "state": "stopped", "restart": "never", "readiness": {"grace": "5s"}},
        }
    )
    systemd.machine.do("systemctl", "start", "holdfast-good.service")
    assert systemd.service("good").state == "ready"
    told = systemd.machine.do("sh", "-c", "systemctl start holdfast-bad.service 2>&1 || echo failed")
    assert "failed" in told
    bad = systemd.service("bad")
    assert bad.state == "down" and bad.exit is not None and bad.exit["code"] == 3


def test_a_start_is_not_lost_when_the_pause_before_a_restart_has_ended_while_a_stop_was_queued(
    systemd: SystemdHost,
) -> None:
    bad = systemd.base / "bad"
    definitions = {
        "one": {
            "command": sh(f"test -e {bad} && exit 1; exec sleep 100000"),
            "backoff": {"initial": "200ms", "maximum": "200ms"},
        },
        # Ends late, and before what it needs: so long the stop of that is queued.
        "other": {"command": sh("trap '' TERM; while :; do sleep 1; done"), "needs": ["one"], "stop_timeout": "5s"},
    }
    systemd.good(definitions)
    bad.touch()
    backend = systemd.client()
    assert backend.control([("one", "kill")]) == {}
    wait_until(lambda: systemd.service("one").state == "backoff")
    assert backend.control([("other", "stop"), ("one", "stop")]) == {}
    # So long that the pause is over; other is still ending then.
    told = time.monotonic()
    wait_until(lambda: time.monotonic() > told + 1)
    bad.unlink()
    assert backend.control([("one", "start")]) == {}
    systemd.until("one", "ready")
    assert systemd.service("one").want == "up"


def test_who_has_died_is_wanted_up_all_the_time(systemd: SystemdHost) -> None:
    # finish is what systemd calls the stopping of a unit.
    definition = {
        "command": sh("exit 1"),
        "finish": sh("sleep 0.3"),
        "finish_timeout": "5s",
        "readiness": {"grace": "1s"},
    }
    assert systemd.task({"one": definition}, timeout=5)["failed"]
    seen = set()

    def all_seen() -> bool:
        service = systemd.service("one")
        assert service.want == "up"
        seen.add(service.state)
        return {"finishing", "backoff"} <= seen

    wait_until(all_seen, 60)
    assert systemd.client().control([("one", "stop")]) == {}
    wait_until(lambda: systemd.service("one").state == "down")
    assert systemd.service("one").want == "down"


def test_the_guard_of_a_leased_service_starts_with_all_privileges(systemd: SystemdHost) -> None:
    lease = {"containment": "pid_namespace", "safety": "standard", "directory": str(systemd.base / "leases")}
    systemd.good({"one": {"command": SLEEP, "user": "ordinary", "lease": lease}}, timeout=60)
    guard = systemd.service("one").pid
    assert guard
    assert procs.status(guard)["Uid"].split()[0] == "0"
    ordinary = systemd.machine.do("id", "-u", "ordinary").strip()
    # Standby counts as ready: the service itself may come a moment later.
    [service] = wait_until(
        lambda: [pid for pid in below(guard, systemd.pids("100000")) if procs.status(pid)["Uid"].split()[0] == ordinary]
    )
    text = unit(systemd, "holdfast-one.service")
    assert "KillMode=mixed" in text and "User=" not in text
    systemd.good({"one": {"command": SLEEP, "state": "absent"}})
    wait_until(lambda: not procs.alive(guard) and not procs.alive(service))


def test_removal_leaves_nothing(systemd: SystemdHost) -> None:
    definitions = {
        "one": {"command": SLEEP, "secret_environment": {"A": "b"}},
        "two": {"command": ["/bin/true"], "type": "periodic", "interval": "1h"},
    }
    systemd.good(definitions)
    assert systemd.service("two").state == "scheduled"
    assert not systemd.good(definitions)["changed"]
    systemd.good({}, prune=True)
    left = systemd.machine.do(
        "sh", "-c", "ls -d /etc/systemd/system/holdfast* /etc/systemd/system/*.wants/holdfast* || true"
    )
    assert left == ""
    assert sorted(path.name for path in (systemd.scan / ".systemd").iterdir()) == ["settings.json"]
    assert "holdfast" not in systemd.machine.do("systemctl", "list-units", "--all", "--no-legend", "holdfast*")
