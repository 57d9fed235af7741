# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Storage without room for one more byte: who holds lives on and gives back, and who gets nothing is told why. For etcd: test_etcd.py."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from guarded import Guards, make_runtime
from sanlocks import SANLOCK, Storage
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._lease._sanlock.prepare import prepare
from ansible_collections.holdfast.supervision.plugins.module_utils._lease.handle import Handle
from ansible_collections.holdfast.supervision.plugins.module_utils._lease.interface import LeaseError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="pid namespaces and mounting need root")

#: Seconds for one step.
LONG = 20.0
#: A local directory passes for one on NFS. On NFS: tests/machine.
TAKEN = (
    (
        "holdfast/_lease/_nfs/judge.py",
        "def judge(directory: str, host: str)",
        "def judge(directory, host):\n    os.makedirs(directory, 0o700, exist_ok=True)\n    return Verdict(6, [], {})\n\n\ndef old(directory: str, host: str)",
    ),
)


@contextlib.contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Have a file system full to the last byte."""
    path = disk / "filler"
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096, 512):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))
                    os.fsync(file.fileno())
    yield
    path.unlink()


@pytest.fixture(params=["file", "nfs", "sanlock"])
def stored(
    request: pytest.FixtureRequest, guards: Guards, disk: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Guards]:
    """Guards whose leases are on that disk."""
    if request.param == "sanlock":
        if not SANLOCK:
            pytest.skip("there is no sanlock")
        storage = Storage(1, below=disk)
        try:
            guards.use_sanlock(storage.join().hosts[0])
            yield guards
        finally:
            guards.close()
            storage.close()
        return
    guards.driver = (f"--directory={disk}/leases",)
    if request.param == "nfs":
        guards.runtime = make_runtime(tmp_path_factory.mktemp("nfs"), TAKEN)
        guards.driver += ("--parameter=scope=hosts", "--parameter=poll=0.1")
    yield guards
    guards.close()


def test_who_holds_lives_on_and_gives_back_and_who_starts_is_told(stored: Guards, disk: Path) -> None:
    first = stored.start("a")
    stored.until("a", "active")
    second = stored.start("b")
    stored.until("b", "standby")
    with filled(disk):
        until = stored.call("a", "Status")["valid_until"]
        if until is not None:
            wait_until(lambda: stored.call("a", "Status")["valid_until"] > until)
        assert stored.start("new", "--resource=new", "--no-wait").wait(LONG) == 111
        told = stored.errors("new")
        assert "No space left" in told or "no room is left" in told
        with (
            Handle.attach("a", str(stored.state), LONG) as source,
            Handle.attach("b", str(stored.state), LONG) as target,
        ):
            try:
                source.prepare_out("h", target.prepare_in("h"), 30)
            except LeaseError as error:
                assert "No space left" in str(error)
            else:
                source.cancel("h")
        assert stored.report("a")["phase"] == "active"
        first.terminate()
        assert first.wait(LONG) == 0
        # Who is next gets what has been there before, or is told.
        if stored.driver == (f"--directory={disk}/leases",):
            # Each holder has a file of his own there.
            second.wait(LONG)
            assert "No space left" in stored.errors("b")
            assert not [path for path in (disk / "leases").iterdir() if path.suffix == ".new"]
        else:
            stored.until("b", "active")
    # What could not be got then is got now.
    stored.start("new", "--resource=new")
    stored.until("new", "active")


def test_a_lockspace_for_which_there_is_no_room_leaves_nothing(disk: Path) -> None:
    if not SANLOCK:
        pytest.skip("there is no sanlock")
    storage = Storage(1, prepared=False, below=disk)
    try:
        with filled(disk):
            with pytest.raises(LeaseError, match="no room is left"):
                prepare(storage.hosts[0].parameters(), 1, 12)
            assert sorted(path.name for path in disk.iterdir()) == ["filler", "lost+found"]
        assert prepare(storage.hosts[0].parameters(), 1, 12)
    finally:
        storage.close()
