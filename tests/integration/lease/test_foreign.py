# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A lease driver of another collection: shipped with the runtime, and used by guards, modules and the role."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from guarded import PYTHON, STUBBORN, Guards, overlaps
from plain_imports import plain_imports
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._varlink.client import VarlinkError
from ansible_collections.holdfast.supervision.plugins.plugin_utils import foreign

DRIVER = "example.locks.table"
LONG = 30

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="pid namespaces need root")


@pytest.fixture
def shipped(guards: Guards, runtime: Path) -> Iterator[Guards]:
    """Guards of a runtime that has the driver."""
    tree = Path(tempfile.mkdtemp(prefix="hf-foreign-"))
    shutil.copytree(runtime, tree, dirs_exist_ok=True)
    with plain_imports():
        files = foreign.files_of([DRIVER])
    for name, content in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(content)
    guards.runtime = tree
    guards.driver = (f"--driver={DRIVER}", f"--parameter=path={guards.base}/table", "--ttl=2")
    yield guards
    shutil.rmtree(tree)


def test_it_keeps_a_service_from_running_twice(shipped: Guards) -> None:
    history = shipped.base / "history"
    history.touch()
    beat = (PYTHON, "-I", "-S", "-c", STUBBORN, str(history))
    first = shipped.start("a", command=(*beat, "a"))
    wait_until(lambda: " a " in history.read_text(), LONG)
    shipped.start("b", command=(*beat, "b"))
    shipped.until("b", "standby")
    first.kill()
    wait_until(lambda: " b " in history.read_text(), LONG)
    assert overlaps(history) == (2, [])
    assert shipped.report("b")["driver"] == DRIVER


def test_without_it_nothing_is_started(guards: Guards) -> None:
    guards.driver = (f"--driver={DRIVER}",)
    assert guards.start("a", command=("touch", str(guards.base / "ran"))).wait(LONG) == 111
    assert "name it in supervisor_lease_drivers" in guards.complaints("a")
    assert not (guards.base / "ran").exists()


def test_what_it_only_declares_as_its_limits_the_guard_sees_to(shipped: Guards) -> None:
    driver = shipped.runtime / "holdfast/_foreign/example/locks/table.py"
    code = driver.read_text().replace("most_resources: ClassVar[int | None] = 100", "most_resources = 2")
    code = code.replace("shortest_ttl: ClassVar[float] = 1.0", "shortest_ttl = 3.0")
    # It looks at neither itself.
    code = code.replace("self.shortest_ttl <= self.ttl", "0 < self.ttl").replace(
        "if len(self._modes) >=", "if False and 0 >"
    )
    driver.write_text(code)
    assert shipped.start("a").wait(LONG) == 111
    assert f"driver {DRIVER} needs 3 s at least, not 2" in shipped.complaints("a")
    shipped.driver = (*shipped.driver, "--ttl=4")
    assert shipped.start("b", "--resource=r", "--resource=s", "--resource=t").wait(LONG) == 111
    assert f"driver {DRIVER} can keep 2 for one service at most, not 3" in shipped.complaints("b")
    shipped.start("c", "--resource=r", "--resource=s")
    shipped.until("c", "active")
    with pytest.raises(VarlinkError) as refused:
        shipped.call("c", "Acquire", resource="t")
    assert "can keep 2 for one service at most" in str(refused.value.parameters)


def test_what_it_does_not_understand_is_its_own_error(shipped: Guards) -> None:
    assert shipped.start("a", "--parameter=colour=blue").wait(LONG) == 111
    assert f"driver {DRIVER}: unknown parameter colour; it knows: path, ttl" in shipped.complaints("a")


def _play(base: Path, collections: Path, *plays: dict[str, object]) -> subprocess.CompletedProcess[str]:
    (base / "play.yml").write_text(yaml.safe_dump(list(plays)))
    third = Path(__file__).resolve().parents[2] / "third"
    environment = {
        **os.environ,
        "HOME": str(base),
        "ANSIBLE_HOME": str(base / "home"),
        "ANSIBLE_COLLECTIONS_PATH": f"{collections}:{third}",
        "ANSIBLE_NOCOLOR": "1",
    }
    command = [sys.executable, "-m", "ansible", "playbook", "-i", "here,", "-c", "local"]
    command += ["-e", f"ansible_python_interpreter={PYTHON}", str(base / "play.yml")]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=180)


@pytest.fixture
def base() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="hf-foreign-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def _install(base: Path, *names: str) -> dict[str, object]:
    return {
        "holdfast.supervision.runtime": {
            "directory": str(base / "lib"),
            "python": PYTHON,
            "lease_drivers": list(names),
        }
    }


def test_the_role_proves_it_as_any_other(base: Path, collections_path: Path) -> None:
    report = {"dest": str(base / "result"), "content": "{{ leases_result }}"}
    play = {
        "hosts": "all",
        "gather_facts": False,
        "vars": {
            "leases_driver": DRIVER,
            "leases_parameters": {"path": str(base / "table")},
            "leases_scope": "host",
            "leases_runtime_directory": str(base / "lib"),
            "leases_scan_directory": str(base / "scan"),
            "leases_python": PYTHON,
        },
        "pre_tasks": [_install(base, DRIVER)],
        "roles": ["holdfast.supervision.leases"],
        "post_tasks": [{"ansible.builtin.copy": report}],
    }
    done = _play(base, collections_path, play)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((base / "result").read_text())["driver"] == DRIVER


def test_one_that_is_not_there_is_an_error_before_the_host_has_changed(base: Path, collections_path: Path) -> None:
    play = {"hosts": "all", "gather_facts": False, "tasks": [_install(base, "no.such.driver")]}
    done = _play(base, collections_path, play)
    assert done.returncode != 0
    assert "there is no lease driver no.such.driver here" in done.stdout
    assert not (base / "lib").exists()


def test_a_service_that_names_one_the_runtime_lacks_is_refused_before_anything_changes(
    base: Path, collections_path: Path
) -> None:
    lease = {"driver": DRIVER, "parameters": {"path": str(base / "table")}}
    (base / "services").mkdir(0o755)
    services = {
        "holdfast.supervision.services": {
            "services": {"billing": {"command": ["/bin/sleep", "100000"], "lease": lease}},
            "scan_directory": str(base / "services"),
            "runtime_directory": str(base / "lib"),
            "log_directory": str(base / "log"),
            "offline": True,
        },
        "register": "result",
    }
    told = {"ansible.builtin.debug": {"msg": "{{ result.unverified | default([]) }}"}}
    play = {"hosts": "all", "gather_facts": False, "tasks": [_install(base), services, told]}
    refused = _play(base, collections_path, play)
    assert refused.returncode != 0
    assert f"billing: services.billing.lease.driver: the lease driver {DRIVER} is not in the runtime" in refused.stdout
    assert "name it in supervisor_lease_drivers" in refused.stdout
    assert not list((base / "services").iterdir())

    # In check mode, what the role is going to ship is taken for granted, and said.
    play["vars"] = {"supervisor_lease_drivers": [DRIVER]}
    checked = _play(base, collections_path, {**play, "check_mode": True})
    assert checked.returncode == 0, checked.stdout
    assert f"{DRIVER} is not in the runtime of this host ({base}/lib) yet" in " ".join(checked.stdout.split())

    done = _play(base, collections_path, {**play, "tasks": [_install(base, DRIVER), services]})
    assert done.returncode == 0, done.stdout
    assert (base / "services/billing/run").exists()
