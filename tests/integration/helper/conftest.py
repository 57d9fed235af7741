# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures: the runtime as on a host, and a helper on directories of the test's own."""

from __future__ import annotations

import compileall
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from helping import HelperProcess

from ansible_collections.holdfast.supervision.plugins.plugin_utils import pack


@pytest.fixture(scope="session")
def runtime() -> Iterator[Path]:
    """A runtime tree as it lies on a host, made from the checkout."""
    tree = Path(tempfile.mkdtemp(prefix="hf-runtime-"))
    tree.chmod(0o755)
    for name, content in pack.runtime_files().items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    compileall.compile_dir(str(tree), quiet=1)
    yield tree
    shutil.rmtree(tree)


@pytest.fixture
def helper(runtime: Path) -> Iterator[HelperProcess]:
    """A helper that is not started yet; it and its workers are ended afterwards."""
    base = Path(tempfile.mkdtemp(prefix="hf-helper-"))
    base.chmod(0o755)
    made = HelperProcess(runtime, base)
    yield made
    made.close()
    shutil.rmtree(base)
