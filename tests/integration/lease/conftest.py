# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures: guards that are ended afterwards."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from etcds import ETCD, Cluster, Proxy
from guarded import Guards
from sanlocks import SANLOCK, Storage, storage


@pytest.fixture
def guards(runtime: Path) -> Iterator[Guards]:
    """Guards of one empty directory of leases; everything that they started is ended afterwards."""
    base = Path(tempfile.mkdtemp(prefix="hf-lease-"))
    base.chmod(0o755)
    made = Guards(runtime, base)
    yield made
    made.close()
    shutil.rmtree(base)


@pytest.fixture(scope="session")
def etcd() -> Iterator[Cluster]:
    """One etcd of one member, for all tests; nobody stops it for long."""
    if not ETCD:
        pytest.skip("there is no etcd")
    made = Cluster().start()
    yield made
    made.close()


@pytest.fixture
def proxy(etcd: Cluster) -> Iterator[Proxy]:
    """A way to that etcd that may be cut."""
    made = Proxy(etcd.members[0].url)
    yield made
    made.close()


@pytest.fixture
def remote(guards: Guards, etcd: Cluster) -> Guards:
    """Guards whose leases are in etcd, with a prefix of the test's own."""
    guards.use_etcd(etcd.endpoints)
    return guards


@pytest.fixture(scope="module")
def hosts() -> Iterator[Storage]:
    """Two hosts of sanlock, for all tests of a module; nobody stops their daemons."""
    if not SANLOCK:
        pytest.skip("there is no sanlock")
    with storage(2) as made:
        yield made


@pytest.fixture
def fragile() -> Iterator[Storage]:
    """Two hosts of sanlock, whose daemons may be killed."""
    if not SANLOCK:
        pytest.skip("there is no sanlock")
    with storage(2) as made:
        yield made


@pytest.fixture(scope="module")
def ways() -> Iterator[Storage]:
    """Two hosts of sanlock, each with a way of its own to the storage."""
    if not SANLOCK:
        pytest.skip("there is no sanlock")
    if not os.path.exists("/dev/fuse"):
        pytest.skip("there is no FUSE")
    made = Storage(2, ways=True)
    try:
        yield made.join()
    finally:
        made.close()


@pytest.fixture
def disk(guards: Guards) -> Iterator[Path]:
    """A file system of the test's own, which it may freeze."""
    image, point = guards.base / "image", guards.base / "disk"
    point.mkdir()
    image.touch()
    os.truncate(image, 64 << 20)
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
    if subprocess.run(["mount", "-o", "loop", str(image), str(point)], check=False).returncode:
        pytest.skip("no loop devices")
    yield point
    subprocess.run(["umount", str(point)], check=True)
