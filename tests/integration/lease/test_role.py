# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role leases where all "hosts" of a play are this machine. What needs several is in test_role_hosts.py."""

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
from etcds import Cluster, free_ports
from guarded import PYTHON
from sanlocks import SANLOCK, Storage

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="holders of leases are root's")


class Play:
    """A play with the role leases. Everything is below *base*."""

    def __init__(self, base: Path, collections: Path, runtime: Path) -> None:
        self.base = base
        self._collections = collections
        (base / "lib").mkdir()
        (base / "lib" / "current").symlink_to(runtime)

    def run(self, *options: str, hosts: str = "here,", only: str = "", **variables: Any) -> tuple[int, str]:
        """Run the role, or one file of its tasks; what is there of `leases_result` is in `results` afterwards."""
        role = {"name": "holdfast.supervision.leases", **({"tasks_from": only} if only else {})}
        report = {"dest": str(self.base / "result-{{ inventory_hostname }}"), "content": "{{ leases_result }}"}
        play = {
            "hosts": "all",
            "gather_facts": False,
            "vars": {
                "leases_runtime_directory": str(self.base / "lib"),
                "leases_scan_directory": str(self.base / "scan"),
                "leases_python": PYTHON,
                **variables,
            },
            "tasks": [
                {"ansible.builtin.import_role": role},
                {
                    "ansible.builtin.copy": report,
                    "when": "leases_result is defined",
                    "changed_when": False,
                    "tags": ["always"],
                },
            ],
        }
        (self.base / "play.yml").write_text(yaml.safe_dump([play]))
        environment = {
            **os.environ,
            "HOME": str(self.base),
            "ANSIBLE_HOME": str(self.base / "home"),
            "ANSIBLE_COLLECTIONS_PATH": str(self._collections),
            "ANSIBLE_NOCOLOR": "1",
        }
        command = [sys.executable, "-m", "ansible", "playbook", "-i", hosts, "-c", "local"]
        command += ["-e", f"ansible_python_interpreter={PYTHON}", *options, str(self.base / "play.yml")]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=180)
        return done.returncode, " ".join((done.stdout + done.stderr).split())

    def result(self, host: str = "here") -> dict[str, Any]:
        return dict(json.loads((self.base / f"result-{host}").read_text()))

    def left(self) -> list[int]:
        """What still runs of a holder of this test."""
        mark = str(self.base / "lib")
        return [pid for pid in procs.pids() if any(mark in word for word in procs.arguments(pid)) and procs.alive(pid)]


@pytest.fixture
def play(collections_path: Path, runtime: Path) -> Iterator[Play]:
    base = Path(tempfile.mkdtemp(prefix="hf-lease-role-"))
    base.chmod(0o755)
    made = Play(base, collections_path, runtime)
    yield made
    for pid in made.left():
        procs.kill(pid)
    shutil.rmtree(base)


def test_a_lease_of_files_is_tried_out_and_nothing_of_it_stays(play: Play) -> None:
    leases = {"leases_driver": "file", "leases_parameters": {"directory": str(play.base / "leases")}}
    code, output = play.run(**leases)
    assert code == 0 and "changed=0" in output, output
    found = play.result()
    assert (found["driver"], found["scope"], found["contended_with"]) == ("file", "host", "here")
    assert found["tokens"] == [1, 2]
    assert play.left() == []

    code, output = play.run(**leases)
    assert code == 0 and "changed=0" in output, output
    assert play.result()["tokens"] == [3, 4]

    code, output = play.run("--check", **leases)
    assert code == 0 and "TASK [holdfast.supervision.leases : Acquire]" not in output, output
    code, output = play.run(leases_state="absent", **leases)
    assert code == 0 and "changed=0" in output, output


def test_lock_files_for_several_hosts_have_to_be_meant(play: Play) -> None:
    leases = {"leases_driver": "file", "leases_parameters": {"directory": str(play.base / "leases")}}
    code, output = play.run(hosts="a,b", **leases)
    assert code != 0
    assert "a: leases_driver=file keeps leases for the services of one host, and this play is about 2" in output
    assert "Set leases_scope to host" in output
    # A limit hides the other host, not what it runs.
    code, output = play.run("--limit", "a", hosts="a,b", **leases)
    assert code != 0 and "this play is about 1, or more without --limit a. Set leases_scope to host" in output, output
    code, output = play.run(hosts="a,b", leases_scope="host", **leases)
    assert code == 0, output
    assert play.result("a")["contended_with"] == "a" and play.result("b")["contended_with"] == "b"


def test_lock_files_that_several_hosts_see_have_to_be_on_nfs_and_proved(play: Play) -> None:
    directory = play.base / "leases"
    leases = {"leases_driver": "file", "leases_parameters": {"directory": str(directory), "scope": "hosts"}}
    code, output = play.run(hosts="a,b", **leases, leases_prove=False)
    assert code != 0 and "leases_prove=false: whether all hosts see one directory is known only after" in output, output
    code, output = play.run(hosts="a,b", **leases, leases_scope="host")
    assert code != 0 and "leases_scope=host and leases_parameters.scope=hosts: whether" in output, output
    code, output = play.run(hosts="a,b", **leases)
    assert code != 0 and "of this host, and scope is hosts. Mount there what all hosts see" in output, output
    assert not directory.exists()


