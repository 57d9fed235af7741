# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Playbooks as Ansible runs them, on a host of the test's own; the results of their tasks as values."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from converging import Host

PYTHON = "/usr/bin/python3"
#: Prints the result of every task as one line of JSON.
CALLBACK = """
from __future__ import annotations
import json
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = "name: lines\\ntype: stdout\\nshort_description: results as lines\\ndescription: [results]\\n"

class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "lines"

    def _tell(self, result, failed):
        print("RESULT " + json.dumps({**result.result, "failed": failed}, default=str), flush=True)

    def v2_runner_on_ok(self, result):
        self._tell(result, False)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self._tell(result, True)
"""


class Player:
    """Runs playbooks: on this machine, or on the hosts of *inventory*."""

    def __init__(self, folder: Path, collections: Path, host: Host, inventory: str = "") -> None:
        self._folder = folder
        self._where = ["-i", "here,", "-c", "local", "-e", f"ansible_python_interpreter={PYTHON}"]
        if inventory:
            (folder / "hosts.yml").write_text(inventory)
            self._where = ["-i", str(folder / "hosts.yml")]
        self._collections = collections
        self._host = host
        (folder / "lines.py").write_text(CALLBACK)

    def play(self, *tasks: dict[str, Any], options: tuple[str, ...] = (), **keywords: Any) -> list[dict[str, Any]]:
        """Run tasks with the defaults of the test's own host, and give their results."""
        defaults = {
            "group/holdfast.supervision.supervision": {"scan_directory": str(self._host.scan)},
            "holdfast.supervision.services": {
                "scan_directory": str(self._host.scan),
                "log_directory": str(self._host.logs),
            },
            **keywords.pop("module_defaults", {}),
        }
        play = {
            "hosts": "all",
            "gather_facts": False,
            "module_defaults": defaults,
            "tasks": [{"ignore_errors": True, **task} for task in tasks],
            **keywords,
        }
        (self._folder / "play.yml").write_text(yaml.safe_dump([play]))
        environment = {
            **os.environ,
            "HOME": str(self._folder),
            "ANSIBLE_HOME": str(self._folder / "home"),
            "ANSIBLE_COLLECTIONS_PATH": str(self._collections),
            "ANSIBLE_CALLBACK_PLUGINS": str(self._folder),
            "ANSIBLE_STDOUT_CALLBACK": "lines",
            "ANSIBLE_LOCALHOST_WARNING": "false",
        }
        command = [sys.executable, "-m", "ansible", "playbook", *self._where, *options, str(self._folder / "play.yml")]
        process = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=600)
        lines = [line for line in process.stdout.splitlines() if line.startswith("RESULT ")]
        # A role has more than one.
        assert len(lines) >= len(tasks), process.stdout + process.stderr
        return [json.loads(line[len("RESULT ") :]) for line in lines]
