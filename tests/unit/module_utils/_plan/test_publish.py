# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Putting directories into place, and finding them half done."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._plan import publish
from ansible_collections.holdfast.supervision.plugins.module_utils._plan.directories import Wanted
from ansible_collections.holdfast.supervision.plugins.module_utils._plan.publish import Publisher, leftover

LINK = "/run/holdfast/supervise/web"


@pytest.fixture
def scan(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


@pytest.fixture(params=["exchange", "two renames"])
def either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to replace a directory: the file system can exchange two names, or it cannot."""
    if request.param == "two renames":

        def refuse(*_names: object) -> None:
            raise OSError(errno.EINVAL, "no exchange here")

        monkeypatch.setattr(publish, "exchange", refuse)


def wanted(run: str = "1", **files: str) -> Wanted:
    contents = {"run": run, **{name.replace("__", "/"): content for name, content in files.items()}}
    secrets = frozenset(name for name in contents if name.startswith("env/"))
    return Wanted(
        "web",
        {"format": 1, "definition": "d"},
        {name: (content.encode(), 0o755) for name, content in contents.items()},
        secrets,
    )


def put(scan: int, new: Wanted) -> Publisher:
    publisher = Publisher(scan)
    publisher.build(new, 1, LINK)
    publisher.settle()
    publisher.swap("web")
    publisher.clean()
    return publisher


def test_a_new_directory_is_complete_and_has_the_right_permissions(scan: int, tmp_path: Path) -> None:
    old = os.umask(0o077)
    try:
        put(scan, wanted(env__PASSWORD="geheim"))
    finally:
        os.umask(old)
    web = tmp_path / "web"
    assert os.listdir(tmp_path) == ["web"]
    modes = {
        name: oct((web / name).lstat().st_mode & 0o777) for name in ("", "run", "env", "env/PASSWORD", "holdfast.json")
    }
    assert modes == {"": "0o755", "run": "0o755", "env": "0o700", "env/PASSWORD": "0o600", "holdfast.json": "0o644"}
    assert os.readlink(web / "supervise") == LINK
    assert json.loads((web / "holdfast.json").read_text())["revision"] == 1


@pytest.mark.usefixtures("either")
def test_replacing_keeps_what_is_not_ours(scan: int, tmp_path: Path) -> None:
    put(scan, wanted("1", finish="old", env__A="a"))
    web = tmp_path / "web"
    (web / "data").mkdir()
    (web / "data" / "file").write_text("kept")
    (web / "env" / "FOREIGN").write_text("kept")
    (web / "holdfast.once").write_text("d.1")
    put(scan, wanted("2"))
    assert (web / "run").read_text() == "2"
    assert not (web / "finish").exists() and not (web / "env" / "A").exists()
    assert (web / "data" / "file").read_text() == (web / "env" / "FOREIGN").read_text() == "kept"
    assert (web / "holdfast.once").read_text() == "d.1"
    assert os.listdir(tmp_path) == ["web"]


def test_a_directory_of_a_live_supervisor_goes_along(scan: int, tmp_path: Path) -> None:
    publisher = Publisher(scan)
    publisher.build(wanted("1"), 1, None)
    publisher.swap("web")
    supervise = tmp_path / "web" / "supervise"
    supervise.mkdir()
    inode = supervise.stat().st_ino
    publisher.build(wanted("2"), 1, None)
    publisher.swap("web")
    publisher.clean()
    assert supervise.stat().st_ino == inode


def test_a_build_that_fails_leaves_nothing(scan: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(scan, wanted("1"))
    publisher = Publisher(scan)

    def full(*_arguments: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    publisher.build(wanted("2"), 1, LINK)
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        publisher.build(Wanted("db", {"format": 1}, {"run": (b"x", 0o755)}), 1, LINK)
    monkeypatch.undo()
    publisher.abandon()
    assert os.listdir(tmp_path) == ["web"]
    assert (tmp_path / "web" / "run").read_text() == "1"


def test_retired_directories_go_and_foreign_files_stay(scan: int, tmp_path: Path) -> None:
    put(scan, wanted(env__A="a"))
    (tmp_path / "web" / "notes").write_text("kept")
    (tmp_path / ".web.kept").mkdir()
    publisher = Publisher(scan)
    publisher.retire("web")
    assert not (tmp_path / "web").exists()
    publisher.clean()
    assert publisher.kept == [".web.kept.1"]
    assert os.listdir(tmp_path / ".web.kept.1") == ["notes"]
    put(scan, wanted())
    publisher = Publisher(scan)
    publisher.retire("web")
    publisher.clean()
    assert publisher.kept == [] and sorted(os.listdir(tmp_path)) == [".web.kept", ".web.kept.1"]


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        (".web.new", "web"),
        (".web.old", "web"),
        (".web.gone", "web"),
        (".a.b.old", "a.b"),
        (".web.kept", None),
        (".holdfast", None),
        ("web.old", None),
        (".new", None),
        (".git", None),
    ],
)
def test_which_entries_an_interrupted_run_leaves(entry: str, name: str | None) -> None:
    assert leftover(entry) == name


def test_recovery(scan: int, tmp_path: Path) -> None:
    put(scan, wanted("1"))
    (tmp_path / "web" / "data").write_text("kept")
    # Killed between the two renames of the fallback: the service would be gone.
    (tmp_path / "web").rename(tmp_path / ".web.old")
    Publisher(scan).build(wanted("2"), 1, LINK)
    publisher = Publisher(scan)
    assert publisher.recover([".web.new", ".web.old"]) == ["web"]
    assert os.listdir(tmp_path) == ["web"]
    assert (tmp_path / "web" / "run").read_text() == "1" and (tmp_path / "web" / "data").exists()
    # Killed after the exchange, before the foreign entries were moved.
    Publisher(scan).build(wanted("2"), 1, LINK)
    publish.exchange(".web.new", "web", scan)
    publisher.recover([".web.new"])
    assert os.listdir(tmp_path) == ["web"]
    assert (tmp_path / "web" / "run").read_text() == "2" and (tmp_path / "web" / "data").exists()
    # Killed while a removed directory was deleted.
    (tmp_path / "web").rename(tmp_path / ".web.gone")
    publisher.recover([".web.gone"])
    assert os.listdir(tmp_path) == [".web.kept"] and os.listdir(tmp_path / ".web.kept") == ["data"]


@pytest.mark.parametrize("content", [None, "", "{"])
def test_a_build_that_was_killed_early_is_deleted(scan: int, tmp_path: Path, content: str | None) -> None:
    (tmp_path / ".web.new").mkdir()
    if content is not None:
        (tmp_path / ".web.new" / "holdfast.json").write_text(content)
    Publisher(scan).recover([".web.new"])
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("entry", [".web.new", ".web.old", ".web.gone"])
def test_what_only_looks_like_ours_is_left_alone(scan: int, tmp_path: Path, entry: str) -> None:
    put(scan, wanted())
    (tmp_path / entry).mkdir()
    (tmp_path / entry / "run").write_text("somebody's copy")
    Publisher(scan).recover([entry])
    assert (tmp_path / entry / "run").read_text() == "somebody's copy"


def test_links_are_never_followed(scan: int, tmp_path: Path) -> None:
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.mkdir()
    (outside / "holdfast.json").write_text('{"format": 1}')
    (outside / "precious").write_text("kept")
    (tmp_path / ".web.gone").symlink_to(outside)
    put(scan, wanted())
    (tmp_path / "web" / "env").symlink_to(outside)
    put(scan, wanted("2", env__A="a"))
    Publisher(scan).recover([".web.gone"])
    assert (outside / "precious").read_text() == "kept" and (outside / "holdfast.json").exists()
    assert (tmp_path / ".web.gone").is_symlink()
