# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the collection importable, and usable by Ansible's programs, from a checkout that lies anywhere."""

from __future__ import annotations

import compileall
import os
import shutil
import sys
import tempfile
import types
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from supervised import Scan

CHECKOUT = Path(__file__).resolve().parent.parent
#: Those are run by ansible-test.
collect_ignore = ["integration/targets"]


def _elsewhere() -> list[str]:
    given = os.environ.get("ANSIBLE_COLLECTIONS_PATH", "")
    return [os.path.join(path, "ansible_collections") for path in given.split(":") if path]


def _make_importable() -> None:
    """Let ``ansible_collections.holdfast.supervision`` mean this checkout, without Ansible's own import machinery."""
    for name, path in (
        # Beside this one there are those that tests bring along, and those of whoever tests a lease driver.
        ("ansible_collections", [str(CHECKOUT / "tests" / "third" / "ansible_collections"), *_elsewhere()]),
        ("ansible_collections.holdfast", []),
        ("ansible_collections.holdfast.supervision", [str(CHECKOUT)]),
    ):
        module = types.ModuleType(name)
        module.__path__ = path
        sys.modules[name] = module
        parent, child = name.rpartition(".")[::2]
        if parent:
            setattr(sys.modules[parent], child, module)


if "ansible_collections" not in sys.modules:
    _make_importable()


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The top folder of the collection under test."""
    return CHECKOUT


@pytest.fixture(scope="session")
def collections_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for ANSIBLE_COLLECTIONS_PATH in which Ansible's programs find the collection under test."""
    if CHECKOUT.parts[-3:] == ("ansible_collections", "holdfast", "supervision"):
        return CHECKOUT.parents[2]
    top = tmp_path_factory.mktemp("collections")
    link = top / "ansible_collections" / "holdfast" / "supervision"
    link.parent.mkdir(parents=True)
    link.symlink_to(CHECKOUT)
    return top


@pytest.fixture(scope="session")
def runtime() -> Iterator[Path]:
    """A runtime tree as it lies on a host, made from the checkout."""
    from ansible_collections.holdfast.supervision.plugins.plugin_utils import pack

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


@pytest.fixture
def scan(runtime: Path) -> Iterator[Scan]:
    """An empty scan directory; everything that runs on it is ended afterwards."""
    from supervised import Scan, make_base

    base = make_base()
    made = Scan(runtime, base)
    yield made
    made.close()
    shutil.rmtree(base)
