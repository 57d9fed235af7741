# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Modules of community.general, as they are published, for tests of what others do with our hosts.

They are taken from the package `ansible` of the package index, which holds the collection: that is one download for all runs.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

#: The one whose community.general is made for the ansible-core of the tests.
PACKAGE = "ansible==12.3.0"
INSIDE = "ansible_collections/community/general/plugins/"
WANTED = ("modules/runit.py", "modules/svc.py", "modules/supervisorctl.py", "module_utils/")


def collection() -> Path:
    """The folder that has `ansible_collections` in it; skips the test where the index cannot be reached."""
    top = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "holdfast-supervision"
    top.mkdir(parents=True, exist_ok=True)
    found = top / f"community.general-of-{PACKAGE.replace('==', '-')}"
    with (top / "community.general.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not found.exists():
            _fetch(top, found)
    return found


def _fetch(top: Path, found: Path) -> None:
    with tempfile.TemporaryDirectory(dir=top) as place:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", place, PACKAGE]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode != 0:
            pytest.skip(f"the package index does not give {PACKAGE}: {done.stderr.strip()[-300:]}")
        (wheel,) = Path(place).glob("*.whl")
        made = Path(place) / "made"
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in archive.namelist() if name.startswith(tuple(INSIDE + one for one in WANTED))]
            archive.extractall(made, names)
        shutil.move(made, found)


def run(module: str, *, search: str = "", **arguments: Any) -> dict[str, Any]:
    """Run a module on this machine, which must succeed; gives its result. search: a folder where it finds programs first."""
    path = collection()
    search = f"{search}:{os.environ['PATH']}" if search else os.environ["PATH"]
    done = subprocess.run(
        [sys.executable, str(path / INSIDE / "modules" / f"{module}.py")],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": arguments}),
        env={**os.environ, "PYTHONPATH": str(path), "PATH": search},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    result: dict[str, Any] = json.loads(done.stdout or "{}")
    assert done.returncode == 0 and not result.get("failed"), done.stdout + done.stderr
    return result
