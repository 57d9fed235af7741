# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Services that get another name (`was`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from converging import SLEEP, Host
from waiting import wait_until


def alone(host: Host) -> list[str]:
    """A command that fails if it runs a second time meanwhile, and says in its log whenever it starts."""
    return ["/bin/sh", "-c", f"echo begins; exec flock --nonblock {host.base}/alone sleep 100000"]


def good(result: dict[str, Any]) -> dict[str, Any]:
    assert not result.get("failed"), result["msg"]
    return result


def logged(host: Host, name: str) -> list[str]:
    path: Path = host.logs / name / "current"
    return path.read_text().splitlines() if path.exists() else []


def renamed(host: Host, **more: Any) -> dict[str, Any]:
    return {"invoicing": {"command": alone(host), "was": "billing", **more}}


def start(host: Host) -> None:
    good(host.task({"billing": {"command": alone(host)}}))
    wait_until(lambda: len(logged(host, "billing")) == 1)


def test_the_former_service_stops_and_becomes_the_new_one_with_its_logs(host: Host) -> None:
    start(host)
    (host.scan / "billing" / "notes").write_text("of a person")
    foretold = host.task(renamed(host), check=True, prune=True)
    assert host.status().keys() == {"billing"}
    result = good(host.task(renamed(host), prune=True))
    assert result["actions"] == ["billing: rename", "invoicing: create", "invoicing: start"] == foretold["actions"]
    assert result["diff"] == foretold["diff"]
    assert result["services"]["billing"]["state"] == "absent"
    status = host.status()
    assert status.keys() == {"invoicing"} and status["invoicing"]["state"] == "ready"
    # It would have died if the former one had still been there.
    assert status["invoicing"]["deaths"] == 0
    wait_until(lambda: len(logged(host, "invoicing")) == 2)
    assert not (host.logs / "billing").exists()
    assert (host.scan / "invoicing" / "notes").read_text() == "of a person"
    assert [path.name for path in host.scan.iterdir() if path.name != ".holdfast"] == ["invoicing"]


def test_the_second_run_changes_nothing_and_neither_does_the_end_of_the_word(host: Host) -> None:
    start(host)
    good(host.task(renamed(host)))
    pid = host.status()["invoicing"]["pid"]
    for definitions in (renamed(host), {"invoicing": {"command": alone(host)}}):
        again = good(host.task(definitions, prune=True))
        assert (again["changed"], again["actions"], again["diff"]) == (False, [], [])
    assert host.status()["invoicing"]["pid"] == pid


def test_a_former_name_that_never_was_there_is_fine(host: Host) -> None:
    assert good(host.task(renamed(host)))["actions"] == ["invoicing: create", "invoicing: start"]


def test_a_directory_of_the_former_name_that_is_not_ours_stays(host: Host) -> None:
    (host.scan / "billing").mkdir()
    (host.scan / "billing" / "down").touch()
    host.call("Rescan")
    assert good(host.task(renamed(host)))["actions"] == ["invoicing: create", "invoicing: start"]
    assert (host.scan / "billing" / "down").exists()


def test_a_former_service_that_does_not_stop_keeps_the_new_one_from_starting(host: Host) -> None:
    deaf = ["/bin/sh", "-c", "trap '' TERM; echo deaf; exec sleep 100000"]
    # Ready when it is deaf.
    definition = {"command": deaf, "stop_timeout": 0, "kill": "process"}
    good(host.task({"billing": definition}))
    wait_until(lambda: len(logged(host, "billing")) == 1)
    result = host.task({"invoicing": {**definition, "was": "billing"}}, timeout=0.5)
    assert result["failed"] and "billing, which it was, has not stopped" in result["msg"]
    assert host.status().keys() == {"billing"} and not (host.scan / "invoicing").exists()
    host.call("Control", commands=[{"name": "billing", "action": "kill"}])
    result = good(host.task({"invoicing": {**definition, "was": "billing"}}))
    assert host.status().keys() == {"invoicing"}
    host.call("Control", commands=[{"name": "invoicing", "action": "kill"}])


def test_what_has_run_once_does_not_run_again_under_its_new_name(host: Host) -> None:
    mark = host.base / "runs"
    command = ["/bin/sh", "-c", f"echo run >>{mark}"]
    good(host.task({"billing": {"command": command, "state": "once"}}))
    wait_until(mark.exists)
    for _time in range(2):
        good(host.task({"invoicing": {"command": command, "state": "once", "was": "billing"}}))
    assert mark.read_text() == "run\n"


def test_both_names_at_once_leave_the_new_one(host: Host) -> None:
    good(host.task({"billing": {"command": SLEEP}, "invoicing": {"command": SLEEP}}))
    pid = host.status()["invoicing"]["pid"]
    result = good(host.task({"invoicing": {"command": SLEEP, "was": "billing"}}))
    assert result["actions"] == ["billing: remove"]
    assert {name: one["pid"] for name, one in host.status().items()} == {"invoicing": pid}


def test_an_interrupted_rename_is_finished_by_the_next_run(host: Host) -> None:
    start(host)
    host.call("Control", commands=[{"name": "billing", "action": "remove"}])
    wait_until(lambda: host.status()["billing"]["pid"] == 0)
    (host.scan / "billing").rename(host.scan / ".invoicing.old")
    good(host.task(renamed(host)))
    wait_until(lambda: host.status().keys() == {"invoicing"})
    assert host.status()["invoicing"]["state"] == "ready"
