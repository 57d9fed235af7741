# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures: guards that are ended afterwards."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from guarded import Guards


@pytest.fixture
def guards(runtime: Path) -> Iterator[Guards]:
    """Guards of one empty directory of leases; everything that they started is ended afterwards."""
    base = Path(tempfile.mkdtemp(prefix="hf-lease-"))
    base.chmod(0o755)
    made = Guards(runtime, base)
    yield made
    made.close()
    shutil.rmtree(base)
