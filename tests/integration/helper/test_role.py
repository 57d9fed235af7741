# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role helper and the module helper_call, from a playbook to a supervised helper."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import procs
import pytest
import yaml
from converging import Host
from helping import PYTHON, STRANGER
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._helper.client import Helper

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a helper gives away what only root has")


@pytest.fixture
def host(runtime: Path) -> Iterator[Host]:
    """A host with a supervisor, and the command of the runtime."""
    base = Path(tempfile.mkdtemp(prefix="hf-helper-role-"))
    base.chmod(0o755)
    made = Host(runtime, base)
    made.prepare()
    (base / "holdfast").write_text(f'#!/bin/sh\nexec {PYTHON} -I -S {runtime}/__main__.py "$@"\n')
    (base / "holdfast").chmod(0o755)
    made.start()
    yield made
    made.close()
    shutil.rmtree(base)


class Play:
    """Plays with the roles helper and services."""

    def __init__(self, folder: Path, collections: Path, host: Host) -> None:
        self._folder = folder
        self._collections = collections
        self._host = host
        #: The files of functions, path to content.
        self.files: dict[str, str] = {}
        self.operations_file = host.base / "helper.json"

    def run(self, operations: dict[str, Any], *options: str, tasks: list[Any] | None = None) -> tuple[int, str]:
        base = self._host.base
        play = {
            "hosts": "all",
            "gather_facts": False,
            "vars": {
                "helper_operations": operations,
                "helper_files": self.files,
                "helper_file": str(self.operations_file),
                "helper_directory": str(base / "helper"),
                "helper_jobs_directory": str(base / "jobs" / "kept"),
                "helper_command": str(base / "holdfast"),
                "services_scan_directory": str(self._host.scan),
                "services_log_directory": str(self._host.logs),
                "services_runtime_directory": str(base / "lib"),
            },
            "roles": ["holdfast.supervision.helper", "holdfast.supervision.services"],
            "tasks": tasks or [],
        }
        (self._folder / "play.yml").write_text(yaml.safe_dump([play]))
        environment = {
            **os.environ,
            "HOME": str(self._folder),
            "ANSIBLE_HOME": str(self._folder / "home"),
            "ANSIBLE_COLLECTIONS_PATH": str(self._collections),
            "ANSIBLE_LOCALHOST_WARNING": "false",
        }
        command = [sys.executable, "-m", "ansible", "playbook", "-i", "here,", "-c", "local"]
        command += ["-e", f"ansible_python_interpreter={PYTHON}", *options, str(self._folder / "play.yml")]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=180)
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
def play(tmp_path: Path, collections_path: Path, host: Host) -> Play:
    return Play(tmp_path, collections_path, host)


