# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures: a helper on directories of the test's own."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from helping import HelperProcess


@pytest.fixture
def helper(runtime: Path) -> Iterator[HelperProcess]:
    """A helper that is not started yet; it and its workers are ended afterwards."""
    base = Path(tempfile.mkdtemp(prefix="hf-helper-"))
    base.chmod(0o755)
    made = HelperProcess(runtime, base)
    yield made
    made.close()
    shutil.rmtree(base)
