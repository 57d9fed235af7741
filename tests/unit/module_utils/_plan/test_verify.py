# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is found on the host before anything is changed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._plan import verify
from ansible_collections.holdfast.supervision.plugins.module_utils._plan.directories import Wanted


def wanted(**checks: Any) -> Wanted:
    return Wanted("web", {"format": 1}, {}, verify=checks)


def test_everything_is_there() -> None:
    host = verify.Host()
    good = wanted(
        command="/bin/sh",
        check="sh",
        finish="/bin/true",
        directory="/tmp",
        users=["root", "0"],
        groups=["root", "54321"],
    )
    assert host.accounts(good) == [] and host.programs(good) == []


def test_each_thing_that_is_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    (tmp_path / "bin").mkdir()
    host = verify.Host()
    bad = wanted(
        command=str(tmp_path / "none"),
        check=str(tmp_path / "plain"),
        health=str(tmp_path / "bin"),
        finish="no-such-program",
        directory=str(tmp_path / "plain"),
        users=["no-such-user", "4294967294"],
        groups=["no-such-group"],
    )
    user, number, group = host.accounts(bad)
    assert "the user '4294967294' does not exist" in number
    assert user.startswith("web: the user 'no-such-user' does not exist") and "group 'no-such-group'" in group
    command, check, health, finish, directory = host.programs(bad)
    assert command.startswith("web: command: ") and "No such file" in command and "command_check: false" in command
    assert "not executable" in check and "not a program" in health
    assert "'no-such-program' is in none of /usr/local/sbin:" in finish
    assert "not a directory" in directory


def test_a_name_is_looked_for_where_the_service_would(tmp_path: Path) -> None:
    tool = tmp_path / "own-tool"
    tool.touch(0o755)
    host = verify.Host()
    assert host.programs(wanted(command="own-tool", path=f"/bin:{tmp_path}")) == []
    assert len(host.programs(wanted(command="own-tool"))) == 1


def check_scan(path: Path) -> list[str]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return verify.scan_directory(str(path), descriptor)
    finally:
        os.close(descriptor)


def test_a_scan_directory_of_our_own_is_good(tmp_path: Path) -> None:
    assert check_scan(tmp_path) == []


@pytest.mark.parametrize("mode", [0o775, 0o757])
def test_a_scan_directory_that_others_can_fill_is_not(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    (problem,) = check_scan(tmp_path)
    assert "can be written by others" in problem and f"{mode:04o}" in problem


def test_nor_one_in_a_place_where_everybody_can_exchange_it(tmp_path: Path) -> None:
    scan = tmp_path / "services"
    scan.mkdir(0o755)
    tmp_path.chmod(0o777)
    (problem,) = check_scan(scan)
    assert f"chmod o-w {tmp_path}" in problem
    tmp_path.chmod(0o1777)
    assert check_scan(scan) == []


def test_nor_one_of_somebody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    (problem,) = check_scan(tmp_path)
    assert "belongs to the user" in problem and "become" in problem


class Filesystem:
    """What statvfs says of a small file system."""

    def __init__(self, **values: int) -> None:
        self.f_flag = 0
        self.f_frsize = 4096
        self.f_blocks = self.f_bfree = self.f_bavail = 100
        self.f_files = self.f_ffree = self.f_favail = 100
        self.__dict__.update(values)


def check_space(monkeypatch: pytest.MonkeyPatch, new: list[tuple[int, int]], **values: int) -> list[str]:
    monkeypatch.setattr(os, "fstatvfs", lambda _descriptor: Filesystem(**values))
    return verify.space("/scan", 0, new)


def test_space_on_the_file_system(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_space(monkeypatch, [(5, 3000)]) == []
    (problem,) = check_space(monkeypatch, [(5, 3000)], f_bfree=5, f_bavail=5)
    assert "20480 are free" in problem and "make room" in problem
    (problem,) = check_space(monkeypatch, [(5, 0), (6, 0)], f_ffree=10, f_favail=10)
    assert "inodes" in problem
    (problem,) = check_space(monkeypatch, [(1, 0)], f_flag=os.ST_RDONLY)
    assert "read-only" in problem


def test_a_file_system_without_numbers_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = {"f_blocks": 0, "f_bfree": 0, "f_bavail": 0, "f_files": 0, "f_ffree": 0, "f_favail": 0}
    assert check_space(monkeypatch, [(5, 3000)], **nothing) == []


def test_a_supervisor_answers_or_not(tmp_path: Path) -> None:
    assert not verify.supervised(str(tmp_path))
    (tmp_path / "supervise").mkdir()
    os.mkfifo(tmp_path / "supervise" / "ok")
    assert not verify.supervised(str(tmp_path))
    descriptor = os.open(tmp_path / "supervise" / "ok", os.O_RDONLY | os.O_NONBLOCK)
    assert verify.supervised(str(tmp_path))
    os.close(descriptor)
    assert not verify.supervised(str(tmp_path))