def test_the_helper_is_deployed_used_changed_and_removed(play: Play, host: Host) -> None:
    echo = {"argv": ["/bin/echo", "{text}"], "parameters": {"text": {"type": "string"}}, "allow": []}
    operations = {"echo": echo, "look": {"argv": ["/bin/echo", "seen"], "allow": [], "idempotency": "pure"}}
    socket = str(host.base / "helper" / "socket")
    source = host.base / "functions" / "numbers.py"
    play.files = {str(source): "def number():\n    return 1\n"}
    operations["number"] = {"function": {"file": str(source), "name": "number"}, "allow": [], "idempotency": "pure"}

    code, output = play.run(operations)
    assert code == 0, output
    assert Helper(socket).call("number")["result"] == 1
    assert source.stat().st_mode & 0o777 == 0o600 and source.parent.stat().st_mode & 0o777 == 0o755
    assert host.status()["helper"]["state"] == "ready"
    assert (host.base / "helper.json").stat().st_mode & 0o777 == 0o600
    assert Helper(socket).call("echo", {"text": "hello"})["stdout"] == "hello\n"

    # Nothing to do, also for the services alone; modules call, in check mode what is pure only.
    call = "holdfast.supervision.helper_call"
    tasks = [
        {call: {"operation": "look", "socket": socket}, "register": "looked"},
        {call: {"operation": "echo", "socket": socket, "parameters": {"text": "x"}}, "register": "echoed"},
        {call: {"operation": "number", "socket": socket}, "register": "numbered"},
        {call: {"operation": "absent", "socket": socket}, "register": "absent", "ignore_errors": True},
        {
            "ansible.builtin.copy": {
                "dest": str(host.base / "results"),
                "content": "{{ [looked, echoed, numbered, absent] }}",
            },
            "check_mode": False,
        },
    ]
    code, output = play.run(operations, "--tags", "services")
    assert code == 0 and "changed=0" in output, output
    code, output = play.run(operations, "--check", tasks=tasks)
    assert code == 0, output
    looked, echoed, numbered, absent = json.loads((host.base / "results").read_text())
    assert looked["stdout"] == "seen\n" and not looked["changed"]
    assert echoed["skipped"] and echoed["changed"] and "stdout" not in echoed
    assert numbered["result"] == 1
    assert absent["failed"] and "those are: echo, look, number" in absent["msg"]

    # What is wrong leaves everything as it is.
    code, output = play.run({"echo": {**echo, "timeout": -1, "shell": True}, "mtu": {"ready": "link_mtu", "allow": []}})
    assert (
        code != 0
        and "operations.mtu.links" in output
        and "operations.echo.timeout" in output
        and "operations.echo.shell" in output
    )
    assert Helper(socket).call("look")["stdout"] == "seen\n"

    # A ready one is shown as what it is.
    ready = {"ready": "link_mtu", "links": ["eth1"], "allow": [{"user": STRANGER}]}
    code, output = play.run({**operations, "mtu": ready}, "--check", "--diff")
    assert code == 0 and '+                "/sbin/ip",' in output and '+            "ready"' not in output, output

    before = host.status()["helper"]["pid"]
    del operations["echo"]
    code, output = play.run(operations)
    assert code == 0, output
    assert host.status()["helper"]["pid"] != before
    assert [one["name"] for one in Helper(socket).operations()] == ["look", "number"]

    # What a function does has changed, and so has the service.
    play.files = {str(source): "def number():\n    return 2\n"}
    code, output = play.run(operations)
    assert code == 0, output
    assert Helper(socket).call("number")["result"] == 2

    code, output = play.run({})
    assert code == 0, output
    assert "helper" not in host.status() and not (host.base / "helper.json").exists()


def test_the_operations_may_be_where_nothing_is_yet(play: Play, host: Host) -> None:
    play.operations_file = host.base / "elsewhere" / "helper.json"
    operations = {"look": {"argv": ["/bin/echo", "seen"], "allow": []}}
    code, output = play.run(operations, "--check")
    assert code == 0 and not play.operations_file.parent.exists(), output
    code, output = play.run(operations)
    assert code == 0 and play.operations_file.parent.stat().st_mode & 0o777 == 0o755, output
    # Once it is there it is its owner's.
    play.operations_file.parent.chmod(0o700)
    code, output = play.run(operations)
    assert code == 0 and "changed=0" in output, output
    assert play.operations_file.parent.stat().st_mode & 0o777 == 0o700


def test_a_killed_helper_is_back_for_the_call_that_found_it_dead(play: Play, host: Host) -> None:
    code, output = play.run({"look": {"argv": ["/bin/echo", "seen"], "allow": [{"user": STRANGER}]}})
    assert code == 0, output
    client = Helper(str(host.base / "helper" / "socket"), pause=1)
    for _number in range(3):
        pid = wait_until(lambda: host.status()["helper"]["pid"])
        procs.kill(pid)
        procs.until_dead(pid)
        assert client.call("look")["stdout"] == "seen\n"
    # The audit log is the log of the service.
    log = host.logs / "helper" / "current"
    wait_until(lambda: log.read_text().count('"outcome": "exited"') == 3)
