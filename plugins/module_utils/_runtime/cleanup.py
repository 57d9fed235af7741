# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a supervisor leaves behind, found and removed without touching anything else. PRIVATE to the collection."""

from __future__ import annotations

import contextlib
import os
import re
import shutil

from .directories import LINK, remove_if_empty

#: What the supervisor makes in its run directory.
_RUN_NAMES = re.compile(
    r"(lock|socket|version|logs|fifo|hooks|units|guards|supervise|systemd|logwriter\.record|scanner\.(?:pid|stopped)|supervisor\.log"
    r"|supervisord\.(?:log|sock|pid)(?:\.[0-9]+)?)(\.new)?"
)
#: What loggers make in the directory of a log: the log, its lock, and rotated files named by their time, or numbered by
#: Supervisor; besides, multilog and s6-log their states, svlogd its configuration.
_LOG_NAMES = re.compile(
    r"current(?:\.[0-9]+)?|lock|@[0-9A-Za-z.:_-]{10,40}\.[sut]|(?:new)?state|newcurrent|previous|processed|config"
)
#: Directories with these names, and those below, are made on the way to ours.
_OWN_PARENTS = {"holdfast", ".holdfast"}


class Doomed:
    """Files and directories that are to go; what is found between finding and removing stays, too."""

    def __init__(self) -> None:
        self.links: list[str] = []
        self.trees: list[str] = []
        self.logs: list[str] = []
        #: Directories that go if nothing is in them in the end.
        self.empty: list[str] = []

    def shown(self) -> list[str]:
        """Give what a person wants to be told of: no part of a directory that goes as a whole."""
        parts = [path for path in self.links + self.trees + self.logs if os.path.dirname(path) not in self.empty]
        return parts + self.empty

    def remove(self) -> None:
        """Remove what was found. Raises OSError at the first thing that can not be removed."""
        for path in self.links:
            os.unlink(path)
        for path in self.trees:
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path)
            else:
                os.unlink(path)
        for path in self.logs:
            _remove_log(path)
        for path in self.empty:
            remove_if_empty(path)
            remove_own_parents(path)


def find(scan_directory: str, run_directory: str, log_directory: str, logs: bool) -> Doomed:
    """Find what the supervisor of these directories has made; *logs* are removed only on request.

    A directory is listed as one that may go only if nothing foreign will be left in it.
    """
    doomed = Doomed()
    link = os.path.join(scan_directory, LINK)
    own = os.path.islink(link)
    if own:
        doomed.links.append(link)
    names = _names(run_directory)
    ours = [name for name in names if _RUN_NAMES.fullmatch(name)]
    doomed.trees += [os.path.join(run_directory, name) for name in ours]
    if os.path.isdir(run_directory) and len(ours) == len(names):
        doomed.empty.append(run_directory)
    if logs:
        kept = 0
        for name in _names(log_directory):
            path = os.path.join(log_directory, name)
            found = _log_names(path)
            if found is None:
                kept += 1
                continue
            doomed.logs.append(path)
            kept += any(not _LOG_NAMES.fullmatch(entry) for entry in found)
        if os.path.isdir(log_directory) and not kept:
            doomed.empty.append(log_directory)
    if os.path.isdir(scan_directory) and all(name == LINK and own for name in _names(scan_directory)):
        doomed.empty.append(scan_directory)
    return doomed


def remove_own_parents(path: str) -> None:
    """Remove the directories that lead to *path* and are ours by their name, as far as they are empty."""
    parent = os.path.dirname(path)
    while _OWN_PARENTS & set(parent.split("/")) and remove_if_empty(parent):
        parent = os.path.dirname(parent)


def _names(path: str) -> list[str]:
    try:
        return sorted(os.listdir(path))
    except OSError:
        return []


def _log_names(path: str) -> list[str] | None:
    """Give the names in the directory of a log; None if *path* is none."""
    if os.path.islink(path) or not os.path.isdir(path):
        return None
    names = _names(path)
    return names if not names or "current" in names or "lock" in names else None


def _remove_log(path: str) -> None:
    # The directory belongs to the log writer's user, who must not be able to lead root elsewhere: names are
    # looked up in the opened directory, never along the path again.
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        for name in os.listdir(descriptor):
            if _LOG_NAMES.fullmatch(name):
                with contextlib.suppress(FileNotFoundError, IsADirectoryError):
                    os.unlink(name, dir_fd=descriptor)
    finally:
        os.close(descriptor)
    remove_if_empty(path)
