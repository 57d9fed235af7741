# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts in the states in which a task may find them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from converging import Host


@pytest.fixture
def bare(runtime: Path) -> Iterator[Host]:
    """A host with nothing on it."""
    base = Path(tempfile.mkdtemp(prefix="hf-converge-"))
    base.chmod(0o755)
    host = Host(runtime, base)
    yield host
    host.close()
    shutil.rmtree(base)


@pytest.fixture
def idle(bare: Host) -> Host:
    """A host with a scan directory and no supervisor."""
    bare.prepare()
    return bare


@pytest.fixture
def host(idle: Host) -> Host:
    """A host with a supervisor that has nothing to do."""
    idle.start()
    return idle
