# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Paths below a folder: nothing leads out, whether the kernel resolves them or we do, and whoever renames meanwhile."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._helper import paths
from ansible_collections.holdfast.supervision.plugins.module_utils._helper.paths import Refused, find, hold


@pytest.fixture(params=["kernel", "steps"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways of resolving: the kernel's, which must be there then, and ours for kernels that have none."""

    def missing(*_arguments: object) -> int:
        raise OSError(errno.ENOSYS, "not there")

    def unexpected(*_arguments: object) -> int:
        raise AssertionError("the kernel was not asked")

    if request.param == "steps":
        monkeypatch.setattr(paths, "_by_kernel", missing)
    else:
        try:
            os.close(paths._by_kernel(-100, ".", True))
        except OSError as error:
            pytest.skip(f"openat2: {error}")
        monkeypatch.setattr(paths, "_by_steps", unexpected)
    return str(request.param)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder `in` with a file, links and a hard link to the file `outside`."""
    inside = tmp_path / "in"
    (inside / "folder").mkdir(parents=True)
    (inside / "folder" / "file").write_text("inside")
    (tmp_path / "outside").write_text("outside")
    (inside / "link").symlink_to(tmp_path / "outside")
    (inside / "near").symlink_to("folder/file")
    (inside / "away").symlink_to(tmp_path)
    os.link(tmp_path / "outside", inside / "hard")
    return inside


def content(held: int, rest: str) -> str:
    try:
        with open(f"/proc/self/fd/{held}{rest}", encoding="ascii") as file:
            return file.read()
    finally:
        os.close(held)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_what_is_found_is_held(way: str, tree: Path) -> None:
    assert content(*hold(str(tree), f"{tree}/folder/file")) == "inside"
    assert content(*hold(f"{tree}/", f"{tree}//folder/./file")) == "inside"


def test_the_way_to_the_folder_is_the_administrators(way: str, tree: Path, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(tree)
    assert content(*hold(f"{tmp_path}/alias", f"{tmp_path}/alias/folder/file")) == "inside"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("link", "symbolic link"),
        ("near", "symbolic link"),
        ("away/outside", "symbolic link"),
        ("away/in/folder/file", "symbolic link"),
        ("hard", "hard link"),
        ("../outside", "is not followed"),
        ("folder/../../outside", "is not followed"),
        ("folder/..", "is not followed"),
        ("", "the folder itself"),
        (".", "the folder itself"),
    ],
)
def test_nothing_leads_out(way: str, tree: Path, path: str, reason: str) -> None:
    before = descriptors()
    for options in ({}, {"exists": False}, {"create": "file"}):
        if options and path in ("link", "near", "hard"):
            continue
        with pytest.raises(Refused, match=reason):
            hold(str(tree), f"{tree}/{path}", **options)
    assert descriptors() == before


def test_what_is_missing_or_no_folder_is_an_error(way: str, tree: Path) -> None:
    before = descriptors()
    for path in ("absent", "folder/file/below"):
        with pytest.raises(OSError, match=r"No such file|Not a directory"):
            hold(str(tree), f"{tree}/{path}")
    with pytest.raises(NotADirectoryError):
        hold(str(tree), f"{tree}/folder/file/new", exists=False)
    assert descriptors() == before


def test_links_of_procfs_and_other_mounts_are_not_entered(way: str) -> None:
    root = os.open("/", os.O_PATH)
    try:
        with pytest.raises(Refused, match="another mount"):
            find(root, ["proc", "version"])
        os.close(find(root, ["proc", "version"], crossing=True))
        for parts in (["proc", "self", "root", "etc"], ["proc", str(os.getpid()), "root", "etc", "passwd"]):
            with pytest.raises(Refused, match="symbolic link"):
                find(root, parts, crossing=True)
    finally:
        os.close(root)


def test_what_need_not_exist_is_named_by_its_folder(way: str, tree: Path) -> None:
    held, rest = hold(str(tree), f"{tree}/folder/new", exists=False)
    assert rest == "/new" and os.readlink(f"/proc/self/fd/{held}") == f"{tree}/folder"
    os.close(held)


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_what_is_created_was_not_there(way: str, tree: Path, kind: str) -> None:
    held, rest = hold(str(tree), f"{tree}/folder/new", create=kind, owner=(os.geteuid(), os.getegid()))
    assert rest == "" and os.readlink(f"/proc/self/fd/{held}") == f"{tree}/folder/new"
    os.close(held)
    made = tree / "folder" / "new"
    assert made.is_dir() if kind == "directory" else made.is_file()
    assert made.stat().st_mode & 0o077 == 0
    for path in ("folder/new", "link", "near", "hard"):
        with pytest.raises(FileExistsError):
            hold(str(tree), f"{tree}/{path}", create=kind)
    assert (tree.parent / "outside").read_text() == "outside"


#: Exchanges the folder `in/swapped` with a link out of the tree, as fast as it can.
SWAP = """
import ctypes, os, sys
libc, tree = ctypes.CDLL(None), os.fsencode(sys.argv[1])
print("ready", flush=True)
while True:
    libc.renameat2(-100, tree + b"/swapped", -100, tree + b"/link-out", 2)
"""


@pytest.fixture
def swapper(tree: Path) -> Iterator[Path]:
    (tree / "swapped").mkdir()
    (tree / "swapped" / "file").write_text("inside")
    (tree.parent / "other").mkdir()
    (tree.parent / "other" / "file").write_text("outside")
    (tree / "link-out").symlink_to(tree.parent / "other")
    with subprocess.Popen([sys.executable, "-c", SWAP, str(tree)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline()
        yield tree
        process.kill()


def test_a_folder_that_is_exchanged_all_the_time_never_leads_out(way: str, swapper: Path) -> None:
    seen = {"inside": 0, "refused": 0}
    for _number in range(200_000):
        try:
            seen[content(*hold(str(swapper), f"{swapper}/swapped/file"))] += 1
        except (Refused, NotADirectoryError):
            seen["refused"] += 1
        if min(seen.values()) >= 200:
            break
    # Both states were met, so the race was on.
    assert min(seen.values()) > 0


def test_a_folder_that_is_moved_out_meanwhile_is_still_the_one_that_was_found(way: str, tree: Path) -> None:
    held, _rest = hold(str(tree), f"{tree}/folder/file")
    (tree / "folder").rename(tree.parent / "moved")
    (tree / "folder").symlink_to(tree.parent)
    assert content(held, "") == "inside"
