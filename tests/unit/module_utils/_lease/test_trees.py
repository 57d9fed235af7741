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
from pathlib import Path

import pytest
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._lease import trees
from ansible_collections.holdfast.supervision.plugins.module_utils._supervise._embedded import identity

# The leader of a group, which ends; what it leaves behind is always another process, which ends when its child is there. For a
# while: nobody finds it whose test was killed, and it takes a whole processor.
HOPPING = """\
import os, signal, time
end = time.monotonic() + 120
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
os.setsid()
print(flush=True)
input()
while time.monotonic() < end:
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


# The leader of a group, which ends; of what it leaves behind the first thread ends too, and another one does not.
HEADLESS = """\
import ctypes, os, sys, threading
os.setsid()
if os.fork():
    sys.stdin.readline()
    os._exit(0)
if sys.argv[1:]:
    os.setsid()
threading.Thread(target=threading.Event().wait).start()
print(os.getpid(), flush=True)
ctypes.CDLL(None).pthread_exit(None)
"""


# Executes itself once more, with the mark that it is told.
MARKED = """\
import os, sys
command = [sys.executable, "-I", "-S", "-c", *sys.argv[1:]]
os.execve(sys.executable, command, {"HOLDFAST_TENURE": sys.stdin.readline().strip()})
"""


@pytest.mark.parametrize(
    ("containment", "words"),
    [(one, words) for one in (trees.GROUP, trees.EXEC) for words in ((), ("another session",))],
)
def test_a_process_that_is_left_behind_without_its_first_thread_is_found(containment: str, words: tuple[str]) -> None:
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", MARKED, HEADLESS, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as leader:
        assert leader.stdin is not None and leader.stdout is not None
        started = identity.start_time(leader.pid)
        # Known by its mark alone where it has left group and session.
        print(f"{leader.pid}.{started}", file=leader.stdin, flush=True)
        left = int(leader.stdout.readline())
        try:
            wait_until(lambda: Path(f"/proc/{left}/stat").read_text().rpartition(") ")[2][0] == "Z")
            record = {**trees.describe(leader.pid, started, containment), "began": started - 1}
            print(file=leader.stdin, flush=True)
            leader.wait()
            assert trees.remaining(record) == [left]
            assert not trees.outlast(record, 0.0)
        finally:
            os.kill(left, signal.SIGKILL)
        assert trees.outlast(record, 20.0)


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


def test_a_dead_leader_that_nobody_collects_is_told_from_a_living_group_on_a_host_that_never_rests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Something is forked whenever as many processes were looked at as there are at least.
    looked = [0]
    kin = identity.kin

    def looking(pid: int) -> tuple[int, str, int, int] | None:
        looked[0] += 1
        return kin(pid)

    monkeypatch.setattr(identity, "kin", looking)
    least = len([pid for pid in os.listdir("/proc") if pid.isdigit()]) // 2
    monkeypatch.setattr(trees, "_forks", lambda: looked[0] // least)
    leader = subprocess.Popen(["true"], start_new_session=True)
    started = identity.start_time(leader.pid)
    os.waitid(os.P_PID, leader.pid, os.WEXITED | os.WNOWAIT)
    for containment in (trees.GROUP, trees.EXEC):
        assert trees.remaining({**trees.describe(leader.pid, started, containment), "began": started - 1}) == []
    leader.wait()


@pytest.mark.parametrize(
    ("last", "found"),
    [
        ((9, 9, 9), []),
        ((9, 9, 12), [11]),
        ((30, 30, 11), [11]),
        ((10, 10, 10), []),
        ((11, 11, 11), []),
        ((-1, -1, -1), [11]),
    ],
)
def test_whose_number_was_given_anew_is_looked_at_once_more(
    monkeypatch: pytest.MonkeyPatch, last: tuple[int, ...], found: list[int]
) -> None:
    # It is forked in the first look only; in the second one number 11 belongs to somebody who is wanted.
    numbers, forks, asked = iter(last), iter((0, 0, 1, 1, 1)), []
    monkeypatch.setattr(trees, "_last_pid", lambda: next(numbers))
    monkeypatch.setattr(trees, "_forks", lambda: next(forks))
    monkeypatch.setattr(trees, "_all", lambda: iter([10, 11]))

    def wanted(pid: int) -> bool:
        asked.append(pid)
        return asked.count(pid) > 1 and pid == 11

    assert trees._search(0, wanted) == found
