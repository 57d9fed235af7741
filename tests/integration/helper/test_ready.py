# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ready operations, done for real in namespaces of the helper's own, and what somebody hostile tries with each."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helping import CALLER, STRANGER, HelperProcess
from supervised import Scan

from ansible_collections.holdfast.supervision.plugins.module_utils._helper.client import HelperError
from ansible_collections.holdfast.supervision.plugins.plugin_utils.ready import expand

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="changes mounts, links and owners, in namespaces of its own")

ALLOW = [{"user": CALLER}]


@pytest.fixture
def ready(helper: HelperProcess) -> HelperProcess:
    """A helper in a mount and a network namespace of its own."""
    helper.prefix = ["unshare", "--mount", "--net", "--propagation", "private"]
    return helper


def start(helper: HelperProcess, services: str = "/nowhere", **operations: Any) -> None:
    for one in operations.values():
        one.setdefault("allow", ALLOW)
    helper.start(**expand(operations, helper.command, services))


def done(helper: HelperProcess, operation: str, **parameters: Any) -> str:
    result = helper.call(operation, **parameters)
    assert result["exit"] == 0, result
    return str(result["stdout"])


def failed(helper: HelperProcess, operation: str, **parameters: Any) -> str:
    result = helper.call(operation, **parameters)
    assert result["exit"] not in (0, 2), result
    return str(result["stderr"])


def refused(helper: HelperProcess, operation: str, **parameters: Any) -> None:
    with pytest.raises(HelperError) as caught:
        helper.call(operation, **parameters)
    assert caught.value.name == "BadParameter"


# -- links, addresses, firewall, kernel parameters


def test_links_get_a_state_an_mtu_and_addresses(ready: HelperProcess) -> None:
    start(
        ready,
        state={"ready": "link_state", "links": ["one"]},
        mtu={"ready": "link_mtu", "links": ["one"], "minimum": 1280, "maximum": 9000},
        address={"ready": "address", "links": ["one"], "within": ["192.0.2.0/24", "2001:db8::/64"]},
    )
    ready.inside("ip", "link", "add", "one", "type", "veth", "peer", "name", "two")
    done(ready, "state", link="one", state="up")
    done(ready, "mtu", link="one", mtu=1400)
    done(ready, "address", action="replace", address="192.0.2.7/24", link="one")
    done(ready, "address", action="replace", address="192.0.2.7/24", link="one")
    done(ready, "address", action="replace", address="2001:db8::7/64", link="one")
    shown = ready.inside("ip", "address", "show", "one")
    assert "mtu 1400" in shown and "UP" in shown and "192.0.2.7/24" in shown and "2001:db8::7/64" in shown
    done(ready, "address", action="delete", address="192.0.2.7/24", link="one")
    assert "192.0.2.7" not in ready.inside("ip", "address", "show", "one")

    refused(ready, "state", link="two", state="up")
    refused(ready, "state", link="one", state="up\0")
    refused(ready, "mtu", link="one", mtu=9001)
    refused(ready, "mtu", link="one mtu 99", mtu=1400)
    for address in (
        "192.0.3.7/24",
        "192.0.2.7/8",
        "192.0.2.7",
        "192.0.2.7/24 dev two",
        "-family",
        "default",
        "0.0.0.0/0",
    ):
        refused(ready, "address", action="replace", address=address, link="one")
    refused(ready, "address", action="flush", address="192.0.2.7/24", link="one")
    assert "mtu 1400" in ready.inside("ip", "link", "show", "one")


