# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock of a daemon, whose holder may be killed while he forks."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._supervise._embedded import files


class Holder:
    """A process that has the lock, with a child that has inherited the descriptor until it is told to go."""

    def __init__(self, path: Path) -> None:
        told, self._tell = os.pipe()
        says, said = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            os.close(self._tell)
            files.lock(str(path))
            if os.fork():
                os.write(said, b"x")
                signal.pause()
            os.read(told, 1)
            os._exit(0)
        os.close(told)
        os.close(said)
        os.read(says, 1)
        os.close(says)

    def kill(self) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = 0

    def let_the_child_go(self) -> None:
        if self._tell >= 0:
            os.close(self._tell)
            self._tell = -1


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[Holder]:
    one = Holder(tmp_path / "lock")
    yield one
    one.kill()
    one.let_the_child_go()


def test_a_lock_is_busy_while_its_holder_lives(holder: Holder, tmp_path: Path) -> None:
    with pytest.raises(files.Busy):
        files.lock_after(str(tmp_path / "lock"), 600.0)


def test_the_children_of_a_killed_holder_are_waited_for(holder: Holder, tmp_path: Path) -> None:
    holder.kill()
    with pytest.raises(files.Busy):
        files.lock(str(tmp_path / "lock"))
    holder.let_the_child_go()
    os.close(files.lock_after(str(tmp_path / "lock"), 60.0))


def test_children_that_keep_the_lock_are_not_waited_for_for_ever(holder: Holder, tmp_path: Path) -> None:
    holder.kill()
    with pytest.raises(files.Busy):
        files.lock_after(str(tmp_path / "lock"), 0.05)
