# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What tests with real processes share: the runtime as on a host."""

from __future__ import annotations

import compileall
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.holdfast.supervision.plugins.plugin_utils import pack


@pytest.fixture(scope="session")
def runtime() -> Iterator[Path]:
    """A runtime tree as it lies on a host, made from the checkout."""
    # Not below pytest's own folder, which only its owner may pass: services run under other users too.
    tree = Path(tempfile.mkdtemp(prefix="hf-runtime-"))
    tree.chmod(0o755)
    for name, content in pack.runtime_files().items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    compileall.compile_dir(str(tree), quiet=1)
    yield tree
    shutil.rmtree(tree)
