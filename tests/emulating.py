# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an emulated machine is given: the folder that is its disk /payload. The programs are in tests/machine."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from testhosts import emulated

from ansible_collections.holdfast.supervision.plugins.plugin_utils import pack

COLLECTION = Path(__file__).resolve().parents[1]
PROGRAMS = COLLECTION / "tests" / "machine"


def make_payload(folder: Path, program: str) -> Path:
    """Put runtime, collection, and the program that is the machine's main into *folder*."""
    for name, content in pack.runtime_files().items():
        path = folder / "runtime" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    package = folder / "site" / "ansible_collections" / "holdfast" / "supervision" / "plugins" / "module_utils"
    shutil.copytree(COLLECTION / "plugins" / "module_utils", package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROGRAMS / program, folder)
    main = folder / "main"
    main.write_text(f"#!/bin/sh\nPYTHONPATH=/payload/site exec /usr/bin/python3 /payload/{program}\n")
    main.chmod(0o755)
    return folder


def add_modules(folder: Path, *names: str) -> None:
    """Put modules of the kernel into the *folder* of a machine, and the order in which they are loaded."""
    modules = emulated.modules(*names)
    (folder / "modules").mkdir()
    for module in modules:
        shutil.copy(module, folder / "modules")
    (folder / "modules" / "order").write_text("\n".join(module.name for module in modules))


def make_nfs_payload(folder: Path, program: str) -> Path:
    """The same for a machine that has an NFS server and hosts, see nfs_world.py."""
    make_payload(folder, program)
    for name in ("nfs_world.py", "nfs_agent.py"):
        shutil.copy(PROGRAMS / name, folder)
    shutil.copy(COLLECTION / "tests" / "witnesses.py", folder)
    (folder / "lib").mkdir()
    (folder / "lib" / "current").symlink_to("/payload/runtime")
    add_modules(folder, "nfsd", "nfsv4", "veth")
    # What takes an emulated processor seconds.
    command = ("/usr/bin/python3", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", str(folder))
    subprocess.run(command, check=True)
    return folder