def test_addresses_get_into_a_listed_set_only(ready: HelperProcess) -> None:
    start(
        ready,
        block={
            "ready": "firewall_set",
            "table": "filter",
            "sets": ["blocked"],
            "within": ["192.0.2.0/24"],
        },
    )
    ready.inside("nft", "add table inet filter; add set inet filter blocked { type ipv4_addr; }")
    ready.inside("nft", "add set inet filter trusted { type ipv4_addr; }")
    done(ready, "block", action="add", set="blocked", address="192.0.2.7")
    assert "192.0.2.7" in ready.inside("nft", "list", "set", "inet", "filter", "blocked")
    for address in (
        "198.51.100.1",
        "192.0.2.0/24",
        "192.0.2.7 }; flush ruleset; #",
        "192.0.2.7, 192.0.2.8",
        "@trusted",
    ):
        refused(ready, "block", action="add", set="blocked", address=address)
    refused(ready, "block", action="add", set="trusted", address="192.0.2.7")
    refused(ready, "block", action="flush", set="blocked", address="192.0.2.7")
    done(ready, "block", action="delete", set="blocked", address="192.0.2.7")
    assert "192.0.2.7" not in ready.inside("nft", "list", "ruleset")


def test_a_kernel_parameter_gets_what_its_pattern_allows(ready: HelperProcess) -> None:
    keys = {
        "net.ipv4.ip_forward": "[01]",
        "net.ipv4.conf.on/e.mc_forwarding": "1",
        "net.ipv4.ip_default_ttl": {"minimum": 32, "maximum": 128},
    }
    start(ready, tune={"ready": "kernel_parameter", "keys": keys})
    for value in ("1", "0"):
        done(ready, "tune", key="net.ipv4.ip_forward", value=value)
        assert ready.inside("sysctl", "-n", "net.ipv4.ip_forward").strip() == value
    done(ready, "tune", key="net.ipv4.ip_default_ttl", value="99")
    assert ready.inside("sysctl", "-n", "net.ipv4.ip_default_ttl").strip() == "99"
    for key, value in (
        ("net.ipv4.ip_forward", "2"),
        ("net.ipv4.ip_forward", "1 1"),
        ("net.ipv4.ip_forward", "10"),
        ("net.ipv4.ip_default_ttl", "31"),
        ("net.ipv4.ip_default_ttl", "-99"),
        ("net.ipv4.ip_default_ttl", "099"),
        ("net.ipv4.conf.on/e.mc_forwarding", "1"),
    ):
        assert failed(ready, "tune", key=key, value=value)
    refused(ready, "tune", key="kernel.core_pattern", value="|/bin/sh")
    refused(ready, "tune", key="net.ipv4.ip_forward", value="1\n0")
    assert ready.inside("sysctl", "-n", "net.ipv4.ip_forward").strip() == "0"


# -- mounts


class Image:
    """A file with a file system, and a place to mount it that a user owns the way to."""

    def __init__(self, base: Path) -> None:
        self.file = base / "image"
        with self.file.open("wb") as file:
            file.truncate(4 * 2**20)
        subprocess.run(["mkfs.ext4", "-q", "-F", str(self.file)], check=True, timeout=60)
        self.way = base / "work" / "way"
        self.target = self.way / "target"
        self.target.mkdir(parents=True)
        for path in (self.way, self.target):
            os.chown(path, STRANGER, STRANGER)
            path.chmod(0o755)
        self.mounts = {
            "data": {"source": str(self.file), "target": str(self.target), "type": "ext4", "options": ["loop"]}
        }


@pytest.fixture
def image(ready: HelperProcess) -> Image:
    made = Image(ready.base)
    start(ready, mount={"ready": "mount", "mounts": made.mounts}, umount={"ready": "umount", "mounts": made.mounts})
    return made


def mounted(helper: HelperProcess, path: Path) -> list[str]:
    lines = helper.inside("cat", "/proc/self/mountinfo").splitlines()
    return [line for line in lines if line.split()[4] == str(path)]


def test_a_listed_file_system_is_mounted_without_set_uid_and_devices(ready: HelperProcess, image: Image) -> None:
    done(ready, "mount", name="data")
    (line,) = mounted(ready, image.target)
    assert {"nosuid", "nodev"} <= set(line.split()[5].split(","))
    # Again is the same.
    done(ready, "mount", name="data")
    assert len(mounted(ready, image.target)) == 1
    done(ready, "umount", name="data")
    done(ready, "umount", name="data")
    assert not mounted(ready, image.target)
    for name in ("other", "data,suid", "-a", "../data", ""):
        refused(ready, "mount", name=name)


