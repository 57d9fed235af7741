# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Jobs from plays: the modules helper_call and job_info against a helper."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from helping import PYTHON, HelperProcess

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a helper gives away what only root has")

CALL, INFO = "holdfast.supervision.helper_call", "holdfast.supervision.job_info"


def run(folder: Path, collections: Path, tasks: list[dict[str, Any]], *options: str) -> list[dict[str, Any]]:
    """Run tasks one after the other; gives the result of each, whatever it is."""
    names = [f"result{number}" for number in range(len(tasks))]
    kept = {"dest": str(folder / "results"), "content": "{{ [" + ", ".join(names) + "] }}"}
    play = {
        "hosts": "all",
        "gather_facts": False,
        "tasks": [
            *({**task, "register": name, "ignore_errors": True} for task, name in zip(tasks, names)),
            {"ansible.builtin.copy": kept, "check_mode": False},
        ],
    }
    (folder / "play.yml").write_text(yaml.safe_dump([play]))
    environment = {
        **os.environ,
        "HOME": str(folder),
        "ANSIBLE_HOME": str(folder / "home"),
        "ANSIBLE_COLLECTIONS_PATH": str(collections),
        "ANSIBLE_LOCALHOST_WARNING": "false",
    }
    command = [sys.executable, "-m", "ansible", "playbook", "-i", "here,", "-c", "local"]
    command += ["-e", f"ansible_python_interpreter={PYTHON}", *options, str(folder / "play.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=180)
    assert done.returncode == 0, done.stdout + done.stderr
    return list(json.loads((folder / "results").read_text()))


def test_a_play_begins_a_job_and_waits_for_it(helper: HelperProcess, tmp_path: Path, collections_path: Path) -> None:
    gate = helper.work / "gate"
    script = f"echo 50 waits >&$HOLDFAST_PROGRESS; until [ -e {gate} ]; do sleep 0.02; done; echo done"
    helper.start(
        work={"argv": ["/bin/sh", "-c", script], "asynchronous": "always", "timeout": 600},
        fails={"argv": ["/bin/false"], "asynchronous": "always"},
        never={"argv": ["/bin/true"]},
    )
    where = {"socket": str(helper.socket)}
    start = {CALL: {**where, "operation": "work", "id": "job", "asynchronous": True}}
    foretold = run(tmp_path, collections_path, [start], "--check")
    assert foretold[0]["changed"] and foretold[0]["skipped"] and helper.client().jobs() == []

    ended = {INFO: {**where, "id": "job", "until_ended": True, "timeout": 60}}
    began, again, impatient, _opened, waited, known, failed, refused, absent = run(
        tmp_path,
        collections_path,
        [
            start,
            start,
            {INFO: {**where, "id": "job", "until_ended": True, "timeout": 0.3}},
            {"ansible.builtin.copy": {"dest": str(gate), "content": ""}},
            ended,
            {INFO: where},
            {CALL: {**where, "operation": "fails"}},
            {CALL: {**where, "operation": "never", "asynchronous": True}},
            {INFO: {**where, "id": "absent"}},
        ],
    )
    assert began["changed"] and began["job"]["state"] == "running" and again["job"]["began"] == began["job"]["began"]
    assert impatient["failed"] and "still running after 0.3 s" in impatient["msg"]
    assert not waited["changed"] and waited["jobs"][0]["state"] == "done" and waited["jobs"][0]["stdout"] == "done\n"
    assert waited["jobs"][0]["progress"] == {"percent": 50.0, "text": "waits"}
    assert [one["id"] for one in known["jobs"]] == ["job"] and known["jobs"][0]["stdout"] is None
    assert failed["failed"] and failed["rc"] == 1
    assert refused["failed"] and refused["error"] == "NotAsynchronous"
    assert absent["failed"] and absent["error"] == "NoSuchJob"