def test_who_is_alone_is_proved_only_where_others_were(play: Play) -> None:
    """Of the rest of the proof nothing can be shown without NFS, see tests/machine."""
    directory = play.base / "leases"
    directory.mkdir()
    leases = {"leases_driver": "file", "leases_parameters": {"directory": str(directory), "scope": "hosts"}}
    known = {**leases, "__leases_look": {"probe": {"host": "{{ inventory_hostname }}"}}}
    code, output = play.run(only="proved", __leases_peer="here", **known)
    assert code != 0 and "was alone in this play, or its batch, and nobody else was ever proved to see" in output, (
        output
    )
    assert list(directory.iterdir()) == []
    code, output = play.run(hosts="a,b", only="proved", __leases_peer="other", **known)
    assert code == 0 and "changed=0" in output, output
    assert sorted(path.name for path in directory.iterdir()) == ["proved.a", "proved.b"]
    code, output = play.run(only="proved", __leases_peer="here", **known)
    assert code == 0, output
    assert (directory / "proved.here").exists()


def test_a_lease_of_etcd_is_tried_out(play: Play, etcd: Cluster) -> None:
    parameters = {"endpoints": etcd.endpoints, "prefix": str(play.base)}
    code, output = play.run(leases_driver="etcd", leases_parameters=parameters, leases_ttl="3s")
    assert code == 0 and "changed=0" in output, output
    found = play.result()
    assert found["tokens"] == [1, 2] and found["facts"]["members"] == "1"
    assert "one member: while it is down nothing is renewed" in output
    assert play.left() == []

    code, output = play.run(hosts="a,b", leases_driver="etcd", leases_parameters=parameters)
    assert code != 0
    assert "a: another host of this play has the same /etc/machine-id" in output
    assert "systemd-machine-id-setup" in output


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (
            {"leases_etcd_user": "leases", "leases_etcd_password": "geheim"},
            "and leases_etcd_root_password are needed too",
        ),
        ({"leases_etcd_user": "root"}, "root may do everything; the leases need a user of their own"),
    ],
)
def test_a_user_of_etcd_has_to_be_one_and_to_have_a_password(play: Play, given: dict[str, str], text: str) -> None:
    code, output = play.run(hosts="a,", leases_driver="etcd", leases_etcd_members=["a"], **given)
    assert code != 0
    assert text in output
    assert "geheim" not in output


def test_a_store_that_is_not_there_is_told_of_in_check_mode_and_an_error_otherwise(play: Play) -> None:
    [port] = free_ports(1)
    leases = {"leases_driver": "etcd", "leases_parameters": {"endpoints": [f"http://127.0.0.1:{port}"]}}
    code, output = play.run("--check", **leases)
    assert code == 0 and f"here: leases_driver=etcd could not be asked yet: http://127.0.0.1:{port}" in output, output
    code, output = play.run(**leases)
    assert code != 0 and f"here: leases_driver=etcd can't be used: http://127.0.0.1:{port}" in output, output
    assert "Set leases_parameters to where the store is" in output

    code, output = play.run(leases_driver="etcd", leases_parameters={"endpoint": "x"})
    assert code != 0 and "unknown parameter endpoint" in output, output


# -- sanlock


@pytest.fixture
def unmade() -> Iterator[Storage]:
    """Two hosts with daemons and no lockspace."""
    if not SANLOCK:
        pytest.skip("there is no sanlock")
    made = Storage(2, prepared=False)
    yield made
    made.close()


def sanlocks(play: Play, storage: Storage) -> dict[str, Any]:
    """Variables by which a and b of the inventory are the two hosts of the storage."""
    sockets = [host.socket for host in storage.hosts]
    return {
        "leases_driver": "sanlock",
        "leases_safety": "standard",
        "leases_sanlock_package": "",
        "leases_sanlock_service": "",
        "leases_sanlock_io_timeout": 1,
        "leases_sanlock_resources": 16,
        "which": "{{ ['a', 'b'].index(inventory_hostname) }}",
        "leases_parameters": {
            "path": str(storage.path),
            "socket": "{{ " + repr(sockets) + "[which | int] }}",
            "host_id": "{{ which | int + 1 }}",
            "poll": 0.1,
        },
    }


def test_sanlock_is_given_a_lockspace_and_tried_out(play: Play, unmade: Storage) -> None:
    given = sanlocks(play, unmade)
    code, output = play.run("--check", hosts="a,", **given)
    assert code == 0 and "changed=2" in output, output
    assert not unmade.path.exists()

    # Here both hosts are one machine, so that only one of them is in a play.
    code, output = play.run(hosts="a,", **given)
    assert code == 0 and "changed=2" in output, output
    assert play.result("a")["facts"]["host_id"] == "1"
    assert "sanlock runs without a watchdog" in output
    assert play.result("a")["tokens"] == [1, 2]
    assert play.left() == []

    code, output = play.run("-e", "leases_prove=false", hosts="a,", **{**given, "leases_safety": "strict"})
    assert code != 0 and "changed=0" in output and "sanlock runs without a watchdog" in output, output
    code, output = play.run(hosts="a,", **{**given, "leases_sanlock_io_timeout": 5})
    assert code != 0 and "was made with io_timeout 1, not 5" in output, output


def test_hosts_of_sanlock_that_cannot_be_told_apart_are_refused(play: Play, unmade: Storage) -> None:
    given = sanlocks(play, unmade)
    code, output = play.run(hosts="a,b", **given)
    assert code != 0 and "b has the same /etc/machine-id" in output, output
    given["leases_parameters"]["host_id"] = 1
    code, output = play.run(hosts="a,b", **given)
    assert code != 0 and "leases_parameters.host_id 1 is that of b too" in output, output
    assert not unmade.path.exists()