def test_a_target_that_became_a_link_is_not_followed(ready: HelperProcess, image: Image) -> None:
    elsewhere = ready.base / "elsewhere"
    (elsewhere / "target").mkdir(parents=True)
    image.way.rename(ready.work / "gone")
    image.way.symlink_to(elsewhere)
    assert "symbolic link" in failed(ready, "mount", name="data")
    image.way.unlink()
    image.way.mkdir()
    image.target.symlink_to(elsewhere)
    assert "symbolic link" in failed(ready, "mount", name="data")
    assert "symbolic link" in failed(ready, "umount", name="data")
    assert not mounted(ready, elsewhere) and not mounted(ready, elsewhere / "target")


def test_what_somebody_else_mounted_there_stays(ready: HelperProcess, image: Image) -> None:
    ready.inside("mount", "-t", "tmpfs", "mine", str(image.target))
    assert "mine is mounted there" in failed(ready, "mount", name="data")
    assert "mine is mounted there" in failed(ready, "umount", name="data")
    assert len(mounted(ready, image.target)) == 1
    # A mount point that was exchanged: the same folder, another file system below the wanted one.
    ready.inside("umount", str(image.target))
    done(ready, "mount", name="data")
    ready.inside("mount", "-t", "tmpfs", "mine", str(image.target))
    assert "mine is mounted there" in failed(ready, "umount", name="data")
    ready.inside("umount", str(image.target))
    done(ready, "umount", name="data")


def test_a_folder_is_bound_to_a_place(ready: HelperProcess) -> None:
    source, target = ready.base / "source", ready.base / "place"
    source.mkdir()
    target.mkdir()
    (source / "file").write_text("bound")
    mounts = {"it": {"source": str(source), "target": str(target), "type": "bind", "options": ["ro"]}}
    start(ready, mount={"ready": "mount", "mounts": mounts}, umount={"ready": "umount", "mounts": mounts})
    done(ready, "mount", name="it")
    done(ready, "mount", name="it")
    (line,) = mounted(ready, target)
    assert {"nosuid", "nodev", "ro"} <= set(line.split()[5].split(","))
    done(ready, "umount", name="it")
    assert not mounted(ready, target)


# -- owners and modes


@pytest.fixture
def tree(ready: HelperProcess) -> Path:
    """A tree with everything that is not to be touched in it, and `outside` beside."""
    inside, outside = ready.work / "tree", ready.base / "outside"
    (inside / "folder" / "deeper").mkdir(parents=True)
    outside.mkdir()
    for path in (inside / "file", inside / "folder" / "deeper" / "file", outside / "file"):
        path.write_text("")
    (inside / "link").symlink_to(outside / "file")
    (inside / "folder" / "away").symlink_to(outside)
    (inside / "hard").hardlink_to(outside / "file")
    os.mknod(inside / "device", 0o600 | 0o020000, os.makedev(1, 3))
    start(
        ready,
        owner={"ready": "chown", "within": str(ready.work), "owners": ["nobody:nogroup"], "recursive": True},
        one={"ready": "chown", "within": str(ready.work), "owners": ["nobody"]},
        mode={"ready": "chmod", "within": str(ready.work), "modes": ["0640", "0600"], "recursive": True},
        wide={
            "ready": "chown",
            "within": str(ready.work),
            "owners": ["nobody"],
            "recursive": True,
            "cross_mounts": True,
        },
    )
    return inside


