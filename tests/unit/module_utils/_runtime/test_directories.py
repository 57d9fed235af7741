# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Directories that are made or refused, never changed; and what is removed of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._runtime import cleanup, directories, files
from ansible_collections.holdfast.supervision.plugins.module_utils._runtime.directories import Place, Unsafe


def test_a_directory_is_made_with_all_that_leads_to_it_whatever_the_umask(tmp_path: Path) -> None:
    place = Place("log directory", str(tmp_path / "a" / "b"), 0o750)
    assert directories.is_missing(place)
    umask = os.umask(0o077)
    try:
        directories.make(place)
    finally:
        os.umask(umask)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o750
    assert not directories.is_missing(place)
    assert os.listdir(tmp_path / "a") == ["b"]


def test_a_stricter_mode_of_an_existing_directory_is_left(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir(mode=0o700)
    assert not directories.is_missing(Place("run directory", str(tmp_path / "a"), 0o755))
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o1777])
def test_a_directory_that_others_can_change_is_refused(tmp_path: Path, mode: int) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a").chmod(mode)
    with pytest.raises(Unsafe, match=rf"run directory.*mode {mode:04o}.*chmod go-w"):
        directories.is_missing(Place("run directory", str(tmp_path / "a"), 0o755))


def test_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(Unsafe, match="no directory"):
        directories.is_missing(Place("run directory", str(tmp_path / "a"), 0o755))
    with pytest.raises(Unsafe, match="no directory"):
        directories.is_missing(Place("run directory", str(tmp_path / "a" / "b"), 0o755))


def test_a_user_who_is_not_there_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    place = Place("log directory", str(tmp_path / "a"), 0o750, "nobody-of-this-name")
    assert directories.is_missing(place)
    with pytest.raises(Unsafe, match="nobody-of-this-name, a user that does not exist"):
        directories.make(place)
    assert not list(tmp_path.iterdir())


def test_the_link_tells_what_is_there(tmp_path: Path) -> None:
    scan = str(tmp_path)
    assert directories.link_before(scan) is None
    directories.make_link(scan, "/run/x")
    assert directories.link_before(scan) == "/run/x"
    directories.make_link(scan, "/run/y")
    assert directories.link_before(scan) == "/run/y"
    (tmp_path / ".holdfast").unlink()
    (tmp_path / ".holdfast").mkdir()
    assert directories.link_before(scan) == ""
    (tmp_path / ".holdfast").rmdir()
    (tmp_path / ".holdfast").write_text("")
    with pytest.raises(Unsafe, match="in the way"):
        directories.link_before(scan)


@pytest.fixture
def used(tmp_path: Path) -> Path:
    """What a supervisor has left below holdfast/: scan, run and log directory."""
    top = tmp_path / "holdfast"
    for name in ("services", "run/supervise/web", "run/logs", "log/web"):
        (top / name).mkdir(parents=True)
    (top / "services" / ".holdfast").symlink_to(top / "run")
    for name in ("run/lock", "run/version", "run/logs/spool", "log/web/current", "log/web/lock"):
        (top / name).write_text("")
    (top / "log/web/@400000006920a1b22c1b8ac4.s").write_text("")
    return top


def find(top: Path, logs: bool = True) -> cleanup.Doomed:
    return cleanup.find(str(top / "services"), str(top / "run"), str(top / "log"), logs)


def test_all_that_is_ours_goes_and_is_told_as_whole_directories(used: Path) -> None:
    doomed = find(used)
    assert doomed.shown() == [str(used / name) for name in ("run", "log", "services")]
    doomed.remove()
    assert not used.exists()
    assert find(used).shown() == []


def test_logs_stay_unless_they_are_to_go(used: Path) -> None:
    find(used, logs=False).remove()
    assert [path.name for path in used.iterdir()] == ["log"]
    assert len(list((used / "log" / "web").iterdir())) == 3


def test_what_is_foreign_stays_with_the_directories_it_is_in(used: Path) -> None:
    foreign = ["run/mine", "log/web/notes.txt", "log/mine.txt", "services/mine/run"]
    (used / "services" / "mine").mkdir()
    for name in foreign:
        (used / name).write_text("")
    doomed = find(used)
    doomed.remove()
    kept = sorted(str(path.relative_to(used)) for path in used.rglob("*") if path.is_file())
    assert kept == sorted(foreign)
    assert find(used).shown() == []


def test_a_link_in_the_log_directory_leads_nobody_elsewhere(used: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "current").write_text("")
    (used / "log" / "trap").symlink_to(elsewhere)
    find(used).remove()
    assert (elsewhere / "current").exists()


def test_a_directory_that_only_looks_near_is_no_parent_of_ours(tmp_path: Path) -> None:
    for name in ("a/holdfast/b", "a/other/b"):
        (tmp_path / name).mkdir(parents=True)
        cleanup.remove_own_parents(str(tmp_path / name / "file"))
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["other"]
    assert (tmp_path / "a" / "other" / "b").is_dir()


def test_who_cannot_make_the_link_says_where_it_was_to_be(tmp_path: Path) -> None:
    scan = tmp_path / "services"
    with pytest.raises(OSError) as caught:
        directories.make_link(str(scan), "/run/holdfast")
    assert files.told(caught.value, "?").startswith(f"{scan}/.holdfast.")
    assert files.told(OSError(28, "No space left on device"), str(scan)) == f"{scan}: No space left on device"
