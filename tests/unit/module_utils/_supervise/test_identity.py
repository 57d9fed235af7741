# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is read about processes, of which those who run them choose a part."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._supervise._embedded import identity

#: Takes a name, says so, and waits.
RENAMED = "import sys; open('/proc/self/comm', 'wb').write(sys.argv[1].encode()); print(flush=True); sys.stdin.read()"


#: Its first thread ends, another one does not.
HEADLESS = """
import ctypes, sys, threading
threading.Thread(target=sys.stdin.read).start()
print(flush=True)
ctypes.CDLL(None).pthread_exit(None)
"""


@pytest.mark.parametrize("name", ["a b", ") R 1 1 1", "x) Z 1 (", "(((", ")))", "\n1 1 1", "1 (x) S 1"])
def test_a_name_of_a_process_says_nothing_of_its_parent_or_state(name: str) -> None:
    command = [sys.executable, "-c", RENAMED, name]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline()
        found = identity.process(process.pid)
        assert found is not None and found[2] == os.getpid() and found[1] in "RS"
        assert identity.alive(process.pid, found[0])
        assert process.stdin is not None
        process.stdin.close()


def test_a_process_whose_first_thread_has_ended_lives_as_long_as_another_one() -> None:
    command = [sys.executable, "-c", HEADLESS]
    environment = {**os.environ, "HOLDFAST_SPAWN": "token"}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None and process.stdout.readline()

        def headless() -> bool:
            return Path(f"/proc/{process.pid}/stat").read_text().rpartition(") ")[2][0] == "Z"

        wait_until(headless)
        started = identity.start_time(process.pid)
        assert identity.alive(process.pid, started)
        assert process.pid in identity.below(os.getpid())
        assert identity.zombie_status(process.pid, started) is None
        assert identity.environment(process.pid).count(b"HOLDFAST_SPAWN=token\0") == 1
        assert identity.marked({b"token"})[b"token"] == process.pid
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert not identity.alive(process.pid, started)
        assert process.pid not in identity.below(os.getpid())
        assert identity.zombie_status(process.pid, started) == 9
