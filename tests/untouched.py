# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a test host was before it was given services: every file, user and process of it, by molecule's own list."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

SNAPSHOT = Path(__file__).resolve().parents[1] / "molecule" / "files" / "snapshot.py"


def remember(do: Callable[..., str]) -> None:
    """Write down what is on the host; *do* runs a command there, which must succeed."""
    do("python3", "-c", SNAPSHOT.read_text(encoding="utf-8"), "write")


def compare(do: Callable[..., str]) -> None:
    """Assert that all is what it was."""
    script = 'python3 -c "$@" || true'
    different = do("sh", "-c", script, "sh", SNAPSHOT.read_text(encoding="utf-8"), "compare").strip()
    assert not different, different
