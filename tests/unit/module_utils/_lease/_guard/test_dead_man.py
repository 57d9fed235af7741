# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The kernel's timer kills a process whatever state it is in, and spares one that has renewed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._lease._guard import kernel

SOON = 0.05
#: Time enough to be disarmed in, on a busy machine too.
LATER = 1.5


def now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def end_of(what: Callable[[kernel.DeadMan], None]) -> int:
    """Run *what* in a process of its own, and give how that ended."""
    pid = os.fork()
    if not pid:
        try:
            what(kernel.DeadMan())
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _wait(dead_man: kernel.DeadMan) -> None:
    dead_man.arm(now() + SOON)
    time.sleep(60)


def _spin(dead_man: kernel.DeadMan) -> None:
    dead_man.arm(now() + SOON)
    while True:
        pass


def _stop(dead_man: kernel.DeadMan) -> None:
    dead_man.arm(now() + SOON)
    os.kill(os.getpid(), signal.SIGSTOP)


def _be_deaf(dead_man: kernel.DeadMan) -> None:
    dead_man.arm(now() + SOON)
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    time.sleep(60)


def _be_late(dead_man: kernel.DeadMan) -> None:
    dead_man.arm(now() - 1)
    time.sleep(60)


def _be_nobody(dead_man: kernel.DeadMan) -> None:
    if os.geteuid() == 0:
        os.setuid(65534)
    dead_man.arm(now() + SOON)
    time.sleep(60)


@pytest.mark.parametrize("what", [_wait, _spin, _stop, _be_deaf, _be_late, _be_nobody])
def test_the_kernel_kills_at_the_time(what: Callable[[kernel.DeadMan], None]) -> None:
    assert end_of(what) == -signal.SIGKILL


def test_a_renewed_and_a_disarmed_timer_kill_nobody() -> None:
    def renew(dead_man: kernel.DeadMan) -> None:
        dead_man.arm(now() + LATER)
        dead_man.arm(now() + 1000)
        other = kernel.DeadMan()
        other.arm(now() + LATER)
        other.arm(None)
        time.sleep(LATER + 4 * SOON)

    assert end_of(renew) == 0


def test_a_timer_is_not_inherited() -> None:
    def fork(dead_man: kernel.DeadMan) -> None:
        dead_man.arm(now() + LATER)
        child = os.fork()
        if not child:
            time.sleep(LATER + 4 * SOON)
            os._exit(7)
        dead_man.arm(None)
        os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

    assert end_of(fork) == 7
