# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Leases in a directory on NFS: a real server, two real clients, cables that are cut.

One emulated machine is booted for all tests; `nfs_inside.py` runs there and prints what it has seen.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from testhosts import emulated

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the root tree of the machine is built as root")

#: Seconds: what the server of the machine was told, which is the time of all grants.
LEASE_TIME = 20


@pytest.fixture(scope="module")
def seen(payload: Callable[[str], Path]) -> dict[str, Any]:
    """What was seen in the machine, by step."""
    folder = payload("nfs_inside.py")
    modules = emulated.modules("nfsd", "nfsv4", "veth")
    (folder / "modules").mkdir()
    for module in modules:
        shutil.copy(module, folder / "modules")
    (folder / "modules" / "order").write_text("\n".join(module.name for module in modules))
    # What takes an emulated processor seconds.
    command = ("/usr/bin/python3", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", str(folder))
    subprocess.run(command, check=True)
    said = emulated.boot(folder, timeout=900).said
    during, over, _after = said.partition("main is over\n")
    assert over, said
    return {step.pop("step"): step for step in map(json.loads, during.splitlines())}


def test_a_directory_is_taken_only_where_all_hosts_see_it_with_a_version_that_will_do(seen: dict[str, Any]) -> None:
    said = seen["looked_at"]
    assert "of this host, and scope is hosts" in said["not mounted"]
    assert "NFS 4.0; 4.1 is the least" in said["vers=4.0"]
    assert said["vers=4.1"].startswith("['unproved'] ") and said["proved"].startswith("[] ")
    assert "'lease_time': '20 s'" in said["vers=4.1"]


def test_one_of_two_hosts_has_it(seen: dict[str, Any]) -> None:
    assert (seen["contended"]["a"], seen["contended"]["b"], seen["contended"]["b beats"]) == ("active", "standby", 0)


def test_neither_guard_nor_service_have_anything_open_that_could_hang(seen: dict[str, Any]) -> None:
    assert seen["contended"]["nfs open"] == ["holdfast-nfs"]


def test_a_clean_stop_hands_over(seen: dict[str, Any]) -> None:
    assert seen["stopped"]["gap"] > 0
    assert seen["stopped"]["token"] == 2


def test_a_killed_guard_hands_over_when_its_tree_is_gone(seen: dict[str, Any]) -> None:
    assert seen["guard_killed"]["gap"] > 0
    assert seen["guard_killed"]["token"] == 3


def test_who_is_cut_off_is_dead_before_the_other_one_begins(seen: dict[str, Any]) -> None:
    assert seen["partitioned"]["gap"] > 0
    # It ran on while nobody else could have it.
    assert 0 < seen["partitioned"]["first ran on for"] < LEASE_TIME
    assert seen["partitioned"]["token"] == 4


def test_who_comes_back_does_not_come_back_into_what_it_had(seen: dict[str, Any]) -> None:
    assert seen["healed"] == {**seen["healed"], "a": "standby", "b runs": True}


def test_a_restart_of_the_server_takes_nothing_from_the_holder(seen: dict[str, Any]) -> None:
    kept = {"same": True, "b runs": True, "a": "standby", "clients known": 2}
    assert seen["server_restarted"] == {**seen["server_restarted"], **kept}, seen["ended"]["said"]


def test_a_server_that_gives_the_lock_away_too_early_makes_no_second_holder(seen: dict[str, Any]) -> None:
    assert seen["forgotten"]["first ran on for"] < LEASE_TIME
    assert seen["forgotten"]["gap"] > 0
    assert seen["forgotten"]["token"] == 5
    if seen["forgotten"]["free after"] >= seen["forgotten"]["first ran on for"]:
        pytest.skip("the machine was too slow: the lock was not to be had before the first one had ended")


def test_at_no_time_two_ran_and_tokens_rise(seen: dict[str, Any]) -> None:
    tenures = seen["ended"]["tenures"]
    assert len(tenures) >= 5
    for before, after in zip(tenures, tenures[1:]):
        assert before[3] < after[2], (before, after)
        assert before[1] < after[1], (before, after)
