# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait for conditions, never for a time: ``from waiting import wait_until``."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")


def wait_until(predicate: Callable[[], Value], timeout: float = 120.0, message: str = "") -> Value:
    """Call ``predicate`` until it gives something true, and give that. AssertionError after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    pause = 0.002
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise AssertionError(message or f"not reached within {timeout} s, last value: {value!r}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)
