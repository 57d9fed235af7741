# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The task `services` against a real supervisor."""

from __future__ import annotations

import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from converging import SLEEP, Host
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._plan.publish import Publisher


def sh(script: str) -> list[str]:
    return ["/bin/sh", "-c", script]


#: A service that ends within this time was not ready, however busy the machine is.
PATIENT = {"grace": "20s"}


def good(result: dict[str, Any]) -> dict[str, Any]:
    assert not result.get("failed"), result["msg"]
    return result


def unchanged(host: Host, definitions: dict[str, Any], **options: Any) -> dict[str, Any]:
    """Run the task once more: nothing may change, on the disk or otherwise."""
    before, pids = host.tree(), {name: service["pid"] for name, service in host.status().items()}
    result = good(host.task(definitions, **options))
    assert not result["changed"] and result["actions"] == [] and result["diff"] == []
    assert host.tree() == before
    assert {name: service["pid"] for name, service in host.status().items()} == pids
    return result


def test_new_services_run_and_the_second_run_changes_nothing(host: Host) -> None:
    definitions = {"web": {"command": SLEEP, "needs": ["db"]}, "db": {"command": SLEEP}}
    result = good(host.task(definitions))
    assert result["changed"]
    assert sorted(result["actions"]) == ["db: create", "db: start", "web: create", "web: start"]
    status = host.status()
    for name in definitions:
        record = result["services"][name]
        assert record["state"] == status[name]["state"] == "ready"
        assert record["pid"] == status[name]["pid"] > 0
        assert record["changed"] and not record["restart_needed"] and record["exit"] is None
    again = unchanged(host, definitions)
    assert again["services"]["web"]["pid"] == status["web"]["pid"]


