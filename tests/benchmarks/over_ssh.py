# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Converging a host over ssh: one task of ours against the usual loop of file, template and runit tasks.

All times are seconds above a playbook with a single `ping` over the same, already open connection: what is left is the
price of the work. The runtime and the supervisor are there before; no service is.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import collection
import procs
from embedded import Embedded
from family import Runit
from report import OURS, Report, progress
from sshd import Sshd

#: The distribution that contains community.general of the same time as the ansible-core of the tests.
DISTRIBUTION = "ansible==12.*"
#: Programs that hold the connection, which outlives the supervisors.
CONNECTION = ("ssh", "sshd")
#: The column that the usual loop's figures stand in.
LOOP = "runit"

_PING = """\
- hosts: target
  gather_facts: false
  tasks:
    - ansible.builtin.ping:
"""

_OURS = """\
- hosts: target
  gather_facts: false
  tasks:
    - holdfast.supervision.services:
        scan_directory: "{{ scan }}"
        log_directory: "{{ logs }}"
"""

_USUAL = """\
- hosts: target
  gather_facts: false
  tasks:
    - name: Service directory
      ansible.builtin.file:
        path: "{{ sources }}/{{ item }}"
        state: directory
        mode: "0755"
      loop: "{{ names }}"
    - name: Directory of the logger
      ansible.builtin.file:
        path: "{{ sources }}/{{ item }}/log/main"
        state: directory
        mode: "0755"
      loop: "{{ names }}"
    - name: Script of the service
      ansible.builtin.template:
        src: run.j2
        dest: "{{ sources }}/{{ item }}/run"
        mode: "0755"
      loop: "{{ names }}"
    - name: Script of the logger
      ansible.builtin.template:
        src: log.j2
        dest: "{{ sources }}/{{ item }}/log/run"
        mode: "0755"
      loop: "{{ names }}"
    - name: Service
      community.general.runit:
        name: "{{ item }}"
        enabled: true
        state: started
        service_src: "{{ sources }}"
        service_dir: "{{ scan }}"
      loop: "{{ names }}"
      register: result
      # runsvdir looks for new services every five seconds.
      until: result is success
      retries: 20
      delay: 1
"""


def measure(report: Report, quick: bool, full: bool) -> None:
    """Add the rows; without an installed ansible-playbook there are none."""
    if shutil.which("ansible-playbook", path=_path()) is None:
        report.note("No ansible-playbook: converging was not measured.")
        return
    base = Path(tempfile.mkdtemp(prefix="hf-ssh-", dir=procs.workplace()))
    base.chmod(0o755)
    sshd = Sshd(base / "ssh")
    try:
        sshd.start()
        control = Control(base, sshd)
        ping = control.ping()
        progress(f"ping over ssh: {ping:.2f} s")
        report.add("Ansible ping over ssh (taken off the next)", "s", {OURS: ping})
        counts = (50,) if quick else (50, 200)
        for count in counts:
            ours = our_way(control, count)
            loop = usual_way(control, count) if count == 50 or full else None
            for number, words in enumerate(("first run", "no change")):
                values = {OURS: ours[number] - ping}
                if loop is not None:
                    values[LOOP] = loop[number] - ping
                report.add(
                    f"converge {count} over ssh, {words}",
                    "s",
                    values,
                    {0: 1.5, 1: 0.5}[number] if count == 50 else None,
                )
        report.add("check mode, 2000 services, above ping", "s", {OURS: check_mode(control, 2000) - ping}, 3.5)
        report.note(f"Converging: {LOOP}'s column is the loop of file, template and community.general.runit tasks.")
    finally:
        procs.end_all()
        sshd.close()
        shutil.rmtree(base)


def _path() -> str:
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


