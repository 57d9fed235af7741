# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Packs the runtime on the controller out of this collection's own module_utils. PRIVATE to the collection."""

from __future__ import annotations

import os
from collections.abc import Iterable

from ansible_collections.holdfast.supervision.plugins.module_utils._runtime import archive
from ansible_collections.holdfast.supervision.plugins.plugin_utils import foreign

#: What the long-lived programs and the command line are made of, below module_utils: whole packages (with what is
#: in them, however deep) and single modules. Nothing outside of this list may be imported by anything in it.
PACKAGES = (
    "_command",
    "_definition/__init__.py",
    "_definition/names.py",
    "_helper",
    "_hooks",
    "_jobs",
    "_lean",
    "_lease",
    "_process_state",
    "_runtime/__init__.py",
    "_runtime/detached.py",
    "_supervise/__init__.py",
    "_supervise/_attend",
    "_supervise/_embedded",
    "_supervise/_logwriter",
    "_supervise/_steps",
    "_supervise/_supervisord",
    "_supervise/active.py",
    "_supervise/attending.py",
    "_supervise/awaiting.py",
    "_supervise/daemontools.py",
    "_supervise/daemontools_encore.py",
    "_supervise/embedded.py",
    "_supervise/family.py",
    "_supervise/family_directories.py",
    "_supervise/family_files.py",
    "_supervise/family_scripts.py",
    "_supervise/family_wait.py",
    "_supervise/former_start.py",
    "_supervise/holding.py",
    "_supervise/interface.py",
    "_supervise/labels.py",
    "_supervise/limits.py",
    "_supervise/log_table.py",
    "_supervise/portable.py",
    "_supervise/presence.py",
    "_supervise/runit.py",
    "_supervise/s6.py",
    "_supervise/schedule.py",
    "_supervise/supervisord.py",
    "_varlink",
    "lease_driver.py",
)

#: What of them only modules need: every task brings that along by itself.
OF_MODULES = ("_helper/task.py", "_lease/_etcd/membership.py", "_lease/_etcd/users.py", "_lease/task.py")

MODULE_UTILS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "module_utils")

# What Python runs when it is given the runtime's directory, or this file in it: that spares it what makes a program of a
# directory, of which half a megabyte would stay. Lazy imports of a long-lived process must come from the version that it was
# started from, so the symbolic link that leads here is followed once, at the start.
MAIN = '''\
"""Entry point of the holdfast runtime; generated, see holdfast.supervision."""

import fcntl
import os
import sys

HERE = os.path.dirname(__file__)
TREE = os.path.realpath(HERE)
if __spec__ is None:
    # As a file: its directory is not looked in (-I), and what we start ourselves is given that.
    sys.path.insert(0, TREE)
    sys.argv[0] = HERE
else:
    sys.path[0] = TREE
try:
    # Held until the process ends or becomes another one: this version is in use and must not be pruned.
    IN_USE = os.open(os.path.join(TREE, ".in-use"), os.O_RDONLY | os.O_CLOEXEC)
    fcntl.flock(IN_USE, fcntl.LOCK_SH | fcntl.LOCK_NB)
except OSError:
    pass

from holdfast._command.main import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
'''


def runtime_files(module_utils: str = MODULE_UTILS) -> dict[str, bytes]:
    """Give every file of the runtime by its name below a version's directory. Raises OSError."""
    files = {"__main__.py": MAIN.encode(), "holdfast/__init__.py": b""}
    for entry in PACKAGES:
        path = os.path.join(module_utils, entry)
        if entry.endswith(".py"):
            files[f"holdfast/{entry}"] = _read(path)
            continue
        for folder, folders, names in os.walk(path, onerror=_raise):
            folders[:] = sorted(name for name in folders if name != "__pycache__")
            for name in names:
                relative = os.path.relpath(os.path.join(folder, name), module_utils).replace(os.sep, "/")
                if name.endswith(".py") and relative not in OF_MODULES:
                    files[f"holdfast/{relative}"] = _read(os.path.join(folder, name))
    return files


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _raise(error: OSError) -> None:
    raise error


class Runtime:
    """The runtime of this collection: its version, and its archive, made only when somebody asks for it.

    lease_drivers: those of other collections that are to be in it.
    """

    def __init__(self, module_utils: str = MODULE_UTILS, lease_drivers: Iterable[str] = ()) -> None:
        """Read the files. Raises OSError, foreign.Unshippable."""
        self._files = {**runtime_files(module_utils), **foreign.files_of(lease_drivers)}
        self.version = archive.version_of(self._files)

    def archive(self) -> str:
        """Give the archive as text. The same files give the same archive."""
        return archive.encode(self._files)