def test_a_service_that_came_back_before_its_new_definition_was_there_is_restarted(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = host.base / "go"
    slow = f"trap 'while [ ! -e {go} ]; do sleep 0.01; done; exit 0' TERM; while :; do sleep 0.01; done"
    good(host.task({"one": {"command": sh(slow), "stop_timeout": "1m"}}))
    before = host.status()["one"]["pid"]
    # Somebody else has it restarted: it is stopping while the task looks, and comes back while that works.
    host.call("Control", commands=[{"name": "one", "action": "restart"}])
    put_into_place = Publisher.swap

    def late(self: Publisher, name: str) -> None:
        go.touch()
        wait_until(lambda: host.status()["one"]["pid"] not in (0, None, before) and host.status()["one"]["ready"])
        put_into_place(self, name)

    monkeypatch.setattr(Publisher, "swap", late)
    changed = {"one": {"command": SLEEP}}
    assert good(host.task(changed))["services"]["one"]["actions"] == ["update", "restart"]
    monkeypatch.undo()
    unchanged(host, changed)


def test_check_mode_says_what_a_run_does_and_does_nothing(host: Host) -> None:
    good(host.task({"stays": {"command": SLEEP}, "changes": {"command": SLEEP}, "goes": {"command": SLEEP}}))
    definitions = {
        "stays": {"command": SLEEP},
        "changes": {"command": SLEEP, "nice": 5},
        "new": {"command": SLEEP},
        "rests": {"command": SLEEP, "state": "stopped"},
    }
    before, status = host.tree(), host.status()
    predicted = good(host.task(definitions, check=True, prune=True))
    assert host.tree() == before
    assert {n: s["pid"] for n, s in host.status().items()} == {n: s["pid"] for n, s in status.items()}
    assert predicted["services"]["changes"]["restart_needed"]
    made = good(host.task(definitions, prune=True))
    assert predicted["changed"] is made["changed"] is True
    assert predicted["actions"] == made["actions"]
    assert predicted["diff"] == made["diff"]
    assert predicted["unverified"] == []
    unchanged(host, definitions, prune=True)


def test_only_the_service_whose_definition_changed_is_restarted(host: Host) -> None:
    good(host.task({"one": {"command": SLEEP}, "two": {"command": SLEEP}}))
    before = host.status()
    result = good(host.task({"one": {"command": SLEEP, "environment": {"A": "1"}}, "two": {"command": SLEEP}}))
    after = host.status()
    assert result["actions"] == ["one: update", "one: restart"]
    assert after["one"]["pid"] != before["one"]["pid"]
    assert after["two"]["pid"] == before["two"]["pid"]
    assert not result["services"]["one"]["restart_needed"]


def test_on_change_reload_keeps_the_process_and_is_done_once(host: Host, tmp_path: Path) -> None:
    marks = host.base / "marks"
    run = sh(f"trap 'echo hup >> {marks}' HUP; while :; do sleep 0.02; done")
    definition = {"command": run, "on_change": "reload", "kill": "process"}
    good(host.task({"one": definition}))
    pid = host.status()["one"]["pid"]
    changed = {"one": {**definition, "environment": {"A": "1"}}}
    result = good(host.task(changed))
    assert result["actions"] == ["one: update", "one: reload"]
    wait_until(marks.exists)
    assert host.status()["one"]["pid"] == pid
    assert not result["services"]["one"]["restart_needed"]
    unchanged(host, changed)


def test_on_change_nothing_tells_that_a_restart_is_needed(host: Host) -> None:
    good(host.task({"one": {"command": SLEEP, "on_change": "nothing"}}))
    pid = host.status()["one"]["pid"]
    changed = {"one": {"command": SLEEP, "on_change": "nothing", "environment": {"A": "1"}}}
    result = good(host.task(changed))
    assert result["actions"] == ["one: update"]
    assert result["services"]["one"]["restart_needed"]
    assert host.status()["one"]["pid"] == pid
    assert unchanged(host, changed)["services"]["one"]["restart_needed"]


def test_a_changed_secret_restarts_and_is_never_shown(host: Host) -> None:
    seen = host.base / "seen"
    run = sh(f"echo $PASSWORD > {seen}; exec sleep 100000")
    good(host.task({"one": {"command": run, "secret_environment": {"PASSWORD": "up"}}}))
    file = host.scan / "one" / "env" / "PASSWORD"
    assert file.read_text() == "up"
    assert file.stat().st_mode & 0o777 == 0o600 and file.parent.stat().st_mode & 0o777 == 0o700
    wait_until(lambda: seen.exists() and seen.read_text() == "up\n")
    pid = host.status()["one"]["pid"]
    changed = {"one": {"command": run, "secret_environment": {"PASSWORD": "correct horse battery"}}}
    result = good(host.task(changed))
    assert result["actions"] == ["one: update", "one: restart"]
    assert host.status()["one"]["pid"] != pid
    assert "correct horse" not in str(result)
    entry = next(entry for entry in result["diff"] if entry["after_header"].endswith("/env/PASSWORD"))
    assert entry["after"] == "(secret changed)\n" and entry["before"] == "(secret)\n"
    wait_until(lambda: seen.read_text() == "correct horse battery\n")
    unchanged(host, changed)


def test_a_secret_that_was_is_not_shown_either(host: Host) -> None:
    command = sh("echo the word is $PASSWORD; exit 3")
    definitions = {"one": {"command": command, "secret_environment": {"PASSWORD": "open sesame"}, "readiness": PATIENT}}
    assert "the word is ********" in host.task(definitions)["msg"]
    silent = {
        "one": {**definitions["one"], "command": sh("exit 3"), "secret_environment": {"PASSWORD": "another word"}}
    }
    result = host.task(silent)
    assert result["failed"] and "the word is ********" in result["msg"] and "open sesame" not in str(result)


def test_a_service_that_does_not_come_up_fails_and_the_others_converge(host: Host) -> None:
    definitions = {
        "bad": {"command": sh("echo the reason is this; exit 3"), "readiness": PATIENT},
        "given-up": {"command": sh("echo hopeless; exit 100"), "readiness": PATIENT},
        "good": {"command": SLEEP},
    }
    result = host.task(definitions)
    assert result["failed"] and result["changed"]
    assert result["services"]["good"]["state"] == "ready"
    assert "log" not in result["services"]["good"]
    bad = result["services"]["bad"]
    assert bad["exit"]["kind"] == "exit" and bad["exit"]["code"] == 3
    assert any("the reason is this" in line for line in bad["log"])
    assert "bad: " in result["msg"] and "3" in result["msg"] and "the reason is this" in result["msg"]
    assert result["services"]["given-up"]["state"] == "failed" and "hopeless" in result["msg"]
    assert "2 of 3 services" in result["msg"]


def test_a_service_that_hangs_before_it_is_ready_fails_in_bounded_time(host: Host) -> None:
    definition = {"command": SLEEP, "readiness": {"check": ["/bin/false"], "interval": "20ms"}}
    result = host.task({"slow": definition}, timeout=0.5, defaults={})
    assert result["failed"]
    assert "slow: " in result["msg"] and "not ready within 0.5 s" in result["msg"]


def test_a_negative_time_changes_nothing(host: Host) -> None:
    result = host.task({"one": {"command": SLEEP}}, timeout=-1.0)
    assert result["failed"] and "timeout: -1" in result["msg"] and not (host.scan / "one").exists()


def test_a_service_that_did_not_come_up_fails_the_next_run_too(host: Host) -> None:
    definitions = {"bad": {"command": sh("exit 3"), "readiness": PATIENT}}
    assert host.task(definitions)["failed"]
    again = host.task(definitions)
    assert again["failed"] and not again["changed"]


def test_stopped_and_started_again(host: Host) -> None:
    good(host.task({"one": {"command": SLEEP}}))
    result = good(host.task({"one": {"command": SLEEP, "state": "stopped"}}))
    assert result["actions"] == ["one: update", "one: stop"]
    assert result["services"]["one"]["state"] == "down" and result["services"]["one"]["pid"] is None
    assert (host.scan / "one" / "down").exists()
    unchanged(host, {"one": {"command": SLEEP, "state": "stopped"}})
    result = good(host.task({"one": {"command": SLEEP}}))
    assert result["actions"] == ["one: update", "one: start"]
    assert host.status()["one"]["state"] == "ready"


def test_a_new_stopped_service_is_never_started(host: Host) -> None:
    mark = host.base / "mark"
    definitions = {"one": {"command": sh(f"touch {mark}"), "state": "stopped"}}
    assert good(host.task(definitions))["actions"] == ["one: create"]
    unchanged(host, definitions)
    assert not mark.exists()


def test_once_runs_one_time_for_each_definition(host: Host) -> None:
    runs = host.base / "runs"
    definitions = {"job": {"command": sh(f"echo run >> {runs}"), "state": "once"}}
    result = good(host.task(definitions))
    assert result["actions"] == ["job: create", "job: once"]
    wait_until(lambda: host.status()["job"]["state"] == "down")
    unchanged(host, definitions)
    assert runs.read_text() == "run\n"
    definitions["job"]["environment"] = {"A": "1"}
    assert good(host.task(definitions))["actions"] == ["job: update", "job: once"]
    wait_until(lambda: runs.read_text() == "run\nrun\n")
    unchanged(host, definitions)


def test_once_that_fails_fails_the_task(host: Host) -> None:
    result = host.task({"job": {"command": sh("echo no luck; exit 4"), "state": "once", "readiness": PATIENT}})
    assert result["failed"] and "no luck" in result["msg"]
    assert result["services"]["job"]["exit"]["code"] == 4


def test_a_job_that_need_not_stay_up_may_end(host: Host) -> None:
    definitions = {"job": {"command": ["/bin/true"], "restart": "on_failure"}}
    good(host.task(definitions))
    wait_until(lambda: host.status()["job"]["state"] == "down")
    unchanged(host, definitions)


def test_periodic_services_are_scheduled(host: Host) -> None:
    definitions = {"job": {"command": ["/bin/true"], "type": "periodic", "interval": "1h"}}
    good(host.task(definitions))
    wait_until(lambda: host.status()["job"]["state"] == "scheduled")
    unchanged(host, definitions)


def test_removed_services_are_stopped_first(host: Host) -> None:
    good(host.task({"one": {"command": SLEEP}, "two": {"command": SLEEP}}))
    pid = host.status()["one"]["pid"]
    result = good(host.task({"one": {"state": "absent"}, "two": {"command": SLEEP}}))
    assert result["actions"] == ["one: remove"]
    assert result["services"]["one"]["state"] == "absent" and result["services"]["one"]["pid"] is None
    assert not (host.scan / "one").exists() and not Path(f"/proc/{pid}").exists()
    assert set(host.status()) == {"two"}
    unchanged(host, {"one": {"state": "absent"}, "two": {"command": SLEEP}})


def test_prune_removes_what_is_ours_and_nothing_else(host: Host) -> None:
    good(host.task({"one": {"command": SLEEP}, "two": {"command": SLEEP}}))
    foreign = host.scan / ".foreign"
    foreign.mkdir()
    (foreign / "run").write_text("#!/bin/sh\nexec sleep 100000\n")
    (foreign / "run").chmod(0o755)
    foreign.rename(host.scan / "foreign")
    wait_until(lambda: "foreign" in host.status())
    unchanged(host, {"one": {"command": SLEEP}})
    result = good(host.task({"one": {"command": SLEEP}}, prune=True))
    assert result["actions"] == ["two: remove"]
    assert set(host.status()) == {"one", "foreign"}


def test_a_service_that_does_not_stop_keeps_its_directory(host: Host) -> None:
    definition = {"command": sh("trap '' TERM; while :; do sleep 0.05; done"), "stop_timeout": "1m"}
    good(host.task({"one": definition}))
    pid = host.status()["one"]["pid"]
    result = host.task({"one": {"state": "absent"}}, timeout=0.3)
    assert result["failed"] and "one: not stopped within 0.3 s" in result["msg"]
    assert (host.scan / "one" / "run").exists() and not result["changed"]
    os.kill(pid, 9)
    good(host.task({"one": {"state": "absent"}}))
    assert not (host.scan / "one").exists()


def test_a_foreign_directory_of_that_name_is_refused(host: Host) -> None:
    (host.scan / "one").mkdir()
    (host.scan / "one" / "run").write_text("#!/bin/sh\nexec sleep 100000\n")
    before = host.tree()
    result = host.task({"one": {"command": SLEEP}, "two": {"command": SLEEP}})
    assert result["failed"] and not result["changed"]
    assert "one: " in result["msg"] and "was not made by this collection" in result["msg"]
    assert not (host.scan / "two").exists()
    assert host.tree().keys() >= before.keys()
    result = host.task({"one": {"state": "absent"}})
    assert result["failed"] and (host.scan / "one" / "run").exists()


def test_everything_wrong_is_told_at_once_and_nothing_is_changed(host: Host) -> None:
    before = host.tree()
    definitions = {
        "a": {"command": ["/nowhere/program"]},
        "b": {"command": SLEEP, "user": "nobody-of-that-name"},
        "c": {"command": SLEEP, "group": "no-such-group", "directory": "/nowhere"},
        "d": {"command": SLEEP},
    }
    result = host.task(definitions)
    assert result["failed"] and not result["changed"] and result["actions"] == []
    assert len(result["problems"]) == 4
    for words in ("a: command: /nowhere/program", "b: the user 'nobody-of-that-name'", "c: the group", "c: directory"):
        assert words in result["msg"]
    assert host.tree() == before
    checked = good(host.task(definitions, check=True))
    assert len(checked["unverified"]) == 4


def test_commands_need_not_be_there_if_told_so(host: Host) -> None:
    definitions = {"a": {"command": ["/nowhere/program"], "state": "stopped"}}
    assert host.task(definitions)["failed"]
    definitions["a"]["command_check"] = False
    result = good(host.task(definitions))
    assert result["changed"] and any(text.startswith("a: ") for text in result["unverified"])


def test_a_service_enabled_by_hand_is_set_right(host: Host) -> None:
    definitions = {"one": {"command": SLEEP}}
    good(host.task(definitions))
    (host.scan / "one" / "down").touch()
    result = good(host.task(definitions))
    assert result["actions"] == ["one: update"]
    assert not (host.scan / "one" / "down").exists()


def test_a_run_file_edited_by_hand_is_set_right_and_the_process_renewed(host: Host) -> None:
    definitions = {"one": {"command": SLEEP}}
    good(host.task(definitions))
    run = host.scan / "one" / "run"
    wanted = run.read_text()
    run.write_text("#!/bin/sh\nexec sleep 5\n")
    result = good(host.task(definitions))
    assert result["actions"] == ["one: update", "one: restart"]
    assert run.read_text() == wanted
    assert any("exec sleep 5" in entry["before"] for entry in result["diff"])
    unchanged(host, definitions)


def test_what_is_not_ours_in_a_directory_survives_changes_and_removal(host: Host) -> None:
    good(host.task({"one": {"command": SLEEP, "secret_environment": {"A": "secret"}}}))
    (host.scan / "one" / "data").mkdir()
    (host.scan / "one" / "data" / "precious").write_text("gold")
    (host.scan / "one" / "env" / "BY_HAND").write_text("1")
    changed = {"one": {"command": SLEEP, "nice": 1, "secret_environment": {"A": "secret"}}}
    good(host.task(changed))
    assert (host.scan / "one" / "data" / "precious").read_text() == "gold"
    assert (host.scan / "one" / "env" / "BY_HAND").read_text() == "1"
    unchanged(host, changed)
    result = good(host.task({"one": {"state": "absent"}}))
    assert (host.scan / ".one.kept" / "data" / "precious").read_text() == "gold"
    assert not (host.scan / ".one.kept" / "env" / "A").exists()
    assert ".one.kept" in str(result["warnings"])


def test_the_supervisor_is_restarted_in_between(host: Host) -> None:
    definitions = {"one": {"command": SLEEP}}
    good(host.task(definitions))
    host.kill()
    host.start()
    wait_until(lambda: host.status()["one"]["state"] == "ready")
    unchanged(host, definitions)
    host.kill()
    result = host.task({"one": {"command": SLEEP, "nice": 1}})
    assert result["failed"] and "no supervisor runs" in result["msg"] and not result["changed"]
    host.start()


def test_a_run_that_ended_before_the_supervisor_was_told_is_finished(host: Host) -> None:
    definitions = {"one": {"command": SLEEP}}
    good(host.task(definitions))
    before = host.status()["one"]["pid"]
    changed = {"one": {"command": SLEEP, "environment": {"A": "1"}}}
    # What a run that is killed after publishing leaves behind: the same as one that must not tell anybody.
    assert good(host.task(changed, offline=True))["actions"] == ["one: update"]
    assert host.status()["one"]["pid"] == before
    result = good(host.task(changed))
    assert result["actions"] == ["one: restart"]
    assert host.status()["one"]["pid"] != before


@pytest.mark.parametrize("check", [True, False])
def test_a_bare_host(bare: Host, check: bool) -> None:
    result = bare.task({"one": {"command": SLEEP, "user": "not-made-yet"}}, check=check)
    assert not bare.scan.exists()
    if check:
        good(result)
        assert result["actions"] == ["one: create", "one: start"]
        assert len(result["unverified"]) == 3
    else:
        assert result["failed"] and "does not exist" in result["msg"]


def test_offline_renders_and_enables(idle: Host) -> None:
    definitions = {"one": {"command": SLEEP}, "two": {"command": SLEEP, "state": "stopped"}}
    assert idle.task(definitions)["failed"]
    result = good(idle.task(definitions, offline=True))
    assert result["actions"] == ["one: create", "two: create"]
    assert good(idle.task(definitions, offline=True))["actions"] == []
    # In the image there was no run directory yet, or another one.
    moved = idle.base / "moved"
    moved.mkdir()
    (idle.scan / ".holdfast").unlink()
    (idle.scan / ".holdfast").symlink_to(moved)
    idle.start()
    wait_until(lambda: idle.status()["one"]["state"] == "ready")
    assert idle.status()["two"]["state"] == "down"
    assert (moved / "supervise" / "one" / "ok").exists()
    unchanged(idle, definitions)


def test_two_runs_at_once_do_not_meet(host: Host) -> None:
    from ansible_collections.holdfast.supervision.plugins.module_utils._plan.scan import Scan

    held = Scan(str(host.scan))
    other = Scan(str(host.scan))
    assert held.lock(0) and not other.lock(0)
    # Looking is allowed meanwhile.
    good(host.task({"one": {"command": SLEEP}}, check=True))
    held.close()
    assert other.lock(0)
    other.close()


def test_a_foreign_supervisor_on_the_same_directory_is_refused(idle: Host) -> None:
    good(idle.task({"one": {"command": SLEEP}}, offline=True))
    # What runsv or supervise hold open while they run.
    supervise = idle.base / "run" / "supervise" / "one"
    supervise.mkdir(parents=True)
    os.mkfifo(supervise / "ok")
    descriptor = os.open(supervise / "ok", os.O_RDONLY | os.O_NONBLOCK)
    try:
        result = idle.task({"one": {"command": SLEEP, "nice": 1}}, offline=True)
        assert result["failed"] and "another supervisor runs on this directory" in result["msg"]
    finally:
        os.close(descriptor)


def test_a_scan_directory_that_others_can_write_is_refused(idle: Host) -> None:
    idle.scan.chmod(0o777)
    result = idle.task({"one": {"command": SLEEP}}, offline=True)
    assert result["failed"] and "can be written by others" in result["msg"]
    idle.scan.chmod(0o755)


def test_log_directories_elsewhere_are_made_for_the_log_writer(host: Host) -> None:
    place = host.base / "elsewhere"
    place.mkdir()
    definitions = {"one": {"command": sh("echo hello; exec sleep 100000"), "log": {"directory": str(place / "log")}}}
    good(host.task(definitions))
    current = place / "log" / "current"
    wait_until(lambda: current.exists() and "hello" in current.read_text())
    unchanged(host, definitions)
    definitions["one"]["log"]["directory"] = str(place / "not" / "there" / "log")
    if os.geteuid() == 0:
        os.chown(place, 12345, 12345)
        result = host.task(definitions)
        assert result["failed"] and "make " in result["msg"] and not result["changed"]


def test_a_periodic_service_is_restarted_while_it_runs(host: Host) -> None:
    definition = {"command": SLEEP, "type": "periodic", "interval": "1h"}
    good(host.task({"job": definition}))
    pid = host.status()["job"]["pid"]
    result = good(host.task({"job": {**definition, "environment": {"A": "1"}}}))
    assert result["actions"] == ["job: update", "job: restart"]
    assert host.status()["job"]["pid"] != pid


def test_a_service_that_is_late_fails_before_the_whole_time_is_over(host: Host) -> None:
    definition = {"command": SLEEP, "readiness": {"check": ["/bin/false"], "interval": "20ms", "timeout": "100ms"}}
    result = host.task({"slow": definition}, timeout=600.0, defaults={})
    assert result["failed"] and "slow: not ready within 0.1 s" in result["msg"]


def test_what_needs_a_failed_service_is_told_so(host: Host) -> None:
    definitions = {
        "db": {"command": sh("exit 100"), "readiness": PATIENT},
        "web": {"command": SLEEP, "needs": ["db"]},
    }
    result = host.task(definitions, timeout=600.0)
    assert result["failed"] and "2 of 2" in result["msg"]
    assert "needs db (failed)" in result["services"]["web"]["reason"]
    definitions["db"]["command"] = SLEEP
    definitions["db"]["readiness"] = {"grace": "20ms"}
    good(host.task(definitions))


def test_the_supervisor_dies_while_a_run_waits(host: Host) -> None:

    ready = host.base / "ready"
    check = {"check": ["/usr/bin/test", "-e", str(ready)], "interval": "20ms"}
    definitions = {"slow": {"command": SLEEP, "readiness": check}}
    with ThreadPoolExecutor() as pool:
        run = pool.submit(host.task, definitions, timeout=60.0, defaults={})
        wait_until(lambda: host.status().get("slow", {}).get("state") == "up")
        pid = host.status()["slow"]["pid"]
        host.kill()
        host.start()
        assert host.status()["slow"]["pid"] == pid
        ready.touch()
        result = good(run.result())
    assert not result["services"]["slow"]["restart_needed"]
    assert result["services"]["slow"]["pid"] == pid


def test_fifty_services_at_once(host: Host) -> None:
    definitions = {f"service-{number}": {"command": SLEEP} for number in range(50)}
    result = good(host.task(definitions))
    assert len(result["actions"]) == 100
    unchanged(host, definitions)
    half = dict(list(definitions.items())[:25])
    assert len(good(host.task(half, prune=True))["actions"]) == 25
    assert set(host.status()) == set(half)


@pytest.mark.skipif(shutil.which("runsv") is None, reason="runit is not installed")
def test_runit_on_the_same_directory_is_refused_and_left_alone(idle: Host) -> None:
    good(idle.task({"one": {"command": SLEEP}}, offline=True))
    (idle.base / "run" / "supervise").mkdir()
    runsv = subprocess.Popen(["runsv", str(idle.scan / "one")], stderr=subprocess.DEVNULL)
    try:
        status = idle.base / "run" / "supervise" / "one" / "stat"
        wait_until(lambda: status.exists() and status.read_text().startswith("run"))
        idle.start()
        for options in ({}, {"offline": True}):
            result = idle.task({"one": {"command": SLEEP, "nice": 1}}, **options)
            assert result["failed"] and not result["changed"]
            assert "another supervisor runs on this directory (it answers for one)" in result["msg"]
        assert status.read_text().startswith("run")
    finally:
        runsv.terminate()
        runsv.wait(20)