def test_owners_change_in_the_tree_and_nowhere_else(ready: HelperProcess, tree: Path) -> None:
    outside = ready.base / "outside" / "file"
    # The mount lies in the helper's namespace alone, and covers what we see of it.
    (tree / "mount").mkdir()
    (ready.base / "bound").mkdir()
    (ready.base / "bound" / "file").write_text("")
    ready.inside("mount", "--bind", str(ready.base / "bound"), str(tree / "mount"))
    assert done(ready, "owner", owner="nobody:nogroup", path=str(tree)) == "changed: 5, left out: 5\n"
    for path in (tree, tree / "file", tree / "folder", tree / "folder/deeper", tree / "folder/deeper/file"):
        assert (path.stat().st_uid, path.stat().st_gid) == (65534, 65534), path
    for path in (tree / "hard", tree / "device", outside, outside.parent, ready.base / "bound" / "file"):
        assert path.stat().st_uid == 0, path
    assert (tree / "link").lstat().st_uid == 0
    assert done(ready, "owner", owner="nobody:nogroup", path=str(tree)).startswith("changed: 0,")

    done(ready, "wide", owner="nobody", path=str(tree))
    assert (ready.base / "bound" / "file").stat().st_uid == 65534
    assert outside.stat().st_uid == 0

    for path in ("link", "hard", "folder/away/file", "../../outside/file", "mount/file"):
        refused(ready, "one", owner="nobody", path=f"{tree}/{path}")
    failed(ready, "one", owner="nobody", path=f"{tree}/device")
    refused(ready, "owner", owner="root", path=str(tree))
    refused(ready, "owner", owner="--reference=/etc/shadow", path=str(tree))
    assert outside.stat().st_uid == 0


def test_modes_change_in_the_tree_and_nowhere_else(ready: HelperProcess, tree: Path) -> None:
    outside = ready.base / "outside" / "file"
    before = outside.stat().st_mode
    done(ready, "mode", mode="0640", path=str(tree))
    assert (tree / "file").stat().st_mode & 0o7777 == 0o640
    assert (tree / "folder" / "deeper").stat().st_mode & 0o7777 == 0o750
    assert outside.stat().st_mode == before and (tree / "device").stat().st_mode & 0o777 == 0o600
    for mode in ("4755", "0777", "u+s", ""):
        refused(ready, "mode", mode=mode, path=str(tree))


#: Exchanges a folder of the tree with a link to the folder outside, as fast as it can.
SWAP = """
import ctypes, os, sys
libc, tree, outside = ctypes.CDLL(None), os.fsencode(sys.argv[1]), sys.argv[2]
os.mkdir(tree + b"/swapped")
open(tree + b"/swapped/file", "w").close()
os.symlink(outside, tree + b"/link-out")
print("ready", flush=True)
while True:
    os.sched_yield()
    libc.renameat2(-100, tree + b"/swapped", -100, tree + b"/link-out", 2)
"""


