# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sealing of rotated files."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ansible_collections.holdfast.supervision.plugins.module_utils._supervise._logwriter import sealing


def open_below(folder: Path) -> list[Path]:
    """The files below *folder* that this process has open; other tests may leave theirs to the garbage collector."""
    links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return [path for path in map(Path.resolve, links) if folder in path.parents]


def test_all_files_are_marked_and_closed(tmp_path: Path) -> None:
    sealer = sealing.Sealer()
    files = [tmp_path / str(number) for number in range(100)]
    for _unused in range(2):
        for file in files:
            sealer.seal(os.open(file, os.O_RDWR | os.O_CREAT, 0o644))
        sealer.wait()
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o744}
        for file in files:
            file.chmod(0o644)
    assert not open_below(tmp_path)


def test_waiting_for_nothing_returns() -> None:
    sealing.Sealer().wait()


def test_a_descriptor_that_cannot_be_synced_is_closed() -> None:
    reading, writing = os.pipe()
    sealing.seal(writing)
    assert os.read(reading, 1) == b""
    os.close(reading)
