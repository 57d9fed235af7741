# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Limits of control groups on a kernel that has all controllers, under a systemd that was made for cgroup v2.

One emulated machine is booted for all tests; `inside.py` runs there and prints what it has seen.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rolefiles
from converging import sent
from testhosts import emulated

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the root tree of the machine is built as root")

#: As the defaults of the role say them for root.
ROLE = {
    "__supervisor_root": True,
    "supervisor_command": "/usr/local/bin/holdfast",
    "supervisor_log_directory": "/var/log/holdfast",
    "supervisor_log_user": "holdfast-log",
    "supervisor_python": "/usr/bin/python3",
    "supervisor_run_directory": "/run/holdfast",
    "supervisor_runtime_directory": "/usr/local/lib/holdfast",
    "supervisor_scan_directory": "/etc/holdfast/services",
    "supervisor_stop_timeout": 30,
}
UNITS = ("holdfast-groups.service", "holdfast.service", "holdfast-services.service")
PYTHON = "/usr/bin/python3"
DEFAULTS = {
    "readiness": {"grace": "20ms"},
    "backoff": {"initial": "100ms", "maximum": "200ms"},
    "log": False,
    "stop_timeout": "5s",
}


def eat(name: str) -> list[str]:
    """Once the file is there, take more memory than there is."""
    return [
        PYTHON,
        "-c",
        f"""
import os, time
while not os.path.exists("/run/eat-{name}"):
    time.sleep(0.05)
taken = []
while True:
    taken.append(b"x" * 1048576)
""",
    ]


FORK = """
import os, time
made = 0
try:
    while made < 100:
        if os.fork() == 0:
            time.sleep(100000)
        made += 1
except OSError as error:
    made = f"{made} {error.strerror}"
with open("/run/forked.new", "w") as file:
    file.write(str(made))
os.rename("/run/forked.new", "/run/forked")
time.sleep(100000)
"""


def farewell(name: str) -> list[str]:
    """Say on the serial port when it is stopped."""
    words = f"trap 'echo stopped {name} >/dev/ttyS1; exit 0' TERM; while :; do sleep 1 & wait; done"
    return ["/bin/sh", "-c", words]


DEFINITIONS: dict[str, Any] = {
    "plain": {"command": ["/bin/sleep", "100000"]},
    "plenty": {"command": ["/bin/sleep", "100000"], "resources": {"memory_max": "64M", "pids_max": 50}},
    "weighed": {
        "command": ["/bin/sleep", "100000"],
        "user": "nobody",
        "resources": {"cpu_weight": 50, "io_max": {"/dev/nvme0n1": {"wbps": "1M", "riops": 100}}},
    },
    "eater": {"command": eat("eater"), "resources": {"memory_max": "32M"}},
    "leased": {
        "command": eat("leased"),
        "resources": {"memory_max": "32M"},
        "lease": {"directory": "/var/lib/leases"},
    },
    "forker": {"command": [PYTHON, "-c", FORK], "resources": {"pids_max": 6}},
    "burner": {"command": ["/bin/sh", "-c", "while :; do :; done"], "resources": {"cpu_max": "10%"}},
    "family": {
        "command": ["/bin/sh", "-c", "setsid sleep 100000 & setsid sleep 100000 & sleep 100000"],
        "kill": "tree",
        "resources": {"pids_max": 20},
    },
    "base": {"command": farewell("base"), "resources": {"pids_max": 20}},
    "upper": {"command": farewell("upper"), "resources": {"pids_max": 20}, "needs": ["base"]},
}


def task(definitions: dict[str, Any]) -> str:
    """The parameters of the module services, as the action plugin makes them."""
    folders = ROLE["supervisor_scan_directory"], ROLE["supervisor_log_directory"]
    return json.dumps(sent(definitions, DEFAULTS, *folders, timeout=40.0))