class Control:
    """The controller: Ansible as it is installed, without anybody's settings."""

    def __init__(self, base: Path, sshd: Sshd) -> None:
        self.base = base
        self.collections = base / "collections"
        (self.collections / "ansible_collections" / "holdfast").mkdir(parents=True)
        (self.collections / "ansible_collections" / "holdfast" / "supervision").symlink_to(collection.CHECKOUT)
        self.inventory = base / "inventory"
        self.inventory.write_text(sshd.inventory())
        (base / "ansible.cfg").touch()
        self.environment = {
            "PATH": _path(),
            "HOME": str(base),
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_CONFIG": str(base / "ansible.cfg"),
            "ANSIBLE_HOME": str(base / "a"),
            "ANSIBLE_COLLECTIONS_PATH": str(self.collections),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_SSH_ARGS": "-C -o ControlMaster=auto -o ControlPersist=600s",
        }

    def play(self, text: str, *arguments: str, **variables: Any) -> tuple[float, dict[str, int]]:
        """Run a playbook: seconds, and the recap's counts. Raises RuntimeError when it fails."""
        playbook = self.base / "play.yml"
        playbook.write_text(text)
        values = self.base / "variables.json"
        values.write_text(json.dumps(variables))
        command = ["ansible-playbook", "-i", str(self.inventory), "-e", f"@{values}", *arguments, str(playbook)]
        began = time.perf_counter()
        result = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=False, timeout=1800
        )
        seconds = time.perf_counter() - began
        if result.returncode:
            raise RuntimeError(f"{' '.join(command)}: {result.stdout[-3000:]}{result.stderr[-3000:]}")
        recap = result.stdout.rpartition("target ")[2].partition(":")[2].split()
        return seconds, {word.partition("=")[0]: int(word.partition("=")[2]) for word in recap}

    def ping(self) -> float:
        """Seconds of the smallest play, once the connection is open."""
        self.play(_PING)
        return statistics.median(self.play(_PING)[0] for _unused in range(5))

    def community_general(self) -> bool:
        """Have community.general where Ansible finds it; False if it can't be had."""
        target = self.collections / "ansible_collections" / "community"
        if target.exists():
            return True
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "holdfast-supervision" / "wheels"
        if not list(cache.glob("ansible-*.whl")):
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(cache)]
            if subprocess.run([*command, DISTRIBUTION], check=False, capture_output=True).returncode:
                return False
        prefix = "ansible_collections/community/general/"
        with zipfile.ZipFile(max(cache.glob("ansible-*.whl"))) as wheel:
            names = [name for name in wheel.namelist() if name.startswith((f"{prefix}plugins/", f"{prefix}meta/"))]
            wheel.extractall(self.collections, [*names, f"{prefix}MANIFEST.json", f"{prefix}FILES.json"])
        return True


def definitions(count: int) -> dict[str, Any]:
    """What an inventory would say of *count* services."""
    return {
        f"s{number:04}": {
            "description": f"Service {number}",
            "command": ["/bin/sleep", "1000000"],
            "environment": {"PORT": str(8000 + number)},
            "log": {"size": "1M", "count": 10},
        }
        for number in range(count)
    }


def our_way(control: Control, count: int) -> tuple[float, float]:
    """Seconds of the first run, and the median of runs that change nothing."""
    progress(f"embedded: converge {count} services over ssh")
    suite = Embedded(0)
    try:
        suite.prepare()
        suite.start()
        procs.wait_until((suite.scan / ".holdfast" / "socket").exists, 20, "embedded: socket")
        variables = {
            "scan": str(suite.scan),
            "logs": str(suite.base / "logs"),
            "services_definitions": definitions(count),
        }
        first, recap = control.play(_OURS, **variables)
        _expect(recap["changed"] == 1, f"first run of ours: {recap}")
        running = suite.call("Status")["services"]
        _expect(sum(service["ready"] for service in running) == count, f"{len(running)} services run")
        again = []
        for _unused in range(5):
            seconds, recap = control.play(_OURS, **variables)
            _expect(recap["changed"] == 0, f"second run of ours: {recap}")
            again.append(seconds)
        return first, statistics.median(again)
    finally:
        suite.close(spare=CONNECTION)


def check_mode(control: Control, count: int) -> float:
    """Seconds of a run in check mode, as on a host that has none of the services yet."""
    progress(f"embedded: {count} services in check mode")
    suite = Embedded(0)
    try:
        suite.prepare()
        suite.start()
        procs.wait_until((suite.scan / ".holdfast" / "socket").exists, 20, "embedded: socket")
        variables = {
            "scan": str(suite.scan),
            "logs": str(suite.base / "logs"),
            "services_definitions": definitions(count),
        }
        return statistics.median(control.play(_OURS, "--check", **variables)[0] for _unused in range(3))
    finally:
        suite.close(spare=CONNECTION)


def usual_way(control: Control, count: int) -> tuple[float, float] | None:
    """Seconds of the first run and of one that changes nothing, for runit; None if it can't be done here."""
    if not Runit.available() or not control.community_general():
        return None
    progress(f"usual loop: converge {count} services over ssh (minutes)")
    (control.base / "run.j2").write_text(
        "#!/bin/sh\nexec 2>&1\nexport PORT={{ 8000 + names.index(item) }}\nexec /bin/sleep 1000000\n"
    )
    (control.base / "log.j2").write_text("#!/bin/sh\nexec svlogd -tt ./main\n")
    suite = Runit(0)
    try:
        suite.start()
        sources = suite.base / "sources"
        sources.mkdir()
        variables = {"scan": str(suite.scan), "sources": str(sources), "names": list(definitions(count))}
        first, recap = control.play(_USUAL, **variables)
        _expect(recap["changed"] == 5, f"first run of the loop: {recap}")
        again, recap = control.play(_USUAL, **variables)
        _expect(recap["changed"] == 0, f"second run of the loop: {recap}")
        return first, again
    finally:
        suite.close(spare=CONNECTION)


def _expect(condition: bool, text: str) -> None:
    if not condition:
        raise RuntimeError(text)
