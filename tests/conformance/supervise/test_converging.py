# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Converging changes what has changed, and nothing else."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import procs
import pytest
from conforming import Supervised, features, sh
from conforming_family import FamilyHost
from converging import SLEEP
from waiting import wait_until


@features("identity")
def test_a_change_restarts_its_own_service_alone(host: Supervised) -> None:
    host.good({"one": {"command": SLEEP}, "two": {"command": SLEEP}})
    before = host.snapshot().services
    result = host.good({"one": {"command": SLEEP, "environment": {"A": "1"}}, "two": {"command": SLEEP}})
    after = host.snapshot().services
    assert result["actions"] == ["one: update", "one: restart"]
    assert after["one"].pid not in (None, before["one"].pid) and after["two"].pid == before["two"].pid
    wait_until(lambda: procs.environment(after["one"].pid or 0).get("A") == "1")
    assert not result["services"]["one"]["restart_needed"]


def test_a_change_that_no_process_is_made_of_restarts_nothing(host: Supervised) -> None:
    host.good({"one": {"command": SLEEP}})
    pid = host.service("one").pid
    result = host.good({"one": {"command": SLEEP, "description": "Sleeps", "stop_timeout": "7s"}})
    assert result["actions"] == ["one: update"]
    assert host.service("one").pid == pid


def test_check_mode_says_what_a_run_does_and_does_nothing(host: Supervised) -> None:
    host.good({"stays": {"command": SLEEP}, "changes": {"command": SLEEP}, "goes": {"command": SLEEP}})
    pids = {name: service.pid for name, service in host.snapshot().services.items()}
    definitions = {
        "stays": {"command": SLEEP},
        "changes": {"command": SLEEP, "umask": "0077"},
        "new": {"command": SLEEP},
    }
    predicted = host.good(definitions, check=True, prune=True)
    assert {name: service.pid for name, service in host.snapshot().services.items()} == pids
    made = host.good(definitions, prune=True)
    assert predicted["actions"] == made["actions"] and predicted["diff"] == made["diff"]


def test_what_is_removed_leaves_nothing_behind(host: Supervised) -> None:
    host.good({"stays": {"command": SLEEP}, "goes": {"command": SLEEP}})
    pid = host.service("goes").pid
    assert pid
    result = host.good({"stays": {"command": SLEEP}}, prune=True)
    assert result["actions"] == ["goes: remove"]
    assert not procs.alive(pid)
    assert set(host.snapshot().services) == {"stays"}
    assert not [path for path in host.scan.rglob("*") if "goes" in path.name]
    wait_until(lambda: not [pid for pid in procs.pids() if "goes" in procs.working_directory(pid)])
    # The name is free again.
    host.good({"stays": {"command": SLEEP}, "goes": {"command": SLEEP}})
    assert host.service("goes").pid not in (None, pid)


def test_a_logger_that_comes_or_goes_restarts_the_service_once(host: Supervised) -> None:
    host.good({"one": {"command": SLEEP, "log": False}})
    before = host.service("one").pid
    host.good({"one": {"command": SLEEP}})
    after = host.until("one", "ready").pid
    assert after not in (None, before)
    assert not host.good({"one": {"command": SLEEP}})["changed"]


def test_secrets_reach_the_process_and_no_other_file(host: Supervised) -> None:
    value = "correct horse battery staple"
    seen = host.base / "seen"
    command = sh(f'printf %s "$PASSWORD" >{seen}; exec sleep 100000')
    definition = {"one": {"command": command, "secret_environment": {"PASSWORD": value}}}
    result = host.good(definition)
    wait_until(lambda: seen.exists() and seen.read_text() == value)
    seen.unlink()
    assert value not in str(result)
    holders = [path for path in host.base.rglob("*") if path.is_file() and value.encode() in path.read_bytes()]
    assert [path.relative_to(host.scan).as_posix() for path in holders] == ["one/env/PASSWORD"]
    assert holders[0].stat().st_mode & 0o777 == 0o600
    changed = {"one": {"command": command, "secret_environment": {"PASSWORD": "another one"}}}
    assert host.good(changed)["actions"] == ["one: update", "one: restart"]
    wait_until(lambda: seen.exists() and seen.read_text() == "another one")


@features("process")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a process to another user")
def test_the_process_has_the_state_of_its_definition(host: Supervised) -> None:
    definition = {
        "command": SLEEP,
        "user": "nobody",
        "groups": ["users"],
        "nice": 7,
        "umask": "0027",
        "limits": {"nofile": [100, 200]},
        "oom_score_adjust": 321,
        "directory": "/usr",
        "environment": {"A": "it's"},
    }
    host.good({"one": definition})
    pid = host.service("one").pid or 0
    wait_until(lambda: procs.arguments(pid) == SLEEP)
    status = procs.status(pid)
    assert status["Uid"].split() == ["65534"] * 4 and status["Gid"].split() == ["65534"] * 4
    assert status["Groups"].split() == ["100"]
    assert status["Umask"] == "0027"
    assert procs.limits(pid)["Max open files"] == ("100", "200")
    assert os.getpriority(os.PRIO_PROCESS, pid) == 7
    assert Path(f"/proc/{pid}/oom_score_adj").read_text() == "321\n"
    assert procs.working_directory(pid) == "/usr"
    environment = procs.environment(pid)
    assert (environment["A"], environment["USER"], environment["HOME"]) == ("it's", "nobody", "/nonexistent")
    assert "NOTIFY_SOCKET" not in environment


def test_what_others_have_put_into_the_tree_of_the_suite_goes_on(host: Supervised) -> None:
    """A service directory that somebody made by hand, with a logger, below the very process that supervises ours."""
    if not isinstance(host, FamilyHost):
        pytest.skip("a directory of the daemontools family is for a suite of that family")
    theirs, beside = host.suite / "theirs", host.base / "theirs"
    (beside / "log").mkdir(parents=True)
    (beside / "run").write_text(f"#!/bin/sh\necho $$ >>{host.base}/runs; echo hello; exec sleep 100000\n")
    (beside / "log" / "run").write_text(
        f"#!/bin/sh\necho $$ >>{host.base}/logs-it; while read -r line; do echo $line >>{host.base}/said; done\n"
    )
    for script in (beside / "run", beside / "log" / "run"):
        script.chmod(0o755)
    host.good({"one": {"command": SLEEP}})
    # In one step, as nobody does; the suite would see a half of it for ever.
    shutil.copytree(beside, host.suite / ".theirs")
    (host.suite / ".theirs").rename(theirs)
    host.look()
    wait_until((host.base / "said").exists)

    def alive() -> bool:
        """One of each has been started, and lives."""
        noted = [(host.base / name).read_text().split() for name in ("runs", "logs-it")]
        return all(len(pids) == 1 and procs.alive(int(pids[0])) for pids in noted)

    assert alive()
    # What we do with ours is no business of theirs.
    host.good({"one": {"command": SLEEP, "environment": {"A": "1"}}, "two": {"command": SLEEP}})
    assert set(host.snapshot().services) == {"one", "two"}
    assert host.tell("one", "restart").outcome == "reached"
    host.good({"two": {"command": SLEEP, "log": False}}, prune=True)
    assert not host.good({"two": {"command": SLEEP, "log": False}}, prune=True)["changed"]
    assert alive()
    assert (theirs / "log" / "run").read_bytes() == (beside / "log" / "run").read_bytes()
    # A definition cannot take what is theirs.
    result = host.task({"theirs": {"command": SLEEP}})
    assert result["failed"] and not result["changed"] and "theirs" in result["msg"]
    assert not (host.scan / "theirs").exists()
    assert alive()