@pytest.fixture(scope="module")
def machine(payload: Callable[[str], Path]) -> dict[str, Any]:
    """What was seen in the machine, by step; "after" is what was said when it was switched off."""
    folder = payload("inside.py")
    (folder / "units").mkdir()
    for unit in UNITS:
        (folder / "units" / unit).write_text(rolefiles.fill(f"{unit}.j2", ROLE))
    more = {**DEFINITIONS, "plenty": {**DEFINITIONS["plenty"], "resources": {"memory_max": "80M", "pids_max": 77}}}
    wrong = {"bad": {"command": ["/bin/true"], "resources": {"io_max": {"/dev/missing": {"rbps": "1M"}}}}}
    for number, definitions in enumerate((DEFINITIONS, more, wrong), start=1):
        (folder / f"task-{number}.json").write_text(task(definitions))
    said = emulated.boot(folder, timeout=500).said
    during, over, after = said.partition("main is over\n")
    assert over, said
    steps = {step.pop("step"): step for step in map(json.loads, during.splitlines())}
    return {**steps, "after": after.split("\n")}


def test_the_machine_is_one_that_can_tell(machine: dict[str, Any]) -> None:
    assert {"memory", "cpu", "io", "pids"} <= set(machine["deploy"]["controllers"])
    # Later ones could have the groups below the supervisor's own unit.
    assert int(machine["deploy"]["systemd"]) < 254


def test_services_with_resources_converge_and_the_second_run_changes_nothing(machine: dict[str, Any]) -> None:
    assert machine["first"]["result"]["failed"] is None, machine["first"]
    assert machine["first"]["again"]["changed"] is False


def test_all_limits_are_the_kernels(machine: dict[str, Any]) -> None:
    assert machine["written"]["plenty"]["memory.max"] == str(64 * 1024**2)
    assert machine["written"]["plenty"]["pids.max"] == "50"
    assert machine["written"]["weighed"]["cpu.weight"] == "50"
    assert machine["written"]["weighed"]["io.max"] == "259:0 rbps=max wbps=1048576 riops=100 wiops=max"


def test_who_takes_too_much_memory_is_killed_and_nobody_else(machine: dict[str, Any]) -> None:
    assert machine["eaten"]["others went on"] is True
    for name in ("eater", "leased"):
        [line] = machine["eaten"][name]
        assert f"killed by the kernel: memory_max reached ({32 * 1024**2} bytes)" in line


def test_a_guard_is_not_in_the_group_of_its_service(machine: dict[str, Any]) -> None:
    assert machine["eaten"]["guard outside"] is True
    assert machine["eaten"]["in the group"] == 1


def test_who_forks_too_often_is_refused(machine: dict[str, Any]) -> None:
    assert machine["forked"]["forked"] == "5 Resource temporarily unavailable"


def test_who_burns_too_much_time_is_throttled(machine: dict[str, Any]) -> None:
    assert machine["throttled"]["cpu.max"] == "10000 100000"


def test_other_limits_are_given_to_the_running_process(machine: dict[str, Any]) -> None:
    seen = machine["changed"]
    assert seen["same"] is True
    assert seen["result"]["changed"] is True and seen["again"]["changed"] is False
    assert seen["result"]["actions"] == ["plenty: update"]
    assert (seen["limits"]["memory.max"], seen["limits"]["pids.max"]) == (str(80 * 1024**2), "77")


def test_what_is_not_possible_is_refused_before_anything_changes(machine: dict[str, Any]) -> None:
    seen = machine["refused"]
    assert seen["result"]["failed"] is True and seen["nothing"] is True
    assert "bad: resources" in seen["result"]["msg"] and "resources.io_max./dev/missing" in seen["result"]["msg"]


def test_services_and_limits_outlive_a_killed_supervisor(machine: dict[str, Any]) -> None:
    seen = machine["crashed"]
    assert seen["same"] is True and seen["adopted"] is True and seen["limits"] is True
    assert seen["unit"] == "active" and int(seen["restarts"]) >= 2


def test_a_restart_of_the_unit_stops_nobody(machine: dict[str, Any]) -> None:
    assert machine["restarted"]["same"] is True
    assert machine["restarted"]["groups"] == "active"


def test_stopping_a_tree_ends_all_in_the_group_and_removes_it(machine: dict[str, Any]) -> None:
    assert machine["stopped"]["members"] >= 3


def test_process_one_of_a_container_makes_groups_below_its_own(machine: dict[str, Any]) -> None:
    seen = machine["contained"]
    assert seen["memory.max"] == str(80 * 1024**2)
    assert seen["root"] == [] and seen["own"] >= 1


def test_a_shutdown_stops_services_in_their_order(machine: dict[str, Any]) -> None:
    assert [line for line in machine["after"] if line.startswith("stopped ")] == ["stopped upper", "stopped base"]
