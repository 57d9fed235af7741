# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""By what name a disk is known: what the kernel tells of devices, written down as it does, and real files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._lease import disks, mounts, naming
from ansible_collections.holdfast.supervision.plugins.module_utils._lease.etcd import Etcd
from ansible_collections.holdfast.supervision.plugins.module_utils._lease.file import File
from ansible_collections.holdfast.supervision.plugins.module_utils._lease.interface import (
    RESOURCE_NAME,
    DriverRefused,
    LeaseError,
)
from ansible_collections.holdfast.supervision.plugins.module_utils._lease.modes import HERE, joined, split

Device = Callable[..., str]


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Device:
    """Makes what the kernel tells of a block device, and gives the name by which that is known."""
    monkeypatch.setattr(disks, "SYSFS", str(tmp_path / "sys"))

    def make(number: str, whole: str = "", **told: str) -> str:
        place = tmp_path / "devices" / (f"{whole.replace(':', '_')}/part" if whole else number.replace(":", "_"))
        for name, text in told.items():
            path = place / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")
        place.mkdir(parents=True, exist_ok=True)
        (place / "dev").write_text(f"{number}\n")
        (tmp_path / "sys").mkdir(exist_ok=True)
        (tmp_path / "sys" / number).symlink_to(place)
        return disks._device(number)

    return make


def test_a_path_of_a_disk_and_the_multipath_device_are_one(device: Device) -> None:
    one = device("8:16", device__wwid="naa.6001405aabbccdd0011223344556677f")
    many = device("254:3", dm__uuid="mpath-36001405aabbccdd0011223344556677f", dm__name="mpatha")
    assert one == many == "disk:naa.6001405aabbccdd0011223344556677f"


def test_a_partition_is_one_of_its_disk_by_either_way(device: Device) -> None:
    device("8:16", device__wwid="naa.5000c500a1b2c3d4")
    part = device("8:18", whole="8:16", partition="2")
    mapped = device("254:4", dm__uuid="part2-mpath-35000c500a1b2c3d4")
    assert part == mapped == "disk:naa.5000c500a1b2c3d4-part2"


def test_a_volume_is_known_by_its_number_and_not_by_its_name(device: Device) -> None:
    uuid = "LVM-Zp2Xq1cVY3f0dW8nT5m7kR6sJ4hL9bAeQwErTyUiOpAsDfGhJkLzXcVbNm123456"
    first, second = device("254:0", dm__uuid=uuid, dm__name="vg0-a"), device("253:7", dm__uuid=uuid, dm__name="vg0-b")
    assert first == second and RESOURCE_NAME(first)
    assert device("254:1", dm__uuid=uuid[:-1] + "7") != first


def test_an_encrypted_device_is_known_by_its_header(device: Device) -> None:
    number = "1b9d6bcd4f3a4c2e9f10aabbccddeeff"
    assert device("254:0", dm__uuid=f"CRYPT-LUKS2-{number}-backup") == device(
        "254:9", dm__uuid=f"CRYPT-LUKS2-{number}-other"
    )
    assert device("254:5", dm__uuid="CRYPT-PLAIN-swap") == ""


@pytest.mark.parametrize(
    ("told", "name"),
    [
        ({"wwid": "eui.0025385b71b00d7b"}, "disk:eui.0025385b71b00d7b"),
        ({"md__uuid": "7f3b2c1d:00112233:44556677:8899aabb"}, "disk:md.7f3b2c1d:00112233:44556677:8899aabb"),
        ({"device__cid": "150100424e42345233012345678901ab"}, "disk:mmc.150100424e42345233012345678901ab"),
        ({"serial": "billing-1"}, "disk:serial.billing-1"),
        ({}, ""),
    ],
)
def test_what_tells_a_number_is_known_by_it(device: Device, told: dict[str, str], name: str) -> None:
    assert device("259:0", **told) == name


def test_a_number_with_blanks_or_a_long_one_still_makes_a_name(device: Device) -> None:
    one = device("8:0", device__wwid="t10.ATA     QEMU HARDDISK                           QM00001 ")
    other = device("8:16", device__wwid="t10.ATA     QEMU HARDDISK                           QM00002 ")
    assert RESOURCE_NAME(one) and RESOURCE_NAME(other) and one != other


@pytest.fixture
def image(tmp_path: Path) -> Path:
    made = tmp_path / "disk.img"
    made.write_bytes(bytes(512))
    return made


def test_a_file_is_the_same_by_every_link(image: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(image)
    (tmp_path / "folder").symlink_to(tmp_path)
    names = {disks.key(str(path)) for path in (image, tmp_path / "link", tmp_path / "folder" / "disk.img")}
    assert len(names) == 1
    (tmp_path / "other.img").write_bytes(bytes(512))
    assert disks.key(str(tmp_path / "other.img")) not in names


def test_a_file_with_a_second_name_is_refused(image: Path, tmp_path: Path) -> None:
    os.link(image, tmp_path / "second.img")
    with pytest.raises(DriverRefused, match="has 2 names"):
        disks.key(str(image))


def test_a_file_of_a_server_is_the_same_wherever_what_part_of_it_is_mounted(
    image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def seen(point: Path, source: str, root: str = "/") -> str:
        monkeypatch.setattr(mounts, "mount", lambda _path: mounts.Mount(str(point), "nfs4", source, "", root))
        return disks.key(str(image))

    whole = seen(tmp_path.parent, "files:/export")
    assert whole == seen(tmp_path, f"files:/export/{tmp_path.name}")
    # A directory of it is mounted a second time (mount --bind).
    assert whole == seen(tmp_path, "files:/export", f"/{tmp_path.name}")
    assert whole != seen(tmp_path.parent, "others:/export")


def test_what_is_no_disk_and_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DriverRefused, match="neither a block device nor a file"):
        disks.key(str(tmp_path))
    with pytest.raises(DriverRefused, match="neither"):
        naming.known_as("disk:/dev/null")
    with pytest.raises(LeaseError, match="No such file") as caught:
        naming.known_as(f"disk:{tmp_path}/none")
    assert not isinstance(caught.value, DriverRefused)
    assert naming.known_as("a-name") == "a-name"


def test_a_device_that_other_hosts_do_not_know_is_for_leases_of_this_host(tmp_path: Path) -> None:
    (tmp_path / "leases").mkdir(mode=0o700)
    naming.register(File("a", {"directory": str(tmp_path / "leases")}), "disk:/dev/x", "exclusive", f"{HERE}7:1")
    with pytest.raises(DriverRefused, match="name the resource yourself"):
        naming.register(Etcd("a", {"endpoints": "http://127.0.0.1:1"}), "disk:/dev/x", "exclusive", f"{HERE}7:1")


@pytest.mark.parametrize(
    ("name", "mode"),
    [("r", "exclusive"), ("r:b", "shared"), ("disk:/a:shared", "exclusive"), ("disk:/a b", "readonly")],
)
def test_what_is_written_is_read_again(name: str, mode: str) -> None:
    assert split(joined(name, mode)) == (name, mode)
