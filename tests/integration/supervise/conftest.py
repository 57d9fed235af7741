# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures: an empty scan directory."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from supervised import Scan, make_base


@pytest.fixture
def scan(runtime: Path) -> Iterator[Scan]:
    """An empty scan directory; everything that runs on it is ended afterwards."""
    base = make_base()
    made = Scan(runtime, base)
    yield made
    made.close()
    shutil.rmtree(base)
