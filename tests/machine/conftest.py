# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every emulated machine is given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from emulating import make_payload


@pytest.fixture(scope="module")
def payload(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes the folder that a machine is booted with: runtime, collection, and a program of this folder that is its main."""
    return lambda program: make_payload(tmp_path_factory.mktemp("payload"), program)
