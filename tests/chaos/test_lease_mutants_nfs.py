# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The driver `file` with scope hosts, with known faults: a check has to catch each. See test_lease_mutants.py.

The directory is a local one that passes for one on NFS. What a driver does there is done by a process that has come from
this one when the driver first asked it: what is exchanged before that is exchanged there.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._lease import drivers, handover, interface
from ansible_collections.holdfast.supervision.plugins.module_utils._lease._nfs import judge, layout, lockfile, store
from ansible_collections.holdfast.supervision.plugins.module_utils._lease.nfs import Nfs

Make = Callable[..., Nfs]
#: Takes a maker of drivers and their directory; says whether the fault shows.
Check = Callable[[Make, Path], bool]
Patch = pytest.MonkeyPatch


@pytest.fixture
def make(tmp_path: Path, monkeypatch: Patch) -> Iterator[Make]:
    """Makes drivers that want db, each on the host that is named."""
    made: list[Nfs] = []
    monkeypatch.setattr(store, "judge", lambda _directory, _host: judge.Verdict(60, [], {}))

    def one(host: str) -> Nfs:
        driver = drivers.make("file", f"on-{host}", {"directory": str(tmp_path), "scope": "hosts", "poll": 0.1})
        assert isinstance(driver, Nfs)
        driver.host = host
        driver.register("db", interface.EXCLUSIVE_MODE)
        made.append(driver)
        return driver

    yield one
    for driver in made:
        driver.free()


def _lost(driver: Nfs) -> bool:
    """Whether it says that everything is lost, and goes on saying so."""
    for _unused in range(2):
        try:
            driver.renew()
        except interface.Lost:
            continue
        return False
    return True


# -- checks: each gives whether the fault shows


def counts_from_the_answer(make: Make, directory: Path) -> bool:
    """The server takes half a second for each write."""
    one = make("a")
    (directory / "slow").touch()
    one.acquire()
    one.renew()
    return time.clock_gettime(time.CLOCK_BOOTTIME) - one.good_from < 0.5


def goes_on_after_an_error(make: Make, directory: Path) -> bool:
    """One write fails with EIO, which is how a client learns that the server has ended its locks; later ones do not."""
    one = make("a")
    one.acquire()
    (directory / "broken").touch()
    try:
        one.renew()
    except interface.LeaseError:
        pass
    (directory / "broken").unlink()
    return not _lost(one)


def goes_on_beside_a_later_number(make: Make, directory: Path) -> bool:
    one = make("a")
    one.acquire()
    with (directory / "db.lock").open("r+b") as file:
        file.write(layout.encode({"token": 7, "ttl": 60}))
    return not _lost(one)


def goes_on_without_its_file(make: Make, directory: Path) -> bool:
    one = make("a")
    one.acquire()
    (directory / "db.lock").rename(directory / "aside")
    return not _lost(one)


def gets_in_by_the_lock_alone(make: Make, directory: Path) -> bool:
    """The holder's lock is gone, as it is when the server has ended it; nobody knows that of his service."""
    one, other = make("a"), make("b")
    one.acquire()
    assert one._hand is not None
    with open(f"/proc/self/fdinfo/{one._hand._process}", encoding="ascii") as file:
        pid = next(int(line.split()[1]) for line in file if line.startswith("Pid:"))
    os.kill(pid, signal.SIGKILL)
    with (directory / "db.lock").open("r+b") as file:
        wait_until(lambda: _lockable(file.fileno()))
    try:
        other.acquire()
    except interface.Busy:
        return False
    return True


def _lockable(file: int) -> bool:
    return lockfile.ofd.lockable(file, 0, False)


def takes_over_what_somebody_had_between(make: Make, directory: Path) -> bool:
    """Somebody who knows no marks had it after the source."""
    source, between, target = make("a"), make("c"), make("b")
    source.acquire()
    state = source.prepare_out("h", target.identity, 60)
    source.release()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "permit", lambda *_words: None)
        between.acquire()
        between.release()
    try:
        target.complete_in(state)
    except handover.Overtaken:
        return False
    return True


# -- faults


def _from_the_answer(patch: Patch) -> None:
    renewing = store.Store.renew

    def renew(self: store.Store) -> dict[str, Any]:
        answer = renewing(self)
        self.good_from = time.clock_gettime(time.CLOCK_BOOTTIME)
        return {**answer, "good_from": self.good_from}

    patch.setattr(store.Store, "renew", renew)


def _locked_again(patch: Patch) -> None:
    patch.setattr(store.Store, "_check", lambda self: setattr(self, "lost", ""))


def _own_number_alone(patch: Patch) -> None:
    patch.setattr(lockfile.LockFile, "block", lambda self, _number: layout.encode({"token": self.token}))


def _any_file(patch: Patch) -> None:
    patch.setattr(lockfile.LockFile, "current", lambda _self: True)


def _lock_alone(patch: Patch) -> None:
    patch.setattr(store.Store, "_judge", lambda self, one: (self._read(one), 0.0, ""))


def _any_number(patch: Patch) -> None:
    patch.setattr(store, "permit", lambda *_words: None)


MUTANTS: dict[str, tuple[Callable[[Patch], None], Check]] = {
    "time counts from the answer": (_from_the_answer, counts_from_the_answer),
    "what is lost is locked again": (_locked_again, goes_on_after_an_error),
    "a later number is not looked at": (_own_number_alone, goes_on_beside_a_later_number),
    "the file's name is not looked at": (_any_file, goes_on_without_its_file),
    "the lock alone counts": (_lock_alone, gets_in_by_the_lock_alone),
    "the number is not compared at a hand-over": (_any_number, takes_over_what_somebody_had_between),
}


@pytest.mark.parametrize("real", [False, True], ids=["mutant", "real"])
@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_caught_and_the_real_one_is_not(
    name: str, real: bool, make: Make, tmp_path: Path, monkeypatch: Patch
) -> None:
    fault, shows = MUTANTS[name]
    writing = lockfile._write

    def write(*words: Any) -> None:
        if (tmp_path / "broken").exists():
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if (tmp_path / "slow").exists():
            time.sleep(0.5)
        writing(*words)

    monkeypatch.setattr(lockfile, "_write", write)
    if not real:
        fault(monkeypatch)
    assert shows(make, tmp_path) is not real
