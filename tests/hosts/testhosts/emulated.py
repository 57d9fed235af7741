# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A whole emulated machine with a kernel of its own, where the machine's kernel cannot show what is to be shown.

QEMU without KVM, Debian's cloud kernel (NVMe, ext4 and serial ports are built in, so there is no initramfs), and the root
tree of the test hosts as a disk. It boots in some seconds, runs one program and switches itself off.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import tempfile
import typing as t
from pathlib import Path

from .system import HostsError, require_commands, run
from .tree import cache_directory, locked, recipe, root_tree

KERNEL = "linux-image-cloud-amd64"
#: Modules of the kernel that can be had in a machine, with what they depend on: see `modules`.
MODULES = ("nfsd", "nfsv4", "veth", "virtio_pci", "virtio_net")
UNIT = Path(__file__).with_name("payload.service")
NEEDED_COMMANDS = {"qemu-system-x86_64": "qemu-system-x86", "mkfs.ext4": "e2fsprogs", "debugfs": "e2fsprogs"}
ROOT_MEGABYTES = 1024
#: What a payload's disk has beyond what is put there.
SPARE_MEGABYTES = 32
COMMAND_LINE = (
    # A machine that gets little time takes its timer for a broken one, and gives up, unless it is told not to look.
    "root=/dev/nvme0n1 rootwait rw console=ttyS0 loglevel=4 panic=-1 no_timer_check systemd.unified_cgroup_hierarchy=1 "
    "systemd.show_status=0 systemd.machine_id=686f6c64666173742d6d616368696e65 systemd.mask=ssh.service "
    "systemd.mask=systemd-logind.service systemd.mask=serial-getty@ttyS0.service"
)


class Outcome(t.NamedTuple):
    """What a machine left behind. said: what was written to its second serial port; console: to its first."""

    said: str
    console: str


def boot(
    payload: Path,
    *,
    timeout: float = 120,
    memory: int = 512,
    more: t.Sequence[str] = ("-net", "none"),
    ports: t.Sequence[Path] = (),
) -> Outcome:
    """Boot a machine that runs the executable ``main`` of a folder, and return when it has switched itself off.

    The folder is the disk /payload of the machine; what is written there, or anywhere, is gone with the machine. The
    output of ``main``, and whatever else is written to /dev/ttyS1, comes back. memory: in megabytes. more: of QEMU's options. ports: files that
    are what is written to /dev/ttyS2 and /dev/ttyS3.
    Raises HostsError when the machine is still on after ``timeout`` seconds; it is ended then.
    """
    place = image()
    kernel, root = place / "vmlinuz", place / "root.img"
    with tempfile.TemporaryDirectory(prefix="hf-machine-") as folder:
        place = Path(folder)
        disk = place / "payload.img"
        size = sum(file.lstat().st_size for file in payload.rglob("*")) // 1024**2
        _make_disk(payload, disk, size * 2 + SPARE_MEGABYTES)
        command = ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", str(memory)]
        command += ["-nodefaults", "-nographic", "-no-reboot", *more, "-device", "nvme,id=disks,serial=disks"]
        for number, (file, kept) in enumerate([(root, "on"), (disk, "off")], start=1):
            command += ["-drive", f"if=none,id=d{number},file={file},format=raw,snapshot={kept},file.locking=off"]
            command += ["-device", f"nvme-ns,drive=d{number},bus=disks,nsid={number}"]
        for port in (place / "console", place / "said", *ports):
            command += ["-serial", f"file:{port}"]
        command += ["-kernel", os.fspath(kernel), "-append", COMMAND_LINE]
        problem = ""
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False
            )
            if done.returncode != 0:
                problem = f"qemu ended with {done.returncode}: {done.stderr.strip()}"
        except subprocess.TimeoutExpired:
            problem = f"the machine is still on after {timeout:g} s"
        outcome = Outcome(*(_text(place / port) for port in ("said", "console")))
        if problem:
            raise HostsError(f"{problem}\n{outcome.said[-3000:]}\n{outcome.console[-3000:]}")
        return outcome


