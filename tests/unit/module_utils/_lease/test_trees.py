# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a process tree is gone, asked while its processes do everything not to be seen."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._lease import trees
from ansible_collections.holdfast.supervision.plugins.module_utils._supervise._embedded import identity

# The leader of a group, which ends; what it leaves behind is always another process, which ends when its child is there.
HOPPING = """\
import os, signal
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
os.setsid()
print(flush=True)
input()
while True:
    if os.fork():
        os._exit(0)
"""


@pytest.fixture
def hopping() -> Iterator[subprocess.Popen[str]]:
    made = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", HOPPING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    yield made

    def ended() -> bool:
        try:
            os.killpg(made.pid, signal.SIGKILL)
        except ProcessLookupError:
            return True
        return False

    wait_until(ended)
    made.communicate()


@pytest.mark.parametrize("containment", [trees.GROUP, trees.EXEC])
def test_a_tree_whose_only_process_is_another_one_each_time_is_not_gone(
    hopping: subprocess.Popen[str], containment: str
) -> None:
    assert hopping.stdout is not None
    hopping.stdout.readline()
    record = {**trees.describe(hopping.pid, identity.start_time(hopping.pid), containment), "began": 0}
    assert trees.remaining(record) == [hopping.pid]
    print(file=hopping.stdin, flush=True)
    hopping.wait()
    assert [trees.gone(record) for _unused in range(50)] == [False] * 50
    os.killpg(hopping.pid, signal.SIGKILL)

    def gone() -> bool:
        try:
            os.killpg(hopping.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        return trees.gone(record)

    wait_until(gone)


def test_one_that_is_dead_and_not_collected_is_not_looked_for_without_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    # On a host that starts something all the time no look counts, and the group has a member as long as it has a zombie.
    forks, looks = iter(range(1_000_000)), []
    monkeypatch.setattr(trees, "_forks", lambda: next(forks))
    remaining = trees.remaining
    monkeypatch.setattr(trees, "remaining", lambda record: looks.append(1) or remaining(record))
    monkeypatch.setattr(trees, "_all", lambda: iter([os.getpid()]))
    leader = subprocess.Popen(["true"], start_new_session=True)
    record = trees.describe(leader.pid, identity.start_time(leader.pid), trees.GROUP)
    os.waitid(os.P_PID, leader.pid, os.WEXITED | os.WNOWAIT)
    assert not trees.outlast(record, 0.2)
    assert len(looks) <= 0.2 / trees._PAUSE + 2
    leader.wait()
    assert trees.outlast(record, 0.2)
