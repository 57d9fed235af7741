# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Leases on disks: whatever a disk is called, it is one; and who only reads is never beside who writes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from guarded import PYTHON, Guards

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="pid namespaces need root")


@pytest.fixture
def image(guards: Guards) -> Path:
    made = guards.base / "disk.img"
    made.write_bytes(bytes(1 << 20))
    return made


@pytest.fixture
def loop(image: Path) -> Iterator[str]:
    """A block device of which the image is the medium."""
    made = subprocess.run(["losetup", "--find", "--show", image], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"no loop devices: {made.stderr.strip()}")
    yield made.stdout.strip()
    subprocess.run(["losetup", "--detach", made.stdout.strip()], check=True)


def key(guards: Guards, path: object) -> str:
    command = [PYTHON, "-I", "-S", str(guards.runtime), "lease", "key", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def test_two_ways_to_one_image_exclude_each_other(guards: Guards, image: Path, loop: str) -> None:
    (guards.base / "link").symlink_to(image)
    guards.start("a", f"--resource=disk:{loop}")
    held = guards.until("a", "active")
    assert [one["name"] for one in held["resources"]] == [key(guards, image)]
    assert held["disks"] == {key(guards, image): loop}
    for way in (image, guards.base / "link"):
        assert guards.start("b", f"--resource=disk:{way}", "--no-wait").wait(20) == 75
    guards.start("c", f"--resource=disk:{guards.base / 'link'}")
    guards.until("c", "standby")
    guards.started[0].terminate()
    guards.until("c", "active")


def test_a_service_without_a_guard_has_a_disk_too(guards: Guards, image: Path) -> None:
    guards.start("a", f"--resource=disk:{image}", "--mode=exec", "--safety=standard")
    assert guards.until("a", "active")["disks"] == {key(guards, image): str(image)}
    assert guards.start("b", f"--resource=disk:{image}", "--no-wait").wait(20) == 75


def test_one_disk_by_two_names_is_refused_and_said(guards: Guards, image: Path) -> None:
    (guards.base / "link").symlink_to(image)
    words = (f"--resource=disk:{image}", f"--resource=disk:{guards.base / 'link'}")
    assert guards.start("a", *words).wait(20) == 111
    assert f"disk:{guards.base / 'link'}: {key(guards, image)}: is named twice" in guards.complaints("a")


def test_a_disk_that_is_not_there_lets_nothing_start(guards: Guards) -> None:
    assert guards.start("a", f"--resource=disk:{guards.base}/none").wait(20) == 111
    assert f"disk {guards.base}/none: No such file or directory" in guards.complaints("a")


def test_a_disk_is_added_and_given_back_also_when_it_has_vanished(guards: Guards, image: Path) -> None:
    guards.start("a")
    guards.until("a", "active")
    token = guards.call("a", "Acquire", resource=f"disk:{image}", mode="readonly")["token"]
    assert guards.call("a", "Acquire", resource=f"disk:{image}", mode="readonly")["token"] == token
    assert guards.call("a", "Status")["disks"] == {key(guards, image): str(image)}
    name = key(guards, image)
    image.unlink()
    guards.call("a", "Release", resource=f"disk:{image}")
    assert [one["name"] for one in guards.call("a", "Status")["resources"]] == ["r"]
    guards.start("b", f"--resource={name}", "--no-wait")
    guards.until("b", "active")


def test_people_are_told_the_path(guards: Guards, image: Path) -> None:
    guards.start("a", f"--resource=disk:{image}:shared")
    guards.until("a", "active")
    (guards.base / "scan" / ".holdfast").mkdir(parents=True)
    (guards.base / "scan" / ".holdfast" / "guards").symlink_to(guards.state)
    command = [PYTHON, "-I", "-S", str(guards.runtime), "lease", "list", "--scan", str(guards.base / "scan")]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert f"disk:{image}:shared (1)" in told


@pytest.mark.parametrize("store", ["file", "etcd"])
def test_readers_are_together_and_never_beside_a_writer(
    guards: Guards, request: pytest.FixtureRequest, store: str
) -> None:
    if store == "etcd":
        request.getfixturevalue("remote")
    for name in ("a", "b"):
        guards.start(name, "--resource=r:readonly")
        guards.until(name, "active")
    assert guards.start("c", "--resource=r:shared", "--no-wait").wait(20) == 75
    assert guards.start("d", "--resource=r", "--no-wait").wait(20) == 75
    guards.start("e", "--resource=r:shared")
    guards.until("e", "standby")
    # However its guard ends.
    guards.started[0].kill()
    guards.started[1].terminate()
    guards.until("e", "active")
    assert guards.start("f", "--resource=r:readonly", "--no-wait").wait(20) == 75
    assert guards.report("e")["resources"][0]["mode"] == "shared"
