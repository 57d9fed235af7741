# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Looks at storage that may hang: whoever asks for one hears of it in time, and keeps nothing of it."""

from __future__ import annotations

import errno
import os
import time

import procs
import pytest
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._lease.aside import aside
from ansible_collections.holdfast.supervision.plugins.module_utils._lease.interface import LeaseError, StoreUnavailable


def test_it_gives_what_the_work_gives_however_much_that_is() -> None:
    assert aside(lambda: b"x" * 300_000, 30) == b"x" * 300_000
    assert aside(lambda: b"", 30) == b""


def test_an_error_of_the_storage_is_the_same_here() -> None:
    def broken() -> bytes:
        raise OSError(errno.EIO, "broken")

    with pytest.raises(OSError, match="Input/output") as caught:
        aside(broken, 30)
    assert caught.value.errno == errno.EIO


def test_it_has_nothing_of_ours_open() -> None:
    reads, writes = os.pipe()
    # Its own, and the one by which it lists them.
    assert aside(lambda: b" ".join(sorted(map(os.fsencode, os.listdir("/proc/self/fd")))), 30) == b"0 1 2 3 4"
    os.close(reads)
    os.close(writes)


def test_one_that_hangs_is_not_waited_for_and_ends() -> None:
    before = set(procs.children(os.getpid()))

    def hangs() -> bytes:
        time.sleep(1000)
        return b""

    with pytest.raises(StoreUnavailable, match="does not answer"):
        aside(hangs, 0.2)
    (child,) = set(procs.children(os.getpid())) - before
    wait_until(lambda: os.waitpid(child, os.WNOHANG)[0] == child, 20)


def test_one_that_dies_has_said_nothing() -> None:
    def dies() -> bytes:
        os._exit(0)

    with pytest.raises(StoreUnavailable):
        aside(dies, 30)


def test_where_there_can_be_no_child_nothing_is_left_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> int:
        raise OSError(errno.EAGAIN, "full")

    monkeypatch.setattr(os, "fork", full)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(LeaseError, match="no process for a look at the storage"):
        aside(lambda: b"", 30)
    assert os.listdir("/proc/self/fd") == before