@pytest.fixture
def swapped(ready: HelperProcess, tree: Path) -> Iterator[Path]:
    command = [sys.executable, "-c", SWAP, str(tree), str(ready.base / "outside")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline()
        yield tree
        process.kill()


def test_a_tree_that_is_exchanged_all_the_time_leads_nowhere_else(ready: HelperProcess, swapped: Path) -> None:
    outside = ready.base / "outside"
    refusals = 0
    for number in range(15):
        ready.call("owner", owner="nobody:nogroup", path=str(swapped))
        try:
            ready.call("one", owner="nobody", path=f"{swapped}/swapped/file")
        except HelperError:
            refusals += 1
        assert outside.stat().st_uid == 0 and (outside / "file").stat().st_uid == 0, number
    assert refusals > 0


# -- services, devices, fencing


def test_listed_services_are_controlled(ready: HelperProcess, scan: Scan) -> None:
    scan.add("mine")
    scan.add("other")
    scan.start()
    pid = scan.until("mine", "ready")["pid"]
    other = scan.until("other", "ready")["pid"]
    start(
        ready,
        services=str(scan.path),
        control={"ready": "service_control", "services": ["mine"], "actions": ["start", "stop", "restart"]},
    )
    done(ready, "control", action="restart", service="mine")
    assert scan.service("mine")["pid"] != pid
    done(ready, "control", action="stop", service="mine")
    assert scan.service("mine")["pid"] in (0, None)
    done(ready, "control", action="start", service="mine")
    assert scan.until("mine", "ready")["pid"]
    for action, service in (
        ("stop", "other"),
        ("kill", "mine"),
        ("stop", "--all"),
        ("stop", "mine other"),
        ("stop", ""),
    ):
        refused(ready, "control", action=action, service=service)
    assert scan.service("other")["pid"] == other


def test_devices_are_looked_for_where_that_is_listed(ready: HelperProcess) -> None:
    """The machine has no SCSI: files stand where the kernel's would be, in the helper's mount namespace."""
    start(
        ready,
        scan={"ready": "scsi_scan", "hosts": [0]},
        size={"ready": "block_rescan", "devices": ["sda", "nvme0"]},
    )
    for folder in ("/sys/class", "/sys/block"):
        ready.inside("mount", "-t", "tmpfs", "none", folder)
    files = {
        "/sys/class/scsi_host/host0/scan": "- - -\n",
        "/sys/block/sda/device/rescan": "1\n",
        "/sys/class/nvme/nvme0/rescan_controller": "1\n",
    }
    for file in files:
        ready.inside("mkdir", "-p", os.path.dirname(file))
        ready.inside("touch", file)
    done(ready, "scan", host="0")
    done(ready, "size", device="sda")
    done(ready, "size", device="nvme0")
    for file, content in files.items():
        assert ready.inside("cat", file) == content
    refused(ready, "scan", host="1")
    refused(ready, "size", device="../../class/nvme/nvme0")


AGENT = """#!/bin/sh
{ echo "argv: $*"; cat; env; tr '\\0' ' ' </proc/$PPID/cmdline; tr '\\0' ' ' </proc/$$/cmdline; } >FILE
"""


def test_a_fence_agent_gets_its_parameters_and_no_others(ready: HelperProcess) -> None:
    agent, secret, told = ready.base / "fence_it", ready.base / "secret", ready.base / "told"
    agent.write_text(AGENT.replace("FILE", str(told)))
    agent.chmod(0o755)
    secret.write_text("geheim!\nmore=1\n")
    secret.chmod(0o600)
    fence = {
        "ready": "fence",
        "agent": str(agent),
        "options": {"username": "admin", "lanplus": 1},
        "nodes": {"n1": {"ip": "192.0.2.1"}, "n2": {"ip": "192.0.2.2"}},
        "password_file": str(secret),
        "actions": ["off", "status"],
    }
    start(ready, fence=fence)
    done(ready, "fence", node="n2", action="off")
    lines = told.read_text().splitlines()
    assert lines[0] == "argv: "
    assert sorted(lines[1:6]) == ["action=off", "ip=192.0.2.2", "lanplus=1", "password=geheim!", "username=admin"]
    assert "geheim!" not in "".join(lines[6:])
    assert "geheim!" not in ready.log.read_text() and "geheim!" not in ready.file.read_text()
    for node, action in (("n3", "off"), ("n1", "reboot"), ("n1", "off\nip=192.0.2.9"), ("n1\nip=1", "off")):
        refused(ready, "fence", node=node, action=action)
    secret.chmod(0o644)
    assert "closed to others" in failed(ready, "fence", node="n1", action="off")
    secret.chmod(0o600)
    agent.chmod(0o777)
    assert "others may write" in failed(ready, "fence", node="n1", action="off")


def test_programs_of_ready_operations_have_no_options(helper: HelperProcess) -> None:
    """What is not exactly so many arguments of a known name does nothing."""
    for words in (
        (),
        ("shell",),
        ("mount",),
        ("mount", "{}"),
        ("chown", "{}", "root"),
        ("--help",),
        ("mount", "{}", "a", "b"),
    ):
        found = subprocess.run([helper.command, "operate", *words], check=False, capture_output=True, timeout=60)
        assert found.returncode == 2, words
    found = subprocess.run(
        [helper.command, "operate", "mount", "{}", "x"], check=False, capture_output=True, timeout=60
    )
    assert found.returncode == 1 and b"not one of the inventory's" in found.stderr
