# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Directories that the log writer can write to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._plan import logdirs

ME = os.geteuid()
OTHER = 12345


def test_a_directory_of_the_log_writer_is_good(tmp_path: Path) -> None:
    assert logdirs.check(str(tmp_path), ME) == ("", False)
    # It makes what is missing below its own.
    assert logdirs.check(str(tmp_path / "a" / "b"), ME) == ("", False)


def test_a_directory_of_somebody_else_is_not(tmp_path: Path) -> None:
    problem, missing = logdirs.check(str(tmp_path), OTHER)
    assert "chown it" in problem and not missing
    (tmp_path / "file").touch()
    assert "not a directory" in logdirs.check(str(tmp_path / "file"), ME)[0]


def test_one_folder_can_be_made(tmp_path: Path) -> None:
    assert logdirs.check(str(tmp_path / "log"), OTHER) == ("", True)
    problem, missing = logdirs.check(str(tmp_path / "a" / "log"), OTHER)
    assert f"make {tmp_path / 'a'} first" in problem and not missing


@pytest.mark.skipif(ME != 0, reason="only root can give a directory away")
def test_making_one(tmp_path: Path) -> None:
    logdirs.make(str(tmp_path / "log"), OTHER, OTHER)
    state = (tmp_path / "log").stat()
    assert (state.st_uid, state.st_gid, state.st_mode & 0o777) == (OTHER, OTHER, 0o755)
    # Already there: left as it is.
    (tmp_path / "there").mkdir()
    logdirs.make(str(tmp_path / "there"), OTHER, OTHER)
    assert (tmp_path / "there").stat().st_uid == 0
