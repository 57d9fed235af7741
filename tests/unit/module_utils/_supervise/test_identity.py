# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is read about processes, of which those who run them choose a part."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._supervise._embedded import identity

#: Takes a name, says so, and waits.
RENAMED = "import sys; open('/proc/self/comm', 'wb').write(sys.argv[1].encode()); print(flush=True); sys.stdin.read()"


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
