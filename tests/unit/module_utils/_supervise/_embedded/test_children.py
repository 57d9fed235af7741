# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Children that somebody else forks for us: nobody's end is missed, and nobody is taken for another one."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._supervise._embedded.children import Children, Exit
from ansible_collections.holdfast.supervision.plugins.module_utils._supervise._embedded.loop import Loop


@pytest.fixture
def loop() -> Iterator[Loop]:
    yield Loop()
    signal.set_wakeup_fd(-1)


def dead(code: int) -> int:
    """A child of ours that has ended, and was not waited for."""
    pid = os.fork()
    if pid == 0:
        os._exit(code)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    return pid


def turn(loop: Loop) -> None:
    loop.soon(lambda: setattr(loop, "running", False))
    loop.run()


def test_one_that_has_ended_before_we_heard_of_it_has_ended(loop: Loop) -> None:
    family = Children(loop)
    family.expected = 1
    pid = dead(7)
    family.reap()
    ends: list[Exit] = []
    dying: list[int] = []
    family.watch(pid, ends.append, lambda: dying.append(pid))
    # Not from within: whoever begins to watch is not ready for it.
    assert ends == []
    turn(loop)
    assert [(one.kind, one.code) for one in ends] == [(1, 7)]
    # Its number may be somebody else's by now.
    assert dying == []


def test_what_nobody_expected_is_forgotten(loop: Loop) -> None:
    family = Children(loop)
    family.expected = 1
    pid = dead(7)
    family.reap()
    family.expected = 0
    family.reap()
    ends: list[Exit] = []
    family.watch(pid, ends.append)
    turn(loop)
    assert ends == []


LAST_PID = Path("/proc/sys/kernel/ns_last_pid")


def living(pid: int) -> int:
    """A child of ours that has this number, which is free, and waits to be killed."""
    for _try in range(1000):
        LAST_PID.write_text(str(pid - 1))
        found = os.fork()
        if found == 0:
            signal.pause()
            os._exit(0)
        if found == pid:
            return pid
        # Somebody else was there first, and is gone soon.
        os.kill(found, signal.SIGKILL)
        os.waitpid(found, 0)
    raise AssertionError(f"{pid} is somebody else's")


@pytest.mark.skipif(not os.access(LAST_PID, os.W_OK), reason="numbers can't be chosen here")
def test_who_has_the_number_of_one_that_has_ended_is_not_taken_for_it(loop: Loop) -> None:
    family = Children(loop)
    family.expected = 1
    pid = dead(7)
    family.reap()
    assert living(pid) == pid
    ends: list[Exit] = []
    family.watch(pid, ends.append)
    turn(loop)
    assert ends == []
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    family.reap()
    assert [(one.kind, one.code) for one in ends] == [(2, signal.SIGKILL)]
