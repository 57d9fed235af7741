# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stores for the conformance suite of lease drivers. A driver's author writes one of these, and the suite is theirs too."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from etcds import ETCD, Cluster
from plain_imports import plain_imports
from sanlocks import SANLOCK, Storage
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._lease import drivers, interface
from ansible_collections.holdfast.supervision.plugins.module_utils._lease._nfs import judge, lockfile
from ansible_collections.holdfast.supervision.plugins.module_utils._lease._nfs import store as nfs_store
from ansible_collections.holdfast.supervision.plugins.module_utils._lease.nfs import Nfs


class Store:
    """A store that is empty at first. Overridden: what a test needs of it."""

    name = ""
    #: Whether the store can be made not to answer, and again to answer.
    breakable = False
    #: Whether those who share a resource at the same time have different numbers.
    numbers_shares = True
    #: Whether everybody is told who holds a resource, and not only where he is.
    tells_names = True
    #: Whether `lost_fd` tells of what was taken away.
    announces = True
    #: Parameters with which a grant is good for so long that a store may be silent for a while.
    patient: dict[str, Any] = {"ttl": 20}  # noqa: RUF012

    def driver(self) -> type[interface.Driver]:
        with plain_imports():
            return drivers.load(self.name)

    def parameters(self) -> dict[str, Any]:
        """What a driver has to be told in order to share leases with the others of this test."""
        raise NotImplementedError

    def fresh(self) -> None:
        """Begin another test: nothing of the last one may be in the way."""

    def silence(self) -> None:
        """Let the store answer nobody."""
        raise NotImplementedError

    def heal(self) -> None:
        """Let it answer again; wait until it does."""

    def take_away(self, driver: interface.Driver) -> None:
        """Take everything away from a driver that holds it, behind its back."""
        raise NotImplementedError

    def close(self) -> None:
        """End it."""


class FileStore(Store):
    """A directory on this host."""

    name = "file"
    patient: dict[str, Any] = {}  # noqa: RUF012
    #: Where it is made: in memory, as on hosts.
    place = "/dev/shm" if os.path.isdir("/dev/shm") else None

    def fresh(self) -> None:
        self.close()
        self._base = Path(tempfile.mkdtemp(prefix="hf-conform-", dir=self.place))

    def parameters(self) -> dict[str, Any]:
        return {"directory": str(self._base / "leases")}

    def close(self) -> None:
        if hasattr(self, "_base"):
            shutil.rmtree(self._base)
            del self._base


class NfsStore(FileStore):
    """A directory on this host, which passes for one on NFS. On NFS: tests/machine."""

    breakable = True
    announces = False
    # With O_DIRECT, which not every memory file system knows.
    place = None

    def __init__(self) -> None:
        self._real = (nfs_store.judge, lockfile._read, lockfile._write)

    def driver(self) -> type[interface.Driver]:
        return Nfs

    def fresh(self) -> None:
        super().fresh()
        self._silent = self._base / "silent"
        self.patient = {"directory": str(self._base / "patient")}
        _judge, read, write = self._real

        def hanging(work: Callable[..., Any]) -> Callable[..., Any]:
            def one(*arguments: Any) -> Any:
                wait_until(lambda: not self._silent.exists())
                return work(*arguments)

            return one

        def looked_at(directory: str, _host: str) -> judge.Verdict:
            os.makedirs(directory, exist_ok=True)
            return judge.Verdict(20 if directory.endswith("patient") else 2, [], {})

        nfs_store.judge, lockfile._read, lockfile._write = map(hanging, (looked_at, read, write))  # type: ignore[assignment]

    def parameters(self) -> dict[str, Any]:
        return {**super().parameters(), "scope": "hosts", "poll": 0.1}

    def silence(self) -> None:
        self._silent.touch()

    def heal(self) -> None:
        self._silent.unlink()

    def take_away(self, driver: interface.Driver) -> None:
        assert isinstance(driver, Nfs)
        for path in Path(driver.directory).iterdir():
            path.unlink()

    def close(self) -> None:
        nfs_store.judge, lockfile._read, lockfile._write = self._real
        super().close()


