# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Memory that outlives the exec of its process: who has it, and for how long."""

from __future__ import annotations

import os
import signal

import procs
import pytest
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._helper import memory, zygote

pytestmark = pytest.mark.skipif(os.uname().machine not in zygote.CLONE, reason="nothing is left on this machine")


def become_sleep() -> int:
    """A child that leads a group, leaves its memory and becomes a program."""
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            memory.rehearse()
            memory.leave()
            os.execv("/bin/sleep", ["sleep", "600"])
        finally:
            os._exit(111)
    wait_until(lambda: procs.name(pid) == "sleep")
    return pid


def group(leader: int) -> list[int]:
    """Our children that are in the group of *leader*, without that one."""
    return [one for one in procs.children(os.getpid()) if one != leader and os.getpgid(one) == leader]


def test_it_is_with_another_child_of_ours_in_the_same_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_MOMENT", 600_000_000)
    pid = become_sleep()
    try:
        (other,) = group(pid)
        # The program has another memory, and nobody whom it did not start.
        assert os.readlink(f"/proc/{other}/exe") == os.readlink("/proc/self/exe") != os.readlink(f"/proc/{pid}/exe")
        assert procs.children(pid) == procs.children(other) == []
        assert procs.status(other)["Threads"] == "1"
    finally:
        os.killpg(pid, signal.SIGKILL)
    ended = dict(os.waitpid(-pid, 0) for _number in range(2))
    assert ended == {pid: signal.SIGKILL, other: signal.SIGKILL}


def test_it_is_gone_soon() -> None:
    pid = become_sleep()
    try:
        other, status = os.waitpid(-pid, 0)
        assert (other != pid, status) == (True, 0)
        assert procs.name(pid) == "sleep"
    finally:
        os.kill(pid, signal.SIGKILL)
    assert os.waitpid(-pid, 0) == (pid, signal.SIGKILL)


def test_nothing_is_left_by_a_rehearsal() -> None:
    before = procs.children(os.getpid())
    memory.rehearse()
    assert procs.children(os.getpid()) == before
