# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A place for a deployment of the test's own, and what the modules do there."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from deployed import Deployment


@pytest.fixture
def deployment() -> Iterator[Deployment]:
    """A folder that every user may pass, removed afterwards with whatever still runs from it."""
    # Not below pytest's own folder, which only its owner may pass: the log writer's user must get here.
    base = Path(tempfile.mkdtemp(prefix="hf-deployed-"))
    base.chmod(0o755)
    place = Deployment(base)
    yield place
    place.close()
    shutil.rmtree(base)