def modules(*names: str) -> list[Path]:
    """Files of modules, and of those that they need, in the order in which they can be loaded. names: of MODULES."""
    files = {file.stem.replace("-", "_"): file for file in (image() / "modules").iterdir()}
    return [files[name] for name in _with_needed(names, files)]


def image() -> Path:
    """The folder of kernel, modules and root disk; made first when there is none. Two runs do not make it twice."""
    if platform.machine() != "x86_64":
        raise HostsError("emulated machines are x86_64, and so far only made on one")
    require_commands(NEEDED_COMMANDS)
    tree = root_tree()
    parts = (recipe(), KERNEL, MODULES, ROOT_MEGABYTES, UNIT.read_text(encoding="utf-8"))
    key = hashlib.sha256(" ".join(map(str, parts)).encode())
    place = cache_directory() / f"machine-{key.hexdigest()[:12]}"
    if not place.is_dir():
        with locked(cache_directory() / "machine.lock"):
            if not place.is_dir():
                _build(tree, place)
    return place


def _build(tree: Path, place: Path) -> None:
    new = place.with_name(place.name + ".new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    try:
        _fetch_kernel(new)
        _make_disk(tree, new / "root.img", ROOT_MEGABYTES)
        wants = "/etc/systemd/system/multi-user.target.wants"
        commands = [f"write {UNIT} /etc/systemd/system/{UNIT.name}", f"symlink {wants}/{UNIT.name} ../{UNIT.name}"]
        for command in commands:
            said = run(["debugfs", "-w", "-R", command, new / "root.img"]).stderr.splitlines()[1:]
            if said:  # its exit code is 0 whatever happens
                raise HostsError(f"debugfs {command}: {said}")
        new.rename(place)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise


def _fetch_kernel(place: Path) -> None:
    """Get Debian's present cloud kernel, without installing it on this machine."""
    packages = place / "packages"
    packages.mkdir()
    for update in (False, True):
        if update:
            run(["apt-get", "update", "-qq"])
        depends = run(["apt-cache", "depends", "--important", KERNEL], check=False).stdout.split()
        names = [word for word in depends if word.startswith("linux-image-") and word != KERNEL]
        # apt-get puts it where it is called.
        if names and run(["env", "-C", packages, "apt-get", "download", "-qq", names[0]], check=False).returncode == 0:
            break
    found = list(packages.glob("*.deb"))
    if not found:
        raise HostsError(f"apt-get can't download the package {KERNEL}")
    run(["dpkg", "-x", found[0], packages])
    [kernel] = packages.glob("boot/vmlinuz-*")
    kernel.rename(place / "vmlinuz")
    files = {file.stem.replace("-", "_"): file for file in packages.rglob("*.ko")}
    (place / "modules").mkdir()
    for name in _with_needed(MODULES, files):
        files[name].rename(place / "modules" / files[name].name)
    shutil.rmtree(packages)


def _with_needed(names: t.Iterable[str], files: dict[str, Path]) -> list[str]:
    """Modules and what they depend on, each behind what it needs. It stands in the modules themselves."""
    found: list[str] = []
    for name in names:
        said = re.search(rb"\0depends=([^\0]*)\0", files[name].read_bytes())
        needed = said.group(1).decode().replace("-", "_").split(",") if said else []
        for one in [*_with_needed(filter(None, needed), files), name]:
            if one not in found:
                found.append(one)
    return found


def _make_disk(folder: Path, disk: Path, megabytes: int) -> None:
    """Make a disk image with what is in a folder. No journal: nobody reads it again after a power cut."""
    with disk.open("wb") as file:
        file.truncate(megabytes * 1024**2)
    run(["mkfs.ext4", "-q", "-F", "-O", "^has_journal", "-E", "root_owner=0:0", "-d", folder, disk])


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace").replace("\r\n", "\n") if path.exists() else ""
