# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every emulated machine is given."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from testhosts import emulated

from ansible_collections.holdfast.supervision.plugins.plugin_utils import pack

COLLECTION = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def payload(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes the folder that a machine is booted with: runtime, collection, and a program of this folder that is its main."""

    def made(program: str) -> Path:
        folder = tmp_path_factory.mktemp("payload")
        for name, content in pack.runtime_files().items():
            path = folder / "runtime" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        package = folder / "site" / "ansible_collections" / "holdfast" / "supervision" / "plugins" / "module_utils"
        shutil.copytree(COLLECTION / "plugins" / "module_utils", package, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(Path(__file__).with_name(program), folder)
        main = folder / "main"
        main.write_text(f"#!/bin/sh\nPYTHONPATH=/payload/site exec /usr/bin/python3 /payload/{program}\n")
        main.chmod(0o755)
        return folder

    return made


@pytest.fixture(scope="module")
def nfs_payload(payload: Callable[[str], Path]) -> Callable[[str], Path]:
    """Makes the folder of a machine that has an NFS server and hosts, see nfs_world.py."""

    def made(program: str) -> Path:
        folder = payload(program)
        for name in ("nfs_world.py", "nfs_agent.py"):
            shutil.copy(Path(__file__).with_name(name), folder)
        (folder / "lib").mkdir()
        (folder / "lib" / "current").symlink_to("/payload/runtime")
        modules = emulated.modules("nfsd", "nfsv4", "veth")
        (folder / "modules").mkdir()
        for module in modules:
            shutil.copy(module, folder / "modules")
        (folder / "modules" / "order").write_text("\n".join(module.name for module in modules))
        # What takes an emulated processor seconds.
        command = ("/usr/bin/python3", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", str(folder))
        subprocess.run(command, check=True)
        return folder

    return made
