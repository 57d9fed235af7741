# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A scan directory under the systemd of a test host."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from conforming_systemd import SystemdHost


@pytest.fixture
def systemd(runtime: Path) -> Iterator[SystemdHost]:
    reason = SystemdHost.missing()
    if reason:
        pytest.skip(reason)
    base = Path(tempfile.mkdtemp(prefix="hf-units-"))
    base.chmod(0o755)
    host = SystemdHost(runtime, base)
    host.prepare()
    host.start()
    try:
        yield host
    finally:
        host.close()
        shutil.rmtree(base)
