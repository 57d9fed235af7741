# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is found out of a host: on this machine against its own tools, and on hosts that are folders of files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._host.cgroups import cgroups
from ansible_collections.holdfast.supervision.plugins.module_utils._host.information import SUBJECTS, host_info
from ansible_collections.holdfast.supervision.plugins.module_utils._host.init import init
from ansible_collections.holdfast.supervision.plugins.module_utils._host.kernel import features
from ansible_collections.holdfast.supervision.plugins.module_utils._host.look import Look
from ansible_collections.holdfast.supervision.plugins.module_utils._host.machine import virtualisation, watchdogs
from ansible_collections.holdfast.supervision.plugins.module_utils._host.network import network
from ansible_collections.holdfast.supervision.plugins.module_utils._host.storage import storage

PYTHON = "/usr/bin/python3"


class Files:
    """A host that is a folder of files."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.look = Look(os.fspath(root))

    def has(self, name: str, content: str = "") -> Files:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return self

    def link(self, name: str, target: str) -> Files:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)
        return self


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_an_empty_host_is_no_error(files: Files) -> None:
    found = host_info([], "/no/python", files.look)
    assert set(SUBJECTS) < set(found)
    assert found["init"]["name"] == "unknown"
    assert found["cgroups"]["version"] == 0
    assert found["storage"] == found["watchdogs"] == []
    assert found["python"]["problem"] == "there is no Python at /no/python"


def test_only_what_was_asked_for_is_looked_at(files: Files) -> None:
    assert set(SUBJECTS) & set(host_info(["init", "clock"], PYTHON, files.look)) == {"init", "clock"}


@pytest.mark.parametrize(
    ("program", "command", "also", "name"),
    [
        ("systemd", "/sbin/init", "run/systemd/system/x", "systemd"),
        ("systemd", "/lib/systemd/systemd --user", "", "unknown"),
        ("runit", "runit", "", "runit"),
        ("runsvdir", "runsvdir\0-P\0/etc/service", "", "runit"),
        ("s6-svscan", "s6-svscan\0/run/service", "", "s6"),
        ("python3", "/usr/bin/python3\0-I\0-S\0/usr/local/lib/holdfast/current\0supervise\0/services", "", "embedded"),
        ("init", "init [2]", "etc/inittab", "sysvinit"),
        ("init", "init", "run/openrc/softlevel", "openrc"),
        ("openrc-init", "/sbin/openrc-init", "", "openrc"),
        ("init", "/sbin/init", "", "unknown"),
        ("bash", "bash", "", "unknown"),
    ],
)
def test_init_is_known_by_what_it_leaves(files: Files, program: str, command: str, also: str, name: str) -> None:
    files.has("proc/1/comm", f"{program}\n").has("proc/1/cmdline", f"{command}\0")
    if also:
        files.has(also)
    assert init(files.look)["name"] == name


def test_busybox_is_what_its_link_says(files: Files) -> None:
    files.has("proc/1/comm", "init\n").has("etc/inittab").link("sbin/init", "/bin/busybox")
    assert init(files.look)["name"] == "busybox"


UNIFIED = "30 24 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n"
MIXED = (
    "30 24 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
    "31 24 0:27 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n"
)
LEGACY = MIXED + "32 24 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"


@pytest.mark.parametrize(("mounts", "version"), [("", 0), (UNIFIED, 2), (MIXED, 2), (LEGACY, 1)])
def test_the_version_of_the_groups_is_who_has_the_controllers(files: Files, mounts: str, version: int) -> None:
    files.has("proc/self/mountinfo", mounts)
    assert cgroups(files.look)["version"] == version


def test_a_group_of_our_own_can_be_changed_and_killed(files: Files) -> None:
    files.has("proc/self/mountinfo", UNIFIED).has("proc/self/cgroup", "0::/holdfast.service\n")
    files.has("sys/fs/cgroup/cgroup.controllers", "cpu io memory pids\n")
    files.has("sys/fs/cgroup/holdfast.service/cgroup.procs").has("sys/fs/cgroup/holdfast.service/cgroup.kill")
    assert cgroups(files.look) == {
        "version": 2,
        "mount": "/sys/fs/cgroup",
        "controllers": ["cpu", "io", "memory", "pids"],
        "own": "/holdfast.service",
        "writable": True,
        "kill": True,
    }


@pytest.mark.parametrize(
    ("product", "vendor", "flags", "name"),
    [
        ("Standard PC (Q35)", "QEMU", "fpu hypervisor", "qemu"),
        ("Virtual Machine", "Microsoft Corporation", "fpu hypervisor", "hyperv"),
        ("Surface Pro", "Microsoft Corporation", "fpu", ""),
        ("PowerEdge", "Dell Inc.", "fpu", ""),
        ("", "", "fpu hypervisor", "other"),
    ],
)
def test_the_hypervisor_is_known_by_its_firmware(
    files: Files, product: str, vendor: str, flags: str, name: str
) -> None:
    files.has("sys/class/dmi/id/product_name", product).has("sys/class/dmi/id/sys_vendor", vendor)
    files.has("proc/cpuinfo", f"processor : 0\nflags : {flags}\n")
    assert virtualisation(files.look)["hypervisor"] == name


def test_a_machine_made_of_an_image_is_no_container(files: Files) -> None:
    files.has(".dockerenv").has("proc/self/mountinfo", "20 1 254:0 / / rw - ext4 /dev/vda rw\n")
    assert virtualisation(files.look)["container"] == ""
    files.has("proc/self/mountinfo", "20 1 0:40 / / rw - overlay overlay rw,lowerdir=/x\n")
    assert virtualisation(files.look)["container"] == "docker"


def test_a_container_may_say_so_itself(files: Files) -> None:
    files.has("proc/1/environ", "PATH=/bin\0container=lxc\0")
    assert virtualisation(files.look)["container"] == "lxc"


def test_watchdogs_are_told_and_left_alone(files: Files) -> None:
    folder = "sys/class/watchdog/watchdog0"
    files.has(f"{folder}/identity", "Software Watchdog\n").has(f"{folder}/timeout", "60\n").has(
        f"{folder}/state", "active\n"
    )
    assert watchdogs(files.look) == [
        {"device": "/dev/watchdog0", "identity": "Software Watchdog", "timeout": 60, "active": True}
    ]


def test_a_network_file_system_is_not_asked(files: Files) -> None:
    (files.root / "data").mkdir()
    files.has(
        "proc/self/mountinfo",
        "20 1 254:0 / / rw - ext4 /dev/vda rw\n"
        "21 20 0:50 / /home rw - nfs4 server:/home rw,vers=4.2\n"
        "22 20 0:5 / /proc rw - proc proc rw\n"
        "23 20 254:1 / /my\\040data ro - xfs /dev/vdb ro\n",
    )
    found = {one["mount"]: one for one in storage(files.look)}
    assert set(found) == {"/", "/home", "/my data"}
    assert found["/home"]["network"] is True
    assert found["/home"]["size"] is None
    assert found["/"]["size"] > 0
    assert found["/my data"]["read_only"] is True


def test_this_machine_has_the_addresses_that_ip_shows() -> None:
    if shutil.which("ip") is None:
        pytest.skip("there is no ip to compare with")
    shown = json.loads(subprocess.run(["ip", "-json", "address"], capture_output=True, check=True).stdout)
    expected = {
        link["ifname"]: sorted(f"{one['local']}/{one['prefixlen']}" for one in link["addr_info"] if "local" in one)
        for link in shown
    }
    # Another test may make or remove an interface meanwhile.
    found = {one["name"]: one["addresses"] for one in network(Look()) if one["name"] in expected}
    assert found["lo"] == expected["lo"]
    assert "127.0.0.1/8" in found["lo"]


def test_the_kernel_of_this_machine_is_asked_without_a_trace() -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    found = features(Look())
    assert sorted(os.listdir("/proc/self/fd")) == before
    # What the supervisor needs, and so has wherever this test can run.
    assert found["pidfd_open"] is True
    assert found["ofd_locks"] is True
    assert found["boottime_timers"] is True


def test_python_that_others_can_change_is_a_problem(tmp_path: Path) -> None:
    python = tmp_path / "python3"
    python.write_text("#!/bin/sh\n")
    python.chmod(0o777)
    assert host_info(["init"], os.fspath(python))["python"]["problem"]
