# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A table of logs for each test, whose log writer is ended with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from log_tables import Table


@pytest.fixture
def table(tmp_path: Path) -> Iterator[Table]:
    """An empty table; no log writer runs yet."""
    made = Table(tmp_path)
    yield made
    made.close()
