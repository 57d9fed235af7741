# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Opening log directories safely."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._supervise._logwriter import opening


def opened(path: Path, create: bool = False) -> os.stat_result:
    descriptor = opening.open_directory(str(path), create)
    try:
        return os.fstat(descriptor)
    finally:
        os.close(descriptor)


def test_a_missing_directory_is_made_with_its_parents(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c"
    with pytest.raises(FileNotFoundError):
        opened(path)
    assert opened(path, create=True).st_ino == path.stat().st_ino
    assert opened(path).st_ino == path.stat().st_ino


def test_links_of_ours_on_the_way_are_followed_and_the_last_is_not(tmp_path: Path) -> None:
    (tmp_path / "real" / "a").mkdir(parents=True)
    (tmp_path / "relative").symlink_to("./real/../real")
    (tmp_path / "absolute").symlink_to(tmp_path / "relative")
    inode = (tmp_path / "real" / "a").stat().st_ino
    assert opened(tmp_path / "relative" / "a").st_ino == inode
    assert opened(tmp_path / "absolute" / "a" / ".").st_ino == inode
    with pytest.raises(PermissionError, match="symbolic link"):
        opened(tmp_path / "relative")
    with pytest.raises(PermissionError, match="symbolic link"):
        opened(tmp_path / "relative" / "")


def test_endless_links_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(OSError, match="symbolic link"):
        opened(tmp_path / "a" / "x", create=True)


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "file", tmp_path / "file" / "x"):
        with pytest.raises(NotADirectoryError):
            opened(path, create=True)


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    before = os.listdir("/proc/self/fd")
    opened(tmp_path / "link" / "a" / "b", create=True)
    for bad in (tmp_path / "link", tmp_path / "missing"):
        with pytest.raises(OSError, match=r"."):
            opened(bad)
    assert os.listdir("/proc/self/fd") == before