class EtcdStore(Store):
    """One etcd, with a prefix for each test."""

    name = "etcd"
    breakable = True

    def __init__(self) -> None:
        self.cluster = Cluster().start()

    def fresh(self) -> None:
        self._prefix = f"/{uuid.uuid4().hex}"

    def parameters(self) -> dict[str, Any]:
        return {"endpoints": self.cluster.endpoints, "ttl": 3, "prefix": self._prefix}

    def silence(self) -> None:
        self.cluster.members[0].signal(19)

    def heal(self) -> None:
        self.cluster.members[0].signal(18)
        self.cluster.until_serving()

    def take_away(self, driver: interface.Driver) -> None:
        self.cluster.revoke_all()

    def close(self) -> None:
        self.cluster.close()


class SanlockStore(Store):
    """One daemon, that is one host, on one file."""

    name = "sanlock"
    breakable = True
    numbers_shares = False
    patient: dict[str, Any] = {}  # noqa: RUF012
    hosts = 1

    def __init__(self) -> None:
        self.storage = Storage(self.hosts).join()
        self._turn = 0

    def fresh(self) -> None:
        self._prefix = f"{uuid.uuid4().hex[:8]}/"

    def parameters(self) -> dict[str, Any]:
        self._turn += 1
        host = self.storage.hosts[self._turn % self.hosts]
        return host.parameters(prefix=self._prefix)

    def silence(self) -> None:
        for host in self.storage.hosts:
            host.signal(19)

    def heal(self) -> None:
        for host in self.storage.hosts:
            host.signal(18)
        for host in self.storage.hosts:
            host.until_renewed()

    def close(self) -> None:
        self.storage.close()


class SanlockHosts(SanlockStore):
    """Two daemons, that is two hosts, which get the drivers by turns."""

    breakable = False
    numbers_shares = True
    tells_names = False
    hosts = 2


class TableStore(Store):
    """A driver of another collection, which is the example for whoever writes one."""

    name = "example.locks.table"
    breakable = True
    patient: dict[str, Any] = {"ttl": 8}  # noqa: RUF012

    def __init__(self) -> None:
        shared = Path("/dev/shm")
        self._base = Path(tempfile.mkdtemp(prefix="hf-conform-", dir=shared if shared.is_dir() else None))

    def fresh(self) -> None:
        self._path = self._base / uuid.uuid4().hex

    def parameters(self) -> dict[str, Any]:
        return {"path": str(self._path), "ttl": 3}

    def silence(self) -> None:
        self._blocking = sqlite3.connect(self._path, timeout=10, isolation_level=None)
        self._blocking.execute("BEGIN EXCLUSIVE")

    def heal(self) -> None:
        self._blocking.close()

    def take_away(self, driver: interface.Driver) -> None:
        with contextlib.closing(sqlite3.connect(self._path, timeout=10, isolation_level=None)) as table:
            table.execute("DELETE FROM held")

    def close(self) -> None:
        shutil.rmtree(self._base)


class ForeignStore(Store):
    """The store of a driver from elsewhere, of which nothing is known but its parameters."""

    driver_name = ""
    given = "{}"

    def __init__(self) -> None:
        self.name = self.driver_name

    def fresh(self) -> None:
        self._unique = uuid.uuid4().hex

    def parameters(self) -> dict[str, Any]:
        return dict(json.loads(self.given.replace("{unique}", self._unique)))

    def take_away(self, driver: interface.Driver) -> None:
        pytest.skip("only a store of the author's own (--lease-store) can take a lease away behind the driver's back")


def foreign(driver: str, parameters: str) -> type[Store]:
    """Give the store of a driver that is known by its name, with its parameters as JSON."""
    return type("Named", (ForeignStore,), {"driver_name": driver, "given": parameters})


def stores() -> dict[str, type[Store]]:
    """The stores that can be had here."""
    found: dict[str, type[Store]] = {"file": FileStore, "nfs": NfsStore, "table": TableStore}
    if ETCD:
        found["etcd"] = EtcdStore
    if SANLOCK:
        found["sanlock"] = SanlockStore
        found["sanlock_hosts"] = SanlockHosts
    return found
