# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the programs of what supervises the host. PRIVATE to the collection."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping

#: Seconds for an answer; systemd is slow while it reads thousands of units.
PATIENCE = 60.0


def run(command: list[str], environment: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    """Run a program without input; gives exit code, output and errors. Raises OSError, TimeoutError."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE,
            check=False,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"no answer within {PATIENCE:g} s") from None
    return done.returncode, done.stdout, done.stderr
