# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The run script of a oneshot, in every sh that is here, is told to stop at the worst of moments."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._definition.kinds import REPORT_FD
from ansible_collections.holdfast.supervision.plugins.plugin_utils import payload

ROUNDS = 120
SHELLS = {"dash": ["dash"], "bash": ["bash"], "busybox": ["busybox", "sh"]}


@pytest.mark.parametrize("shell", SHELLS)
def test_what_is_told_to_stop_as_soon_as_it_is_ready_is_undone(shell: str, tmp_path: Path) -> None:
    """The process that it waits with may be forked at that moment, and not yet itself."""
    command = SHELLS[shell]
    if not shutil.which(command[0]):
        pytest.skip(f"there is no {shell}")
    marks, script = tmp_path / "marks", tmp_path / "run"
    definition = {"type": "oneshot", "command": ["true"], "stop_command": ["/bin/sh", "-c", f"echo >>{marks}"]}
    made = payload.make({"net": definition}, {"net": "services_definitions"}, {}, {}, lambda service: "")
    script.write_text(made.content["services"]["net"]["files"]["run"]["content"])
    chance = random.Random(ROUNDS)
    for round_ in range(1, ROUNDS + 1):
        reading, writing = os.pipe()
        process = subprocess.Popen(
            # The number that it reports by is that of a descriptor of pytest's.
            [*command, "-c", f'exec {REPORT_FD}>&0 </dev/null; exec "$@"', "-", *command, str(script)],
            stdin=writing,
            cwd=tmp_path,
            start_new_session=True,
        )
        os.close(writing)
        try:
            assert os.read(reading, 1) == b"\n"
            time.sleep(chance.uniform(0, 0.001))
            os.killpg(process.pid, signal.SIGTERM)
            assert process.wait(20) == 0
        finally:
            os.close(reading)
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        assert marks.read_text().count("\n") == round_
