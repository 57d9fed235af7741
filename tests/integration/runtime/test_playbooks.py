# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks as a user runs them, on this machine, below a folder of the test's own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from deployed import PYTHON, Deployment

Play = Callable[..., "Run"]

SERVICES = {
    "web": {"command": ["/bin/sleep", "100000"]},
    "worker": {"command": ["/bin/sleep", "100000"], "needs": ["web"]},
    "job": {"command": ["/bin/true"], "type": "periodic", "interval": "1h"},
}


class Run:
    """One run of a playbook: its exit code, its output, and the count of the recap."""

    def __init__(self, code: int, output: str) -> None:
        self.code = code
        self.output = output
        recap = output.rpartition("PLAY RECAP")[2]
        self.counts = {
            key: int(value)
            for key, equals, value in (word.partition("=") for word in recap.split())
            if equals and value.isdigit()
        }


@pytest.fixture
def play(deployment: Deployment, checkout: Path, collections_path: Path) -> Play:
    """Run a playbook of the collection with variables for a deployment below the test's folder."""
    base = deployment.base
    inventory = base / "hosts.yml"
    host = {"ansible_connection": "local", "ansible_python_interpreter": PYTHON}
    inventory.write_text(json.dumps({"all": {"hosts": {"here": host}}}))
    variables = {
        "supervisor_scan_directory": str(deployment.scan),
        "supervisor_run_directory": str(base / "holdfast" / "run"),
        "supervisor_log_directory": str(base / "holdfast" / "log"),
        "supervisor_runtime_directory": deployment.layout.root,
        "supervisor_command": str(deployment.command),
        "supervisor_timeout": 60,
        # One that is there already: nothing outside of the folder is to be changed.
        "supervisor_log_user": "nobody",
        "services_definitions": SERVICES,
    }

    def run(playbook: str, *arguments: str, **more: Any) -> Run:
        done = subprocess.run(
            [
                str(Path(sys.executable).with_name("ansible-playbook")),
                f"--inventory={inventory}",
                f"--extra-vars={json.dumps({**variables, **more})}",
                *arguments,
                f"holdfast.supervision.{playbook}",
            ],
            env={
                **os.environ,
                "ANSIBLE_COLLECTIONS_PATH": str(collections_path),
                "ANSIBLE_CONFIG": str(checkout / "ansible.cfg"),
                "ANSIBLE_NOCOLOR": "1",
                "ANSIBLE_LOCAL_TEMP": str(base / "ansible"),
                "ANSIBLE_REMOTE_TEMP": str(base / "ansible"),
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        return Run(done.returncode, done.stdout + done.stderr)

    return run


def left(deployment: Deployment) -> list[str]:
    return sorted(path.name for path in deployment.base.iterdir() if path.name not in ("ansible", "hosts.yml"))


@pytest.mark.skipif(os.path.isdir("/run/systemd/system"), reason="would write units into this machine's systemd")
@pytest.mark.parametrize(("backend", "program"), [("s6", "s6-svscan"), ("supervisord", "supervisord")])
def test_the_status_tells_what_another_supervisor_runs(
    deployment: Deployment, play: Play, backend: str, program: str
) -> None:
    if not shutil.which(program):
        pytest.skip(f"there is no {program}")
    services = {**SERVICES, "idle": {"command": ["/bin/sleep", "100000"], "state": "stopped"}}
    try:
        for playbook in ("site", "status"):
            shown = play(playbook, supervisor_backend=backend, services_definitions=services)
            assert shown.code == 0, shown.output
            for row in (r"web +ready +\d+ +yes", r"job +scheduled +\S+ +yes", "idle +down +- +no"):
                assert re.search(f"^ *- '?{row} ", shown.output, re.MULTILINE), (row, shown.output)
            assert f"supervised by {backend}" in shown.output
        # Its own records say nothing of them.
        for words in (["status"], ["stop", "--all"]):
            asked = subprocess.run([deployment.command, *words], capture_output=True, text=True, check=False)
            assert (asked.returncode, asked.stdout) == (3, "")
            assert asked.stderr.startswith(f"holdfast: {deployment.scan}: supervised by {backend}, ")
    finally:
        gone = play("remove", supervisor_backend=backend)
    assert gone.code == 0, gone.output
    assert not left(deployment)


@pytest.mark.skipif(os.path.isdir("/run/systemd/system"), reason="would write units into this machine's systemd")
def test_from_nothing_to_services_and_back(deployment: Deployment, play: Play) -> None:
    foretold = play("site", "--check", "--diff")
    assert foretold.code == 0, foretold.output
    assert "nothing is deployed here yet" in foretold.output
    assert "+exec /bin/sleep 100000" in foretold.output
    assert not left(deployment)

    first = play("site")
    assert first.code == 0, first.output
    assert first.counts["changed"] == foretold.counts["changed"] == 3
    for name in SERVICES:
        assert f"- {name} " in first.output
    assert "nothing will start it at boot" in first.output
    pids = {name: deployment.service(name)["pid"] for name in SERVICES}

    again = play("site")
    assert (again.code, again.counts["changed"]) == (0, 0), again.output
    assert {name: deployment.service(name)["pid"] for name in SERVICES} == pids

    foretold = play("remove", "--check")
    assert foretold.code == 0, foretold.output
    assert deployment.service("web")["pid"] == pids["web"]
    removed = play("remove")
    assert removed.code == 0, removed.output
    assert removed.counts["changed"] == foretold.counts["changed"]
    assert not left(deployment)
    again = play("remove")
    assert (again.code, again.counts["changed"]) == (0, 0), again.output


def test_wrong_definitions_are_told_before_anything_is_changed(deployment: Deployment, play: Play) -> None:
    refused = play("site", services_definitions={**SERVICES, "web": {"command": ["/bin/sleep", "9"], "restrat": "no"}})
    assert refused.code != 0
    assert "here: services_definitions.web.restrat: " in refused.output
    assert refused.counts["changed"] == 0
    assert not left(deployment)


@pytest.mark.skipif(os.path.isdir("/run/systemd/system"), reason="would write units into this machine's systemd")
@pytest.mark.skipif(os.geteuid() != 0, reason="root has the packages installed")
@pytest.mark.parametrize("backend", ["embedded", "s6"])
def test_a_host_keeps_the_backend_that_it_has(deployment: Deployment, play: Play, backend: str) -> None:
    auto = {"supervisor_backend": "auto"}
    foretold = play("site", "--check", **auto)
    assert foretold.code == 0, foretold.output
    assert not left(deployment)
    first = play("site", supervisor_backend=backend)
    assert first.code == 0, first.output
    assert (deployment.scan / ".s6").exists() == (backend == "s6")
    again = play("site", **auto)
    assert (again.code, again.counts["changed"]) == (0, 0), again.output
    # Running or not.
    stopped = play("site", "--tags=bootstrap,supervisor", supervisor_state="stopped", **auto)
    assert (stopped.code, stopped.counts["changed"]) == (0, 1), stopped.output
    started = play("site", **auto)
    assert started.code == 0, started.output
    assert (deployment.scan / ".s6").exists() == (backend == "s6")
    removed = play("remove", **auto)
    assert removed.code == 0, removed.output
    assert not left(deployment)


def test_a_host_that_can_not_run_it_is_told_so_in_one_sentence(deployment: Deployment, play: Play) -> None:
    old = deployment.base / "python"
    old.write_text("#!/bin/sh\necho 3.8.18\n")
    old.chmod(0o755)
    for python, sentence in (
        ("/nowhere/python3", "here: there is no working Python at /nowhere/python3: install python3"),
        (str(old), f"here: {old} is Python 3.8.18, needed is 3.9 or newer"),
    ):
        result = play("site", supervisor_python=python)
        assert result.code != 0
        assert sentence in " ".join(result.output.split()), result.output
        assert result.counts["changed"] == 0
        assert left(deployment) == ["python"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has something to lose")
def test_root_does_not_even_run_a_python_that_others_can_change(deployment: Deployment, play: Play) -> None:
    trap = deployment.base / "python"
    trap.write_text(f"#!/bin/sh\ntouch {deployment.base}/run\necho 3.11.2\n")
    trap.chmod(0o757)
    result = play("site", supervisor_python=str(trap))
    assert result.code != 0
    assert f"{trap} can be changed by others than root" in " ".join(result.output.split()), result.output
    assert left(deployment) == ["python"]
