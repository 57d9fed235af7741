# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A process of ours inside a test host, which does one thing after the other and answers each in a line."""

from __future__ import annotations

import json
import subprocess
from typing import Any


class Refused(AssertionError):
    """It could not be done; the text is what the process says."""


class Resident:
    """Such a process. command: its argv, with what takes it into the host."""

    def __init__(self, command: list[str]) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, verb: str, *arguments: Any) -> Any:
        """Have it do something and give its answer. Raises Refused."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([verb, arguments]) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the process inside has ended"
        answer = json.loads(line)
        if "error" in answer:
            raise Refused(answer["error"])
        return answer["answer"]

    def finish(self, seconds: float) -> None:
        """Let it end by itself, which it does when nobody asks any more."""
        self._process.communicate(timeout=seconds)

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()
